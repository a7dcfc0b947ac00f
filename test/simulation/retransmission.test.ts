import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/core/bytes/index.ts';
import { establishedPair, expectInvariants, expectOneChild, expectTrafficBothWays, type Peer, pair } from '../../src/testing/index.ts';

/** Datagrams of one peer by Message ID and direction, as hex. */
const copiesOf = (peer: Peer, exchange: number): string[] =>
  peer.sent.filter(({ data }) => data[18] === exchange).map(({ data }) => toHex(data));

describe('retransmission (RFC 7296 §2.1)', () => {
  test('D45 a request is repeated to the octet, with growing waits, and no more once answered', () => {
    const { net, a } = pair();
    let silent = true;
    net.internet.core.intercept((packet) => (silent && packet.source.ip === '198.51.100.2' ? [] : undefined));
    a.initiate();
    net.run(20_000);
    const times = net.internet.capture.packets.filter((entry) => entry.packet.source.ip === '192.0.2.1').map((entry) => entry.at);
    const waits = times.slice(1).map((at, i) => at - times[i]!);
    expect(waits).toHaveLength(4);
    waits.forEach((wait, i) => {
      if (i > 0) expect(wait / waits[i - 1]!).toBeGreaterThan(1.2);
    });
    expect(new Set(copiesOf(a, 34)).size).toBe(1);
    silent = false;
    net.settle({ quiet: 60_000 });
    expect(new Set(copiesOf(a, 34)).size).toBe(1);
    const after = copiesOf(a, 34).length;
    net.run(100_000);
    expect(copiesOf(a, 34)).toHaveLength(after);
  });

  test('so is a protected one: the IV too is the same', () => {
    const { net, a } = establishedPair();
    net.internet.core.intercept((packet) => (packet.source.ip === '198.51.100.2' ? [] : undefined));
    a.rekeyChild();
    net.run(12_000);
    const copies = copiesOf(a, 36);
    expect(copies.length).toBeGreaterThanOrEqual(4);
    expect(new Set(copies).size).toBe(1);
  });

  test('D28 every request comes twice: the same stored answer each time, one state', () => {
    const made = pair({ link: { duplicate: 1, jitter: 80 } });
    const { net, a, b } = made;
    a.initiate();
    net.settle();
    for (const exchange of [34, 35]) {
      const answers = copiesOf(b, exchange);
      // §2.1: a copy of IKE_SA_INIT that comes after IKE_AUTH is ignored
      expect(answers.length, `exchange ${exchange}`).toBeGreaterThanOrEqual(exchange === 34 ? 1 : 2);
      expect(new Set(answers).size, net.describe()).toBe(1);
    }
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    b.rekeyChild();
    a.rekeyIke();
    net.settle({ quiet: 60_000 });
    expectOneChild(a, b);
    expect(net.transcript.messages.filter((m) => m.summary.includes('INVALID_MESSAGE_ID'))).toEqual([]);
    expectInvariants(net);
  });

  test('an old request that comes again after the next one is not answered anew', () => {
    const { net, a, b } = establishedPair();
    a.checkLiveness();
    net.settle();
    const old = a.sent.at(-1)!;
    a.checkLiveness();
    net.settle();
    const before = b.sent.length;
    b.inject(old.data.slice(), { ip: '192.0.2.1', port: 500 });
    net.settle();
    expect(b.sent.length).toBe(before);
    expectTrafficBothWays(net, a, b);
  });

  test.each([50_000, 100_000])(
    'the answer to an IKE rekeying is there for as long as it may be asked for: none came through for %d ms',
    (outage) => {
      const { net, a, b } = establishedPair({ connection: { retransmission: { initial: 1000, base: 1.8, giveUp: 165_000 } } });
      let silent = true;
      net.internet.core.intercept(({ source }) => (silent && source.ip === '198.51.100.2' ? [] : undefined));
      a.rekeyIke();
      net.run(outage);
      silent = false;
      net.run(165_000);
      expect(a.heard('ike-down'), net.describe()).toMatchObject([{ reason: 'rekeyed', error: undefined }]);
      expect([a.ikeSas.length, b.ikeSas.length], net.describe()).toEqual([1, 1]);
      expectOneChild(a, b);
      expectTrafficBothWays(net, a, b);
      expectInvariants(net);
    },
  );

  test('a request beyond the window is dropped: nothing changes', () => {
    const { net, a, b } = establishedPair();
    const held: Uint8Array[] = [];
    const undo = net.internet.core.intercept((packet) => {
      if (packet.source.ip !== '192.0.2.1') return undefined;
      held.push(packet.data);
      return [];
    });
    a.checkLiveness();
    net.run(0);
    undo();
    // Message ID 9 in place of 2: also the ICV is wrong then, but the ID is looked at first.
    const forged = held[0]!.slice();
    forged[23] = 9;
    b.inject(forged, { ip: '192.0.2.1', port: 500 });
    net.settle({ quiet: 60_000 });
    expect(b.drops).toMatchObject({ 'outside-window': 1 });
    expectOneChild(a, b);
  });

  test('an answer nobody waits for is dropped', () => {
    const { net, a, b } = establishedPair();
    a.checkLiveness();
    net.settle();
    const answer = b.sent.at(-1)!;
    a.inject(answer.data.slice(), { ip: '198.51.100.2', port: 500 });
    net.settle();
    expect(Object.values(a.drops).reduce((sum, n) => sum + n, 0)).toBe(1);
    expectOneChild(a, b);
  });
});

