import { createHash, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat, fromHex, toHex, utf8 } from '../../src/core/bytes/index.ts';
import { type KeyObject, verifyAuth, writeAlgorithmIdentifier } from '../../src/core/crypto/index.ts';
import { sameIdentity as sameInCore } from '../../src/core/ike/index.ts';
import { type Certificate, matchStrength, parseIdentityPattern, sameIdentity } from '../../src/core/pki/index.ts';
import { type Identification, IdType } from '../../src/core/wire/index.ts';
import { CertificateCache } from '../../src/host/engine/credentials/cache.ts';
import { forSeeds } from '../support/gen.ts';

/**
 * strongSwan CVE-2018-16151 and CVE-2018-16152: PKCS #1 v1.5 verified leniently lets anybody forge for a key with a small exponent
 * (Bleichenbacher, 2006). The forgery is made here, and shown to be one that a lenient verifier takes.
 */
describe('CVE-2018-16151, CVE-2018-16152: signatures forged for e = 3', () => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 });
  const jwk = publicKey.export({ format: 'jwk' });
  const n = BigInt(`0x${Buffer.from(jwk.n!, 'base64url').toString('hex')}`);
  const octets = utf8('RealMessage | Nonce | prf(SK_p, ID)');
  const digest = createHash('sha256').update(octets).digest('hex');
  const INFO = '3031300d060960864801650304020105000420';

  const forgeries: Readonly<Record<string, string>> = {
    'garbage behind the digest': `0001ffffffffffffffff00${INFO}${digest}`,
    'no padding at all': `000100${INFO}${digest}`,
    'DigestInfo without NULL': `0001ffffffffffffffff00302f300b0609608648016503040201${'0420'}${digest}`,
    'garbage in the parameters (CVE-2018-16152)': `0001ffffffffffffffff003082015e3082013806096086480165030402010582`,
  };

  test.each(Object.entries(forgeries))('%s', (_what, prefix) => {
    const room = 2n * BigInt(384 - prefix.length / 2) * 4n;
    const root = cubeRoot((BigInt(`0x${prefix}`) << room) + ((1n << room) - 1n));
    const block = root ** 3n;
    expect(block < n).toBe(true);
    // what a verifier that looks at the beginning alone would see
    expect(block.toString(16).padStart(768, '0').startsWith(prefix)).toBe(true);
    const signature = fromHex(root.toString(16).padStart(768, '0'));
    const identifier = writeAlgorithmIdentifier({ kind: 'rsa-pkcs1', hash: 'sha256' });
    for (const input of [
      { method: 1, data: signature },
      { method: 14, data: concat(Uint8Array.of(identifier.length), identifier, signature) },
    ])
      expect(verifyAuth({ ...input, publicKey: publicKey as KeyObject, octets, allowSha1: true }).ok).toBe(false);
  });

  test('strongSwan CVE-2017-11185, CVE-2018-17540: signatures of n, above n, of 0, 1 and n - 1', () => {
    const key = createPublicKey({ key: jwk, format: 'jwk' }) as KeyObject;
    for (const value of [0n, 1n, n - 1n, n, n + 1n, (1n << 3072n) - 1n]) {
      const data = fromHex(value.toString(16).padStart(768, '0'));
      expect(verifyAuth({ method: 1, data, publicKey: key, octets, allowSha1: true }).ok).toBe(false);
    }
  });
});

