import { describe, expect, test } from 'vitest';
import type { PacketCipher } from '../../../src/core/crypto/index.ts';
import { EXHAUSTED, InboundSa, type InboundVerdict, OpenedPacket, OutboundSa } from '../../../src/core/esp/index.ts';
import { countingRandom, everySuite } from './suites.ts';

const SPI = 0xc0ffee01;
const IPV4 = 4;

const payloadOf = (length: number): Uint8Array => new Uint8Array(length).map((_, i) => (i * 37 + length) & 0xff);

function seal(sa: OutboundSa, payload: Uint8Array, nextHeader = IPV4, tfcLength = 0): Uint8Array {
  const out = new Uint8Array(sa.sealedLength(Math.max(payload.length, tfcLength)));
  expect(sa.seal(payload, nextHeader, out, 0, tfcLength)).toBe(out.length);
  return out;
}

function open(sa: InboundSa, packet: Uint8Array): { verdict: InboundVerdict; payload: Uint8Array; nextHeader: number } {
  const opened = new OpenedPacket();
  const verdict = sa.open(packet, opened);
  return { verdict, payload: packet.slice(opened.start, opened.start + opened.length), nextHeader: opened.nextHeader };
}

describe.each(everySuite().map((suite) => [suite.name, suite] as const))('ESP with %s', (_, suite) => {
  for (const esn of [false, true]) {
    const pair = () => ({
      outbound: new OutboundSa({ spi: SPI, cipher: suite.create(), esn, random: countingRandom() }),
      inbound: new InboundSa({ spi: SPI, cipher: suite.create(), esn }),
    });

    test(`${esn ? 'ESN' : 'no ESN'}: packets of every alignment come back`, () => {
      const { outbound, inbound } = pair();
      let bytes = 0;
      for (const length of [0, 1, 2, 3, 13, 14, 15, 16, 17, 20, 63, 64, 65, 576, 1400]) {
        const packet = seal(outbound, payloadOf(length));
        expect(packet.length % 4).toBe(0);
        const { payload, ...rest } = open(inbound, packet);
        // one by one the octets of a thousand packets take the matcher seconds
        expect([rest, Buffer.compare(payload, payloadOf(length))]).toEqual([{ verdict: 'ok', nextHeader: IPV4 }, 0]);
        bytes += length;
      }
      expect([outbound.packets, outbound.bytes, inbound.packets, inbound.bytes]).toEqual([15, bytes, 15, bytes]);
    });

    test(`${esn ? 'ESN' : 'no ESN'}: a flipped bit anywhere is refused and leaves the packet as it came`, () => {
      const { outbound, inbound } = pair();
      const packet = seal(outbound, payloadOf(40));
      for (let at = 0; at < packet.length; at++) {
        const bent = new Uint8Array(packet);
        bent[at]! ^= 1 << (at & 7);
        const before = new Uint8Array(bent);
        expect([at, open(inbound, bent).verdict]).toEqual([at, 'icv']);
        expect(bent).toEqual(before);
      }
      // None of the forgeries moved the window.
      expect(inbound.drops.icv).toBe(packet.length);
      expect(open(inbound, new Uint8Array(packet)).verdict).toBe('ok');
      expect(open(inbound, packet).verdict).toBe('replay');
    });

    test(`${esn ? 'ESN' : 'no ESN'}: cut at every length it is refused`, () => {
      const { outbound, inbound } = pair();
      const packet = seal(outbound, payloadOf(33));
      for (let length = 0; length < packet.length; length++) {
        expect(['malformed', 'icv']).toContain(open(inbound, packet.slice(0, length)).verdict);
      }
    });
  }

  test('a peer that disagrees about ESN is not understood', () => {
    const outbound = new OutboundSa({ spi: SPI, cipher: suite.create(), esn: false, random: countingRandom() });
    expect(open(new InboundSa({ spi: SPI, cipher: suite.create(), esn: true }), seal(outbound, payloadOf(20))).verdict).toBe('icv');
  });

  test('a crossing of 2^32 with ESN is carried', () => {
    const resume = { sequenceHigh: 4, sequenceLow: 0xfffffffd };
    const outbound = new OutboundSa({ spi: SPI, cipher: suite.create(), esn: true, random: countingRandom(), resume });
    const inbound = new InboundSa({ spi: SPI, cipher: suite.create(), esn: true, resume });
    const packets = Array.from({ length: 6 }, () => seal(outbound, payloadOf(24)));
    // Out of order across the edge.
    for (const i of [1, 3, 0, 5, 2, 4]) expect([i, open(inbound, new Uint8Array(packets[i]!)).verdict]).toEqual([i, 'ok']);
    for (const packet of packets) expect(open(inbound, packet).verdict).toBe('replay');
    expect(inbound.snapshot()).toEqual({ sequenceHigh: 5, sequenceLow: 3 });
  });

  test('a destroyed SA protects nothing any more', () => {
    const outbound = new OutboundSa({ spi: SPI, cipher: suite.create(), esn: false, random: countingRandom() });
    outbound.destroy();
    expect(() => seal(outbound, payloadOf(8))).toThrow(/destroyed/);
  });
});

