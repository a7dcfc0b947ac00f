import { describe, expect, test } from 'vitest';
import { hasThread } from '../../../src/host/dataplane/backends/netstack.ts';
import type { ProbeResult } from '../../../src/host/dataplane/data-plane.ts';
import { type Candidate, chooseBackend, choosePlane, lacksFor, PLANE_ORDER } from '../../../src/host/dataplane/index.ts';
import { describeWithNative } from '../../support/native.ts';

const CAN: ProbeResult = { ok: true, detail: 'it can' };
const cannot = (reason: string): ProbeResult => ({ ok: false, reason, hint: `mend ${reason}` });

/** What the probes found; all can run, unless told. */
function machine(more: Readonly<Record<string, ProbeResult>> = {}): Candidate[] {
  const planes = { netstack: CAN, tun: CAN, netns: CAN, xfrm: CAN, ...more };
  return Object.entries(planes).map(([name, result]) => ({
    name,
    changesMachine: name === 'tun' || name === 'xfrm',
    result,
  }));
}

describe('the plane that auto takes', () => {
  const noRight = cannot('CAP_NET_ADMIN');
  const noKoffi = cannot('koffi');
  const forbidden = cannot('user namespaces');
  test.each([
    // use, what the probes found, root; taken, better
    ['own', {}, true, 'netstack', []],
    ['own', { netstack: CAN, tun: noKoffi, netns: noKoffi, xfrm: noKoffi }, false, 'netstack', []],
    // the kernel's own IPsec carries less, and is never taken unasked
    ['machine', {}, true, 'tun', []],
    ['machine', { tun: noKoffi }, true, 'netstack', ['tun']],
    ['machine', { tun: noRight }, false, 'netstack', ['tun']],
    ['programs', {}, false, 'netns', []],
    ['programs', {}, true, 'netns', []],
    ['programs', { netns: forbidden }, true, undefined, undefined],
  ] as const)('for %s with %o, root %s: %s', (use, found, root, name, better) => {
    const decision = choosePlane(use, machine(found), root);
    expect([decision?.name, decision?.better.map((lack) => lack.name)]).toEqual([name, better]);
  });

  test('nothing of the machine changes for an ordinary user, whatever a probe says', () => {
    const decision = choosePlane('machine', machine(), false);
    expect(decision).toMatchObject({ name: 'netstack', automatic: true, why: 'it is the best that can run here' });
    expect(decision?.better).toEqual([
      { name: 'tun', why: 'it needs root, or CAP_NET_ADMIN', fix: 'Start it as root, or choose it by name: --plane tun.' },
    ]);
  });

  test('a privilege that is missing is called by its name', () => {
    const refused: ProbeResult = { ok: false, reason: 'making the device (EPERM)', hint: 'Start it as root.', privilege: 'CAP_NET_ADMIN' };
    expect(choosePlane('machine', machine({ tun: refused }), false)?.better).toEqual([
      { name: 'tun', why: 'it needs root, or CAP_NET_ADMIN', fix: 'Start it as root.' },
    ]);
  });

  test('where none can run, each says why', () => {
    expect(lacksFor('programs', machine({ netns: forbidden }), true)).toEqual([
      { name: 'netns', why: 'user namespaces', fix: 'mend user namespaces' },
    ]);
  });

  test('every plane in the order is one that there is, and none stands there twice', () => {
    for (const order of Object.values(PLANE_ORDER)) {
      expect(new Set(order).size).toBe(order.length);
      expect(machine().map(({ name }) => name)).toEqual(expect.arrayContaining([...order]));
    }
  });
});

describe('a plane by name', () => {
  test('says that it was asked for', async () => {
    const { backend, decision } = await chooseBackend('netstack');
    expect([backend.name, decision.automatic, decision.better]).toEqual(['netstack', false, []]);
  });

  test('auto is what this process needs for its own sockets, unless another use is told', async () => {
    expect((await chooseBackend('auto')).decision).toMatchObject({ name: 'netstack', automatic: true });
  });

  test('that is not there is refused, with those that are', async () => {
    await expect(chooseBackend('tube')).rejects.toMatchObject({ code: 'PLANE_UNKNOWN', hint: expect.stringContaining('netstack') });
    await expect(chooseBackend('tube')).rejects.toMatchObject({ hint: expect.not.stringContaining('memory') });
  });
});

describeWithNative('a thread for ESP in the plane netstack', (native) => {
  test.each([
    ['auto', 1, false],
    ['auto', 2, false],
    ['auto', 3, true],
    [true, 1, true],
    [false, 64, false],
    [undefined, 64, false],
  ] as const)('asked for: %s, on %i processors: %s', (wish, cores, expected) => {
    expect(hasThread(native, wish, cores)).toBe(expected);
    expect(hasThread(undefined, wish, cores)).toBe(false);
  });
});
