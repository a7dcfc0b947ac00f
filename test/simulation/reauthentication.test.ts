import { describe, expect, test } from 'vitest';
import type { Connection, IkeSaInfo } from '../../src/core/ike/index.ts';
import { ExchangeType, NotifyType } from '../../src/core/wire/index.ts';
import {
  childPolicy,
  connectionPolicy,
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  fqdn,
  lowestIs,
  type Pair,
  type Peer,
  pair,
  subnet,
} from '../../src/testing/index.ts';
import { Insider } from './insider.ts';

const never = { rekey: 0, jitter: 0, hard: 0, reauth: 0 };
const every = (seconds: number, more: Partial<Connection['lifetimes']> = {}): { connection: Partial<Connection> } => ({
  connection: { lifetimes: { ...never, reauth: seconds * 1000, ...more } },
});

/** Just established: every clock is at its beginning. */
function fresh(options: Parameters<typeof pair>[0]): Pair {
  const made = pair(options);
  made.a.initiate();
  made.net.until('establishment', () => made.a.plane.children.length > 0 && made.a.openAsks + made.b.openAsks === 0);
  made.net.skip();
  return made;
}

/** Without those that only repeat their last answer, and without one that waits for its Delete. */
const standing = (peer: Peer): readonly IkeSaInfo[] => peer.ikeSas.filter(({ state }) => state === 'established' || state === 'rekeying');

const spis = (peer: Peer): string[] => standing(peer).map(({ spiI }) => spiI.join());
const tellsOfLifetime = (payloads: readonly { kind: string; notify?: number }[]): boolean =>
  payloads.some((p) => p.kind === 'N' && p.notify === NotifyType.AUTH_LIFETIME);

/** Behind the non-ESP marker or not. */
const headerAt = (data: Uint8Array): number => (data[0] === 0 && data[1] === 0 ? 4 : 0);
const isAnswerTo = (exchange: number, data: Uint8Array): boolean =>
  data[headerAt(data) + 18] === exchange && (data[headerAt(data) + 19]! & 0x20) !== 0;

/** One IKE SA and one child are left at each end, and they are not those of before. */
function expectMovedOver({ net, a, b }: Pair, before: readonly string[]): void {
  expect(spis(a)).toHaveLength(1);
  expect(spis(b)).toEqual(spis(a));
  expect(before).not.toContain(spis(a)[0]);
  expectOneChild(a, b);
  expectTrafficBothWays(net, a, b);
  expectInvariants(net);
}

