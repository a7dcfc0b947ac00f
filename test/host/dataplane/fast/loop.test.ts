import { expect, test } from 'vitest';
import { type Address, toHex } from '../../../../src/core/bytes/index.ts';
import { createPacketCipher } from '../../../../src/core/crypto/index.ts';
import type { ChildSaSpec, Observation } from '../../../../src/core/ike/effects.ts';
import { getU16 } from '../../../../src/core/packet/index.ts';
import { packetBuffer, segmentPlain, VNET_HEADER, VnetHeader } from '../../../../src/core/packet/offload/index.ts';
import { isFirst } from '../../../../src/host/dataplane/fast/inbound.ts';
import { FastLoop } from '../../../../src/host/dataplane/fast/loop.ts';
import type { FromLoop } from '../../../../src/host/dataplane/fast/messages.ts';
import {
  MOST_MESSAGES,
  MOST_OCTETS,
  MOST_SEGMENTS,
  type TakeDatagrams,
  type TakeTooLarge,
  type UdpPort,
} from '../../../../src/host/dataplane/fast/ports.ts';
import { CounterSlots } from '../../../../src/host/dataplane/fast/slots.ts';
import { zlibDeflate } from '../../../../src/host/platform/deflate.ts';
import { scriptedRandom } from '../../../../src/testing/seeded.ts';
import { begunPacket, gsoHeader, type PacketShape } from '../../../core/packet/offload/super-packets.ts';
import { childPair, type PairChild } from '../../support/esp-pair.ts';
import { packet, selector } from '../../support/packets.ts';

interface Batch {
  readonly octets: Uint8Array;
  readonly segment: number;
  readonly trafficClass?: number | undefined;
}

/** A loop whose device and socket are lists. */
class End {
  readonly read: Uint8Array[] = [];
  readonly written: Uint8Array[] = [];
  readonly batches: Batch[] = [];
  readonly told: FromLoop[] = [];
  readonly counters = new CounterSlots();
  readonly loop: FastLoop;
  readonly tooLarge: Parameters<TakeTooLarge>[] = [];
  now = 1;
  /** Whole packets that left by a raw socket, and those that wait to be read from it. */
  readonly wholes: Uint8Array[] = [];
  readonly #wholesIn: Uint8Array[] = [];
  other: End | undefined;
  /** Datagrams of a batch that the socket takes. */
  accepts = Number.POSITIVE_INFINITY;
  /** There is but one peer. */
  readonly #target: ReturnType<UdpPort['towards']> = {
    sendBatch: (from, at, length, segment, trafficClass) =>
      this.#send({ octets: from.octets.slice(at, at + length), segment, trafficClass }),
    send: (octets, trafficClass) => this.#send({ octets: octets.slice(), segment: octets.length, trafficClass }) > 0,
  };
  readonly #arrived: { readonly batch: Batch; readonly from: Address }[] = [];

  readonly address: Address;

  /** Packets for the networks behind, where the inner side is hosts. */
  readonly behind: Uint8Array[] = [];
  crowded = false;

  constructor(address: Address, hosts?: { readonly addresses: readonly string[] }) {
    this.address = address;
    const [written, behind] = [this.written, this.behind].map((list) => ({
      push: (from: { readonly octets: Uint8Array }, start: number, end: number) => void list.push(from.octets.slice(start, end)),
      flush: () => {},
    }));
    const isCrowded = (): boolean => this.crowded;
    this.loop = new FastLoop({
      ...(hosts === undefined ? {} : { hosts: { addresses: hosts.addresses, forward: true, behind, dropped: () => 3 } }),
      clock: { now: () => this.now, wall: () => 0, after: () => ({ cancel: () => {} }), soon: () => {} },
      random: scriptedRandom(address.ip),
      createPacketCipher,
      deflate: zlibDeflate,
      counters: this.counters,
      allocate: (length) => packetBuffer(new Uint8Array(length)),
      post: (message) => this.told.push(message),
      tun: {
        read: (into, at) => {
          const next = this.read.shift();
          if (next !== undefined) into.octets.set(next, at);
          return next?.length ?? 0;
        },
        write: () => true,
      },
      sink: {
        ...written!,
        get crowded() {
          return isCrowded();
        },
      },
      openRaw: (_, ip, protocol) => ({
        ip,
        protocol,
        receive: (take) => {
          const came = this.#wholesIn.splice(0);
          for (const one of came) take(one, 0, one.length);
          return came.length > 0;
        },
        receiveErrors: () => {},
        towards: () => ({
          mtu: 1500,
          send: (packet) => {
            this.wholes.push(packet.slice());
            this.other?.arriveWhole(packet.slice());
            return true;
          },
        }),
        close: () => {},
      }),
      openSocket: (_, local) => ({
        local,
        receive: (take) => this.#receive(take),
        receiveErrors: (take) => {
          for (const error of this.tooLarge.splice(0)) take(...error);
        },
        towards: () => this.#target,
        close: () => {},
      }),
    });
    this.loop.tell({ kind: 'socket', fd: 3, local: address });
  }

  #send(batch: Batch): number {
    const { octets, segment, trafficClass } = batch;
    const taken = Math.min(octets.length, this.accepts * segment);
    if (taken === 0) return 0;
    this.batches.push({ octets: octets.subarray(0, taken), segment, trafficClass });
    this.other?.arrive(octets.subarray(0, taken), this.address, segment, trafficClass);
    return taken;
  }

  arriveWhole(packet: Uint8Array): void {
    this.#wholesIn.push(packet);
  }

  arrive(octets: Uint8Array, from: Address, segment = 0, trafficClass?: number): void {
    this.#arrived.push({ batch: { octets, segment, trafficClass }, from });
  }

  get observed(): readonly Observation[] {
    return this.told.flatMap((message) => (message.kind === 'observations' ? message.observations : []));
  }

  /** What was sent to it is lost on the way. */
  discard(): void {
    this.#arrived.length = 0;
  }

  #receive(take: TakeDatagrams): number {
    const arrived = this.#arrived.splice(0, MOST_MESSAGES);
    for (const { batch, from } of arrived) {
      const buffer = packetBuffer(batch.octets.slice());
      const size = batch.segment || batch.octets.length;
      take(buffer, 0, batch.octets.length, size, size, this.address, from.ip, from.port, batch.trafficClass ?? -1);
    }
    return arrived.length;
  }
}

