import { lookup } from 'node:dns/promises';
import { systemRandom } from '../../core/crypto/system-random.ts';
import { systemClock } from './clock.ts';
import type { Platform } from './platform.ts';
import { systemTcp } from './tcp.ts';
import { systemUdp } from './udp.ts';
import { systemThreads } from './worker-threads.ts';

/** This machine. */
export const systemPlatform = (): Platform => ({
  clock: systemClock,
  udp: systemUdp,
  tcp: systemTcp,
  random: systemRandom(),
  threads: systemThreads,
});

/** The addresses of a DNS name in the order in which this machine prefers them (RFC 6724). */
export async function systemLookup(name: string): Promise<readonly string[]> {
  const found = await lookup(name, { all: true, verbatim: true });
  return found.map(({ address }) => address);
}