describe('re-authentication, make before break (RFC 7296 §2.8.3)', () => {
  test('a second IKE SA beside the first, then the Delete of the first', () => {
    const made = establishedPair();
    const { net, a, b } = made;
    const before = spis(a);
    a.reauthenticate();
    net.chart(`
      a → b  IKE_SA_INIT request 0  { SA, KE, Ni, ... }
      b → a  IKE_SA_INIT response 0 { SA, KE, Nr, ... }
      a → b  IKE_AUTH request 1  { IDi, AUTH, SA, TSi, TSr }
      b → a  IKE_AUTH response 1 { IDr, AUTH, SA, TSi, TSr }
    `);
    net.run(1);
    expect([a, b].map((peer) => peer.plane.children.length)).toEqual([2, 2]);
    expect(a.heard('ike-reauthenticated')).toEqual([expect.objectContaining({ byUs: true })]);
    net.chart(`
      b → a  INFORMATIONAL request 0  { }
      a → b  INFORMATIONAL response 0 { }
      a → b  INFORMATIONAL request  { D }
      b → a  INFORMATIONAL response { }
    `);
    net.settle({ quiet: 60_000 });
    expectMovedOver(made, before);
    expect(a.heard('failed').concat(b.heard('failed'))).toEqual([]);
  });

  test.each(['replace', 'keep', 'never', 1, 3] as const)('exactly one set of SAs is left with unique: %s', (unique) => {
    const made = establishedPair({ connection: { unique } });
    for (let i = 0; i < 4; i++) {
      const before = spis(made.a);
      made.a.reauthenticate();
      made.net.settle({ quiet: 60_000 });
      expectMovedOver(made, before);
    }
    expect(made.b.heard('ike-down').map(({ reason }) => reason)).toEqual(Array(4).fill('deleted by the peer'));
  });

  test.each([
    ['its owner deletes it', {}, 0],
    ['the authentication before is over by then', every(60, { reauthGrace: 0 }), 44_000],
  ])('the answer to IKE_AUTH gets lost: the old IKE SA serves until the peer has the new one, and %s', (_, b, age) => {
    const made = fresh({ link: { delay: 10 }, b });
    const { net, a } = made;
    const before = spis(a);
    net.run(age);
    const undo = net.internet.core.intercept(({ data }) => (isAnswerTo(ExchangeType.IKE_AUTH, data) ? [] : undefined));
    a.reauthenticate();
    for (let i = 0; i < 3; i++) {
      net.run(5000);
      expectTrafficBothWays(net, a, made.b, { packets: 1 });
    }
    undo();
    net.run(15_000);
    expectMovedOver(made, before);
    expect(a.heard('ike-down').map(({ error }) => error?.code)).not.toContain('CLOSED_BY_PEER');
  });

  test('IKE_AUTH gets lost until the responder has forgotten whom it is from: it is begun anew, long before the peer counts as silent', () => {
    const made = establishedPair({ link: { delay: 10 }, connection: { retransmission: { initial: 1000, base: 1.8, giveUp: 165_000 } } });
    const { net, a, b } = made;
    const before = spis(a);
    const undo = net.internet.core.intercept(({ data }) => (data[headerAt(data) + 18] === ExchangeType.IKE_AUTH ? [] : undefined));
    a.reauthenticate();
    net.run(12_000);
    undo();
    expect(b.heard('ike-down').map(({ error }) => error?.code)).toEqual(['HALF_OPEN_TIMEOUT']);
    net.run(30_000);
    expectMovedOver(made, before);
  });

  test('with MOBIKE, from elsewhere, and the first child fails: the old IKE SA serves on, and it is tried again', () => {
    const made = establishedPair({
      link: { delay: 10 },
      connection: { mobike: true },
      a: { connection: { localAddresses: ['192.0.2.1', '%any'] } },
    });
    const { net, a, b } = made;
    const before = spis(a);
    // what tells of the move is late
    const undo = net.internet.core.intercept(({ data }) => (data[headerAt(data) + 18] === ExchangeType.INFORMATIONAL ? [] : undefined));
    a.host.addAddress('192.0.2.77');
    a.host.removeAddress(a.host.addresses[0]!);
    b.fault({ ask: 'install', outcome: 'fail' });
    a.reauthenticate();
    net.run(2000);
    undo();
    net.run(20_000);
    expect(a.heard('ike-down').map(({ error }) => error?.code)).toEqual(['PEER_TEMPORARY_FAILURE']);
    expect(spis(a)).toEqual(before);
    expectTrafficBothWays(net, a, b, { packets: 1 });
    net.run(60_000);
    expectMovedOver(made, before);
  });

  test.each(['ours', 'theirs'] as const)(
    'while a crossing rekeying waits for its decision, which is for %s: nothing ends both',
    (winner) => {
      const made = establishedPair({ link: { delay: 10 }, nonces: lowestIs(winner === 'ours' ? 'b.Ni' : 'a.Ni') });
      const { net, a, b } = made;
      const before = spis(a);
      // ours is answered late
      const undo = net.internet.core.intercept(({ data }) => (isAnswerTo(ExchangeType.CREATE_CHILD_SA, data) ? [] : undefined));
      a.rekeyIke();
      b.rekeyIke();
      net.until('a has made the successor of b', () => standing(a).length === 2);
      const undecided = standing(a).find(({ state }) => state === 'established')!;
      a.reauthenticate(undecided.id);
      net.run(2000);
      undo();
      net.run(60_000);
      expectTrafficBothWays(net, a, b, { packets: 1 });
      net.settle({ quiet: 120_000 });
      expectMovedOver(made, before);
      expect(b.heard('ike-down').filter(({ error }) => error?.code === 'CLOSED_BY_PEER').length).toBeLessThan(2);
    },
  );

  test.each([1, 2, 3, 4, 5, 6])('not one packet is lost, seed %i', (seed) => {
    const made = establishedPair({ seed, link: { delay: 20, jitter: 15 } });
    const { net, a, b } = made;
    const before = spis(a);
    // a signature or a path takes its time, and the gateway sends meanwhile
    a.fault({ ask: 'verify', outcome: 'late', delay: 40 * seed });
    a.reauthenticate();
    for (let i = 0; i < 2000; i++) {
      a.sendTraffic(Uint8Array.of(1, i >> 8, i));
      b.sendTraffic(Uint8Array.of(2, i >> 8, i));
      net.run(4);
    }
    net.settle({ quiet: 60_000 });
    expect([b.plane.received.length, a.plane.received.length]).toEqual([2000, 2000]);
    expect([a.plane.drops, b.plane.drops]).toEqual([{}, {}]);
    expectMovedOver(made, before);
  });

  test('a side that only listens is sent to on the new CHILD_SA as well', () => {
    const made = establishedPair({ link: { delay: 10 } });
    const { net, a, b } = made;
    a.reauthenticate();
    for (let i = 0; i < 400; i++) {
      b.sendTraffic(Uint8Array.of(i >> 8, i));
      net.run(20);
    }
    net.settle();
    expect(a.plane.received).toHaveLength(400);
    expect(new Set(a.plane.received.map(({ child }) => child)).size).toBe(2);
  });

  test('every child comes along', () => {
    const children = ['net', 'voice', 'backup'].map((name, i) =>
      childPolicy({ name, localTs: [subnet(`10.1.${i}.0/24`)], remoteTs: [subnet(`10.2.${i}.0/24`)] }),
    );
    const mirrored = children.map((child) => ({ ...child, localTs: child.remoteTs, remoteTs: child.localTs }));
    const { net, a, b } = establishedPair({ a: { connection: { children } }, b: { connection: { children: mirrored } } });
    const before = a.children.map(({ inboundSpi }) => inboundSpi);
    a.reauthenticate();
    net.settle({ quiet: 60_000 });
    expect(a.children.map(({ name }) => name).sort()).toEqual(['backup', 'net', 'voice']);
    expect(b.children).toHaveLength(3);
    for (const { inboundSpi } of a.children) expect(before).not.toContain(inboundSpi);
    for (const { name } of children) expectTrafficBothWays(net, a, b, { child: name, packets: 1 });
    expect([standing(a).length, standing(b).length]).toEqual([1, 1]);
    expectInvariants(net);
  });

  test('the address that was leased is asked for again, and stays leased', () => {
    const made = establishedPair({
      a: { connection: { virtualIps: ['0.0.0.0'] }, child: { localTs: ['dynamic'] } },
      b: { connection: { pools: ['pool'] }, child: { remoteTs: ['dynamic'] }, pool: ['10.1.0.7', '10.1.0.8'] },
    });
    const { net, a, b } = made;
    for (let i = 0; i < 3; i++) {
      const before = spis(a);
      a.reauthenticate();
      net.settle({ quiet: 60_000 });
      expect(standing(a)[0]!.assigned).toEqual(['10.1.0.7']);
      expect([...b.pool.lent.keys()]).toEqual(['10.1.0.7']);
      expectMovedOver(made, before);
    }
    a.deleteIke();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
  });

  test('behind a NAT it goes the way that is known to be open', () => {
    const made = establishedPair({ nat: {} });
    const before = spis(made.a);
    made.a.reauthenticate();
    made.net.settle({ quiet: 60_000 });
    expectMovedOver(made, before);
    expect(standing(made.a)[0]!.natOurs).toBe(true);
  });

  test('an attempt that fails leaves the old IKE SA as it is, and is repeated', () => {
    const made = fresh({ a: every(300) });
    const { net, a, b } = made;
    const before = spis(a);
    a.fault({ ask: 'authenticate', outcome: 'fail', times: 3 });
    net.until('three failures', () => a.heard('failed').length === 3, 600_000);
    expect(a.heard('failed')[0]!.what).toBe('authenticating net anew');
    expect(spis(a)).toEqual(before);
    expectTrafficBothWays(net, a, b);
    net.run(60_000);
    expectMovedOver(made, before);
  });

  test('a new IKE SA whose child is refused does not take the place of one that works', () => {
    const { net, a, b } = establishedPair();
    const before = spis(a);
    b.fault({ ask: 'install', outcome: 'fail' });
    a.reauthenticate();
    net.run(25_000);
    expect(spis(a)).toEqual(before);
    expect(spis(b)).toEqual(before);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('a peer that deletes the old IKE SA as soon as the new one stands costs nothing', () => {
    const made = establishedPair({ link: { delay: 20 }, a: { child: { closeAction: 'start' } } });
    const { net, a, b } = made;
    const before = spis(a);
    const [old] = standing(b);
    a.reauthenticate();
    net.until('both stand', () => b.plane.children.length === 2);
    b.deleteIke(old!.id);
    net.settle({ quiet: 60_000 });
    expectMovedOver(made, before);
    expect(a.heard('ike-up')).toHaveLength(2);
  });

  test.each(Array.from({ length: 40 }, (_, i) => i + 1))('crossing with rekeyings of either end, over a bad link, seed %i', (seed) => {
    const made = establishedPair({
      seed,
      link: { delay: 10, jitter: 60, loss: 0.1, duplicate: 0.1 },
      a: { child: { closeAction: 'start' } },
    });
    const { net, a, b } = made;
    const before = spis(a);
    a.reauthenticate();
    net.run(seed * 4);
    const of = (peer: Peer): IkeSaInfo | undefined => standing(peer).find(({ state }) => state === 'established');
    const rival = seed % 2 === 0 ? a : b;
    if (seed % 3 === 0) rival.rekeyIke(of(rival)!.id);
    else if (of(rival)!.children[0]?.state === 'installed') rival.rekeyChild(of(rival)!.children[0]!.id);
    net.settle({ quiet: 90_000 });
    made.a.host.setLink({ loss: 0 });
    expectMovedOver(made, before);
  });
});

describe('how long an authentication is good for (RFC 4478)', () => {
  test('D19 the responder says 30 s less than the initiator meant: it authenticates before that', () => {
    const made = fresh({ a: every(330), b: every(300) });
    const { net, a, b } = made;
    const before = spis(a);
    const began = net.now;
    net.until('the new IKE SA', () => standing(a).length === 2, 600_000);
    expect(net.now - began).toBeLessThan(300_000);
    expect(net.now - began).toBeGreaterThan(200_000);
    net.settle();
    expectMovedOver(made, before);
    expect(b.heard('ike-down').map(({ error }) => error?.code)).toEqual(['CLOSED_BY_PEER']);
  });

  test('it stands in the last message of IKE_AUTH, and only where the responder limits it', () => {
    for (const [seconds, said] of [
      [0, false],
      [300, true],
    ] as const) {
      const { b } = fresh({ b: every(seconds) });
      expect(tellsOfLifetime(new Insider(b).open(b.sent[1]!.data))).toBe(said);
    }
  });

  test('an initiator that does not follow is ended by the responder, not sooner and not much later', () => {
    const { net, a, b } = fresh({ b: every(100, { reauthGrace: 10_000 }) });
    a.fault({ ask: 'authenticate', outcome: 'fail', times: 1000 });
    net.run(105_000);
    expect(standing(b)).toHaveLength(1);
    expectTrafficBothWays(net, a, b, { packets: 1 });
    net.run(5000);
    expect([standing(a), standing(b)]).toEqual([[], []]);
    expect(b.heard('ike-down').at(-1)!.error!.code).toBe('REAUTHENTICATION_OVERDUE');
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
  });

  test('a rekeying of the IKE SA, by either end, is no authentication', () => {
    const made = fresh({ b: every(100) });
    const { net, a, b } = made;
    const before = spis(a);
    const began = net.now;
    for (const who of [a, b, a]) {
      net.run(20_000);
      who.rekeyIke(standing(who).find(({ state }) => state === 'established')!.id);
    }
    net.until('a new authentication', () => a.heard('ike-up').length === 2);
    expect(net.now - began).toBeLessThan(100_000);
    net.settle();
    expectMovedOver(made, before);
  });

  test.each(['a', 'b'] as const)('a restart of %s is none either', (who) => {
    const made = fresh({ b: every(100, { reauthGrace: 5000 }) });
    const { net, a, b } = made;
    net.run(50_000);
    (who === 'a' ? a : b).restart('snapshot');
    const before = spis(a);
    net.run(51_000);
    expectMovedOver(made, before);
  });

  test('a session that is resumed is as old as its authentication (RFC 5723)', () => {
    const resumption = { resumption: true, retransmission: { initial: 1000, base: 1.8, giveUp: 5000 } };
    const lifetimes = { ...never, reauth: 300_000, reauthGrace: 5000 };
    const { net, a, b } = fresh({
      connection: resumption,
      a: { child: { dpdAction: 'start' } },
      b: { connection: { ...resumption, lifetimes }, endpoint: { secret: new Uint8Array(32).fill(7) } },
    });
    const began = net.now;
    net.run(120_000);
    b.restart('nothing');
    a.checkLiveness();
    net.until('the client is back', () => standing(b).length === 1, 60_000);
    expect(b.ikeSas[0]!.resumed).toBe(true);
    net.until('a new authentication', () => a.heard('ike-reauthenticated').length === 1, 300_000);
    expect(net.now - began).toBeLessThan(300_000);
    net.settle({ quiet: 60_000 });
    // whole, not by the ticket
    expect([standing(a), standing(b)]).toMatchObject([[{ resumed: false }], [{ resumed: false }]]);
    expectTrafficBothWays(net, a, b);
  });

  test('the operator of a gateway demands one at once', () => {
    const made = establishedPair();
    const { net, a, b } = made;
    const before = spis(a);
    b.reauthenticate();
    net.exchange('b → a  INFORMATIONAL request { N(AUTH_LIFETIME) }');
    net.exchange('a → b  INFORMATIONAL response { }');
    net.exchange('a → b  IKE_SA_INIT request { ... }');
    net.settle();
    expectMovedOver(made, before);
  });

  test('over a simulated day, with both lifetimes, nothing but one set of SAs is ever left', () => {
    const hour = 3_600_000;
    const { net, a, b } = establishedPair({
      connection: { lifetimes: { rekey: 4 * hour, jitter: 0.4 * hour, hard: 4.4 * hour, reauth: 9 * hour } },
      child: { lifetimes: { ...childPolicy().lifetimes, rekey: hour, jitter: 0.1 * hour, hard: 1.1 * hour } },
    });
    for (let i = 0; i < 48; i++) {
      net.run(hour / 2);
      expectTrafficBothWays(net, a, b, { packets: 1 });
    }
    expect(a.heard('ike-reauthenticated')).toHaveLength(2);
    expect([a.ikeSas.length, a.children.length, b.ikeSas.length, b.children.length]).toEqual([1, 1, 1, 1]);
    expectInvariants(net);
  });
});

describe('AUTH_LIFETIME from hostile hands', () => {
  const said = (data: Uint8Array) => [{ kind: 'N', notify: NotifyType.AUTH_LIFETIME, protocol: 0, spi: new Uint8Array(0), data }] as const;
  const zero = new Uint8Array(4);

  test.each([0, 1, 3, 5, 8, 200])('%i octets are no lifetime, and change nothing', (octets) => {
    const { net, a, b } = establishedPair();
    a.inject(new Insider(b, 'responder').request(ExchangeType.INFORMATIONAL, 0, said(new Uint8Array(octets))), {
      ip: '198.51.100.2',
      port: 500,
    });
    net.run(60_000);
    expect(a.heard('ike-up')).toHaveLength(1);
    expectOneChild(a, b);
  });

  test('an initiator has no say: the responder does not act on it', () => {
    const { net, a, b } = establishedPair();
    b.inject(new Insider(a).request(ExchangeType.INFORMATIONAL, 2, said(zero)), { ip: '192.0.2.1', port: 500 });
    net.run(400_000);
    expect(standing(b)).toHaveLength(1);
    expect(b.heard('ike-up')).toHaveLength(1);
  });

  test('a responder that wants it again and again is followed at a bearable pace', () => {
    const made = fresh({});
    const { net, a, b } = made;
    for (let i = 0; i < 300; i++) {
      const current = standing(a)
        .filter(({ state }) => state === 'established')
        .at(-1);
      const messageId = net.transcript.messages.length;
      if (current)
        b.reauthenticate(
          standing(b)
            .filter(({ state }) => state === 'established')
            .at(-1)!.id,
        );
      net.run(200);
      expect(net.transcript.messages.length).toBeGreaterThanOrEqual(messageId);
    }
    expect(a.heard('ike-up').length).toBeGreaterThan(2);
    expect(a.heard('ike-up').length).toBeLessThanOrEqual(8);
    net.settle({ quiet: 60_000 });
    expect([standing(a).length, standing(b).length]).toEqual([1, 1]);
    expectTrafficBothWays(net, a, b);
  });

  test('a replayed demand is answered from memory', () => {
    const { net, a, b } = establishedPair();
    b.reauthenticate();
    net.settle({ quiet: 60_000 });
    const demand = b.sent.find(({ data }) => data[18] === ExchangeType.INFORMATIONAL)!;
    a.inject(demand.data, { ip: '198.51.100.2', port: 500 });
    net.run(60_000);
    expect(a.heard('ike-up')).toHaveLength(2);
  });
});

describe('how many IKE SAs one identity may have', () => {
  function devices(unique: Connection['unique'], count: number, theirs = unique): { net: Pair['net']; b: Peer; all: Peer[] } {
    const { net, b } = pair({ b: { connection: { unique, remoteAddresses: ['%any'] } } });
    const all = Array.from({ length: count }, (_, i) => {
      const address = `203.0.113.${i + 1}`;
      const child = childPolicy({ localTs: [subnet(`10.1.0.${i + 1}`)] });
      const connection = connectionPolicy({
        localAddresses: [address],
        remoteAddresses: ['198.51.100.2'],
        unique: theirs,
        children: [child],
      });
      return net.peer(`phone${i}`, address, { connections: [connection], identity: { id: fqdn('alice.example') } });
    });
    return { net, b, all };
  }
  const up = (net: Pair['net'], ...peers: Peer[]): void => {
    for (const peer of peers) {
      peer.initiate();
      net.settle({ quiet: 60_000 });
    }
  };

  test('two are permitted: the third is refused, and the first two stay', () => {
    const { net, b, all } = devices(2, 3);
    up(net, ...all);
    expect(all.map((peer) => standing(peer).length)).toEqual([1, 1, 0]);
    expect(standing(b)).toHaveLength(2);
    const { error } = b.heard('ike-down').at(-1)!;
    expect(error).toMatchObject({
      code: 'TOO_MANY_OF_ONE_IDENTITY',
      message: 'alice.example has 2 IKE SAs already, as many as net permits',
      hint: expect.stringMatching(/raise unique of net/),
    });
    expect(all[2]!.heard('failed')[0]!.error.code).toBe('PEER_AUTHENTICATION_FAILED');
  });

  test('one that is dead keeps nobody out for long', () => {
    const { net, b, all } = devices(1, 2);
    up(net, all[0]!);
    all[0]!.host.setLink({ cut: true });
    up(net, all[1]!);
    expect(standing(all[1]!)).toEqual([]);
    net.run(70_000);
    up(net, all[1]!);
    expect(standing(all[1]!)).toHaveLength(1);
    expect(standing(b)).toHaveLength(1);
  });

  test('a device that lost its memory takes its own place, not that of another one (INITIAL_CONTACT)', () => {
    const { net, b, all } = devices(2, 2);
    up(net, ...all);
    all[0]!.restart('nothing');
    up(net, all[0]!);
    expect(
      standing(b)
        .map(({ remote }) => remote.ip)
        .sort(),
    ).toEqual(['203.0.113.1', '203.0.113.2']);
    expect(all.map((peer) => standing(peer).length)).toEqual([1, 1]);
  });

  test('at the limit a device may still authenticate anew', () => {
    const { net, b, all } = devices(2, 2);
    up(net, ...all);
    all[1]!.reauthenticate();
    net.settle({ quiet: 60_000 });
    expect(standing(b)).toHaveLength(2);
    expect(all.map((peer) => standing(peer).length)).toEqual([1, 1]);
    expect(all[1]!.heard('ike-reauthenticated')).toHaveLength(1);
  });

  test('replace: the second device takes the place of the first', () => {
    const { net, b, all } = devices('replace', 2);
    up(net, ...all);
    expect(standing(b).map(({ remote }) => remote.ip)).toEqual(['203.0.113.2']);
  });

  test('never: all of them stay, whatever they say', () => {
    const { net, b, all } = devices('never', 3);
    up(net, ...all);
    expect(standing(b)).toHaveLength(3);
  });

  test('replace: an old IKE SA that nobody deletes goes some seconds after the new one came from the same address', () => {
    const { net, b, all } = devices('replace', 1, 'keep');
    const [phone] = all;
    up(net, phone!);
    phone!.initiate();
    net.until('the second', () => standing(b).length === 2);
    const [older] = standing(b);
    phone!.forgetIke(standing(phone!)[0]!.id);
    net.settle({ quiet: 60_000 });
    expect(standing(b).map(({ id }) => id)).not.toContain(older!.id);
    expect(standing(b)).toHaveLength(1);
  });
});