const wholeOf = (seed: number) => {
  const { octets, header } = superPacket({ version: 4, protocol: 'udp', payload: new Uint8Array(100).fill(seed) }, 100);
  return [octets, header] as const;
};

const cut = (octets: Uint8Array, segment: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(octets.length / segment) }, (_, i) => octets.subarray(i * segment, (i + 1) * segment));

/** What a message carries is the receiver's own. */
const specsOf = (child: PairChild): readonly [ChildSaSpec, ChildSaSpec] => {
  const { a, b } = childPair(child);
  return [structuredClone(a), structuredClone(b)];
};

function pair(child: PairChild = {}): { readonly a: End; readonly b: End } {
  const [specA, specB] = specsOf(child);
  const [a, b] = [new End(specA.local), new End(specA.remote)];
  a.other = b;
  b.other = a;
  a.loop.tell({ kind: 'install', token: 1, slot: 4, spec: specA, resume: undefined });
  b.loop.tell({ kind: 'install', token: 1, slot: 5, spec: specB, resume: undefined });
  return { a, b };
}

const turn = ({ a, b }: { readonly a: End; readonly b: End }): void => {
  a.loop.turn({ tun: true, sockets: true });
  b.loop.turn({ tun: true, sockets: true });
};

const REMOTE_IP = childPair().a.remote.ip;

/** A packet as the device hands it out. */
function handed(octets: Uint8Array, header = new VnetHeader()): Uint8Array {
  const whole = new Uint8Array(VNET_HEADER + octets.length);
  header.write(whole, 0);
  whole.set(octets, VNET_HEADER);
  return whole;
}

