import { describe, expect, test } from 'vitest';
import { concat, equalBytes, TunnelwrightError, toHex, utf8 } from '../../../src/core/bytes/index.ts';
import { chooseScheme, OUR_HASHES, prf, pskAuth, sha1, signAuth } from '../../../src/core/crypto/index.ts';
import type { Ask } from '../../../src/core/ike/effects.ts';
import type { LocalAuth, RemoteAuth } from '../../../src/core/ike/policy.ts';
import {
  CLIENT_USAGES,
  certificateFailure,
  formatIdentity,
  formatPem,
  GATEWAY_USAGES,
  type KeyKind,
  parseIdentity,
  parseIdentityPattern,
} from '../../../src/core/pki/index.ts';
import type { CertPayload } from '../../../src/core/wire/payloads/types.ts';
import { CredentialStore } from '../../../src/host/engine/credentials/credentials.ts';
import { DAY, type Holder, intermediate, NOW, peer, root } from '../../core/pki/lab.ts';

type AuthenticateAsk = Extract<Ask, { kind: 'authenticate' }>;
type VerifyAsk = Extract<Ask, { kind: 'verify' }>;

const PRF = 5; // PRF_HMAC_SHA2_256
const OCTETS = utf8('RealMessage | Nonce | prf(SK_p, ID)');

const ca = root();
const sub = intermediate(ca, 'C=CH, O=lab, CN=issuing');
const gateway = peer(sub, 'C=CH, O=lab, CN=gw', ['vpn.example.com', '203.0.113.7'], { usages: GATEWAY_USAGES });
const alice = peer(sub, 'C=CH, O=lab, CN=alice', ['alice@example.com'], { usages: CLIENT_USAGES });

const pem = (...holders: readonly Pick<Holder, 'certificate'>[]): string =>
  holders.map(({ certificate }) => formatPem('CERTIFICATE', certificate.der)).join('');
const cert = (data: Uint8Array, encoding = 4): CertPayload => ({ kind: 'CERT', encoding, data });

function authenticateAsk(auth: Partial<Omit<LocalAuth, 'id'>> & { id?: string }, rest: Partial<AuthenticateAsk> = {}): AuthenticateAsk {
  return {
    kind: 'authenticate',
    connection: 'road',
    auth: { auth: 'pubkey', ...auth, id: auth.id === undefined ? undefined : parseIdentity(auth.id) },
    localId: undefined,
    remoteId: undefined,
    octets: (id) => concat(OCTETS, id.data),
    prf: PRF,
    peerHashes: OUR_HASHES,
    certificateAuthorities: [],
    sendCertificates: true,
    ...rest,
  };
}

function remote(id: string, auth: Partial<RemoteAuth> = {}): RemoteAuth {
  return { auth: 'pubkey', ...auth, id: parseIdentityPattern(id) };
}

/** What the peer in question would be asked to prove, signed by itself. */
function signedAsk(
  holder: Holder,
  id: string,
  candidates: readonly RemoteAuth[],
  rest: Partial<VerifyAsk> = {},
  chain: readonly Pick<Holder, 'certificate'>[] = [sub],
): VerifyAsk {
  const scheme = chooseScheme({ key: holder.key.privateKey, peerHashes: OUR_HASHES })!;
  return {
    kind: 'verify',
    candidates: candidates.map((each, i) => ({ connection: `c${i}`, remote: each })),
    id: parseIdentity(id),
    localId: undefined,
    method: scheme.authMethod,
    data: signAuth(holder.key.privateKey, scheme, OCTETS),
    octets: OCTETS,
    prf: PRF,
    certificates: [holder, ...chain].map(({ certificate }) => cert(certificate.der)),
    ourHashes: OUR_HASHES,
    ...rest,
  };
}

function pskAsk(secret: string, id: string, candidates: readonly RemoteAuth[], rest: Partial<VerifyAsk> = {}): VerifyAsk {
  return { ...signedAsk(alice, id, candidates), method: 2, data: pskAuth(prf(PRF)!, utf8(secret), OCTETS), certificates: [], ...rest };
}

function failed(answer: { readonly ok: boolean; readonly error?: TunnelwrightError }): TunnelwrightError {
  if (answer.ok || answer.error === undefined) throw new Error(`it went well: ${JSON.stringify(answer)}`);
  expect(answer.error).toBeInstanceOf(TunnelwrightError);
  expect(answer.error.hint).toMatch(/^[A-Z].*\.$/);
  expect(answer.error.message).not.toContain('\n');
  return answer.error;
}

function made(store: CredentialStore, ask: AuthenticateAsk) {
  const answer = store.authenticate(ask, NOW);
  if (!answer.ok) throw answer.error;
  return answer;
}

function gatewayStore(): CredentialStore {
  const store = new CredentialStore();
  store.addAuthority(pem(ca));
  store.addCertificate(pem(gateway, sub));
  store.addPrivateKey(gateway.key.pem);
  return store;
}

