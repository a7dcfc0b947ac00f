import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { equalBytes, utf8 } from '../../../src/core/bytes/index.ts';
import { sha1 } from '../../../src/core/crypto/index.ts';
import type { Ask } from '../../../src/core/ike/effects.ts';
import type { Connection, LocalAuth, RemoteAuth } from '../../../src/core/ike/index.ts';
import { formatPem, generateKey, parseIdentityPattern } from '../../../src/core/pki/index.ts';
import type { AuthAnnouncement } from '../../../src/core/wire/auth-announcements.ts';
import { CredentialStore } from '../../../src/host/engine/credentials/credentials.ts';
import { fqdn } from '../../../src/testing/policies.ts';
import { connection, End, settle } from '../../core/ike/two-ends.ts';
import { type Holder, type LabAuthority, NOW, peer, root } from '../../core/pki/lab.ts';

const ca = root();
const other = root('C=CH, O=lab, CN=other CA');
const rsa = peer(ca, 'C=CH, O=lab, CN=left rsa', ['left.lab'], { key: rsaKey() });
const ecdsa = peer(ca, 'C=CH, O=lab, CN=left ecdsa', ['left.lab'], { kind: 'ecdsa-p256' });
const ed25519 = peer(ca, 'C=CH, O=lab, CN=left ed', ['left.lab'], { kind: 'ed25519' });
const gateway = peer(ca, 'C=CH, O=lab, CN=right', ['right.lab'], { kind: 'ed25519' });

/** Shorter, and so sooner made, than what `generateKey` offers. */
function rsaKey(): Holder['key'] {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    ...generateKey('ed25519'),
    privateKey,
    spki: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })),
    pem: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
  };
}

function store(holders: readonly Holder[], authorities: readonly LabAuthority[] = [ca]): CredentialStore {
  const made = new CredentialStore();
  for (const authority of authorities) made.addAuthority(formatPem('CERTIFICATE', authority.certificate.der));
  for (const { certificate, key } of holders) {
    made.addCertificate(formatPem('CERTIFICATE', certificate.der));
    made.addPrivateKey(key.pem);
  }
  made.addPsk(['left.lab', 'right.lab'], utf8('long enough to be good'));
  return made;
}

function end(side: 'left' | 'right', credentials: CredentialStore, policy: Partial<Connection>): End {
  const made = new End({ connections: [connection(side, { authMethods: true, sendCert: 'always', ...policy })] });
  made.answers = (ask: Ask) => {
    if (ask.kind === 'authenticate') return credentials.authenticate(ask, NOW);
    return ask.kind === 'verify' ? credentials.verify(ask, NOW) : made.answer(ask);
  };
  return made;
}

const own = (side: string, more: Partial<LocalAuth> = {}): LocalAuth => ({ auth: 'pubkey', id: fqdn(`${side}.lab`), ...more });
const theirs = (side: string, more: Partial<RemoteAuth> = {}): RemoteAuth => ({
  auth: 'pubkey',
  id: parseIdentityPattern(`${side}.lab`),
  ...more,
});

/** A client with several credentials, and a gateway that takes some of them. */
function meet(
  holders: readonly Holder[],
  wants: Partial<RemoteAuth>,
  changes: { readonly left?: Partial<Connection>; readonly right?: Partial<Connection> } = {},
) {
  const left = end('left', store(holders), { local: [own('left')], remote: [theirs('right')], ...changes.left });
  const right = end('right', store([gateway]), { local: [own('right')], remote: [theirs('left', wants)], ...changes.right });
  left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
  settle(left, right);
  return { left, right };
}

const standing = (one: End) => one.endpoint.info().filter(({ state }) => state === 'established');
const proof = (one: End) => one.has('peer').map(({ description }) => description)[0];
const failure = (one: End) => one.has('ike-down').flatMap(({ error }) => error ?? [])[0];