test('datagrams that come singly are taken in several calls in one turn, and a bounded number of them', () => {
  const ends = pair();
  const { a, b } = ends;
  for (let i = 0; i < 100; i++) {
    const [packet] = segmentPlain(...wholeOf(i));
    a.read.push(handed(packet as Uint8Array));
  }
  for (let i = 0; i < 10; i++) a.loop.turn({ tun: true, sockets: false });
  const single = a.batches.flatMap(({ octets, segment }) => cut(octets, segment));
  expect(single).toHaveLength(100);
  b.discard();
  for (const octets of single) b.arrive(octets, a.address);
  b.loop.turn({ tun: false, sockets: true });
  expect(b.written).toHaveLength(64);
  b.loop.turn({ tun: false, sockets: true });
  expect(b.written).toHaveLength(100);
});

test('a super-packet leaves in few calls and comes out as the packets it stands for', () => {
  const ends = pair();
  const { a, b } = ends;
  const whole = superPacket({ version: 4, protocol: 'tcp', payload: new Uint8Array(64_000).fill(7) }, 1348);
  a.read.push(handed(whole.octets, whole.header));
  turn(ends);
  const expected = segmentPlain(whole.octets, whole.header);
  expect(hexes(b.written)).toEqual(hexes(expected as Uint8Array[]));
  expect(a.batches.length).toBe(2);
  for (const { octets, segment } of a.batches) {
    expect(octets.length).toBeLessThanOrEqual(MOST_OCTETS);
    expect(Math.ceil(octets.length / segment)).toBeLessThanOrEqual(MOST_SEGMENTS);
  }
  a.loop.writeCounters();
  expect(a.counters.counters(4).outbound).toEqual({ packets: expected.length, bytes: totalOf(expected as Uint8Array[]), lastUse: 1 });
  b.loop.writeCounters();
  expect(b.counters.counters(5).inbound.packets).toBe(expected.length);
  expect(b.counters.sequenceNumbers(5).inbound.sequenceLow).toBe(expected.length);
});

test('super-packets cut to different sizes come out as they were, whichever is first', () => {
  for (const sizes of [
    [1348, 500],
    [500, 1348],
    [700, 700, 300, 700],
  ]) {
    const ends = pair();
    const wholes = sizes.map((size, i) =>
      superPacket({ version: 4, protocol: 'tcp', payload: new Uint8Array(3 * size).fill(i), sourcePort: 1000 + i }, size),
    );
    for (const { octets, header } of wholes) ends.a.read.push(handed(octets, header));
    turn(ends);
    const expected = wholes.flatMap(({ octets, header }) => segmentPlain(octets, header) as Uint8Array[]);
    expect(hexes(ends.b.written)).toEqual(hexes(expected));
  }
});

test('a limit is met by the same packet, whether packets are sealed together or one by one', () => {
  const payload = new Uint8Array(20 * 900);
  const limited = (limits: Partial<ChildSaSpec['limits']>) => {
    const none = { softBytes: 0, hardBytes: 0, softPackets: 0, hardPackets: 0 };
    const ends = pair({ more: { limits: { ...none, ...limits } } });
    const { octets, header } = superPacket({ version: 4, protocol: 'tcp', payload }, 900);
    ends.a.read.push(handed(octets, header));
    turn(ends);
    ends.a.loop.writeCounters();
    const { outbound, drops } = ends.a.counters.counters(4);
    return [outbound.packets, drops.expired, ...ends.a.observed.map(({ kind }) => kind)];
  };
  expect(limited({})).toEqual([20, 0]);
  expect(limited({ softPackets: 21, hardPackets: 21 })).toEqual([20, 0]);
  expect(limited({ softPackets: 20 })).toEqual([20, 0, 'soft-expire']);
  expect(limited({ softPackets: 3, hardPackets: 7 })).toEqual([7, 1, 'soft-expire', 'hard-expire']);
  expect(limited({ softBytes: 940, hardBytes: 3 * 940 })).toEqual([3, 1, 'soft-expire', 'hard-expire']);
});

test('packets go out together only under one traffic class, which comes in with them', () => {
  const ends = pair();
  const packets = [0, 0, 0xb8, 0xb8, 0xba].map((trafficClass) => {
    const one = packet('fd00:a::1', 'fd00:b::1', { size: 300 });
    one[0] = 0x60 | (trafficClass >> 4);
    one[1] = (trafficClass & 15) << 4;
    return one;
  });
  for (const one of packets) ends.a.read.push(handed(one));
  turn(ends);
  expect(ends.a.batches.map(({ trafficClass }) => trafficClass)).toEqual([0, 0xb8, 0xba]);
  expect(hexes(ends.b.written)).toEqual(hexes(packets));
});

