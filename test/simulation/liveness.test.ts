import { describe, expect, test } from 'vitest';
import { fromUtf8, utf8 } from '../../src/core/bytes/index.ts';
import { establishedPair, expectInvariants, expectNothingLeft, expectOneChild, expectTrafficBothWays } from '../../src/testing/index.ts';

describe('deletion (RFC 7296 §1.4.1)', () => {
  test.each(['a', 'b'] as const)('D51 of a CHILD_SA, from %s: the answer carries the other direction, both go, the IKE SA stays', (who) => {
    const { net, a, b } = establishedPair();
    const [from, to] = who === 'a' ? [a, b] : [b, a];
    from.deleteChild();
    net.chart(`
      ${from.name} → ${to.name}  INFORMATIONAL request  { D }
      ${to.name} → ${from.name}  INFORMATIONAL response { D }
    `);
    net.settle({ quiet: 60_000 });
    expect([a.plane.children, b.plane.children]).toEqual([[], []]);
    expect([a.established.length, b.established.length]).toEqual([1, 1]);
    from.createChild('net');
    net.settle();
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each(['a', 'b'] as const)('of the IKE SA, from %s: everything goes', (who) => {
    const { net, a, b } = establishedPair();
    const [from, to] = who === 'a' ? [a, b] : [b, a];
    from.deleteIke();
    net.chart(`
      ${from.name} → ${to.name}  INFORMATIONAL request  { D }
      ${to.name} → ${from.name}  INFORMATIONAL response { }
    `);
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
    expectInvariants(net);
  });

  test('both ends delete the CHILD_SA at once: the answers name nothing more (§1.4.1)', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    a.deleteChild();
    b.deleteChild();
    net.chart(`
      a → b  INFORMATIONAL request { D }
      b → a  INFORMATIONAL request { D }
    `);
    net.settle({ quiet: 60_000 });
    expect([a.plane.children, b.plane.children]).toEqual([[], []]);
    expect(net.transcript.messages.filter((m) => /^INFORMATIONAL response \d+ {2}\{ \}$/.test(m.summary))).toHaveLength(2);
  });

  test('of two Deletes that cross the outgoing half goes with the request and the incoming half with the response (§1.4.1)', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    a.deleteChild();
    b.deleteChild();
    net.run(10);
    for (const peer of [a, b]) expect(peer.sendTraffic(utf8('under way'))).toBe(true);
    net.run(20);
    for (const peer of [a, b]) {
      expect(peer.plane.children.map(({ sending }) => sending)).toEqual([false]);
      expect(peer.sendTraffic(utf8('too late'))).toBe(false);
    }
    net.settle({ quiet: 60_000 });
    for (const peer of [a, b]) {
      expect(peer.plane.received.map(({ payload }) => fromUtf8(payload))).toEqual(['under way']);
      expect([peer.plane.drops, peer.plane.children]).toEqual([{}, []]);
    }
    expectInvariants(net);
  });

  test('a half is received on until the Delete of it is answered, however long that takes and whatever replaces it (§1.4.1)', () => {
    const { net, a, b } = establishedPair({ connection: { retransmission: { initial: 1000, base: 1.8, giveUp: 300_000 } } });
    const [old] = a.plane.children;
    let asked = 0;
    const undo = net.internet.core.intercept(({ protocol, source }) =>
      protocol === 'udp' && source.ip === '198.51.100.2' && asked++ > 0 ? [] : undefined,
    );
    b.rekeyChild();
    net.until('b has both', () => b.plane.children.length === 2);
    // which proves to a that b has the new one
    expect(b.sendTraffic(utf8('on the new one'))).toBe(true);
    net.run(1000);
    expect(a.plane.received).toHaveLength(1);
    a.deleteChild(old!.id);
    net.run(100_000);
    expect(a.plane.children.map(({ id }) => id)).toContain(old!.id);
    undo();
    net.settle({ quiet: 200_000 });
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('both ends delete the IKE SA at once', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    a.deleteIke();
    b.deleteIke();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
  });

  test.each([0, 5, 15, 25, 35])('a deletes the CHILD_SA while b rekeys it, %i ms later (§2.25.1)', (later) => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    a.deleteChild();
    net.run(later);
    if (b.children.some((child) => child.state === 'installed')) b.rekeyChild();
    net.settle({ quiet: 60_000 });
    expect(a.children.length, net.describe()).toBe(b.children.length);
    expect([a.plane.children.length, b.plane.children.length]).toEqual([a.children.length, b.children.length]);
    expect([a.established.length, b.established.length]).toEqual([1, 1]);
    expectInvariants(net);
  });

  test.each([0, 5, 15, 25, 35])('a deletes the IKE SA while b rekeys it, %i ms later (§2.25.2)', (later) => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    a.deleteIke();
    net.run(later);
    if (b.established.some((sa) => sa.state === 'established')) b.rekeyIke();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
    expectInvariants(net);
  });

  test.each([0, 10, 20, 30, 45, 60])('b deletes the IKE SA while a rekeys the CHILD_SA, %i ms later', (later) => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    a.rekeyChild();
    net.run(later);
    b.deleteIke();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
  });
});

