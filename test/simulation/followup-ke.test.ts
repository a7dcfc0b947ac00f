import { describe, expect, test } from 'vitest';
import {
  type CrossingNonce,
  espProposal,
  establishedPair,
  expectInvariants,
  expectOneChild,
  expectTrafficBothWays,
  ikeProposal,
  lowestIs,
  type Net,
  otherExchange,
  type Pair,
  type PairOptions,
  type Peer,
} from '../../src/testing/index.ts';

const IKE = 'aes256gcm16-prfsha384-x25519-ke1_mlkem512-ke2_ecp256';
const ESP = 'aes128gcm16-x25519-ke1_mlkem512-ke2_ecp256';
const LOWEST: readonly CrossingNonce[] = ['a.Ni', 'a.Nr', 'b.Ni', 'b.Nr'];
const FOLLOWUP = 44;

const hybrid = (more: PairOptions = {}): PairOptions => ({
  ...more,
  connection: { proposals: [ikeProposal(IKE)], ...more.connection },
  child: { proposals: [espProposal(ESP)], ...more.child },
});

const ends = ({ a, b }: Pair, who: 'a' | 'b'): [Peer, Peer] => (who === 'a' ? [a, b] : [b, a]);

/** Each end has one IKE SA, under the same SPIs, with one child and the whole suite. */
function expectOneIkeSa({ net, a, b }: Pair): void {
  net.run(60_000);
  expect(a.ikeSas).toHaveLength(1);
  expect(b.ikeSas).toHaveLength(1);
  expect(a.ikeSas[0]!.spiI).toEqual(b.ikeSas[0]!.spiI);
  for (const peer of [a, b]) expect(peer.ikeSas[0]!.suite).toBe('aes256gcm16/prfsha384/x25519/ke1_mlkem512/ke2_ecp256');
  expectOneChild(a, b);
  expectTrafficBothWays(net, a, b);
  expectInvariants(net);
}

const followUps = (net: Net, from: Peer): number =>
  net.transcript.messages.filter((m) => m.from === from.name && m.summary.startsWith('IKE_FOLLOWUP_KE request')).length;

