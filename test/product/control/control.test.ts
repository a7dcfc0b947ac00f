import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AuthenticationFailure, InternalError, PeerRefused } from '../../../src/core/bytes/errors.ts';
import { utf8 } from '../../../src/core/bytes/index.ts';
import type { Notice } from '../../../src/core/ike/effects.ts';
import {
  ControlClient,
  ControlServer,
  defaultSocketPath,
  listSockets,
  socketFolder,
  type TransferProgress,
} from '../../../src/product/control/index.ts';
import { FakeTarget, ikeSa, NOW, WALL } from './fake-target.ts';

let folder: string;
let path: string;
let target: FakeTarget;
let server: ControlServer | undefined;
let client: ControlClient;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tw-control-'));
  path = join(folder, 'run', 'home.sock');
  target = new FakeTarget();
  server = await ControlServer.listen({ target, path, version: '1.2.3' });
  client = new ControlClient(path);
});
afterEach(async () => {
  await server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** What HTTP itself says, for requests that the client would not make. */
function raw(method: string, where: string, body?: string | Uint8Array): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath: path, method, path: where, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
      response.on('error', reject);
    });
    asking.on('error', reject);
    asking.end(body);
  });
}

const all = async <T>(lines: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = [];
  for await (const line of lines) found.push(line);
  return found;
};

describe('the socket', () => {
  test('only its owner can open it, and look into its folder', () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'run')).mode & 0o777).toBe(0o700);
    expect(statSync(path).isSocket()).toBe(true);
  });

  test('the umask is what it was', () => {
    const before = process.umask();
    expect(before).not.toBe(0o177);
  });

  test('a second instance of the same name is refused, and the first lives on', async () => {
    await expect(ControlServer.listen({ target: new FakeTarget(), path, version: '1' })).rejects.toMatchObject({
      code: 'ALREADY_RUNNING',
      hint: expect.stringContaining('--name'),
    });
    expect((await client.version()).version).toBe('1.2.3');
  });

  test('one that refuses leaves no listener behind', async () => {
    const second = new FakeTarget();
    await ControlServer.listen({ target: second, path, version: '1' }).catch(() => undefined);
    expect(second.listeners).toBe(0);
  });

  test('a socket that nobody serves any more is replaced', async () => {
    const stale = join(folder, 'stale.sock');
    await abandonedSocket(stale);
    const next = await ControlServer.listen({ target, path: stale, version: '2' });
    expect((await new ControlClient(stale).version()).version).toBe('2');
    await next.close();
    expect(existsSync(stale)).toBe(false);
  });

  test.each([
    ['a file', (at: string) => writeFileSync(at, 'precious')],
    ['a folder', (at: string) => mkdirSync(at)],
    ['a link to something', (at: string) => symlinkSync('/etc/hostname', at)],
  ])('%s in its place is left alone', async (_, make) => {
    const at = join(folder, 'other.sock');
    make(at);
    await expect(ControlServer.listen({ target, path: at, version: '1' })).rejects.toMatchObject({
      code: 'CONTROL_SOCKET',
      message: expect.stringContaining('is there and is not a socket'),
    });
    expect(existsSync(at)).toBe(true);
  });

  test('a folder into which others can write is refused', async () => {
    const open = join(folder, 'open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    await expect(ControlServer.listen({ target, path: join(open, 'x.sock'), version: '1' })).rejects.toMatchObject({
      code: 'CONTROL_SOCKET',
      hint: expect.stringContaining('chmod 700'),
    });
  });

  test('a path that does not fit into a socket address', async () => {
    await expect(ControlServer.listen({ target, path: join(folder, 'x'.repeat(120)), version: '1' })).rejects.toMatchObject({
      code: 'CONTROL_SOCKET',
      message: expect.stringContaining('too long'),
    });
  });

  test('closing takes it away and lets go of the instance', async () => {
    await server!.close();
    server = undefined;
    expect(existsSync(path)).toBe(false);
    expect(target.listeners).toBe(0);
    await expect(client.status()).rejects.toMatchObject({ code: 'NOT_RUNNING', hint: expect.stringContaining('tunnelwright serve') });
  });

  test('where it is by default', () => {
    const surroundings = (uid: number, env: Record<string, string>) => ({ uid, env, home: '/home/alice' });
    expect(defaultSocketPath('home', surroundings(0, { XDG_RUNTIME_DIR: '/run/user/0' }))).toBe('/var/run/tunnelwright/home.sock');
    expect(defaultSocketPath('home', surroundings(1000, { XDG_RUNTIME_DIR: '/run/user/1000' }))).toBe(
      '/run/user/1000/tunnelwright/home.sock',
    );
    expect(defaultSocketPath('home', surroundings(1000, {}))).toBe('/home/alice/.local/state/tunnelwright/home.sock');
    expect(socketFolder(surroundings(1000, { XDG_RUNTIME_DIR: 'relative' }))).toBe('/home/alice/.local/state/tunnelwright');
  });

  test('instances are found by name', () => {
    expect(listSockets(join(folder, 'run'))).toEqual([{ name: 'home', path }]);
    expect(listSockets(join(folder, 'nowhere'))).toEqual([]);
  });
});

