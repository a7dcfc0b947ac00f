import { equalBytes, fromUtf8, toHex, utf8 } from '../core/bytes/index.ts';
import { parseMessage } from '../core/wire/index.ts';
import { ScenarioFailure } from './failure.ts';
import type { Net } from './pair.ts';
import type { Peer } from './peer.ts';

/** Four nonces take part when both ends rekey at once: Ni and Nr of the exchange that `a` began, Ni and Nr of the one that `b` began. */
export type CrossingNonce = 'a.Ni' | 'a.Nr' | 'b.Ni' | 'b.Nr';

/**
 * Scripts for `establishedPair({ nonces })` that make one of the four nonces of the first crossing the lowest. Each side draws its first nonce
 * while the IKE SA is established, its second as Ni of its own rekey, its third as Nr of the other's.
 */
export function lowestIs(which: CrossingNonce): { readonly a: Draws; readonly b: Draws } {
  const drawnBy = which === 'a.Ni' || which === 'b.Nr' ? 'a' : 'b';
  const at = which === 'a.Ni' || which === 'b.Ni' ? 1 : 2;
  const zeros = new Uint8Array(32);
  const draws = (side: 'a' | 'b'): Draws => [undefined, ...[1, 2].map((n) => (side === drawnBy && n === at ? zeros : undefined))];
  return { a: draws('a'), b: draws('b') };
}

/** The end whose exchange does not hold the lowest nonce: its SA stays (RFC 7296 §2.8.1). */
export const otherExchange = (lowest: CrossingNonce): 'a' | 'b' => (lowest.startsWith('a') ? 'b' : 'a');

type Draws = readonly (Uint8Array | undefined)[];

/** Exactly one CHILD_SA stands, on both ends, in the core and in the data plane, and it is the same one. */
export function expectOneChild(a: Peer, b: Peer): { bornIn(exchangeOf: 'a' | 'b'): void } {
  for (const peer of [a, b]) {
    const { children } = peer;
    if (children.length !== 1 || peer.plane.children.length !== 1) {
      const states = children.map((child) => `${child.name} ${hex(child.inboundSpi)}/${hex(child.outboundSpi)} ${child.state}`).join(', ');
      throw new ScenarioFailure(
        `${peer.name} has ${children.length} CHILD_SAs (${states}), its data plane ${peer.plane.children.length}; expected one`,
      );
    }
  }
  const [one, other] = [a.children[0]!, b.children[0]!];
  if (one.inboundSpi !== other.outboundSpi || one.outboundSpi !== other.inboundSpi) {
    throw new ScenarioFailure(
      `a has ${hex(one.inboundSpi)}/${hex(one.outboundSpi)}, b has ${hex(other.inboundSpi)}/${hex(other.outboundSpi)}: not the same CHILD_SA`,
    );
  }
  return {
    bornIn: (exchangeOf) => {
      for (const peer of [a, b]) {
        const rekeyed = peer.heard('child-rekeyed').find((notice) => notice.to === peer.children[0]!.id);
        if (rekeyed === undefined) throw new ScenarioFailure(`${peer.name}: the CHILD_SA was not born in a rekey`);
        const bornAt = rekeyed.byUs === (peer === a) ? 'a' : 'b';
        if (bornAt !== exchangeOf)
          throw new ScenarioFailure(`${peer.name}: the CHILD_SA was born in the exchange of ${bornAt}, expected ${exchangeOf}`);
      }
    },
  };
}

/** Neither core nor data plane keeps anything of any SA. */
export function expectNothingLeft(...peers: readonly Peer[]): void {
  for (const peer of peers) {
    const [sas, children, lent] = [peer.ikeSas.length, peer.plane.children.length, peer.pool.lent.size];
    if (sas + children + lent > 0)
      throw new ScenarioFailure(`${peer.name} still has ${sas} IKE SAs, ${children} CHILD_SAs installed, ${lent} leases`);
  }
}

/** Real ESP packets through the simulated internet, both ways: sealed by one end's keys, opened by the other's. */
export function expectTrafficBothWays(
  net: Net,
  a: Peer,
  b: Peer,
  options: { readonly packets?: number; readonly child?: string } = {},
): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    for (let i = 0; i < (options.packets ?? 3); i++) {
      const payload = utf8(`packet ${i} of ${from.name} at ${net.now}`);
      const before = to.plane.received.length;
      if (!from.sendTraffic(payload, options.child)) throw net.failure(`${from.name} has no SA to send on`);
      net.run(TRAFFIC_TIME);
      const got = to.plane.received.slice(before);
      if (!got.some((packet) => equalBytes(packet.payload, payload))) {
        const instead = got.map((packet) => fromUtf8(packet.payload)).join(', ');
        throw net.failure(
          `traffic from ${from.name} did not reach ${to.name}; drops ${JSON.stringify(to.plane.drops)}${instead && `; got ${instead}`}`,
        );
      }
    }
  }
}

