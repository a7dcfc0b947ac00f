import { createCipheriv, createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat, fromHex, parseIp } from '../../../src/core/bytes/index.ts';
import { integrityTransforms } from '../../../src/core/crypto/index.ts';
import { EXHAUSTED, InboundAh, OpenedPacket, OutboundAh } from '../../../src/core/esp/index.ts';
import { checksum, putU16, writeIpv4, writeIpv6 } from '../../../src/core/packet/index.ts';

const SPI = 0xc0ffee01;
const PAYLOAD = new Uint8Array(101).map((_, i) => i * 7);
const FIRST = 20;
const NONE = new Uint8Array(0);

interface Algorithm {
  readonly id: number;
  readonly keyLength: number;
}

const key = ({ keyLength }: Algorithm): Uint8Array => new Uint8Array(keyLength).map((_, i) => i + 1);
const algorithms = integrityTransforms().map((transform) => [transform.name, transform] as const);
const SHA256 = integrityTransforms().find(({ id }) => id === 12)!;

const pair = (algorithm: Algorithm, esn = false, replayWindow = 64) => {
  const keys = { spi: SPI, integrity: algorithm.id, integrityKey: key(algorithm), esn };
  return { outbound: new OutboundAh(keys), inbound: new InboundAh({ ...keys, replayWindow }) };
};

/** A whole packet with room for AH behind its headers. @param options those of IPv4 in its header, or extension headers of IPv6 */
function room(version: 4 | 6, ahLength: number, options: Uint8Array = NONE, next = 51): { packet: Uint8Array; at: number } {
  const at = (version === 4 ? 20 : 40) + options.length;
  const packet = new Uint8Array(at + ahLength + PAYLOAD.length);
  packet.set(PAYLOAD, at + ahLength);
  packet.set(options, version === 4 ? 20 : 40);
  const [source, destination] = (version === 4 ? ['192.0.2.1', '198.51.100.2'] : ['2001:db8::1', '2001:db8::2']).map(parseIp);
  const common = { source: source!, destination: destination!, hopLimit: 64, trafficClass: 0xb8 };
  if (version === 4) {
    const fields = { identification: 0x4711, dontFragment: true, moreFragments: false, fragmentOffset: 0 };
    writeIpv4(packet, 0, { ...common, ...fields, length: packet.length, protocol: 51 });
    packet[0] = 0x40 | (at / 4);
    putU16(packet, 10, 0);
    putU16(packet, 10, checksum(packet, 0, at));
  } else writeIpv6(packet, 0, { ...common, payloadLength: packet.length - 40, nextHeader: next, flowLabel: 0x12345 });
  return { packet, at };
}

function sealed(sa: OutboundAh, version: 4 | 6, options?: Uint8Array, next?: number): { packet: Uint8Array; at: number } {
  const { packet, at } = room(version, sa.headerLength(version), options, next);
  expect(sa.seal(packet, 0, at, packet.length, 17)).toBe(packet.length);
  return { packet, at };
}

const open = (sa: InboundAh, packet: Uint8Array, at: number) => sa.open(packet, new OpenedPacket(), 0, at, packet.length);

describe.each(algorithms)('AH with %s', (_name, algorithm) => {
  for (const esn of [false, true])
    for (const version of [4, 6] as const) {
      test(`IPv${version}${esn ? ', ESN' : ''}: comes back, untouched, once`, () => {
        const { outbound, inbound } = pair(algorithm, esn);
        const opened = new OpenedPacket();
        for (let i = 1; i <= 3; i++) {
          const { packet, at } = sealed(outbound, version);
          const copy = packet.slice();
          expect(inbound.open(packet, opened, 0, at, packet.length)).toBe('ok');
          expect([opened.nextHeader, opened.sequenceLow, opened.length]).toEqual([17, i, PAYLOAD.length]);
          expect(Buffer.compare(packet.subarray(opened.start), PAYLOAD) || Buffer.compare(packet, copy)).toBe(0);
          expect(open(inbound, copy, at)).toBe('replay');
        }
        expect([outbound.packets, outbound.bytes, inbound.packets, inbound.bytes]).toEqual([3, 303, 3, 303]);
      });
    }

  test('the header ends on a multiple of 4 octets in IPv4, of 8 in IPv6 (RFC 4302 §2.2)', () => {
    const { outbound } = pair(algorithm);
    const least = 12 + (algorithm.ivLength + algorithm.icvLength);
    expect([outbound.headerLength(4), outbound.headerLength(6)]).toEqual([Math.ceil(least / 4) * 4, Math.ceil(least / 8) * 8]);
    for (const version of [4, 6] as const) {
      const { packet, at } = sealed(outbound, version);
      expect(packet[at + 1]).toBe(outbound.headerLength(version) / 4 - 2);
    }
  });
});