describe('questions', () => {
  test('version', async () => {
    expect(await client.version()).toEqual({
      schema: 1,
      name: 'home',
      role: 'gateway',
      version: '1.2.3',
      node: process.version,
      openssl: process.versions.openssl,
      pid: process.pid,
    });
  });

  test('sas: times are absolute, SPIs hex, secrets absent', async () => {
    const document = await client.sas();
    expect(document).toMatchObject({
      schema: 1,
      name: 'home',
      at: '2026-01-02T03:04:05.000Z',
      ikeSas: [
        {
          id: 12,
          spiI: '9a03d5574c1180fe',
          local: '203.0.113.7:4500',
          remoteId: 'alice@example.com',
          nat: { ours: false, theirs: true },
          dpdSeconds: 30,
          establishedAt: '2026-01-02T02:59:53.000Z',
          lastInboundAt: '2026-01-02T03:03:54.000Z',
          children: [
            {
              spiIn: 'c71fe402',
              spiOut: '0be2917a',
              localTs: ['0.0.0.0/0'],
              remoteTs: ['10.66.0.5'],
              in: { bytes: 19_293_798, packets: 13_902, lastAt: '2026-01-02T03:04:03.000Z' },
              replay: 3,
              bad: 2,
            },
          ],
        },
      ],
    });
  });

  test('status: one entry a peer, also for those that are gone and those never seen', async () => {
    target.notice({ kind: 'ike-up', ikeSa: 5, info: ikeSa({ id: 5, remoteId: { idType: 2, data: utf8('bob') } }) });
    target.notice(
      { kind: 'ike-down', ikeSa: 5, connection: 'road', reason: 'closed by peer (DELETE)', error: undefined },
      WALL - 7_200_000,
    );
    target.notice({
      kind: 'exchange',
      ikeSa: 12,
      exchange: 34,
      messageId: 0,
      initiator: true,
      remote: { ip: '192.0.2.9', port: 500 },
      requestOctets: 1,
      responseOctets: 1,
      took: 12.34,
      retransmissions: 0,
      summary: '',
    });
    target.notice({
      kind: 'exchange',
      ikeSa: 12,
      exchange: 37,
      messageId: 1,
      initiator: true,
      remote: { ip: '192.0.2.9', port: 500 },
      requestOctets: 1,
      responseOctets: 1,
      took: 999,
      retransmissions: 1,
      summary: '',
    });
    const { peers, ...rest } = await client.status();
    expect(rest).toEqual({
      schema: 1,
      name: 'home',
      role: 'gateway',
      version: '1.2.3',
      pid: process.pid,
      startedAt: '2026-01-02T02:04:05.000Z',
      at: '2026-01-02T03:04:05.000Z',
      plane: 'netstack',
      planeChoice: null,
      espThread: null,
      enter: null,
      listen: ['203.0.113.7:500', '203.0.113.7:4500'],
      load: {
        ikeSas: target.sas.length,
        halfOpen: 3,
        strangers: { cookies: 1200, puzzles: 0, refusals: 7, silenced: 2, unknown: 40 },
        workers: expect.objectContaining({ workers: 2, refused: 6, waiting: { trusted: 1, reachable: 4, stranger: 9 } }),
      },
    });
    expect(peers).toEqual([
      {
        connection: 'road',
        id: 'alice@example.com',
        state: 'up',
        since: '2026-01-02T02:59:53.000Z',
        addresses: ['10.66.0.5'],
        bytesIn: 19_293_798,
        bytesOut: 851_443_712,
        rttMs: 12.3,
        suite: 'aes256gcm16/pfs x25519',
        plane: 'netstack',
        transport: 'udp',
        rekeyAt: '2026-01-02T03:56:05.000Z',
        reason: null,
      },
      expect.objectContaining({
        connection: 'road',
        id: 'bob',
        state: 'down',
        since: '2026-01-02T01:04:05.000Z',
        reason: 'closed by peer (DELETE)',
      }),
      expect.objectContaining({ connection: 'branch', id: null, state: 'down', since: null, reason: null }),
    ]);
  });

  test('status: an attempt that failed says why, until one succeeds; a rekey is no change', async () => {
    target.sas = [];
    target.notice({ kind: 'ike-state', ikeSa: 7, connection: 'branch', from: 'connecting', to: 'dead' });
    target.notice({
      kind: 'ike-down',
      ikeSa: 7,
      connection: 'branch',
      reason: 'x',
      error: new AuthenticationFailure('the pre-shared key is wrong', { code: 'PSK_MISMATCH' }),
    });
    expect((await client.status()).peers).toMatchObject([
      { connection: 'branch', state: 'down', since: null, reason: 'the pre-shared key is wrong' },
    ]);
    const up = ikeSa({ id: 8, connection: 'branch', establishedAt: NOW - 900_000 });
    target.notice({ kind: 'ike-up', ikeSa: 8, info: up });
    target.notice({ kind: 'ike-rekeyed', from: 8, to: 9, byUs: true });
    target.sas = [ikeSa({ id: 9, connection: 'branch' })];
    target.notice({ kind: 'ike-down', ikeSa: 8, connection: 'branch', reason: 'rekeyed', error: undefined });
    const [now] = (await client.status()).peers;
    expect(now).toMatchObject({ connection: 'branch', id: 'alice@example.com', state: 'up' });
    expect(now!.since, 'since it came up, not since it was rekeyed').toBe(new Date(WALL - 900_000).toISOString());
  });
});