test('a SYN goes with the others unless the MSS that it offers has to be lowered', () => {
  const ends = pair();
  const syns = [1000, 9000, 1000, 1000].map((mss) => {
    const syn = packet('10.0.0.1', '10.0.1.1', { protocol: 6, size: 44 });
    syn.set([0x60, 0x02], 32);
    syn.set([2, 4, mss >>> 8, mss & 0xff], 40);
    return syn;
  });
  for (const syn of syns) ends.a.read.push(handed(syn));
  turn(ends);
  expect(ends.a.batches.map(({ octets, segment }) => octets.length / segment)).toEqual([1, 1, 2]);
  expect(ends.b.written.map((octets) => getU16(octets, 42) < 9000)).toEqual([true, true, true, true]);
});

test('padded, all packets of a batch are alike, and come out as they were', () => {
  const ends = pair({ more: { packets: { tfc: 'mtu' } } });
  const whole = superPacket({ version: 6, protocol: 'tcp', payload: new Uint8Array(5000).fill(7) }, 900);
  ends.a.read.push(handed(whole.octets, whole.header));
  ends.a.read.push(handed(packet('10.0.0.1', '10.0.0.2', { size: 28 })));
  turn(ends);
  const expected = [...(segmentPlain(whole.octets, whole.header) as Uint8Array[]), packet('10.0.0.1', '10.0.0.2', { size: 28 })];
  expect(hexes(ends.b.written)).toEqual(hexes(expected));
  expect(ends.a.batches.map(({ octets, segment }) => [octets.length, segment])).toEqual([[expected.length * 1472, 1472]]);
});

test('what is compressed leaves packet by packet', () => {
  const agreed = { more: { ipcomp: { inboundCpi: 0x1000, outboundCpi: 0x1000 } } };
  const ends = pair(agreed);
  const whole = superPacket({ version: 4, protocol: 'tcp', payload: new Uint8Array(5000).fill(7) }, 1300);
  ends.a.read.push(handed(whole.octets, whole.header));
  turn(ends);
  expect(hexes(ends.b.written)).toEqual(hexes(segmentPlain(whole.octets, whole.header) as Uint8Array[]));
  expect(ends.a.batches.every(({ octets }) => octets.length < 200)).toBe(true);
});

test('it waits no longer than until a dummy is due', () => {
  const { a, b } = pair({ more: { packets: { dummies: 1000 } } });
  expect(pair().a.loop.patience(100)).toBe(-1);
  expect(a.loop.patience(100)).toBeLessThan(100);
  a.now += 50;
  expect(a.loop.patience(100)).toBe(0);
  a.loop.turn({ tun: false, sockets: false });
  expect(a.batches).toHaveLength(1);
  b.loop.turn({ tun: true, sockets: true });
  b.loop.writeCounters();
  expect([b.written, b.counters.counters(5).drops.dummy]).toEqual([[], 1]);
});

test('bare ESP leaves and enters by raw sockets, and is refused where there is none', () => {
  const bare = { more: { encap: false } };
  const without = pair(bare);
  expect(without.a.told.find(({ kind }) => kind === 'done')).toMatchObject({ refusal: { code: 'ENCAPSULATION_NEEDED' } });
  const [specA, specB] = specsOf(bare);
  const [a, b] = [new End(specA.local), new End(specB.local)];
  [a.other, b.other] = [b, a];
  for (const [end, spec] of [
    [a, specA],
    [b, specB],
  ] as const) {
    end.loop.tell({ kind: 'raw', fd: 9, ip: spec.local.ip, protocol: 50 });
    end.loop.tell({ kind: 'install', token: 1, slot: 4, spec, resume: undefined });
    expect(end.told.find(({ kind }) => kind === 'done')).toMatchObject({ refusal: undefined });
  }
  const whole = superPacket({ version: 4, protocol: 'tcp', payload: new Uint8Array(5000).fill(7) }, 1300);
  a.read.push(handed(whole.octets, whole.header));
  turn({ a, b });
  expect(hexes(b.written)).toEqual(hexes(segmentPlain(whole.octets, whole.header) as Uint8Array[]));
  expect([a.batches.length, a.wholes.every((one) => one[0] === 0x45 && one[9] === 50)]).toEqual([0, true]);
});