describe('both ends with certificates', () => {
  const KINDS: readonly KeyKind[] = ['ecdsa-p256', 'ecdsa-p384', 'rsa-3072', 'ed25519', 'ed448'];
  test.each(KINDS)('%s', (kind) => {
    const holder = peer(ca, 'C=CH, O=lab, CN=gw', ['vpn.example.com'], { kind });
    const ours = new CredentialStore();
    ours.addCertificate(holder.certificate.der);
    ours.addPrivateKey(holder.key.pem);
    const theirs = new CredentialStore();
    theirs.addAuthority(ca.certificate.der);
    const { id, method, data, certificates } = made(ours, authenticateAsk({ id: 'vpn.example.com' }));
    expect(method).toBe(14);
    const ask: VerifyAsk = {
      ...signedAsk(alice, formatIdentity(id), [remote('vpn.example.com')]),
      method,
      data,
      octets: concat(OCTETS, id.data),
      certificates: certificates.map((each) => cert(each.data, each.encoding)),
    };
    expect(theirs.verify(ask, NOW)).toEqual({ ok: true, connection: 'c0', description: 'C=CH, O=lab, CN=gw (CA "lab CA", 301 d left)' });
    expect(theirs.verify(ask, NOW)).toMatchObject({ ok: true });
    expect(failed(theirs.verify({ ...ask, octets: utf8('others') }, NOW)).code).toBe('AUTH_SIGNATURE');
  });

  test('RSA signs with PSS, or as the connection restricts it', () => {
    const holder = peer(ca, 'CN=gw', ['vpn.example.com'], { kind: 'rsa-3072' });
    const store = new CredentialStore();
    store.addCertificate(pem(holder));
    store.addPrivateKey(holder.key.pem);
    const oid = (data: Uint8Array) => toHex(data.subarray(1, 1 + data[0]!));
    expect(oid(made(store, authenticateAsk({})).data)).toContain('2a864886f70d01010a');
    expect(oid(made(store, authenticateAsk({ schemes: ['rsa-pkcs1', 'sha384'] })).data)).toContain('2a864886f70d01010c');
  });
});

