import { describe, expect, test } from 'vitest';
import { concat, utf8 } from '../../src/core/bytes/index.ts';
import { frameMessage, STREAM_PREFIX, StreamReader } from '../../src/core/esp/index.ts';
import { NotifyType, parseMessage, writeMessage } from '../../src/core/wire/index.ts';
import type { TcpStream } from '../../src/host/platform/tcp.ts';
import {
  childPolicy,
  connectionPolicy,
  type Net,
  type Pair,
  type PairOptions,
  type Peer,
  pair,
  SimulatedTcp,
  subnet,
} from '../../src/testing/index.ts';
import { notify } from './roamers.ts';

const blockUdp = (net: Net): (() => void) => net.internet.core.intercept(({ protocol }) => (protocol === 'tcp' ? undefined : []));

function overTcp(options: PairOptions = {}): Pair {
  const made = pair({ ...options, connection: { transport: 'tcp', ...options.connection } });
  made.a.initiate();
  made.net.until('establishment', () => made.a.plane.children.length > 0 && made.b.plane.children.length > 0);
  made.net.run(1000);
  return made;
}

interface Heard {
  readonly stream: TcpStream;
  readonly message: Uint8Array;
}

/** Somebody else answers at the port of `b`. */
function impostor(b: Peer, answer: (heard: Heard, before: readonly Heard[]) => void): { readonly heard: Heard[]; streams: number } {
  const state = { heard: [] as Heard[], streams: 0 };
  b.tcp.unlisten(4500);
  b.tcp.listen(4500, (stream) => {
    state.streams++;
    const reader = new StreamReader('prefix');
    const onMessage = (framed: Uint8Array): boolean => {
      const heard = { stream, message: framed.slice(4) };
      answer(heard, state.heard);
      return state.heard.push(heard) > 0;
    };
    stream.start({ onData: (data) => void reader.push(data, onMessage), onClose: () => undefined });
  });
  return state;
}

const cookieAnswer = (request: Uint8Array, cookie: Uint8Array): Uint8Array => {
  const { header } = parseMessage(request);
  const flags = { initiator: false, response: true, version: false };
  return frameMessage(writeMessage({ ...header, flags }, [notify(NotifyType.COOKIE, cookie.slice())]), true)!;
};

describe('a responder that makes trouble', () => {
  test('D43 COOKIE over TCP: the request comes again on the same stream, the cookie in front, else as it was', () => {
    const { net, a, b } = pair({ connection: { transport: 'tcp' } });
    const cookie = utf8('a cookie of somebody');
    const { heard } = impostor(b, ({ stream, message }, before) => {
      if (before.length === 0) stream.write(cookieAnswer(message, cookie));
    });
    a.initiate();
    net.run(5000);
    expect(heard.length).toBe(2);
    const [first, second] = heard.map(({ message }) => parseMessage(message));
    expect(heard[0]!.stream).toBe(heard[1]!.stream);
    expect(second!.header).toMatchObject({ spiI: first!.header.spiI, messageId: 0 });
    expect(second!.payloads[0]).toMatchObject({ kind: 'N', notify: NotifyType.COOKIE, data: cookie });
    expect(second!.payloads.slice(1)).toEqual(first!.payloads);
  });

  test('D43 a stream that ends in the middle of a frame, each time: the state is freed, and nothing spins', () => {
    const { net, a, b } = pair({ connection: { transport: 'tcp' } });
    const state = impostor(b, ({ stream, message }) => {
      stream.write(cookieAnswer(message, utf8('half of it')).subarray(0, 20));
      stream.close();
    });
    a.initiate();
    net.run(70_000);
    expect([a.ikeSas, a.tcp.streams, b.tcp.streams]).toEqual([[], [], []]);
    // opened again ever later
    expect(state.streams).toBeGreaterThan(1);
    expect(state.streams).toBeLessThan(9);
    // §6.2: on each of them the request goes out once, and it is the same
    expect(new Set(state.heard.map(({ message }) => message.join())).size).toBe(1);
    expect(state.heard.length).toBe(state.streams);
    expect(a.heard('failed').at(-1)!.error.code).toBe('PEER_SILENT');
  });

  test('§6.3: we demand no cookies over TCP, however many are half-open', () => {
    const { net, a, b } = pair({ connection: { transport: 'tcp' }, b: { limits: { cookieThreshold: 0 } } });
    a.initiate();
    net.until('establishment', () => b.established.length > 0);
    expect(net.transcript.messages.filter(({ summary }) => summary.includes('N(COOKIE)'))).toEqual([]);
  });

  test('an impossible length ends the stream, not the IKE SA', () => {
    const { net, a, b } = overTcp();
    (b.tcp.streams[0] as TcpStream).write(Uint8Array.of(0, 1, 2, 3));
    net.run(5000);
    expect([a.established.length, b.established.length, a.tcp.streams.length]).toEqual([1, 1, 1]);
    expect(a.heard('stream').map(({ change }) => change)).toEqual(['lost', 'opened']);
    expect(a.sendTraffic(utf8('and on'))).toBe(true);
    net.run(1000);
    expect(new TextDecoder().decode(b.plane.received.at(-1)!.payload)).toBe('and on');
  });
});

