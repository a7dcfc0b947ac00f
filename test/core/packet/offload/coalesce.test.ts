import { describe, expect, test } from 'vitest';
import { concat, toHex } from '../../../../src/core/bytes/index.ts';
import { getU16, putU16, sum16 } from '../../../../src/core/packet/index.ts';
import {
  Coalescer,
  coalescePlain,
  type Delivery,
  GsoType,
  openPacketMemory,
  type PacketBuffer,
  packetBuffer,
  RUN_BUFFER,
  segmentPlain,
  VNET_HEADER,
  VnetFlag,
  VnetHeader,
} from '../../../../src/core/packet/offload/index.ts';
import { SeededRandom } from '../../../../src/testing/seeded.ts';
import { finishIpv4, type PacketShape, timestamps, wholePacket } from './super-packets.ts';

const RUNS_AT = 80_000;
/** Where packets are pushed from, and behind that eight flows. */
const memory = openPacketMemory(RUNS_AT + 8 * RUN_BUFFER);
const source = packetBuffer(new Uint8Array(memory.buffer, 0, RUNS_AT + 8 * RUN_BUFFER), memory.arithmetic);
const elsewhere = packetBuffer(new Uint8Array(80_000));

interface Held {
  readonly flows?: number;
  readonly udp?: boolean;
  /** Of every packet in the buffer. */
  readonly at?: number;
  readonly from?: PacketBuffer;
}

/** What the fast version writes. Every packet is pushed from the same place: none is looked at again. */
function coalesce(batch: readonly Uint8Array[], { flows = 8, udp = true, at = VNET_HEADER, from = source }: Held = {}): Delivery[] {
  const deliveries: Delivery[] = [];
  const sink = {
    deliver(buffer: PacketBuffer, start: number, end: number): void {
      const header = new VnetHeader();
      header.read(buffer.octets, start);
      deliveries.push({ header, packet: buffer.octets.slice(start + VNET_HEADER, end) });
    },
  };
  const coalescer = new Coalescer({ sink, flows, buffer: source, at: RUNS_AT, udp });
  for (const packet of batch) {
    from.octets.fill(0xa5, 0, at + packet.length + 64);
    from.octets.set(packet, at);
    coalescer.push(from, at, at + packet.length);
  }
  coalescer.flush();
  expect([coalescer.packets, coalescer.deliveries]).toEqual([batch.length, deliveries.length]);
  return deliveries;
}

/** Both versions, equal in every header and every octet. */
function both(batch: readonly Uint8Array[], held: Held = {}): Delivery[] {
  const plain = coalescePlain(batch, { flows: held.flows ?? 8, udp: held.udp ?? true });
  const fast = coalesce(batch, held);
  const same = plain.length === fast.length && plain.every((each, i) => sameDelivery(each, fast[i]!));
  // The comparison of vitest is for telling, not for thousands.
  if (!same) expect(fast.map(told)).toEqual(plain.map(told));
  return plain;
}

const FIELDS = ['flags', 'gsoType', 'hdrLen', 'gsoSize', 'csumStart', 'csumOffset'] as const;
const sameDelivery = (a: Delivery, b: Delivery): boolean =>
  FIELDS.every((field) => a.header[field] === b.header[field]) && Buffer.compare(a.packet, b.packet) === 0;
const told = ({ header, packet }: Delivery): string => `${FIELDS.map((field) => header[field]).join(' ')}: ${toHex(packet)}`;

/** What a receiver sees of it. */
function cutAgain(deliveries: readonly Delivery[]): Uint8Array[] {
  return deliveries.flatMap(({ header, packet }) => {
    const pieces = segmentPlain(packet, header);
    if (typeof pieces === 'string') throw new Error(pieces);
    return pieces;
  });
}

function comesOutAs(deliveries: readonly Delivery[], packets: readonly Uint8Array[]): void {
  const again = cutAgain(deliveries);
  expect(again.length).toBe(packets.length);
  for (const [i, packet] of packets.entries()) if (Buffer.compare(packet, again[i]!) !== 0) expect(toHex(again[i]!)).toBe(toHex(packet));
}

/** Packets that each delivery stands for. */
const sizes = (deliveries: readonly Delivery[]): number[] => deliveries.map((each) => cutAgain([each]).length);

