import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { concat, fromHex, MalformedMessage, toHex, utf8 } from '../../../src/core/bytes/index.ts';
import { openProxy, ProxyUser } from '../../../src/product/reach/index.ts';
import { parseGreeting, parsePassword, parseRequest, parseUdp, writeReply, writeUdp } from '../../../src/product/reach/socks-messages.ts';
import { associate } from '../../../src/product/reach/socks-udp.ts';
import { everything, Scene } from './scene.ts';

describe('messages of RFC 1928 and 1929', () => {
  test('are read octet by octet, and take what is theirs alone', () => {
    const cases = [
      [parseGreeting, '050200 02'.replace(' ', ''), [0, 2]],
      [parsePassword, `0103${toHex(utf8('bob'))}02${toHex(utf8('pw'))}`, { user: utf8('bob'), password: utf8('pw') }],
      [parseRequest, '050100010a0000050050', { command: 1, target: { host: '10.0.0.5', port: 80 } }],
      [
        parseRequest,
        `05010003 0b${toHex(utf8('example.org'))}01bb`.replace(' ', ''),
        { command: 1, target: { host: 'example.org', port: 443 } },
      ],
      [parseRequest, '05030004fd0000000000000000000000000000010035', { command: 3, target: { host: 'fd00::1', port: 53 } }],
    ] as const;
    for (const [parse, hex, value] of cases) {
      const whole = fromHex(hex);
      for (let length = 0; length < whole.length; length++) expect(parse(whole.subarray(0, length))).toBeUndefined();
      expect(parse(concat(whole, utf8('more')))).toEqual({ value, length: whole.length });
    }
  });

  test('of another version, or with a name that none has, are refused', () => {
    expect(() => parseGreeting(fromHex('04'))).toThrow(MalformedMessage);
    expect(() => parsePassword(fromHex('05'))).toThrow(MalformedMessage);
    expect(() => parseRequest(fromHex('0401'))).toThrow(MalformedMessage);
    for (const name of ['', 'a b', 'a\nb', 'ä'])
      expect(() => parseRequest(concat(fromHex('05010003'), Uint8Array.of(utf8(name).length), utf8(name), fromHex('0050')))).toThrow(
        MalformedMessage,
      );
  });

  test('to UDP: written and read again; fragments and rubbish are passed over', () => {
    for (const host of ['10.0.0.5', 'fd00::5', 'name.test']) {
      const datagram = writeUdp({ host, port: 53 }, utf8('payload'));
      expect(parseUdp(datagram)).toEqual({ target: { host, port: 53 }, payload: utf8('payload') });
      for (let length = 0; length < datagram.length - 7; length++) expect(parseUdp(datagram.subarray(0, length))).toBeUndefined();
      datagram[2] = 1;
      expect(parseUdp(datagram)).toBeUndefined();
    }
    expect(toHex(writeReply(5))).toBe('05050001000000000000');
  });
});