describe('dead peer detection (RFC 7296 §2.4)', () => {
  const liveness = { connection: { liveness: { delay: 30_000 }, retransmission: { initial: 1000, base: 1.8, giveUp: 30_000 } } };

  test('an idle IKE SA is asked after the delay, and stays', () => {
    const { net, a, b } = establishedPair({ a: liveness });
    net.run(100_000);
    const probes = net.unread.filter((m) => m.from === 'a' && /^INFORMATIONAL request \d+ {2}\{ \}$/.test(m.summary));
    expect(probes.length).toBeGreaterThanOrEqual(2);
    expect(probes.length).toBeLessThanOrEqual(4);
    expectOneChild(a, b);
  });

  test('traffic that comes in spares the question', () => {
    const { net, b } = establishedPair({ a: liveness });
    for (let i = 0; i < 20; i++) {
      b.sendTraffic(Uint8Array.of(i));
      net.run(10_000);
    }
    expect(net.unread).toEqual([]);
  });

  test('D03 a cut path: after the retransmissions both ends have nothing left', () => {
    const { net, a, b } = establishedPair(liveness);
    const began = net.now;
    a.host.setLink({ cut: true });
    net.until('a and b notice', () => a.ikeSas.length + b.ikeSas.length === 0, 120_000);
    expect(net.now - began).toBeLessThan(30_000 + 30_000 + 2000);
    expectNothingLeft(a, b);
    expect(a.heard('ike-down')[0]?.error?.name).toBe('TimedOut');
  });

  test('a cut that ends in time is survived', () => {
    const { net, a, b } = establishedPair(liveness);
    net.run(25_000);
    a.host.setLink({ cut: true });
    net.run(20_000);
    a.host.setLink({ cut: false });
    net.run(60_000);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('D04 dpdAction start: the initiator comes back when the path does', () => {
    const { net, a, b } = establishedPair({ a: { ...liveness, child: { dpdAction: 'start' } }, b: liveness });
    a.host.setLink({ cut: true });
    net.run(200_000);
    expect(b.ikeSas).toEqual([]);
    a.host.setLink({ cut: false });
    net.until('a is back', () => a.plane.children.length === 1 && b.plane.children.length === 1, 300_000);
    expectTrafficBothWays(net, a, b);
  });

  test('an operator’s question is asked at once', () => {
    const { net, a } = establishedPair();
    a.checkLiveness();
    net.exchange('a → b  INFORMATIONAL request { }');
    net.exchange('b → a  INFORMATIONAL response { }');
  });
});

describe('a peer that lost its memory', () => {
  test('D41 it comes back with INITIAL_CONTACT: the old SAs go, one set stays', () => {
    const { net, a, b } = establishedPair();
    a.restart('nothing');
    a.initiate();
    net.settle({ quiet: 60_000 });
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('the other end, which noticed nothing, finds out by its next request', () => {
    const { net, a, b } = establishedPair();
    b.restart('nothing');
    a.checkLiveness();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
  });

  test('restart with a snapshot: nobody notices, and no IV, sequence number or Message ID is used again', () => {
    const { net, a, b } = establishedPair();
    expectTrafficBothWays(net, a, b, { packets: 20 });
    for (const who of [a, b, a]) {
      who.restart('snapshot');
      net.settle();
      expectTrafficBothWays(net, a, b);
      who.rekeyChild();
      net.settle({ quiet: 60_000 });
      expectOneChild(a, b);
      who.rekeyIke();
      net.settle({ quiet: 60_000 });
    }
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('restart with a snapshot in the middle of an exchange', () => {
    for (const wait of [0, 10, 25, 45, 65]) {
      const { net, a, b } = establishedPair({ link: { delay: 20 } });
      a.rekeyChild();
      net.run(wait);
      a.restart('snapshot');
      net.settle({ quiet: 120_000 });
      a.checkLiveness(a.ikeSas.find((sa) => sa.establishedAt !== undefined)!.id);
      net.settle({ quiet: 120_000 });
      expectTrafficBothWays(net, a, b);
      expectInvariants(net);
    }
  });
});
