import { describe, expect, test, vi } from 'vitest';
import { concat } from '../../../../src/core/bytes/index.ts';
import { IpView, ipv4HeaderValid, sum16, TcpView, UdpView } from '../../../../src/core/packet/index.ts';
import {
  copyOctets,
  copySum,
  GsoType,
  openPacketMemory,
  packetBuffer,
  Segmenter,
  segmentPlain,
  sumOctets,
  VnetFlag,
  VnetHeader,
} from '../../../../src/core/packet/offload/index.ts';
import { SeededRandom } from '../../../../src/testing/seeded.ts';
import { begunPacket, gsoHeader, type PacketShape, randomShape, slowSum, wholePacket } from './super-packets.ts';

const ROOM = 1 << 20;
/** Behind the super-packet. */
const OUT_AT = 70_000;
const memory = openPacketMemory(5 + OUT_AT + ROOM);
const source = packetBuffer(new Uint8Array(memory.buffer, 5), memory.arithmetic);
const elsewhere = packetBuffer(new Uint8Array(ROOM));
const segmenter = new Segmenter();

interface Place {
  /** Of the packet in its buffer, and of the first piece in the other. */
  readonly from?: number;
  readonly to?: number;
  /** Octets between two pieces. */
  readonly gap?: number;
  /** Pieces a call. */
  readonly limit?: number;
  /** The pieces go into another buffer. */
  readonly apart?: boolean;
}

/** What the fast version makes of it, and that it writes nothing between the pieces. */
function segment(
  packet: Uint8Array,
  header: VnetHeader,
  { from = 10, to = 16, gap = 18, limit = 1000, apart = false }: Place = {},
): Uint8Array[] | string {
  source.octets.set(packet, from);
  const verdict = segmenter.begin(source, from, from + packet.length, header);
  if (verdict !== 'ok') {
    expect(segmenter.remaining).toBe(0);
    return verdict;
  }
  const stride = segmenter.packetLength + gap;
  const out = apart ? elsewhere : source;
  const base = apart ? 0 : OUT_AT;
  const area = out.octets.subarray(base, base + to + segmenter.remaining * stride + 64).fill(FILL);
  const pieces: Uint8Array[] = [];
  while (segmenter.remaining > 0) {
    const before = segmenter.remaining;
    const at = to + pieces.length * stride;
    const count = segmenter.write(out, base + at, stride, limit);
    expect(count).toBe(Math.min(limit, before));
    for (let i = 0; i < count; i++) {
      const start = at + i * stride;
      const end = start + (i === before - 1 ? segmenter.lastLength : segmenter.packetLength);
      pieces.push(area.slice(start, end));
      area.fill(FILL, start, end);
    }
  }
  expect(Buffer.compare(area, UNTOUCHED.subarray(0, area.length))).toBe(0);
  return pieces;
}