test('what is larger than the path takes is answered into the device', () => {
  const ends = pair();
  ends.a.tooLarge.push([REMOTE_IP, 1300, undefined]);
  ends.a.loop.turn({ tun: false, sockets: true });
  ends.a.read.push(handed(packet('fd00:a::1', 'fd00:b::1', { size: 1281 })));
  turn(ends);
  expect(ends.a.written.map((answer) => [answer[6], answer[40]])).toEqual([[58, 2]]);
  expect([ends.a.batches.length, ends.b.written.length]).toEqual([0, 0]);
});

test('packets of one size go out together, a shorter one ends the batch, a longer one begins another', () => {
  const ends = pair();
  const sizes = [500, 500, 500, 100, 100, 900];
  const packets = sizes.map((size, i) => packet('10.0.0.1', '10.0.0.2', { size, sourcePort: 1000 + i }));
  for (const one of packets) ends.a.read.push(handed(one));
  turn(ends);
  expect(hexes(ends.b.written)).toEqual(hexes(packets));
  expect(ends.a.batches.map(({ octets, segment }) => Math.ceil(octets.length / segment))).toEqual([4, 1, 1]);
});

/** A gateway with hosts inside, and the peer of its one SA. */
function gatewayPair(): { readonly gateway: End; readonly peer: End } {
  const [specA, specB] = specsOf({ localTs: ['10.0.0.0/8'], remoteTs: ['10.1.0.0/16'] });
  const [gateway, peer] = [new End(specA.local, { addresses: ['10.0.0.1/24'] }), new End(specB.local)];
  gateway.other = peer;
  peer.other = gateway;
  gateway.loop.tell({ kind: 'install', token: 1, slot: 4, spec: specA, resume: undefined });
  peer.loop.tell({ kind: 'install', token: 1, slot: 5, spec: specB, resume: undefined });
  return { gateway, peer };
}

const sent = (peer: End, ...packets: readonly Uint8Array[]): void => {
  for (const one of packets) peer.read.push(handed(one));
  peer.loop.turn({ tun: true, sockets: false });
};

test('hosts inside get what is theirs, those behind what no SA takes, and the rest leaves again, a hop less', () => {
  const { gateway, peer } = gatewayPair();
  const [ours, behind, back] = ['10.0.0.1', '10.20.0.5', '10.1.0.9'].map((to) => packet('10.1.0.7', to, { size: 100 }));
  sent(peer, ours!, behind!, back!, packet('10.1.0.7', '10.1.0.9', { size: 100, hopLimit: 1 }));
  gateway.loop.turn({ tun: false, sockets: true });
  expect(hexes(gateway.written)).toEqual(hexes([ours!]));
  expect(gateway.behind.map((octets) => [octets[8], toHex(octets.subarray(16, 20))])).toEqual([[behind![8]! - 1, '0a140005']]);
  peer.loop.turn({ tun: false, sockets: true });
  // what was passed on, and who is told that no hop was left
  expect(peer.written.map((octets) => [octets[9], octets[8]! < 64, toHex(octets.subarray(12, 16))])).toEqual([
    [17, true, '0a010007'],
    [1, expect.any(Boolean), '0a000001'],
  ]);
  gateway.loop.writeCounters();
  const told = gateway.told.filter(({ kind }) => kind === 'drops');
  expect(told[0]).toMatchObject({ drops: { 'no outbound SA': 0, 'hop limit': 0 }, forwarded: 0 });
  expect(told.at(-1)).toMatchObject({ drops: { 'hop limit': 1, 'inner queue': 3 }, forwarded: 1 });
});

test('hosts inside hear how large a packet may be before the SA stands, and whenever that changes', () => {
  const { gateway } = gatewayPair();
  const kinds = gateway.told.map(({ kind }) => kind);
  expect(kinds.indexOf('mtu')).toBeLessThan(kinds.indexOf('done'));
  const mtus = (): readonly (number | undefined)[] => gateway.told.flatMap((message) => (message.kind === 'mtu' ? [message.mtu] : []));
  expect(mtus()).toEqual([expect.any(Number)]);
  gateway.tooLarge.push([REMOTE_IP, 1300, undefined]);
  gateway.loop.turn({ tun: false, sockets: true });
  expect(mtus()[1]).toBeLessThan(mtus()[0]!);
  gateway.loop.tell({ kind: 'remove', child: 1 });
  gateway.loop.turn({ tun: false, sockets: false });
  expect(mtus()).toEqual([expect.any(Number), expect.any(Number), undefined]);
});

