import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat, toHex, utf8 } from '../../src/core/bytes/index.ts';
import { createPacketCipher, prf, pskAuth } from '../../src/core/crypto/index.ts';
import { InboundSa, OpenedPacket, OutboundSa } from '../../src/core/esp/index.ts';
import type { RemoteAuth } from '../../src/core/ike/index.ts';
import { parseIdentityPattern } from '../../src/core/pki/index.ts';
import {
  childPolicy,
  connectionPolicy,
  espProposal,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  fqdn,
  ikeProposal,
  Net,
  type Peer,
  pair,
  SeededRandom,
  subnet,
} from '../../src/testing/index.ts';
import { seededRsa } from '../../src/testing/seeded-keys.ts';

describe('D06 ESN 1 and 0 are offered, and the other end takes 1 only', () => {
  const proposals = [espProposal('aes128gcm16-esn')];

  test.each(['a', 'b'] as const)('%s is the one that insists: ESN is selected, and the ICV covers the high word', (strict) => {
    const { net, a, b } = pair({ child: { proposals: [espProposal('aes128gcm16-noesn-esn')] }, [strict]: { child: { proposals } } });
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    for (const peer of [a, b]) expect(peer.plane.children[0]!.spec.esn).toBe(true);
    expectTrafficBothWays(net, a, b);
    expectHighWordCovered(a, b);
    expectInvariants(net);
  });

  test('an end that insists on 32 bits finds no proposal', () => {
    const { net, a, b } = pair({ a: { child: { proposals } }, b: { child: { proposals: [espProposal('aes128gcm16-noesn')] } } });
    a.initiate();
    net.settle({ quiet: 120_000 });
    expect(net.transcript.messages.some((message) => message.summary.includes('NO_PROPOSAL_CHOSEN'))).toBe(true);
    expectNothingLeft(a, b);
  });
});

/** With the negotiated keys, from one packet before 2^32 on: the receiver of that epoch takes it, one of another epoch does not. */
function expectHighWordCovered(a: Peer, b: Peer): void {
  const [out, into] = [a.plane.children[0]!.spec, b.plane.children[0]!.spec];
  const before = { sequenceHigh: 0, sequenceLow: 0xffff_fffe };
  const sender = new OutboundSa({
    spi: out.outbound.spi,
    cipher: createPacketCipher(out.outbound),
    esn: out.esn,
    resume: before,
  });
  const receiver = (resume: typeof before) =>
    new InboundSa({ spi: into.inbound.spi, cipher: createPacketCipher(into.inbound), esn: into.esn, replayWindow: 64, resume });
  const payload = utf8('across 2^32');
  const packets = [1, 2, 3].map(() => {
    const packet = new Uint8Array(sender.sealedLength(payload.length));
    return packet.subarray(0, sender.seal(payload, 4, packet, 0));
  });
  // only the low half is on the wire
  expect(packets.map((packet) => toHex(packet.subarray(4, 8)))).toEqual(['ffffffff', '00000000', '00000001']);
  const same = receiver(before);
  for (const packet of packets) expect(same.open(packet.slice(), new OpenedPacket())).toBe('ok');
  const later = receiver({ sequenceHigh: 7, sequenceLow: 0 });
  expect(later.open(packets[2]!.slice(), new OpenedPacket())).toBe('icv');
}

describe('D07 without IDr the responder chooses who it is, and a wildcard of the initiator finds it', () => {
  function without(idr: string) {
    return pair({
      a: { connection: { remote: [{ auth: 'psk', id: parseIdentityPattern(idr) }] } },
      b: { connection: { local: [{ auth: 'psk', id: fqdn('gw.east.example') }] } },
    });
  }

  test.each(['*.east.example', '%any'])('%s', (wildcard) => {
    const { net, a, b } = without(wildcard);
    a.initiate();
    net.settle();
    const request = net.transcript.messages.find((message) => message.summary.startsWith('IKE_AUTH request'))!;
    expect(request.summary).not.toMatch(/IDr/);
    expect(a.established[0]!.remoteId).toEqual(fqdn('gw.east.example'));
    expectTrafficBothWays(net, a, b);
  });

  test('a wildcard that does not fit refuses it', () => {
    const { net, a, b } = without('*.west.example');
    a.initiate();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
    expect(a.heard('child-up')).toEqual([]);
  });

  test('of several identities of the responder that one counts whose connection is for this initiator', () => {
    const net = new Net('several identities');
    const user = (name: string, ip: string) =>
      net.peer(name, ip, {
        identity: { id: fqdn(name) },
        connections: [
          connectionPolicy({
            localAddresses: [ip],
            remoteAddresses: ['198.51.100.2'],
            local: [{ auth: 'psk', id: fqdn(name) }],
            remote: [{ auth: 'psk', id: parseIdentityPattern('*.example') }],
          }),
        ],
      });
    const serves = (name: string, own: string, theirs: string) =>
      connectionPolicy({
        name,
        localAddresses: ['198.51.100.2'],
        local: [{ auth: 'psk', id: fqdn(own) }],
        remote: [{ auth: 'psk', id: parseIdentityPattern(theirs) }],
        children: [childPolicy({ localTs: [subnet('10.2.0.0/24')], remoteTs: [subnet('10.1.0.0/24')] })],
      });
    net.peer('gw', '198.51.100.2', {
      connections: [serves('staff', 'staff.example', '*.staff.lab'), serves('guests', 'guests.example', '%any')],
    });
    const users = [user('ann.staff.lab', '192.0.2.1'), user('gus.lab', '192.0.2.2')];
    for (const each of users) each.initiate();
    net.settle();
    expect(users.map((each) => each.established[0]?.remoteId)).toEqual([fqdn('staff.example'), fqdn('guests.example')]);
  });
});

