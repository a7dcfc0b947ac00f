import { createSocket } from 'node:dgram';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CliProcess, isRunning, runCli } from '../support/cli.ts';
import { eventually } from './support/loopback.ts';

/** Two terminals, as the README has them: a gateway, and a client that goes into the background. */
const unique = `t${process.pid}`;
let place = '';
let port = 0;
let gateway: CliProcess;
const environment = () => ({ cwd: place, env: { HOME: place, XDG_RUNTIME_DIR: place } });

beforeAll(async () => {
  place = mkdtempSync(join(tmpdir(), 'tunnelwright-detach-'));
  writeFileSync(join(place, 'psk'), 'a secret of this test alone', { mode: 0o600 });
  writeFileSync(join(place, 'other'), 'another secret', { mode: 0o600 });
  port = await freePort();
  gateway = new CliProcess(
    ['serve', '--name', `gw-${unique}`, '--psk-file', 'psk', '--id', 'gw.example', '--address', '127.0.0.1', '--port', String(port)],
    environment(),
  );
  await gateway.until(/listening on/);
});

afterAll(async () => {
  gateway.interrupt();
  await gateway.ended;
  rmSync(place, { recursive: true, force: true });
});

const up = (name: string, secret: string) =>
  runCli(
    ['up', `ike://alice@127.0.0.1:${port}`, '--psk-file', secret, '--remote-id', 'gw.example', '--name', name, '--detach'],
    environment(),
  );

test('up --detach tells how it came up and leaves; status sees it, down ends it', async () => {
  const { code, stdout, stderr } = await up(`office-${unique}`, 'psk');
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toMatch(/✓ up in/);
  const [, pid, log] = /in the background, process (\d+); what it says goes to (\S+)/.exec(stderr) ?? [];
  expect(isRunning(Number(pid))).toBe(true);
  expect((await runCli(['status', '--json'], environment())).stdout).toContain(`office-${unique}`);

  const down = await runCli(['down', '127.0.0.1', '--control', log!.replace(/\.log$/, '.sock')], environment());
  expect(down.stdout).toMatch(/closed 1 IKE SA/);
  await eventually('the client ends', () => !isRunning(Number(pid)));
  expect(readFileSync(log!, 'utf8')).toMatch(/to disconnect: tunnelwright down/);
});

test('what fails before it stands is told, with its exit code, and nothing stays in the background', async () => {
  const { code, stderr } = await up(`wrong-${unique}`, 'other');
  expect(stderr).toMatch(/AUTHENTICATION_FAILED/);
  expect(code).toBe(4);
});

function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  return new Promise((resolve) => {
    socket.bind(0, '127.0.0.1', () => {
      const { port: found } = socket.address();
      socket.close(() => resolve(found));
    });
  });
}
