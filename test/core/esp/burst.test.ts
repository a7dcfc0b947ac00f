import { describe, expect, test } from 'vitest';
import { createPacketCipher } from '../../../src/core/crypto/index.ts';
import {
  EXHAUSTED,
  InboundSa,
  type InboundVerdict,
  MOST_IN_BURST,
  OpenedAhead,
  OpenedPacket,
  OutboundSa,
} from '../../../src/core/esp/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { countingRandom, everySuite } from './suites.ts';

const SPI = 0xc0ffee01;
const IPV4 = 4;
const BEFORE = 24;

const filled = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i * 31 + (i >> 8));

describe.each(everySuite().map((suite) => [suite.name, suite] as const))('bursts with %s', (_, suite) => {
  test('are the packets that would be sealed one by one, whatever the last one’s length and the padding', () => {
    for (const [count, length, last, tfc] of [
      [1, 100, 100, 0],
      [3, 77, 5, 0],
      [2, 60, 60, 90],
      [7, 200, 31, 64],
    ] as const) {
      const [together, singly] = [false, true].map(
        () => new OutboundSa({ spi: SPI, cipher: suite.create(), esn: true, random: countingRandom() }),
      ) as [OutboundSa, OutboundSa];
      const step = singly.sealedLength(Math.max(length, tfc));
      const [actual, expected] = [filled(BEFORE + count * step + 9), filled(BEFORE + count * step + 9)];
      let octets = 0;
      for (let i = 1; i <= count; i++)
        octets += singly.sealInPlace(expected, BEFORE + (i - 1) * step, i === count ? last : length, IPV4, tfc);
      expect(together.sealBurst(actual, BEFORE, count, length, last, IPV4, tfc)).toBe(octets);
      expect(Buffer.compare(actual, expected)).toBe(0);
      expect([together.packets, together.bytes, together.snapshot()]).toEqual([singly.packets, singly.bytes, singly.snapshot()]);
    }
  });
});

test('a burst that has no room, too many packets or too few sequence numbers writes nothing and uses no number', () => {
  const keys = everySuite().find(({ encryption }) => encryption === 20)!.keys;
  const resume = { sequenceHigh: 0, sequenceLow: 0xffffffff - 3 };
  const sa = new OutboundSa({ spi: SPI, cipher: createPacketCipher(keys), esn: true, resume });
  const buffer = filled(100_000);
  const before = buffer.slice();
  expect(sa.sealBurst(buffer, 0, 4, 100, 100, IPV4)).toBe(EXHAUSTED);
  expect(sa.sealBurst(buffer, 0, MOST_IN_BURST + 1, 100, 100, IPV4)).toBe(EXHAUSTED);
  expect(sa.sealBurst(buffer, 0, 0, 100, 100, IPV4)).toBe(EXHAUSTED);
  expect(() => sa.sealBurst(buffer, buffer.length - 3 * sa.sealedLength(100) + 1, 3, 100, 100, IPV4)).toThrow(/does not fit/);
  expect([Buffer.compare(buffer, before), sa.packets, sa.snapshot()]).toEqual([0, 0, resume]);
  expect(sa.sealBurst(buffer, 0, 3, 100, 100, IPV4)).toBe(3 * sa.sealedLength(100));
  expect([sa.snapshot(), sa.exhausted]).toEqual([{ sequenceHigh: 0, sequenceLow: 0xffffffff }, false]);
});

interface Outcome {
  readonly verdicts: readonly (InboundVerdict | readonly [number, number, number, string])[];
  readonly state: unknown;
}

/** What a receiver says of packets of one size, every `step` octets, and what it looks like afterwards. */
function received(inbound: InboundSa, bursts: readonly Uint8Array[], size: number, ahead?: OpenedAhead, step = size): Outcome {
  const opened = new OpenedPacket();
  const verdicts: Outcome['verdicts'][number][] = [];
  for (const burst of bursts) {
    const count = Math.ceil(burst.length / size);
    const packets = new Uint8Array(burst.length + Math.max(0, count - 1) * (step - size));
    for (let i = 0; i < count; i++) packets.set(burst.subarray(i * size, (i + 1) * size), i * step);
    if (ahead !== undefined) inbound.openAhead(packets, 0, packets.length, step, size, ahead);
    for (let at = 0; at < packets.length; at += step) {
      const verdict = inbound.open(packets, opened, at, Math.min(at + size, packets.length), ahead);
      const { nextHeader, start, length, sequenceHigh, sequenceLow } = opened;
      if (verdict !== 'ok') verdicts.push(verdict);
      else verdicts.push([nextHeader, sequenceHigh, sequenceLow, Buffer.from(packets.subarray(start, start + length)).toString('hex')]);
    }
  }
  return { verdicts, state: [inbound.snapshot(), { ...inbound.drops }, inbound.packets, inbound.bytes] };
}

