import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/core/bytes/index.ts';
import { ExchangeType } from '../../src/core/wire/index.ts';
import {
  establishedPair,
  expectInvariants,
  expectOneChild,
  expectTrafficBothWays,
  lowestIs,
  type Peer,
  pair,
} from '../../src/testing/index.ts';
import type { Packet } from '../../src/testing/network.ts';
import { scriptedRandom } from '../../src/testing/seeded.ts';
import { innerPacket, WalkPlane } from '../../src/testing/walk/plane.ts';

const START = { startAction: 'start', dpdAction: 'start', closeAction: 'start' } as const;

/** What random walks found where a new authentication takes the place of the old one, each as the shortest story that shows it. */
describe('a new authentication beside the old one', () => {
  test.each([
    [30, 'deleted by the peer'],
    [60, 'deleted by the peer', '192.0.2.1:500 did not answer INFORMATIONAL for 60 s'],
  ] as const)(
    'the answer that tells of the child of a new authentication is lost for %i s: the old one serves until one comes (RFC 7296 §2.8.3)',
    (seconds, ...ends) => {
      const { net, a, b } = establishedPair({ link: { delay: 20 }, connection: { childless: 'force' } });
      const undo = net.internet.core.intercept(({ source, data }) =>
        b.host.addresses.includes(source.ip) && isAnswerOf(ExchangeType.CREATE_CHILD_SA, data) ? [] : undefined,
      );
      a.reauthenticate();
      net.run(seconds * 1000);
      undo();
      net.run(10_000);
      expect(b.plane.children.length).toBe(2);
      net.settle({ quiet: 90_000 });
      expect(a.heard('ike-reauthenticated')).toHaveLength(1);
      expect(b.heard('ike-down').map(({ reason }) => reason)).toEqual(ends);
      expectOneChild(a, b);
      expectTrafficBothWays(net, a, b);
    },
  );

  test.each(['a.Ni', 'a.Nr', 'b.Ni', 'b.Nr'] as const)(
    'a new authentication stands while the rekeyings of the old IKE SA cross: neither successor is a rival of it (RFC 7296 §2.8.2, lowest is %s)',
    (lowest) => {
      const { net, a, b } = establishedPair({ nonces: lowestIs(lowest), link: { delay: 30 } });
      a.reauthenticate();
      net.run(50);
      b.rekeyIke();
      net.run(25);
      a.rekeyIke();
      net.settle({ quiet: 60_000 });
      expect(
        [a, b].flatMap((peer) => peer.heard('ike-down').map(({ reason }) => reason)).filter((reason) => reason.includes('replaced by')),
        net.describe(),
      ).toEqual([]);
      expect(a.heard('ike-reauthenticated')).toHaveLength(1);
      expectOneChild(a, b);
      expectTrafficBothWays(net, a, b);
    },
  );

  test('the peer deletes a child that a new authentication has taken over: it is not brought back, least of all on the old IKE SA', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 }, a: { child: START } });
    const old = b.children[0]!.id;
    a.reauthenticate();
    net.until('the old one is replaced', () => a.heard('ike-reauthenticated').length === 1);
    b.deleteChild(old);
    net.settle({ quiet: 60_000 });
    expect([a, b].map((peer) => peer.heard('child-up').length)).toEqual([2, 2]);
    expectOneChild(a, b);
    expectTrafficBothWays(net, b, a);
  });

  test('the peer deletes what a new authentication carries before the old one went: it is made again, and nothing is lost (RFC 7296 §2.8.3)', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    a.reauthenticate();
    net.until('the old one is replaced', () => a.heard('ike-reauthenticated').length === 1);
    b.deleteChild(b.children.at(-1)!.id);
    for (let i = 0; i < 120; i++) {
      net.run(100);
      expectTrafficBothWays(net, a, b, { packets: 1 });
    }
    expectOneChild(a, b);
  });

  test('its operator deletes it there: it is not made again', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    a.reauthenticate();
    net.until('the old one is replaced', () => a.heard('ike-reauthenticated').length === 1);
    a.deleteChild(a.children.at(-1)!.id);
    net.settle({ quiet: 60_000 });
    expect([a, b].map((peer) => peer.children.length)).toEqual([0, 0]);
  });

  test('a child of a new authentication is rekeyed before it took over: its successor sends, and it never (RFC 7296 §2.8.3)', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    a.reauthenticate();
    net.until('a has it', () => a.heard('ike-reauthenticated').length === 1);
    a.rekeyChild(a.children.find(({ id }) => id === 2)!.id);
    for (let i = 0; i < 80; i++) {
      net.run(100);
      const sending = b.plane.sendingChild()!.id;
      expect([i, b.children.find(({ id }) => id === sending)?.state]).toEqual([i, 'installed']);
      expectTrafficBothWays(net, a, b, { packets: 1 });
    }
    expectOneChild(a, b);
  });

  test.each(['a', 'b'] as const)(
    '%s’s rekeying of what the new authentication took over ends late: that sends all the same (RFC 7296 §2.8.3)',
    (which) => {
      const made = establishedPair({ link: { delay: 20 } });
      const { net, a, b } = made;
      for (const peer of [a, b]) peer.fault({ ask: 'install', outcome: 'late', delay: 2500 });
      made[which].rekeyChild();
      a.reauthenticate();
      net.until('the successor stands, too', () => a.children.length === 3 && a.children.every(({ state }) => state !== 'installing'));
      const newest = a.ikeSas.find(({ state, children }) => state === 'established' && children.length === 1)!;
      net.run(100);
      expect(a.plane.sendingChild()!.id, net.describe()).toBe(newest.children[0]!.id);
      a.sendTraffic(Uint8Array.of(1));
      net.run(100);
      expect(b.plane.sendingChild()!.spec.inbound.spi, net.describe()).toBe(newest.children[0]!.outboundSpi);
      net.settle({ quiet: 60_000 });
      expectOneChild(a, b);
      expectTrafficBothWays(net, a, b);
    },
  );

  test('the responder rekeys what is taken over while that happens, and what took over is rekeyed in its turn: nothing older sends again (RFC 7296 §2.8)', () => {
    const { net, a, b } = pair({ link: { delay: 20 }, connection: { encap: true } });
    const planes = [a, b].map(besides);
    a.initiate();
    net.settle();
    a.reauthenticate();
    net.run(50);
    b.rekeyChild();
    net.until('the old one is replaced', () => a.heard('ike-reauthenticated').length === 1);
    expect(a.heard('child-rekeyed')).toHaveLength(1);
    expectTrafficBothWays(net, a, b, { packets: 1 });
    a.rekeyChild(a.plane.sendingChild()!.id);
    net.until('b has the successor', () => b.heard('child-rekeyed').length === 2);
    for (let i = 0; i < 120; i++) {
      net.run(100);
      expect(planes.map((plane) => plane())).toEqual([a, b].map(({ plane }) => plane.sendingChild()!.spec.outbound.spi));
    }
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('of two children of one policy the responder rekeys the one that is not taken over: what comes of that does not send in front of the new one (RFC 7296 §2.8)', () => {
    const { net, a, b } = pair({ link: { delay: 20 }, connection: { encap: true } });
    const planes = [a, b].map(besides);
    a.initiate();
    net.settle();
    a.createChild('net');
    net.settle();
    a.reauthenticate();
    net.run(50);
    b.rekeyChild(b.children.at(-1)!.id);
    net.until('the old one is replaced', () => a.heard('ike-reauthenticated').length === 1);
    expect(a.heard('child-rekeyed')).toHaveLength(1);
    expectTrafficBothWays(net, a, b, { packets: 1 });
    for (let i = 0; i < 120; i++) {
      net.run(100);
      expect(planes.map((plane) => plane())).toEqual([a, b].map(({ plane }) => plane.sendingChild()!.spec.outbound.spi));
    }
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test.each([100, 2500, 9000])(
    'the initiator takes %i ms to install its child: the responder sends on the old one until it hears from the new one (RFC 7296 §2.8)',
    (delay) => {
      const { net, a, b } = establishedPair({ link: { delay: 20 }, connection: { childless: 'force' } });
      a.fault({ ask: 'install', outcome: 'late', delay });
      a.reauthenticate();
      for (let sent = 0; sent < 150; sent++) {
        b.sendTraffic(Uint8Array.of(sent));
        net.run(100);
      }
      net.settle({ quiet: 60_000 });
      expect(a.plane.received).toHaveLength(150);
      expect(a.plane.drops).toEqual({});
      expect(new Set(a.plane.received.map(({ child }) => child)).size).toBe(2);
      expectOneChild(a, b);
    },
  );

  test('the child of a new authentication is heard from while its successor is still being installed there: it sends, not that one (RFC 7296 §2.8)', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 }, connection: { childless: 'force' } });
    a.reauthenticate();
    net.until('the new child stands', () => a.children.length === 2 && a.children.every(({ state }) => state === 'installed'));
    a.fault({ ask: 'install', outcome: 'late', delay: 3000 });
    a.rekeyChild(a.children.find(({ id }) => id === 2)!.id);
    net.until('b has the successor', () => b.children.length === 3);
    for (let sent = 0; sent < 100; sent++) {
      a.sendTraffic(Uint8Array.of(sent));
      b.sendTraffic(Uint8Array.of(sent));
      net.run(100);
    }
    net.settle({ quiet: 60_000 });
    expect([a.plane.received.length, b.plane.received.length]).toEqual([100, 100]);
    expect([a.plane.drops, b.plane.drops]).toEqual([{}, {}]);
    expectOneChild(a, b);
  });

  test('packets that the end of the old IKE SA overtakes still find their SA (D02, RFC 7296 §2.8.3)', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    a.reauthenticate();
    net.until('the Delete of the old one is under way', () => a.ikeSas.some(({ state }) => state === 'deleting'));
    const { core } = net.internet;
    const slow: Packet[] = [];
    const undo = core.intercept((packet) => (packet.protocol === 'esp' ? slow.splice(0, 0, packet) : undefined));
    b.sendTraffic(Uint8Array.of(1));
    undo();
    net.run(100);
    expect([a.ikeSas.length, slow.length]).toEqual([1, 1]);
    core.send(core.attach({ name: 'a slower way', receive: () => 'delivered', tooBig: () => {} }, []), slow[0]!);
    net.settle({ quiet: 60_000 });
    expect(a.plane.received).toHaveLength(1);
    expectOneChild(a, b);
  });

  test('while a new authentication takes its place the next one waits: nothing ends what carries the traffic (RFC 7296 §2.8.3)', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 }, connection: { childless: 'force' } });
    b.fault({ ask: 'install', outcome: 'fail' });
    a.reauthenticate();
    net.until('it stands without a child', () => a.established.length === 2 && b.established.length === 2);
    a.reauthenticate(a.established[1]!.id);
    for (let sent = 0; sent < 100; sent++) {
      expect([sent, a.sendTraffic(Uint8Array.of(sent))]).toEqual([sent, true]);
      net.run(100);
    }
    net.settle({ quiet: 90_000 });
    expect(b.plane.received).toHaveLength(100);
    expectOneChild(a, b);
  });

  test('two later authentications end, the newer one first: what is left of the first sends again, though it was rekeyed between', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 }, connection: { unique: 'never' } });
    const another = (): void => {
      const before = b.plane.children.length;
      a.initiate();
      net.until('both have it', () => [a, b].every(({ plane }) => plane.children.length > before));
      expectTrafficBothWays(net, a, b);
    };
    const [first] = a.children;
    another();
    a.rekeyChild(first!.id);
    net.settle();
    another();
    for (const peer of [a, b]) {
      const [, ...later] = peer.ikeSas.map(({ id }) => id);
      for (const id of later.reverse()) peer.forgetIke(id);
    }
    expectTrafficBothWays(net, b, a);
  });

  test.each(['a', 'b'] as const)('a restart of %s in the middle of a new authentication, which goes on (RFC 7296 §2.8.3)', (which) => {
    for (const wait of [115, 125, 145, 175]) {
      const made = establishedPair({ link: { delay: 20 }, connection: { childless: 'force' } });
      const { net, a, b } = made;
      a.fault({ ask: 'install', outcome: 'late', delay: 50 });
      a.reauthenticate();
      net.run(wait);
      expect(made[which].established).toHaveLength(2);
      made[which].restart('snapshot');
      net.settle({ quiet: 120_000 });
      expect([a.ikeSas.length, b.ikeSas.length], net.describe()).toEqual([1, 1]);
      expectInvariants(net);
      expectOneChild(a, b);
      expectTrafficBothWays(net, a, b);
    }
  });
  test('a restart of the responder while both stand, the old one rekeyed meanwhile: it goes on to send on the new child (RFC 7296 §2.8.3)', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 }, connection: { childless: 'force' } });
    const older = b.children[0]!.inboundSpi;
    a.fault({ ask: 'install', outcome: 'late', delay: 2500 });
    a.reauthenticate();
    net.until('b has a second child', () => b.plane.children.length === 2);
    a.rekeyIke(a.ikeSas[0]!.id);
    net.until('the old one is replaced', () => a.heard('ike-reauthenticated').length === 1);
    // what is restored last sends, where nothing else decides
    expect(b.children.map(({ inboundSpi }) => inboundSpi)).toEqual([expect.any(Number), older]);
    const newer = b.children[0]!.inboundSpi;
    b.restart('snapshot');
    a.sendTraffic(utf8('on the new one'));
    net.run(100);
    expect(b.plane.children).toHaveLength(2);
    expect(b.plane.sendingChild()!.spec.inbound.spi).toBe(newer);
    net.settle({ quiet: 60_000 });
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('the responder rekeys the IKE SA, restarts, and hears of a new authentication: it did not begin what it rekeyed, so nothing has crossed (RFC 7296 §2.8.3)', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    b.rekeyIke();
    net.until('the old one is gone', () => b.ikeSas.length === 1 && b.heard('ike-rekeyed').length === 1);
    b.restart('snapshot');
    net.run(50);
    a.reauthenticate(a.established.find(({ state }) => state === 'established')!.id);
    net.settle({ quiet: 60_000 });
    expect(a.heard('ike-reauthenticated'), net.describe()).toHaveLength(1);
    expect(b.heard('ike-down').map(({ reason }) => reason)).toEqual(['rekeyed', 'deleted by the peer']);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('a child of the old IKE SA is refused for a time when the new authentication has made its own: it is not asked for again', () => {
    const { net, a, b } = pair({ link: { delay: 20 }, connection: { childless: 'force' } });
    b.fault({ ask: 'install', outcome: 'never' });
    a.initiate();
    net.until('the child is asked for', () => b.children.length > 0 && b.openAsks > 0);
    a.reauthenticate();
    net.settle({ quiet: 60_000 });
    expect(a.heard('ike-reauthenticated')).toHaveLength(1);
    expect([a, b].map((peer) => peer.heard('child-up').length)).toEqual([1, 1]);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test.each([
    ['gets lost', false],
    ['comes late, on the IKE SA that was replaced', true],
  ])('a demand for a new authentication %s, since the initiator rekeys the IKE SA: it is heeded (RFC 4478 §2)', (_, late) => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    const held: Packet[] = [];
    const undo = net.internet.core.intercept((packet) => {
      if (!b.host.addresses.includes(packet.source.ip) || !isRequestOf(ExchangeType.INFORMATIONAL, packet.data)) return undefined;
      held.push(packet);
      return [];
    });
    b.reauthenticate();
    a.rekeyIke();
    net.until('the IKE SA is rekeyed', () => a.heard('ike-rekeyed').length === 1);
    if (late) for (const { data, source } of held) a.inject(data, source);
    undo();
    net.settle({ quiet: 60_000 });
    expect(held).toHaveLength(1);
    expect([a, b].map((peer) => peer.heard('ike-rekeyed').length)).toEqual([1, 1]);
    expect(a.heard('ike-reauthenticated')).toHaveLength(1);
    expect(b.heard('failed')).toEqual([]);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });
});

