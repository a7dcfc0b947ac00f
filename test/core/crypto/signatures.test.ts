import { constants, createHash, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat, fromHex, toHex, utf8 } from '../../../src/core/bytes/index.ts';
import {
  acceptableSchemes,
  chooseScheme,
  exportSpki,
  importPrivateKey,
  importPublicKey,
  keyInfo,
  meansScheme,
  OUR_HASHES,
  parseAlgorithmIdentifier,
  prf,
  pskAuth,
  publicKeyOf,
  schemeByName,
  schemeWords,
  signAuth,
  verifyAuth,
  verifySignature,
  writeAlgorithmIdentifier,
} from '../../../src/core/crypto/index.ts';

const OCTETS = utf8('message | nonce | prf(SK_p, ID)');
const KEYS = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  pssOnly: generateKeyPairSync('rsa-pss', { modulusLength: 2048 }),
  p256: generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
  p384: generateKeyPairSync('ec', { namedCurve: 'secp384r1' }),
  p521: generateKeyPairSync('ec', { namedCurve: 'secp521r1' }),
  brainpool: generateKeyPairSync('ec', { namedCurve: 'brainpoolP256r1' }),
  ed25519: generateKeyPairSync('ed25519'),
  ed448: generateKeyPairSync('ed448'),
};