describe('CVE-2013-6075: identities are the same or they are not; no beginning of one is enough', () => {
  const of = (idType: number, data: Uint8Array): Identification => ({ idType, data });
  const TYPES = [
    IdType.ID_IPV4_ADDR,
    IdType.ID_FQDN,
    IdType.ID_RFC822_ADDR,
    IdType.ID_IPV6_ADDR,
    IdType.ID_DER_ASN1_DN,
    IdType.ID_KEY_ID,
    0,
    255,
  ];

  test('prefixes, extensions, NULs, another type', () => {
    for (const idType of TYPES) {
      const whole = utf8('gw.example.com');
      for (let length = 0; length < whole.length; length++) expectOther(of(idType, whole), of(idType, whole.subarray(0, length)));
      for (const tail of ['\0', '\0evil', '.', ' ', '.evil.example']) expectOther(of(idType, whole), of(idType, concat(whole, utf8(tail))));
      for (const other of TYPES) if (other !== idType) expectOther(of(idType, whole), of(other, whole));
      expect(sameIdentity(of(idType, whole), of(idType, whole.slice()))).toBe(true);
      expectOther(of(idType, whole), of(idType, new Uint8Array(0)));
    }
  });

  test('arbitrary octets, as every type: only themselves', () => {
    forSeeds(300, (gen) => {
      const a = of(gen.pick(TYPES), gen.bytes(0, 40));
      const b = of(gen.oneIn(3) ? gen.pick(TYPES) : a.idType, gen.oneIn(2) ? changed(a.data, gen) : gen.bytes(0, 40));
      expect(sameIdentity(a, a)).toBe(true);
      expect(sameIdentity(a, b)).toBe(sameIdentity(b, a));
      if (fold(a) !== fold(b)) expectOther(a, b);
    });
  });

  test('a wildcard takes no part of a name for the whole of it', () => {
    for (const [pattern, id] of [
      ['*@example.com', 'alice@example.com.evil.org'],
      ['*@example.com', 'alice@evil.org\0@example.com'],
      ['*@example.com', 'alice@example.com\0'],
      ['*.example.com', 'evil.org\0.example.com'],
      ['*.example.com', 'example.com'],
      ['*.example.com', 'evilexample.com'],
    ] as const) {
      const type = id.includes('@') ? IdType.ID_RFC822_ADDR : IdType.ID_FQDN;
      expect([pattern, id, matchStrength(parseIdentityPattern(pattern), of(type, utf8(id)))]).toEqual([pattern, id, 0]);
    }
  });

  function expectOther(a: Identification, b: Identification): void {
    expect([toHex(a.data), toHex(b.data), sameIdentity(a, b), sameInCore(a, b)]).toEqual([toHex(a.data), toHex(b.data), false, false]);
    expect(matchStrength({ kind: 'exact', id: a }, b)).toBe(0);
  }

  const fold = ({ idType, data }: Identification): string =>
    `${idType} ${toHex(idType === IdType.ID_FQDN || idType === IdType.ID_RFC822_ADDR ? data.map((o) => (o >= 0x41 && o <= 0x5a ? o + 32 : o)) : data)}`;

  function changed(data: Uint8Array, gen: { int(min: number, max: number): number }): Uint8Array {
    const copy = data.slice();
    if (copy.length > 0) copy[gen.int(0, copy.length - 1)]! ^= 1 << gen.int(0, 7);
    return copy;
  }
});

describe('CVE-2021-41991: a cache of certificates that others fill', () => {
  const certificate = (der: Uint8Array): Certificate => ({ der }) as Certificate;
  const known = (der: Uint8Array) => ({ path: [certificate(der)], notBefore: 0, notAfter: 10 });

  test('it stays as small as it was made, through tens of thousands of replacements, and never gives one for another', () => {
    const cache = new CertificateCache(64);
    const kept: Uint8Array[] = [];
    for (let i = 0; i < 30_000; i++) {
      const der = new Uint8Array(randomBytes(40));
      cache.keep('trust', known(der));
      kept.push(der);
      if (kept.length > 64) kept.shift();
      expect(cache.size).toBeLessThanOrEqual(64);
    }
    for (const der of kept) expect(cache.path(certificate(der), 'trust', 5)?.[0]?.der).toEqual(der);
  });

  test('two that share the octets they are found by are told apart', () => {
    const cache = new CertificateCache(64);
    const tail = randomBytes(20);
    const [one, other] = [concat(Uint8Array.of(1), tail), concat(Uint8Array.of(2), tail)];
    cache.keep('trust', known(one));
    expect(cache.path(certificate(other), 'trust', 5)).toBeUndefined();
    cache.keep('trust', known(other));
    expect(cache.path(certificate(one), 'trust', 5)).toBeUndefined();
    expect(cache.path(certificate(other), 'trust', 5)?.[0]?.der).toEqual(other);
    expect(cache.path(certificate(other), 'trust', 11)).toBeUndefined();
    expect(cache.path(certificate(other), 'other trust', 5)).toBeUndefined();
  });

  test('what was trusted may change without end', () => {
    const cache = new CertificateCache(4);
    const der = new Uint8Array(randomBytes(40));
    for (let i = 0; i < 10_000; i++) cache.keep(`trust ${i}`, known(der));
    expect(cache.size).toBe(1);
    expect(cache.path(certificate(der), 'trust 9999', 5)).toBeDefined();
    expect(cache.path(certificate(der), 'trust 0', 5)).toBeUndefined();
  });
});

/** The largest integer whose cube is not above `value`. */
function cubeRoot(value: bigint): bigint {
  let low = 0n;
  let high = 1n << BigInt(Math.ceil(value.toString(2).length / 3) + 1);
  while (low < high) {
    const middle = (low + high + 1n) >> 1n;
    if (middle ** 3n <= value) low = middle;
    else high = middle - 1n;
  }
  return low;
}
