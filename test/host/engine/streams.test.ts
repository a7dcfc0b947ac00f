import { describe, expect, test } from 'vitest';
import { type Address, concat } from '../../../src/core/bytes/index.ts';
import { frameMessage, STREAM_PREFIX } from '../../../src/core/esp/index.ts';
import type { Datagram } from '../../../src/core/ike/effects.ts';
import { Counters } from '../../../src/host/engine/counters.ts';
import { Streams } from '../../../src/host/engine/streams.ts';
import type { StreamHandlers, TcpStream } from '../../../src/host/platform/tcp.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { engineClock } from '../support/virtual-platform.ts';

/** One end of a stream, in the hand of the test. */
class HandStream implements TcpStream {
  readonly local: Address = { ip: '192.0.2.1', port: 4500 };
  readonly remote: Address;
  readonly sent: Uint8Array[] = [];
  waiting = 0;
  over: 'closed' | 'reset' | undefined;
  #handlers: StreamHandlers | undefined;

  constructor(remote: Address) {
    this.remote = remote;
  }

  start(handlers: StreamHandlers): void {
    this.#handlers = handlers;
  }

  write(data: Uint8Array): boolean {
    if (this.over !== undefined) return false;
    this.sent.push(data);
    return true;
  }

  close(): void {
    this.#end('closed');
  }

  abort(): void {
    this.#end('reset');
  }

  come(...data: readonly Uint8Array[]): void {
    for (const one of data) this.#handlers?.onData(one.slice());
  }

  #end(how: 'closed' | 'reset'): void {
    this.over ??= how;
    this.#handlers?.onClose(undefined);
  }
}

/** Streams of a machine on which strangers knock. */
function machine() {
  const clock = new VirtualClock();
  const ike: Datagram[] = [];
  const esp: Uint8Array[] = [];
  const closed: Address[] = [];
  let onStream: (stream: TcpStream) => void = () => undefined;
  let good = true;
  const tcp = {
    listen: (options: { onStream(stream: TcpStream): void }) => {
      onStream = options.onStream;
      return Promise.resolve({ local: { ip: '192.0.2.1', port: 4500 }, close: () => Promise.resolve() });
    },
    connect: () => Promise.reject(new Error('nobody is called here')),
  };
  const counters = new Counters();
  const streams = new Streams(tcp, engineClock(clock), counters, {
    onIke: (datagram) => {
      ike.push(datagram);
      return good;
    },
    onEsp: (packet) => {
      esp.push(packet);
      return good;
    },
    onStreamClosed: (_local, remote) => closed.push(remote),
  });
  void streams.listen('192.0.2.1', 4500);
  let port = 1000;
  const knock = (ip = '198.51.100.7'): HandStream => {
    const stream = new HandStream({ ip, port: port++ });
    onStream(stream);
    return stream;
  };
  const nonsense = (): void => {
    good = false;
  };
  return { clock, streams, counters, knock, nonsense, ike, esp, closed };
}

const IKE = frameMessage(new Uint8Array(28).fill(1), true)!;
const ESP = frameMessage(new Uint8Array(40).fill(2), false)!;

