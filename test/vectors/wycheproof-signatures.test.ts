import { expect, test } from 'vitest';
import { concat, equalBytes } from '../../src/core/bytes/index.ts';
import {
  importPrivateKey,
  importPublicKey,
  type SignatureAlgorithm,
  type SignatureHash,
  signAuth,
  verifyAuth,
  verifySignature,
  writeAlgorithmIdentifier,
} from '../../src/core/crypto/index.ts';
import { describeWithShared } from '../support/shared.ts';
import { type Case, type Group, hex, tally, text } from './wycheproof-files.ts';

const HASHES: Readonly<Record<string, SignatureHash>> = {
  'SHA-1': 'sha1',
  'SHA-224': 'sha224',
  'SHA-256': 'sha256',
  'SHA-384': 'sha384',
  'SHA-512': 'sha512',
  'SHA-512/224': 'sha512-224',
  'SHA-512/256': 'sha512-256',
};
const hashOf = (group: Group, field = 'sha'): SignatureHash => HASHES[text(group, field)]!;

/** Verifies as a certificate does and as an AUTH payload of method 14 does; both must come to the same answer. */
function holds(group: Group, vector: Case, algorithm: SignatureAlgorithm, inIke = true): boolean {
  const identifier = writeAlgorithmIdentifier(algorithm);
  const spki = hex(group, 'publicKeyDer');
  const verdict = verifySignature({ algorithm: identifier, publicKey: spki, data: hex(vector, 'msg'), signature: hex(vector, 'sig') });
  if (inIke) {
    const data = concat(Uint8Array.of(identifier.length), identifier, hex(vector, 'sig'));
    expect(verifyAuth({ method: 14, data, publicKey: importPublicKey(spki), octets: hex(vector, 'msg') }).ok).toBe(verdict.ok);
  }
  return verdict.ok;
}

describeWithShared('Wycheproof: signatures', 'vectors/wycheproof', () => {
  for (const file of [
    'ecdsa_secp256r1_sha256.json',
    'ecdsa_secp384r1_sha384.json',
    'ecdsa_secp521r1_sha512.json',
    'ecdsa_brainpoolP256r1_sha256.json',
    'ecdsa_brainpoolP384r1_sha384.json',
    'ecdsa_brainpoolP512r1_sha512.json',
  ]) {
    test(file, () => {
      const result = tally(file, (group, vector) => holds(group, vector, { kind: 'ecdsa', hash: hashOf(group) }));
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(100);
    });
  }

  for (const [file, method, curve, hash] of [
    ['ecdsa_secp256r1_sha256_p1363.json', 9, 'secp256r1', 'sha256'],
    ['ecdsa_secp384r1_sha384_p1363.json', 10, 'secp384r1', 'sha384'],
    ['ecdsa_secp521r1_sha512_p1363.json', 11, 'secp521r1', 'sha512'],
  ] as const) {
    test(`${file} through authentication method ${method}`, () => {
      const result = tally(file, (group, vector) => {
        expect([(group.publicKey as { curve: string }).curve, hashOf(group)]).toEqual([curve, hash]);
        return verifyAuth({
          method,
          data: hex(vector, 'sig'),
          publicKey: importPublicKey(hex(group, 'publicKeyDer')),
          octets: hex(vector, 'msg'),
        }).ok;
      });
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(40);
    });
  }

  for (const [file, kind] of [
    ['ed25519.json', 'ed25519'],
    ['ed448.json', 'ed448'],
  ] as const) {
    test(file, () => {
      const result = tally(file, (group, vector) => holds(group, vector, { kind }));
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(50);
    });
  }

  for (const file of ['rsa_signature_2048_sha256.json', 'rsa_signature_3072_sha384.json', 'rsa_signature_4096_sha512.json']) {
    test(`${file}: DigestInfo without its NULL (acceptable) is refused, there is one right encoding`, () => {
      const result = tally(file, (group, vector) => {
        const modern = holds(group, vector, { kind: 'rsa-pkcs1', hash: hashOf(group) });
        // Method 1 takes any hash it trusts, so vectors that hold under another hash than the group's are no fault there.
        if (modern)
          expect(
            verifyAuth({
              method: 1,
              data: hex(vector, 'sig'),
              publicKey: importPublicKey(hex(group, 'publicKeyDer')),
              octets: hex(vector, 'msg'),
            }).ok,
          ).toBe(true);
        return modern;
      });
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(100);
    });
  }

  for (const file of [
    'rsa_pss_2048_sha256_mgf1_32.json',
    'rsa_pss_3072_sha256_mgf1_32.json',
    'rsa_pss_4096_sha384_mgf1_48.json',
    'rsa_pss_4096_sha512_mgf1_64.json',
    'rsa_pss_misc.json',
  ]) {
    test(file, () => {
      const result = tally(file, (group, vector) => {
        const algorithm = {
          kind: 'rsa-pss',
          hash: hashOf(group),
          mgfHash: hashOf(group, 'mgfSha'),
          saltLength: group.sLen as number,
        } as const;
        // A certificate may combine hashes as RFC 4055 allows; IKE takes one SHA-2 for both places.
        return holds(
          group,
          vector,
          algorithm,
          algorithm.hash === algorithm.mgfHash && ['sha256', 'sha384', 'sha512'].includes(algorithm.hash),
        );
      });
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(60);
    });
  }

  for (const file of ['rsa_pkcs1_2048_sig_gen.json', 'rsa_pkcs1_3072_sig_gen.json']) {
    test(`${file}: we sign to the octet the same; SHA-1 and e = 3 (acceptable) come out right as well`, () => {
      const result = tally(
        file,
        (group, vector) => {
          const algorithm: SignatureAlgorithm = { kind: 'rsa-pkcs1', hash: hashOf(group) };
          const scheme = { name: 'under test', authMethod: 1, hash: 0, algorithm, algorithmIdentifier: new Uint8Array(0) };
          return equalBytes(signAuth(importPrivateKey(hex(group, 'privateKeyPkcs8')), scheme, hex(vector, 'msg')), hex(vector, 'sig'));
        },
        { acceptable: () => true },
      );
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(15);
    });
  }
});
