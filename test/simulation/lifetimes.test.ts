import { describe, expect, test } from 'vitest';
import {
  childPolicy,
  espProposal,
  establishedPair,
  expectInvariants,
  expectOneChild,
  expectTrafficBothWays,
  type Pair,
  type Peer,
  pair,
} from '../../src/testing/index.ts';

const { lifetimes } = childPolicy();

/** One packet each way, so often. */
function talk({ net, a, b }: Pair, times: number, pause = 20): void {
  for (let i = 0; i < times; i++) {
    a.sendTraffic(Uint8Array.of(i));
    b.sendTraffic(Uint8Array.of(i));
    net.run(pause);
  }
}

/** Just established: nothing has had time to become idle. */
function fresh(options: Parameters<typeof pair>[0]): Pair {
  const made = pair(options);
  made.a.initiate();
  made.net.until('establishment', () => made.a.plane.children.length > 0 && made.a.openAsks + made.b.openAsks === 0);
  made.net.skip();
  return made;
}

const receivedAll = (from: Peer, to: Peer): void => expect(to.plane.received).toHaveLength(from.espSent.length);

describe('a CHILD_SA is rekeyed by what it carried (RFC 7296 §2.8)', () => {
  test.each([
    ['packets', { rekeyPackets: 100, hardPackets: 130 }],
    ['octets', { rekeyBytes: 100, hardBytes: 130 }],
  ])('by %s, again and again, and nothing is lost', (_, volume) => {
    const made = establishedPair({ a: { child: { lifetimes: { ...lifetimes, ...volume } } }, link: { delay: 15, jitter: 10 } });
    const { net, a, b } = made;
    talk(made, 550, 5);
    net.settle();
    expect(a.heard('child-rekeyed').map(({ byUs }) => byUs)).toEqual([true, true, true, true, true]);
    receivedAll(a, b);
    receivedAll(b, a);
    expectOneChild(a, b).bornIn('a');
    expectInvariants(net);
  });

  test('each end draws its own jitter, so that equal settings seldom meet', () => {
    const limits = { ...lifetimes, rekeyPackets: 1e6, hardPackets: 1.1e6, jitterPackets: 5e5, rekeyBytes: 9e6, jitterBytes: 4.5e6 };
    const drawn = [1, 2, 3].flatMap((seed) => {
      const { a, b } = establishedPair({ seed, child: { lifetimes: limits } });
      return [a, b].map((peer) => peer.plane.children[0]!.spec.limits);
    });
    expect(new Set(drawn.map(({ softPackets }) => softPackets)).size).toBe(6);
    expect(new Set(drawn.map(({ softBytes }) => softBytes)).size).toBe(6);
    for (const { softPackets, softBytes, hardPackets } of drawn) {
      expect(softPackets).toBeGreaterThan(5e5);
      expect(softPackets).toBeLessThanOrEqual(1e6);
      expect(softBytes).toBeGreaterThan(4.5e6);
      expect(hardPackets).toBe(1.1e6);
    }
  });

  test('without extended sequence numbers, before they run out (RFC 4303 §3.3.3)', () => {
    const limitOf = (proposal: string) =>
      establishedPair({ child: { proposals: [espProposal(proposal)] } }).a.plane.children[0]!.spec.limits.softPackets;
    expect(limitOf('aes128gcm16-x25519-noesn')).toBe(0xf000_0000);
    expect(limitOf('aes128gcm16-x25519-esn')).toBe(0);
  });

  test('a rekeying that fails is tried again, though the limit is told once', () => {
    const made = establishedPair({
      a: { child: { proposals: [espProposal('aes128gcm16-x25519')], pfs: 'require', lifetimes: { ...lifetimes, rekeyPackets: 10 } } },
      b: { child: { proposals: [espProposal('aes128gcm16-ecp256')], pfs: 'require' } },
    });
    talk(made, 12);
    made.net.run(100_000);
    expect(made.a.heard('failed').length).toBeGreaterThanOrEqual(3);
    expectTrafficBothWays(made.net, made.a, made.b);
  });
});