describe('streams of strangers', () => {
  test('the prefix first, then IKE and ESP by the marker, keepalives in silence', () => {
    const { knock, ike, esp, counters } = machine();
    const stream = knock();
    stream.come(STREAM_PREFIX, concat(IKE, Uint8Array.of(0, 3, 0xff), ESP, Uint8Array.of(0, 2), IKE));
    expect(ike).toMatchObject([
      { encap: true, transport: 'tcp', remote: stream.remote, data: new Uint8Array(28).fill(1) },
      { transport: 'tcp' },
    ]);
    expect(esp).toEqual([new Uint8Array(40).fill(2)]);
    expect(counters.get('datagrams', 'keepalive in')).toBe(1);
    expect(stream.over).toBeUndefined();
  });

  test.each([
    ['something else', 'no stream prefix', Uint8Array.of(0x16, 3, 1)],
    ['a Length of 1', 'impossible length', concat(STREAM_PREFIX, Uint8Array.of(0, 1))],
  ])('%s: reset at once, and never a word to the core', (_, cause, octets) => {
    const { knock, ike, closed, counters, streams } = machine();
    const stream = knock();
    stream.come(octets, IKE);
    expect([stream.over, ike.length, closed.length, streams.size]).toEqual(['reset', 0, 1, 0]);
    expect(counters.get('streams', cause)).toBe(1);
    expect(stream.sent).toEqual([]);
  });

  test('one that says nothing goes after seconds, one that never authenticates after half a minute, one that is kept stays', () => {
    const { clock, knock, streams } = machine();
    const [silent, half, talker, friend] = [knock(), knock(), knock(), knock()];
    half.come(STREAM_PREFIX.subarray(0, 3));
    talker.come(STREAM_PREFIX, IKE);
    friend.come(STREAM_PREFIX, IKE);
    streams.change('keep', friend.local, friend.remote);
    clock.run(7000);
    expect([silent.over, half.over, talker.over, friend.over]).toEqual(['reset', 'reset', undefined, undefined]);
    clock.run(33_000);
    expect([talker.over, friend.over]).toEqual(['reset', undefined]);
    clock.run(3_600_000);
    expect(friend.over).toBeUndefined();
  });

  test('D43 half a message and then nothing: closed in bounded time, its room is free, and nothing ticks on', () => {
    const { clock, knock, streams, ike } = machine();
    const stream = knock();
    stream.come(STREAM_PREFIX, IKE.subarray(0, 9));
    streams.change('keep', stream.local, stream.remote);
    clock.run(40_000);
    expect([stream.over, streams.size, ike.length]).toEqual(['reset', 0, 0]);
    expect(clock.run(600_000)).toBeLessThan(10);
    expect(clock.next).toBeUndefined();
  });

  test('one message in many pieces is none that stalls', () => {
    const { clock, knock, streams, ike } = machine();
    const stream = knock();
    stream.come(STREAM_PREFIX);
    streams.change('keep', stream.local, stream.remote);
    for (const octet of concat(IKE, IKE, IKE)) {
      stream.come(Uint8Array.of(octet));
      clock.run(clock.now + 500);
    }
    expect([stream.over, ike.length]).toEqual([undefined, 3]);
  });

  test('so many from one address, so many in all; those that were kept do not count', () => {
    const { knock, streams } = machine();
    const one = Array.from({ length: 20 }, () => knock());
    expect(one.filter(({ over }) => over === undefined).length).toBe(16);
    for (const { local, remote } of one) streams.change('keep', local, remote);
    expect(knock().over).toBeUndefined();
    const many = Array.from({ length: 600 }, (_, i) => knock(`203.0.${i >> 4}.${i & 15}`));
    expect(many.filter(({ over }) => over === undefined).length).toBe(511);
    many[0]!.abort();
    expect(knock('203.0.113.1').over).toBeUndefined();
  });

  test('§6.1: nothing but nonsense closes it, of strangers sooner; a few unknown SPIs do not', () => {
    const { knock, streams, nonsense, counters } = machine();
    const [stranger, friend] = [knock(), knock()];
    for (const stream of [stranger, friend]) stream.come(STREAM_PREFIX);
    streams.change('keep', friend.local, friend.remote);
    nonsense();
    for (let i = 0; i < 7; i++) for (const stream of [stranger, friend]) stream.come(ESP);
    expect([stranger.over, friend.over]).toEqual([undefined, undefined]);
    for (const stream of [stranger, friend]) stream.come(IKE);
    expect([stranger.over, friend.over]).toEqual(['reset', undefined]);
    friend.come(...Array.from({ length: 60 }, () => ESP));
    expect(friend.over).toBe('reset');
    expect(counters.get('streams', 'only nonsense')).toBe(2);
  });

  test('one chunk of garbage frames does not go on after the stream is closed', () => {
    const { knock, nonsense, esp } = machine();
    const stream = knock();
    nonsense();
    stream.come(STREAM_PREFIX, concat(...Array.from({ length: 1000 }, () => ESP)));
    expect([stream.over, esp.length]).toEqual(['reset', 8]);
  });

  test('a released stream gets a moment to be closed by its peer', () => {
    const { clock, knock, streams } = machine();
    const stream = knock();
    stream.come(STREAM_PREFIX);
    streams.change('keep', stream.local, stream.remote);
    streams.change('release', stream.local, stream.remote);
    clock.run(8000);
    expect(stream.over).toBeUndefined();
    clock.run(12_000);
    expect(stream.over).toBe('reset');
  });
});

describe('sending on a stream', () => {
  test('ESP is dropped where the stream is full, IKE goes on until it is very full', () => {
    const { knock, streams, counters } = machine();
    const stream = knock();
    const { local, remote } = stream;
    const path = streams.path(local, remote);
    const message = { local, remote, data: new Uint8Array(100), encap: true, transport: 'tcp' as const };
    expect([path.send(new Uint8Array(100)), streams.transmit(message)]).toEqual([true, true]);
    stream.waiting = 256 * 1024;
    expect([path.send(new Uint8Array(100)), streams.transmit(message)]).toEqual([false, true]);
    stream.waiting = 1024 * 1024;
    expect(streams.transmit(message)).toBe(false);
    expect(counters.get('datagrams', 'stream full')).toBe(1);
    expect(stream.sent.map(({ length }) => length)).toEqual([102, 106, 106]);
  });

  test('what no frame holds, and what has no stream, is dropped and counted', () => {
    const { knock, streams, counters } = machine();
    const { local, remote } = knock();
    expect(streams.path(local, remote).send(new Uint8Array(65_534))).toBe(false);
    expect(streams.transmit({ local, remote, data: new Uint8Array(65_530), encap: true, transport: 'tcp' })).toBe(false);
    const elsewhere = { ...remote, port: 9 };
    expect(streams.transmit({ local, remote: elsewhere, data: new Uint8Array(30), encap: true, transport: 'tcp' })).toBe(false);
    expect(counters.get('datagrams', 'no stream between these ends')).toBe(1);
  });

  test('a packet may be reused at once, and the way survives its stream', () => {
    const { knock, streams } = machine();
    const stream = knock();
    const path = streams.path(stream.local, stream.remote);
    const packet = new Uint8Array(40).fill(5);
    path.send(packet);
    packet.fill(6);
    expect(stream.sent[0]!.subarray(2)).toEqual(new Uint8Array(40).fill(5));
    stream.abort();
    expect(path.send(packet)).toBe(false);
  });

  test('inner packets fit into one segment', () => {
    const { streams } = machine();
    const { mtu, overhead } = streams.path({ ip: '192.0.2.1', port: 1 }, { ip: '192.0.2.2', port: 2 });
    expect([mtu, overhead]).toEqual([1500, 54]);
  });

  test('closed: what waits goes out, and nobody is let in', () => {
    const { knock, streams, closed } = machine();
    const stream = knock();
    streams.close();
    expect([stream.over, knock().over, closed]).toEqual(['closed', 'reset', []]);
  });
});
