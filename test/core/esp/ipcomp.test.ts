import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../src/core/bytes/index.ts';
import { type Deflate, IPCOMP, IpcompInbound, IpcompOutbound } from '../../../src/core/esp/index.ts';
import { zlibDeflate } from '../../../src/host/platform/deflate.ts';

const CPI = 0x1234;
const TEXT = utf8('a packet that says the same again and again, '.repeat(20));

function compressed(payload = TEXT, outbound = new IpcompOutbound(CPI, zlibDeflate)): Uint8Array {
  const out = new Uint8Array(payload.length + 8);
  return out.subarray(0, outbound.compress(payload, 4, out, 0));
}

const open = (data: Uint8Array, inbound = new IpcompInbound(CPI, zlibDeflate)) => inbound.open(data, 0, data.length);

/** Does not get smaller. */
const noise = (length: number): Uint8Array => {
  let state = 1;
  return new Uint8Array(length).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
};

describe('what is compressed (RFC 3173)', () => {
  test('is smaller, carries protocol and CPI in front, and comes back', () => {
    const packet = compressed();
    expect([packet.length < TEXT.length / 4, [...packet.subarray(0, 4)]]).toEqual([true, [4, 0, 0x12, 0x34]]);
    const inbound = new IpcompInbound(CPI, zlibDeflate);
    expect(Buffer.compare(open(packet, inbound)!, TEXT)).toBe(0);
    expect(inbound.nextHeader).toBe(4);
  });

  test('is the stream of RFC 2394 alone, without a header of zlib', () => {
    const stored = Uint8Array.of(4, 0, 0, 2, 0x01, 5, 0, 0xfa, 0xff, ...utf8('hello'));
    expect(open(stored)).toEqual(utf8('hello'));
    expect(open(Uint8Array.of(4, 0, 0x12, 0x34, 0x78, 0x9c, ...compressed().subarray(4)))).toBeUndefined();
  });

  test('never grows: noise, and what is short, goes as it is (§2.2)', () => {
    const outbound = new IpcompOutbound(CPI, zlibDeflate);
    expect(compressed(noise(1000), outbound)).toHaveLength(0);
    expect(compressed(TEXT.subarray(0, 89), outbound)).toHaveLength(0);
    expect(compressed(TEXT.subarray(0, 90), outbound).length).toBeGreaterThan(0);
  });

  test('is tried less often in a row of noise, and again when that is over', () => {
    let tried = 0;
    const counting: Deflate = {
      ...zlibDeflate,
      deflate: (data) => {
        tried++;
        return zlibDeflate.deflate(data);
      },
    };
    const outbound = new IpcompOutbound(CPI, counting);
    for (let i = 0; i < 1000; i++) compressed(noise(500), outbound);
    expect(tried).toBeLessThan(40);
    let until = 0;
    while (compressed(TEXT, outbound).length === 0) until++;
    expect(until).toBeLessThanOrEqual(64);
    tried = 0;
    for (let i = 0; i < 10; i++) compressed(TEXT, outbound);
    expect(tried).toBe(10);
  });
});

describe('what is refused', () => {
  test('another CPI than ours, or than that of the algorithm', () => {
    for (const [high, low, taken] of [
      [0x12, 0x34, true],
      [0, 2, true],
      [0, 3, false],
      [0x12, 0x35, false],
      [0, 0, false],
    ] as const) {
      const packet = compressed().slice();
      packet.set([high, low], 2);
      expect([high, low, open(packet) !== undefined]).toEqual([high, low, taken]);
    }
  });

  test('cut at every length it is nothing, or no more than the beginning', () => {
    const packet = compressed();
    for (let length = 0; length < packet.length; length++) expect([length, open(packet.slice(0, length))]).toEqual([length, undefined]);
  });

  test('compressed twice', () => {
    const packet = compressed().slice();
    packet[0] = IPCOMP;
    expect(open(packet)).toBeUndefined();
  });

  test('what would become larger than any packet, before it does', () => {
    const bomb = zlibDeflate.deflate(new Uint8Array(5_000_000));
    const packet = new Uint8Array(4 + bomb.length);
    packet.set([4, 0, 0x12, 0x34]);
    packet.set(bomb, 4);
    const before = process.memoryUsage().arrayBuffers;
    expect(open(packet)).toBeUndefined();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(3_000_000);
    const fits = zlibDeflate.deflate(new Uint8Array(65_535));
    expect(open(Uint8Array.of(4, 0, 0x12, 0x34, ...fits))).toHaveLength(65_535);
  });

  test('bits that flipped never throw', () => {
    const packet = compressed();
    for (let at = 4; at < packet.length; at++) {
      const bent = packet.slice();
      bent[at]! ^= 1 << (at & 7);
      const opened = open(bent);
      expect(opened === undefined || opened.length <= 65_575).toBe(true);
    }
  });
});