test('hosts that are behind with their work leave in the sockets what comes, and lose nothing of it', () => {
  const { gateway, peer } = gatewayPair();
  gateway.crowded = true;
  sent(peer, packet('10.1.0.7', '10.0.0.1', { size: 100 }));
  gateway.loop.turn({ tun: false, sockets: true });
  expect(gateway.written).toEqual([]);
  gateway.crowded = false;
  gateway.loop.turn({ tun: false, sockets: true });
  expect(gateway.written).toHaveLength(1);
});

test('a message is from a stranger while it has no SPI of ours', () => {
  const message = new Uint8Array(32).fill(7);
  expect(isFirst(message)).toBe(false);
  message.fill(0, 12, 20);
  expect(isFirst(message)).toBe(true);
  message[19] = 1;
  expect(isFirst(message)).toBe(false);
});

test('what has no SA is dropped and counted, and waits where a trap asks for one', () => {
  const ends = pair({ remoteTs: ['10.9.0.0/16'], localTs: ['10.1.0.0/16'] });
  const { a } = ends;
  a.read.push(handed(packet('10.1.0.1', '192.0.2.99')));
  turn(ends);
  expect(a.batches).toEqual([]);
  a.loop.writeCounters();
  expect(a.told.findLast(({ kind }) => kind === 'drops')).toMatchObject({ drops: { 'no outbound SA': 1 } });
  a.loop.tell({
    kind: 'traps',
    traps: [{ connection: 'road', child: 'late', localTs: [selector('10.1.0.0/16')], remoteTs: [selector('192.0.2.0/24')] }],
  });
  const first = packet('10.1.0.1', '192.0.2.99');
  a.read.push(handed(first));
  turn(ends);
  expect(a.observed).toMatchObject([{ kind: 'acquire', child: 'late' }]);
  const [lateA, lateB] = specsOf({ id: 2, localTs: ['10.1.0.0/16'], remoteTs: ['192.0.2.0/24'] });
  ends.b.loop.tell({ kind: 'install', token: 2, slot: 6, spec: lateB, resume: undefined });
  a.loop.tell({ kind: 'install', token: 2, slot: 6, spec: lateA, resume: undefined });
  turn(ends);
  expect(hexes(ends.b.written)).toEqual(hexes([first]));
});

test('IKE that comes to the socket is handed back, keepalives end there', () => {
  const { a } = pair();
  const from = { ip: '203.0.113.9', port: 4501 };
  const datagram = Uint8Array.from({ length: 40 }, (_, i) => (i < 4 ? 0 : i));
  a.arrive(datagram, from);
  a.arrive(Uint8Array.of(0xff), from);
  a.loop.turn({ tun: false, sockets: true });
  expect(a.told.filter(({ kind }) => kind === 'ike')).toEqual([{ kind: 'ike', datagram, local: a.address, ...from }]);
});

test('keys are overwritten once the SA stands, and a refusal says why', () => {
  const { a } = pair();
  const { a: again } = childPair();
  a.loop.tell({ kind: 'install', token: 7, slot: 8, spec: again, resume: undefined });
  expect(a.told.findLast(({ kind }) => kind === 'done')).toMatchObject({ token: 7, refusal: { code: 'SPI_IN_USE' } });
  expect(again.outbound.encryptionKey.every((octet) => octet === 0)).toBe(true);
});