describe('a hard lifetime ends a CHILD_SA, whatever becomes of the rekeying', () => {
  const mismatched = (changes: Parameters<typeof childPolicy>[0]): Pair =>
    establishedPair({
      a: { child: { proposals: [espProposal('aes128gcm16-x25519')], pfs: 'require', ...changes } },
      b: { child: { proposals: [espProposal('aes128gcm16-ecp256')], pfs: 'require' } },
    });

  test('by time, while every rekeying is refused', () => {
    const { net, a, b } = mismatched({ lifetimes: { ...lifetimes, rekey: 60_000, hard: 90_000 } });
    net.run(89_000);
    expectOneChild(a, b);
    net.run(10_000);
    expect([a.plane.children, b.plane.children]).toEqual([[], []]);
    expect([a.established.length, b.established.length]).toEqual([1, 1]);
    expect(a.heard('child-down').at(-1)?.reason).toMatch(/hard lifetime/);
    expect(a.heard('failed').length).toBeGreaterThan(1);
  });

  test('by packets, at once', () => {
    const made = mismatched({ lifetimes: { ...lifetimes, rekeyPackets: 10, hardPackets: 20 } });
    talk(made, 30);
    made.net.settle();
    expect(made.a.espSent).toHaveLength(20);
    expect([made.a.plane.children, made.b.plane.children]).toEqual([[], []]);
  });

  test('while the rekeying is under way and nobody answers: nothing leaves on it any more', () => {
    const { net, a } = establishedPair({ child: { lifetimes: { ...lifetimes, rekey: 60_000, hard: 66_000 } } });
    net.run(59_000);
    a.host.setLink({ cut: true });
    net.run(8000);
    expect(a.ikeSas[0]!.state).toBe('established');
    expect(a.plane.children).toEqual([]);
    expect(a.sendTraffic(Uint8Array.of(1))).toBe(false);
  });

  test.each([5, 15, 25, 35])('that begins %i ms before: one CHILD_SA stands afterwards', (before) => {
    const policy = { lifetimes: { ...lifetimes, hard: 66_000 }, startAction: 'start' as const };
    const { net, a, b } = establishedPair({ a: { child: policy }, link: { delay: 10 } });
    const { establishedAt } = a.children[0]!;
    net.run(establishedAt + 66_000 - before - net.now);
    a.rekeyChild();
    net.settle();
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('what is to be up always is made anew', () => {
    const { net, a, b } = mismatched({ lifetimes: { ...lifetimes, hard: 60_000 }, dpdAction: 'start', pfs: 'prefer' });
    const first = a.children[0]!.id;
    net.run(61_000);
    expect(a.children.map(({ id }) => id)).not.toContain(first);
    expect(a.heard('failed').length + b.plane.children.length).toBeGreaterThan(0);
  });
});

describe('a hard lifetime ends the IKE SA', () => {
  test('with a Delete where the peer listens', () => {
    const { net, a, b } = establishedPair({ a: { connection: { lifetimes: { rekey: 0, jitter: 0, hard: 60_000, reauth: 0 } } } });
    net.exchange('a → b  INFORMATIONAL request { D }', { within: 61_000 });
    net.settle({ quiet: 60_000 });
    expect([a.ikeSas, b.ikeSas]).toEqual([[], []]);
  });

  test('without one where it has not answered what was asked before', () => {
    const { net, a } = establishedPair({ a: { connection: { lifetimes: { rekey: 58_000, jitter: 0, hard: 66_000, reauth: 0 } } } });
    net.run(57_000);
    a.host.setLink({ cut: true });
    net.run(10_000);
    expect(a.ikeSas).toEqual([]);
    expect(a.plane.children).toEqual([]);
    expect(a.heard('ike-down')[0]?.error?.code).toBe('LIFETIME_OVER');
  });
});

describe('inactivity', () => {
  const idle = { a: { child: { inactivity: 10_000 } } };

  test('D25 ten seconds without traffic: the idle side deletes the child, and the IKE SA stays', () => {
    const { net, a, b } = fresh(idle);
    net.run(9000);
    expect(net.unread).toEqual([]);
    net.chart(`
      a → b  INFORMATIONAL request  { D }
      b → a  INFORMATIONAL response { D }
    `);
    net.settle();
    expect([a.plane.children, b.plane.children]).toEqual([[], []]);
    expect([a.established.length, b.established.length]).toEqual([1, 1]);
    expect(a.heard('child-down').at(-1)?.reason).toBe('no traffic for 10 s');
  });

  test.each(['a', 'b'] as const)('traffic from %s alone keeps it', (who) => {
    const { net, a, b } = fresh(idle);
    for (let i = 0; i < 12; i++) {
      net.run(9000);
      (who === 'a' ? a : b).sendTraffic(Uint8Array.of(i));
    }
    expectOneChild(a, b);
    net.run(11_000);
    expect(a.plane.children).toEqual([]);
  });

  test('a rekeying is no traffic', () => {
    const { net, a, b } = fresh(idle);
    for (let i = 0; i < 3; i++) {
      net.run(3000);
      b.rekeyChild();
    }
    net.run(2000);
    expect(a.children.filter(({ state }) => state === 'installed')).toEqual([]);
    expect(a.heard('child-rekeyed')).toHaveLength(3);
    expectInvariants(net);
  });

  test('traffic on the child before the rekeying counts', () => {
    const { net, a, b } = fresh(idle);
    net.run(9000);
    expectTrafficBothWays(net, a, b, { packets: 1 });
    a.rekeyChild();
    net.run(7000);
    expectOneChild(a, b);
    net.run(3000);
    expect(a.children.filter(({ state }) => state === 'installed')).toEqual([]);
  });

  test('a rekeying under way when the time is over does not end the watch', () => {
    const { net, a } = fresh({ ...idle, link: { delay: 50 } });
    const { establishedAt } = a.children[0]!;
    net.run(establishedAt + 9950 - net.now);
    a.rekeyChild();
    net.run(30_000);
    expect(a.plane.children).toEqual([]);
  });
});

describe('PFS is told where it shows', () => {
  const rekey = (ours: Parameters<typeof childPolicy>[0], theirs: Parameters<typeof childPolicy>[0]): Pair => {
    const made = establishedPair({ a: { child: ours! }, b: { child: theirs! } });
    made.a.rekeyChild();
    made.net.settle();
    return made;
  };
  const X = [espProposal('aes128gcm16-x25519')];
  const P = [espProposal('aes128gcm16-ecp256')];
  const NONE = [espProposal('aes128gcm16')];

  test.each([
    [
      'require meets off',
      { proposals: X, pfs: 'require' },
      { proposals: X, pfs: 'off' },
      'PFS_DEMANDED',
      /Set pfs: prefer for net here, or turn PFS off/,
    ],
    [
      'off meets require',
      { proposals: X, pfs: 'off' },
      { proposals: X, pfs: 'require' },
      'PFS_MISSING',
      /Turn PFS on at the peer with x25519/,
    ],
    [
      'other methods, both required',
      { proposals: X, pfs: 'require' },
      { proposals: P, pfs: 'require' },
      'PFS_GROUPS',
      /Add x25519 to esp_proposals of net here, or ecp256 at the peer/,
    ],
    [
      'preferred, without any here',
      { proposals: X, pfs: 'require' },
      { proposals: NONE, pfs: 'prefer' },
      'PFS_GROUPS',
      /Add x25519 to esp_proposals of net here, or turn PFS off at the peer/,
    ],
  ] as const)('%s: both ends say so, and the child lives on', (_, ours, theirs, code, fix) => {
    const { net, a, b } = rekey(ours, theirs);
    const [there] = b.heard('failed');
    expect(there!.error.code).toBe(code);
    expect(there!.error.hint).toMatch(fix);
    const [here] = a.heard('failed');
    expect(here!.error.code).toBe('PFS_REFUSED');
    expect(here!.error.message).toMatch(/since IKE_AUTH, where no key exchange is asked, so it differs about PFS; we offered/);
    expect(here!.error.hint).toMatch(/net/);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('additional key exchanges are named along with the first (RFC 9370)', () => {
    const [hybrid, plain] = ['aes128gcm16-x25519-ke1_ecp256', 'aes128gcm16-x25519'].map((words) => [espProposal(words)]);
    const { a, b } = rekey({ proposals: hybrid!, pfs: 'require' }, { proposals: plain!, pfs: 'require' });
    expect(b.heard('failed')[0]!.error.message).toContain('the peer offers x25519-ke1_ecp256; we accept x25519');
    expect(a.heard('failed')[0]!.error.message).toContain('we offered x25519-ke1_ecp256');
  });

  test.each([
    ['prefer and off', { proposals: X, pfs: 'prefer' }, { proposals: X, pfs: 'off' }, ''],
    ['off and prefer', { proposals: X, pfs: 'off' }, { proposals: X, pfs: 'prefer' }, ''],
    ['prefer and require', { proposals: X, pfs: 'prefer' }, { proposals: X, pfs: 'require' }, 'pfs x25519'],
    ['prefer with other methods', { proposals: X, pfs: 'prefer' }, { proposals: P, pfs: 'prefer' }, ''],
    ['prefer twice', { proposals: X, pfs: 'prefer' }, { proposals: X, pfs: 'prefer' }, 'pfs x25519'],
  ] as const)('%s agree', (_, ours, theirs, pfs) => {
    const { net, a, b } = rekey(ours, theirs);
    expectOneChild(a, b).bornIn('a');
    expect(a.children[0]!.suite).toBe(['aes128gcm16', pfs].filter(Boolean).join('/'));
    expectTrafficBothWays(net, a, b);
  });

  test('the method that was agreed is the first tried when it is rekeyed again', () => {
    const { net, a } = rekey({ proposals: [espProposal('aes128gcm16-x25519-ecp256')] }, { proposals: P });
    net.skip();
    a.rekeyChild();
    net.chart(`
      a → b  CREATE_CHILD_SA request  { N(REKEY_SA), SA, KE, Ni, TSi, TSr, ... }
      b → a  CREATE_CHILD_SA response { SA, KE, Nr, TSi, TSr, ... }
    `);
  });
});
