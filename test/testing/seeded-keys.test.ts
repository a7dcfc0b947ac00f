import { expect, test } from 'vitest';
import { toHex } from '../../src/core/bytes/index.ts';
import { exportSpki, keyInfo, publicKeyOf, schemeByName, signAuth, verifyAuth } from '../../src/core/crypto/index.ts';
import { SeededRandom } from '../../src/testing/seeded.ts';
import { seededEd25519, seededRsa } from '../../src/testing/seeded-keys.ts';

const octets = new TextEncoder().encode('signed octets');

test.each([
  ['ed25519', 'ed25519', (seed: number) => seededEd25519(new SeededRandom(seed))],
  ['rsa', 'rsa-pkcs1-sha256', (seed: number) => seededRsa(new SeededRandom(seed), 1024)],
] as const)('a %s key replays from its seed, and signs', (kind, scheme, make) => {
  const key = make(1);
  expect(keyInfo(key)?.kind).toBe(kind);
  expect(toHex(exportSpki(make(1)))).toBe(toHex(exportSpki(key)));
  expect(toHex(exportSpki(make(2)))).not.toBe(toHex(exportSpki(key)));
  const data = signAuth(key, schemeByName(scheme)!, octets);
  expect(toHex(signAuth(make(1), schemeByName(scheme)!, octets))).toBe(toHex(data));
  expect(verifyAuth({ method: 14, data, publicKey: publicKeyOf(key), octets }).ok).toBe(true);
  expect(verifyAuth({ method: 14, data, publicKey: publicKeyOf(make(2)), octets }).ok).toBe(false);
});
