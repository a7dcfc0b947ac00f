import { describe, expect, test } from 'vitest';
import { optIn, parseKeyword } from '../../src/core/crypto/index.ts';
import {
  espProposal,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  ikeProposal,
  type Pair,
  pair,
} from '../../src/testing/index.ts';

function between(ike: string, esp: string, theirs = { ike, esp }): Pair {
  const made = pair({
    a: { connection: { proposals: [ikeProposal(ike)] }, child: { proposals: [espProposal(esp)] } },
    b: { connection: { proposals: [ikeProposal(theirs.ike)] }, child: { proposals: [espProposal(theirs.esp)] } },
  });
  made.a.initiate();
  made.net.settle();
  return made;
}

/** As proposed, at both ends, with traffic over one life of the child and the next. */
function expectAgreed({ net, a, b }: Pair, esp: string): void {
  const [cipher, mac] = esp.split('-').map((word) => parseKeyword(word)!);
  for (const peer of [a, b]) {
    const { inbound, outbound } = peer.plane.children[0]!.spec;
    for (const half of [inbound, outbound])
      expect([half.encryption, half.keyLength, half.integrity]).toEqual([cipher!.id, cipher!.keyLength, mac?.type === 3 ? mac.id : 0]);
  }
  expectOneChild(a, b);
  expectTrafficBothWays(net, a, b);
  a.rekeyChild();
  net.settle();
  expectTrafficBothWays(net, a, b);
  expectInvariants(net);
}

describe('D24 algorithms are negotiated as proposed, and data flows', () => {
  test.each([
    // alg-aes-ccm
    ['aes128ccm12-prfaesxcbc-ecp256', 'aes128ccm16-ecp256'],
    ['aes256ccm8-prfsha256-x25519', 'aes192ccm8-esn'],
    // alg-chacha20poly1305
    ['chacha20poly1305-prfsha256-x25519', 'chacha20poly1305-x25519-esn'],
    // esp-alg-aes-gmac
    ['aes128-sha256-prfsha256-modp2048', 'aes128gmac-modp2048-esn'],
    ['aes256gcm16-prfsha384-ecp384', 'aes256gmac'],
  ])('%s and %s', (ike, esp) => expectAgreed(between(ike, esp), esp));
});

describe('what is opt-in is spoken where both ends name it', () => {
  test.each([
    ['camellia128-sha256-prfsha256-ecp224bp', 'camellia128-sha256-ecp224bp-esn'],
    ['camellia256ctr-sha384-prfsha384-ecp256bp', 'camellia192ctr-sha256_96'],
    ['camellia256ccm16-prfsha512-ecp384bp', 'camellia128ccm8-ecp512bp-esn'],
    ['camellia192ccm12-prfsha256-ecp512bp', 'aes256gcm16iiv-esn'],
    ['3des-sha1-prfsha1-modp1024', '3des-sha1-modp1024'],
    ['aes128-sha256_96-prfsha256-modp1536', 'aes128ccm8iiv'],
    ['aes128gcm16-prfsha256-modp1024s160', 'chacha20poly1305iiv-modp1024s160-esn'],
    ['aes128gcm16-prfsha256-modp2048s224', 'aes192gcm16iiv-modp2048s256'],
    ['aes128gcm16-prfsha256-ecp192', 'null-sha256-ecp224'],
  ])('%s and %s', (ike, esp) => {
    for (const word of `${ike}-${esp}`.split('-')) expect(parseKeyword(word)).toBeDefined();
    expect(`${ike}-${esp}`.split('-').some((word) => optIn(parseKeyword(word)!) !== undefined)).toBe(true);
    expectAgreed(between(ike, esp), esp);
  });

  test('an implicit IV is chosen where the peer has it too, and gives way to the explicit one where it has not (RFC 8750 §5)', () => {
    const esp = 'aes256gcm16iiv-aes256gcm16';
    const ike = 'aes128gcm16-prfsha256-x25519';
    expectAgreed(between(ike, esp), 'aes256gcm16iiv');
    expectAgreed(between(ike, esp, { ike, esp: 'aes256gcm16' }), 'aes256gcm16');
    expectAgreed(between(ike, 'aes256gcm16', { ike, esp }), 'aes256gcm16');
  });
});

describe('SHA2-256 cut to 96 bits, as was done before RFC 4868', () => {
  const sides = (a: boolean, b: boolean): Pair => {
    const child = { proposals: [espProposal('aes128-sha256')] };
    const made = pair({ a: { child: { ...child, sha256_96: a } }, b: { child: { ...child, sha256_96: b } } });
    made.a.initiate();
    made.net.settle();
    return made;
  };

  test('both ends negotiate the transform of RFC 4868 and do the other, over rekeyings too', () => {
    const { net, a, b } = sides(true, true);
    expectTrafficBothWays(net, a, b);
    a.rekeyChild();
    net.settle();
    expectTrafficBothWays(net, a, b);
    for (const { plane } of [a, b])
      expect(plane.children.map(({ spec }) => [spec.inbound.integrity, spec.outbound.integrity])).toEqual([[1026, 1026]]);
    expect(a.established[0]!.children[0]!.suite).toMatch(/sha256(?!_96)/);
  });

  test('where one end alone does it, nothing gets through, and both drop it for its ICV or its length', () => {
    const { net, a, b } = sides(true, false);
    for (const peer of [a, b]) peer.sendTraffic(new Uint8Array(60));
    net.settle();
    expect([a.plane.received, b.plane.received]).toEqual([[], []]);
    for (const { plane } of [a, b]) expect((plane.drops.icv ?? 0) + (plane.drops.malformed ?? 0)).toBe(1);
  });
});

describe('what is for one protocol alone is not taken for another, even where both ends offer it', () => {
  const good = { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16' };
  test.each([
    'aes128gmac-prfsha256-x25519',
    'aes256gcm16iiv-prfsha256-x25519',
    'null-sha256-prfsha256-x25519',
    'aes128-aes128gmac_ah-prfsha256-x25519',
  ])('IKE with %s: NO_PROPOSAL_CHOSEN', (ike) => {
    const { net, a, b } = between(ike, good.esp);
    net.settle({ quiet: 120_000 });
    expect([...a.established, ...b.established]).toEqual([]);
    expectNothingLeft(a, b);
    expect(a.heard('ike-down')[0]?.error?.code).toMatch(/NO_PROPOSAL_CHOSEN/);
  });

  test.each(['aes128-aes128gmac_ah', 'null-aes256gmac_ah'])('ESP with %s: no CHILD_SA', (esp) => {
    const { a, b } = between(good.ike, esp);
    expect([...a.plane.children, ...b.plane.children]).toEqual([]);
  });
});