/** Encrypts nothing and authenticates nothing: for what ESP itself does around a cipher. */
function clearCipher(overrides: Partial<PacketCipher> = {}): PacketCipher & { readonly highs: (number | undefined)[] } {
  const highs: (number | undefined)[] = [];
  return {
    ivLength: 8,
    icvLength: 8,
    blockLength: 1,
    ivKind: 'counter',
    highs,
    seal: (_buffer, _start, _head, end, high) => {
      highs.push(high);
      return end + 8;
    },
    open: (_buffer, _start, _head, end, high) => {
      highs.push(high);
      return end - 8;
    },
    destroy() {},
    ...overrides,
  };
}

describe('outbound SA', () => {
  test('layout: SPI, sequence number from 1, IV, payload, padding 1, 2, 3 …, pad length, next header', () => {
    const sa = new OutboundSa({ spi: SPI, cipher: clearCipher(), esn: false });
    expect(seal(sa, payloadOf(5), 41).subarray(0, -8)).toEqual(
      Uint8Array.of(0xc0, 0xff, 0xee, 0x01, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, ...payloadOf(5), 1, 1, 41),
    );
    expect(seal(sa, payloadOf(7)).subarray(4, 8)).toEqual(Uint8Array.of(0, 0, 0, 2));
  });

  test('pads to the block of the cipher', () => {
    const sa = new OutboundSa({ spi: SPI, cipher: clearCipher({ blockLength: 16, ivLength: 0, ivKind: 'none' }), esn: false });
    const packet = seal(sa, payloadOf(3));
    expect(packet.subarray(8, -8)).toEqual(Uint8Array.of(...payloadOf(3), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, IPV4));
  });

  test('writes at an offset and takes a payload that already stands in place', () => {
    const sa = new OutboundSa({ spi: SPI, cipher: clearCipher(), esn: false });
    const other = new OutboundSa({ spi: SPI, cipher: clearCipher(), esn: false });
    const buffer = new Uint8Array(200).fill(0xee);
    const at = 28;
    buffer.set(payloadOf(50), at + sa.payloadOffset);
    const written = sa.seal(buffer.subarray(at + sa.payloadOffset, at + sa.payloadOffset + 50), IPV4, buffer, at);
    expect(buffer.slice(at, at + written - 8)).toEqual(seal(other, payloadOf(50)).slice(0, -8));
    expect(buffer.subarray(0, at).every((octet) => octet === 0xee)).toBe(true);
  });

  test('TFC padding: zeros behind the payload, counted as payload by the receiver', () => {
    const packet = seal(new OutboundSa({ spi: SPI, cipher: clearCipher(), esn: false }), payloadOf(10), IPV4, 100);
    const { verdict, payload } = open(new InboundSa({ spi: SPI, cipher: clearCipher(), esn: false }), packet);
    expect(verdict).toBe('ok');
    expect(payload).toEqual(Uint8Array.of(...payloadOf(10), ...new Uint8Array(90)));
  });

  test.each([
    [1, 8, 8],
    [1, 8, 16],
    [16, 16, 12],
    [4, 0, 24],
    [8, 8, 12],
  ])('block %i, IV %i, ICV %i: largestPayload is the largest that fits', (blockLength, ivLength, icvLength) => {
    const sa = new OutboundSa({ spi: SPI, cipher: clearCipher({ blockLength, ivLength, icvLength, ivKind: 'none' }), esn: false });
    for (let room = sa.sealedLength(0); room < 200; room++) {
      const largest = sa.largestPayload(room);
      expect(sa.sealedLength(largest)).toBeLessThanOrEqual(room);
      expect(sa.sealedLength(largest + 1)).toBeGreaterThan(room);
    }
    expect(sa.largestPayload(sa.sealedLength(0) - 1)).toBeLessThan(0);
  });

  test('the last sequence number is sent, then nothing ever again', () => {
    const sa = new OutboundSa({ spi: SPI, cipher: clearCipher(), esn: false, resume: { sequenceHigh: 0, sequenceLow: 0xfffffffe } });
    expect(seal(sa, payloadOf(4)).subarray(4, 8)).toEqual(Uint8Array.of(255, 255, 255, 255));
    expect(sa.exhausted).toBe(true);
    const out = new Uint8Array(100);
    for (let i = 0; i < 3; i++) expect(sa.seal(payloadOf(4), IPV4, out, 0)).toBe(EXHAUSTED);
    expect(out).toEqual(new Uint8Array(100));
    expect(sa.packets).toBe(1);
  });

  test('with ESN the end is at 2^64 - 1', () => {
    const sa = new OutboundSa({
      spi: SPI,
      cipher: clearCipher(),
      esn: true,
      resume: { sequenceHigh: 0xffffffff, sequenceLow: 0xfffffffe },
    });
    seal(sa, payloadOf(4));
    expect(sa.seal(payloadOf(4), IPV4, new Uint8Array(100), 0)).toBe(EXHAUSTED);
  });

  test('the counter IV never repeats, not even across a restart that skips ahead', () => {
    const ivs = new Set<string>();
    const send = (sa: OutboundSa) => {
      const iv = seal(sa, payloadOf(4)).subarray(8, 16).join();
      expect(ivs.has(iv)).toBe(false);
      ivs.add(iv);
    };
    const first = new OutboundSa({ spi: SPI, cipher: clearCipher(), esn: true, resume: { sequenceHigh: 0, sequenceLow: 0xfffffff0 } });
    for (let i = 0; i < 10; i++) send(first);
    const snapshot = first.snapshot();
    for (let i = 0; i < 40; i++) send(first);
    const second = new OutboundSa({ spi: SPI, cipher: clearCipher(), esn: true, resume: snapshot });
    second.skipAhead(1000);
    for (let i = 0; i < 40; i++) send(second);
    expect(second.sequence).toBe(0xfffffff0 + 10 + 1000 + 40);
  });

  test('two lives that go on from one snapshot use no counter IV twice, whatever they skip', () => {
    for (const esn of [false, true]) {
      const make = (epoch: number) => {
        const sa = new OutboundSa({
          spi: SPI,
          cipher: clearCipher({ ivKind: 'counter', ivLength: 8 }),
          esn,
          resume: { sequenceHigh: 0, sequenceLow: 7 },
        });
        sa.beginEpoch(epoch);
        return sa;
      };
      const ivs = [0, 0xc0ffee00, 0xffffffff].flatMap((epoch) => {
        const sa = make(epoch);
        return Array.from({ length: 5 }, () => seal(sa, payloadOf(4)).subarray(8, 16).join());
      });
      expect(new Set(ivs).size).toBe(15);
      expect(make(0xffffffff).sequence).toBe(7);
    }
  });

  test('skipping beyond the end ends the SA', () => {
    const short = new OutboundSa({ spi: SPI, cipher: clearCipher(), esn: false, resume: { sequenceHigh: 0, sequenceLow: 0xfffffff0 } });
    short.skipAhead(100);
    expect([short.exhausted, short.seal(payloadOf(4), IPV4, new Uint8Array(100), 0)]).toEqual([true, EXHAUSTED]);
    const long = new OutboundSa({
      spi: SPI,
      cipher: clearCipher(),
      esn: true,
      resume: { sequenceHigh: 0xffffffff, sequenceLow: 0xfffffff0 },
    });
    long.skipAhead(100);
    expect(long.exhausted).toBe(true);
  });

  test('a number of eight octets is skipped exactly (RFC 6311 §6.4)', () => {
    const sa = new OutboundSa({ spi: SPI, cipher: clearCipher(), esn: true, resume: { sequenceHigh: 1, sequenceLow: 0xffffffff } });
    sa.skipAhead(0x0102_0304_0506_0708n);
    expect(sa.snapshot()).toEqual({ sequenceHigh: 0x0102_0306, sequenceLow: 0x0506_0707 });
  });

  test('CBC IVs are drawn, each used once', () => {
    const random = countingRandom();
    const sa = new OutboundSa({ spi: SPI, cipher: clearCipher({ ivKind: 'random', ivLength: 16, blockLength: 16 }), esn: false, random });
    const ivs = new Set(Array.from({ length: 200 }, () => seal(sa, payloadOf(4)).subarray(8, 24).join()));
    expect(ivs.size).toBe(200);
    expect(random.draws).toBeGreaterThan(1);
  });

  test('CBC without a source of randomness is refused at once, a buffer that is too small at every packet', () => {
    expect(() => new OutboundSa({ spi: SPI, cipher: clearCipher({ ivKind: 'random' }), esn: false })).toThrow(/random/);
    const sa = new OutboundSa({ spi: SPI, cipher: clearCipher(), esn: false });
    expect(() => sa.seal(payloadOf(20), IPV4, new Uint8Array(sa.sealedLength(20) - 1), 0)).toThrow(/does not fit/);
  });
});

