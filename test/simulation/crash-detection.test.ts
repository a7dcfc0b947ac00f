import { describe, expect, test } from 'vitest';
import { equalBytes } from '../../src/core/bytes/index.ts';
import { ExchangeType, type NotifyPayload, NotifyType, type Payload, parseMessage, writeMessage } from '../../src/core/wire/index.ts';
import {
  establishedPair,
  expectInvariants,
  expectOneChild,
  expectTrafficBothWays,
  type Pair,
  type PairOptions,
  type Peer,
} from '../../src/testing/index.ts';
import { Insider } from './insider.ts';

const SECRET = new Uint8Array(32).fill(11);
const OTHER_SECRET = new Uint8Array(32).fill(12);
const A = { ip: '192.0.2.1', port: 500 };
const B = { ip: '198.51.100.2', port: 500 };
const SK = 46;
const THIEF = { ip: '203.0.113.66', port: 500 };

/** The client `a` comes back by itself; the gateway `b` makes tokens, and `a` does too where it has a secret. */
function tokens(options: PairOptions = {}): Pair {
  return establishedPair({
    ...options,
    connection: { crashDetection: true, ...options.connection },
    a: { ...options.a, child: { dpdAction: 'start', ...options.a?.child } },
    b: { ...options.b, endpoint: { secret: SECRET, ...options.b?.endpoint } },
  });
}

const established = (peer: Peer) => peer.ikeSas.filter(({ state }) => state === 'established');
const qcd = (data: Uint8Array): NotifyPayload => ({
  kind: 'N',
  notify: NotifyType.QUICK_CRASH_DETECTION,
  protocol: 1,
  spi: new Uint8Array(0),
  data,
});
const plain = (notify: number, data: Uint8Array = new Uint8Array(0)): Payload => ({
  kind: 'N',
  notify,
  protocol: 0,
  spi: new Uint8Array(0),
  data,
});

/** An unprotected message as the peer of `to` would send it after a restart. */
function unprotected(to: Peer, payloads: readonly Payload[], changes: object = {}): Uint8Array {
  const { spiI, spiR, role } = established(to)[0]!;
  const flags = { initiator: role === 'responder', response: true, version: false };
  const header = { spiI, spiR, majorVersion: 2, minorVersion: 0, exchange: ExchangeType.INFORMATIONAL, flags, messageId: 2 };
  return writeMessage({ ...header, ...changes }, payloads);
}

/** The token that `maker` gave in IKE_AUTH, or anew, as the taker decrypts it. */
function tokenGiven(net: Pair['net'], taker: Peer, maker: Peer): Uint8Array {
  const insider = new Insider(taker);
  for (const { data } of [...maker.sent].reverse()) {
    const { header, payloads } = parseMessage(data);
    if (payloads.at(-1)?.kind !== 'SK') continue;
    if (header.spiI.join() !== established(taker)[0]!.spiI.join()) continue;
    const found = insider.open(data.slice()).find((p) => p.kind === 'N' && p.notify === NotifyType.QUICK_CRASH_DETECTION);
    if (found?.kind === 'N') return found.data;
  }
  throw net.failure('no token was given');
}

