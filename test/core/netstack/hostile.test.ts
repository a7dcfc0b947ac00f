import { describe, expect, test } from 'vitest';
import { Stack, type TcpConnection } from '../../../src/core/netstack/index.ts';
import { IpProtocol } from '../../../src/core/packet/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { expectAtOnce } from '../../support/at-once.ts';
import { Drill } from './support/drill.ts';
import { echoRequest, fragment, icmpPacket, ipPacket, tooBig, udpPacket } from './support/packets.ts';
import { A4, A6, B4, B6, Pair } from './support/pair.ts';

const ENVELOPES = [
  { from: B4, to: A4 },
  { from: B6, to: A6 },
] as const;

/** Honest packets of every kind, to be spoilt. */
function corpus(): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (const envelope of ENVELOPES) {
    const udp = udpPacket(envelope, 1, 53, new Uint8Array(40));
    const six = envelope.from.includes(':');
    packets.push(
      udp,
      udpPacket(envelope, 1, 54, new Uint8Array(3)),
      echoRequest(envelope, 7, new Uint8Array(56)),
      icmpPacket(envelope, six ? 1 : 3, six ? 4 : 3, 0, udpPacket({ from: envelope.to, to: envelope.from }, 53, 1, new Uint8Array(8))),
      tooBig(envelope, 1300, udpPacket({ from: envelope.to, to: envelope.from }, 53, 1, new Uint8Array(1400))),
      fragment(envelope, IpProtocol.UDP, new Uint8Array(64), 0, true, 9),
      fragment(envelope, IpProtocol.UDP, new Uint8Array(20), 64, false, 9),
      ipPacket(envelope, IpProtocol.IPV6_OPTS, new Uint8Array(16)),
      ipPacket(envelope, IpProtocol.IPV6_ROUTE, new Uint8Array(24)),
      ipPacket(envelope, 200, new Uint8Array(30)),
    );
  }
  // A whole conversation, recorded.
  const pair = new Pair();
  pair.b.listen({ port: 80 });
  const connections: TcpConnection[] = [pair.a.connect({ ip: B4, port: 80 }, 0), pair.a.connect({ ip: B6, port: 80 }, 0)];
  for (const connection of connections) connection.write(new Uint8Array(5000));
  pair.fate = (packet) => {
    packets.push(packet.slice());
    return packets.length % 5 === 0 ? [] : [1];
  };
  pair.onStep = () => {
    for (const connection of connections) connection.shutdown();
  };
  pair.run(2000);
  return packets;
}

function spoil(random: SeededRandom, packet: Uint8Array): Uint8Array {
  const data = Uint8Array.from(packet);
  switch (random.between(0, 5)) {
    case 0:
      return random.bytes(random.between(0, 100));
    case 1:
      return data.subarray(0, random.between(0, data.length));
    case 2:
      data[random.between(0, Math.min(79, data.length - 1))] = random.between(0, 255);
      return data;
    default:
      for (let k = random.between(1, 8); k > 0; k--) {
        const bit = random.between(0, data.length * 8 - 1);
        data[bit >>> 3] = data[bit >>> 3]! ^ (1 << (bit & 7));
      }
      return data;
  }
}

const PACKETS = corpus();