describe('what is covered (RFC 4302 §3.3.3)', () => {
  /** Octets of the base header that routers may change, by IP version; in IPv6 half of the first one, beside the version. */
  const MUTABLE: Readonly<Record<4 | 6, readonly number[]>> = { 4: [1, 6, 7, 8, 10, 11], 6: [0, 1, 2, 3, 7] };

  test.each([4, 6] as const)('every octet of an IPv%i packet but those that routers may change', (version) => {
    const { outbound } = pair(SHA256);
    sealed(outbound, version);
    const { packet, at } = sealed(outbound, version);
    for (let i = 0; i < packet.length; i++) {
      if (i === at + 1) continue;
      const bent = packet.slice();
      bent[i]! ^= 1;
      const verdict = open(pair(SHA256).inbound, bent, at);
      expect([i, verdict]).toEqual([i, MUTABLE[version].includes(i) ? 'ok' : 'icv']);
    }
    const other = packet.slice();
    other[0]! ^= 0x10;
    expect(open(pair(SHA256).inbound, other, at)).not.toBe('ok');
  });

  test('the ICV is that of the packet with those zeroed: HMAC, computed apart', () => {
    for (const esn of [false, true])
      for (const version of [4, 6] as const) {
        const { outbound } = pair(SHA256, esn);
        const { packet, at } = sealed(outbound, version);
        const plain = packet.slice();
        if (version === 4) for (const i of MUTABLE[4]) plain[i] = 0;
        else plain.set([0x60, 0, 0, 0, packet[4]!, packet[5]!, 51, 0]);
        plain.fill(0, at + 12, at + 28);
        const high = new Uint8Array(esn ? 4 : 0);
        const icv = createHmac('sha256', key(SHA256)).update(plain).update(high).digest().subarray(0, 16);
        expect(Buffer.compare(icv, packet.subarray(at + 12, at + 28))).toBe(0);
      }
  });

  test('GMAC: the IV stands before the tag, and is never the same (RFC 4543 §4)', () => {
    const gmac = integrityTransforms().find(({ id }) => id === 9)!;
    const { outbound } = pair(gmac);
    const ivs = [1, 2].map(() => {
      const { packet, at } = sealed(outbound, 4);
      const plain = packet.slice();
      for (const i of MUTABLE[4]) plain[i] = 0;
      plain.fill(0, at + 12, at + 36);
      const iv = packet.slice(at + 12, at + 20);
      const cipher = createCipheriv('aes-128-gcm', key(gmac).subarray(0, 16), concat(key(gmac).subarray(16), iv)).setAAD(plain);
      cipher.final();
      expect(Buffer.compare(cipher.getAuthTag(), packet.subarray(at + 20, at + 36))).toBe(0);
      return iv;
    });
    expect(ivs[0]).not.toEqual(ivs[1]);
    const { outbound: next } = pair(gmac);
    next.beginEpoch(7);
    const { packet, at } = sealed(next, 4);
    expect([...packet.subarray(at + 12, at + 20)]).toEqual([0, 0, 0, 7, 0, 0, 0, 1]);
  });

  test('options of IPv4 that no router changes are covered, others are not (appendix A1)', () => {
    // router alert; record route; timestamp; one that nobody knows; no operation and the end
    const options = fromHex('94040000' + '07070a01020304' + '44080511223344aa' + '5e03ff' + '01' + '00');
    const { outbound } = pair(SHA256);
    const { packet, at } = sealed(outbound, 4, options);
    expect(at).toBe(44);
    const verdicts = [...options].map((_, i) => {
      const bent = packet.slice();
      // lengths are what the options are told apart by
      if ([1, 5, 12, 20].includes(i)) return '-';
      bent[FIRST + i]! ^= 2;
      return open(pair(SHA256).inbound, bent, at) === 'ok' ? '.' : '#';
    });
    expect([verdicts[2], verdicts[3], verdicts[6], verdicts[9], verdicts[14], verdicts[18], verdicts[21]]).toEqual([
      '#',
      '#',
      '.',
      '.',
      '.',
      '.',
      '.',
    ]);
  });

  test('options whose lengths lie make no packet', () => {
    for (const options of ['07000000', '07050000', '070100ff', '94ff0000']) {
      const { outbound } = pair(SHA256);
      const { packet, at } = room(4, outbound.headerLength(4), fromHex(options));
      expect(() => outbound.seal(packet, 0, at, packet.length, 17)).toThrow(/no headers of IP/);
      expect(open(pair(SHA256).inbound, packet, at)).toMatch(/icv|malformed/);
    }
  });

  test('extension headers of IPv6: options that may change on the way count by type and length alone (appendix A2)', () => {
    // hop-by-hop: one option that may change (0x3e), one that may not (0x1e); destination options; a Routing header that is done
    const chain = concat(fromHex('3c003e021122' + '0100'), fromHex('2b001e02334401' + '00'), fromHex('33000000' + '00000000'));
    const { outbound } = pair(SHA256);
    const { packet, at } = sealed(outbound, 6, chain, 0);
    const covered = (i: number) => {
      const bent = packet.slice();
      bent[40 + i]! ^= 0x80;
      return open(pair(SHA256).inbound, bent, at) !== 'ok';
    };
    expect([4, 5].map(covered)).toEqual([false, false]);
    expect([2, 12, 13, 20].map(covered)).toEqual([true, true, true, true]);
    expect(open(pair(SHA256).inbound, packet, at)).toBe('ok');
  });

  test('extension headers that lead elsewhere, or are not done, are refused', () => {
    const { outbound } = pair(SHA256);
    for (const [chain, next] of [
      ['3300000000000000', 43],
      ['33000000000000ff', 44],
      ['3305000000000000', 60],
      ['1100000000000000', 60],
      ['33003e0911220000', 0],
    ] as const) {
      const { packet, at } = room(6, outbound.headerLength(6), fromHex(chain), next);
      if (next === 43) packet[43] = 1;
      expect(open(pair(SHA256).inbound, packet, at)).toMatch(/icv|malformed/);
      expect(() => outbound.seal(packet, 0, at, packet.length, 17)).toThrow(/no headers of IP/);
    }
  });
});