const TCP: PacketShape = {
  version: 4,
  protocol: 'tcp',
  payload: new Uint8Array(0),
  tcpOptions: Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7),
};

/** Consecutive packets; what differs in the one or the other is given by its place. */
function stream(
  count: number,
  shape: Partial<PacketShape> = {},
  differing: Readonly<Record<number, Partial<PacketShape>>> = {},
): Uint8Array[] {
  let sequence = shape.sequence ?? 5000;
  return Array.from({ length: count }, (_, i) => {
    const payload = Uint8Array.from({ length: 100 }, (_, k) => i + k);
    const identification = ((shape.identification ?? 100) + i) & 0xffff;
    const made = { ...TCP, payload, ...shape, identification, sequence, ...differing[i] };
    sequence = (sequence + made.payload.length) >>> 0;
    return wholePacket(made);
  });
}

const octets = (length: number): { payload: Uint8Array } => ({ payload: new Uint8Array(length).fill(7) });

describe('what becomes one', () => {
  test.each([
    ['IPv4, identifications counted', stream(5), [5]],
    ['IPv6', stream(5, { version: 6 }), [5]],
    ['a shorter packet is the last', stream(5, {}, { 2: octets(99) }), [3, 2]],
    ['a shorter first packet stands alone', stream(4, {}, { 0: octets(99) }), [1, 3]],
    ['a push ends', stream(5, {}, { 2: { flags: 0x18 } }), [3, 2]],
    ['a push alone', stream(1, { flags: 0x18 }), [1]],
    ['sequence numbers turn over', stream(5, { sequence: 0xffffff00 }), [5]],
    ['identifications turn over', stream(5, { identification: 0xfffe }), [5]],
    ['identifications counted, may be fragmented', stream(5, { dontFragment: false }), [5]],
    ['UDP', stream(5, { protocol: 'udp' }), [5]],
    ['UDP over IPv6', stream(5, { version: 6, protocol: 'udp' }), [5]],
    ['UDP, a shorter one is the last', stream(5, { protocol: 'udp' }, { 2: octets(1) }), [3, 2]],
    ['UDP, 64 at most', stream(130, { protocol: 'udp' }), [64, 64, 2]],
    ['one octet behind eight', stream(2, octets(8), { 1: octets(1) }), [2]],
    ['TCP of seven octets, too small for the kernel', stream(3, octets(7)), [1, 1, 1]],
    ['65535 octets at most', stream(60, octets(1348)), [48, 12]],
    ['65535 octets at most, IPv6', stream(60, { version: 6, ...octets(1348) }), [48, 12]],
  ])('%s', (_what, packets, expected) => {
    const deliveries = both(packets);
    expect(sizes(deliveries)).toEqual(expected);
    comesOutAs(deliveries, packets);
  });

  test('65535 octets exactly, and one more', () => {
    const fits = stream(3, octets(30_000), { 2: octets(65535 - 52 - 60_000) });
    expect(sizes(both(fits))).toEqual([3]);
    comesOutAs(both(fits), fits);
    expect(sizes(both(stream(3, octets(30_000), { 2: octets(65536 - 52 - 60_000) })))).toEqual([2, 1]);
    expect(sizes(both(stream(2, octets(65535 - 52))))).toEqual([1, 1]);
  });

  test('the header is the one that the kernel asks for', () => {
    const [delivery] = both(stream(3));
    expect({ ...delivery!.header }).toEqual({
      flags: VnetFlag.NEEDS_CSUM,
      gsoType: GsoType.TCPV4,
      hdrLen: 52,
      gsoSize: 100,
      csumStart: 20,
      csumOffset: 16,
    });
    expect(getU16(delivery!.packet, 2)).toBe(352);
    const [udp] = both(stream(3, { version: 6, protocol: 'udp' }));
    expect({ ...udp!.header }).toEqual({
      flags: VnetFlag.NEEDS_CSUM,
      gsoType: GsoType.UDP_L4,
      hdrLen: 48,
      gsoSize: 100,
      csumStart: 40,
      csumOffset: 6,
    });
    expect([getU16(udp!.packet, 4), getU16(udp!.packet, 44)]).toEqual([308, 308]);
  });

  test('RFC 6864 §4.1: the same identification in packets that are never fragmented comes out counted, and nothing else differs', () => {
    const packets = stream(5, {}, Object.fromEntries([0, 1, 2, 3, 4].map((i) => [i, { identification: 0 }])));
    const deliveries = both(packets);
    expect(sizes(deliveries)).toEqual([5]);
    const again = cutAgain(deliveries);
    expect(again.map((packet) => getU16(packet, 4))).toEqual([0, 1, 2, 3, 4]);
    for (const packet of again) {
      putU16(packet, 4, 0);
      finishIpv4(packet);
    }
    expect(again).toEqual(packets);
  });

  test('a device without UDP_L4 gets every datagram by itself', () => {
    const packets = [...stream(3, { protocol: 'udp' }), ...stream(3)];
    expect(sizes(both(packets, { udp: false }))).toEqual([1, 1, 1, 3]);
  });
});