describe('commands', () => {
  test('down, terminate and rekey pass on what is selected', async () => {
    expect(await client.down({ connection: 'road' })).toEqual({ schema: 1, ikeSas: 1, children: 1 });
    await client.terminate({ ikeSa: 12, force: true });
    await client.rekey({ child: 31 });
    await client.redirect({ to: 'vpn2.example.com', ikeSa: 7 });
    expect(target.calls.map(({ what, request: asked }) => [what, asked])).toEqual([
      ['down', { connection: 'road' }],
      ['down', { ikeSa: 12, force: true }],
      ['rekey', { child: 31 }],
      ['redirect', { to: 'vpn2.example.com', ikeSa: 7 }],
    ]);
  });

  test.each([
    ['nothing', {}],
    ['two things', { connection: 'a', ikeSa: 1 }],
    ['an unknown field', { connection: 'a', extra: 1 }],
    ['a wrong type', { ikeSa: 'twelve' }],
  ])('%s selected is refused before the instance is asked', async (_, selection) => {
    await expect(client.down(selection as { connection: string })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    expect(target.calls).toEqual([]);
  });

  test('a failure arrives as it happened: class, code, hint, notify', async () => {
    target.behave = () =>
      Promise.reject(
        new PeerRefused('the gateway refused every proposal', {
          code: 'NO_PROPOSAL_CHOSEN',
          notify: 14,
          hint: 'ask for less',
          section: 'RFC 7296 §2.7',
        }),
      );
    await expect(client.rekey({ all: true })).rejects.toMatchObject({
      type: 'PeerRefused',
      code: 'NO_PROPOSAL_CHOSEN',
      message: 'the gateway refused every proposal',
      hint: 'ask for less',
      section: 'RFC 7296 §2.7',
      notify: 14,
    });
  });

  test('a defect tells its message, not its stack', async () => {
    target.behave = () => Promise.reject(new TypeError('x is undefined'));
    const { status, body } = await raw('POST', '/v1/down', '{"all": true}');
    expect(status).toBe(500);
    expect(JSON.parse(body)).toEqual({
      schema: 1,
      error: {
        type: 'InternalError',
        code: 'INTERNAL_ERROR',
        message: 'unexpected: x is undefined',
        hint: expect.stringContaining('report'),
      },
    });
    expect(body).not.toContain('.ts');
  });
});

describe('streams', () => {
  test('up shows the steps of its connection, then the SA', async () => {
    target.behave = async () => {
      target.notice({ kind: 'ike-state', ikeSa: 20, connection: 'branch', from: 'none', to: 'connecting' });
      target.notice({ kind: 'nat', ikeSa: 20, ours: true, theirs: false, forced: false });
      target.notice({ kind: 'nat', ikeSa: 12, ours: true, theirs: false, forced: false });
      target.notice({
        kind: 'exchange',
        ikeSa: 20,
        exchange: 34,
        messageId: 0,
        initiator: true,
        remote: { ip: '198.51.100.1', port: 500 },
        requestOctets: 412,
        responseOctets: 444,
        took: 18.4,
        retransmissions: 0,
        summary: 'x25519',
      });
      target.notice({
        kind: 'addresses',
        ikeSa: 20,
        addresses: ['10.66.0.5'],
        missing: [6],
        attributes: [
          { type: 3, value: new Uint8Array([10, 66, 0, 1]) },
          { type: 13, value: new Uint8Array([10, 0, 0, 0, 255, 0, 0, 0]) },
          { type: 25, value: utf8('corp.example.com') },
          { type: 23456, value: new Uint8Array([10, 66, 0, 1]) },
        ],
      });
      return { ikeSa: ikeSa({ id: 20, connection: 'branch' }), took: 148.2 };
    };
    const lines = await all(client.up({ connection: 'branch' }));
    expect(lines).toMatchObject([
      { event: 'ike-state', connection: 'branch', to: 'connecting' },
      { event: 'nat', ikeSa: 20, ours: true },
      { event: 'exchange', exchange: 'IKE_SA_INIT', remote: '198.51.100.1:500', requestOctets: 412, took: 18 },
      {
        event: 'addresses',
        addresses: ['10.66.0.5'],
        missing: ['IPv6'],
        dns: ['10.66.0.1'],
        servers: ['10.66.0.1'],
        routes: ['10.0.0.0/8'],
        domains: ['corp.example.com'],
      },
      { event: 'up', tookMs: 148, ikeSa: { id: 20, dpdSeconds: 10 } },
    ]);
    expect(target.listeners).toBe(1);
  });

  test('up that fails ends in the error, after its steps', async () => {
    target.behave = async () => {
      target.notice({
        kind: 'failed',
        ikeSa: undefined,
        connection: 'branch',
        what: 'IKE_AUTH',
        error: new AuthenticationFailure('no', { code: 'PSK_MISMATCH' }),
      });
      throw new AuthenticationFailure('no', { code: 'PSK_MISMATCH' });
    };
    const seen: unknown[] = [];
    const run = (async () => {
      for await (const line of client.up({ connection: 'branch' })) seen.push(line);
    })();
    await expect(run).rejects.toMatchObject({ type: 'AuthenticationFailure', code: 'PSK_MISMATCH' });
    expect(seen).toMatchObject([{ event: 'failed', error: { code: 'PSK_MISMATCH' } }]);
  });

  test('up that fails at once is an HTTP error', async () => {
    target.behave = () => Promise.reject(new InternalError('broken'));
    await expect(all(client.up({ connection: 'branch' }))).rejects.toMatchObject({ code: 'INTERNAL_ERROR' });
  });

  test('whoever goes away takes the wish along', async () => {
    let told: AbortSignal | undefined;
    target.behave = (_, __, signal) => {
      told = signal;
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    };
    const caller = new AbortController();
    const run = all(client.up({ connection: 'branch' }, caller.signal));
    await until(() => told !== undefined);
    caller.abort(new Error('enough'));
    await expect(run).rejects.toThrow('enough');
    await until(() => told!.aborted);
    await until(() => target.listeners === 1);
  });

  test('events: of one connection or of all, never keys, messages only when asked for', async () => {
    const caller = new AbortController();
    const one = collect(client.events({ connection: 'branch' }, caller.signal));
    const everything = collect(client.events({ messages: true }, caller.signal));
    await until(() => target.listeners === 3);
    const keys = {
      spiI: new Uint8Array(8),
      spiR: new Uint8Array(8),
      encryption: 20,
      keyLength: 256,
      integrity: 0,
      SK_ei: utf8('SECRET'),
      SK_er: utf8('SECRET'),
      SK_ai: utf8('SECRET'),
      SK_ar: utf8('SECRET'),
    };
    target.notice({ kind: 'ike-keys', ikeSa: 12, keys });
    target.notice({ kind: 'child-keys', ikeSa: 12, child: 31, secret: 'SECRET' } as unknown as Notice);
    target.notice({ kind: 'of a later version', ikeSa: 12, secret: 'SECRET' } as unknown as Notice);
    target.notice({ kind: 'message', ikeSa: 12, direction: 'in', text: 'line one\nline \u001b[31mtwo' });
    target.notice({
      kind: 'peer',
      ikeSa: 12,
      id: { idType: 2, data: utf8('evil\u001b]0;x\u0007') },
      method: 14,
      description: 'C=CH\u001b[2J',
    });
    target.notice({ kind: 'ike-down', ikeSa: 3, connection: 'branch', reason: 'gone', error: undefined });
    await until(() => one.lines.length === 1 && everything.lines.length === 3);
    caller.abort();
    await Promise.allSettled([one.done, everything.done]);
    expect(one.lines).toMatchObject([{ event: 'ike-down', connection: 'branch', reason: 'gone' }]);
    expect(everything.lines.map((line) => line.event)).toEqual(['message', 'peer', 'ike-down']);
    expect(everything.lines[0]).toMatchObject({ text: 'line one\nline \\x1b[31mtwo' });
    const text = JSON.stringify(everything.lines);
    expect(text).not.toContain('SECRET');
    expect(text).not.toContain('\\u001b');
  });

  test('a reader that does not read is told how much it missed', async () => {
    const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
      request({ socketPath: path, path: '/v1/events', agent: false }, resolve).on('error', reject).end();
    });
    response.pause();
    await until(() => target.listeners === 2);
    const detail = 'x'.repeat(10_000);
    for (let i = 0; i < 1000; i++) target.notice({ kind: 'drop', cause: 'test', remote: { ip: '192.0.2.1', port: 1 }, detail });
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (part: string) => {
      text += part;
    });
    response.resume();
    await until(() => text.length > 500_000);
    // one of these is the first that finds room again, and then it is told what was left out before it
    let sent = 1000;
    while (!text.includes('"last"')) {
      target.notice({ kind: 'drop', cause: 'last', remote: { ip: '192.0.2.1', port: 1 }, detail: '' });
      sent++;
      await sleep(20);
    }
    const account = () => {
      const whole = text.slice(0, text.lastIndexOf('\n'));
      const lines = whole.split('\n').map((line) => JSON.parse(line) as { event: string; lines?: number });
      const missed = lines.filter(({ event }) => event === 'missed').map((line) => line.lines!);
      return { missed, told: lines.length - missed.length };
    };
    const total = (): number => account().missed.reduce((sum, count) => sum + count, account().told);
    await until(() => total() === sent);
    expect(account().missed[0]).toBeGreaterThan(100);
    response.destroy();
  });

  test('send shows progress and ends with what got across', async () => {
    const progress: TransferProgress = {
      phase: 'sending',
      name: 'a',
      bytes: 1,
      total: 2,
      rate: 3,
      eta: undefined,
      resumedFrom: 0,
      retries: 0,
    };
    target.transfer = {
      send: async (_, tell) => {
        tell(progress);
        tell({ ...progress, phase: 'done', bytes: 2, eta: 0 });
        return {
          files: [{ name: 'a', path: 'inbox/a', bytes: 2, sha256: 'ff', took: 5.5, resumedFrom: 0 }],
          spis: [{ spi: 0xabc, direction: 'out', packets: 1, bytes: 42 }],
          outside: undefined,
        };
      },
      list: async ({ path }) => [
        { name: path, kind: 'file', size: 1, modified: WALL, mode: 0o640 },
        { name: 'l', kind: 'link', size: 0, modified: 0, mode: 0, target: 'f' },
      ],
      get: () => Promise.reject(Object.assign(new AuthenticationFailure('lost', { code: 'TRANSFER_INTERRUPTED' }), { resumable: true })),
    };
    expect(await all(client.send({ files: ['/tmp/a'], peer: 'alice', path: 'inbox/' }))).toMatchObject([
      { event: 'progress', phase: 'sending', eta: null },
      { event: 'progress', phase: 'done', eta: 0 },
      {
        event: 'transferred',
        files: [{ name: 'a', sha256: 'ff', tookMs: 6 }],
        spis: [{ spi: '00000abc', direction: 'out', packets: 1, bytes: 42 }],
        outside: null,
      },
    ]);
    expect(await client.list({ peer: 'alice', path: 'f' })).toMatchObject({
      entries: [
        { name: 'f', modified: new Date(WALL).toISOString() },
        { name: 'l', modified: null, target: 'f' },
      ],
    });
    await expect(all(client.get({ peer: 'alice', path: 'x', destination: '/tmp' }))).rejects.toMatchObject({
      code: 'TRANSFER_INTERRUPTED',
      resumable: true,
    });
  });

  test('where no files can be moved, that is said', async () => {
    await expect(all(client.send({ files: ['/tmp/a'], peer: 'alice', path: '' }))).rejects.toMatchObject({
      code: 'NO_TRANSFER',
      hint: expect.stringContaining('rsync'),
    });
  });
});

