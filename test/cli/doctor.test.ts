import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { machineChecks } from '../../src/cli/doctor/checks.ts';
import type { Diagnosis } from '../../src/cli/doctor/examine.ts';
import { renderDiagnosis } from '../../src/cli/render/doctor.ts';
import { paintFor, width } from '../../src/cli/render/text.ts';
import type { MachineFacts } from '../../src/host/platform/probe.ts';
import { cli, json } from './harness.ts';

const GOOD: MachineFacts = {
  node: '20.19.0',
  openssl: '3.0.15',
  platform: 'linux x64',
  user: 0,
  networkAdmin: true,
  lowPorts: true,
  tun: true,
  userNamespaces: true,
  receiveBufferLimit: 4_194_304,
  forwarding: { ipv4: true, ipv6: true },
  redirects: { sent: false, accepted: false },
  native: { lack: undefined, cipherContexts: true, udpSegmentation: true, udpJoining: true, tunOffload: true },
};
const { native } = GOOD;
const plain = paintFor({ env: {} }, { isTty: false }, false);

describe('what a machine lacks', () => {
  test('nothing', () => {
    expect(machineChecks(GOOD).filter(({ state, fix }) => state !== 'ok' || fix !== null)).toEqual([]);
  });

  test.each<[string, Partial<MachineFacts>, 'ok' | 'warn' | 'fail', RegExp, RegExp | null]>([
    ['node', { node: '20.18.9' }, 'fail', /^20\.18\.9,/, /Node 20\.19/],
    ['node', { node: '18.99.0' }, 'fail', /^18/, /Node 20\.19/],
    ['node', { node: '24.1.0' }, 'ok', /^24/, null],
    ['user', { user: 1000, networkAdmin: false }, 'ok', /uid 1000, may make neither/, null],
    ['user', { user: undefined, networkAdmin: undefined }, 'ok', /unknown/, null],
    ['native calls', { native: { ...native, lack: 'no koffi' } }, 'warn', /no koffi/, /alone/],
    ['native calls', { native: { ...native, udpJoining: false, tunOffload: false } }, 'warn', /UDP_GRO.*, offloads/, /newer kernel/],
    ['native calls', { native: { ...native, udpJoining: undefined } }, 'ok', /koffi/, null],
    ['UDP 500', { lowPorts: false }, 'warn', /--port/, /sysctl .*=500/],
    ['UDP 500', { lowPorts: undefined }, 'warn', /not be found out/, null],
    ['buffers', { receiveBufferLimit: 212_992 }, 'warn', /bursts are lost/, /rmem_max=4194304/],
    ['buffers', { receiveBufferLimit: undefined }, 'ok', /not be found out/, null],
    ['forwarding', { forwarding: { ipv4: true, ipv6: false } }, 'warn', /passes no IPv6 on/, /forwarding=1/],
    ['forwarding', { forwarding: { ipv4: undefined, ipv6: undefined } }, 'ok', /not be found out/, null],
    ['redirects', { redirects: { sent: undefined, accepted: true } }, 'warn', /are believed/, /accept_redirects=0/],
  ])('%s %o', (name, facts, state, detail, fix) => {
    const check = machineChecks({ ...GOOD, ...facts }).find((each) => each.name === name);
    expect(check).toMatchObject({ state, detail: expect.stringMatching(detail) });
    if (fix === null) expect(check?.fix).toBeNull();
    else expect(check?.fix).toMatch(fix);
  });
});

test('told line by line, with the next action under what is not well', () => {
  const diagnosis: Diagnosis = {
    ok: false,
    checks: [
      { name: 'node', state: 'ok', detail: '20.19.0', fix: null },
      { name: 'UDP 500', state: 'warn', detail: 'may not be opened', fix: 'Be root.' },
      { name: 'configuration', state: 'fail', detail: 'tunnelwright.yaml: no', fix: 'Mend it.' },
    ],
    planes: [
      { name: 'netstack', available: true, detail: 'in this process', automatic: true, fix: null },
      { name: 'xfrm', available: false, detail: 'no ESP', automatic: false, fix: 'Load it.' },
    ],
    auto: [
      { use: 'machine', name: 'netstack', why: '', better: [{ name: 'tun', why: 'no right', fix: 'Be root.' }] },
      { use: 'programs', name: null, why: '', better: [{ name: 'netns', why: 'forbidden', fix: 'Permit it.' }] },
    ],
  };
  expect(renderDiagnosis(diagnosis, plain, 100)).toMatchInlineSnapshot(`
    "Machine
      ok    node           20.19.0
      warn  UDP 500        may not be opened
                           → Be root.
      fail  configuration  tunnelwright.yaml: no
                           → Mend it.
    Data planes
      ok    netstack       in this process
      no    xfrm           no ESP; taken by name alone
                           → Load it.
    What plane: auto takes here
      ok    netstack       for networks behind this machine, and for all of its programs; tun would
                           serve better, see above
      no    none           for programs that are started behind the tunnel; netns would serve, see above
    "
  `);
  for (const columns of [60, 80])
    expect(
      renderDiagnosis(diagnosis, plain, columns)
        .split('\n')
        .filter((line) => width(line) > columns),
    ).toEqual([]);
});

describe('doctor', () => {
  test('finds the plane that runs everywhere, and says what auto takes', async () => {
    const ran = await cli(['doctor', '--json']);
    expect(ran.code).toBe(0);
    expect(json(ran)).toMatchObject({
      schema: 1,
      ok: true,
      checks: expect.arrayContaining([expect.objectContaining({ name: 'node', state: 'ok' })]),
      planes: expect.arrayContaining([expect.objectContaining({ name: 'netstack', available: true, fix: null })]),
      auto: expect.arrayContaining([expect.objectContaining({ use: 'own', name: 'netstack', better: [] })]),
    });
  });

  test('a configuration that cannot be had is a failure, with its fix', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-doctor-'));
    try {
      const good = join(folder, 'good.yaml');
      const bad = join(folder, 'bad.yaml');
      await writeFile(good, 'plane: netstack\n');
      await writeFile(bad, 'plane: tube\n');
      const well = await cli(['doctor', '--config', good], { columns: 200 });
      expect([well.code, well.out]).toEqual([0, expect.stringMatching(/ok {4}configuration +.*good\.yaml: plane netstack, so netstack/)]);
      const ill = await cli(['doctor', '--config', bad], { columns: 200 });
      expect([ill.code, ill.out]).toEqual([1, expect.stringMatching(/fail {2}configuration +.*bad\.yaml:1:8 plane: expected one of/)]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