describe('what does not', () => {
  // The third of five differs; those before and behind it are runs by themselves unless the sequence is broken for good.
  test.each<[string, Partial<PacketShape>, Partial<PacketShape>, number[]]>([
    ['another acknowledgment', { acknowledgment: 2001 }, {}, [2, 1, 2]],
    ['another window', { window: 511 }, {}, [2, 1, 2]],
    ['another urgent pointer', { urgent: 1 }, {}, [2, 1, 2]],
    ['other timestamps (RFC 7323 §3.2)', { tcpOptions: Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 10, 0, 0, 0, 7) }, {}, [2, 1, 2]],
    ['no options', { tcpOptions: new Uint8Array(0) }, {}, [2, 1, 2]],
    ['another hop limit', { hopLimit: 63 }, {}, [2, 1, 2]],
    ['another hop limit, IPv6', { hopLimit: 63 }, { version: 6 }, [2, 1, 2]],
    ['Congestion Experienced (RFC 3168 §5)', { trafficClass: 3 }, { trafficClass: 2 }, [2, 1, 2]],
    ['another traffic class, IPv6', { trafficClass: 3 }, { version: 6, trafficClass: 2 }, [2, 1, 2]],
    ['may be fragmented', { dontFragment: false }, {}, [2, 1, 2]],
    ['another identification', { identification: 104 }, {}, [2, 1, 2]],
    ['an identification again, with DF', { identification: 101 }, {}, [2, 1, 2]],
    ['the same identifications, without DF', { identification: 100 }, { dontFragment: false }, [2, 1, 2]],
    ['ECE', { flags: 0x50 }, {}, [2, 1, 2]],
    ['CWR', { flags: 0x90 }, {}, [2, 1, 2]],
    ['URG', { flags: 0x30 }, {}, [2, 1, 2]],
    ['FIN', { flags: 0x11 }, {}, [2, 1, 2]],
    ['RST', { flags: 0x14 }, {}, [2, 1, 2]],
    ['SYN', { flags: 0x12 }, {}, [2, 1, 2]],
    ['no ACK', { flags: 0x00 }, {}, [2, 1, 2]],
    ['a gap', { sequence: 5201 }, {}, [2, 1, 2]],
    ['a retransmission', { sequence: 5100 }, {}, [2, 1, 2]],
    ['more octets than before, of which the next has less', octets(101), {}, [2, 2, 1]],
    ['no octets: an acknowledgment', octets(0), {}, [2, 1, 2]],
    ['UDP of more octets', octets(101), { protocol: 'udp' }, [2, 2, 1]],
    ['UDP of no octets', octets(0), { protocol: 'udp' }, [2, 1, 2]],
    ['UDP, another hop limit', { hopLimit: 63 }, { protocol: 'udp' }, [2, 1, 2]],
    ['IPv4 options', { ipOptions: Uint8Array.of(1, 1, 1, 1) }, {}, [2, 1, 2]],
    ['IPv6 extension headers', { ipOptions: Uint8Array.of(6, 0, 1, 4, 0, 0, 0, 0), firstExtension: 60 }, { version: 6 }, [2, 1, 2]],
  ])('%s', (_what, third, all, expected) => {
    const packets = stream(5, all, { 2: third });
    const deliveries = both(packets);
    expect(sizes(deliveries)).toEqual(expected);
    comesOutAs(deliveries, packets);
  });

  test.each<[string, PacketShape['version'], 'tcp' | 'udp', (packet: Uint8Array, transport: number) => void]>([
    ['a wrong checksum', 4, 'tcp', (packet, at) => putU16(packet, at + 16, getU16(packet, at + 16) ^ 1)],
    ['a wrong octet', 6, 'tcp', (packet) => packet.fill(0xb7, packet.length - 1)],
    ['a wrong checksum of UDP', 4, 'udp', (packet, at) => putU16(packet, at + 6, getU16(packet, at + 6) ^ 1)],
    ['UDP without checksum (RFC 768)', 4, 'udp', (packet, at) => putU16(packet, at + 6, 0)],
    ['a wrong checksum of IPv4', 4, 'tcp', (packet) => putU16(packet, 10, getU16(packet, 10) ^ 1)],
    ['reserved bits', 4, 'tcp', (packet, at) => mend(packet.fill(0x81, at + 12, at + 13), at)],
    ['more fragments', 4, 'tcp', (packet) => finishIpv4(packet.fill(0x60, 6, 7))],
    ['a fragment', 4, 'tcp', (packet) => finishIpv4(packet.fill(1, 7, 8))],
    ['the bit beside DF', 4, 'tcp', (packet) => finishIpv4(packet.fill(0xc0, 6, 7))],
    ['a length that is less', 4, 'tcp', (packet) => putU16(packet, 2, packet.length - 1)],
    ['a length that is more', 6, 'tcp', (packet) => putU16(packet, 4, packet.length - 39)],
    ['a UDP length that is less', 4, 'udp', (packet, at) => putU16(packet, at + 4, 20)],
    ['a UDP length that is more', 6, 'udp', (packet, at) => putU16(packet, at + 4, 2000)],
    ['a data offset within the header', 4, 'tcp', (packet, at) => packet.fill(0x40, at + 12, at + 13)],
    ['a version that is none', 4, 'tcp', (packet) => packet.fill(0x55, 0, 1)],
    ['another protocol', 6, 'udp', (packet) => packet.fill(58, 6, 7)],
  ])('%s goes alone, and as it came', (_what, version, protocol, spoil) => {
    for (const place of [0, 1, 2]) {
      const packets = stream(5, { version, protocol });
      spoil(packets[place]!, version === 4 ? 20 : 40);
      const deliveries = both(packets);
      const spoiled = deliveries.filter(({ packet }) => Buffer.compare(packet, packets[place]!) === 0);
      expect(spoiled.map(({ header }) => ({ ...header }))).toEqual([{ ...new VnetHeader() }]);
    }
  });

  test('a data offset beyond the end', () => {
    const packets = stream(5, octets(9));
    packets[2]!.fill(0xf0, 32, 33);
    const deliveries = both(packets);
    expect(sizes(deliveries)).toEqual([2, 1, 2]);
    expect(deliveries[1]!.packet).toEqual(packets[2]);
  });

  test('the other zero: a checksum that is right but would not come out the same', () => {
    // A sum over the rest that is all ones makes a checksum of zero; written as all ones it holds as well.
    const made = stream(3);
    const packet = made[1]!;
    putU16(packet, 60, 0);
    mend(packet, 20);
    putU16(packet, 60, getU16(packet, 36));
    putU16(packet, 36, 0xffff);
    expect(sizes(both(made))).toEqual([1, 1, 1]);
    putU16(packet, 36, 0);
    expect(sizes(both(made))).toEqual([3]);
    comesOutAs(both(made), made);
  });

  test('pieces of packets, at every length', () => {
    for (const version of [4, 6] as const) {
      const [packet] = stream(1, { version });
      for (let length = 0; length < packet!.length; length++)
        expect(sizes(both([packet!.subarray(0, length)].filter((each) => each.length > 0)))).toHaveLength(Math.min(length, 1));
    }
  });
});

