import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { DemoResult } from '../../src/cli/demo/demo.ts';
import { decodeCapture, parseEspTable, parseIkeTable } from '../../src/product/explain/index.ts';
import { CliProcess, isRunning, runCli } from '../support/cli.ts';
import { eventually } from './support/loopback.ts';

/** The demo as a user runs it: the built program in a process of its own, with an empty home and a temporary folder of its own. */
let place = '';
const home = (): string => join(place, 'home');
const temp = (): string => join(place, 'tmp');
const environment = () => ({ cwd: place, env: { HOME: home(), TMPDIR: temp(), COLUMNS: '200' } });

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'tunnelwright-e2e-'));
  for (const folder of [home(), temp()]) mkdirSync(folder);
});
afterEach(() => rmSync(place, { recursive: true, force: true }));

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

function makeFile(name: string, octets: number): Uint8Array {
  const data = randomBytes(octets);
  writeFileSync(join(place, name), data);
  return data;
}

/** Process ids of the gateway and of the client, from what the demo says. */
const pidsIn = (output: string): number[] => [...output.matchAll(/(?:gateway|client) +process (\d+)/g)].map(([, pid]) => Number(pid));

function expectNothingLeft(): void {
  expect(readdirSync(temp()), 'files left in the temporary folder').toEqual([]);
  expect(readdirSync(home()), 'files left in the home').toEqual([]);
}

describe('demo', () => {
  test('takes a file through the tunnel and says what it did', async () => {
    const digest = sha256(makeFile('letter.bin', 3 << 20));
    const { code, stdout, stderr } = await runCli(['demo', '--file', 'letter.bin'], environment());
    expect(code, stdout + stderr).toBe(0);
    expect(stderr).toBe('');
    for (const line of [
      /^ {2}✓ CA {8}\S/m,
      /^ {2}✓ file {6}letter\.bin {3}3\.0 MiB$/m,
      /^ {2}✓ gateway {3}process \d+ {3}UDP 127\.0\.0\.1:\d+/m,
      /^ {2}✓ NAT {7}127\.0\.0\.1:\d+ and 127\.0\.0\.1:\d+/m,
      /^ {2}✓ client {4}process \d+$/m,
      /^ {2}→ IKE_SA_INIT .* aes256gcm16/m,
      /NAT on our side/,
      /^ {2}→ IKE_AUTH /m,
      /gateway\.demo proved with a certificate/,
      /^ {2}✓ up in .* 10\.66\.0\.2/m,
      /↻ CHILD_SA rekeyed at \d+ % of the file/,
      /↻ IKE SA rekeyed at \d+ % of the file/,
      /^demo {2}#2 {2}ESTABLISHED/m,
      new RegExp(`SHA-256 at the client +${digest}$`, 'm'),
      new RegExp(`SHA-256 at the gateway +${digest}$`, 'm'),
    ])
      expect(stdout).toMatch(line);
    expect(stdout.match(/^ {2}[✓✗] (?:the|every) .*/gm)).toEqual([
      '  ✓ the file arrived whole: SHA-256 equal at both ends',
      '  ✓ the CHILD_SA was rekeyed while it was under way, and traffic moved to the new SPIs',
      '  ✓ the IKE SA was rekeyed while it was under way',
      '  ✓ every octet of the file went through ESP',
      '  ✓ the client said goodbye and the gateway freed its SAs',
    ]);
    const pids = pidsIn(stdout);
    expect(pids.length).toBe(2);
    expect(pids.filter(isRunning)).toEqual([]);
    expectNothingLeft();
  });

  test.each([0, 1])('a file of %i octets sees both rekeyings on its way all the same', async (octets) => {
    const digest = sha256(makeFile('note', octets));
    const { code, stdout, stderr } = await runCli(['demo', '--json', '--file', 'note'], environment());
    const result = JSON.parse(stdout) as DemoResult;
    expect(result.checks.filter(({ held }) => !held)).toEqual([]);
    expect(code, stderr).toBe(0);
    expect(result.sha256).toEqual({ sent: digest, received: digest });
    // two CHILD_SAs, two directions each, and something went over every one that leads to the gateway
    expect(result.gateway.spis.filter(({ direction, packets }) => direction === 'in' && packets > 0).length).toBe(2);
    expectNothingLeft();
  });

  test('--keylog leaves a capture and the keys that open all of it', async () => {
    makeFile('letter.bin', 200_000);
    const { code, stdout, stderr } = await runCli(['demo', '--json', '--file', 'letter.bin', '--keylog', 'keys/here'], environment());
    expect(code, stderr).toBe(0);
    const { ports } = JSON.parse(stdout) as DemoResult;
    const folder = join(place, 'keys', 'here');
    for (const secret of ['demo.pcapng', 'esp_sa', 'ikev2_decryption_table'])
      expect(statSync(join(folder, secret)).mode & 0o777, secret).toBe(0o600);
    const text = (name: string): string => readFileSync(join(folder, name), 'utf8');
    expect(text('decode_as_entries')).toContain(`udp.port,${ports.nat},`);
    const { packets, damage } = decodeCapture(new Uint8Array(readFileSync(join(folder, 'demo.pcapng'))), {
      ikeKeys: parseIkeTable(text('ikev2_decryption_table')),
      espKeys: parseEspTable(text('esp_sa')),
      ikePorts: [ports.ike],
      natPorts: [ports.nat],
    });
    expect(damage).toBeUndefined();
    const esp = packets.filter(({ kind }) => kind === 'esp');
    expect(esp.filter((packet) => packet.esp?.protection !== 'opened')).toEqual([]);
    expect(new Set(esp.map((packet) => packet.esp?.spi)).size).toBe(4);
    const sent = packets.flatMap((packet) => packet.ike ?? []).filter(({ retransmitted }) => !retransmitted);
    // a fragment that is not the last one of its message has been opened, too (RFC 7383 §2.5)
    const ike = sent.filter(({ protection }) => protection !== 'fragment');
    expect(ike.map(({ protection }) => protection)).toEqual(['clear', 'clear', ...new Array<string>(ike.length - 2).fill('opened')]);
    expect(ike.filter(({ exchange }) => exchange === 'IKE_AUTH')).toHaveLength(2);
    const requests = ike.filter(({ exchange, response }) => exchange === 'CREATE_CHILD_SA' && !response);
    expect(requests.map(({ payloads }) => payloads.join(' ')).sort()).toEqual([
      expect.stringMatching(/REKEY_SA.* SA .*TSi TSr/),
      expect.stringMatching(/^SA Ni? KEi?$/),
    ]);
    expectNothingLeft();
  });

  test('a file that is not there, or a folder that cannot be written, is told at once', async () => {
    makeFile('letter.bin', 10);
    const missing = await runCli(['demo', '--file', 'nowhere.bin'], environment());
    expect(missing.code).toBe(2);
    expect(missing.stderr).toMatch(/^✗ there is no file .*nowhere\.bin .*exit 2\n {2}fix {3}\S/);
    const folder = await runCli(['demo', '--file', 'letter.bin', '--keylog', 'letter.bin'], environment());
    expect(folder.code).toBe(2);
    expect(folder.stderr).toMatch(/^✗ .*letter\.bin is not a folder to write to \(EEXIST\) .*exit 2\n {2}fix {3}\S/);
    expectNothingLeft();
  });
});