describe('which scheme is chosen', () => {
  const choose = (key: keyof typeof KEYS, peerHashes?: readonly number[], restrict?: readonly string[]) => {
    const scheme = chooseScheme({ key: KEYS[key].privateKey, peerHashes, restrict });
    return scheme === undefined ? undefined : `${scheme.authMethod} ${scheme.name}`;
  };

  test.each([
    // RFC 7427 §4: the peer said what it can.
    ['rsa', OUR_HASHES, [], '14 rsa-pss-sha256'],
    ['rsa', [4, 3], [], '14 rsa-pss-sha384'],
    ['pssOnly', OUR_HASHES, [], '14 rsa-pss-sha256'],
    ['p256', OUR_HASHES, [], '14 ecdsa-sha256'],
    ['p384', OUR_HASHES, [], '14 ecdsa-sha384'],
    ['p521', OUR_HASHES, [], '14 ecdsa-sha512'],
    ['p521', [2], [], '14 ecdsa-sha256'],
    ['brainpool', OUR_HASHES, [], '14 ecdsa-sha256'],
    ['ed25519', OUR_HASHES, [], '14 ed25519'],
    ['ed448', OUR_HASHES, [], '14 ed448'],
    // It said nothing, or nothing that helps.
    ['rsa', undefined, [], '1 rsa-sha1'],
    ['rsa', [1], [], '1 rsa-sha1'],
    ['rsa', [5], [], '1 rsa-sha1'],
    ['pssOnly', undefined, [], undefined],
    ['p256', undefined, [], '9 ecdsa-256'],
    ['p384', undefined, [], '10 ecdsa-384'],
    ['p521', undefined, [], '11 ecdsa-521'],
    ['brainpool', undefined, [], undefined],
    ['ed25519', undefined, [], undefined],
    ['ed25519', [2, 3, 4], [], undefined],
    // The operator narrowed it.
    ['rsa', OUR_HASHES, ['rsa-pkcs1'], '14 rsa-pkcs1-sha256'],
    ['rsa', OUR_HASHES, ['sha512'], '14 rsa-pss-sha512'],
    ['rsa', OUR_HASHES, ['rsa', 'sha384'], '14 rsa-pss-sha384'],
    ['rsa', OUR_HASHES, ['rsa-pkcs1-sha512', 'ecdsa'], '14 rsa-pkcs1-sha512'],
    ['rsa', OUR_HASHES, ['rsa-sha1'], '1 rsa-sha1'],
    ['rsa', undefined, ['sha256'], undefined],
    ['rsa', OUR_HASHES, ['ecdsa'], undefined],
    ['rsa', OUR_HASHES, ['nonsense'], undefined],
    ['p384', OUR_HASHES, ['ecdsa-384'], '10 ecdsa-384'],
  ] as const)('%s, peer hashes %j, restricted to %j: %s', (key, hashes, restrict, expected) => {
    expect(choose(key, hashes, restrict)).toBe(expected);
  });

  test('SHA-1 can be forbidden', () => {
    expect(chooseScheme({ key: KEYS.rsa.privateKey, peerHashes: undefined, allowSha1: false })).toBeUndefined();
    expect(chooseScheme({ key: KEYS.rsa.privateKey, peerHashes: OUR_HASHES, allowSha1: false })?.name).toBe('rsa-pss-sha256');
    expect(chooseScheme({ key: KEYS.p256.privateKey, peerHashes: undefined, allowSha1: false })?.name).toBe('ecdsa-256');
  });

  test('public facts about a key are enough', () => {
    expect(chooseScheme({ key: { kind: 'ecdsa', curve: 'secp384r1', bits: 384 }, peerHashes: OUR_HASHES })?.name).toBe('ecdsa-sha384');
  });

  test('what may be announced (RFC 9593) goes by words and hashes, SHA-1 by its name alone', () => {
    const names = (words: readonly string[] | undefined, hashes = OUR_HASHES) => acceptableSchemes(words, hashes).map(({ name }) => name);
    expect(names(undefined)).toHaveLength(14);
    expect(names(['rsa', 'sha256'])).toEqual(['rsa-pss-sha256', 'rsa-pkcs1-sha256']);
    expect(names(['rsa-pkcs1', 'sha1'])).toEqual(['rsa-sha1']);
    expect(names(undefined, [5])).toEqual(['ed25519', 'ed448']);
  });

  test.each([
    [1, undefined, 'rsa-sha1', true],
    [9, undefined, 'ecdsa-256', true],
    [9, undefined, 'ecdsa-384', false],
    [14, undefined, 'ed25519', true],
    [14, '300506032b6570', 'ed25519', true],
    [14, '300506032b6571', 'ed25519', false],
    // RFC 4055 §5: parameters that are absent stand for NULL
    [14, '300b06092a864886f70d01010b', 'rsa-pkcs1-sha256', true],
    [14, '300b06092a864886f70d01010c', 'rsa-pkcs1-sha256', false],
    [14, '3005', 'ed25519', false],
    [2, undefined, 'ed25519', false],
  ] as const)('method %s with algorithm %s means %s: %s', (method, algorithm, name, means) => {
    expect(meansScheme(method, algorithm && fromHex(algorithm), schemeByName(name)!)).toBe(means);
  });

  test('every word of a restriction is known', () => {
    expect(schemeWords()).toEqual(
      expect.arrayContaining(['rsa', 'rsa-pss', 'ecdsa', 'ed25519', 'sha384', 'rsa-pss-sha256', 'ecdsa-384', 'rsa-sha1']),
    );
  });

  test('the AlgorithmIdentifiers are those that RFC 7427 and RFC 8420 print', () => {
    const hex = (name: string) => toHex(schemeByName(name)!.algorithmIdentifier);
    // RFC 7427 §A.1.2, §A.3.2, §A.4.3; RFC 8420 §A.1, §A.2.
    expect(hex('rsa-pkcs1-sha256')).toBe('300d06092a864886f70d01010b0500');
    expect(hex('ecdsa-sha256')).toBe('300a06082a8648ce3d040302');
    expect(hex('ecdsa-sha512')).toBe('300a06082a8648ce3d040304');
    expect(hex('rsa-pss-sha256')).toBe(
      '304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120',
    );
    expect(hex('ed25519')).toBe('300506032b6570');
    expect(hex('ed448')).toBe('300506032b6571');
  });
});

