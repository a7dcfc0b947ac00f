import { describe, expect, test } from 'vitest';
import {
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  type PairOptions,
  type Peer,
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
    const { net, a } = pair(longAuth({ connection: { fragmentSize: 576 } }));
    net.internet.core.intercept((packet) => (packet.source.ip === '198.51.100.2' && packet.data[18] === 35 ? [] : undefined));
    a.initiate();
    net.run(12_000);
    const fragments = a.sent.filter(({ data }) => data[18] === 35).map(({ data }) => Buffer.from(data).toString('hex'));
    expect(fragments.length).toBeGreaterThanOrEqual(32);
    expect(new Set(fragments).size).toBe(9);
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
});

describe('fragments that fit the path (RFC 7383 §2.5.2)', () => {
  const sizes = (data: readonly { readonly data: Uint8Array }[]) =>
    [...new Set(data.map((one) => one.data.length + 28))].sort((x, y) => y - x);

  test('no answer to large ones: smaller ones are tried after some seconds, and the answer is cut like the question', () => {
    const { net, a, b } = pair(longAuth({ link: { mtu: 576, oversize: 'drop' }, connection: { fragmentSize: 1400 } }));
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expect(net.now).toBeLessThan(60_000);
    // 1280 makes no more of them than 1400, so 576 is next; the responder begins with what it saw arrive
    const auth = a.sent.filter(({ data }) => data[18] === 35);
    const totals = auth.map(({ data }) => new DataView(data.buffer, data.byteOffset).getUint16(34));
    expect(totals).toEqual([...totals].sort((x, y) => x - y));
    expect(new Set(totals)).toEqual(new Set([4, 9]));
    // RFC 7296 §2.2
    expect(new Set(auth.map(({ data }) => new DataView(data.buffer, data.byteOffset).getUint32(20)))).toEqual(new Set([1]));
    expect(sizes(b.sent.filter(({ data }) => data[18] === 35))[0]).toBeLessThanOrEqual(576);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('what passed is remembered, also by the IKE SA that comes of a rekeying, and forgotten on another path', () => {
    const { net, a, b } = pair(longAuth({ link: { mtu: 576, oversize: 'drop' } }));
    a.initiate();
    net.settle();
    const long = (peer: Peer) => {
      const before = [peer.heard('retransmit').length, net.transcript.messages.length];
      peer.rekeyIke();
      net.settle({ quiet: 60_000 });
      return [peer.heard('retransmit').length - before[0]!, net.transcript.messages[before[1]!]!.datagrams.length];
    };
    // without the memory the first of these would be lost
    for (const peer of [a, b, a]) expect(long(peer)[0]).toBe(0);
    expectOneChild(a, b);
  });

  test('an ICMP error names the size: smaller ones go out at once', () => {
    const { net, a, b } = pair(longAuth({ link: { delay: 20 } }));
    net.internet.core.intercept((packet) => (packet.data.length > 600 ? [] : undefined));
    a.initiate();
    net.run(200);
    expect(a.established).toEqual([]);
    const before = net.now;
    a.observe({ kind: 'path-mtu', remote: { ip: '198.51.100.2', port: 500 }, mtu: 600 });
    net.until('both stand', () => a.children.length > 0 && b.children.length > 0);
    expect(net.now - before).toBeLessThan(200);
    for (const peer of [a, b]) expect(sizes(peer.sent.slice(-4))[0]).toBeLessThanOrEqual(600);
  });

  test('forged ICMP errors cost a bounded number of datagrams, and nothing else', () => {
    const { net, a, b } = pair(longAuth({ connection: { fragmentSize: 1400 }, link: { delay: 50 } }));
    a.initiate();
    net.run(160);
    const before = a.sent.length;
    for (const mtu of [1399, 1300, 1279, 900, 600, 577, 100, 68, 1, 0, -5, 1e9, Number.NaN])
      for (let i = 0; i < 20; i++) a.observe({ kind: 'path-mtu', remote: { ip: '198.51.100.2', port: 500 }, mtu });
    a.observe({ kind: 'path-mtu', remote: { ip: '203.0.113.1', port: 500 }, mtu: 68 });
    expect(a.sent.length - before).toBeLessThan(20);
    net.settle();
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('a message that fits the smallest datagram is never cut, however long nobody answers', () => {
    const { net, a } = establishedPair();
    net.internet.core.intercept((packet) => (packet.source.ip === '198.51.100.2' ? [] : undefined));
    const before = a.sent.length;
    a.checkLiveness();
    net.run(40_000);
    expect(new Set(a.sent.slice(before).map(({ data }) => Buffer.from(data).toString('hex'))).size).toBe(1);
  });

  test('path MTU: what the network reports makes later messages smaller', () => {
    const { net, a, b } = establishedPair({ connection: { fragmentSize: 1400 } });
    a.observe({ kind: 'path-mtu', remote: { ip: '198.51.100.2', port: 500 }, mtu: 600 });
    a.rekeyIke();
    net.settle({ quiet: 60_000 });
    expectOneChild(a, b);
  });

  test('with loss, disorder and copies, over a path that drops what is larger than 600 octets', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { net, a, b } = pair(
        longAuth({
          seed,
          link: { loss: 0.05, jitter: 60, duplicate: 0.1, mtu: 600, oversize: 'drop' },
          connection: { fragmentSize: 1280, retransmission: { initial: 500, base: 1.3, giveUp: 60_000 } },
          b: { limits: { halfOpenLife: 90_000 } },
        }),
      );
      a.initiate();
      net.settle();
      expectOneChild(a, b);
      expectInvariants(net);
    }
  });
});
