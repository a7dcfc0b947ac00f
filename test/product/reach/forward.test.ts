import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlError } from '../../../src/product/control/errors.ts';
import { openForward, parseForward, type UdpPort, type Way, type WayListener } from '../../../src/product/reach/index.ts';
import { everything, Scene } from './scene.ts';

describe('what leads where, as it is written', () => {
  test.each([
    ['8080:files.internal:80', { ip: '127.0.0.1', port: 8080, to: { host: 'files.internal', port: 80 }, protocol: 'tcp' }],
    ['0.0.0.0:8080:10.0.0.5:80/tcp', { ip: '0.0.0.0', port: 8080, to: { host: '10.0.0.5', port: 80 }, protocol: 'tcp' }],
    ['[::1]:0:[fd00::5]:53/UDP', { ip: '::1', port: 0, to: { host: 'fd00::5', port: 53 }, protocol: 'udp' }],
  ])('%s', (text, spec) => expect(parseForward(text, 'local')).toEqual({ side: 'local', ...spec }));

  test.each([
    '',
    '80',
    '80:a',
    '80:a:0',
    '80:a:b',
    '99999:a:1',
    '80::1',
    'name:80:a:1',
    '1:2:3:4:5',
    '[::1:80:a:1',
    '80:a:1/sctp',
    '80:a b:1',
  ])('%j is none', (text) => expect(() => parseForward(text, 'local')).toThrow(/does not say what leads where/));

  test('a port in the tunnel has no address of its own', () => {
    expect(parseForward('22:127.0.0.1:2222', 'remote')).toMatchObject({ side: 'remote', port: 22 });
    expect(() => parseForward('127.0.0.1:22:127.0.0.1:2222', 'remote')).toThrow(/PORT:HOST:PORT|does not say/);
  });
});

describe('a forwarded port', () => {
  let scene: Scene;
  beforeEach(() => {
    scene = new Scene();
  });
  afterEach(() => scene.end());

  async function said(port: number, text: string): Promise<string> {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    socket.on('error', () => undefined);
    socket.end(text);
    return everything(socket).catch(() => 'broken');
  }

  test.each(['local', 'remote'] as const)('over TCP, %s', async (side) => {
    const port = await scene.echo();
    const spec = parseForward(`0:${side === 'local' ? 'files.internal' : '127.0.0.1'}:${port}`, side);
    const forward = scene.keep(await openForward({ way: scene.way, spec }));
    expect(await Promise.all([said(forward.address.port, 'one'), said(forward.address.port, 'x'.repeat(200_000))])).toEqual([
      'one',
      'x'.repeat(200_000),
    ]);
    expect(scene.asked).toEqual(side === 'local' ? [`files.internal:${port}`, `files.internal:${port}`] : []);
  });

  test.each(['tcp', 'udp'] as const)('of ours in the tunnel is open again once its way is back, over %s', async (protocol) => {
    const opened: (UdpPort | WayListener)[] = [];
    const asked: number[] = [];
    const told: unknown[] = [];
    let gone = false;
    const open = <T extends UdpPort | WayListener>(port: number, made: T): T => {
      if (gone) {
        made.close();
        throw new ControlError('nothing is running', { code: 'NOT_RUNNING' });
      }
      asked.push(port);
      opened.push(scene.keep(made));
      return made;
    };
    const way: Way = {
      ...scene.way,
      listenTcp: async (port, onConnection) => open(port, await scene.way.listenTcp(port, onConnection)),
      openUdp: async (port = 0) => open(port, await scene.way.openUdp(port)),
    };
    const echo = protocol === 'tcp' ? await scene.echo() : await udpEcho(scene);
    const spec = parseForward(`0:127.0.0.1:${echo}/${protocol}`, 'remote');
    const onPresence = (there: boolean): void => void told.push(there);
    const onFailure = (target: string, error: unknown): void => void told.push(`${target} ${(error as Error).message}`);
    const forward = scene.keep(await openForward({ way, spec, onPresence, onFailure }));
    const { port } = forward.address;
    const [first] = opened;
    gone = true;
    first!.close();
    first!.onEnd!(undefined);
    while (told.length < 2) await tick();
    gone = false;
    while (opened.length < 2) await tick();
    expect(asked).toEqual([0, port]);
    expect(await (protocol === 'tcp' ? said(port, 'hello') : answered(scene, port, 'hello'))).toBe('hello');
    expect(told).toEqual([false, 'tunnel port 0 nothing is running', true]);
  });

  test('whose far end is not there ends its connections, says why, and goes on', async () => {
    const failures: string[] = [];
    const spec = parseForward('0:refused.test:80', 'local');
    const forward = scene.keep(
      await openForward({ way: scene.way, spec, onFailure: (target, error) => failures.push(`${target} ${(error as Error).message}`) }),
    );
    for (let i = 0; i < 2; i++) expect(await said(forward.address.port, 'x')).toMatch(/^(|broken)$/);
    expect(failures).toEqual(Array(2).fill('refused.test port 80 connect refused.test: ECONNREFUSED'));
  });

  test.each(['local', 'remote'] as const)('over UDP, %s: each sender gets its own answers', async (side) => {
    const server = scene.keep(createSocket('udp4'));
    server.on('message', (data, from) => server.send(`${from.port}:${data}`, from.port, from.address));
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    const spec = parseForward(`0:127.0.0.1:${server.address().port}/udp`, side);
    const forward = scene.keep(await openForward({ way: scene.way, spec }));
    const answers = await Promise.all(
      ['a', 'b', 'c'].map(async (text) => {
        const socket = scene.keep(createSocket('udp4'));
        socket.send(text, forward.address.port, '127.0.0.1');
        return String(((await once(socket, 'message')) as [Uint8Array])[0]);
      }),
    );
    expect(answers.map((answer) => answer.split(':')[1])).toEqual(['a', 'b', 'c']);
    expect(new Set(answers.map((answer) => answer.split(':')[0])).size).toBe(3);
  });
});

async function udpEcho(scene: Scene): Promise<number> {
  const server = scene.keep(createSocket('udp4'));
  server.on('message', (data, from) => server.send(data, from.port, from.address));
  await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
  return server.address().port;
}

async function answered(scene: Scene, port: number, text: string): Promise<string> {
  const socket = scene.keep(createSocket('udp4'));
  socket.send(text, port, '127.0.0.1');
  return String(((await once(socket, 'message')) as [Uint8Array])[0]);
}

const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