describe('what is refused', () => {
  test('cut at every length, with no length of its own, and with more padding than alignment needs', () => {
    const { outbound } = pair(SHA256);
    const { packet, at } = sealed(outbound, 4);
    for (let end = 0; end < packet.length; end++) {
      const { inbound } = pair(SHA256);
      expect(['malformed', 'icv']).toContain(inbound.open(packet.slice(0, end), new OpenedPacket(), 0, Math.min(at, end), end));
    }
    for (const words of [0, 4, 6, 255]) {
      const bent = packet.slice();
      bent[at + 1] = words;
      expect(open(pair(SHA256).inbound, bent, at)).toBe('malformed');
    }
  });

  test('what was seen, what is too old, and what forgeries did not move', () => {
    const { outbound, inbound } = pair(SHA256);
    const packets = Array.from({ length: 200 }, () => sealed(outbound, 4));
    const bent = packets[199]!.packet.slice();
    bent[60]! ^= 1;
    expect(open(inbound, bent, 20)).toBe('icv');
    expect(open(inbound, packets[0]!.packet, 20)).toBe('ok');
    expect(open(inbound, packets[199]!.packet, 20)).toBe('ok');
    expect([0, 199, 100, 136, 137].map((i) => open(inbound, packets[i]!.packet, 20))).toEqual(['replay', 'replay', 'replay', 'ok', 'ok']);
    expect(inbound.drops).toMatchObject({ icv: 1, replay: 3 });
  });

  test('dummies are counted, and nothing else comes of them', () => {
    const { outbound, inbound } = pair(SHA256);
    const { packet, at } = room(4, outbound.headerLength(4));
    outbound.seal(packet, 0, at, packet.length, 59);
    expect([open(inbound, packet, at), inbound.drops.dummy]).toEqual(['dummy', 1]);
  });

  test('no number is used twice: without one left nothing is sent; with ESN the crossing of 2^32 is carried', () => {
    const last = { sequenceHigh: 0, sequenceLow: 0xfffffffe };
    const keys = { spi: SPI, integrity: 12, integrityKey: key(SHA256) };
    const outbound = new OutboundAh({ ...keys, esn: false, resume: last });
    sealed(outbound, 4);
    const { packet, at } = room(4, outbound.headerLength(4));
    expect([outbound.exhausted, outbound.seal(packet, 0, at, packet.length, 17)]).toEqual([true, EXHAUSTED]);
    const long = new OutboundAh({ ...keys, esn: true, resume: last });
    const inbound = new InboundAh({ ...keys, esn: true, resume: last });
    for (let i = 0; i < 4; i++) {
      const { packet: each, at: where } = sealed(long, 6);
      expect(open(inbound, each, where)).toBe('ok');
    }
    expect([long.sequence, inbound.sequence]).toEqual([2 ** 32 + 2, 2 ** 32 + 2]);
  });

  test('a destroyed SA, and algorithms that are not there', () => {
    expect(() => new OutboundAh({ spi: SPI, esn: false, integrity: 4711, integrityKey: new Uint8Array(32) })).toThrow(
      /no integrity algorithm/,
    );
    expect(() => new InboundAh({ spi: SPI, esn: false, integrity: 12, integrityKey: new Uint8Array(31) })).toThrow(/key of 31 octets/);
  });
});
