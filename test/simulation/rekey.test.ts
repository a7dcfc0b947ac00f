import { describe, expect, test } from 'vitest';
import {
  type CrossingNonce,
  childPolicy,
  espProposal,
  establishedPair,
  expectInvariants,
  expectOneChild,
  expectTrafficBothWays,
  ikeProposal,
  lowestIs,
  otherExchange,
  type Pair,
  subnet,
} from '../../src/testing/index.ts';

const LOWEST: readonly CrossingNonce[] = ['a.Ni', 'a.Nr', 'b.Ni', 'b.Nr'];

describe('rekeying a CHILD_SA (RFC 7296 §1.3.3, §2.8)', () => {
  test.each(['a', 'b'] as const)('begun by %s', (who) => {
    const made = establishedPair();
    const { net, a, b } = made;
    const [from, to] = who === 'a' ? [a, b] : [b, a];
    const old = from.children[0]!;
    from.rekeyChild();
    net.chart(`
      ${from.name} → ${to.name}  CREATE_CHILD_SA request  { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }
      ${to.name} → ${from.name}  CREATE_CHILD_SA response { SA, KE, Nr, TSi, TSr, ... }
      ${from.name} → ${to.name}  INFORMATIONAL request  { D }
      ${to.name} → ${from.name}  INFORMATIONAL response { D }
    `);
    net.settle();
    expectOneChild(a, b).bornIn(who);
    expect(from.children[0]!.inboundSpi).not.toBe(old.inboundSpi);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('D02 no packet is lost while it happens', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20, jitter: 15 } });
    const sent = { a: 0, b: 0 };
    const talk = (): void => {
      for (const peer of [a, b]) {
        peer.sendTraffic(Uint8Array.of(1, 2, 3, sent[peer.name as 'a']++));
      }
      if (sent.a < 300) net.internet.clock.after(3, talk);
    };
    talk();
    for (const who of [a, b, a]) {
      who.rekeyChild();
      net.run(250);
    }
    net.settle();
    expect(b.plane.received).toHaveLength(sent.a);
    expect(a.plane.received).toHaveLength(sent.b);
    expect(a.plane.drops).toEqual({});
    expect(b.plane.drops).toEqual({});
    expect(new Set(b.plane.received.map((packet) => packet.child)).size).toBe(4);
    expectInvariants(net);
  });

  test('D02 the old inbound SA goes after the grace and no sooner; what comes counts on the new SPI', () => {
    const { net, a, b } = establishedPair({ link: { delay: 20 } });
    const [old] = b.plane.children;
    const late = a.plane.seal(a.plane.children[0]!.id, Uint8Array.of(7));
    a.rekeyChild();
    net.run(4000);
    expect(b.plane.children.map(({ id, sending }) => [id === old!.id, sending])).toEqual([
      [true, false],
      [false, true],
    ]);
    // overtaken by the Delete, and still welcome
    b.host.receive({ protocol: 'esp', source: { ip: '192.0.2.1', port: 0 }, destination: { ip: '198.51.100.2', port: 0 }, data: late });
    expect(b.plane.received.map(({ child }) => child)).toEqual([old!.id]);
    const counted = old!.inbound.packets;
    expectTrafficBothWays(net, a, b);
    const [successor] = b.plane.children.filter(({ id }) => id !== old!.id);
    expect([old!.inbound.packets, successor!.inbound.packets]).toEqual([counted, 3]);
    net.run(2000);
    expectOneChild(a, b);
  });

  test('PFS: another key exchange method than the responder takes is corrected by INVALID_KE_PAYLOAD (D32)', () => {
    const { net, a, b } = establishedPair({
      a: { child: { proposals: [espProposal('aes128gcm16-x25519-ecp256')], pfs: 'require' } },
      b: { child: { proposals: [espProposal('aes128gcm16-ecp256')], pfs: 'require' } },
    });
    a.rekeyChild();
    net.chart(`
      a → b  CREATE_CHILD_SA request  { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }
      b → a  CREATE_CHILD_SA response { N(INVALID_KE_PAYLOAD) }
      a → b  CREATE_CHILD_SA request  { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }
      b → a  CREATE_CHILD_SA response { SA, KE, Nr, TSi, TSr, ... }
    `);
    net.settle();
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('without PFS where neither side wants it', () => {
    const { net, a, b } = establishedPair({ child: { proposals: [espProposal('aes128gcm16')], pfs: 'off' } });
    a.rekeyChild();
    net.exchange('a → b  CREATE_CHILD_SA request  { N(REKEY_SA), SA, Ni, TSi, TSr }');
    net.exchange('b → a  CREATE_CHILD_SA response { SA, Nr, TSi, TSr }');
    net.settle();
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('by time: the soft lifetime begins it, before the hard one ends the SA', () => {
    const lifetimes = { rekey: 60_000, jitter: 6000, hard: 66_000, rekeyBytes: 0, hardBytes: 0, rekeyPackets: 0, hardPackets: 0 };
    const { net, a, b } = establishedPair({ child: { lifetimes } });
    const first = a.children[0]!.inboundSpi;
    for (let minute = 0; minute < 10; minute++) {
      net.run(60_000);
      expectTrafficBothWays(net, a, b);
    }
    expect(a.children).toHaveLength(1);
    expect(a.children[0]!.inboundSpi).not.toBe(first);
    expect(a.heard('child-rekeyed').length).toBeGreaterThanOrEqual(9);
    expect(a.heard('child-rekeyed').length).toBeLessThanOrEqual(14);
    expectInvariants(net);
  });

  test('by bytes: what the data plane reports as soft expiry begins it', () => {
    const { net, a, b } = establishedPair();
    a.observe({ kind: 'soft-expire', child: a.children[0]!.id });
    net.settle();
    expectOneChild(a, b).bornIn('a');
  });

  test('a hard expiry ends the CHILD_SA on both ends', () => {
    const { net, a, b } = establishedPair();
    a.observe({ kind: 'hard-expire', child: a.children[0]!.id });
    net.settle();
    expect([a.plane.children, b.plane.children]).toEqual([[], []]);
    expect([a.established.length, b.established.length]).toEqual([1, 1]);
  });
});

describe('both ends rekey the CHILD_SA at once (RFC 7296 §2.8.1)', () => {
  test.each(LOWEST)('the lowest nonce is %s', (lowest) => {
    const { net, a, b } = establishedPair({ nonces: lowestIs(lowest), link: { delay: 10 } });
    a.rekeyChild();
    b.rekeyChild();
    net.exchange('a → b  CREATE_CHILD_SA request { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }');
    net.exchange('b → a  CREATE_CHILD_SA request { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }');
    net.settle();
    expectOneChild(a, b).bornIn(otherExchange(lowest));
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each(Array.from({ length: 60 }, (_, i) => i + 1))('with loss, delay and disorder, seed %i', (seed) => {
    const { net, a, b } = establishedPair({ seed, link: { delay: 10, jitter: 60, loss: 0.15, duplicate: 0.1 } });
    a.rekeyChild();
    net.run(seed % 5 === 0 ? 0 : seed * 2);
    // By then the first may be over, and the child is another one.
    if (b.children.length === 1) b.rekeyChild();
    net.settle();
    expectOneChild(a, b);
    expectTrafficLossy(net, a, b);
    expectInvariants(net);
  });
});

describe('rekeying the IKE SA (RFC 7296 §1.3.2, §2.18)', () => {
  test.each(['a', 'b'] as const)('begun by %s: children move over, Message IDs begin anew', (who) => {
    const { net, a, b } = establishedPair();
    const [from, to] = who === 'a' ? [a, b] : [b, a];
    const child = a.children[0]!;
    from.rekeyIke();
    net.chart(`
      ${from.name} → ${to.name}  CREATE_CHILD_SA request  { SA, KE, Ni, ... }
      ${to.name} → ${from.name}  CREATE_CHILD_SA response { SA, KE, Nr, ... }
      ${from.name} → ${to.name}  INFORMATIONAL request  { D }
      ${to.name} → ${from.name}  INFORMATIONAL response { }
    `);
    net.settle({ quiet: 60_000 });
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    expect(a.children[0]!.inboundSpi).toBe(child.inboundSpi);
    expect(from.ikeSas[0]!.role).toBe('initiator');
    expect(to.ikeSas[0]!.role).toBe('responder');
    expectTrafficBothWays(net, a, b);
    net.skip();
    to.rekeyChild();
    net.exchange(`${to.name} → ${from.name}  CREATE_CHILD_SA request 0 { N(REKEY_SA), ... }`);
    net.settle();
    expectOneChild(a, b);
    expectInvariants(net);
  });

  test('ten times in a row, from alternate sides, with a child rekey between', () => {
    const { net, a, b } = establishedPair();
    for (let i = 0; i < 10; i++) {
      (i % 2 === 0 ? a : b).rekeyIke();
      net.settle({ quiet: 60_000 });
      (i % 3 === 0 ? a : b).rekeyChild();
      net.settle({ quiet: 60_000 });
      expectOneChild(a, b);
      expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    }
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each(LOWEST)('both ends at once, the lowest nonce is %s (§2.8.2)', (lowest) => {
    const { net, a, b } = establishedPair({ nonces: lowestIs(lowest), link: { delay: 10 } });
    a.rekeyIke();
    b.rekeyIke();
    net.exchange('a → b  CREATE_CHILD_SA request { SA, KE, Ni, ... }');
    net.exchange('b → a  CREATE_CHILD_SA request { SA, KE, Ni, ... }');
    net.settle({ quiet: 60_000 });
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    expect(a.ikeSas[0]!.spiI).toEqual(b.ikeSas[0]!.spiI);
    // Whoever began the exchange that stays is the initiator of the new IKE SA.
    expect(a.ikeSas[0]!.role).toBe(otherExchange(lowest) === 'a' ? 'initiator' : 'responder');
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each(Array.from({ length: 60 }, (_, i) => i + 1))(
    'crossing with a rekey of the child, with loss and disorder, seed %i (§2.25)',
    (seed) => {
      const { net, a, b } = establishedPair({ seed, link: { delay: 10, jitter: 60, loss: 0.15, duplicate: 0.1 } });
      a.rekeyIke();
      net.run(seed % 7 === 0 ? 0 : seed);
      if (b.children.length === 1) b.rekeyChild();
      net.settle({ quiet: 60_000 });
      expectOneChild(a, b);
      expect([a.established.length, b.established.length]).toEqual([1, 1]);
      expectTrafficLossy(net, a, b);
      expectInvariants(net);
    },
  );

  test('PFS groups: the IKE rekey may choose another method of the policy', () => {
    const { net, a, b } = establishedPair({
      a: { connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-x25519-ecp384')] } },
      b: { connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-ecp384')] } },
    });
    a.rekeyIke();
    net.settle({ quiet: 60_000 });
    expect(a.ikeSas.map((sa) => sa.suite)).toEqual([expect.stringContaining('ecp384')]);
    expectTrafficBothWays(net, a, b);
  });

  test('by time, over a simulated day, with traffic that never stops', () => {
    const hours = 3_600_000;
    const { net, a, b } = establishedPair({
      connection: { lifetimes: { rekey: 4 * hours, jitter: 0.4 * hours, hard: 4.4 * hours, reauth: 0 } },
      child: {
        lifetimes: { rekey: hours, jitter: 0.1 * hours, hard: 1.1 * hours, rekeyBytes: 0, hardBytes: 0, rekeyPackets: 0, hardPackets: 0 },
      },
    });
    for (let i = 0; i < 48; i++) {
      net.run(hours / 2);
      expectTrafficBothWays(net, a, b, { packets: 1 });
    }
    expect(a.heard('ike-rekeyed').length).toBeGreaterThanOrEqual(5);
    expect(a.heard('child-rekeyed').length).toBeGreaterThanOrEqual(20);
    expect([a.ikeSas.length, a.children.length, b.ikeSas.length, b.children.length]).toEqual([1, 1, 1, 1]);
    expectInvariants(net);
  });
});

describe('more than one child', () => {
  const children = ['net', 'voice', 'backup'].map((name, i) =>
    childPolicy({ name, localTs: [subnet(`10.1.${i}.0/24`)], remoteTs: [subnet(`10.2.${i}.0/24`)] }),
  );
  const mirrored = children.map((child) => ({ ...child, localTs: child.remoteTs, remoteTs: child.localTs }));
  const three = (): Pair => establishedPair({ a: { connection: { children } }, b: { connection: { children: mirrored } } });

  test('D26 three children on one IKE SA, each with SPIs of its own', () => {
    const { net, a, b } = three();
    expect(a.children.map((child) => child.name).sort()).toEqual(['backup', 'net', 'voice']);
    expect(new Set(a.children.map((child) => child.inboundSpi)).size).toBe(3);
    for (const { name } of children) expectTrafficBothWays(net, a, b, { child: name, packets: 1 });
    expectInvariants(net);
  });

  test('all rekeyed at once from both ends, and the IKE SA too', () => {
    const { net, a, b } = three();
    for (const child of a.children) a.rekeyChild(child.id);
    for (const child of b.children) b.rekeyChild(child.id);
    a.rekeyIke();
    net.settle({ quiet: 60_000 });
    expect(a.children.map((child) => child.name).sort()).toEqual(['backup', 'net', 'voice']);
    expect(b.children).toHaveLength(3);
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    for (const { name } of children) expectTrafficBothWays(net, a, b, { child: name, packets: 1 });
    expectInvariants(net);
  });

  test('D05 childless: the first child comes by CREATE_CHILD_SA with a key exchange of its own', () => {
    const { net, a, b } = establishedPair({ connection: { childless: 'force' } });
    expectOneChild(a, b);
    const auth = net.transcript.messages.find((message) => message.summary.startsWith('IKE_AUTH request'))!;
    expect(auth.summary).not.toMatch(/TSi/);
    expect(net.transcript.messages.some((message) => /^CREATE_CHILD_SA request \d+ {2}\{ .*KEi/.test(message.summary))).toBe(true);
    expectTrafficBothWays(net, a, b);
  });
});

/** On a lossy link single packets vanish; that most arrive shows that the keys agree. */
function expectTrafficLossy(net: Pair['net'], a: Pair['a'], b: Pair['b']): void {
  a.host.setLink({ loss: 0 });
  expectTrafficBothWays(net, a, b);
}
