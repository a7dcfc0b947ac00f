import { createHash, generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { fromHex, fromUtf8, type TunnelwrightError, utf8 } from '../../../src/core/bytes/index.ts';
import type { Ask } from '../../../src/core/ike/effects.ts';
import type { Connection, LocalAuth, RemoteAuth } from '../../../src/core/ike/index.ts';
import { formatIdentity, formatPem, generateKey, type KeyKind, keyFingerprint, parseIdentityPattern } from '../../../src/core/pki/index.ts';
import type { Identification } from '../../../src/core/wire/payloads/types.ts';
import { CredentialStore } from '../../../src/host/engine/credentials/credentials.ts';
import { fqdn } from '../../../src/testing/policies.ts';
import { connection, End, settle } from '../../core/ike/two-ends.ts';
import { NOW, peer, root } from '../../core/pki/lab.ts';

const [left, right, other] = [generateKey('ed25519'), generateKey('ed25519'), generateKey('ed25519')];
/** Making one takes long. */
const rsa = ((): { readonly pem: string; readonly spki: Uint8Array } => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    pem: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
    spki: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })),
  };
})();
const pem = (spki: Uint8Array): string => formatPem('PUBLIC KEY', spki);
const local = (id?: Identification, more: Partial<LocalAuth> = {}): LocalAuth => ({ auth: 'pubkey', id, credential: 'own', ...more });
const pinned = (id = '%any', more: Partial<RemoteAuth> = {}): RemoteAuth => ({
  auth: 'pubkey',
  id: parseIdentityPattern(id),
  publicKeys: ['peer'],
  authorities: [],
  ...more,
});

interface Side {
  readonly key?: { readonly pem: string };
  /** What is pinned as `peer`. */
  readonly trusts?: string | Uint8Array;
  readonly policy?: Partial<Connection>;
  readonly store?: CredentialStore;
}

function end(which: 'left' | 'right', { key, trusts, policy, store = new CredentialStore() }: Side): End & { readonly asks: Ask[] } {
  if (key) store.addRawKey(key.pem, { handle: 'own' });
  if (trusts !== undefined) store.addPeerKey(trusts, { handle: 'peer' });
  const made = new End({ connections: [connection(which, { local: [local()], remote: [pinned()], ...policy })] });
  const asks: Ask[] = [];
  made.answers = (ask) => {
    asks.push(ask);
    if (ask.kind === 'authenticate') return store.authenticate(ask, NOW);
    return ask.kind === 'verify' ? store.verify(ask, NOW) : made.answer(ask);
  };
  return Object.assign(made, { asks });
}

/** Both ends, after the left one called. */
function meet(a: Side, b: Side) {
  const ends = {
    a: end('left', { key: left, trusts: pem(right.spki), ...a }),
    b: end('right', { key: right, trusts: pem(left.spki), ...b }),
  };
  ends.a.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  settle(ends.a, ends.b);
  return ends;
}
const standing = (one: End) => one.endpoint.info().filter(({ state }) => state === 'established');
const why = (one: End): TunnelwrightError | undefined => one.has('ike-down').map(({ error }) => error)[0] ?? one.has('failed')[0]?.error;
const sent = (one: End & { readonly asks: Ask[] }) =>
  one.asks.flatMap((ask) => (ask.kind === 'verify' ? [ask.certificates.map((c) => c.encoding)] : []))[0];