const SCHEMES: readonly (readonly [keyof typeof KEYS, string])[] = [
  ...['rsa-pss', 'rsa-pkcs1'].flatMap((family) => ['sha256', 'sha384', 'sha512'].map((hash) => ['rsa', `${family}-${hash}`] as const)),
  ['rsa', 'rsa-sha1'],
  ['pssOnly', 'rsa-pss-sha256'],
  ['p256', 'ecdsa-sha256'],
  ['p256', 'ecdsa-sha512'],
  ['p384', 'ecdsa-sha384'],
  ['p521', 'ecdsa-sha512'],
  ['brainpool', 'ecdsa-sha256'],
  ['p256', 'ecdsa-256'],
  ['p384', 'ecdsa-384'],
  ['p521', 'ecdsa-521'],
  ['ed25519', 'ed25519'],
  ['ed448', 'ed448'],
];

describe.each(SCHEMES)('%s key, %s', (key, name) => {
  const { privateKey, publicKey } = KEYS[key];
  const scheme = schemeByName(name)!;
  const data = signAuth(privateKey, scheme, OCTETS);
  const judge = (changes: Partial<Parameters<typeof verifyAuth>[0]> = {}) =>
    verifyAuth({ method: scheme.authMethod, data, publicKey, octets: OCTETS, allowSha1: true, ...changes });

  test('what we sign we accept, and nothing else', () => {
    expect(judge()).toEqual({ ok: true, scheme: name });
    expect(judge({ octets: concat(OCTETS, Uint8Array.of(0)) })).toMatchObject({ ok: false });
    expect(judge({ publicKey: KEYS[key === 'p256' ? 'p384' : 'p256'].publicKey })).toMatchObject({ ok: false });
    expect(data.constructor).toBe(Uint8Array);
  });

  test('no flipped bit passes', () => {
    for (let at = 0; at < data.length; at += at < 80 ? 1 : 13) {
      const bent = new Uint8Array(data);
      bent[at]! ^= 1 << (at & 7);
      expect([at, judge({ data: bent }).ok]).toEqual([at, false]);
    }
  });

  test('empty, zero, cut and prolonged data never pass', () => {
    const head = scheme.authMethod === 14 ? 1 + scheme.algorithmIdentifier.length : 0;
    const zero = new Uint8Array(data).fill(0, head);
    for (const bent of [
      new Uint8Array(0),
      data.slice(0, head),
      zero,
      new Uint8Array(data.length),
      data.slice(0, -1),
      concat(data, Uint8Array.of(0)),
    ]) {
      expect(judge({ data: bent })).toMatchObject({ ok: false, reason: expect.any(String) });
    }
  });

  test('under another method number it is refused', () => {
    for (const method of [0, 1, 2, 3, 9, 10, 11, 12, 13, 14, 15, 255]) {
      if (method !== scheme.authMethod) expect([method, judge({ method }).ok]).toEqual([method, false]);
    }
  });

  test('a restriction that leaves it out refuses it', () => {
    expect(judge({ restrict: [name] })).toMatchObject({ ok: true });
    expect(judge({ restrict: ['ed25519', 'ed448', 'ecdsa-sha384'].filter((word) => word !== name) })).toMatchObject({
      ok: false,
      reason: expect.stringContaining('not among'),
    });
  });
});