describe('opened ahead, packets come to the same as opened in their turn', () => {
  const keys = everySuite().find(({ encryption }) => encryption === 20)!.keys;
  for (const esn of [false, true])
    for (const replayWindow of [0, 32, 1024])
      test(`${esn ? 'ESN' : 'no ESN'}, a window of ${replayWindow}: repeated, changed, cut, out of order, and far behind`, () => {
        const seen = new Set<string>();
        for (let seed = 1; seed <= 12; seed++) {
          const random = new SeededRandom(seed);
          const below = (bound: number): number => random.between(0, bound - 1);
          const resume = { sequenceHigh: 0, sequenceLow: esn ? 0xffffffff - 40 : 5 };
          const outbound = new OutboundSa({ spi: SPI, cipher: createPacketCipher(keys), esn, resume });
          const bursts: Uint8Array[] = [];
          const history: Uint8Array[] = [];
          const step = outbound.sealedLength(40);
          for (let burst = 0; burst < 12; burst++) {
            const count = 1 + below(MOST_IN_BURST);
            const packets = Array.from({ length: count }, () => {
              const what = below(8);
              if (what === 0 && history.length > 0) return history[below(history.length)]!;
              if (what === 1) outbound.skipAhead(1 + below(20));
              const packet = new Uint8Array(step);
              outbound.seal(filled(40), what === 2 ? 59 : IPV4, packet, 0);
              history.push(packet);
              if (what !== 3) return packet;
              const bent = packet.slice();
              bent[4 + below(step - 4)]! ^= 1 << below(8);
              return bent;
            });
            for (let i = 0; i < count / 4; i++) {
              const [a, b] = [below(count), below(count)];
              [packets[a], packets[b]] = [packets[b]!, packets[a]!];
            }
            // the whole window is left behind at once
            if (burst % 5 === 4) outbound.skipAhead(5000);
            const whole = Buffer.concat(packets);
            bursts.push(new Uint8Array(below(4) === 0 ? whole.subarray(0, whole.length - below(step)) : whole));
          }
          const receiver = () => new InboundSa({ spi: SPI, cipher: createPacketCipher(keys), esn, replayWindow, resume });
          const expected = received(receiver(), bursts, step);
          expect(received(receiver(), bursts, step, new OpenedAhead())).toEqual(expected);
          expect(received(receiver(), bursts, step, new OpenedAhead(), step + 100)).toEqual(expected);
          for (const verdict of expected.verdicts) seen.add(typeof verdict === 'string' ? verdict : 'ok');
        }
        const all = ['dummy', 'icv', 'malformed', 'ok', 'replay'];
        expect([...seen].sort()).toEqual(replayWindow === 0 ? all.filter((verdict) => verdict !== 'replay') : all);
      });

  test('what was opened ahead counts once, for the packet at its place alone, and not beyond its burst', () => {
    const outbound = new OutboundSa({ spi: SPI, cipher: createPacketCipher(keys), esn: true });
    const inbound = new InboundSa({ spi: SPI, cipher: createPacketCipher(keys), esn: true });
    const step = outbound.sealedLength(20);
    const packets = new Uint8Array(3 * step);
    outbound.sealBurst(packets, 0, 3, 20, 20, IPV4);
    const ahead = new OpenedAhead();
    const opened = new OpenedPacket();
    const clear = filled(3 * step);
    inbound.openAhead(packets, 0, 2 * step, step, step, ahead);
    expect(inbound.open(clear, opened, 2 * step, 3 * step, ahead)).toBe('icv');
    expect(inbound.open(packets, opened, 0, step, ahead)).toBe('ok');
    expect(inbound.open(clear, opened, 0, step, ahead)).toBe('icv');
    inbound.openAhead(packets, 2 * step, 3 * step, step, step, ahead);
    expect(inbound.open(clear, opened, step, 2 * step, ahead)).toBe('icv');
    expect(inbound.open(packets, opened, 2 * step, 3 * step, ahead)).toBe('ok');
    ahead.clear();
    expect(inbound.open(clear, opened, 2 * step, 3 * step, ahead)).toBe('icv');
  });
});