describe('a client of the SOCKS5 port', () => {
  let scene: Scene;
  beforeEach(() => {
    scene = new Scene();
  });
  afterEach(() => scene.end());

  async function client(user?: ProxyUser): Promise<Socket> {
    const proxy = scene.keep(await openProxy({ way: scene.way, at: { ip: '127.0.0.1', port: 0 }, user }));
    const socket = connect({ port: proxy.address.port, host: proxy.address.ip, allowHalfOpen: true });
    scene.keep({ close: () => socket.destroy() });
    socket.on('error', () => undefined);
    return socket;
  }
  const target = (host: string, port: number) =>
    concat(fromHex('03'), Uint8Array.of(host.length), utf8(host), Uint8Array.of(port >> 8, port & 0xff));
  const request = (command: number, host: string, port: number) => concat(Uint8Array.of(5, command, 0), target(host, port));

  test('connects by name, which is resolved at the far end, and each direction ends by itself', async () => {
    const socket = await client();
    const port = await scene.echo();
    // everything at once: a client need not wait for answers
    socket.end(concat(fromHex('050100'), request(1, 'files.internal', port), utf8('hello')));
    const said = await everything(socket);
    expect(toHex(Uint8Array.from(said, (c) => c.charCodeAt(0)).subarray(0, 6))).toBe('050005000001');
    expect(said.endsWith('hello')).toBe(true);
    expect(scene.asked).toEqual([`files.internal:${port}`]);
  });

  test.each([
    ['refused.test', 5],
    ['silent.test', 4],
    ['unknown.test', 4],
    ['unreachable.test', 3],
    ['forbidden.test', 2],
    ['odd.test', 1],
  ])('hears why %s is not reached: %i', async (host, reply) => {
    const socket = await client();
    socket.write(concat(fromHex('050100'), request(1, host, 80)));
    expect((await everything(socket)).slice(2, 4)).toBe(String.fromCharCode(5, reply));
  });

  test('that asks for BIND, or names an address of no known type, is told so', async () => {
    for (const [message, reply] of [
      [request(2, 'a.test', 80), 7],
      [fromHex('0501000900000050'), 8],
    ] as const) {
      const socket = await client();
      socket.write(concat(fromHex('050100'), message));
      expect((await everything(socket)).charCodeAt(3)).toBe(reply);
    }
    expect(scene.asked).toEqual([]);
  });

  test('with the right name and password comes in, with others does not', async () => {
    const port = await scene.echo();
    const user = new ProxyUser('bob', 'secret');
    const tell = (name: string, password: string) =>
      concat(Uint8Array.of(1, name.length), utf8(name), Uint8Array.of(password.length), utf8(password));
    const good = await client(user);
    good.end(concat(fromHex('05020002'), tell('bob', 'secret'), request(1, 'a.test', port), utf8('x')));
    const told = await everything(good);
    expect([told.slice(0, 6), told.at(-1)]).toEqual(['\x05\x02\x01\x00\x05\x00', 'x']);
    for (const [name, password] of [
      ['bob', 'wrong'],
      ['bobs', 'ecret'],
      ['', ''],
    ] as const) {
      const bad = await client(user);
      bad.end(concat(fromHex('050102'), tell(name, password), request(1, 'a.test', port)));
      expect(await everything(bad)).toBe('\x05\x02\x01\x01');
    }
    const without = await client(user);
    without.write(fromHex('050100'));
    expect(await everything(without)).toBe('\x05\xff');
    expect(scene.asked).toHaveLength(1);
  });

  test('that goes away while it waits takes the attempt with it', async () => {
    const socket = await client();
    socket.write(concat(fromHex('050100'), request(1, 'never.test', 80)));
    await once(socket, 'data');
    while (scene.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    socket.destroy();
    await once(socket, 'close');
  });

  test('relays datagrams both ways for as long as its connection lasts', async () => {
    const server = scene.keep(createSocket('udp4'));
    server.on('message', (data, from) => server.send(concat(utf8('re: '), data), from.port, from.address));
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    const socket = await client();
    socket.write(concat(fromHex('050100'), fromHex('05030001000000000000')));
    let said: Uint8Array = new Uint8Array(0);
    while (said.length < 12) said = concat(said, (await once(socket, 'data'))[0] as Uint8Array);
    const relay = (said[10]! << 8) | said[11]!;
    const mine = scene.keep(createSocket('udp4'));
    await new Promise<void>((resolve) => mine.bind(0, '127.0.0.1', resolve));
    mine.send(writeUdp({ host: '127.0.0.1', port: server.address().port }, utf8('ping')), relay, '127.0.0.1');
    const [answer] = (await once(mine, 'message')) as [Uint8Array];
    expect(parseUdp(new Uint8Array(answer))).toEqual({
      target: { host: '127.0.0.1', port: server.address().port },
      payload: utf8('re: ping'),
    });
    socket.end();
    await once(socket, 'close');
  });

  test('hears datagrams from the name that it sent to, or the address', async () => {
    const server = scene.keep(createSocket('udp4'));
    server.on('message', (data, from) => server.send(data, from.port, from.address));
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    const { port } = server.address();
    const association = scene.keep(await associate({ way: scene.way, localIp: '127.0.0.1', clientIp: '127.0.0.1' }));
    const mine = scene.keep(createSocket('udp4'));
    await new Promise<void>((resolve) => mine.bind(0, '127.0.0.1', resolve));
    for (const host of ['files.internal', 'files.internal', '127.0.0.1', 'mirror.internal']) {
      mine.send(writeUdp({ host: 'unknown.test', port }, utf8('lost')), association.local.port, '127.0.0.1');
      mine.send(writeUdp({ host, port }, utf8(host)), association.local.port, '127.0.0.1');
      const [answer] = (await once(mine, 'message')) as [Uint8Array];
      expect(parseUdp(new Uint8Array(answer))).toEqual({ target: { host, port }, payload: utf8(host) });
    }
  });
});