describe('what is refused on principle', () => {
  const withAlgorithm = (identifier: Uint8Array, signature: Uint8Array): Uint8Array =>
    concat(Uint8Array.of(identifier.length), identifier, signature);
  const judge = (data: Uint8Array, key: keyof typeof KEYS = 'rsa', allowSha1 = false) =>
    verifyAuth({ method: 14, data, publicKey: KEYS[key].publicKey, octets: OCTETS, allowSha1 });

  test('SHA-1, unless it is asked for (RFC 8247 §3.2)', () => {
    const data = signAuth(KEYS.rsa.privateKey, schemeByName('rsa-sha1')!, OCTETS);
    const input = { method: 1, data, publicKey: KEYS.rsa.publicKey, octets: OCTETS };
    expect(verifyAuth(input)).toMatchObject({ ok: false, reason: expect.stringContaining('SHA-1') });
    expect(verifyAuth({ ...input, allowSha1: true })).toEqual({ ok: true, scheme: 'rsa-sha1' });
    for (const algorithm of [
      { kind: 'rsa-pkcs1', hash: 'sha1' },
      { kind: 'rsa-pss', hash: 'sha1', mgfHash: 'sha1', saltLength: 20 },
    ] as const) {
      const padding = algorithm.kind === 'rsa-pss' ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING;
      const signature = sign('sha1', OCTETS, { key: KEYS.rsa.privateKey, padding, saltLength: 20 });
      const whole = withAlgorithm(writeAlgorithmIdentifier(algorithm), signature);
      expect(judge(whole)).toMatchObject({ ok: false, reason: expect.stringContaining('sha1') });
      expect(judge(whole, 'rsa', true)).toMatchObject({ ok: true });
    }
  });

  test('method 1 over SHA-2 is taken: the signature names its hash', () => {
    const data = new Uint8Array(sign('sha256', OCTETS, { key: KEYS.rsa.privateKey, padding: constants.RSA_PKCS1_PADDING }));
    expect(verifyAuth({ method: 1, data, publicKey: KEYS.rsa.publicKey, octets: OCTETS })).toEqual({ ok: true, scheme: 'rsa-sha256' });
  });

  test('RSASSA-PSS whose parameters do not describe the signature', () => {
    const signature = sign('sha256', OCTETS, { key: KEYS.rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });
    const pss = (hash: 'sha256' | 'sha384', mgfHash: 'sha256' | 'sha384', saltLength: number) =>
      judge(withAlgorithm(writeAlgorithmIdentifier({ kind: 'rsa-pss', hash, mgfHash, saltLength }), signature));
    expect(pss('sha256', 'sha256', 32)).toMatchObject({ ok: true });
    expect(pss('sha256', 'sha256', 31)).toMatchObject({ ok: false });
    expect(pss('sha256', 'sha256', 0)).toMatchObject({ ok: false });
    expect(pss('sha384', 'sha384', 32)).toMatchObject({ ok: false });
    expect(pss('sha256', 'sha384', 32)).toMatchObject({ ok: false, reason: expect.stringContaining('MGF1') });
    expect(pss('sha256', 'sha256', 0xffff)).toMatchObject({ ok: false, reason: expect.stringContaining('does not fit') });
  });

  test.each([
    ['trailing octets inside', '300f06092a864886f70d01010b05000000'],
    ['trailing octets behind', '300d06092a864886f70d01010b05000000'],
    ['a long form of a short length', '30810d06092a864886f70d01010b0500'],
    ['an indefinite length', '308006092a864886f70d01010b05000000'],
    ['NULL with content', '300e06092a864886f70d01010b050100'],
    ['an INTEGER for NULL', '300e06092a864886f70d01010b020100'],
    ['parameters where none belong', '300c06082a8648ce3d0403020500'],
    ['another OID', '300d06092a864886f70d01010c0500'],
    ['an unknown OID', '300506032a0304'],
    ['no OID', '30020500'],
    ['nothing', ''],
    ['a cut', '300d06092a864886f70d01010b'],
    ['PSS with parameters of another type', '301106092a864886f70d01010a04040102030405'],
    [
      'PSS with a negative salt',
      '303e06092a864886f70d01010a3031a00d300b0609608648016503040201a11a301806092a864886f70d010108300b0609608648016503040201a20302 01ff',
    ],
    ['PSS with fields out of order', '301a06092a864886f70d01010a300da203020120a00630040602 2a03'],
    ['PSS with trailer 2', '301206092a864886f70d01010a3005a303020102'],
  ])('an AlgorithmIdentifier with %s', (_, hex) => {
    const identifier = fromHex(hex);
    const signature = sign('sha256', OCTETS, { key: KEYS.rsa.privateKey, padding: constants.RSA_PKCS1_PADDING });
    expect(judge(withAlgorithm(identifier, signature))).toMatchObject({ ok: false, reason: expect.any(String) });
    expect(judge(withAlgorithm(identifier, sign('sha256', OCTETS, KEYS.p256.privateKey)), 'p256')).toMatchObject({ ok: false });
  });

  test('RSA AlgorithmIdentifiers without parameters are understood (RFC 4055 §5)', () => {
    const signature = sign('sha256', OCTETS, { key: KEYS.rsa.privateKey, padding: constants.RSA_PKCS1_PADDING });
    expect(judge(withAlgorithm(fromHex('300b06092a864886f70d01010b'), signature))).toMatchObject({ ok: true });
  });

  test('an ASN.1 length that reaches beyond the data', () => {
    expect(judge(Uint8Array.of(200, 0x30))).toMatchObject({ ok: false, reason: expect.stringContaining('ASN.1 Length') });
  });

  test('a curve that the method does not name (RFC 4754 §3)', () => {
    const data = new Uint8Array(sign('sha256', OCTETS, { key: KEYS.brainpool.privateKey, dsaEncoding: 'ieee-p1363' }));
    expect(verifyAuth({ method: 9, data, publicKey: KEYS.brainpool.publicKey, octets: OCTETS })).toMatchObject({
      ok: false,
      reason: expect.stringContaining('prime256v1'),
    });
    const digest = new Uint8Array(sign('sha512', OCTETS, { key: KEYS.p256.privateKey, dsaEncoding: 'ieee-p1363' }));
    expect(verifyAuth({ method: 9, data: digest, publicKey: KEYS.p256.publicKey, octets: OCTETS })).toMatchObject({ ok: false });
  });

  test('RSA keys that no honest signer has', () => {
    const small = generateKeyPairSync('rsa', { modulusLength: 768 });
    const data = new Uint8Array(sign('sha256', OCTETS, small.privateKey));
    expect(verifyAuth({ method: 1, data, publicKey: small.publicKey, octets: OCTETS })).toMatchObject({ ok: false });
    const identifier = writeAlgorithmIdentifier({ kind: 'rsa-pkcs1', hash: 'sha256' });
    expect(verifySignature({ algorithm: identifier, publicKey: exportSpki(small.publicKey), data: OCTETS, signature: data })).toEqual({
      ok: false,
      reason: 'an RSA modulus of 768 bits is too small',
    });
  });

  test('a key of a kind that cannot sign', () => {
    const { publicKey } = generateKeyPairSync('x25519');
    expect(
      verifyAuth({ method: 14, data: signAuth(KEYS.ed25519.privateKey, schemeByName('ed25519')!, OCTETS), publicKey, octets: OCTETS }),
    ).toMatchObject({ ok: false });
    expect(chooseScheme({ key: publicKey, peerHashes: OUR_HASHES })).toBeUndefined();
  });

  test('an arbitrary octet string is never an exception', () => {
    let state = 1;
    for (let i = 0; i < 3000; i++) {
      const data = new Uint8Array(i % 90).map(() => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state >>> 24;
      });
      if (data.length > 2) data.set([data.length - 1, 0x30]);
      expect(judge(data).ok).toBe(false);
      expect(typeof parseAlgorithmIdentifier(data)).toBe('string');
    }
  });
});

