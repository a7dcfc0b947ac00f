import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/core/bytes/index.ts';
import type { Connection } from '../../src/core/ike/index.ts';
import { ExchangeType } from '../../src/core/wire/index.ts';
import {
  espProposal,
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  type Peer,
  pair,
} from '../../src/testing/index.ts';

/** Of SK and SKF messages: their eight octets of IV, and the whole. */
const sealed = (peer: Peer): { readonly iv: string; readonly whole: string }[] =>
  peer.sent
    .filter(({ data }) => data[18] !== ExchangeType.IKE_SA_INIT)
    .map(({ data }) => ({ iv: toHex(data.subarray(32, 40)), whole: toHex(data) }));

describe('restoring a snapshot', () => {
  test('twice, or from an old one: no IV of IKE comes twice under one key (RFC 5282 §3.1)', () => {
    const { net, a, b } = establishedPair();
    const old = a.snapshot();
    for (let life = 0; life < 4; life++) {
      a.checkLiveness();
      net.run(200);
      a.restart(old);
      net.run(500);
    }
    const all = sealed(a);
    expect(all.length).toBeGreaterThan(6);
    const wholes = new Map<string, Set<string>>();
    for (const { iv, whole } of all) wholes.set(iv, (wholes.get(iv) ?? new Set()).add(whole));
    expect([...wholes.values()].every(({ size }) => size === 1)).toBe(true);
    // each life has a range of its own
    expect(new Set(all.map(({ iv }) => iv.slice(0, 10))).size).toBe(5);
    expect(b.established).toHaveLength(1);
  });

  test.each([
    ['without ESN', 'aes128gcm16-noesn', 1],
    ['with ESN, of which every second restart uses up enough', 'aes128gcm16-esn', 2],
    ['with IVs that are the sequence number', 'aes128gcm16iiv-esn', 1],
  ])('%s, %s: what a restart uses up is made good by new keys within half a minute', (_, words, each) => {
    const { net, a, b } = establishedPair({ child: { proposals: [espProposal(words)] } });
    for (let restart = 1; restart <= 6; restart++) {
      a.restart('snapshot');
      net.run(14_000);
      expect(a.heard('child-rekeyed')).toHaveLength(Math.floor((restart - 1) / each));
      net.run(17_000);
      expect(a.heard('child-rekeyed')).toHaveLength(Math.floor(restart / each));
    }
    net.settle();
    expect([a.children, b.children].map(({ length }) => length)).toEqual([1, 1]);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('both ends restart as soon as a second IKE SA of one peer stands: the older one goes all the same (RFC 7296 §2.4)', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    a.initiate();
    net.run(70);
    // what is under way comes first: the Delete of the older one is still to be sent
    a.checkLiveness(a.established[0]!.id);
    net.until('both have it', () => a.children.length === 2 && a.children.every(({ state }) => state === 'installed'));
    for (const peer of [a, b]) peer.restart('snapshot');
    net.settle({ quiet: 60_000 });
    expect(
      [a, b].map((peer) => peer.established.length),
      net.describe(),
    ).toEqual([1, 1]);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('a ticket that was used is not taken after a restart either (RFC 5723 §4.3.1)', () => {
    const secret = new Uint8Array(32).fill(7);
    const made = pair({
      connection: { resumption: true, retransmission: { initial: 1000, base: 1.8, giveUp: 20_000 } },
      child: { dpdAction: 'start' },
      b: { endpoint: { secret }, child: { dpdAction: 'clear' } },
    });
    const { net, a, b } = made;
    a.initiate();
    net.settle();
    const old = a.snapshot();
    const lose = () => {
      b.restart({ ...b.snapshot(), ikeSas: [] });
      a.checkLiveness();
      net.until('the client gives up', () => a.ikeSas.every((sa) => sa.establishedAt === undefined), 60_000);
      net.settle();
    };
    lose();
    expect(a.ikeSas[0]!.resumed).toBe(true);
    // the ticket of long ago once more, to a gateway that restarted since
    a.restart(old);
    lose();
    expect(a.heard('not-resumed')).toHaveLength(1);
    expect(a.ikeSas[0]!.resumed).toBe(false);
    expectTrafficBothWays(net, a, b);
  });
});

describe('restoring a snapshot under another configuration', () => {
  const failures = (peer: Peer) => peer.heard('failed').map(({ what, error }) => `${what}: ${error.message}`);

  test.each(['udp', 'tcp'] as const)(
    'of which the connection is gone, over %s: the operator is told, and the peer by a Delete',
    (transport) => {
      const { net, a, b } = establishedPair({ connection: { transport } });
      a.setConnections([]);
      a.restart('snapshot');
      net.settle({ quiet: 60_000 });
      expect(failures(a)).toEqual(['going on after the restart: the configuration no longer has connection net; its IKE SA is deleted']);
      const deletes = net.transcript.messages.filter(({ summary }) => summary.includes('{ D }'));
      expect(deletes.map(({ from, to }) => `${from} → ${to}`)).toEqual(['a → b']);
      expectNothingLeft(a, b);
      expectInvariants(net);
    },
  );

  test('of which one child is gone: that CHILD_SA is deleted, the other one goes on', () => {
    const { net, a, b } = establishedPair();
    const [connection] = a.options.connections as [Connection];
    const [child] = connection.children as [Connection['children'][0]];
    const more = { ...child, name: 'more' };
    const restartWith = (...children: Connection['children']) => {
      a.setConnections([{ ...connection, children }]);
      a.restart('snapshot');
      net.settle();
    };
    restartWith(child, more);
    a.createChild('more');
    net.settle();
    restartWith(more);
    expect(failures(a)).toEqual([
      `going on after the restart: the configuration no longer has child ${child.name}; its CHILD_SA is deleted`,
    ]);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });
});

describe('what ends, or does not begin', () => {
  test.each(['a', 'b'] as const)('deleted by %s while it is being installed, a child goes as soon as it stands', (who) => {
    const { net, a, b } = pair({ link: { delay: 10 } });
    const peer = { a, b }[who];
    peer.fault({ ask: 'install', outcome: 'late', delay: 300 });
    a.initiate();
    net.until('it is being installed', () => peer.children.some(({ state }) => state === 'installing'));
    peer.deleteChild(peer.children[0]!.id);
    net.settle();
    expect([a.children, b.children]).toEqual([[], []]);
    expect(peer.heard('child-up')).toHaveLength(1);
    expect([a.established.length, b.established.length]).toEqual([1, 1]);
    expectInvariants(net);
  });

  test('an address that the gateway does not have is asked for again after minutes, not at once (RFC 7296 §3.15.4)', () => {
    const { net, a, b } = pair({
      a: { connection: { virtualIps: ['0.0.0.0'] }, child: { localTs: ['dynamic'], closeAction: 'start', dpdAction: 'start' } },
      b: { connection: { pools: ['inner'] }, child: { remoteTs: ['dynamic'] }, pool: ['10.66.0.1'] },
    });
    b.fault({ ask: 'lease', outcome: 'fail', times: 2 });
    a.initiate();
    net.run(170_000);
    expect(net.transcript.messages.filter(({ summary }) => summary.startsWith('IKE_SA_INIT request'))).toHaveLength(1);
    net.run(400_000);
    expect(net.transcript.messages.filter(({ summary }) => summary.startsWith('IKE_SA_INIT request'))).toHaveLength(3);
    expect(a.established).toHaveLength(1);
  });

  test.each([
    [{}, 'UDP 500 and 4500'],
    [{ remotePort: 1500, remoteNatPort: 14_500 }, 'UDP 1500 and 14500'],
    [{ remotePort: 443, remoteNatPort: 443 }, 'UDP 443'],
  ] as const)('nobody answers, with ports %o: the hint names them', (ports: Partial<Connection>, text) => {
    const { net, a } = pair({ a: { connection: ports }, link: { cut: true } });
    a.initiate();
    net.run(120_000);
    expect(a.heard('failed')[0]!.error.hint).toContain(`do firewalls let ${text} through?`);
  });
});