describe('a stranger on a stream of its own', () => {
  /** Sends messages to `b` as they are, in frames. */
  function stranger(net: Net, ...frames: readonly Uint8Array[]): SimulatedTcp {
    const tcp = new SimulatedTcp(net.internet.host('mallory', { addresses: ['203.0.113.66'] }), net.internet.clock);
    tcp.open('203.0.113.66', { ip: '198.51.100.2', port: 4500 }, 5000, (stream) => {
      if (stream instanceof Error) throw stream;
      stream.start({ onData: () => undefined, onClose: () => undefined });
      stream.write(concat(STREAM_PREFIX, ...frames));
    });
    return tcp;
  }

  test('§10: what was said and sent before moves nobody, neither IKE nor ESP', () => {
    const { net, a, b } = overTcp();
    a.checkLiveness();
    expect(a.sendTraffic(utf8('once'))).toBe(true);
    net.run(1000);
    const before = b.established[0]!.remote;
    stranger(net, frameMessage(a.sent.at(-1)!.data, true)!, frameMessage(a.espSent.at(-1)!, false)!);
    net.run(5000);
    expect(b.established[0]!.remote).toEqual(before);
    expect(b.plane.children[0]!.remote).toEqual(before);
    expect(b.plane.drops.replay).toBe(1);
  });

  test('garbage in frames costs the peer its stream, and nobody else anything', () => {
    const { net, a, b } = overTcp();
    const tcp = stranger(net, ...Array.from({ length: 50 }, (_, i) => frameMessage(new Uint8Array(60).fill(i + 1), i % 2 === 0)!));
    net.run(40_000);
    expect(tcp.streams).toEqual([]);
    expect([a.established.length, b.established.length, b.tcp.streams.length]).toEqual([1, 1, 1]);
  });

  test('an IKE SA on UDP does not move to TCP for a message that comes there: only UPDATE_SA_ADDRESSES moves it', () => {
    for (const mobike of [true, false]) {
      const made = pair({ connection: { mobike } });
      const { net, a, b } = made;
      a.initiate();
      net.until('establishment', () => a.plane.children.length > 0 && b.plane.children.length > 0);
      net.run(1000);
      const block = blockUdp(net);
      a.checkLiveness();
      expect(a.sendTraffic(utf8('lost'))).toBe(true);
      block();
      // both are new to b
      stranger(net, frameMessage(a.sent.at(-1)!.data, true)!, frameMessage(a.espSent.at(-1)!, false)!);
      net.run(500);
      expect([b.established[0]!.transport, b.established[0]!.remote.ip, b.plane.children[0]!.remote.ip]).toEqual([
        undefined,
        '192.0.2.1',
        '192.0.2.1',
      ]);
    }
  });
});

describe('with other extensions', () => {
  test('§7.2: redirected over TCP, the next gateway is asked over UDP first, then over TCP', () => {
    const c = '198.51.100.9';
    const { net, a, b } = pair({
      connection: { transport: 'auto', redirect: { follow: true, most: 5, within: 300_000 } },
      b: { endpoint: { redirect: { to: [c], when: { kind: 'always' }, exchange: 'init', grace: 30_000 } } },
    });
    const child = childPolicy({ localTs: [subnet('10.2.0.0/24')], remoteTs: [subnet('10.1.0.0/24')] });
    const other = net.peer('c', c, { connections: [connectionPolicy({ children: [child] })] });
    blockUdp(net);
    a.initiate();
    net.until('the other gateway', () => other.plane.children.length > 0 && a.plane.children.length > 0);
    expect(net.now).toBeGreaterThanOrEqual(10_000);
    expect([a.established.length, b.ikeSas.length]).toEqual([1, 0]);
    expect(a.established[0]).toMatchObject({ transport: 'tcp', remote: { ip: c, port: 4500 } });
    net.run(20_000);
    expect([a.tcp.streams.length, b.tcp.streams.length]).toEqual([1, 0]);
  });

  test('re-authentication: the new IKE SA has a stream of its own, and that of the old one is closed (§6.1)', () => {
    const { net, a, b } = overTcp();
    a.reauthenticate();
    net.run(60_000);
    expect([a.established.length, a.tcp.streams.length, b.tcp.streams.length]).toEqual([1, 1, 1]);
    expect(a.established[0]!.transport).toBe('tcp');
  });
});