describe('inbound SA', () => {
  const packetOf = (low: number, body: Uint8Array): Uint8Array => {
    const packet = new Uint8Array(16 + body.length + 8);
    new DataView(packet.buffer).setUint32(0, SPI);
    new DataView(packet.buffer).setUint32(4, low);
    packet.set(body, 16);
    return packet;
  };

  test('each cause is counted under its name', () => {
    const sa = new InboundSa({ spi: SPI, cipher: clearCipher(), esn: false });
    const opened = new OpenedPacket();
    expect(sa.open(new Uint8Array(10), opened)).toBe('malformed');
    expect(sa.open(packetOf(1, Uint8Array.of(1, 2, 3, 4, 5)), opened)).toBe('malformed');
    expect(sa.open(packetOf(1, Uint8Array.of(1, 2, 2, IPV4)), opened)).toBe('ok');
    expect([opened.start, opened.length, opened.sequenceLow]).toEqual([16, 0, 1]);
    expect(sa.open(packetOf(1, Uint8Array.of(1, 2, 2, IPV4)), opened)).toBe('replay');
    expect(sa.open(packetOf(0, Uint8Array.of(1, 2, 2, IPV4)), opened)).toBe('replay');
    expect(sa.open(packetOf(2, Uint8Array.of(1, 3, 2, IPV4)), opened)).toBe('padding');
    expect(sa.open(packetOf(3, Uint8Array.of(1, 2, 3, IPV4)), opened)).toBe('padding');
    expect(sa.open(packetOf(4, Uint8Array.of(1, 2, 2, 59)), opened)).toBe('dummy');
    expect(sa.drops).toEqual({ malformed: 2, replay: 2, icv: 0, padding: 2, dummy: 1 });
    // Authentic, so the numbers are used up.
    expect(sa.open(packetOf(2, Uint8Array.of(1, 2, 2, IPV4)), opened)).toBe('replay');
    expect(sa.packets).toBe(4);
  });

  test('a window of 0 lets everything authentic through', () => {
    const sa = new InboundSa({ spi: SPI, cipher: clearCipher(), esn: false, replayWindow: 0 });
    for (let i = 0; i < 3; i++) expect(open(sa, packetOf(7, Uint8Array.of(1, 2, 2, IPV4))).verdict).toBe('ok');
  });

  test('with ESN, a number from before the first is a replay and costs no cryptography', () => {
    const cipher = clearCipher();
    const sa = new InboundSa({ spi: SPI, cipher, esn: true });
    expect(open(sa, packetOf(0xfffffff0, Uint8Array.of(1, 2, 2, IPV4))).verdict).toBe('replay');
    expect(cipher.highs).toEqual([]);
  });

  for (const replayWindow of [32, 64, 1024]) {
    for (const start of [1n, 2n ** 32n - 400n, 5n * 2n ** 32n - 90n, 2n ** 63n - 50n]) {
      test(`ESN: the high half is inferred right, window ${replayWindow}, from ${start}`, () => {
        const cipher = clearCipher();
        const before = start - 1n;
        const resume = { sequenceHigh: Number(before >> 32n), sequenceLow: Number(before & 0xffffffffn) };
        const sa = new InboundSa({ spi: SPI, cipher, esn: true, replayWindow, resume });
        let top = before;
        let state = replayWindow + Number(start % 97n);
        const random = (below: number): number => {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          return (state >>> 8) % below;
        };
        const seen = new Set<bigint>();
        let wraps = 0;
        for (let i = 0; i < 3000; i++) {
          // Mostly near, at times a loss burst of up to 2^31 packets.
          const step = random(50) === 0 ? BigInt(random(2 ** 24)) * 128n : BigInt(random(replayWindow + 5));
          const sequence = random(3) === 0 && top - step > before && step < replayWindow ? top - step : top + 1n + step;
          if (sequence >= 2n ** 64n) break;
          const verdict = open(sa, packetOf(Number(sequence & 0xffffffffn), Uint8Array.of(1, 2, 2, IPV4))).verdict;
          if (seen.has(sequence)) expect(verdict).toBe('replay');
          else {
            expect([i, sequence, verdict, cipher.highs.at(-1)]).toEqual([i, sequence, 'ok', Number(sequence >> 32n)]);
            seen.add(sequence);
          }
          if (sequence > top) {
            if (sequence >> 32n !== top >> 32n) wraps++;
            top = sequence;
          }
        }
        expect(wraps).toBeGreaterThan(0);
      });
    }
  }
});
