import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { ConfigError, utf8 } from '../../../src/core/bytes/index.ts';
import { CLIENT_USAGES, certificateSigner, createCa, formatPem, generateKey, issueCertificate } from '../../../src/core/pki/index.ts';
import { CredentialStore } from '../../../src/host/engine/credentials/credentials.ts';
import { type CredentialMaterial, loadCredentials } from '../../../src/host/engine/credentials/load.ts';

const HOUR = 3_600_000;
const common = () => ({ serial: new Uint8Array(randomBytes(16)), notBefore: Date.now() - HOUR, notAfter: Date.now() + 24 * HOUR });
const ca = createCa({
  name: 'CN=Test CA',
  signer: certificateSigner(generateKey('ecdsa-p256').privateKey),
  ...common(),
  notAfter: Date.now() + 48 * HOUR,
});
const alice = generateKey('ecdsa-p256');
const certificate = issueCertificate({
  ca,
  subject: 'CN=alice',
  sans: ['alice@example.com'],
  publicKey: alice.spki,
  usages: CLIENT_USAGES,
  ...common(),
});

const file = (path: string, data: string | Uint8Array) => ({ path, data: typeof data === 'string' ? utf8(data) : data });
const certificatePem = formatPem('CERTIFICATE', certificate.der);
const authority = { handle: 'ca', certificate: file('/etc/ca.crt', formatPem('CERTIFICATE', ca.certificate.der)) };
const material = (more: Partial<CredentialMaterial>): CredentialMaterial => ({
  certificates: [],
  authorities: [authority],
  psks: [],
  ...more,
});

/** Handles of what can sign: a certificate whose private key is there. */
const ready = (store: CredentialStore): string[] =>
  store.loaded(Date.now()).flatMap((entry) => (entry.kind === 'certificate' && entry.hasPrivateKey ? [entry.handle] : []));

describe('credentials from files', () => {
  test('a certificate and its key, each in a file of its own', () => {
    const store = new CredentialStore();
    const key = { ...file('/etc/alice.key', alice.pem), passphrase: undefined };
    loadCredentials(store, material({ certificates: [{ handle: 'alice', certificates: [file('/etc/alice.crt', certificatePem)], key }] }));
    expect(store.authorityHashes().length).toBe(1);
    expect(ready(store)).toEqual(['alice']);
    expect(key.data.every((octet) => octet === 0)).toBe(true); // overwritten
  });

  test('a key that stands behind its certificate in one file', () => {
    const store = new CredentialStore();
    const both = file('/etc/alice.pem', certificatePem + alice.pem);
    loadCredentials(store, material({ certificates: [{ handle: 'alice', certificates: [both], key: undefined }] }));
    expect(ready(store)).toEqual(['alice']);
  });

  test('an encrypted key opens with its passphrase only', () => {
    const pem = alice.privateKey.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'open sesame' }) as string;
    const withPassphrase = (passphrase: string | undefined): void => {
      const key = { ...file('/etc/alice.key', pem), passphrase: passphrase === undefined ? undefined : utf8(passphrase) };
      loadCredentials(
        new CredentialStore(),
        material({ certificates: [{ handle: 'alice', certificates: [file('/etc/alice.crt', certificatePem)], key }] }),
      );
    };
    expect(() => withPassphrase('open sesame')).not.toThrow();
    for (const wrong of ['open', undefined]) expect(() => withPassphrase(wrong)).toThrow(ConfigError);
    expect(() => withPassphrase('open')).toThrow(/\/etc\/alice\.key/);
  });

  test('what is none is refused by the name of its file', () => {
    const bad = { handle: 'ca', certificate: file('/etc/wrong.crt', 'not a certificate') };
    expect(() => loadCredentials(new CredentialStore(), material({ authorities: [bad] }))).toThrow(/\/etc\/wrong\.crt/);
  });

  test('secrets are overwritten, also when something else fails', () => {
    const secret = utf8('a key that both ends know');
    const bad = { handle: 'ca', certificate: file('/etc/wrong.crt', 'not a certificate') };
    expect(() =>
      loadCredentials(new CredentialStore(), material({ authorities: [bad], psks: [{ name: 'key', owners: [], secret }] })),
    ).toThrow();
    expect(secret.every((octet) => octet === 0)).toBe(true);
  });
});