describe('our own AUTH', () => {
  test('carries the end entity and the authorities above it, not the root', () => {
    const { id, certificates } = made(gatewayStore(), authenticateAsk({ id: 'vpn.example.com' }));
    expect(formatIdentity(id)).toBe('vpn.example.com');
    expect(certificates).toEqual([
      { encoding: 4, data: gateway.certificate.der },
      { encoding: 4, data: sub.certificate.der },
    ]);
    expect(made(gatewayStore(), authenticateAsk({}, { sendCertificates: false })).certificates).toEqual([]);
  });

  test('of four certificates, the one that signs in front, is sent and taken (RFC 7296 §3.6)', () => {
    const upper = intermediate(ca, 'CN=upper');
    const middle = intermediate(upper, 'CN=middle');
    const lower = intermediate(middle, 'CN=lower');
    const holder = peer(lower, 'CN=deep', ['deep.example.com']);
    const store = new CredentialStore();
    store.addCertificate(pem(holder, upper, middle, lower));
    store.addPrivateKey(holder.key.pem);
    const { certificates } = made(store, authenticateAsk({ id: 'deep.example.com' }));
    expect(certificates.map(({ data }) => toHex(data))).toEqual(
      [holder, lower, middle, upper].map(({ certificate }) => toHex(certificate.der)),
    );
    const other = new CredentialStore();
    other.addAuthority(pem(ca));
    const ask = signedAsk(holder, 'deep.example.com', [remote('deep.example.com')], {}, [upper, lower, middle]);
    expect(other.verify(ask, NOW)).toMatchObject({ ok: true });
    const [first, second, ...rest] = ask.certificates;
    expect(other.verify({ ...ask, certificates: [second!, first!, ...rest] }, NOW)).toMatchObject({ ok: false });
  });

  test('without an identity says the subject, and a name in the octets of the certificate', () => {
    for (const id of [undefined, 'c=CH, o=LAB, cn=GW']) {
      expect(made(gatewayStore(), authenticateAsk(id === undefined ? {} : { id })).id).toEqual({
        idType: 9,
        data: gateway.certificate.subject.der,
      });
    }
  });

  test('picks the certificate by handle, by identity, by the authorities that the peer trusts', () => {
    const other = root('CN=other CA');
    const second = peer(other, 'CN=gw2', ['vpn.example.com', 'two.example.com']);
    const store = gatewayStore();
    store.addAuthority(pem(other));
    store.addCertificate(pem(second), { handle: 'second' });
    store.addPrivateKey(second.key.pem);
    const chosen = (ask: AuthenticateAsk) =>
      equalBytes(made(store, ask).certificates[0]!.data, second.certificate.der) ? 'second' : 'first';
    expect(chosen(authenticateAsk({ id: 'vpn.example.com' }))).toBe('first');
    expect(chosen(authenticateAsk({ id: 'two.example.com' }))).toBe('second');
    expect(chosen(authenticateAsk({ credential: 'second' }))).toBe('second');
    expect(chosen(authenticateAsk({ id: 'keyid:anything', credential: 'second' }))).toBe('second');
    expect(chosen(authenticateAsk({ id: 'vpn.example.com' }, { certificateAuthorities: [sha1(other.certificate.spki)] }))).toBe('second');
    expect(chosen(authenticateAsk({ id: 'vpn.example.com' }, { certificateAuthorities: [sha1(ca.certificate.spki)] }))).toBe('first');
    expect(chosen(authenticateAsk({ id: 'vpn.example.com' }, { certificateAuthorities: [new Uint8Array(20)] }))).toBe('first');
  });

  test('takes the certificate that is valid when an old one is still loaded', () => {
    const old = peer(ca, 'CN=old', ['vpn.example.com'], { notAfter: NOW - DAY });
    const store = new CredentialStore();
    store.addCertificate(pem(old));
    store.addPrivateKey(old.key.pem);
    const error = failed(store.authenticate(authenticateAsk({ id: 'vpn.example.com' }), NOW));
    expect(error.code).toBe('CERTIFICATE_EXPIRED');
    expect(error.message).toBe('our own certificate "CN=old" expired on 2026-05-31 12:00 UTC');
    store.addCertificate(pem(gateway, sub));
    store.addPrivateKey(gateway.key.pem);
    expect(made(store, authenticateAsk({ id: 'vpn.example.com' })).certificates[0]!.data).toEqual(gateway.certificate.der);
  });

  test('a key may come before its certificate, and a wildcard of our own serves', () => {
    const wild = peer(ca, 'CN=wild', ['*.example.com']);
    const store = new CredentialStore();
    store.addPrivateKey(wild.key.pem);
    store.addCertificate(pem(wild));
    expect(formatIdentity(made(store, authenticateAsk({ id: 'vpn.example.com' })).id)).toBe('vpn.example.com');
  });

  test.each([
    ['there is none', () => new CredentialStore(), {}, 'NO_CERTIFICATE', /there is no certificate with a private key$/],
    [
      'none is for this identity',
      gatewayStore,
      { id: 'other.example.com' },
      'NO_CERTIFICATE',
      /no certificate with a private key for other\.example\.com/,
    ],
    ['none has this handle', gatewayStore, { credential: 'x' }, 'NO_CERTIFICATE', /no certificate named "x"/],
    [
      'the schemes exclude the key',
      gatewayStore,
      { schemes: ['ed25519'] },
      'NO_SIGNATURE_SCHEME',
      /our ecdsa key cannot sign for this peer/,
    ],
    ['EAP has no AUTH of this kind', gatewayStore, { auth: 'eap' as const }, 'AUTH_METHOD', /authenticates us by eap/],
  ])('fails because %s', (_why, store, auth, code, message) => {
    const error = failed(store().authenticate(authenticateAsk(auth), NOW));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test('a certificate whose key is missing is named', () => {
    const store = new CredentialStore();
    store.addCertificate(pem(gateway));
    expect(failed(store.authenticate(authenticateAsk({}), NOW)).hint).toBe('Load the private key of "C=CH, O=lab, CN=gw".');
  });

  test('SHA-1 is for those who ask for it', () => {
    const holder = peer(ca, 'CN=gw', ['vpn.example.com'], { kind: 'rsa-3072' });
    const load = (store: CredentialStore) => {
      store.addCertificate(pem(holder));
      store.addPrivateKey(holder.key.pem);
      return store;
    };
    const old = { peerHashes: undefined };
    expect(failed(load(new CredentialStore()).authenticate(authenticateAsk({}, old), NOW)).code).toBe('NO_SIGNATURE_SCHEME');
    expect(made(load(new CredentialStore({ allowSha1: true })), authenticateAsk({}, old)).method).toBe(1);
    expect(made(load(new CredentialStore()), authenticateAsk({ schemes: ['rsa', 'sha1'] }, old)).method).toBe(1);
    expect(made(gatewayStore(), authenticateAsk({}, old)).method).toBe(9);
  });
});

describe('the certificate of a peer', () => {
  const store = gatewayStore();
  const verify = (ask: VerifyAsk) => store.verify(ask, NOW);

  test('chooses the connection whose identity fits most closely', () => {
    const ask = signedAsk(alice, 'alice@example.com', [
      remote('%any'),
      remote('*@example.com'),
      remote('alice@example.com'),
      remote('bob@example.com'),
    ]);
    expect(verify(ask)).toMatchObject({ ok: true, connection: 'c2' });
    expect(verify({ ...ask, candidates: ask.candidates.slice(0, 2) })).toMatchObject({ ok: true, connection: 'c1' });
    expect(verify({ ...ask, candidates: ask.candidates.slice(0, 1) })).toMatchObject({ ok: true, connection: 'c0' });
  });

  test('may be meant by another of its names, but must hold the one that was sent', () => {
    expect(verify(signedAsk(alice, 'alice@example.com', [remote('C=CH, O=lab, CN=*')]))).toMatchObject({ ok: true });
    expect(failed(verify(signedAsk(alice, 'bob@example.com', [remote('C=CH, O=lab, CN=*')]))).code).toBe('IDENTITY_MISMATCH');
  });

  test('may be restricted to authorities', () => {
    const other = root('CN=other CA');
    const two = gatewayStore();
    two.addAuthority(pem(other), { handle: 'other' });
    const ask = (authorities: readonly string[]) =>
      two.verify(signedAsk(alice, 'alice@example.com', [remote('%any', { authorities })]), NOW);
    expect(ask(['C=CH, O=lab, CN=lab CA'])).toMatchObject({ ok: true });
    expect(ask(['other', 'C=CH, O=lab, CN=lab CA'])).toMatchObject({ ok: true });
    const error = failed(ask(['other']));
    expect(error.code).toBe('UNKNOWN_CA');
    expect(error.message).toBe(
      'the certificate "C=CH, O=lab, CN=alice" leads to "C=CH, O=lab, CN=lab CA", an authority that is loaded, but none of those of connection c0 (other)',
    );
  });

  test('may be trusted itself, and then need not be sent', () => {
    const self = root('CN=self', {});
    const holder: Holder = { certificate: self.certificate, key: self.key };
    const pinned = new CredentialStore();
    pinned.addPeerCertificate(pem(alice), { handle: 'alice' });
    expect(pinned.verify(signedAsk(alice, 'alice@example.com', [remote('%any')], {}, []), NOW)).toMatchObject({
      ok: true,
      description: 'C=CH, O=lab, CN=alice (trusted itself, 301 d left)',
    });
    expect(
      pinned.verify(signedAsk(alice, 'alice@example.com', [remote('%any', { authorities: ['alice'] })], { certificates: [] }), NOW),
    ).toMatchObject({ ok: true });
    expect(failed(pinned.verify(signedAsk(alice, 'alice@example.com', [remote('%any', { authorities: ['bob'] })], {}, []), NOW)).code).toBe(
      'UNKNOWN_CA',
    );
    expect(failed(pinned.verify(signedAsk(holder, 'CN=self', [remote('%any')], {}, []), NOW)).code).toBe('UNKNOWN_CA');
  });

  test.each([
    ['no certificate', { certificates: [] }, 'CERTIFICATE_MISSING', /signs, but sent no certificate, and none is loaded for it/],
    ['another encoding', { certificates: [cert(new Uint8Array(20), 12)] }, 'CERTIFICATE_MISSING', /HASH_AND_URL_X509/],
    ['rubbish', { certificates: [cert(utf8('rubbish'))] }, 'CERTIFICATE_UNREADABLE', /alice@example\.com sent cannot be read/],
    [
      'another certificate first',
      { certificates: [cert(sub.certificate.der), cert(alice.certificate.der)] },
      'KEY_USAGE',
      /is not for IKE/,
    ],
    [
      'a signature by another key',
      { data: signedAsk(gateway, 'vpn.example.com', []).data },
      'AUTH_SIGNATURE',
      /does not prove the certificate "C=CH, O=lab, CN=alice"/,
    ],
    ['an empty signature', { data: new Uint8Array() }, 'AUTH_SIGNATURE', /does not fit/],
    ['a signature of zeros', { data: new Uint8Array(80) }, 'AUTH_SIGNATURE', /strict DER/],
    ['the method of another key', { method: 1 }, 'AUTH_SIGNATURE', /the signature is wrong/],
    ['a pre-shared key where a certificate is due', { method: 2 }, 'AUTH_METHOD', /authenticates by SHARED_KEY_MIC, while c0 wants pubkey/],
    ['NULL authentication', { method: 13 }, 'AUTH_METHOD', /authenticates by NULL_AUTHENTICATION/],
    ['an unknown method', { method: 201 }, 'AUTH_METHOD', /authenticates by 201/],
    ['a name that is not in it', { id: parseIdentity('mallory@example.com') }, 'IDENTITY_MISMATCH', /it says email:alice@example\.com/],
    ['a key identifier', { id: parseIdentity('keyid:alice') }, 'IDENTITY_MISMATCH', /does not speak for keyid:alice/],
  ])('with %s is refused', (_what, change, code, message) => {
    const error = failed(verify({ ...signedAsk(alice, 'alice@example.com', [remote('%any')]), ...change }));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test.each([
    ['an identifier that its user typed', 'keyid:my phone', '%any', 'C=CH, O=lab, CN=alice'],
    ['an address', '192.0.2.77', '%any', 'C=CH, O=lab, CN=alice'],
    ['somebody else', 'mallory@example.com', '*@example.com', 'alice@example.com'],
    ['somebody else, and this one is meant', 'mallory@example.com', 'alice@example.com', 'alice@example.com'],
    ['what is in it', 'alice@example.com', '%any', undefined],
  ])('where the certificate says who it is, a peer that calls itself %s is whom it names', (_what, says, pattern, proven) => {
    const answer = verify(signedAsk(alice, says, [remote(pattern, { idFromCertificate: true })]));
    if (!answer.ok) throw answer.error;
    expect(answer.id && formatIdentity(answer.id)).toBe(proven);
    if (proven) expect(answer.description).toContain(`calls itself ${formatIdentity(parseIdentity(says))}`);
  });

  test.each([
    ['names nobody who is meant, though the peer says so', 'bob@example.com', 'bob@example.com', {}],
    ['is not proven', 'keyid:my phone', '%any', { data: signedAsk(gateway, 'vpn.example.com', []).data }],
  ])('where the certificate says who it is, one that %s is refused', (_what, says, pattern, change) => {
    const ask = signedAsk(alice, says, [remote(pattern, { idFromCertificate: true })], change);
    expect(['IDENTITY_MISMATCH', 'AUTH_SIGNATURE']).toContain(failed(verify(ask)).code);
  });

  test.each([
    ['expired', { notAfter: NOW - DAY }, 'CERTIFICATE_EXPIRED'],
    ['not yet valid', { notBefore: NOW + DAY }, 'NOT_YET_VALID'],
    ['for something else', { usages: ['1.3.6.1.5.5.7.3.3'] }, 'EXTENDED_KEY_USAGE'],
  ])('that is %s is refused', (_what, options, code) => {
    const holder = peer(ca, 'CN=bad', ['alice@example.com'], options);
    expect(failed(verify(signedAsk(holder, 'alice@example.com', [remote('%any')]))).code).toBe(code);
  });

  test('of an unknown authority, or without the one between, is refused', () => {
    const stranger = peer(root('CN=stranger'), 'CN=x', ['alice@example.com']);
    expect(failed(verify(signedAsk(stranger, 'alice@example.com', [remote('%any')]))).message).toContain('was issued by "CN=stranger"');
    const without = new CredentialStore();
    without.addAuthority(pem(ca));
    expect(failed(without.verify(signedAsk(alice, 'alice@example.com', [remote('%any')], {}, []), NOW)).hint).toContain(
      'the peer has to send its certificate along',
    );
  });

  test('for which no connection is meant is refused', () => {
    const error = failed(verify(signedAsk(alice, 'alice@example.com', [remote('bob@example.com')])));
    expect(error).toMatchObject({
      code: 'IDENTITY_NOT_ALLOWED',
      message: 'the peer calls itself alice@example.com, which no connection accepts (c0: bob@example.com)',
    });
  });

  test('with a scheme that the connection does not allow is refused', () => {
    const error = failed(verify(signedAsk(alice, 'alice@example.com', [remote('%any', { schemes: ['rsa-pss'] })])));
    expect(error.message).toContain('ecdsa-sha256 is not among the signature schemes that this connection accepts');
    expect(verify(signedAsk(alice, 'alice@example.com', [remote('%any', { schemes: ['ecdsa'] })]))).toMatchObject({ ok: true });
  });

  test('the first connection that fits wins, though a better one fails', () => {
    const ask = signedAsk(alice, 'alice@example.com', [remote('alice@example.com', { schemes: ['rsa'] }), remote('%any')]);
    expect(verify(ask)).toMatchObject({ ok: true, connection: 'c1' });
  });

  test('D08 of two connections under one identity the hash of the signature decides; a third hash fits none', () => {
    const hashes = (...words: readonly string[]) => words.map((word) => remote('%any', { schemes: [word] }));
    // alice signs with ECDSA over SHA2-256
    expect(verify(signedAsk(alice, 'alice@example.com', hashes('sha512', 'sha256')))).toMatchObject({ ok: true, connection: 'c1' });
    expect(verify(signedAsk(alice, 'alice@example.com', hashes('sha256', 'sha512')))).toMatchObject({ ok: true, connection: 'c0' });
    expect(failed(verify(signedAsk(alice, 'alice@example.com', hashes('sha512', 'sha384')))).code).toBe('AUTH_SIGNATURE');
  });

  test.each([
    ['the peer says it', 'vpn.east.example', '%any', 'IDENTITY_MISMATCH'],
    ['we expect it, and the peer says it', 'vpn.east.example', 'vpn.east.example', 'IDENTITY_MISMATCH'],
    ['we expect it, and the peer says what it holds', 'gw.west.example', 'vpn.east.example', 'IDENTITY_NOT_ALLOWED'],
  ])('D42 a DNS name that stands in the CN alone, not in subjectAltName, proves nothing: %s', (_what, says, expected, code) => {
    const holder = peer(sub, 'C=CH, O=lab, CN=vpn.east.example', ['gw.west.example'], { usages: GATEWAY_USAGES });
    expect(failed(verify(signedAsk(holder, says, [remote(expected)]))).code).toBe(code);
    expect(verify(signedAsk(holder, 'gw.west.example', [remote('gw.west.example')]))).toMatchObject({ ok: true });
  });

  test('is judged anew when time goes by, and when what is trusted changes', () => {
    const changing = gatewayStore();
    const ask = signedAsk(alice, 'alice@example.com', [remote('%any')]);
    expect(changing.verify(ask, NOW)).toMatchObject({ ok: true });
    expect(failed(changing.verify(ask, alice.certificate.notAfter + DAY)).code).toBe('CERTIFICATE_EXPIRED');
    expect(changing.verify(ask, NOW)).toMatchObject({ ok: true });
    expect(changing.remove('C=CH, O=lab, CN=lab CA')).toBe(true);
    expect(failed(changing.verify(ask, NOW)).code).toBe('UNKNOWN_CA');
  });

  test('is judged anew when it is revoked, though its path is remembered', () => {
    let revoked = false;
    const revocation = {
      check: () => (revoked ? certificateFailure('CERTIFICATE_REVOKED', 'it was revoked', 'Get a new one.') : undefined),
    };
    const watching = new CredentialStore({ revocation });
    watching.addAuthority(pem(ca));
    const ask = signedAsk(alice, 'alice@example.com', [remote('%any')]);
    expect(watching.verify(ask, NOW)).toMatchObject({ ok: true });
    revoked = true;
    expect(failed(watching.verify(ask, NOW)).code).toBe('CERTIFICATE_REVOKED');
  });

  test('the buffer it came in may be used again', () => {
    const mine = gatewayStore();
    const buffer = alice.certificate.der.slice();
    const ask = signedAsk(alice, 'alice@example.com', [remote('%any')]);
    expect(mine.verify({ ...ask, certificates: [cert(buffer), cert(sub.certificate.der)] }, NOW)).toMatchObject({ ok: true });
    buffer.fill(0);
    expect(mine.verify(ask, NOW)).toMatchObject({ ok: true });
  });
});

describe('pre-shared keys', () => {
  const store = new CredentialStore();
  store.addPsk([], utf8('anybody'), { handle: 'any' });
  store.addPsk(['alice@example.com'], utf8('of alice'));
  store.addPsk(['vpn.example.com', 'alice@example.com'], utf8('of both'));
  store.addPsk(['vpn.example.com', 'bob@example.com'], utf8('of bob'));
  store.addPsk(['*@example.org'], utf8('of the organisation'));
  store.addPsk(['vpn.example.com'], utf8('of the gateway'));
  store.addPsk(['192.0.2.0/24'], utf8('of the branches'));
  store.addPsk([parseIdentity('192.0.2.7')], utf8('of one branch'));

  test.each([
    ['alice@example.com', 'vpn.example.com', 'of both'],
    ['alice@example.com', undefined, 'of alice'],
    ['alice@example.com', 'other.example.com', 'of alice'],
    ['bob@example.com', 'vpn.example.com', 'of bob'],
    ['joe@example.org', undefined, 'of the organisation'],
    ['joe@example.net', 'vpn.example.com', 'of the gateway'],
    ['joe@example.net', undefined, 'anybody'],
    ['192.0.2.8', undefined, 'of the branches'],
    ['192.0.2.7', undefined, 'of one branch'],
  ])('%s with us as %s', (id, local, secret) => {
    const rest = { localId: local === undefined ? undefined : parseIdentity(local) };
    expect(store.verify(pskAsk(secret, id, [remote('%any', { auth: 'psk' })], rest), NOW)).toEqual({
      ok: true,
      connection: 'c0',
      description: 'psk',
    });
    expect(failed(store.verify(pskAsk('wrong', id, [remote('%any', { auth: 'psk' })], rest), NOW)).code).toBe('PSK_MISMATCH');
  });

  test('both ends come to the same AUTH', () => {
    const { id, method, data, certificates } = made(
      store,
      authenticateAsk({ auth: 'psk', id: 'alice@example.com' }, { remoteId: parseIdentity('vpn.example.com') }),
    );
    expect({ method, certificates }).toEqual({ method: 2, certificates: [] });
    const ask = pskAsk('', formatIdentity(id), [remote('%any', { auth: 'psk' })], {
      localId: parseIdentity('vpn.example.com'),
      data,
      octets: concat(OCTETS, id.data),
    });
    expect(store.verify(ask, NOW)).toMatchObject({ ok: true });
  });

  test('a handle names one outright', () => {
    const { data } = made(store, authenticateAsk({ auth: 'psk', id: 'alice@example.com', credential: 'any' }));
    expect(data).toEqual(pskAuth(prf(PRF)!, utf8('anybody'), concat(OCTETS, utf8('alice@example.com'))));
  });

  test('the younger of two equals counts', () => {
    const renewed = new CredentialStore();
    renewed.addPsk(['a@b'], utf8('old'));
    renewed.addPsk(['a@b'], utf8('new'));
    expect(renewed.verify(pskAsk('new', 'a@b', [remote('%any', { auth: 'psk' })]), NOW)).toMatchObject({ ok: true });
  });

  test('a wrong one is told apart from none', () => {
    const error = failed(store.verify(pskAsk('wrong', 'alice@example.com', [remote('%any', { auth: 'psk' })]), NOW));
    expect(error.message).toBe('the pre-shared key of alice@example.com is not the one that is loaded here for alice@example.com');
    expect(error.hint).toContain('Compare the secret at both ends');
    const empty = new CredentialStore();
    const none = failed(empty.verify(pskAsk('x', 'alice@example.com', [remote('%any', { auth: 'psk' })]), NOW));
    expect(none).toMatchObject({ code: 'PSK_MISSING', message: 'there is no pre-shared key for alice@example.com' });
    const ours = failed(
      empty.authenticate(authenticateAsk({ auth: 'psk', id: 'vpn.example.com' }, { remoteId: parseIdentity('a@b') }), NOW),
    );
    expect(ours.message).toBe('there is no pre-shared key for a@b and us (vpn.example.com)');
    expect(failed(store.authenticate(authenticateAsk({ auth: 'psk' }), NOW)).code).toBe('NO_IDENTITY');
  });

  test('of the wrong length, or with an identity that no connection means, is refused', () => {
    const candidates = [remote('bob@example.com', { auth: 'psk' })];
    expect(failed(store.verify(pskAsk('of alice', 'alice@example.com', candidates), NOW)).code).toBe('IDENTITY_NOT_ALLOWED');
    for (const data of [new Uint8Array(), new Uint8Array(32), new Uint8Array(31)]) {
      expect(failed(store.verify(pskAsk('x', 'alice@example.com', [remote('%any', { auth: 'psk' })], { data }), NOW)).code).toBe(
        'PSK_MISMATCH',
      );
    }
  });

  test('auth any takes either way', () => {
    const both = gatewayStore();
    both.addPsk([], utf8('secret'));
    expect(both.verify(pskAsk('secret', 'a@b', [remote('%any', { auth: 'any' })]), NOW)).toMatchObject({ ok: true, description: 'psk' });
    expect(both.verify(signedAsk(alice, 'alice@example.com', [remote('%any', { auth: 'any' })]), NOW)).toMatchObject({ ok: true });
    expect(made(both, authenticateAsk({ auth: 'any', id: 'vpn.example.com' })).method).toBe(14);
    expect(made(both, authenticateAsk({ auth: 'any', id: 'other@example.com' })).method).toBe(2);
  });

  test('an empty one is not taken', () => {
    expect(() => new CredentialStore().addPsk([], new Uint8Array())).toThrow(expect.objectContaining({ code: 'EMPTY_SECRET' }));
    expect(() => new CredentialStore().addPsk(['two words'], utf8('x'))).toThrow(expect.objectContaining({ code: 'NOT_AN_IDENTITY' }));
  });

  test('no sentence holds the secret', () => {
    const error = failed(store.verify(pskAsk('wrong', 'alice@example.com', [remote('%any', { auth: 'psk' })]), NOW));
    expect(JSON.stringify([error.message, error.hint, store.loaded(NOW)])).not.toMatch(/of alice[^@]|of both|of bob/);
  });
});

describe('loading', () => {
  test('what is loaded can be listed, with the days left', () => {
    const store = gatewayStore();
    store.addPeerCertificate(alice.certificate.der, { handle: 'alice' });
    store.addPsk(['alice@example.com', '%any'], utf8('secret'));
    expect(store.loaded(NOW)).toEqual([
      {
        kind: 'certificate',
        handle: 'C=CH, O=lab, CN=gw',
        hasPrivateKey: true,
        subject: 'C=CH, O=lab, CN=gw',
        issuer: 'C=CH, O=lab, CN=issuing',
        serial: expect.stringMatching(/^40/),
        identities: ['C=CH, O=lab, CN=gw', 'vpn.example.com', '203.0.113.7'],
        key: 'ECDSA P-256',
        notBefore: NOW - 10 * DAY,
        notAfter: NOW + 301.5 * DAY,
        daysLeft: 301,
      },
      expect.objectContaining({ kind: 'authority', handle: 'C=CH, O=lab, CN=lab CA', daysLeft: 3650 }),
      expect.objectContaining({ kind: 'peer certificate', handle: 'alice' }),
      { kind: 'pre-shared key', handle: 'psk-1', owners: 'alice@example.com, %any' },
    ]);
    expect(store.loaded(gateway.certificate.notAfter + 1)[0]).toMatchObject({ daysLeft: -1 });
  });

  test('authorities are known by the hash of their key', () => {
    expect(gatewayStore().authorityHashes()).toEqual([sha1(ca.certificate.spki)]);
  });

  test('loading twice is loading once', () => {
    const store = gatewayStore();
    store.addAuthority(ca.certificate.der);
    store.addCertificate(pem(gateway, sub));
    expect(store.loaded(NOW)).toHaveLength(2);
  });

  test('what is removed is gone, and a secret is overwritten', () => {
    const store = gatewayStore();
    const secret = utf8('secret');
    const handle = store.addPsk([], secret);
    secret.fill(0);
    expect(store.verify(pskAsk('secret', 'a@b', [remote('%any', { auth: 'psk' })]), NOW)).toMatchObject({ ok: true });
    expect(store.remove(handle)).toBe(true);
    expect(store.remove(handle)).toBe(false);
    expect(failed(store.verify(pskAsk('secret', 'a@b', [remote('%any', { auth: 'psk' })]), NOW)).code).toBe('PSK_MISSING');
    store.clear();
    expect(store.loaded(NOW)).toEqual([]);
    expect(failed(store.authenticate(authenticateAsk({}), NOW)).code).toBe('NO_CERTIFICATE');
  });

  test.each([
    ['no certificate', (store: CredentialStore) => store.addAuthority(gateway.key.pem), 'NO_CERTIFICATE'],
    ['a broken one', (store: CredentialStore) => store.addCertificate(utf8('0rubbish')), 'CERTIFICATE_UNREADABLE'],
    ['text that is no PEM', (store: CredentialStore) => store.addCertificate('hello'), 'NO_CERTIFICATE'],
    [
      'a PEM block that does not end',
      (store: CredentialStore) => store.addCertificate('-----BEGIN CERTIFICATE-----\nAA=='),
      'CERTIFICATE_UNREADABLE',
    ],
    ['a peer as authority', (store: CredentialStore) => store.addAuthority(pem(gateway)), 'NOT_A_CA'],
    ['a certificate as key', (store: CredentialStore) => store.addPrivateKey(pem(gateway)), 'PRIVATE_KEY'],
  ])('%s is refused', (_what, load, code) => {
    expect(() => load(new CredentialStore())).toThrow(expect.objectContaining({ code, hint: expect.stringMatching(/\.$/) }));
  });

  test('a file may hold the key beside the certificate', () => {
    const store = new CredentialStore();
    const file = utf8(`${pem(gateway, sub)}${gateway.key.pem}`);
    store.addCertificate(file);
    store.addPrivateKey(gateway.key.pem);
    expect(made(store, authenticateAsk({})).certificates).toHaveLength(2);
  });
});

describe('what every IKEv2 can be configured to accept (RFC 7296 §4)', () => {
  const rsa = root('CN=RSA CA', { kind: 'rsa-3072' });
  const holder = peer(rsa, 'C=CH, O=lab, CN=all of them', ['vpn.example.com', 'alice@example.com'], { kind: 'rsa-3072' });
  const store = new CredentialStore();
  store.addAuthority(pem(rsa));

  test.each(['vpn.example.com', 'alice@example.com', 'C=CH, O=lab, CN=all of them'])(
    'a certificate with an RSA key, under one, for %s',
    (id) => {
      expect(store.verify(signedAsk(holder, id, [remote(id)], {}, []), NOW)).toMatchObject({ ok: true });
    },
  );

  test('a certificate with an RSA key, under one, for an identifier that it does not hold', () => {
    const whose = remote('alice@example.com', { idFromCertificate: true });
    expect(store.verify(signedAsk(holder, 'keyid:#0102', [whose], {}, []), NOW)).toMatchObject({ ok: true });
  });

  test.each(['keyid:#0102', 'vpn.example.com', 'alice@example.com'])('a pre-shared key of %s', (id) => {
    const secrets = new CredentialStore();
    secrets.addPsk([id], utf8('of the lab'));
    expect(secrets.verify(pskAsk('of the lab', id, [remote(id, { auth: 'psk' })]), NOW)).toMatchObject({ ok: true });
  });

  test('a responder with a certificate, and an initiator with a pre-shared key', () => {
    const gateway = new CredentialStore();
    gateway.addCertificate(pem(holder));
    gateway.addPrivateKey(holder.key.pem);
    gateway.addPsk(['keyid:#0102'], utf8('of the lab'));
    const asked = pskAsk('of the lab', 'keyid:#0102', [remote('keyid:#0102', { auth: 'psk' })]);
    expect(gateway.verify({ ...asked, localId: parseIdentity('vpn.example.com') }, NOW)).toMatchObject({ ok: true, description: 'psk' });
    expect(made(gateway, authenticateAsk({ id: 'vpn.example.com' }, { remoteId: parseIdentity('keyid:#0102') })).method).toBe(14);
  });
});