describe('rekeying with additional key exchanges (RFC 9370 §2.2.4)', () => {
  test.each(['a', 'b'] as const)('a CHILD_SA, begun by %s: it changes places when the last follow-up is answered', (who) => {
    const made = establishedPair(hybrid());
    const { net, a, b } = made;
    const [from, to] = ends(made, who);
    const old = from.children[0]!;
    from.rekeyChild();
    net.chart(`
      ${from.name} → ${to.name}  CREATE_CHILD_SA request  { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }
      ${to.name} → ${from.name}  CREATE_CHILD_SA response { SA, KE, Nr, TSi, TSr, N(ADDITIONAL_KEY_EXCHANGE) }
      ${from.name} → ${to.name}  IKE_FOLLOWUP_KE request { KE, N(ADDITIONAL_KEY_EXCHANGE) }
      ${to.name} → ${from.name}  IKE_FOLLOWUP_KE response { KE, N(ADDITIONAL_KEY_EXCHANGE) }
    `);
    expect(to.children.map(({ inboundSpi }) => inboundSpi)).toEqual([old.outboundSpi]);
    net.chart(`
      ${from.name} → ${to.name}  IKE_FOLLOWUP_KE request { KE, N(ADDITIONAL_KEY_EXCHANGE) }
      ${to.name} → ${from.name}  IKE_FOLLOWUP_KE response { KE }
      ${from.name} → ${to.name}  INFORMATIONAL request  { D }
      ${to.name} → ${from.name}  INFORMATIONAL response { D }
    `);
    net.settle();
    expectOneChild(a, b).bornIn(who);
    expect(from.children[0]!.suite).toBe('aes128gcm16/pfs x25519/ke1_mlkem512/ke2_ecp256');
    expect(from.children[0]!.inboundSpi).not.toBe(old.inboundSpi);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('the answer to the last follow-up is late, and the Delete of what it made overtakes it: neither end keeps it (RFC 7296 §2.25)', () => {
    const { net, a, b } = establishedPair(hybrid({ link: { delay: 60 } }));
    b.createChild('net');
    net.until('a has it', () => a.children[1]?.state === 'installed');
    a.host.setLink({ delay: 1 });
    a.deleteChild(a.children[1]!.id);
    net.settle({ quiet: 60_000 });
    expectOneChild(a, b);
    expectInvariants(net);
  });

  test.each([
    ['D10 MODP-2048 and x25519', 'aes128-sha256-prfsha256-modp2048-ke1_x25519', 'aes128-sha256/prfsha256/modp2048/ke1_x25519'],
    ['D11 x25519 and ML-KEM-512', 'aes256gcm16-prfsha384-x25519-ke1_mlkem512', 'aes256gcm16/prfsha384/x25519/ke1_mlkem512'],
    ['D11 ECP-384 and ML-KEM-768', 'aes256gcm16-prfsha384-ecp384-ke1_mlkem768', 'aes256gcm16/prfsha384/ecp384/ke1_mlkem768'],
  ])('%s: rekeys from each side complete with the same suite', (_what, words, suite) => {
    const made = establishedPair({ connection: { proposals: [ikeProposal(words)] }, link: { mtu: 1280, oversize: 'drop' } });
    const { net, a, b } = made;
    for (const who of ['a', 'b'] as const) {
      const [from, to] = ends(made, who);
      const child = from.children[0]!;
      from.rekeyIke();
      net.chart(`
        ${from.name} → ${to.name}  CREATE_CHILD_SA request  { SA, KE, Ni }
        ${to.name} → ${from.name}  CREATE_CHILD_SA response { SA, KE, Nr, N(ADDITIONAL_KEY_EXCHANGE) }
        ${from.name} → ${to.name}  IKE_FOLLOWUP_KE request { KE, N(ADDITIONAL_KEY_EXCHANGE) }
        ${to.name} → ${from.name}  IKE_FOLLOWUP_KE response { KE }
        ${from.name} → ${to.name}  INFORMATIONAL request  { D }
        ${to.name} → ${from.name}  INFORMATIONAL response { }
      `);
      net.run(60_000);
      net.skip();
      for (const peer of [a, b]) expect(peer.ikeSas.map((sa) => sa.suite.replace('/sha256', '-sha256'))).toEqual([suite]);
      expect(from.children[0]!.inboundSpi).toBe(child.inboundSpi);
      expectTrafficBothWays(net, a, b);
    }
    expectInvariants(net);
  });

  test('a further child by its own proposal', () => {
    const { net, a, b } = establishedPair(hybrid({ connection: { childless: 'force' } }));
    expect(followUps(net, a)).toBe(2);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('a responder without them in its child proposals: the one beside is taken, without follow-ups', () => {
    const { net, a, b } = establishedPair({
      a: { child: { proposals: [espProposal('aes128gcm16-x25519-ke1_mlkem512-ke1_none')] } },
      b: { child: { proposals: [espProposal('aes128gcm16-x25519')] } },
    });
    a.rekeyChild();
    net.settle();
    expectOneChild(a, b).bornIn('a');
    expect(a.children[0]!.suite).toBe('aes128gcm16/pfs x25519');
    b.rekeyChild();
    net.settle();
    expectOneChild(a, b).bornIn('b');
    expectTrafficBothWays(net, a, b);
  });

  test('INVALID_KE_PAYLOAD for the first key exchange, follow-ups behind it', () => {
    const { net, a, b } = establishedPair({
      a: { child: { proposals: [espProposal('aes128gcm16-x25519-ecp384-ke1_mlkem512')] } },
      b: { child: { proposals: [espProposal('aes128gcm16-ecp384-ke1_mlkem512')] } },
    });
    a.rekeyChild();
    net.exchange('a → b  CREATE_CHILD_SA request  { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }');
    net.exchange('b → a  CREATE_CHILD_SA response { N(INVALID_KE_PAYLOAD) }');
    net.settle();
    expectOneChild(a, b).bornIn('a');
    expect(a.children[0]!.suite).toBe('aes128gcm16/pfs ecp384/ke1_mlkem512');
    expectTrafficBothWays(net, a, b);
  });

  test.each(Array.from({ length: 30 }, (_, i) => i + 1))('children and IKE SA over a bad path, seed %i', (seed) => {
    const made = establishedPair(hybrid({ seed, link: { delay: 10, jitter: 40, loss: 0.12, duplicate: 0.1 } }));
    const { net, a, b } = made;
    a.rekeyChild();
    net.run(seed * 3);
    b.rekeyIke();
    net.settle();
    net.run(120_000);
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    expectOneChild(a, b);
    expectInvariants(net);
  });
});

describe('both ends rekey at once, with follow-ups', () => {
  test.each(LOWEST)('the CHILD_SA, the lowest nonce is %s: one of the two goes no further', (lowest) => {
    const made = establishedPair(hybrid({ nonces: lowestIs(lowest), link: { delay: 10 } }));
    const { net, a, b } = made;
    a.rekeyChild();
    b.rekeyChild();
    net.exchange('a → b  CREATE_CHILD_SA request { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }');
    net.exchange('b → a  CREATE_CHILD_SA request { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }');
    net.settle();
    expectOneChild(a, b).bornIn(otherExchange(lowest));
    expect([followUps(net, a), followUps(net, b)].sort()).toEqual([0, 2]);
    expect([...a.heard('failed'), ...b.heard('failed')]).toEqual([]);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each(LOWEST)('the IKE SA, the lowest nonce is %s', (lowest) => {
    const made = establishedPair(hybrid({ nonces: lowestIs(lowest), link: { delay: 10 } }));
    const { net, a, b } = made;
    a.rekeyIke();
    b.rekeyIke();
    net.exchange('a → b  CREATE_CHILD_SA request { SA, KE, Ni }');
    net.exchange('b → a  CREATE_CHILD_SA request { SA, KE, Ni }');
    net.settle();
    const winner = otherExchange(lowest) === 'a' ? a : b;
    expect([followUps(net, a), followUps(net, b)]).toEqual(winner === a ? [2, 0] : [0, 2]);
    expect([...a.heard('failed'), ...b.heard('failed')]).toEqual([]);
    expectOneIkeSa(made);
    expect(winner.ikeSas[0]!.role).toBe('initiator');
  });

  test('a rekeying of the peer that comes when ours is being followed up is put off', () => {
    const made = establishedPair(hybrid({ link: { delay: 10 } }));
    const { net, a, b } = made;
    a.rekeyIke();
    net.exchange('a → b  CREATE_CHILD_SA request { SA, KE, Ni }');
    net.exchange('b → a  CREATE_CHILD_SA response { SA, KE, Nr, N(ADDITIONAL_KEY_EXCHANGE) }');
    b.rekeyIke();
    b.rekeyChild();
    net.settle();
    expectOneIkeSa(made);
    expect(a.heard('ike-rekeyed').length).toBe(1);
  });

  test.each(Array.from({ length: 60 }, (_, i) => i + 1))('with loss, delay and disorder, seed %i', (seed) => {
    const made = establishedPair(hybrid({ seed, link: { delay: 10, jitter: 60, loss: 0.15, duplicate: 0.1 } }));
    const { net, a, b } = made;
    if (seed % 2 === 0) a.rekeyIke();
    else a.rekeyChild();
    net.run(seed % 5 === 0 ? 0 : seed * 2);
    // By then the first may be almost over, and there are two.
    if (b.established.length === 1 && b.children.length === 1) {
      if (seed % 3 === 0) b.rekeyChild();
      else b.rekeyIke();
    }
    net.settle();
    net.run(200_000);
    expect([a.ikeSas.length, b.ikeSas.length]).toEqual([1, 1]);
    expectOneChild(a, b);
    expectInvariants(net);
  });
});

describe('what crosses, and what never comes', () => {
  test('a Delete of the child crosses the follow-ups: STATE_NOT_FOUND, and nothing is left of either', () => {
    const made = establishedPair(hybrid({ link: { delay: 10 } }));
    const { net, a, b } = made;
    a.rekeyChild();
    net.exchange('a → b  CREATE_CHILD_SA request  { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }');
    net.exchange('b → a  CREATE_CHILD_SA response { SA, KE, Nr, TSi, TSr, N(ADDITIONAL_KEY_EXCHANGE) }');
    b.deleteChild();
    net.settle();
    expect(net.unread.map((m) => m.summary.replace(/ \d+/, ''))).toContain('IKE_FOLLOWUP_KE response  { N(STATE_NOT_FOUND) }');
    expect([a.plane.children, b.plane.children]).toEqual([[], []]);
    expect([a.established.length, b.established.length]).toEqual([1, 1]);
    expectInvariants(net);
  });

  test('a Delete of the IKE SA ends the rekeying with it', () => {
    const { net, a, b } = establishedPair(hybrid({ link: { delay: 10 } }));
    a.rekeyIke();
    net.exchange('a → b  CREATE_CHILD_SA request { SA, KE, Ni }');
    net.exchange('b → a  CREATE_CHILD_SA response { SA, KE, Nr, N(ADDITIONAL_KEY_EXCHANGE) }');
    b.deleteIke();
    net.settle({ quiet: 60_000 });
    expect([a.plane.children, b.plane.children]).toEqual([[], []]);
    expect([a.established.length, b.established.length]).toEqual([0, 0]);
  });

  test.each(['child', 'IKE SA'] as const)(
    'follow-ups that never come: the half-made %s is forgotten, a later one is told so and begins anew',
    (what) => {
      const made = establishedPair(
        hybrid({ connection: { proposals: [ikeProposal(IKE)], retransmission: { initial: 1000, base: 1.5, giveUp: 120_000 } } }),
      );
      const { net, a, b } = made;
      if (what === 'child') a.rekeyChild();
      else a.rekeyIke();
      const stop = net.internet.core.intercept(({ source, data }) => (source.ip === '192.0.2.1' && data[18] === FOLLOWUP ? [] : undefined));
      net.run(25_000);
      expect(b.children).toHaveLength(1);
      stop();
      net.settle();
      const answers = net.transcript.messages.filter((m) => m.summary.includes('STATE_NOT_FOUND'));
      expect(answers).toHaveLength(1);
      expect(followUps(net, a)).toBe(3);
      if (what === 'child') expectOneChild(a, b).bornIn('a');
      else expectOneIkeSa(made);
      expectInvariants(net);
    },
  );

  test('a responder that restarts in between knows nothing of it: the initiator begins anew', () => {
    const made = establishedPair(hybrid({ link: { delay: 10 } }));
    const { net, a, b } = made;
    a.rekeyChild();
    net.exchange('a → b  CREATE_CHILD_SA request  { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }');
    net.exchange('b → a  CREATE_CHILD_SA response { SA, KE, Nr, TSi, TSr, N(ADDITIONAL_KEY_EXCHANGE) }');
    b.restart('snapshot');
    net.settle();
    net.run(60_000);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });
});