describe('which credential proves us follows what the peer announces (RFC 9593)', () => {
  test.each<[string, readonly string[], RegExp]>([
    ['Ed25519 alone', ['ed25519'], /left ed/],
    ['ECDSA alone', ['ecdsa'], /left ecdsa/],
    ['RSA alone', ['rsa-pkcs1'], /left rsa/],
  ])('a gateway that takes %s gets that one of three certificates', (_what, schemes, proven) => {
    const { left, right } = meet([rsa, ecdsa, ed25519], { schemes });
    expect(proof(right)).toMatch(proven);
    expect(standing(left)).toHaveLength(1);
  });

  test('without announcements the first certificate goes, and is refused', () => {
    const { left, right } = meet([rsa, ecdsa, ed25519], { schemes: ['ed25519'] }, { right: { authMethods: false } });
    expect(standing(left)).toEqual([]);
    expect(failure(right)?.code).toBe('AUTH_SIGNATURE');
  });

  test('the responder heeds what the initiator takes', () => {
    const { left, right } = meet(
      [ecdsa],
      { schemes: ['ecdsa'] },
      { left: { remote: [theirs('right', { schemes: ['rsa', 'ecdsa'] })], fragmentSize: 4000 } },
    );
    expect(standing(left)).toEqual([]);
    expect(failure(right)).toMatchObject({ code: 'NO_SIGNATURE_SCHEME' });
    expect(failure(right)?.message).toContain(
      'our ed25519 key cannot sign for this peer: it takes DIGITAL_SIGNATURE RSASSA-PSS with SHA-256, ',
    );
  });

  test('where nothing fits, the error names what the peer takes and what we have', () => {
    const { left } = meet([rsa], { schemes: ['ed25519'] });
    expect(failure(left)?.message).toBe('our rsa key cannot sign for this peer: it takes DIGITAL_SIGNATURE Ed25519 alone (RFC 9593)');
  });

  test('an end that has keys and a secret takes the secret where keys are of no use', () => {
    const { left, right } = meet([rsa], { auth: 'psk' }, { left: { local: [own('left', { auth: 'any' })] } });
    expect(proof(right)).toBe('psk');
    expect(standing(left)).toMatchObject([{ localAuth: 'SHARED_KEY_MIC', authMethods: ['SHARED_KEY_MIC'] }]);
  });

  test('a secret for a peer that takes keys alone is not offered at all', () => {
    const { left, right } = meet([], { schemes: ['ed25519', 'ed448'] }, { left: { local: [own('left', { auth: 'psk' })] } });
    expect(failure(left)).toMatchObject({ code: 'AUTH_METHOD_NOT_TAKEN' });
    expect(failure(left)?.message).toBe(
      'net authenticates us by SHARED_KEY_MIC, and the peer takes DIGITAL_SIGNATURE Ed25519, DIGITAL_SIGNATURE Ed448 alone',
    );
    expect(right.has('peer')).toEqual([]);
  });
});

describe('announcements for one authority alone (Cert Link, RFC 9593 §3.2.2)', () => {
  const inOther = peer(other, 'C=CH, O=lab, CN=elsewhere', ['left.lab'], { kind: 'ed25519' });
  const ask = (peerMethods: readonly AuthAnnouncement[], authorities: readonly LabAuthority[]): Extract<Ask, { kind: 'authenticate' }> => ({
    kind: 'authenticate',
    connection: 'net',
    auth: own('left'),
    localId: undefined,
    remoteId: undefined,
    octets: (id) => id.data,
    prf: 5,
    peerHashes: [2, 3, 4, 5],
    peerMethods,
    certificateAuthorities: authorities.map(({ certificate }) => sha1(certificate.spki)),
    sendCertificates: true,
  });
  const chosen = (peerMethods: readonly AuthAnnouncement[], authorities: readonly LabAuthority[]) => {
    const answer = store([ed25519, inOther], [ca, other]).authenticate(ask(peerMethods, authorities), NOW);
    return answer.ok
      ? [ed25519, inOther].findIndex(({ certificate }) => equalBytes(certificate.der, answer.certificates[0]!.data))
      : answer.error.code;
  };
  const eddsa = (certLink: number): AuthAnnouncement[] => [{ method: 14, certLink }];

  test.each<[string, number, readonly LabAuthority[], number | string]>([
    ['the second authority', 2, [ca, other], 1],
    ['the first', 1, [ca, other], 0],
    ['none of ours', 1, [root('CN=third CA')], 'NO_SIGNATURE_SCHEME'],
    ['one that was not named', 3, [ca, other], 'NO_SIGNATURE_SCHEME'],
    ['one where no CERTREQ came', 3, [], 0],
  ])('%s', (_what, link, authorities, expected) => {
    expect(chosen(eddsa(link), authorities)).toBe(expected);
  });
});