describe('what is not of this API', () => {
  test.each([
    ['GET', '/', undefined, 404, 'NO_SUCH_PATH'],
    ['GET', '/v1/../etc/passwd', undefined, 404, 'NO_SUCH_PATH'],
    ['GET', '/v1/constructor', undefined, 404, 'NO_SUCH_PATH'],
    ['POST', '/v1/status', '{}', 405, 'WRONG_METHOD'],
    ['GET', '/v1/down', undefined, 405, 'WRONG_METHOD'],
    ['POST', '/v1/down', 'not json', 400, 'BAD_REQUEST'],
    ['POST', '/v1/down', '', 400, 'BAD_REQUEST'],
    ['POST', '/v1/down', '[]', 400, 'BAD_REQUEST'],
    ['POST', '/v1/up', '{"connection": ""}', 400, 'BAD_REQUEST'],
    ['POST', '/v1/up', '{"__proto__": {"connection": "x"}}', 400, 'BAD_REQUEST'],
    ['POST', '/v1/send', '{"files": [], "peer": "x", "path": ""}', 400, 'BAD_REQUEST'],
  ])('%s %s %j is %i', async (method, where, body, status, code) => {
    const answer = await raw(method, where, body);
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body)).toMatchObject({ schema: 1, error: { code } });
    expect(target.calls).toEqual([]);
  });

  test('octets that are not UTF-8', async () => {
    expect((await raw('POST', '/v1/down', new Uint8Array([0x7b, 0xff, 0x7d]))).status).toBe(400);
  });

  test('a body past the limit', async () => {
    const answer = await raw('POST', '/v1/down', `{"connection": "${'x'.repeat(70_000)}"}`).catch((error: Error) => error);
    if (!(answer instanceof Error)) expect(answer.status).toBe(413);
    expect((await client.version()).schema).toBe(1);
  });
});