describe('raw public keys (RFC 7670)', () => {
  const KINDS: readonly (KeyKind | 'rsa')[] = ['ed25519', 'ed448', 'ecdsa-p256', 'ecdsa-p384', 'rsa'];
  test.each(KINDS)('two ends that know each other by %s keys, and by nothing else', (kind) => {
    const [one, two] = kind === 'rsa' ? [rsa, rsa] : [generateKey(kind), generateKey(kind)];
    const { a, b } = meet({ key: one, trusts: pem(two.spki) }, { key: two, trusts: pem(one.spki) });
    expect(why(a) ?? why(b)).toBeUndefined();
    expect(standing(a)).toMatchObject([{ remoteAuth: 'DIGITAL_SIGNATURE' }]);
    expect(standing(b).map(({ remoteId }) => formatIdentity(remoteId!))).toEqual([keyFingerprint(one.spki)]);
    expect([sent(a), sent(b)]).toEqual([[15], [15]]);
    expect(b.has('peer')[0]!.description).toMatch(/ sha256:[0-9a-f]{64} \(pinned/);
  });

  test('a key that was made for RSASSA-PSS alone signs so, and its parameters travel along (RFC 4055 §1.2)', () => {
    const { privateKey } = generateKeyPairSync('rsa-pss', { modulusLength: 2048, hashAlgorithm: 'sha256', mgf1HashAlgorithm: 'sha256' });
    const store = new CredentialStore();
    store.addRawKey(privateKey.export({ format: 'pem', type: 'pkcs8' }) as string, { handle: 'own' });
    const [own] = store.loaded(NOW);
    const fingerprint = own?.kind === 'public key' ? own.fingerprint : '';
    const { a, b } = meet({ store: withoutKey(store) }, { trusts: fingerprint });
    expect(why(a) ?? why(b)).toBeUndefined();
    expect(b.has('peer')[0]!.description).toMatch(/^RSA-PSS 2048 sha256:/);
  });

  test.each([
    ['its fingerprint in hex', (spki: Uint8Array) => keyFingerprint(spki)],
    ['in capitals with colons', (spki: Uint8Array) => `SHA256:${keyFingerprint(spki).slice(7).toUpperCase().match(/../g)!.join(':')}`],
    ['in base64', (spki: Uint8Array) => `sha256:${createHash('sha256').update(spki).digest('base64').replace(/=$/, '')}`],
    ['the key behind 0s', (spki: Uint8Array) => `0s${btoa(String.fromCharCode(...spki))}`],
    ['the key behind 0x', (spki: Uint8Array) => `0x${[...spki].map((o) => o.toString(16).padStart(2, '0')).join('')}`],
    ['DER', (spki: Uint8Array) => spki],
    ['the octets of a PEM file', (spki: Uint8Array) => utf8(`a comment\n${pem(spki)}`)],
  ])('pinned by %s', (_how, write) => {
    const { a, b } = meet({}, { trusts: write(left.spki) });
    expect([standing(a), standing(b)].map((list) => list.length)).toEqual([1, 1]);
  });

  test('a peer that keeps its key to itself is known by a key that is pinned whole, and by a fingerprint not', () => {
    const silent = { policy: { sendCert: 'never' as const } };
    const { a, b } = meet(silent, {});
    expect(sent(b)).toEqual([]);
    expect(standing(a)).toHaveLength(1);
    expect(why(meet(silent, { trusts: keyFingerprint(left.spki) }).b)).toMatchObject({
      code: 'PUBLIC_KEY_MISSING',
      hint: expect.stringContaining('send_cert'),
    });
  });

  test('`ifasked` waits for a request that names encoding 15 (§3)', () => {
    const policy = { sendCert: 'ifasked' as const };
    expect(sent(meet({ policy }, {}).b)).toEqual([15]);
    expect(sent(meet({ policy }, { policy: { sendCertreq: false } }).b)).toEqual([]);
  });

  test('a certificate that nobody vouches for is the envelope of a pinned key', () => {
    const holder = peer(root(), 'CN=left', ['left.lab']);
    const store = new CredentialStore();
    store.addCertificate(holder.certificate.der, { handle: 'own' });
    store.addPrivateKey(holder.key.pem);
    const side = { store: withoutKey(store), policy: { local: [local(fqdn('left.lab'))], sendCert: 'always' as const } };
    const { b } = meet(side, { trusts: pem(holder.certificate.spki) });
    expect(sent(b)).toEqual([4]);
    expect(standing(b).map(({ remoteId }) => formatIdentity(remoteId!))).toEqual([keyFingerprint(holder.certificate.spki)]);
    expect(why(meet(side, {}).b)).toMatchObject({ code: 'PUBLIC_KEY_UNKNOWN' });
  });
});

/** `end` adds no key of its own to this one. */
function withoutKey(store: CredentialStore): CredentialStore {
  store.addRawKey = () => 'own';
  return store;
}

describe('who it is', () => {
  test('follows from the key, whatever the peer calls itself: nobody gets the name of another by taking it', () => {
    const { b } = meet({ policy: { local: [local(fqdn('admin.lab'))] } }, {});
    expect(standing(b).map(({ remoteId }) => formatIdentity(remoteId!))).toEqual([keyFingerprint(left.spki)]);
    expect(b.has('peer')[0]!.description).toMatch(/\(pinned, calls itself admin\.lab\)$/);
  });

  test.each(['*.lab', '%any'])('nor does the pattern %s give it one', (pattern) => {
    const { b } = meet({ policy: { local: [local(fqdn('x.lab'))] } }, { policy: { remote: [pinned(pattern)] } });
    expect(formatIdentity(standing(b)[0]!.remoteId!)).toBe(keyFingerprint(left.spki));
  });

  test('is the name that the policy gives to this key, and no other', () => {
    const named = { policy: { remote: [pinned('left.lab')] } };
    expect(formatIdentity(standing(meet({ policy: { local: [local(fqdn('left.lab'))] } }, named).b)[0]!.remoteId!)).toBe('left.lab');
    expect(why(meet({ policy: { local: [local(fqdn('other.lab'))] } }, named).b)).toMatchObject({ code: 'IDENTITY_NOT_ALLOWED' });
  });

  test('ID_NULL will do (RFC 7619 §2.2)', () => {
    const { b } = meet({ policy: { local: [local({ idType: 13, data: new Uint8Array(0) })] } }, {});
    expect(formatIdentity(standing(b)[0]!.remoteId!)).toBe(keyFingerprint(left.spki));
  });
});

describe('refused', () => {
  test('another key, with its fingerprint to compare', () => {
    const { a, b } = meet({ key: other }, {});
    expect(standing(a)).toEqual([]);
    expect(why(b)).toMatchObject({ code: 'PUBLIC_KEY_UNKNOWN', message: expect.stringContaining(keyFingerprint(other.spki)) });
  });

  test('the right key in CERT, and a signature by another', () => {
    const store = new CredentialStore();
    store.addRawKey(other.pem, { handle: 'own' });
    const authenticate = store.authenticate.bind(store);
    store.authenticate = (ask, at) => {
      const made = authenticate(ask, at);
      return made.ok ? { ...made, certificates: [{ encoding: 15, data: left.spki }] } : made;
    };
    expect(why(meet({ store: withoutKey(store) }, {}).b)).toMatchObject({
      code: 'AUTH_SIGNATURE',
      message: expect.stringContaining(keyFingerprint(left.spki)),
    });
  });

  test.each([
    ['nothing', ''],
    ['rubbish', 'ff00ff'],
    ['a sequence that does not end', '3082ffff00'],
    ['the start of the right key', '302a300506032b6570'],
    ['the right key and more', 'KEY 00'],
  ])('%s in a CERT payload of encoding 15', (_what, hex) => {
    const data = hex.startsWith('KEY') ? new Uint8Array([...left.spki, 0]) : fromHex(hex);
    const store = new CredentialStore();
    store.addRawKey(left.pem, { handle: 'own' });
    const authenticate = store.authenticate.bind(store);
    store.authenticate = (ask, at) => {
      const made = authenticate(ask, at);
      return made.ok ? { ...made, certificates: [{ encoding: 15, data }] } : made;
    };
    const { b } = meet({ store: withoutKey(store) }, {});
    expect(why(b)).toMatchObject({ code: 'PUBLIC_KEY_UNKNOWN' });
    expect(standing(b)).toEqual([]);
  });

  test('a key that is too short, pinned or not', () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const weak = { pem: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string };
    const { b } = meet({ key: weak }, { trusts: publicKey.export({ format: 'pem', type: 'spki' }) as string });
    expect(why(b)).toMatchObject({ code: 'AUTH_SIGNATURE', message: expect.stringContaining('RSA key of 1024 bits') });
  });

  test('a raw key where certificates are expected, and the fingerprint is there to pin it', () => {
    const store = new CredentialStore();
    store.addAuthority(root().certificate.der, { handle: 'ca' });
    const remote: RemoteAuth[] = [{ auth: 'pubkey', id: { kind: 'any' }, authorities: ['ca'] }];
    const { b } = meet({ policy: { sendCert: 'always' } }, { store, policy: { remote } });
    expect(why(b)).toMatchObject({
      code: 'CERTIFICATE_MISSING',
      message: expect.stringContaining(keyFingerprint(left.spki)),
      hint: expect.stringContaining('pubkeys'),
    });
  });

  test.each([
    '',
    'sha256:12',
    '0s!!',
    '0x123',
    '-----BEGIN PUBLIC KEY-----',
    '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
    '0x3000',
  ])('%j as a pin', (text) => {
    expect(() => new CredentialStore().addPeerKey(text)).toThrow(expect.objectContaining({ code: 'PUBLIC_KEY', hint: expect.any(String) }));
  });

  test('X25519 cannot sign', () => {
    const { publicKey } = generateKeyPairSync('x25519');
    expect(() => new CredentialStore().addPeerKey(publicKey.export({ format: 'pem', type: 'spki' }) as string)).toThrow(/1\.3\.101\.110/);
  });
});

