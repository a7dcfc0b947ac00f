import { describe, expect, test } from 'vitest';
import { concat, fromHex, utf8 } from '../../../src/core/bytes/bytes.ts';
import { MalformedMessage, TunnelwrightError } from '../../../src/core/bytes/errors.ts';
import { LinkType } from '../../../src/core/packet/link-layer.ts';
import { type CapturedPacket, pcapHeader, pcapPacket, readCapture } from '../../../src/core/packet/pcap.ts';
import { pcapngHeader, pcapngPacket } from '../../../src/core/packet/pcapng.ts';
import { forSeeds } from '../../support/gen.ts';

const read = (...parts: Uint8Array[]): CapturedPacket[] => [...readCapture(concat(...parts))];

/** What was given before the file broke, and the code of the error. */
function readDamaged(...parts: Uint8Array[]): { packets: number; code: string } {
  let packets = 0;
  try {
    for (const _ of readCapture(concat(...parts))) packets++;
  } catch (error) {
    if (error instanceof MalformedMessage) return { packets, code: error.code };
    throw error;
  }
  return { packets, code: 'none' };
}

/** Numbers of either byte order. */
const u32 =
  (little: boolean) =>
  (...values: number[]): Uint8Array => {
    const octets = new Uint8Array(4 * values.length);
    values.forEach((value, i) => {
      new DataView(octets.buffer).setUint32(4 * i, value, little);
    });
    return octets;
  };

const AT = 1_700_000_000_123.456;

describe('pcap', () => {
  test.each([
    ['microseconds, big-endian', 0xa1b2c3d4, false, 456_789, 456.789],
    ['microseconds, little-endian', 0xa1b2c3d4, true, 456_789, 456.789],
    ['nanoseconds, big-endian', 0xa1b23c4d, false, 456_789_012, 456.789012],
    ['nanoseconds, little-endian', 0xa1b23c4d, true, 456_789_012, 456.789012],
  ])('%s', (_, magic, little, fraction, millis) => {
    const n = u32(little);
    const file = concat(
      n(magic),
      little ? fromHex('02000400') : fromHex('00020004'),
      n(0, 0, 65535, 101),
      n(1_700_000_000, fraction, 3, 1500),
      fromHex('450011'),
    );
    const [packet, ...more] = read(file);
    expect(more).toEqual([]);
    expect(packet).toMatchObject({ linkType: 101, length: 1500, data: fromHex('450011') });
    expect(packet?.at).toBeCloseTo(1_700_000_000_000 + millis, 3);
  });

  test('is read as it was written', () => {
    forSeeds(20, (g) => {
      const frames = g.many(0, 10, () => ({ at: AT + g.int(0, 1e9) / 1000, data: g.bytes(0, 200) }));
      const packets = read(pcapHeader(LinkType.ETHERNET), ...frames.map(({ at, data }) => pcapPacket(at, data)));
      expect(packets.map(({ data, length, linkType }) => ({ data, length, linkType }))).toEqual(
        frames.map(({ data }) => ({ data, length: data.length, linkType: 1 })),
      );
      packets.forEach((packet, i) => {
        expect(Math.abs(packet.at - frames[i]!.at)).toBeLessThan(0.001);
      });
    });
  });

  test('gives what is whole, then says where it broke', () => {
    const file = concat(pcapHeader(1), pcapPacket(AT, new Uint8Array(10)), pcapPacket(AT, new Uint8Array(10)));
    for (let cut = 51; cut < file.length; cut++)
      expect(readDamaged(file.subarray(0, cut))).toEqual({ packets: 1, code: 'CAPTURE_DAMAGED' });
    expect(readDamaged(file.subarray(0, 20))).toEqual({ packets: 0, code: 'CAPTURE_DAMAGED' });
  });

  test('does not believe a packet of gigabytes', () => {
    const n = u32(false);
    expect(readDamaged(pcapHeader(1), n(0, 0, 0xffffffff, 0xffffffff), new Uint8Array(100))).toEqual({
      packets: 0,
      code: 'CAPTURE_DAMAGED',
    });
  });
});