describe('certificate signatures', () => {
  test('SHA-1 is verified and flagged', () => {
    const signature = new Uint8Array(sign('sha1', OCTETS, KEYS.rsa.privateKey));
    const algorithm = writeAlgorithmIdentifier({ kind: 'rsa-pkcs1', hash: 'sha1' });
    expect(verifySignature({ algorithm, publicKey: KEYS.rsa.publicKey, data: OCTETS, signature })).toEqual({
      ok: true,
      scheme: 'rsa-pkcs1-sha1',
      weak: 'sha1',
    });
  });

  test('RSASSA-PSS with all defaults is understood: SHA-1 and a salt of 20', () => {
    const signature = new Uint8Array(
      sign('sha1', OCTETS, { key: KEYS.rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 20 }),
    );
    for (const hex of ['300d06092a864886f70d01010a3000', '301206092a864886f70d01010a3005a303020101']) {
      expect(verifySignature({ algorithm: fromHex(hex), publicKey: KEYS.rsa.publicKey, data: OCTETS, signature })).toMatchObject({
        ok: true,
        weak: 'sha1',
      });
    }
  });

  test('a key that is no SubjectPublicKeyInfo', () => {
    const algorithm = writeAlgorithmIdentifier({ kind: 'ed25519' });
    expect(
      verifySignature({ algorithm, publicKey: Uint8Array.of(0x30, 0), data: OCTETS, signature: new Uint8Array(64).fill(1) }),
    ).toMatchObject({ ok: false });
  });
});