describe('a client faced with something else', () => {
  const impostor = async (answer: string, status: number) => {
    const at = join(folder, 'impostor.sock');
    const other = createServer((_, response) => response.writeHead(status).end(answer));
    await new Promise<void>((resolve) => other.listen(at, resolve));
    return { client: new ControlClient(at), close: () => new Promise((resolve) => other.close(resolve)) };
  };

  test.each([
    ['no JSON', 'hello', 200],
    ['another document', '{"schema": 1}', 200],
    ['a later schema', '{"schema": 2, "name": "x"}', 200],
    ['another error', 'gone fishing', 500],
    ['half an error', '{"schema": 1, "error": {}}', 500],
  ])('%s', async (_, answer, status) => {
    const { client: other, close } = await impostor(answer, status);
    await expect(other.status()).rejects.toMatchObject({ code: 'CONTROL_PROTOCOL' });
    await close();
  });

  test('an instance that dies in the middle', async () => {
    const run = collect(client.events());
    await until(() => target.listeners === 2);
    await server!.close();
    server = undefined;
    await expect(run.done).rejects.toMatchObject({ code: 'CONTROL_LOST', message: expect.stringContaining('ended in the middle') });
  });

  test('a socket that may not be opened', async () => {
    if (process.getuid?.() === 0) return; // root may open everything
    chmodSync(path, 0o000);
    await expect(client.status()).rejects.toMatchObject({ code: 'CONTROL_FORBIDDEN' });
  });
});

function collect<T>(stream: AsyncIterable<T>): { lines: T[]; done: Promise<void> } {
  const lines: T[] = [];
  const done = (async () => {
    for await (const line of stream) lines.push(line);
  })();
  done.catch(() => undefined);
  return { lines, done };
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 4000; i++) {
    if (condition()) return;
    await sleep(5);
  }
  throw new Error('it did not happen within 20 s');
}

/** A socket file whose process is gone: bound by a child that was killed. */
async function abandonedSocket(at: string): Promise<void> {
  const { spawnSync } = await import('node:child_process');
  const script = `require('node:http').createServer().listen(${JSON.stringify(at)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  expect(existsSync(at)).toBe(true);
}