describe('answers of the world that are slow, missing or bad', () => {
  test('a slow signature: copies of the request meanwhile are dropped and counted, then one answer goes out', () => {
    const { net, a, b } = pair();
    b.fault({ ask: 'verify', outcome: 'late', delay: 5000 });
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expect(new Set(copiesOf(b, 35)).size).toBe(1);
    expect(b.drops['request-in-progress']).toBeGreaterThanOrEqual(2);
  });

  const silentAsks = [
    ['a', 'authenticate'],
    ['a', 'install'],
    ['b', 'authenticate'],
    ['b', 'verify'],
    ['b', 'authorise'],
    ['b', 'install'],
  ] as const;
  test.each(silentAsks)('on %s, %s never answers: the exchange ends by its deadline, nothing hangs', (side, ask) =>
    expectNoChild(side, ask),
  );
  test('on a, verify never answers: b hears of it', () => expectNoChild('a', 'verify'));

  function expectNoChild(side: 'a' | 'b', ask: 'authenticate' | 'verify' | 'authorise' | 'install'): void {
    const { net, a, b } = pair();
    (side === 'a' ? a : b).fault({ ask, outcome: 'never', times: 100 });
    a.initiate();
    net.settle({ quiet: 120_000 });
    net.run(200_000);
    expect([a.plane.children.length, b.plane.children.length], net.describe()).toEqual([0, 0]);
    expectInvariants(net);
  }

  test('a CHILD_SA that the responder’s data plane refuses: NO_ADDITIONAL_SAS or TEMPORARY_FAILURE, the initiator installs nothing', () => {
    const { net, a, b } = establishedPair();
    b.fault({ ask: 'install', outcome: 'fail' });
    a.rekeyChild();
    net.exchange('a → b  CREATE_CHILD_SA request { N(REKEY_SA), ... }');
    const answer = net.exchange('b → a  CREATE_CHILD_SA response { ... }');
    expect(answer.summary).toMatch(/N\((NO_ADDITIONAL_SAS|TEMPORARY_FAILURE)\)/);
    net.settle({ quiet: 60_000 });
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('a CHILD_SA that the initiator’s data plane refuses is deleted on the responder as well', () => {
    const { net, a, b } = establishedPair();
    a.fault({ ask: 'install', outcome: 'fail' });
    a.rekeyChild();
    net.settle({ quiet: 60_000 });
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('an answer that comes after its deadline changes nothing', () => {
    const { net, a, b } = pair();
    b.fault({ ask: 'verify', outcome: 'late', delay: 400_000 });
    a.initiate();
    net.settle({ quiet: 500_000 });
    expect([a.plane.children, b.plane.children]).toEqual([[], []]);
    expectInvariants(net);
  });
});