describe('D08 RFC 7427 with a hash constraint for each connection', () => {
  /** Two users under one wildcard: by the hash they sign with, one reaches the first network, the other the second. */
  function world(signs: string, wants: string) {
    const net = new Net('hash constraints');
    const key = (label: string) => seededRsa(new SeededRandom(`D08 ${label}`, 'key'), 1024);
    const remote = (hash: string): RemoteAuth => ({ auth: 'pubkey', id: parseIdentityPattern('*.lab'), schemes: [hash] });
    const gw = net.peer('gw', '198.51.100.2', {
      identity: { id: fqdn('gw.example'), privateKey: key('gw') },
      connections: [['sha256', '10.2.1.0/24'] as const, ['sha512', '10.2.2.0/24'] as const].map(([hash, net]) =>
        connectionPolicy({
          name: hash,
          localAddresses: ['198.51.100.2'],
          local: [{ auth: 'pubkey', id: fqdn('gw.example') }],
          remote: [remote(hash)],
          children: [childPolicy({ localTs: [subnet(net)], remoteTs: [subnet('10.1.0.0/24')] })],
        }),
      ),
    });
    const user = net.peer('user', '192.0.2.1', {
      identity: { id: fqdn('user.lab'), privateKey: key('user') },
      connections: [
        connectionPolicy({
          localAddresses: ['192.0.2.1'],
          remoteAddresses: ['198.51.100.2'],
          local: [{ auth: 'pubkey', id: fqdn('user.lab'), schemes: [signs] }],
          remote: [{ auth: 'pubkey', id: { kind: 'exact', id: fqdn('gw.example') } }],
          children: [childPolicy({ remoteTs: [subnet(wants)] })],
        }),
      ],
    });
    user.initiate();
    net.settle({ quiet: 120_000 });
    return { net, gw, user };
  }

  test.each([
    ['sha256', '10.2.1.0/24'],
    ['sha512', '10.2.2.0/24'],
  ])('%s reaches its network', (hash, network) => {
    const { net, gw, user } = world(hash, network);
    expect(gw.established[0]!.connection).toBe(hash);
    expectTrafficBothWays(net, user, gw);
  });

  test.each([
    ['sha256', '10.2.2.0/24'],
    ['sha512', '10.2.1.0/24'],
  ])('%s does not reach the other one: the child is refused', (hash, network) => {
    const { net, gw, user } = world(hash, network);
    expect(net.transcript.messages.some((message) => message.summary.includes('TS_UNACCEPTABLE'))).toBe(true);
    expect([...gw.heard('child-up'), ...user.heard('child-up')]).toEqual([]);
  });

  test('a hash that no connection takes does not authenticate', () => {
    const { net, gw, user } = world('sha384', '10.2.1.0/24');
    expect(net.transcript.messages.some((message) => message.summary.includes('AUTHENTICATION_FAILED'))).toBe(true);
    expectNothingLeft(gw, user);
  });
});

describe('D44 a pre-shared key as long as the block of the hash, and longer', () => {
  const BLOCK = { sha1: 64, sha256: 64, sha384: 128, sha512: 128 } as const;
  const cases = (Object.keys(BLOCK) as (keyof typeof BLOCK)[]).flatMap((hash) =>
    [64, 65, 127, 128, 129, 255].map((octets) => [hash, octets] as const),
  );

  test.each(cases)('prf%s, %i octets: both ends agree, and AUTH is what RFC 2104 says', (hash, octets) => {
    const psk = Uint8Array.from({ length: octets }, (_, i) => i);
    const identity = { psk };
    const proposals = [ikeProposal(`aes128gcm16-prf${hash}-x25519`)];
    const { net, a, b } = pair({ connection: { proposals }, a: { identity }, b: { identity } });
    a.initiate();
    net.settle();
    expectTrafficBothWays(net, a, b);
    const id = proposals[0]!.transforms[1]!.id;
    const padded = hmac(hash, BLOCK[hash], psk, utf8('Key Pad for IKEv2'));
    expect(toHex(pskAuth(prf(id)!, psk, utf8('octets')))).toBe(toHex(hmac(hash, BLOCK[hash], padded, utf8('octets'))));
  });

  test('a key that differs only behind the block is another key', () => {
    const psk = (last: number) => concat(new Uint8Array(64).fill(7), Uint8Array.of(last));
    const { net, a, b } = pair({ a: { identity: { psk: psk(1) } }, b: { identity: { psk: psk(2) } } });
    a.initiate();
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a, b);
  });
});

/** HMAC of RFC 2104 §2, out of the hash alone: a key longer than the block is hashed first. */
function hmac(hash: string, block: number, key: Uint8Array, data: Uint8Array): Uint8Array {
  const digest = (...parts: readonly Uint8Array[]): Uint8Array =>
    createHash(hash)
      .update(concat(...parts))
      .digest();
  const padded = new Uint8Array(block);
  padded.set(key.length > block ? digest(key) : key);
  const xor = (pad: number) => padded.map((octet) => octet ^ pad);
  return new Uint8Array(digest(xor(0x5c), digest(xor(0x36), data)));
}