/**
 * What must hold in every world, whatever happened in it: no key serves two SAs, no SPI is chosen twice, no IV and no ESP sequence
 * number goes out twice with different octets, each CHILD_SA in a data plane is known to its core, and no SA opened more packets than the
 * other end sealed on it.
 */
export function expectInvariants(net: Net): void {
  const broken = [
    ...keyReuse(net),
    ...spiReuse(net),
    ...ivReuse(net),
    ...sequenceReuse(net),
    ...planeDisagreements(net),
    ...countersOff(net),
  ];
  if (broken.length > 0) throw net.failure(broken.join('\n'));
}

function keyReuse(net: Net): string[] {
  const places = new Map<string, Set<string>>();
  for (const peer of net.peers) {
    for (const { key, spi } of peer.plane.history) {
      const seen = places.get(key) ?? places.set(key, new Set()).get(key)!;
      seen.add(hex(spi));
    }
  }
  return [...places].filter(([, spis]) => spis.size > 1).map(([, spis]) => `one key serves the SPIs ${[...spis].join(', ')}`);
}

function spiReuse(net: Net): string[] {
  return net.peers.flatMap((peer) => {
    const seen = new Set<number>();
    return peer.plane.history.flatMap(({ direction, spi }) => {
      if (direction !== 'inbound') return [];
      const again = seen.has(spi);
      seen.add(spi);
      return again ? [`${peer.name} chose the SPI ${hex(spi)} twice`] : [];
    });
  });
}

/** RFC 5282 §3.1: under one key an IV is used once. Fragments have one each; a retransmission is the same octets. */
function ivReuse(net: Net): string[] {
  const used = new Map<string, string>();
  return net.peers.flatMap((peer) =>
    peer.sent.flatMap(({ data }) => {
      const last = parseMessage(data).payloads.at(-1);
      if (last?.kind !== 'SK' && last?.kind !== 'SKF') return [];
      const iv = `${peer.name} ${toHex(data.subarray(0, 16))} ${toHex(data.subarray(last.bodyOffset, last.bodyOffset + 8))}`;
      const whole = toHex(data);
      const before = used.get(iv);
      used.set(iv, whole);
      return before !== undefined && before !== whole ? [`${peer.name} used an IV twice: ${iv}`] : [];
    }),
  );
}

/** RFC 4303 §3.3.3: under one key a sequence number, and with it the IV, is used once. */
function sequenceReuse(net: Net): string[] {
  return net.peers.flatMap((peer) => {
    const used = new Set<string>();
    return peer.espSent.flatMap((packet) => {
      const head = toHex(packet.subarray(0, 8));
      const again = used.has(head);
      used.add(head);
      return again ? [`${peer.name} used an ESP sequence number twice: ${head}`] : [];
    });
  });
}

function planeDisagreements(net: Net): string[] {
  return net.peers.flatMap((peer) => {
    const known = new Set(peer.children.map((child) => child.id));
    return peer.plane.children
      .filter((child) => !known.has(child.id))
      .map((child) => `the data plane of ${peer.name} holds CHILD_SA ${child.id}, of which its core knows nothing`);
  });
}

function countersOff(net: Net): string[] {
  const all = net.peers.flatMap((peer) => peer.plane.children.map((child) => ({ peer, child })));
  return all.flatMap(({ peer, child }) => {
    const sealed = all
      .filter((one) => one.peer !== peer && one.child.outbound.spi === child.inbound.spi)
      .reduce((sum, one) => sum + one.child.outbound.sequence, 0);
    // A sender that is gone already cannot be asked.
    const { packets, spi } = child.inbound;
    return sealed > 0 && packets > sealed
      ? [`${peer.name} opened ${packets} packets on ${hex(spi)}, of which only ${sealed} were sealed`]
      : [];
  });
}

const hex = (spi: number): string => spi.toString(16).padStart(8, '0');

/** Virtual milliseconds that a packet of `expectTrafficBothWays` gets to arrive. */
const TRAFFIC_TIME = 1000;