describe.each([
  ['little-endian', true],
  ['big-endian', false],
])('pcapng, %s', (_, little) => {
  const n = u32(little);
  const n16 = (a: number, b: number): Uint8Array => (little ? n(a | (b << 16)) : n((a << 16) | b));
  const pad = (data: Uint8Array): Uint8Array => concat(data, new Uint8Array((4 - (data.length % 4)) % 4));
  const block = (type: number, ...parts: Uint8Array[]): Uint8Array => {
    const body = concat(...parts);
    return concat(n(type, body.length + 12), body, n(body.length + 12));
  };
  const option = (code: number, value: Uint8Array): Uint8Array => concat(n16(code, value.length), pad(value));
  const section = block(0x0a0d0d0a, n(0x1a2b3c4d), n16(1, 0), n(0xffffffff, 0xffffffff));
  const face = (linkType: number, snap = 0, ...options: Uint8Array[]): Uint8Array => block(1, n16(linkType, 0), n(snap), ...options);
  const enhanced = (on: number, high: number, low: number, data: Uint8Array, ...options: Uint8Array[]): Uint8Array =>
    block(6, n(on, high, low, data.length, data.length), pad(data), ...options);

  test('packets of several interfaces, with their comments', () => {
    const packets = read(
      section,
      face(101),
      face(1),
      enhanced(1, 0, 1_000_500, fromHex('aabb'), option(2, fromHex('00000000')), option(1, utf8('hello')), n(0)),
      enhanced(0, 0, 2_000_000, fromHex('cc')),
    );
    expect(packets).toEqual([
      { at: 1000.5, linkType: 1, data: fromHex('aabb'), length: 2, comment: 'hello' },
      { at: 2000, linkType: 101, data: fromHex('cc'), length: 1 },
    ]);
  });

  test('times of any resolution, and with an offset', () => {
    const ns = BigInt(1_700_000_000) * 1_000_000_000n + 123_456_789n;
    const stamps = [Number(ns >> 32n), Number(ns & 0xffffffffn)] as const;
    const [packet] = read(section, face(101, 0, option(9, Uint8Array.of(9)), n(0)), enhanced(0, ...stamps, NONE));
    expect(packet?.at).toBeCloseTo(1_700_000_000_123.4568, 3);
    const [binary] = read(section, face(101, 0, option(9, Uint8Array.of(0x80 | 10))), enhanced(0, 0, 1536, NONE));
    expect(binary?.at).toBe(1500);
    const late = little ? fromHex('0a00000000000000') : fromHex('000000000000000a');
    const [shifted] = read(section, face(101, 0, option(14, late)), enhanced(0, 0, 1_000_000, NONE));
    expect(shifted?.at).toBe(11_000);
  });

  test('simple and obsolete packet blocks', () => {
    const simple = block(3, n(5), pad(fromHex('0102030405')));
    const cut = block(3, n(9), fromHex('01020304'));
    const obsolete = block(2, n16(0, 7), n(0, 1000, 2, 60), pad(fromHex('beef')));
    expect(read(section, face(101, 8), simple).map(({ data, length }) => ({ data, length }))).toEqual([
      { data: fromHex('0102030405'), length: 5 },
    ]);
    expect(read(section, face(101, 4), cut).map(({ data, length }) => ({ data, length }))).toEqual([
      { data: fromHex('01020304'), length: 9 },
    ]);
    expect(read(section, face(101), obsolete)).toEqual([{ at: 1, linkType: 101, data: fromHex('beef'), length: 60 }]);
  });

  test('blocks nobody knows are skipped, and a new section begins anew', () => {
    const packets = read(
      section,
      block(0x0bad, new Uint8Array(20)),
      face(101),
      block(5, n(0)),
      section,
      face(228),
      enhanced(0, 0, 0, fromHex('45')),
    );
    expect(packets.map(({ linkType }) => linkType)).toEqual([228]);
  });

  test.each([
    ['a block of no octets', concat(section, n(6, 0), new Uint8Array(100))],
    ['a block of an odd length', concat(section, n(6, 13), new Uint8Array(100))],
    ['a block longer than the file', concat(section, n(6, 1000), new Uint8Array(100))],
    ['two lengths that differ', concat(section, n(6, 16, 0, 12))],
    ['a packet without interface', concat(section, enhanced(0, 0, 0, fromHex('45')))],
    ['a packet of another interface', concat(section, face(101), enhanced(1, 0, 0, fromHex('45')))],
    ['a simple packet without interface', concat(section, block(3, n(0)))],
    ['a packet longer than its block', concat(section, face(101), block(6, n(0, 0, 0, 100, 100), new Uint8Array(40)))],
    ['a packet block without fields', concat(section, face(101), block(6, n(0)))],
    ['an interface without fields', concat(section, block(1, n(0)))],
    ['a section without byte order', block(0x0a0d0d0a, n(0x12345678), n(0, 0, 0))],
    ['an end inside a block header', concat(section, fromHex('0600'))],
  ])('stops at %s', (_, file) => {
    expect(readDamaged(file)).toEqual({ packets: 0, code: 'CAPTURE_DAMAGED' });
  });

  test('an option that does not fit ends the options, not the packet', () => {
    expect(read(section, face(101), enhanced(0, 0, 0, fromHex('45'), n16(1, 900)))).toMatchObject([{ data: fromHex('45') }]);
  });
});

describe('pcapng as we write it', () => {
  test('is read as it was written', () => {
    forSeeds(20, (g) => {
      const frames = g.many(0, 10, () => ({
        at: AT + g.int(0, 1e9) / 1000,
        data: g.bytes(0, 200),
        comment: g.oneIn(2) ? `n ${g.u8()}` : undefined,
      }));
      const packets = read(pcapngHeader(LinkType.RAW), ...frames.map(({ at, data, comment }) => pcapngPacket(at, data, comment)));
      expect(packets.map(({ data, comment, linkType }) => ({ data, comment, linkType }))).toEqual(
        frames.map(({ data, comment }) => ({ data, comment, linkType: 101 })),
      );
      packets.forEach((packet, i) => {
        expect(Math.abs(packet.at - frames[i]!.at)).toBeLessThan(0.001);
      });
    });
  });

  test('says who wrote it', () => {
    const header = new TextDecoder('latin1').decode(pcapngHeader(LinkType.RAW, 'a test'));
    expect(header).toContain('a test');
  });
});

describe('other files', () => {
  test.each([NONE, fromHex('00'), fromHex('0a0d0d0a'), utf8('# a text file\n'.repeat(10)), new Uint8Array(1000)])('are refused', (file) => {
    expect(() => readCapture(file)).toThrow(expect.objectContaining({ code: 'NOT_A_CAPTURE' }));
  });

  test('of anything at all end with a typed error or none', () => {
    const starts = [
      fromHex('a1b2c3d4'),
      fromHex('d4c3b2a1'),
      fromHex('4d3cb2a1'),
      fromHex('0a0d0d0a1c0000004d3c2b1a'),
      pcapngHeader(1),
      pcapHeader(1),
    ];
    forSeeds(500, (g) => {
      const file = concat(g.pick(starts), g.bytes(0, 300));
      try {
        for (const packet of readCapture(file)) expect(packet.data.length).toBeLessThanOrEqual(file.length);
      } catch (error) {
        if (!(error instanceof TunnelwrightError)) throw error;
      }
    });
  });
});

const NONE = new Uint8Array(0);