function mend(packet: Uint8Array, transport: number): void {
  const version = transport === 20 ? 4 : 6;
  const addresses = version === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  const tcp = packet.slice(transport);
  putU16(tcp, 16, 0);
  const pseudo = concat(addresses, Uint8Array.of(0, 6), Uint8Array.of(tcp.length >>> 8, tcp.length), tcp);
  let sum = 0;
  for (let i = 0; i < pseudo.length; i += 2) sum += pseudo[i]! * 256 + (pseudo[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  putU16(packet, transport + 16, ~sum & 0xffff);
}

describe('several flows', () => {
  const flow = (port: number, count = 4): Uint8Array[] => stream(count, { sourcePort: port });
  const interleaved = (flows: readonly (readonly Uint8Array[])[]): Uint8Array[] =>
    Array.from({ length: Math.max(...flows.map((each) => each.length)) }, (_, i) => flows.flatMap((each) => each[i] ?? [])).flat();

  test('two streams do not break each other', () => {
    expect(sizes(both(interleaved([flow(1), flow(2)])))).toEqual([4, 4]);
  });

  test('TCP and UDP of the same ports are two, IPv4 and IPv6 as well', () => {
    const flows = [stream(4), stream(4, { protocol: 'udp' }), stream(4, { version: 6 }), stream(4, { version: 6, protocol: 'udp' })];
    expect(sizes(both(interleaved(flows)))).toEqual([4, 4, 4, 4]);
  });

  test('one more than are held: the oldest goes first', () => {
    const flows = [1, 2, 3].map((port) => flow(port, 2));
    expect(sizes(both(interleaved(flows), { flows: 3 }))).toEqual([2, 2, 2]);
    expect(sizes(both(interleaved(flows), { flows: 2 }))).toEqual([1, 1, 1, 1, 1, 1]);
    expect(sizes(both([...flow(1, 2), ...flow(2, 2), ...flow(3, 2)], { flows: 1 }))).toEqual([2, 2, 2]);
  });

  test('a fragment passes no packet of its addresses, and ends no run of others', () => {
    const [fragment] = stream(1);
    fragment![7]! |= 1;
    finishIpv4(fragment!);
    const other = stream(4, { destination: Uint8Array.of(10, 2, 0, 12), sourcePort: 7 });
    const mine = flow(1, 4);
    const batch = [...mine.slice(0, 2), ...other.slice(0, 2), fragment!, ...mine.slice(2), ...other.slice(2)];
    const deliveries = both(batch);
    expect(sizes(deliveries)).toEqual([2, 1, 4, 2]);
    expect(deliveries[1]!.packet).toEqual(fragment);
  });

  test('nothing waits for the next batch', () => {
    expect(sizes(both(flow(1, 1)))).toEqual([1]);
    expect(both([])).toEqual([]);
  });
});

describe('what a receiver sees', () => {
  test('hundreds of batches of streams that change, lose, repeat and lie', () => {
    let packets = 0;
    let writes = 0;
    for (let seed = 0; seed < 180; seed++) {
      const random = new SeededRandom(seed, 'coalesce');
      const batch = randomBatch(random);
      const held = {
        flows: random.pick([1, 2, 3, 8]),
        udp: random.chance(0.8),
        at: VNET_HEADER + random.between(0, 20),
        from: random.pick([source, elsewhere]),
      };
      const deliveries = both(batch, held);
      judge(batch, cutAgain(deliveries));
      packets += batch.length;
      writes += deliveries.length;
    }
    expect(packets).toBeGreaterThan(4000);
    // Otherwise nothing was shown.
    expect(writes).toBeLessThan(packets * 0.6);
  });

  test('what segmentation made, coalescing makes again', () => {
    const random = new SeededRandom('again');
    for (const size of [536, 1348, 1361]) {
      for (const version of [4, 6] as const) {
        const packets = stream(20, { version, payload: random.bytes(size), tcpOptions: timestamps(random) });
        const deliveries = both(packets);
        expect(deliveries).toHaveLength(1);
        expect(both(cutAgain(deliveries)).map(told)).toEqual(deliveries.map(told));
      }
    }
  });
});

/** Some flows, interleaved, each packet spoiled now and then. */
function randomBatch(random: SeededRandom): Uint8Array[] {
  const flows = Array.from({ length: random.between(1, 5) }, (_, i) => randomFlow(random, 1000 + i));
  const batch: Uint8Array[] = [];
  while (flows.some((flow) => flow.length > 0)) {
    const flow = random.pick(flows);
    batch.push(...flow.splice(0, random.between(1, 6)));
  }
  return batch;
}

function randomFlow(random: SeededRandom, sourcePort: number): Uint8Array[] {
  const trouble = random.pick([0, 0.02, 0.2]);
  const size = random.pick([8, 100, 101, 1348, 536, random.between(1, 400)]);
  const shape: Partial<PacketShape> = {
    version: random.pick([4, 6] as const),
    protocol: random.pick(['tcp', 'tcp', 'udp'] as const),
    sourcePort,
    payload: random.bytes(size),
    sequence: random.chance(0.2) ? 0xffffffff - random.between(0, 3000) : random.u32(),
    identification: random.pick([0, 65530, random.between(0, 65535)]),
    dontFragment: random.chance(0.7),
    tcpOptions: random.chance(0.5) ? timestamps(random) : new Uint8Array(0),
  };
  const differing: Record<number, Partial<PacketShape>> = {};
  const count = random.between(1, 16);
  for (let i = 0; i < count; i++) if (random.chance(trouble)) differing[i] = randomDifference(random, size);
  const packets = stream(count, shape, differing);
  for (const packet of packets)
    if (random.chance(trouble / 3)) packet[random.between(0, Math.min(packet.length, 64) - 1)] = random.between(0, 255);
  if (random.chance(trouble)) packets.splice(random.between(0, count - 1), 1);
  if (random.chance(trouble)) packets.push(random.pick(packets) ?? random.bytes(30));
  if (random.chance(trouble)) packets[0] = random.bytes(random.between(1, 100));
  return random.chance(trouble) ? random.shuffle(packets) : packets;
}

const randomDifference = (random: SeededRandom, size: number): Partial<PacketShape> =>
  random.pick<Partial<PacketShape>>([
    { flags: 0x18 },
    { flags: random.between(0, 255) },
    { payload: random.bytes(random.between(0, size + 5)) },
    { hopLimit: 1 },
    { trafficClass: 3 },
    { window: 1 },
    { acknowledgment: 1 },
    { identification: random.between(0, 3) },
    { sequence: random.u32() },
    { tcpOptions: timestamps(random) },
    { ipOptions: Uint8Array.of(1, 1, 1, 1) },
    { dontFragment: false },
  ]);

/** Every packet arrives once, octet by octet, and in the order of its flow. */
function judge(sent: readonly Uint8Array[], seen: readonly Uint8Array[]): void {
  expect(seen.length).toBe(sent.length);
  const expected = byFlow(sent);
  for (const [flow, packets] of byFlow(seen)) {
    const originals = expected.get(flow) ?? [];
    const wrong = packets.findIndex((packet, i) => Buffer.compare(packet, originals[i] ?? packet.subarray(1)) !== 0);
    if (wrong >= 0) expect(toHex(packets[wrong]!)).toBe(toHex(originals[wrong] ?? packets[wrong]!.subarray(1)));
  }
}

function byFlow(packets: readonly Uint8Array[]): Map<string, Uint8Array[]> {
  const flows = new Map<string, Uint8Array[]>();
  for (const packet of packets) flows.set(flowOf(packet), [...(flows.get(flowOf(packet)) ?? []), meaningful(packet)]);
  return flows;
}

/** RFC 6864 §4.1: the identification of a packet with DF means nothing, and may come out another; streams without DF show that it is counted. */
function meaningful(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  if (packet[0] === 0x45 && packet.length >= 20 && packet[6] === 0x40 && sum16(packet, 0, 20) === 0xffff)
    copy.fill(0, 4, 6).fill(0, 10, 12);
  return copy;
}

/** As far as the first octets say. */
const flowOf = (packet: Uint8Array): string =>
  packet[0]! >>> 4 === 6
    ? toHex(packet.subarray(6, 44))
    : packet[0] === 0x45
      ? `${packet[9]} ${toHex(packet.subarray(12, 24))}`
      : toHex(packet.subarray(0, 24));

test('a mistake of the caller is said', () => {
  const sink = { deliver: (): void => {} };
  const within = { sink, buffer: source, udp: true };
  expect(() => new Coalescer({ ...within, flows: 0, at: 0 })).toThrow(/0 flows/);
  expect(() => new Coalescer({ ...within, flows: 8, at: RUNS_AT + 1 })).toThrow(/8 flows of 65552 octets/);
  expect(() => new Coalescer({ ...within, flows: 1, at: -1 })).toThrow(/from -1 on/);
  const coalescer = new Coalescer({ ...within, flows: 1, at: RUNS_AT });
  expect(() => coalescer.push(source, 9, 100)).toThrow(/no room for the 10 octets/);
});