/** The product's data plane, told what that of the simulation is told. @returns the SPI that it sends a packet with */
function besides({ plane }: Peer): () => number | undefined {
  let spi: number | undefined;
  const watch = {
    clock: { now: () => 0, wall: () => 0, after: () => ({ cancel: () => undefined }), soon: () => undefined },
    installing: () => undefined,
    delivered: () => undefined,
    send: (_local: unknown, _remote: unknown, packet: Uint8Array) => {
      spi = new DataView(packet.buffer, packet.byteOffset).getUint32(0);
      return true;
    },
  };
  const other = new WalkPlane(scriptedRandom('besides'), () => undefined, watch);
  for (const told of ['install', 'update', 'remove'] as const) {
    const own: (...given: never[]) => void = plane[told].bind(plane);
    const also: (...given: never[]) => void = other[told].bind(other);
    plane[told] = (...given: unknown[]) => {
      also(...(given as never[]));
      own(...(given as never[]));
    };
  }
  return () => {
    spi = undefined;
    other.send(innerPacket([10, 1, 0, 1], [10, 2, 0, 1], 0, 0));
    other.send(innerPacket([10, 2, 0, 1], [10, 1, 0, 1], 0, 0));
    return spi;
  };
}

/** By the IKE header, behind the non-ESP marker or not. */
function isRequestOf(exchange: number, data: Uint8Array): boolean {
  const header = data.subarray(data[0] === 0 && data[1] === 0 ? 4 : 0);
  return header[18] === exchange && (header[19]! & 0x20) === 0;
}

/** By the IKE header, behind the non-ESP marker or not. */
function isAnswerOf(exchange: number, data: Uint8Array): boolean {
  const header = data.subarray(data[0] === 0 && data[1] === 0 ? 4 : 0);
  return header[18] === exchange && (header[19]! & 0x20) !== 0;
}
