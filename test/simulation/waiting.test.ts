import { describe, expect, test } from 'vitest';
import { ExchangeType } from '../../src/core/wire/index.ts';
import {
  childPolicy,
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  lowestIs,
  type Pair,
  type Peer,
  subnet,
} from '../../src/testing/index.ts';

/** What random walks found about what waits for its turn while something else happens, each as the shortest story that shows it. */
describe('a Delete that waits for room in the window', () => {
  test.each(['a', 'b'] as const)('the lifetime of the child is over before %s could send it: the peer hears of it all the same', (who) => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    const peer = { a, b }[who];
    peer.checkLiveness();
    const { id } = peer.children[0]!;
    peer.deleteChild(id);
    peer.observe({ kind: 'hard-expire', child: id });
    net.settle({ quiet: 60_000 });
    expect([a.children, b.children], net.describe()).toEqual([[], []]);
    expectInvariants(net);
  });
});

test('a child of a new authentication is deleted while the one that it was to replace is rekeyed: that is deleted where it hangs (RFC 7296 §2.8.3)', () => {
  const { net, a, b } = establishedPair({ link: { delay: 20 } });
  const [ours, theirs] = [a.children[0]!.id, b.children[0]!.id];
  a.initiate();
  net.until('b has both', () => b.children.length === 2);
  a.rekeyChild(ours);
  net.run(5);
  b.deleteChild(b.children[1]!.id);
  net.settle({ quiet: 90_000 });
  const fate = (peer: Peer, id: number) => peer.heard('child-state').flatMap(({ child, to }) => (child === id ? [to] : []));
  expect(fate(a, ours).slice(-4)).toEqual(['rekeyed', 'deleting', 'retired', 'dead']);
  expect(fate(b, theirs).slice(-3)).toEqual(['rekeyed', 'retired', 'dead']);
  expectAgreement({ net, a, b });
});

describe('a restart while both ends rekey the IKE SA', () => {
  const RETRANSMISSION = { initial: 500, base: 1.8, giveUp: 15_000 };
  const asked = {
    'rekeys the child': (peer: Peer) => peer.rekeyChild(peer.children[0]!.id),
    'deletes the child': (peer: Peer) => peer.deleteChild(peer.children[0]!.id),
    'makes another child': (peer: Peer, ikeSa: number) => peer.createChild('net', ikeSa),
    'rekeys the IKE SA': (peer: Peer, ikeSa: number) => peer.rekeyIke(ikeSa),
    'deletes the IKE SA': (peer: Peer, ikeSa: number) => peer.deleteIke(ikeSa),
  };

  test.each(Object.keys(asked) as (keyof typeof asked)[])(
    'the operator %s before it is known which IKE SA stays: it is done on the one that does (RFC 7296 §2.8.2)',
    (what) => {
      for (const wait of [0, 10, 30]) {
        const { net, a, b } = establishedPair({
          nonces: lowestIs('a.Ni'),
          link: { delay: 20 },
          connection: { liveness: { delay: 30_000 }, retransmission: RETRANSMISSION },
        });
        const old = a.ikeSas[0]!.spiI;
        a.rekeyIke();
        b.rekeyIke();
        net.until('a has the successor that b asked for', () => a.ikeSas.length === 2);
        a.restart('snapshot');
        net.run(wait);
        asked[what](a, a.ikeSas.find(({ spiI }) => spiI.every((octet, i) => octet === old[i]))!.id);
        net.run(180_000);
        if (what === 'deletes the IKE SA') expectNothingLeft(a, b);
        expectAgreement({ net, a, b });
        expect(
          [a.ikeSas.length, b.ikeSas.length, a.children.filter(({ state }) => state !== 'installed').length],
          `${wait} ms. ${net.describe()}`,
        ).toEqual(what === 'deletes the IKE SA' ? [0, 0, 0] : [1, 1, 0]);
      }
    },
  );
});

test('the IKE SA is rekeyed before the peer heard of what a former life began: it is told on the new one, and until then nothing is said about it (RFC 7296 §2.25.1)', () => {
  const { net, a, b } = establishedPair({ link: { delay: 20 } });
  b.rekeyChild();
  net.until('a has the successor', () => a.children.length === 2);
  const theirs = a.children[1]!.id;
  b.restart('snapshot');
  a.rekeyIke();
  const undo = net.internet.core.intercept(({ source, data }) =>
    b.host.addresses.includes(source.ip) && data[EXCHANGE] === ExchangeType.INFORMATIONAL ? [] : undefined,
  );
  net.until('a has the new one', () => a.heard('ike-rekeyed').length === 1);
  a.rekeyChild(theirs);
  net.run(100);
  undo();
  net.settle({ quiet: 120_000 });
  expect(a.heard('child-down').filter(({ reason }) => reason === 'the peer no longer knows it')).toEqual([]);
  expectAgreement({ net, a, b });
});

describe('a new authentication', () => {
  const net = (prefix: string, peer: string, i: number) =>
    childPolicy({ name: i === 0 ? 'net' : 'voice', localTs: [subnet(`${prefix}.${i}.0/24`)], remoteTs: [subnet(`${peer}.${i}.0/24`)] });
  const children = (own: string, peer: string) => [0, 1].map((i) => net(own, peer, i));
  const two = () =>
    establishedPair({
      link: { delay: 600 },
      a: { connection: { childless: 'force', children: children('10.1', '10.2').map((child) => ({ ...child, startAction: 'start' })) } },
      b: { connection: { childless: 'force', children: children('10.2', '10.1') } },
    });
  const names = (peer: Peer) => peer.children.map(({ name }) => name).sort();

  test('what it lacks waits for its turn behind something that fails: that is waited for, and made once more', () => {
    const { net, a, b } = two();
    // the first child is put off by the peer, and its turn comes again while the second is being made, which is lost here
    b.fault({ ask: 'install', outcome: 'fail' });
    a.fault({ ask: 'install', outcome: 'fail' });
    a.reauthenticate();
    net.run(60_000);
    expect([names(a), names(b), a.ikeSas.length], net.describe()).toEqual([['net', 'voice'], ['net', 'voice'], 1]);
    expect(a.heard('ike-reauthenticated')).toHaveLength(1);
  });
});

function expectAgreement({ net, a, b }: Pick<Pair, 'net' | 'a' | 'b'>): void {
  const pairs = (peer: Peer, mirrored: boolean): string[] =>
    peer.children
      .map(({ inboundSpi, outboundSpi, state }) => `${mirrored ? `${outboundSpi}/${inboundSpi}` : `${inboundSpi}/${outboundSpi}`} ${state}`)
      .sort();
  expect(pairs(b, true), net.describe()).toEqual(pairs(a, false));
  for (const peer of [a, b]) expect(peer.plane.children.length, net.describe()).toBe(peer.children.length);
  expectInvariants(net);
}

/** Of a message without the non-ESP marker. */
const EXCHANGE = 18;
