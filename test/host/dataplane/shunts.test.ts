import { describe, expect, test } from 'vitest';
import type { KernelPolicy } from '../../../src/core/ike/effects.ts';
import { childPair, espPair, installBoth } from '../support/esp-pair.ts';
import { packet, selector } from '../support/packets.ts';

const [A4, B4, OTHER] = ['10.0.0.1', '10.0.1.1', '10.0.1.9'] as const;
const shunt = (remote: string, action: 'bypass' | 'discard' = 'discard') =>
  ({ action, connection: 'road', child: 'no', localTs: [selector('0.0.0.0/0')], remoteTs: [selector(remote)] }) as const;

/** Sends from A. @returns how many came out at B */
function sends(pair: ReturnType<typeof espPair>, to: string): number {
  const before = pair.b.delivered.length;
  pair.a.plane.send(packet(A4, to));
  return pair.b.delivered.length - before;
}

describe('what no SA carries', () => {
  test.each(['discard', 'bypass'] as const)('by a shunt (%s): neither to the peer nor from it, whatever the SA would take', (action) => {
    const pair = espPair();
    installBoth(pair, {});
    expect([sends(pair, B4), sends(pair, OTHER)]).toEqual([1, 1]);
    pair.a.plane.setShunts([shunt(`${OTHER}/32`, action)]);
    expect([sends(pair, B4), sends(pair, OTHER)]).toEqual([1, 0]);
    expect(pair.a.plane.drops()).toMatchObject({ shunt: 1, 'no outbound SA': 0 });
    pair.b.plane.send(packet(OTHER, A4));
    expect([pair.a.delivered.length, pair.a.plane.counters(1)?.drops.selectors]).toEqual([0, 1]);
    pair.a.plane.setShunts([]);
    expect(sends(pair, OTHER)).toBe(1);
  });

  test('asks for no SA, although a trap would', () => {
    const pair = espPair();
    pair.a.plane.setTraps([{ connection: 'road', child: 'net', localTs: [selector('0.0.0.0/0')], remoteTs: [selector('10.0.1.0/24')] }]);
    pair.a.plane.setShunts([shunt(`${OTHER}/32`)]);
    expect(pair.a.plane.send(packet(A4, OTHER))).toBe(false);
    expect(pair.a.observed).toEqual([]);
  });
});

test('what is for a kernel alone is refused, but for a card that may encrypt', () => {
  const { plane } = espPair().a;
  const asking = (kernel: KernelPolicy) => childPair({ more: { packets: { kernel } } }).a;
  for (const kernel of [{ ifIdOut: 7 }, { markOut: { value: 1 } }, { offload: 'crypto' }, { offload: 'packet' }] as const)
    expect(() => plane.install(asking(kernel))).toThrow(expect.objectContaining({ code: 'KERNEL_NEEDED' }));
  plane.install(asking({ offload: 'auto' }));
});