describe('a hostile network', () => {
  test.each(Array.from({ length: 10 }, (_, seed) => seed))(
    'spoilt packets never throw, never hang, never fill the memory: seed %i',
    (seed) => {
      const random = new SeededRandom(seed, 'hostile');
      const host = new Stack({
        addresses: [A4, A6],
        mtu: 1500,
        random: { secret: (length) => random.bytes(length) },
        promiscuous: seed % 3 === 0,
      });
      host.listen({ port: 80 });
      host.bindUdp({ port: 53 });
      host.connect({ ip: B4, port: 80, localPort: 50_000 }, 0);
      host.ping({ ip: B4 }, 0);
      let now = 0;
      let sent = 0;
      for (let i = 0; i < 3000; i++) {
        const packet = random.pick(PACKETS);
        host.receive(random.chance(0.3) ? packet : spoil(random, packet), now);
        now += random.fraction() * 3;
        if ((host.nextDeadline() ?? Number.POSITIVE_INFINITY) <= now) host.expire(now);
        if (i % 50 === 0) host.dispatch();
        // An answer each, some retransmissions, no more.
        for (let answers = 0; host.poll(now) !== undefined; answers++, sent++) expect(answers).toBeLessThan(100);
      }
      expect(sent).toBeLessThan(6000);
      expect(host.bufferMemory).toBeLessThan(4 << 20);
      host.abandon();
      expect([host.connectionCount, host.bufferMemory, host.nextDeadline()]).toEqual([0, 0, undefined]);
    },
  );

  test('spoilt packets of both directions do not break a transfer', () => {
    const random = new SeededRandom('interference');
    const pair = new Pair({ fate: () => [2] });
    const listener = pair.b.listen({ port: 80 });
    const connection = pair.a.connect({ ip: B4, port: 80 }, 0);
    const total = 400_000;
    let [written, received] = [0, 0];
    let accepted: TcpConnection | undefined;
    pair.fate = (packet, from) => {
      // Somebody on the path repeats what he saw, with something changed, but cannot see sequence numbers to come.
      const target = from === 'a' ? pair.b : pair.a;
      if (random.chance(0.3)) target.receive(spoil(random, packet), pair.now);
      return [2];
    };
    pair.onStep = () => {
      accepted ??= listener.accept();
      written += connection.write(new Uint8Array(Math.min(65536, total - written)).fill(5));
      for (let chunk = accepted?.readChunk(); chunk !== undefined; chunk = accepted?.readChunk()) {
        expect(chunk.every((octet) => octet === 5)).toBe(true);
        received += chunk.length;
      }
    };
    expect(pair.run(600_000, () => received === total)).toBe(true);
  });
});

describe('attacks on TCP', () => {
  test('a SYN flood takes the backlog and no more', () => {
    const t = new Drill();
    t.listen(64);
    for (let port = 1; port <= 2000; port++) t.receive(new Drill({ peerPort: port }).build('S 0:0(0) <mss 1460>'));
    expect(t.stack.connectionCount).toBe(64);
    expect(t.stack.counters.tcpBacklogFull).toBe(1936);
    t.elapse(200_000);
    expect(t.stack.connectionCount).toBe(0);
  });

  test('a peer that sends every second octet holds a bounded number of ranges', () => {
    const t = new Drill();
    t.established({ options: 'sackOK' });
    for (let at = 3; at < 4000; at += 2) t.inject(`. ${at}:${at + 1}(1) ack 1`);
    expect(t.stack.counters.tcpOutOfMemory).toBeGreaterThan(1500);
    expect(t.stack.bufferMemory).toBeLessThan(100_000);
    t.inject('. 1:3(2) ack 1');
    expect(t.connection.readable).toBe(3);
  });

  test('RFC 3465 §1: dividing acknowledgments does not open the window faster', () => {
    const divided = new Drill();
    divided.established();
    divided.write(200_000);
    divided.sentPackets();
    for (let ack = 2; ack <= 1461; ack++) divided.inject(`. 1:1(0) ack ${ack}`);
    const whole = new Drill();
    whole.established();
    whole.write(200_000);
    whole.inject('. 1:1(0) ack 1461');
    expect(divided.connection.info.cwnd).toBeLessThanOrEqual(whole.connection.info.cwnd);
  });

  test('an acknowledgment of what was not sent yet does not open it at all', () => {
    const t = new Drill();
    t.established();
    t.write(200_000);
    t.sentPackets();
    const before = t.connection.info.cwnd;
    t.inject('. 1:1(0) ack 150000');
    expect(t.connection.info).toMatchObject({ cwnd: before, inFlight: 14_600 });
  });

  test('a peer with an MSS of one octet does not get a header for each', () => {
    const t = new Drill();
    t.established({ mss: 1 });
    t.write(640);
    expect(t.sentPackets().length).toBeLessThanOrEqual(10);
    expect(t.connection.info.mss).toBe(64);
  });

  test('acknowledging and SACKing nonsense for a long time costs a bounded amount of work', () => {
    expectAtOnce(() => {
      const t = new Drill();
      t.established({ options: 'sackOK' });
      t.write(250_000);
      const random = new SeededRandom('sacks');
      for (let i = 0; i < 20_000; i++) {
        const at = random.between(0, 14_000);
        t.stack.receive(
          t.build(`. 1:1(0) ack 1 <sack ${at}:${at + random.between(0, 3000)},sack ${random.between(0, 9000)}:14601>`),
          t.now,
        );
      }
      t.sentPackets();
    }, 5000);
  });
});
