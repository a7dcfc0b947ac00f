import { expect } from 'vitest';
import type { Payload } from '../../src/core/wire/index.ts';
import { type Nat, type Net, type Pair, type PairOptions, pair, type SideOptions } from '../../src/testing/index.ts';

export const A1 = '192.0.2.1';
export const A2 = '192.0.2.2';
export const B1 = '198.51.100.2';
export const B2 = '198.51.100.3';
export const VICTIM = '203.0.113.66';

type Roamers = Pair & { readonly insideNat: (nat: Nat, address: string) => void };

/** `a` may be anywhere and has more than one address if told so; so has `b`. MOBIKE on both, and established. */
export function roamers(
  options: PairOptions & { readonly more?: { readonly a?: readonly string[]; readonly b?: readonly string[] } } = {},
): Roamers {
  const side = (own: SideOptions | undefined, connection: SideOptions['connection']): SideOptions => ({
    ...own,
    connection: { ...connection, ...own?.connection },
  });
  const made = pair({
    ...options,
    connection: { mobike: true, ...options.connection },
    a: side(options.a, { localAddresses: [options.nat ? '10.0.0.5' : A1, '%any'] }),
    b: side(options.b, { localAddresses: ['%any'] }),
  });
  const { net, a, b } = made;
  for (const ip of options.more?.a ?? []) a.host.addAddress(ip);
  for (const ip of options.more?.b ?? []) b.host.addAddress(ip);
  a.initiate();
  net.until('establishment', () => a.plane.children.length > 0 && b.plane.children.length > 0 && a.openAsks + b.openAsks === 0);
  net.run(5000);
  net.skip();
  return { ...made, insideNat: (nat, address) => a.host.move(nat.inside, [address]) };
}

/** Each side's view of the IKE SA and of its traffic, as addresses. */
export function expectPath({ a, b }: Pair, addressA: string, addressB: string): void {
  for (const [peer, local, remote] of [
    [a, addressA, addressB],
    [b, addressB, addressA],
  ] as const) {
    const sa = peer.ikeSas.find(({ state }) => state === 'established')!;
    expect([peer.name, sa.local.ip, sa.remote.ip]).toEqual([peer.name, local, remote]);
    for (const child of peer.plane.children) expect([child.local.ip, child.remote.ip]).toEqual([local, remote]);
  }
}

/** How often `from` asked with this notify. */
export const requests = (net: Net, from: string, notify: string): number =>
  net.transcript.messages.filter(
    (message) => message.from === from && message.summary.includes(' request ') && message.summary.includes(notify),
  ).length;

export const notify = (type: number, data = new Uint8Array(0)): Payload => ({
  kind: 'N',
  notify: type,
  protocol: 0,
  spi: new Uint8Array(0),
  data,
});
