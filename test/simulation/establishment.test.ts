import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/core/bytes/index.ts';
import { NotifyType, parseMessage, writeMessage } from '../../src/core/wire/index.ts';
import {
  childPolicy,
  connectionPolicy,
  espProposal,
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  fqdn,
  ikeProposal,
  Net,
  type Pair,
  pair,
  SeededRandom,
  seededEd25519,
  seededRsa,
  subnet,
} from '../../src/testing/index.ts';
import { notify } from './roamers.ts';

function expectUp({ net, a, b }: Pair): void {
  net.settle();
  expectOneChild(a, b);
  expectTrafficBothWays(net, a, b);
  expectInvariants(net);
}

describe('establishment', () => {
  test('with a pre-shared key', () => {
    const made = pair();
    made.a.initiate();
    made.net.chart(`
      a → b  IKE_SA_INIT request 0  { SA, KE, Ni, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), N(IKEV2_FRAGMENTATION_SUPPORTED), ... }
      b → a  IKE_SA_INIT response 0 { SA, KE, Nr, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), N(IKEV2_FRAGMENTATION_SUPPORTED), ... }
      a → b  IKE_AUTH request 1  { IDi, IDr?, N(INITIAL_CONTACT), AUTH, SA, TSi, TSr, ... }
      b → a  IKE_AUTH response 1 { IDr, AUTH, SA, TSi, TSr, ... }
    `);
    expectUp(made);
    expect(made.net.unread).toEqual([]);
  });

  test('with Ed25519 signatures (RFC 8420)', () => {
    const random = new SeededRandom('keys');
    const made = pair({
      a: { identity: { privateKey: seededEd25519(random) } },
      b: { identity: { privateKey: seededEd25519(random) } },
      connection: { local: [{ auth: 'pubkey', id: undefined }], remote: [{ auth: 'pubkey', id: { kind: 'any' } }] },
    });
    made.a.initiate();
    expectUp(made);
    expect(made.a.heard('peer')[0]).toMatchObject({ method: 14, description: 'ed25519' });
  });

  test('with RSA signatures, one side with a PSK', () => {
    const random = new SeededRandom('keys');
    const made = pair({
      a: {
        identity: { privateKey: seededRsa(random, 1024) },
        connection: { local: [{ auth: 'pubkey', id: undefined }], remote: [{ auth: 'psk', id: { kind: 'any' } }] },
      },
      b: { connection: { local: [{ auth: 'psk', id: undefined }], remote: [{ auth: 'pubkey', id: { kind: 'any' } }] } },
    });
    made.a.initiate();
    expectUp(made);
    expect(made.b.heard('peer')[0]).toMatchObject({ method: 14, description: 'rsa-pkcs1-sha256' });
  });

  test('over IPv6', () => {
    const made = pair({ ipv6: true });
    made.a.initiate();
    expectUp(made);
  });

  test.each([
    ['aes256gcm16-prfsha384-x25519', 'aes256gcm16-esn'],
    ['chacha20poly1305-prfsha256-ecp256', 'chacha20poly1305-noesn'],
    ['aes256-sha256-prfsha256-ecp384', 'aes256-sha256-esn'],
    ['aes128-sha1-prfsha1-modp2048', 'aes128-sha1'],
    ['aes128ctr-sha512-prfsha512-x448', 'aes128ctr-sha384'],
    ['aes256ccm16-prfaescmac-ecp521', 'null-sha256'],
  ])('with %s and %s', (ike, esp) => {
    const made = pair({ connection: { proposals: [ikeProposal(ike)] }, child: { proposals: [espProposal(esp)] } });
    made.a.initiate();
    expectUp(made);
    expect(made.a.plane.children[0]!.spec.esn).toBe(/-esn/.test(esp));
  });

  test('a seed replays to the octet', () => {
    const octets = (seed: number): unknown => {
      const { net, a, b } = establishedPair({ seed, link: { loss: 0.2, jitter: 30, duplicate: 0.1 } });
      a.rekeyChild();
      net.settle();
      return [...a.sent, ...b.sent].map((datagram) => Buffer.from(datagram.data).toString('hex'));
    };
    expect(octets(7)).toEqual(octets(7));
    expect(octets(7)).not.toEqual(octets(8));
  });

  test('both ends at once: two IKE SAs may stand, one is enough, traffic flows (RFC 7296 §2.8.2 speaks of rekeys only)', () => {
    const { net, a, b } = pair({ b: { connection: { remoteAddresses: ['192.0.2.1'] } }, connection: { unique: 'never' } });
    a.initiate();
    b.initiate();
    net.settle();
    expect(a.established).toHaveLength(2);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('three clients of one gateway, each with traffic of its own', () => {
    const net = new Net(3);
    const gateway = net.peer('gw', '198.51.100.2', {
      connections: [
        connectionPolicy({
          localAddresses: ['198.51.100.2'],
          children: [childPolicy({ localTs: [subnet('10.0.0.0/16')], remoteTs: [subnet('10.9.0.0/16')] })],
        }),
      ],
    });
    const clients = ['c1', 'c2', 'c3'].map((name, i) =>
      net.peer(name, `192.0.2.${i + 1}`, {
        connections: [
          connectionPolicy({
            localAddresses: [`192.0.2.${i + 1}`],
            remoteAddresses: ['198.51.100.2'],
            children: [childPolicy({ localTs: [subnet(`10.9.${i + 1}.0/24`)], remoteTs: [subnet('10.0.0.0/16')] })],
          }),
        ],
      }),
    );
    for (const client of clients) client.initiate();
    net.settle();
    expect(gateway.established).toHaveLength(3);
    for (const client of clients) {
      expect(client.sendTraffic(utf8(client.name))).toBe(true);
      net.run(100);
    }
    expect(gateway.plane.received.map((packet) => Buffer.from(packet.payload).toString())).toEqual(['c1', 'c2', 'c3']);
    expectInvariants(net);
  });
});

describe('what does not fit together', () => {
  test('D01 a wrong PSK: AUTHENTICATION_FAILED, nothing is left on either side', () => {
    const { net, a, b } = pair({ b: { identity: { psk: utf8('another one') } } });
    a.initiate();
    net.chart(`
      a → b  IKE_SA_INIT { SA, KE, Ni, ... }
      b → a  IKE_SA_INIT { SA, KE, Nr, ... }
      a → b  IKE_AUTH    { IDi, AUTH, SA, TSi, TSr, ... }
      b → a  IKE_AUTH    { N(AUTHENTICATION_FAILED) }
    `);
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
    expect(a.heard('ike-down')[0]?.error?.code).toMatch(/AUTHENTICATION_FAILED/);
    expect(net.unread).toEqual([]);
  });

  test('the initiator finds the responder’s AUTH wrong: it tells, and both forget', () => {
    const random = new SeededRandom('keys');
    const { net, a, b } = pair({
      a: { connection: { remote: [{ auth: 'pubkey', id: { kind: 'any' } }] } },
      b: {
        identity: { privateKey: seededEd25519(random), id: fqdn('b.example') },
        connection: { local: [{ auth: 'psk', id: undefined }] },
      },
    });
    a.initiate();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
    // RFC 7296 §2.21.2: an INFORMATIONAL with AUTHENTICATION_FAILED, or a Delete, so that the responder does not keep a dead SA.
    expect(net.transcript.messages.map((m) => m.summary).filter((s) => s.startsWith('INFORMATIONAL request'))).toHaveLength(1);
  });

  test('an unknown identity is refused like a wrong key', () => {
    const { net, a, b } = pair({ b: { connection: { remote: [{ auth: 'psk', id: { kind: 'exact', id: fqdn('carol.example') } }] } } });
    a.initiate();
    net.settle({ quiet: 120_000 });
    expect(net.transcript.messages.at(-1)?.summary).toBe('IKE_AUTH response 1  { N(AUTHENTICATION_FAILED) }');
    expectNothingLeft(a, b);
  });

  test('no common proposal: NO_PROPOSAL_CHOSEN in IKE_SA_INIT, and the responder keeps no state', () => {
    const { net, a, b } = pair({
      a: { connection: { proposals: [ikeProposal('aes256gcm16-prfsha384-ecp384')] } },
      b: { connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-x25519')] } },
    });
    a.initiate();
    net.chart(`
      a → b  IKE_SA_INIT { SA, KE, Ni, ... }
      b → a  IKE_SA_INIT { N(NO_PROPOSAL_CHOSEN) }
    `);
    expect(b.ikeSas).toEqual([]);
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
    expect(a.heard('ike-down')[0]?.error?.code).toMatch(/NO_PROPOSAL_CHOSEN/);
  });

  test('D27 no common ESP proposal: NO_PROPOSAL_CHOSEN in the IKE_AUTH answer, the IKE SA stands or is deleted properly', () => {
    const { net, a, b } = pair({
      a: { child: { proposals: [espProposal('aes256gcm16')] } },
      b: { child: { proposals: [espProposal('aes128gcm16')] } },
    });
    a.initiate();
    net.chart(`
      a → b  IKE_SA_INIT { SA, KE, Ni, ... }
      b → a  IKE_SA_INIT { SA, KE, Nr, ... }
      a → b  IKE_AUTH    { IDi, AUTH, SA, TSi, TSr, ... }
      b → a  IKE_AUTH    { IDr, AUTH, N(NO_PROPOSAL_CHOSEN), ... }
    `);
    net.settle({ quiet: 120_000 });
    expect(a.plane.children).toEqual([]);
    expect(b.plane.children).toEqual([]);
    expect(a.established.length).toBe(b.established.length);
    expect(a.heard('failed').map((n) => n.error.code)).toContainEqual(expect.stringMatching(/NO_PROPOSAL_CHOSEN/));
  });

  test('selectors that do not meet: TS_UNACCEPTABLE', () => {
    const { net, a, b } = pair({ b: { child: { localTs: [subnet('10.77.0.0/24')] } } });
    a.initiate();
    net.settle({ quiet: 120_000 });
    expect(net.transcript.messages[3]!.summary).toMatch(/IKE_AUTH response 1 .*AUTH.*N\(TS_UNACCEPTABLE\)/);
    expect([a.plane.children, b.plane.children]).toEqual([[], []]);
  });

  test('selectors that overlap are narrowed to what both want (RFC 7296 §2.9)', () => {
    const { net, a, b } = pair({
      a: { child: { localTs: [subnet('10.1.0.0/16')], remoteTs: [subnet('0.0.0.0/0')] } },
      b: { child: { localTs: [subnet('10.2.0.0/24')], remoteTs: [subnet('10.1.7.0/24')] } },
    });
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    expect(a.children[0]).toMatchObject({ localTs: [subnet('10.1.7.0/24')], remoteTs: [subnet('10.2.0.0/24')] });
    expect(b.children[0]).toMatchObject({ localTs: [subnet('10.2.0.0/24')], remoteTs: [subnet('10.1.7.0/24')] });
  });

  test('a silent peer: the initiator gives up when its time is over, not before and not much later', () => {
    const { net, a, b } = pair({ link: { loss: 1 } });
    a.initiate();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
    const down = a.notices.find(({ notice }) => notice.kind === 'ike-down')!;
    expect(down.at).toBeGreaterThanOrEqual(60_000);
    expect(down.at).toBeLessThan(62_000);
    expect(down.notice).toMatchObject({ error: { name: 'TimedOut' } });
  });

  test('the responder falls silent after IKE_SA_INIT: both ends clean up', () => {
    const { net, a, b } = pair();
    a.initiate();
    net.exchange('a → b  IKE_SA_INIT { ... }');
    net.exchange('b → a  IKE_SA_INIT { ... }');
    net.internet.core.intercept((packet) => (packet.data[18] === 35 ? [] : undefined));
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
  });
});

describe('detours of IKE_SA_INIT', () => {
  test('D29 under load a COOKIE is asked for without keeping state, and brought', () => {
    const made = pair({ b: { limits: { cookieThreshold: 0 } } });
    made.a.initiate();
    made.net.exchange('a → b  IKE_SA_INIT request 0 { SA, KE, Ni, ... }');
    made.net.exchange('b → a  IKE_SA_INIT response 0 { N(COOKIE) }');
    expect(made.b.ikeSas, 'no state before the cookie came back').toEqual([]);
    made.net.chart(`
      a → b  IKE_SA_INIT request 0 { N(COOKIE), SA, KE, Ni, ... }
      b → a  IKE_SA_INIT response 0 { SA, KE, Nr, ... }
      a → b  IKE_AUTH request 1 { IDi, AUTH, ... }
      b → a  IKE_AUTH response 1 { IDr, AUTH, ... }
    `);
    const withCookie = made.net.transcript.messages[2]!.summary;
    expect(withCookie, 'RFC 7296 §2.6: COOKIE is the first payload').toMatch(/^IKE_SA_INIT request 0 {2}\{ N\(COOKIE\), SA/);
    expectUp(made);
  });

  test('D31 a key exchange method that the responder does not take: INVALID_KE_PAYLOAD, and another try', () => {
    const made = pair({
      a: { connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-x25519-ecp256')] } },
      b: { connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-ecp256')] } },
    });
    made.a.initiate();
    made.net.chart(`
      a → b  IKE_SA_INIT request 0 { SA, KE, Ni, ... }
      b → a  IKE_SA_INIT response 0 { N(INVALID_KE_PAYLOAD) }
      a → b  IKE_SA_INIT request 0 { SA, KE, Ni, ... }
      b → a  IKE_SA_INIT response 0 { SA, KE, Nr, ... }
    `);
    expectUp(made);
    expect(made.a.ikeSas[0]!.suite).toContain('ecp256');
  });

  test('D48 COOKIE, then INVALID_KE_PAYLOAD: the third request has the new KE, the same nonce and SPI', () => {
    const made = pair({
      a: { connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-x25519-ecp256')] } },
      b: { limits: { cookieThreshold: 0 }, connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-ecp256')] } },
    });
    made.a.initiate();
    made.net.exchange('a → b  IKE_SA_INIT { SA, KE, Ni, ... }');
    made.net.exchange('b → a  IKE_SA_INIT { N(COOKIE) }');
    made.net.exchange('a → b  IKE_SA_INIT { N(COOKIE), SA, KE, Ni, ... }');
    made.net.exchange('b → a  IKE_SA_INIT { N(INVALID_KE_PAYLOAD), ... }');
    made.net.exchange('a → b  IKE_SA_INIT { N(COOKIE)?, SA, KE, Ni, ... }');
    expectUp(made);
    const nonces = made.net.transcript.messages
      .filter((m) => m.from === 'a' && m.summary.startsWith('IKE_SA_INIT'))
      .map((m) => m.text.match(/Ni .*/)?.[0]);
    expect(new Set(nonces).size).toBe(1);
  });

  test.each([
    ['INVALID_KE_PAYLOAD', {}],
    ['a cookie, then INVALID_KE_PAYLOAD', { cookieThreshold: 0 }],
  ])('on a path that takes longer than the first copy waits every demand comes several times: %s', (_what, limits) => {
    const made = pair({
      link: { delay: 900 },
      a: { connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-x25519-ecp256')] } },
      b: { limits, connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-ecp256')] } },
    });
    made.a.initiate();
    expectUp(made);
    expect(made.a.heard('failed')).toEqual([]);
  });

  test.each([
    ['NO_PROPOSAL_CHOSEN', NotifyType.NO_PROPOSAL_CHOSEN],
    ['AUTHENTICATION_FAILED', NotifyType.AUTHENTICATION_FAILED],
    ['INVALID_SYNTAX', NotifyType.INVALID_SYNTAX],
    ['INVALID_MAJOR_VERSION', NotifyType.INVALID_MAJOR_VERSION],
    ['an error that nobody knows', 8191],
  ])('somebody who sees the request forges %s: the true answer counts (RFC 7296 §2.21.1)', (_what, type) => {
    const made = pair({ link: { delay: 50 } });
    made.a.initiate();
    made.net.exchange('a → b  IKE_SA_INIT { SA, KE, Ni, ... }');
    const { header } = parseMessage(made.a.sent[0]!.data);
    const refusal = writeMessage({ ...header, flags: { initiator: false, response: true, version: false } }, [notify(type)]);
    for (let copy = 0; copy < 3; copy++) made.a.inject(refusal, { ip: '192.0.2.2', port: 500 });
    expectUp(made);
    expect(made.a.heard('failed')).toEqual([]);
    expect(made.a.heard('retransmit')).toEqual([]);
  });

  test('a refusal that nothing better follows counts after a moment, and asks nobody again', () => {
    const made = pair({ b: { connection: { proposals: [ikeProposal('aes256gcm16-prfsha384-ecp384')] } } });
    made.a.initiate();
    made.net.until('the verdict', () => made.a.heard('ike-down').length > 0, 2000);
    expect(made.a.heard('ike-down')[0]!.error?.code).toBe('PEER_NO_PROPOSAL_CHOSEN');
    expect(made.a.sent).toHaveLength(1);
    expectNothingLeft(made.a, made.b);
  });

  test('D30 an altered cookie is not taken: the responder asks again and keeps no state', () => {
    const { net, a, b } = pair({ b: { limits: { cookieThreshold: 0 } } });
    // SPIr zero, first payload N: the request that brings the cookie; its last cookie octet lies just before SA.
    net.internet.core.intercept((packet) => {
      if (packet.source.ip !== '192.0.2.1' || packet.data[18] !== 34 || packet.data[16] !== 41) return undefined;
      const data = packet.data.slice();
      const length = (data[30]! << 8) | data[31]!;
      data[28 + length - 1]! ^= 1;
      return [{ ...packet, data }];
    });
    a.initiate();
    net.settle({ quiet: 120_000 });
    expect(b.heard('ike-up')).toEqual([]);
    expect(b.heard('ike-state')).toEqual([]);
    expectNothingLeft(a, b);
  });
});
