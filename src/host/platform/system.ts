import { lookup } from 'node:dns/promises';
import { systemRandom } from '../../core/crypto/system-random.ts';
import { systemClock } from './clock.ts';
import { httpGet } from './http.ts';
import { evpPrimitives } from './linux/evp-primitives.ts';
import { loadNative } from './linux/ffi.ts';
import { descriptorUdp } from './linux/udp-network.ts';
import type { Platform } from './platform.ts';
import { systemTcp } from './tcp.ts';
import { systemUdp } from './udp.ts';
import { systemThreads } from './worker-threads.ts';

/** This machine. */
export const systemPlatform = (): Platform => ({
  clock: systemClock,
  udp: systemUdp,
  tcp: systemTcp,
  httpGet,
  random: systemRandom(),
  threads: systemThreads,
});

/** The same for whoever serves many peers: where native calls are there, many datagrams pass with one of them, and OpenSSL is called as it is. */
export async function servingPlatform(): Promise<Platform> {
  const native = await loadNative();
  return native === undefined ? systemPlatform() : { ...systemPlatform(), udp: descriptorUdp(native), computing: evpPrimitives(native) };
}

/** The addresses of a DNS name in the order in which this machine prefers them (RFC 6724). */
export async function systemLookup(name: string): Promise<readonly string[]> {
  const found = await lookup(name, { all: true, verbatim: true });
  return found.map(({ address }) => address);
}
