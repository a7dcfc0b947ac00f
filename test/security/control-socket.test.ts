import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ControlClient, ControlServer, ROUTES } from '../../src/product/control/index.ts';
import { seededDraws } from '../fuzz/draws.ts';
import { mutate } from '../fuzz/mutate.ts';
import { FakeTarget } from '../product/control/fake-target.ts';
import { heldOctets } from './support/heap.ts';

/**
 * strongSwan CVE-2018-5388: the control socket believed a length. Whatever comes through ours, the instance goes on, and the next one who asks
 * properly is answered. (Who may open it at all: test/product/control/control.test.ts.)
 */
let folder: string;
let server: ControlServer;
let client: ControlClient;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tw-socket-'));
  const path = join(folder, 'run', 'home.sock');
  server = await ControlServer.listen({ target: new FakeTarget(), path, version: '1.2.3' });
  client = new ControlClient(path);
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const post = (path: string, body: string, length: string | number = body.length): string =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n${body}`;

const LIES: readonly string[] = [
  post('/v1/up', '{"connection":"home"}', 0),
  post('/v1/up', '{"connection":"home"}', 5),
  post('/v1/up', '{"connection":"home"}', 65_535),
  ...['-1', '4294967296', '99999999999999999999', '0x10', '1, 2', 'NaN', ''].map((length) => post('/v1/up', '{}', length)),
  post('/v1/up', '['.repeat(30_000)),
  post('/v1/up', `{"connection":"${'a'.repeat(60_000)}"}`),
  post('/v1/down', '{"ikeSa":1e308}'),
  post('/v1/down', '{"ikeSa":-1}'),
  post('/v1/down', '{"all":true,"connection":"home"}'),
  post('/v1/send', JSON.stringify({ files: Array.from({ length: 5000 }, () => 'x'), peer: 'p', path: '' })),
  `GET ${'/'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`,
  `GET /v1/status HTTP/1.1\r\n${'x: y\r\n'.repeat(5000)}\r\n`,
  'GET /v1/status HTTP/9.9\r\n\r\n',
  'GET http://elsewhere/v1/status HTTP/1.1\r\nhost: x\r\n\r\n',
  'GET /v1/../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n',
  'GET /v1/events?connection=%00%ff HTTP/1.1\r\nhost: x\r\n\r\n',
  'POST /v1/up HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n{',
  'POST /v1/up HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n',
  'CONNECT elsewhere:22 HTTP/1.1\r\nhost: x\r\n\r\n',
  'GET /v1/status HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n',
  '\0\0\0\x10',
  '\xff\xff\xff\xff',
];

test('CVE-2018-5388: lengths that lie, and requests of every other wrong kind', async () => {
  for (const lie of LIES) await say(new TextEncoder().encode(lie));
  expect((await client.version()).version).toBe('1.2.3');
});

test('CVE-2018-5388: mutated requests for every route', async () => {
  const draws = seededDraws(5388);
  const seeds = Object.values(ROUTES).map(({ method, path }) =>
    new TextEncoder().encode(method === 'GET' ? `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n` : post(path, '{"connection":"home"}')),
  );
  const before = heldOctets();
  for (let i = 0; i < 300; i++) await say(mutate(draws.pick(seeds), seeds, draws));
  expect((await client.status()).name).toBe('home');
  // sockets go when the event loop has turned a few times more
  await vi.waitFor(() => expect(heldOctets() - before).toBeLessThan(8 << 20), { timeout: 20_000 });
});

test('more connections than it takes, all silent: those who ask afterwards are answered', async () => {
  const idle = Array.from({ length: 100 }, () => connect(server.path).on('error', () => undefined));
  await Promise.all(idle.map((socket) => new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))));
  for (const socket of idle) socket.destroy();
  expect((await client.version()).version).toBe('1.2.3');
});

/** Writes the octets, ends, and waits until the other side has closed or answered. */
function say(data: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(server.path);
    const done = () => {
      socket.destroy();
      resolve();
    };
    socket.on('error', done).on('close', done).on('data', done);
    socket.end(data);
  });
}