describe('hashes of signatures (RFC 7427 §4, RFC 8420)', () => {
  const refusal = (key: { readonly pem: string }, peerHashes: readonly number[] | undefined, schemes?: readonly string[]) => {
    const store = new CredentialStore();
    store.addRawKey(key.pem, { handle: 'own' });
    const auth = local(undefined, schemes === undefined ? {} : { schemes });
    const answer = store.authenticate(
      {
        kind: 'authenticate',
        connection: 'net',
        auth,
        localId: undefined,
        remoteId: undefined,
        octets: (id) => id.data,
        prf: 5,
        peerHashes,
        certificateAuthorities: [],
        sendCertificates: true,
        sendRawKey: true,
      },
      NOW,
    );
    return answer.ok ? answer.method : `${answer.error.code}: ${answer.error.message}`;
  };

  test('EdDSA waits for "identity", and says what is missing otherwise', () => {
    expect(refusal(left, [5])).toBe(14);
    expect(refusal(left, [2, 3, 4])).toBe(
      'NO_SIGNATURE_SCHEME: our ed25519 key cannot sign for this peer: it announced none of its hash algorithms',
    );
    expect(refusal(left, undefined)).toMatch(/announced no hash algorithms \(RFC 7427\)/);
  });

  test('RSA without an announcement is SHA-1, which nobody gets unasked', () => {
    expect(refusal(rsa, undefined)).toMatch(/^NO_SIGNATURE_SCHEME: our rsa key/);
    expect(refusal(rsa, undefined, ['rsa', 'sha1'])).toBe(1);
    expect(refusal(rsa, [1])).toMatch(/^NO_SIGNATURE_SCHEME/);
    expect(refusal(rsa, [4])).toBe(14);
    expect(refusal(rsa, [2, 3], ['sha512'])).toMatch(/this connection allows sha512 only$/);
  });
});

test('fingerprints are those of openssl', () => {
  // RFC 7670 appendix A.1
  const spki = fromHex(
    '3059301306072a8648ce3d020106082a8648ce3d03010703420004cb28e0999b9c7715fd0a80d8e47a77079716cbbf917dd72e97566ea1c066957c2b57c0235fb7489768d058ff4911c20fdbe71e3699d91339afbb903ee17255dc',
  );
  expect(keyFingerprint(spki)).toBe(`sha256:${createHash('sha256').update(spki).digest('hex')}`);
  const store = new CredentialStore();
  store.addPeerKey(spki, { handle: 'x' });
  expect(store.loaded(NOW)).toEqual([{ kind: 'peer public key', handle: 'x', fingerprint: keyFingerprint(spki), key: 'ECDSA P-256' }]);
  expect(store.remove('x')).toBe(true);
  expect(store.loaded(NOW)).toEqual([]);
  expect(fromUtf8(utf8(keyFingerprint(spki)))).toHaveLength(71);
});
