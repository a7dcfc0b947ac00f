import { describe, expect, test } from 'vitest';
import { parseKeyword } from '../../../src/core/crypto/index.ts';
import { acceptIke, offer, selectChild, selectIke, withoutKe, withPfs } from '../../../src/core/ike/proposals.ts';
import type { Proposal } from '../../../src/core/wire/index.ts';

/** `1: aes256gcm16-prfsha384-x25519`; protocol 1 for IKE, 3 for ESP with a four-octet SPI. */
function proposal(words: string, protocol = 1, number = 1): Proposal {
  const transforms = words.split('-').map((word) => {
    const { type, id, keyLength } = parseKeyword(word)!;
    return keyLength === undefined ? { type, id } : { type, id, keyLength };
  });
  return { number, protocol, spi: protocol === 1 ? new Uint8Array(0) : new Uint8Array([1, 2, 3, 4]), transforms };
}
const ike = (...words: string[]) => words.map((w, i) => proposal(w, 1, i + 1));
const esp = (...words: string[]) => words.map((w, i) => proposal(w, 3, i + 1));

describe('selection of an IKE proposal (RFC 7296 §2.7)', () => {
  test('follows our preference, not the order of the offer: some clients offer their weakest first', () => {
    const ours = ike('aes256gcm16-prfsha384-x25519', 'aes128-sha256-prfsha256-modp2048');
    const selected = selectIke(ours, ike('aes128-sha256-prfsha256-modp2048', 'aes256gcm16-prfsha384-x25519'));
    expect(selected?.proposal.number).toBe(2);
    expect(selected?.suite).toMatchObject({ encryption: 20, keyLength: 256, prf: 6, keyExchange: 31, integrity: 0 });
  });

  test('takes one transform of each type', () => {
    const selected = selectIke(ike('aes256gcm16-prfsha256-x25519'), ike('aes128gcm16-aes256gcm16-prfsha384-prfsha256-ecp256-x25519'));
    expect(selected?.proposal.transforms).toHaveLength(3);
  });

  test.each([
    ['another key length', 'aes128gcm16-prfsha256-x25519'],
    ['another PRF', 'aes256gcm16-prfsha512-x25519'],
    ['another key exchange', 'aes256gcm16-prfsha256-ecp384'],
    ['a cipher that everybody has', 'aes128-sha256-prfsha256-x25519'],
    ['an integrity algorithm beside a combined-mode cipher (RFC 5282 §8)', 'aes256gcm16-sha256-prfsha256-x25519'],
  ])('refuses %s', (_what, words) => {
    expect(selectIke(ike('aes256gcm16-prfsha256-x25519'), ike(words))).toBeUndefined();
  });

  test.each([
    ['no PRF', 'aes256gcm16-x25519'],
    ['no key exchange', 'aes256gcm16-prfsha256'],
    ['a block cipher without integrity', 'aes256-prfsha256-x25519'],
  ])('a suite with %s is none, even where both ends name it', (_what, words) => {
    expect(selectIke(ike(words), ike(words))).toBeUndefined();
  });

  test('a proposal for another protocol is none for IKE', () => {
    expect(selectIke(ike('aes256gcm16-prfsha256-x25519'), [proposal('aes256gcm16-prfsha256-x25519', 3)])).toBeUndefined();
  });

  test('a proposal with a transform type that we do not know is passed over, another one is taken (RFC 7296 §3.3.6)', () => {
    const plain = proposal('aes256gcm16-prfsha256-x25519', 1, 2);
    for (const unknown of [
      { type: 6, id: 36 },
      { type: 13, id: 0 },
      { type: 200, id: 1 },
      { type: 200, id: 0 },
    ]) {
      const strange = { ...plain, number: 1, transforms: [...plain.transforms, unknown] };
      expect(selectIke([plain], [strange, plain])?.proposal.number).toBe(2);
    }
  });

  test('of types that IKE has no use for, the absence may be said (RFC 7296 §3.3.3)', () => {
    const plain = proposal('aes256gcm16-prfsha256-x25519');
    expect(selectIke([plain], [{ ...plain, transforms: [...plain.transforms, { type: 5, id: 0 }] }])).toBeDefined();
    expect(selectIke([plain], [{ ...plain, transforms: [...plain.transforms, { type: 5, id: 1 }] }])).toBeUndefined();
  });

  test.each([
    ['AES without a Key Length', { type: 1, id: 20 }],
    ['AES with a Key Length that AES has not', { type: 1, id: 20, keyLength: 512 }],
    ['ChaCha20 with a Key Length', { type: 1, id: 28, keyLength: 256 }],
  ])('a suite of %s is none, even where both ends name it (RFC 7296 §3.3.5)', (_what, cipher) => {
    for (const [protocol, rest] of [
      [1, 'prfsha256-x25519'],
      [3, 'noesn'],
    ] as const) {
      const plain = proposal(rest, protocol);
      const both = [{ ...plain, transforms: [cipher, ...plain.transforms] }];
      expect(protocol === 1 ? selectIke(both, both) : selectChild(both, both, false)).toBeUndefined();
    }
  });

  test('what is chosen comes back as it was offered, with its attributes and under its number (RFC 7296 §3.3.6)', () => {
    const offered = [proposal('aes256-sha256-prfsha256-ecp256', 1, 1), proposal('aes192gcm16-prfsha384-x25519', 1, 2)];
    expect(selectIke(ike('aes192gcm16-prfsha384-x25519'), offered)?.proposal).toEqual(offered[1]);
  });

  test('proposals go out numbered from 1, one by one, in our order (RFC 7296 §3.3)', () => {
    const words = ['aes256gcm16-prfsha384-x25519', 'aes256-sha256-prfsha256-x25519', 'aes128-sha256-prfsha256-x25519'];
    const unnumbered = words.map((each) => proposal(each, 1, 9));
    const offered = offer(unnumbered, new Uint8Array(0));
    expect(offered.map(({ number }) => number)).toEqual([1, 2, 3]);
    expect(offered.map(({ transforms }) => transforms)).toEqual(unnumbered.map(({ transforms }) => transforms));
  });

  test('a transform with an attribute that we do not know is not the one we have (RFC 7296 §3.3.6)', () => {
    const plain = proposal('aes256gcm16-prfsha256-x25519');
    const odd = { ...plain, transforms: plain.transforms.map((t) => (t.type === 1 ? { ...t, attributes: [{ type: 99, value: 1 }] } : t)) };
    expect(selectIke([plain], [odd])).toBeUndefined();
  });

  test('the initiator refuses what it did not offer, two transforms of a type, and two proposals (RFC 7296 §3.3)', () => {
    const offered = offer(ike('aes256gcm16-prfsha256-x25519-ecp256'), new Uint8Array(0));
    expect(acceptIke(offered, ike('aes256gcm16-prfsha256-ecp256'))).toBeDefined();
    expect(acceptIke(offered, ike('aes256gcm16-prfsha256-ecp384'))).toBeUndefined();
    expect(acceptIke(offered, ike('aes256gcm16-prfsha256-x25519-ecp256'))).toBeUndefined();
    expect(acceptIke(offered, ike('aes256gcm16-prfsha256-ecp256', 'aes256gcm16-prfsha256-ecp256'))).toBeUndefined();
    expect(acceptIke(offered, [proposal('aes256gcm16-prfsha256-ecp256', 1, 7)])).toBeUndefined();
  });
});

