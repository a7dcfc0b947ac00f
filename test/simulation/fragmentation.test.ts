import { describe, expect, test } from 'vitest';
import {
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  type PairOptions,
  pair,
  SeededRandom,
  seededEd25519,
} from '../../src/testing/index.ts';

/** Certificates of 4000 octets each way: IKE_AUTH does not fit a packet. */
function longAuth(options: PairOptions = {}): PairOptions {
  const random = new SeededRandom('fragments');
  const identity = { certificateOctets: 4000 };
  return {
    ...options,
    a: { ...options.a, identity: { ...identity, privateKey: seededEd25519(random) } },
    b: { ...options.b, identity: { ...identity, privateKey: seededEd25519(random) } },
    connection: { local: [{ auth: 'pubkey', id: undefined }], remote: [{ auth: 'pubkey', id: { kind: 'any' } }], ...options.connection },
  };
}

describe('IKE fragmentation (RFC 7383)', () => {
  test('a long IKE_AUTH goes in fragments that fit the size of the policy, over a path that drops larger packets', () => {
    const { net, a, b } = pair(longAuth({ link: { mtu: 1280, oversize: 'drop' } }));
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    const auth = net.transcript.messages.filter((m) => m.summary.startsWith('IKE_AUTH'));
    expect(auth.map((m) => m.datagrams.length)).toEqual([4, 4]);
    for (const { packet } of net.internet.capture.packets) expect(packet.data.length + 28).toBeLessThanOrEqual(1280);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each([576, 800, 1280, 1400])('fragment size %i, IPv4 and IPv6', (fragmentSize) => {
    for (const ipv6 of fragmentSize >= 1280 ? [false, true] : [false]) {
      const { net, a, b } = pair(longAuth({ ipv6, connection: { fragmentSize }, link: { mtu: fragmentSize, oversize: 'drop' } }));
      a.initiate();
      net.settle();
      expectOneChild(a, b);
    }
  });

  test('without it a black hole swallows the long message, and the initiator gives up', () => {
    const { net, a, b } = pair(longAuth({ connection: { fragmentation: 'no' }, link: { mtu: 1280, oversize: 'drop' } }));
    a.initiate();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
  });

  test('one side without it: nobody fragments', () => {
    const { net, a, b } = pair(longAuth({ b: { connection: { fragmentation: 'no' } } }));
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expect(net.transcript.messages.every((m) => m.datagrams.length === 1)).toBe(true);
  });

  test('D33 a responder that announces it unasked is not sent fragments', () => {
    const { net, a, b } = pair(longAuth({ a: { connection: { fragmentation: 'no' } } }));
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expect(net.transcript.messages.filter((m) => m.from === 'a').every((m) => m.datagrams.length === 1)).toBe(true);
  });

  test.each(Array.from({ length: 40 }, (_, i) => i + 1))('with loss, disorder and copies at 576 octets, seed %i', (seed) => {
    const { net, a, b } = pair(
      longAuth({
        seed,
        link: { loss: 0.08, jitter: 60, duplicate: 0.2, mtu: 576, oversize: 'drop' },
        connection: { fragmentSize: 576, retransmission: { initial: 500, base: 1.3, giveUp: 60_000 } },
        b: { limits: { halfOpenLife: 90_000 } },
      }),
    );
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expectInvariants(net);
  });

  test('retransmitted fragments are the same octets', () => {
    const { net, a } = pair(longAuth());
    net.internet.core.intercept((packet) => (packet.source.ip === '198.51.100.2' && packet.data[18] === 35 ? [] : undefined));
    a.initiate();
    net.run(12_000);
    const fragments = a.sent.filter(({ data }) => data[18] === 35).map(({ data }) => Buffer.from(data).toString('hex'));
    expect(fragments.length).toBeGreaterThanOrEqual(16);
    expect(new Set(fragments).size).toBe(4);
  });

  test('a forged fragment neither completes nor spoils the set', () => {
    const { net, a, b } = pair(longAuth());
    let spoilt = 0;
    net.internet.core.intercept((packet) => {
      // Every fragment is preceded by a copy with a flipped bit in its ciphertext.
      if (packet.data[16] !== 53) return undefined;
      const forged = packet.data.slice();
      forged[forged.length - 20]! ^= 0x40;
      spoilt++;
      return [{ ...packet, data: forged }, packet];
    });
    a.initiate();
    net.settle();
    expect(spoilt).toBeGreaterThan(4);
    expectOneChild(a, b);
    expect(b.drops['bad-icv']).toBeGreaterThanOrEqual(4);
  });

  test('path MTU: what the network reports makes later messages smaller', () => {
    const { net, a, b } = establishedPair({ connection: { fragmentSize: 1400 } });
    a.observe({ kind: 'path-mtu', remote: { ip: '198.51.100.2', port: 500 }, mtu: 600 });
    a.rekeyIke();
    net.settle({ quiet: 60_000 });
    expectOneChild(a, b);
  });
});