describe('a demo that is cut short', () => {
  test('by Ctrl-C ends at once and leaves nothing behind', async () => {
    const began = performance.now();
    const demo = new CliProcess(['demo'], environment());
    await demo.until(/↻ CHILD_SA rekeyed/);
    const since = performance.now();
    demo.interrupt();
    const { code, stdout, stderr } = await demo.ended;
    // on a busy machine, no longer than it took to get here
    expect(performance.now() - since).toBeLessThan(Math.max(3000, since - began));
    expect(code).toBe(130);
    expect(stderr).toBe('✗ interrupted   exit 130\n');
    expect(pidsIn(stdout).filter(isRunning)).toEqual([]);
    expectNothingLeft();
  });

  test('by Ctrl-C before anything runs', async () => {
    const demo = new CliProcess(['demo'], environment());
    await demo.until(/✓ CA/);
    demo.interrupt();
    expect(await demo.ended).toMatchObject({ code: 130, stderr: '✗ interrupted   exit 130\n' });
    expectNothingLeft();
  });

  test('by --timeout says so', async () => {
    const { code, stderr } = await runCli(['demo', '--timeout', '1500ms'], environment());
    expect(stderr).toMatch(/^✗ not done within 1\.5 s {3}exit 6\n/);
    expect(code).toBe(6);
    expectNothingLeft();
  });

  test('because its process was killed: gateway and client end on their own', async () => {
    const demo = new CliProcess(['demo'], environment());
    await demo.until(/↻ CHILD_SA rekeyed/);
    demo.kill();
    const { signal, stdout } = await demo.ended;
    expect(signal).toBe('SIGKILL');
    const pids = pidsIn(stdout);
    expect(pids.length).toBe(2);
    await eventually('gateway and client have ended', () => !pids.some(isRunning));
    expect(existsSync(temp())).toBe(true);
  });

  test('because a process of it died says which', async () => {
    const demo = new CliProcess(['demo'], environment());
    const [, pid] = await demo.until(/gateway +process (\d+)/);
    await demo.until(/↻ CHILD_SA rekeyed/);
    process.kill(Number(pid), 'SIGKILL');
    const { code, stdout, stderr } = await demo.ended;
    expect(stderr).toMatch(/^✗ the gateway of the demo ended all of a sudden \(SIGKILL\) {3}exit 1\n/);
    expect(code).toBe(1);
    expect(pidsIn(stdout).filter(isRunning)).toEqual([]);
    expectNothingLeft();
  });
});
