import { describe, expect, test } from 'vitest';
import { createPacketCipher } from '../../../src/core/crypto/index.ts';
import type { Primitives } from '../../../src/core/crypto/primitives.ts';
import { IpView } from '../../../src/core/packet/index.ts';
import { createEvpCipher } from '../../../src/host/platform/linux/evp.ts';
import { loadNative } from '../../../src/host/platform/linux/ffi.ts';
import { type Combination, covering, pairsOf } from '../../contracts/covering.ts';
import { CHILD_DIMENSIONS, childConflicts, childOf, chosenOf, named } from '../../contracts/matrix.ts';
import { espPairOf } from '../../host/support/esp-pair.ts';
import { packet } from '../../host/support/packets.ts';
import { EVERYTHING } from '../support/requirements.ts';

const native = await loadNative();
const CIPHERS: Readonly<Record<string, Primitives['createPacketCipher'] | undefined>> = {
  'node:crypto': createPacketCipher,
  ...(native === undefined ? {} : { EVP: (keys) => createEvpCipher(native, keys) ?? createPacketCipher(keys) }),
};
const DIMENSIONS = { ...CHILD_DIMENSIONS, sender: Object.keys(CIPHERS), receiver: Object.keys(CIPHERS) };

/** `TUNNELWRIGHT_FULL=1` makes it all of them. */
const chosen = chosenOf(DIMENSIONS, EVERYTHING);

describe('ESP and AH in user space, by every combination of what two ends can agree on', () => {
  test(`the same packets pass either way, and what comes again or was changed does not: ${EVERYTHING ? 'all' : 'every two values together, and all with one cipher'}`, () => {
    for (const combination of chosen) passes(combination);
    expect(chosen.length).toBeGreaterThan(100);
  });

  if (EVERYTHING)
    test('the few have every pair that all have', () => {
      const few = new Set(covering(DIMENSIONS, childConflicts).flatMap((one) => [...pairsOf(one)]));
      expect(new Set(chosen.flatMap((one) => [...pairsOf(one)]))).toEqual(few);
    });
});

function passes(combination: Combination): void {
  const [inner, outer] = [INNER[combination.inner!]!, OUTER[combination.outer!]!];
  const pair = espPairOf({ a: CIPHERS[combination.sender!], b: CIPHERS[combination.receiver!] });
  pair.whole = true;
  const { a, b } = childOf(combination, 1, { inner, outer });
  pair.a.address = a.local;
  pair.b.address = b.local;
  pair.a.plane.install(a);
  pair.b.plane.install(b);
  const [own, others] = combination.mode === 'transport' ? outer : inner;
  const about = named(combination);
  for (const [from, to, source, destination] of [
    [pair.a, pair.b, own, others],
    [pair.b, pair.a, others, own],
  ] as const) {
    for (const size of SIZES) {
      const sent = packet(source, destination, { size });
      from.plane.send(sent);
      expect(payload(to.delivered.at(-1)), `${about}: ${size} octets`).toEqual(payload(sent));
    }
    expect(to.delivered.length, about).toBe(SIZES.length);
  }
  const before = pair.b.plane.counters(1)!;
  pair.connected = false;
  const again = pair.a.wire.at(-1)!.slice();
  pair.a.plane.send(packet(own, others, { size: SIZES[0] }));
  const changed = pair.a.wire.at(-1)!.slice();
  changed[changed.length - 1]! ^= 1;
  for (const bytes of [again, changed])
    if (combination.around === 'UDP') pair.b.plane.receive(bytes, a.local.ip, a.local.port);
    else pair.b.plane.receiving.receiveWhole(bytes);
  const { inbound, drops } = pair.b.plane.counters(1)!;
  expect([inbound.packets, drops.replay, drops.icv], about).toEqual([before.inbound.packets, 1, 1]);
  for (const end of [pair.a, pair.b]) end.plane.close();
}

/** Addresses and what is behind the IP header: that of transport mode inside UDP is written anew. */
function payload(data: Uint8Array | undefined): readonly [string, string] | undefined {
  const view = new IpView();
  if (data === undefined || !view.parse(data)) return undefined;
  const hex = (start: number, end: number): string => Buffer.from(data.subarray(start, end)).toString('hex');
  return [hex(view.sourceAt, view.sourceAt + view.addressLength * 2), hex(view.payload, view.end)];
}

/** Octets: the least there is, odd, and what fills a path nearly. */
const SIZES = [61, 600, 1361] as const;
const INNER: Readonly<Record<string, readonly [string, string]>> = { IPv4: ['10.1.0.1', '10.2.0.1'], IPv6: ['fd01::1', 'fd02::1'] };
const OUTER: Readonly<Record<string, readonly [string, string]>> = {
  IPv4: ['198.51.100.2', '203.0.113.7'],
  IPv6: ['2001:db8::a', '2001:db8::b'],
};