describe('quick crash detection (RFC 6290)', () => {
  test('the gateway restarts with nothing but its secret: the first question is answered by the token, and the client is back in a second', () => {
    const { net, a, b } = tokens();
    expect([a.ikeSas[0], b.ikeSas[0]]).toMatchObject([
      { crashTokens: { made: false, held: true } },
      { crashTokens: { made: true, held: false } },
    ]);
    b.restart('nothing');
    a.checkLiveness();
    const asked = net.now;
    net.chart(`
      a → b  INFORMATIONAL request { }
      b → a  INFORMATIONAL response { N(QUICK_CRASH_DETECTION) }
      a → b  IKE_SA_INIT request { ... }
    `);
    expect(net.now - asked).toBeLessThan(1000);
    net.settle();
    expect(a.heard('ike-down').map(({ error }) => error?.code)).toEqual(['PEER_CRASHED']);
    expect([established(a).length, established(b).length]).toEqual([1, 1]);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('traffic alone finds it out: INVALID_SPI asks for a liveness check, and its answer is the token (§8.2)', () => {
    const { net, a, b } = tokens();
    b.restart('nothing');
    a.sendTraffic(new Uint8Array(64));
    net.chart(`
      b → a  INFORMATIONAL request { N(INVALID_SPI) }
      a → b  INFORMATIONAL request { }
      b → a  INFORMATIONAL response { N(QUICK_CRASH_DETECTION) }
      a → b  IKE_SA_INIT request { ... }
    `);
    net.settle();
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('a question that has gone unanswered for long is put again with the hint, and not when its next copy is due', () => {
    const { net, a, b } = tokens();
    let down = true;
    net.internet.core.intercept(() => (down ? [] : undefined));
    a.checkLiveness();
    net.run(25_000);
    expect(established(a)).toHaveLength(1);
    down = false;
    b.restart('nothing');
    a.sendTraffic(new Uint8Array(100));
    net.run(1000);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('a client that makes tokens, too: its gateway drops the dead IKE SA at once', () => {
    const { net, a, b } = tokens({ a: { endpoint: { secret: OTHER_SECRET } } });
    expect(b.ikeSas[0]!.crashTokens).toEqual({ made: true, held: true });
    a.restart('nothing');
    b.checkLiveness();
    net.run(1000);
    expect(b.ikeSas).toEqual([]);
    expect(b.heard('ike-down').map(({ error }) => error?.code)).toEqual(['PEER_CRASHED']);
  });

  test('the Delete of a rekeyed IKE SA finds that the peer has forgotten it by then: that is its end, and no crash', () => {
    const { net, a, b } = tokens({ a: { connection: { retransmission: { initial: 1000, base: 1.8, giveUp: 165_000 } } } });
    let lost = true;
    const { spiI } = a.ikeSas[0]!;
    const isDelete = (data: Uint8Array): boolean => a.heard('ike-rekeyed').length > 0 && equalBytes(data.subarray(0, 8), spiI);
    net.internet.core.intercept(({ source, data }) => (lost && source.ip === A.ip && isDelete(data) ? [] : undefined));
    a.rekeyIke();
    net.run(61_000);
    expect([a.ikeSas.length, b.ikeSas.length], net.describe()).toEqual([2, 1]);
    lost = false;
    net.run(60_000);
    expect(a.heard('ike-down')).toMatchObject([{ reason: 'rekeyed', error: undefined }]);
    expect([a.ikeSas.length, b.ikeSas.length], net.describe()).toEqual([1, 1]);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('with a request long enough INVALID_IKE_SPI goes along; no answer is longer than its question', () => {
    const { net, a, b } = tokens();
    b.restart('nothing');
    a.rekeyChild();
    net.exchange('a → b  CREATE_CHILD_SA request { ... }');
    net.exchange('b → a  CREATE_CHILD_SA response { N(INVALID_IKE_SPI), N(QUICK_CRASH_DETECTION) }');
    expect(b.sent.at(-1)!.data.length).toBeLessThanOrEqual(a.sent.at(-1)!.data.length);
  });

  test.each(['a', 'b'])('after an IKE rekey by %s the tokens are those of the new SPIs', (who) => {
    const { net, a, b } = tokens({ a: { endpoint: { secret: OTHER_SECRET } } });
    const before = tokenGiven(net, a, b);
    (who === 'a' ? a : b).rekeyIke();
    net.settle({ quiet: 60_000 });
    net.skip();
    for (const peer of [a, b]) expect(established(peer)[0]!.crashTokens).toEqual({ made: true, held: true });
    a.inject(unprotected(a, [qcd(before)]), B);
    expect(established(a)).toHaveLength(1);
    net.settle();
    b.restart('nothing');
    a.checkLiveness();
    net.until('the client notices', () => a.heard('ike-down').some(({ error }) => error?.code === 'PEER_CRASHED'), 5000);
    net.settle();
    expectTrafficBothWays(net, a, b);
  });

  test('a snapshot keeps the tokens of the peer', () => {
    const { net, a, b } = tokens();
    a.restart('snapshot');
    net.settle();
    b.restart('nothing');
    a.checkLiveness(established(a)[0]!.id);
    net.run(1000);
    expect(a.heard('ike-down').map(({ error }) => error?.code)).toEqual(['PEER_CRASHED']);
  });

  test('with a ticket it comes back without the whole handshake (RFC 6290 §7)', () => {
    const { net, a, b } = tokens({ connection: { resumption: true } });
    b.restart('nothing');
    a.checkLiveness();
    net.chart(`
      a → b  INFORMATIONAL request { }
      b → a  INFORMATIONAL response { N(QUICK_CRASH_DETECTION) }
      a → b  IKE_SESSION_RESUME request { Ni, N(TICKET_OPAQUE), ... }
    `);
    net.settle();
    expect(established(a)).toMatchObject([{ resumed: true, crashTokens: { made: false, held: true } }]);
    expectTrafficBothWays(net, a, b);
  });

  test('additional tokens in protected messages are taken, four at most; those of wrong length are not', () => {
    const { net, a, b } = tokens();
    const peer = new Insider(a, 'responder');
    const offered = Array.from({ length: 6 }, (_, i) => new Uint8Array(16).fill(i + 1));
    const payloads = [...offered.map(qcd), qcd(new Uint8Array(15).fill(9)), qcd(new Uint8Array(129).fill(9)), qcd(new Uint8Array(0))];
    a.inject(peer.request(ExchangeType.INFORMATIONAL, 0, payloads), B);
    net.exchange('a → b  INFORMATIONAL response { }');
    expect(b.ikeSas).toHaveLength(1);
    a.inject(unprotected(a, [qcd(offered[5]!)]), B);
    expect(established(a)).toHaveLength(1);
    a.inject(unprotected(a, [qcd(new Uint8Array(15).fill(9))]), B);
    expect(established(a)).toHaveLength(1);
    a.inject(unprotected(a, [qcd(offered[3]!)]), B);
    expect(established(a)).toEqual([]);
  });

  test('without a secret none is made, and taken all the same; switched off, nothing of it is said', () => {
    const none = establishedPair({ connection: { crashDetection: true } });
    expect(none.a.ikeSas[0]!.crashTokens).toEqual({ made: false, held: false });
    const off = tokens({ connection: { crashDetection: false } });
    expect(off.net.transcript.messages.some((m) => m.summary.includes('QUICK_CRASH'))).toBe(false);
    off.b.restart('nothing');
    off.a.checkLiveness();
    off.net.run(500);
    expect(off.b.sent.filter(({ remote }) => remote.ip === A.ip).at(-1)!.data[18]).not.toBe(ExchangeType.INFORMATIONAL);
  });

  test('another secret than before: an invalid token costs one question at most, and the silence decides', () => {
    const { net, a, b } = tokens({ a: { connection: { retransmission: { initial: 1000, base: 1.8, giveUp: 10_000 } } } });
    (b.options.endpoint as { secret: Uint8Array }).secret = OTHER_SECRET;
    b.restart('nothing');
    a.checkLiveness();
    net.run(5000);
    expect(established(a)).toHaveLength(1);
    net.run(8000);
    expect(a.heard('ike-down').map(({ error }) => error?.code)).toEqual(['PEER_SILENT']);
  });
});

describe('D52 what anybody can send (RFC 6290 §9, RFC 7296 §2.4)', () => {
  test('the true token ends the IKE SA from whatever address, once (§3)', () => {
    const { net, a, b } = tokens();
    const token = tokenGiven(net, a, b);
    a.inject(unprotected(a, [plain(NotifyType.INVALID_IKE_SPI), qcd(token)]), THIEF);
    expect(established(a)).toEqual([]);
  });

  test('every flipped bit of it, and every other pair of SPIs: one liveness check, and the IKE SA stays', () => {
    const { net, a, b } = tokens();
    const token = tokenGiven(net, a, b);
    for (let bit = 0; bit < 20; bit++) {
      const forged = token.slice();
      forged[bit % 16]! ^= 1 << (bit & 7);
      a.inject(unprotected(a, [qcd(forged)], { messageId: bit }), THIEF);
    }
    const { spiI } = established(a)[0]!;
    a.inject(unprotected(a, [qcd(token)], { spiI, spiR: new Uint8Array(8).fill(1) }), THIEF);
    net.run(1000);
    expect(net.unread.filter((m) => m.from === 'a')).toHaveLength(1);
    net.exchange('a → b  INFORMATIONAL request { }');
    net.exchange('b → a  INFORMATIONAL response { }');
    net.settle();
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('no more tokens are compared than a peer would send: behind a flood even the true one waits', () => {
    const { net, a, b } = tokens();
    const token = tokenGiven(net, a, b);
    for (let i = 0; i < 100; i++) a.inject(unprotected(a, [qcd(new Uint8Array(16).fill(i)), qcd(new Uint8Array(16).fill(i + 1))]), THIEF);
    a.inject(unprotected(a, [qcd(token)]), B);
    expect(established(a)).toHaveLength(1);
    net.run(11_000);
    a.inject(unprotected(a, [qcd(token)]), B);
    expect(established(a)).toEqual([]);
  });

  test('nobody is told the token of an IKE SA that lives, however he asks (§9.2)', () => {
    const { net, a, b } = tokens({ a: { endpoint: { secret: OTHER_SECRET } } });
    const given = [tokenGiven(net, a, b), tokenGiven(net, b, a)].map((token) => token.join());
    const { spiI, spiR } = established(a)[0]!;
    const zero = new Uint8Array(8);
    const genuine = a.sent.find(({ data }) => parseMessage(data).payloads.at(-1)?.kind === 'SK')!.data;
    for (const target of [a, b])
      for (const flags of [0x00, 0x08, 0x20, 0x28])
        for (const [i, r] of [
          [spiI, spiR],
          [spiR, spiI],
          [spiI, zero],
          [zero, spiR],
          [zero, spiI],
          [spiR, zero],
        ] as const)
          for (const messageId of [0, 1, 7]) {
            const message = new Uint8Array(genuine);
            message.set(i, 0);
            message.set(r, 8);
            message[18] = ExchangeType.INFORMATIONAL;
            message[19] = flags;
            new DataView(message.buffer).setUint32(20, messageId);
            const before = target.sent.length;
            target.inject(message, THIEF);
            for (const { data } of target.sent.slice(before)) {
              const answer = parseMessage(data);
              for (const p of answer.payloads) if (p.kind === 'N') expect(given).not.toContain(p.data.join());
            }
          }
    net.settle();
    expectOneChild(a, b);
  });

  test('tokens are drawn at a bounded rate, and only for protected requests (§9.3)', () => {
    const { net, b } = tokens();
    const count = b.sent.length;
    const flags = { initiator: true, response: false, version: false };
    const header = { majorVersion: 2, minorVersion: 0, exchange: ExchangeType.INFORMATIONAL, flags, messageId: 3 };
    const spis = (i: number) => Uint8Array.of(0, 0, 0, 0, 0, 0, i >> 8, (i & 0xff) | 1);
    const clear = (i: number, payloads: readonly Payload[]) =>
      b.inject(writeMessage({ ...header, spiI: spis(i), spiR: spis(i) }, payloads), THIEF);
    /** As if protected: who does not have the keys cannot tell. */
    const sealed = (i: number, octets: number, response = false) => {
      const message = new Uint8Array(28 + 4 + octets);
      message.set(writeMessage({ ...header, spiI: spis(i), spiR: spis(i), flags: { ...flags, response } }, []));
      message[16] = SK;
      const view = new DataView(message.buffer);
      view.setUint32(24, message.length);
      view.setUint16(30, 4 + octets);
      b.inject(message, THIEF);
    };
    clear(1, [plain(NotifyType.INITIAL_CONTACT)]);
    clear(2, []);
    sealed(3, 64, true);
    sealed(4, 19);
    expect(b.sent.length).toBe(count);
    for (let i = 0; i < 1000; i++) sealed(i, 25);
    const answered = b.sent.length - count;
    expect(answered).toBeGreaterThan(0);
    expect(answered).toBeLessThanOrEqual(50);
    net.run(1000);
    const later = b.sent.length;
    for (let i = 0; i < 1000; i++) sealed(i, 64);
    expect(b.sent.length - later).toBeGreaterThan(0);
    expect(b.sent.length - later).toBeLessThanOrEqual(21);
  });

  test.each([
    ['INVALID_IKE_SPI', NotifyType.INVALID_IKE_SPI, 0],
    ['INVALID_SPI', NotifyType.INVALID_SPI, 4],
    ['INVALID_SYNTAX', NotifyType.INVALID_SYNTAX, 0],
    ['AUTHENTICATION_FAILED', NotifyType.AUTHENTICATION_FAILED, 0],
  ])('%s without a token only triggers a liveness check, at most one in ten seconds', (_, notify, length) => {
    const { net, a, b } = tokens();
    for (let round = 0; round < 30; round++) {
      a.inject(
        unprotected(a, [plain(notify, new Uint8Array(length))], {
          flags: { initiator: false, response: false, version: false },
          messageId: 0,
        }),
        THIEF,
      );
      net.run(1000);
    }
    expect(net.unread.filter((m) => m.from === 'a' && m.summary.includes('INFORMATIONAL request')).length).toBeLessThanOrEqual(3);
    expect(net.unread.filter((m) => m.from === 'a').length).toBeGreaterThan(0);
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });

  test('INVALID_SPI outside of any IKE SA: only for an SPI of ours with that peer, and no more than a question', () => {
    const { net, a, b } = tokens();
    const { outboundSpi } = established(a)[0]!.children[0]!;
    const spi = new Uint8Array(4);
    new DataView(spi.buffer).setUint32(0, outboundSpi);
    const zero = new Uint8Array(8);
    const stray = (data: Uint8Array<ArrayBuffer>, more: readonly Payload[] = []) =>
      unprotected(a, [plain(NotifyType.INVALID_SPI, data), ...more], {
        spiI: zero,
        spiR: zero,
        flags: { initiator: true, response: false, version: false },
        messageId: 0,
      });
    a.inject(stray(spi), THIEF);
    a.inject(stray(Uint8Array.of(1, 2, 3, 4)), B);
    a.inject(stray(Uint8Array.of(1, 2, 3)), B);
    a.inject(stray(new Uint8Array(0)), B);
    expect(net.unread).toEqual([]);
    a.inject(stray(spi, [qcd(new Uint8Array(16))]), B);
    net.exchange('a → b  INFORMATIONAL request { }');
    net.exchange('b → a  INFORMATIONAL response { }');
    net.settle();
    for (let i = 0; i < 100; i++) a.inject(stray(spi), B);
    net.settle();
    expectOneChild(a, b);
    // with the token of the IKE SA it is proof (RFC 6290 §8.2)
    net.run(20_000);
    a.inject(stray(spi, [qcd(tokenGiven(net, a, b))]), B);
    expect(established(a)).toEqual([]);
  });

  test('INVALID_SPI is not sent to whom we have an IKE SA with, nor for short packets', () => {
    const { net, a, b } = tokens();
    const count = b.sent.length;
    b.observe({ kind: 'unknown-spi', spi: 0x1234_5678, local: B, remote: A, encap: false });
    expect(b.sent.length).toBe(count);
    b.observe({ kind: 'unknown-spi', spi: 0x1234_5678, local: B, remote: THIEF, encap: false });
    expect(b.sent.length).toBe(count + 1);
    expect(b.sent.at(-1)!.data.length).toBeLessThanOrEqual(40);
    net.settle();
    expectOneChild(a, b);
  });
});
