import { describe, expect, test } from 'vitest';
import { CONGESTION_CONTROLS, type CongestionName, DEFAULT_TCP_CONFIG, type TcpConnection } from '../../../src/core/netstack/index.ts';
import { VnetHeader } from '../../../src/core/packet/offload/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { A4, A6, B4, B6, Pair, type PairOptions } from './support/pair.ts';

const OCTETS = 300_000;

interface Carried {
  readonly pair: Pair;
  /** What was on the wire, and when. */
  readonly trace: readonly string[];
  readonly client: TcpConnection;
}

/** One connection carries octets from A to B over a path of 20 ms that loses some packets, always the same ones. */
function carry(options: PairOptions, { six = false, loss = 0, congestion = 'bbr' as CongestionName, pacing = true } = {}): Carried {
  const random = new SeededRandom('loss');
  const trace: string[] = [];
  const tcp = { congestion: CONGESTION_CONTROLS[congestion], pacing };
  const pair = new Pair({
    ...options,
    a: { tcp },
    b: { tcp },
    fate: (packet, from, now) => {
      trace.push(`${now} ${from} ${Buffer.from(withoutIdentification(packet)).toString('hex')}`);
      return random.chance(loss) ? [] : [10];
    },
  });
  const listener = pair.b.listen({ port: 80 });
  const client = pair.a.connect({ ip: six ? B6 : B4, port: 80, localIp: six ? A6 : A4 }, 0);
  const text = random.bytes(OCTETS);
  let written = 0;
  const received: Uint8Array[] = [];
  let server: TcpConnection | undefined;
  pair.onStep = () => {
    if (written < OCTETS) written += client.write(text.subarray(written));
    server ??= listener.accept();
    for (let chunk = server?.readChunk(); chunk !== undefined; chunk = server?.readChunk()) received.push(chunk.slice());
  };
  const length = (): number => received.reduce((sum, chunk) => sum + chunk.length, 0);
  pair.run(60_000, () => length() === OCTETS);
  expect(Buffer.compare(Buffer.concat(received), text)).toBe(0);
  return { pair, trace, client };
}

/** RFC 6864 §4.1: of a packet that is not cut further it means nothing; who cuts counts it up. */
function withoutIdentification(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  if (copy[0]! >>> 4 === 4) for (const at of [4, 5, 10, 11]) copy[at] = 0;
  return copy;
}

describe('an interface that cuts', () => {
  test.each([
    { six: false, loss: 0 },
    { six: true, loss: 0 },
    { six: false, loss: 0.02 },
    { six: false, loss: 0.02, congestion: 'cubic' },
    { six: true, loss: 0.1, congestion: 'newreno' },
  ] as const)('sends octet for octet, at the same times, what leaves without it: %o', (path) => {
    const plain = carry({}, path);
    const cut = carry({ cuts: true }, path);
    expect(cut.trace).toEqual(plain.trace);
    expect(cut.pair.a.counters).toEqual(plain.pair.a.counters);
    expect(cut.pair.b.counters).toEqual(plain.pair.b.counters);
    if (path.loss === 0) expect(cut.pair.handedOut).toBeLessThan(0.75 * cut.pair.packets);
  });

  test('gets as much in one packet as IP can say, where nothing holds it back', () => {
    const { pair } = carry({ cuts: true }, { congestion: 'newreno', pacing: false });
    expect(pair.largest).toBeGreaterThan(60_000);
  });
});

describe('an interface that puts together', () => {
  test.each([{ loss: 0 }, { loss: 0.02 }, { six: true, loss: 0.02 }] as const)('hands over the same text in fewer packets: %o', (path) => {
    const { pair } = carry({ joins: true }, path);
    const { counters } = pair.b;
    expect(pair.takenIn).toBeLessThan(0.75 * (pair.a.counters.packetsIn + counters.packetsIn));
    // each segment counts
    expect(counters.tcpSegmentsIn).toBe(counters.packetsIn);
    expect(counters.octetsIn).toBeGreaterThan(OCTETS);
    expect([counters.tcpMalformed, counters.ipMalformed]).toEqual([0, 0]);
  });

  // RFC 5681 §4.2
  test('leaves what counts as full-sized as it is: every second such segment is acknowledged at once', () => {
    const { pair, client } = carry({ joins: true }, { congestion: 'newreno', pacing: false });
    pair.run(pair.now + 1000);
    let delay = 10;
    pair.fate = () => [delay++];
    pair.onStep = () => {};
    const began = pair.now;
    client.write(new Uint8Array(2 * client.info.mss));
    expect(pair.run(began + 1000, () => client.unacknowledged === 0)).toBe(true);
    expect(pair.now - began).toBeLessThan(DEFAULT_TCP_CONFIG.delayedAck);
  });

  // RFC 7323 appendix G
  test('has a longer round trip found out as soon, though fewer acknowledgments tell of it', () => {
    let delay = 5;
    const pair = new Pair({
      joins: true,
      a: { tcp: { congestion: CONGESTION_CONTROLS.newreno, pacing: false, maxSendBuffer: 256 * 1024 } },
      fate: () => [delay],
    });
    const listener = pair.b.listen({ port: 80 });
    const client = pair.a.connect({ ip: B4, port: 80 }, 0);
    const block = new Uint8Array(65_536);
    let server: TcpConnection | undefined;
    pair.onStep = () => {
      while (client.write(block) === block.length);
      server ??= listener.accept();
      while ((server?.read(block) ?? 0) > 0);
    };
    pair.run(200);
    delay = 60;
    pair.run(pair.now + 1000);
    expect(client.info.srtt).toBeGreaterThan(50);
  });

  test('says nothing of a packet that came alone: a wrong checksum is found', () => {
    const pair = new Pair({ joins: true, fate: (packet) => (packet.length > 1000 ? [] : [1]) });
    const listener = pair.b.listen({ port: 80 });
    const client = pair.a.connect({ ip: B4, port: 80 }, 0);
    pair.run(100, () => listener.accept() !== undefined);
    client.write(new Uint8Array(100));
    const packet = pair.a.poll(pair.now)!.slice();
    packet[packet.length - 1]! ^= 1;
    pair.b.receive(packet, pair.now, new VnetHeader());
    expect(pair.b.counters.tcpMalformed).toBe(1);
  });
});