const FILL = 0xee;
const UNTOUCHED = new Uint8Array(ROOM).fill(FILL);
const same = (a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean =>
  a.length === b.length && a.every((octets, i) => Buffer.compare(octets, b[i]!) === 0);

/** Both versions, equal byte for byte. */
function both(packet: Uint8Array, header: VnetHeader, place?: Place): readonly Uint8Array[] | string {
  const plain = segmentPlain(packet, header);
  const fast = segment(packet, header, place);
  if (typeof plain === 'string' || typeof fast === 'string') {
    expect(fast).toBe(plain);
    return plain;
  }
  // The comparison of vitest is for telling, not for thousands.
  if (!same(fast, plain)) expect(fast).toEqual(plain);
  return plain;
}

const cut = (shape: PacketShape, gsoSize: number, place?: Place): readonly Uint8Array[] => {
  const { packet, transport } = begunPacket(shape);
  const pieces = both(packet, gsoHeader(shape, transport, gsoSize), place);
  if (typeof pieces === 'string') throw new Error(pieces);
  return pieces;
};

describe('the fast and the plain one', () => {
  test('thousands of super-packets, at every alignment', () => {
    const random = new SeededRandom('segment');
    for (let i = 0; i < 2000; i++) {
      const length = random.pick([1, 2, random.between(1, 200), random.between(1, 6000)]);
      const shape = randomShape(random, length);
      const gsoSize = random.pick([1 + Math.floor(length / random.between(1, 12)), random.between(Math.ceil(length / 40), 2000)]);
      const place = {
        from: random.between(0, 3),
        to: random.between(0, 3),
        gap: random.between(0, 40),
        limit: random.pick([1, 7, 64, 1000]),
      };
      judge(shape, gsoSize, cut(shape, gsoSize, place));
    }
  });

  test.each([4, 6] as const)('64 KiB of IPv%i', (version) => {
    const random = new SeededRandom(`64 KiB ${version}`);
    for (const protocol of ['tcp', 'udp'] as const) {
      const payload = random.bytes(65535 - (version === 4 ? 20 : 40) - (protocol === 'tcp' ? 32 : 8));
      const shape: PacketShape = { version, protocol, payload, ...(protocol === 'tcp' ? { tcpOptions: random.bytes(12) } : {}) };
      for (const gsoSize of [1348, 1361, 65535, 536]) judge(shape, gsoSize, cut(shape, gsoSize));
    }
  });

  test('checksums to be completed, at every alignment and of odd length', () => {
    const random = new SeededRandom('complete');
    for (let i = 0; i < 600; i++) {
      const shape = randomShape(random, random.between(0, 1500));
      const { packet, transport } = begunPacket(shape);
      const header = gsoHeader(shape, transport, 0);
      header.gsoType = GsoType.NONE;
      const place = { from: random.between(0, 3), to: random.between(0, 3), apart: random.chance(0.5) };
      expect(same(both(packet, header, place) as readonly Uint8Array[], [wholePacket(shape)])).toBe(true);
    }
  });

  test('random headers before random packets: refused or cut alike, never thrown', () => {
    const random = new SeededRandom('hostile');
    const outcomes = new Map<string, number>();
    for (let i = 0; i < 2500; i++) {
      const shape = randomShape(random, random.between(0, 300));
      const { packet, transport } = begunPacket(shape);
      const header = gsoHeader(shape, transport, random.between(1, 200));
      const field = random.pick(['flags', 'gsoType', 'hdrLen', 'gsoSize', 'csumStart', 'csumOffset'] as const);
      if (random.chance(0.5))
        header[field] = random.pick([0, 1, 2, 5, 20, 40, 255, 65535, random.between(0, 65535)]) & (field === 'flags' ? 255 : 65535);
      for (let n = random.between(0, 3); n > 0; n--) packet[random.between(0, Math.min(80, packet.length) - 1)] = random.between(0, 255);
      const given = packet.subarray(0, random.chance(0.3) ? random.between(0, packet.length) : packet.length);
      const outcome = both(given, header);
      const word = typeof outcome === 'string' ? outcome : 'cut';
      outcomes.set(word, (outcomes.get(word) ?? 0) + 1);
    }
    expect([...outcomes.keys()].sort()).toEqual([
      'checksum-missing',
      'checksum-start',
      'cut',
      'fragment',
      'gso-size',
      'gso-type',
      'header-length',
      'ip',
      'length',
      'protocol',
      'tcp-flags',
    ]);
  });
});

/** What a receiver sees: packets that are valid by themselves, and together carry what the whole one did. */
function judge(shape: PacketShape, gsoSize: number, pieces: readonly Uint8Array[]): void {
  const tcp = new TcpView();
  const udp = new UdpView();
  const payloads: Uint8Array[] = [];
  let offset = 0;
  for (const [i, piece] of pieces.entries()) {
    const ip = new IpView();
    const last = i === pieces.length - 1;
    if (!ip.parse(piece) || ip.end !== piece.length) throw new Error(`packet ${i} does not parse: ${ip.fault}`);
    if (ip.version === 4 && (!ipv4HeaderValid(ip) || ip.identification !== ((shape.identification ?? 1) + i) % 65536))
      throw new Error('IPv4 header');
    const transport = shape.protocol === 'tcp' ? tcp : udp;
    if (!transport.parse(ip)) throw new Error(`packet ${i}: wrong checksum or length`);
    if (transport === tcp) {
      if (tcp.seq !== (((shape.sequence ?? 1000) + offset) | 0)) throw new Error('sequence number');
      const kept = 0xff & (i === 0 ? 0xff : 0x7f) & (last ? 0xff : 0xf6) & ~0x20;
      if ((tcp.flags & ~0x20) !== ((shape.flags ?? 0x10) & kept)) throw new Error(`flags ${tcp.flags} of packet ${i}`);
    }
    if (!last && transport.end - transport.start !== gsoSize) throw new Error('size');
    payloads.push(piece.subarray(transport.start, transport.end));
    offset += transport.end - transport.start;
  }
  expect(Buffer.compare(concat(...payloads), shape.payload)).toBe(0);
}

describe('what goes where', () => {
  const payload = Uint8Array.from({ length: 301 }, (_, i) => i);
  const flagsOf = (pieces: readonly Uint8Array[]): number[] => pieces.map((piece) => piece[33]!);

  test('RFC 9293 §3.1: FIN and PSH on the last only', () => {
    expect(flagsOf(cut({ version: 4, protocol: 'tcp', payload, flags: 0x19 }, 100))).toEqual([0x10, 0x10, 0x10, 0x19]);
  });

  test('RFC 3168 §6.1.2: CWR on the first only, ECE on all', () => {
    expect(flagsOf(cut({ version: 4, protocol: 'tcp', payload, flags: 0xd0 }, 100))).toEqual([0xd0, 0x50, 0x50, 0x50]);
  });

  test('RFC 9293 §3.1: urgent data ends where it did', () => {
    const pieces = cut({ version: 4, protocol: 'tcp', payload, flags: 0x30, urgent: 150 }, 100);
    expect(pieces.map((piece) => [piece[33]! & 0x20, (piece[38]! << 8) | piece[39]!])).toEqual([
      [0x20, 150],
      [0x20, 50],
      [0, 0],
      [0, 0],
    ]);
  });

  test('sequence numbers and identifications turn over', () => {
    const pieces = cut({ version: 4, protocol: 'tcp', payload, sequence: 0xffffff9c, identification: 0xfffe }, 100);
    expect(pieces.map((piece) => [new DataView(piece.buffer).getUint32(24), new DataView(piece.buffer).getUint16(4)])).toEqual([
      [0xffffff9c, 0xfffe],
      [0, 0xffff],
      [100, 0],
      [200, 1],
    ]);
  });

  test('RFC 7323 §3.2: the same timestamps in every segment', () => {
    const tcpOptions = Uint8Array.of(1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8);
    for (const piece of cut({ version: 6, protocol: 'tcp', payload, tcpOptions }, 77)) expect(piece.subarray(60, 72)).toEqual(tcpOptions);
  });

  test('RFC 768: a checksum that comes out as zero is sent as all ones, cut or whole', () => {
    // Two octets of payload make up for all that stands before them.
    const shape = { version: 4, protocol: 'udp', payload: new Uint8Array(2) } as const;
    const { packet, transport } = begunPacket(shape);
    const missing = ~slowSum(packet, transport, packet.length) & 0xffff;
    const made = begunPacket({ ...shape, payload: Uint8Array.of(missing >>> 8, missing & 0xff) });
    for (const gsoType of [GsoType.NONE, GsoType.UDP_L4]) {
      const header = gsoHeader(shape, transport, 100);
      header.gsoType = gsoType;
      const [piece] = both(made.packet, header) as readonly Uint8Array[];
      expect([...piece!.subarray(26, 28)]).toEqual([0xff, 0xff]);
    }
  });

  test('a packet that asks for nothing goes as it came, whatever it is', () => {
    const random = new SeededRandom('as it came');
    const header = new VnetHeader();
    header.flags = VnetFlag.DATA_VALID;
    for (const length of [1, 2, 3, 19, 20, 41, 1400, 65535]) {
      const packet = random.bytes(length);
      expect(same(both(packet, header) as readonly Uint8Array[], [packet])).toBe(true);
    }
  });

  test('hdr_len is not believed', () => {
    const shape: PacketShape = { version: 4, protocol: 'tcp', payload };
    const { packet, transport } = begunPacket(shape);
    const header = gsoHeader(shape, transport, 100);
    const expected = segmentPlain(packet, header);
    header.hdrLen = 65535;
    expect(both(packet, header)).toEqual(expected);
  });

  test('the output ends: what does not fit is written by the next call', () => {
    const shape: PacketShape = { version: 4, protocol: 'tcp', payload };
    const { packet, transport } = begunPacket(shape);
    source.octets.set(packet, 0);
    segmenter.begin(source, 0, packet.length, gsoHeader(shape, transport, 100));
    const small = packetBuffer(new Uint8Array(300));
    expect([segmenter.write(small, 0, 140, 9), segmenter.remaining]).toEqual([2, 2]);
    expect([segmenter.write(small, 0, 140, 9), segmenter.remaining]).toEqual([2, 0]);
    expect(segmenter.write(small, 0, 140, 9)).toBe(0);
  });

  test('a stride into which no packet fits is a mistake of the caller', () => {
    const shape: PacketShape = { version: 4, protocol: 'tcp', payload };
    const { packet, transport } = begunPacket(shape);
    source.octets.set(packet, 0);
    segmenter.begin(source, 0, packet.length, gsoHeader(shape, transport, 100));
    expect(() => segmenter.write(elsewhere, 0, 139, 9)).toThrow(/139 octets apart/);
  });
});

describe('copySum', () => {
  const random = new SeededRandom('copySum');
  const plain = new ArrayBuffer(20_000);
  const slow = packetBuffer(new Uint8Array(plain, 3, 8000));

  test('is fast where WebAssembly is', () => {
    expect(source.arithmetic).toBeDefined();
  });

  test.each([
    ['within a buffer', slow, slow],
    ['between parts of one memory', slow, packetBuffer(new Uint8Array(plain, 10_001, 1000))],
    ['between two', slow, elsewhere],
    ['within a buffer whose memory has arithmetic', source, source],
    ['between parts of such a memory', source, packetBuffer(new Uint8Array(memory.buffer, 10_001, 1000), memory.arithmetic)],
    ['from there to another', source, elsewhere],
    ['and back', slow, source],
  ])('copies %s, and sums as RFC 1071 does, at every alignment and length', (_what, from, to) => {
    from.octets.set(random.bytes(300));
    for (let length = 0; length < 100; length++) {
      for (let at = 0; at < 8; at++) {
        const area = to.octets.subarray(500, 620).fill(FILL);
        const toAt = (at * 5 + length) % 7;
        const sum = slowSum(from.octets, at, at + length);
        expect(copySum(from, at, to, 500 + toAt, length)).toBe(sum);
        const expected = new Uint8Array(120).fill(FILL);
        expected.set(from.octets.subarray(at, at + length), toAt);
        expect(Buffer.compare(area, expected)).toBe(0);
        area.fill(FILL);
        copyOctets(from, at, to, 500 + toAt, length);
        expect(Buffer.compare(area, expected)).toBe(0);
        expect(sumOctets(from, at, length)).toBe(sum);
      }
    }
  });

  test('65535 octets of all ones', () => {
    source.octets.fill(0xff, 0, 65535);
    for (const length of [65535, 65534, 65533, 1, 2, 31, 32, 33]) {
      const sum = sum16(source.octets, 0, length);
      expect(copySum(source, 0, elsewhere, 0, length)).toBe(sum);
      expect(copySum(source, 0, source, OUT_AT, length)).toBe(sum);
      expect([sumOctets(source, 0, length), sumOctets(elsewhere, 0, length)]).toEqual([sum, sum]);
    }
    source.octets.fill(0, 0, 64);
    expect([sumOctets(source, 0, 64), copySum(source, 0, source, OUT_AT, 64)]).toEqual([0, 0]);
  });

  test('what leaves the memory is an error, and no sum', () => {
    const { arithmetic, buffer } = openPacketMemory(100);
    const { byteLength } = buffer;
    expect(arithmetic!.sum(byteLength - 40, 40)).toBe(0);
    expect(() => arithmetic!.sum(byteLength - 40, 41)).toThrow(/out of bounds/);
    expect(() => arithmetic!.copySum(0, byteLength - 40, 41)).toThrow(/out of bounds/);
    expect(() => arithmetic!.copy(0, byteLength - 40, 41)).toThrow(/out of bounds/);
  });

  test('without WebAssembly there is memory all the same', () => {
    vi.stubGlobal('WebAssembly', undefined);
    try {
      expect(openPacketMemory(100)).toEqual({ buffer: new ArrayBuffer(100), arithmetic: undefined });
    } finally {
      vi.unstubAllGlobals();
    }
  });

  test('a Buffer serves as well', () => {
    const buffer = packetBuffer(Buffer.alloc(32, 1));
    expect([buffer.octets.constructor, copySum(buffer, 0, elsewhere, 0, 32)]).toEqual([Uint8Array, slowSum(buffer.octets, 0, 32)]);
  });
});
