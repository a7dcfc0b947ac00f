import { HOSTILE, type Hostile, PacketGenerator } from '../../../src/testing/packet-generator.ts';
import { childPair, espPair, type PairChild } from '../support/esp-pair.ts';
import { packet } from '../support/packets.ts';

/** Of one kind: how many were sent, by what they were dropped, and how many came through, which must be none. */
export interface HostileResult {
  readonly kind: Hostile;
  readonly sent: number;
  readonly drops: Readonly<Record<string, number>>;
  readonly forwarded: number;
}

/** Without extended numbers what is too old is told from what is forged. */
const CHILD: PairChild = { localTs: ['10.0.0.0/24'], remoteTs: ['10.0.1.0/24'], more: { esn: false } };

/** What may be counted for a kind; anything else is a fault. */
export const CAUSES: Readonly<Record<Hostile, readonly string[]>> = {
  replayed: ['replay'],
  truncated: ['malformed', 'replay', 'icv', 'unknown SPI'],
  'bit flipped': ['icv', 'replay'],
  'wrong SPI': ['unknown SPI'],
  'out of window': ['replay'],
  'outside the selectors': ['selectors'],
  clear: ['unknown SPI'],
};

/** Sends so many of each kind to a plane that has taken in honest ones. */
export function sendHostile(perKind: number, seed = 1): readonly HostileResult[] {
  return HOSTILE.map((kind) => {
    const pair = espPair(CHILD);
    const { a } = childPair(CHILD);
    const stray = packet('192.0.2.1', '10.0.1.1', { size: 100 });
    const strays = [stray, packet('10.0.0.1', '10.9.0.1'), packet('10.0.1.1', '10.0.0.1'), packet('fd00::1', 'fd00::2')];
    const generator = new PacketGenerator(a, packet('10.0.0.1', '10.0.1.1', { size: 120 }), (i) => strays[i % strays.length]!, seed);
    for (const honest of generator.prelude()) pair.b.plane.receive(honest, '198.51.100.2', 4500);
    const before = pair.b.delivered.length;
    if (before !== 64) throw new Error(`of 64 honest packets ${before} came through`);
    for (let i = 0; i < perKind; i++) {
      const bad = generator.make(kind, i);
      pair.b.plane.receive(bad, '198.51.100.2', 4500);
    }
    generator.destroy();
    const drops = { ...pair.b.plane.counters(1)!.drops, ...pair.b.plane.drops() };
    const counted = Object.fromEntries(Object.entries(drops).filter(([, count]) => count > 0));
    return { kind, sent: perKind, drops: counted, forwarded: pair.b.delivered.length - before };
  });
}

/** Whether what was sent was dropped, all of it, and counted under causes that fit. */
export function isSound({ kind, sent, drops, forwarded }: HostileResult): boolean {
  const counted = Object.values(drops).reduce((sum, count) => sum + count, 0);
  return forwarded === 0 && counted === sent && Object.keys(drops).every((cause) => CAUSES[kind].includes(cause));
}