test('of a batch that leaves in part, each packet that stays behind is counted where it belongs', () => {
  const [first, second] = [childPair({ id: 1, remoteTs: ['10.0.1.0/24'] }).a, childPair({ id: 2, remoteTs: ['10.0.2.0/24'] }).a];
  const a = new End(first.local);
  a.loop.tell({ kind: 'install', token: 1, slot: 0, spec: first, resume: undefined });
  a.loop.tell({ kind: 'install', token: 2, slot: 1, spec: second, resume: undefined });
  for (const to of ['10.0.1.9', '10.0.2.9']) for (let i = 0; i < 8; i++) a.read.push(handed(packet('10.0.0.1', to)));
  a.accepts = 11;
  a.loop.turn({ tun: true, sockets: false });
  a.loop.writeCounters();
  expect(a.batches.map(({ octets, segment }) => octets.length / segment)).toEqual([11]);
  expect([0, 1].map((slot) => a.counters.counters(slot).drops.send)).toEqual([0, 5]);
  for (let i = 0; i < 3; i++) a.read.push(handed(packet('10.0.0.1', '10.0.1.9')));
  a.accepts = 0;
  a.loop.turn({ tun: true, sockets: false });
  a.loop.writeCounters();
  expect([0, 1].map((slot) => a.counters.counters(slot).drops.send)).toEqual([3, 5]);
});

test('that peers send is told at once, and then of all of them in one message now and then', () => {
  const children = [1, 2, 3].map((id) => specsOf({ id, remoteTs: [`10.0.${id}.0/24`] }));
  const [a, b] = children[0]!.map(({ local }) => new End(local)) as [End, End];
  a.other = b;
  children.forEach(([specA, specB], slot) => {
    a.loop.tell({ kind: 'install', token: 1, slot, spec: specA, resume: undefined });
    b.loop.tell({ kind: 'install', token: 1, slot, spec: specB, resume: undefined });
  });
  const send = (child: number): void => {
    a.read.push(handed(packet('10.0.0.1', `10.0.${child}.9`)));
    turn({ a, b });
  };
  const told = () =>
    b.told.flatMap((message) =>
      message.kind === 'observations' ? [message.observations.map((each) => 'child' in each && each.child)] : [],
    );
  send(1);
  expect(told()).toEqual([[1]]);
  send(2);
  send(3);
  expect([told(), b.loop.resting]).toEqual([[[1]], false]);
  b.now += 100;
  b.loop.turn({ tun: false, sockets: false });
  expect([told(), b.loop.resting]).toEqual([[[1], [2, 3]], true]);
});

test('an offload header that lies is counted, and nothing else happens', () => {
  const ends = pair();
  const header = new VnetHeader();
  header.gsoType = 1;
  header.gsoSize = 0;
  ends.a.read.push(handed(packet('10.0.0.1', '10.0.0.2'), header));
  turn(ends);
  ends.a.loop.writeCounters();
  expect(ends.a.told.findLast(({ kind }) => kind === 'drops')).toMatchObject({ drops: { offload: 1 } });
  expect(ends.a.batches).toEqual([]);
});

test('once its socket is gone packets leave by the other thread', () => {
  const ends = pair();
  const { a } = ends;
  a.loop.tell({ kind: 'socket-gone', local: a.address, token: 3 });
  a.read.push(handed(packet('10.0.0.1', '10.0.0.2')));
  turn(ends);
  expect(a.told.find(({ kind }) => kind === 'send')).toMatchObject({ local: a.address });
});

test.each(['tcp', 'udp'] as const)('super-packets of %s over IPv6, one behind the other', (protocol) => {
  const ends = pair();
  const wholes = [3000, 1, 40_000, 1400].map((length) =>
    superPacket({ version: 6, protocol, payload: new Uint8Array(length).fill(3) }, 1200),
  );
  for (const { octets, header } of wholes) ends.a.read.push(handed(octets, header));
  turn(ends);
  expect(hexes(ends.b.written)).toEqual(hexes(wholes.flatMap(({ octets, header }) => segmentPlain(octets, header) as Uint8Array[])));
});

function superPacket(shape: PacketShape, mss: number): { readonly octets: Uint8Array; readonly header: VnetHeader } {
  const { packet: octets, transport } = begunPacket(shape);
  return { octets, header: gsoHeader(shape, transport, mss) };
}

const totalOf = (packets: readonly Uint8Array[]): number => packets.reduce((sum, { length }) => sum + length, 0);
const hexes = (packets: readonly unknown[]): readonly string[] =>
  packets.map((one) => (one instanceof Uint8Array ? toHex(one) : String(one)));