describe('selection of a CHILD_SA proposal', () => {
  test('of ciphers and of integrity algorithms one each, or none at all (RFC 7296 §2.7)', () => {
    const ours = esp('aes128-aes256-sha1');
    const selected = selectChild(ours, esp('3des-aes128-aes256-sha256-sha1'), false);
    expect(selected?.proposal.transforms.map(({ type, id }) => [type, id])).toEqual([
      [1, 12],
      [3, 2],
    ]);
    expect(selectChild(ours, esp('3des-aes128-aes256-sha256'), false)).toBeUndefined();
  });

  test('ESN is agreed when both offer it, and its absence means none (RFC 7296 §3.3.3)', () => {
    const ours = esp('aes128gcm16-esn-noesn');
    expect(selectChild(ours, esp('aes128gcm16-noesn-esn'), false)?.suite.esn).toBe(true);
    expect(selectChild(ours, esp('aes128gcm16-noesn'), false)?.suite.esn).toBe(false);
    expect(selectChild(ours, esp('aes128gcm16'), false)?.suite.esn).toBe(false);
    expect(selectChild(esp('aes128gcm16-esn'), esp('aes128gcm16-noesn'), false)).toBeUndefined();
  });

  test('in IKE_AUTH a key exchange transform means nothing (RFC 7296 §1.2)', () => {
    expect(selectChild(esp('aes128gcm16-noesn'), esp('aes128gcm16-modp2048-noesn'), false)?.suite.keyExchange).toBe(0);
  });

  test.each([
    ['require', 'aes128gcm16-noesn', undefined],
    ['require', 'aes128gcm16-x25519-noesn', 31],
    ['prefer', 'aes128gcm16-noesn', 0],
    ['prefer', 'aes128gcm16-x25519-noesn', 31],
    ['off', 'aes128gcm16-noesn', 0],
    ['off', 'aes128gcm16-x25519-noesn', undefined],
  ] as const)('PFS %s meets %s', (pfs, words, method) => {
    expect(selectChild(withPfs(esp('aes128gcm16-x25519-noesn'), pfs), esp(words), true)?.suite.keyExchange).toBe(method);
  });

  test('an SPI that is not four octets is no ESP proposal', () => {
    expect(selectChild(esp('aes128gcm16'), [{ ...proposal('aes128gcm16', 3), spi: new Uint8Array(8) }], false)).toBeUndefined();
  });

  test('leaving out the key exchange leaves no doubles', () => {
    expect(withoutKe(esp('aes128gcm16-x25519', 'aes128gcm16-ecp256'))).toHaveLength(1);
  });
});