describe('keys', () => {
  test('PKCS #8, PKCS #1 and SEC 1, PEM and DER, are all read', () => {
    const { privateKey } = KEYS.rsa;
    const spki = exportSpki(privateKey);
    for (const type of ['pkcs8', 'pkcs1'] as const) {
      expect(exportSpki(importPrivateKey(privateKey.export({ type, format: 'pem' }) as string))).toEqual(spki);
      expect(exportSpki(importPrivateKey(new Uint8Array(privateKey.export({ type, format: 'der' }))))).toEqual(spki);
    }
    expect(exportSpki(importPrivateKey(new Uint8Array(KEYS.p384.privateKey.export({ type: 'sec1', format: 'der' }))))).toEqual(
      exportSpki(KEYS.p384.publicKey),
    );
    expect(exportSpki(importPrivateKey(utf8(KEYS.ed448.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)))).toEqual(
      exportSpki(KEYS.ed448.publicKey),
    );
    expect(exportSpki(importPublicKey(spki))).toEqual(spki);
    expect(exportSpki(publicKeyOf(privateKey))).toEqual(spki);
  });

  test('an encrypted key opens with its passphrase only, and the error says so', () => {
    const pem = KEYS.p256.privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'open sesame' }) as string;
    expect(keyInfo(importPrivateKey(pem, 'open sesame'))).toEqual({ kind: 'ecdsa', curve: 'prime256v1', bits: 256 });
    for (const passphrase of [undefined, 'wrong']) {
      expect(() => importPrivateKey(pem, passphrase)).toThrow(
        expect.objectContaining({ code: 'PRIVATE_KEY', hint: 'Give the passphrase of the key.' }),
      );
    }
  });

  test('what is no key, or no key for signing, is refused with a hint', () => {
    expect(() => importPrivateKey('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')).toThrow(
      expect.objectContaining({ code: 'PRIVATE_KEY' }),
    );
    expect(() => importPrivateKey(Uint8Array.of(1, 2, 3))).toThrow(expect.objectContaining({ code: 'PRIVATE_KEY' }));
    const { privateKey } = generateKeyPairSync('x25519');
    expect(() => importPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)).toThrow(/x25519/);
    expect(() => importPublicKey(Uint8Array.of(1, 2, 3))).toThrow(expect.objectContaining({ code: 'PUBLIC_KEY' }));
  });

  test('a key that cannot sign so says which scheme', () => {
    expect(() => signAuth(KEYS.p256.privateKey, schemeByName('rsa-pss-sha256')!, OCTETS)).toThrow(/rsa-pss-sha256/);
  });
});

test('AUTH by shared key (RFC 7296 §2.15)', () => {
  const psk = utf8('lab-psk-0123456789');
  const sha256 = prf(5)!;
  expect(pskAuth(sha256, psk, OCTETS)).toEqual(sha256.compute(sha256.compute(psk, utf8('Key Pad for IKEv2')), OCTETS));
  expect(pskAuth(prf(4)!, psk, OCTETS).length).toBe(16);
  expect(
    createHash('sha256')
      .update(pskAuth(sha256, psk, OCTETS))
      .digest('hex'),
  ).not.toBe(
    createHash('sha256')
      .update(pskAuth(sha256, utf8('another'), OCTETS))
      .digest('hex'),
  );
});
