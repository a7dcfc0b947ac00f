import { expect, test } from 'vitest';
import { utf8 } from '../../../src/core/bytes/index.ts';
import { formatPem, generateKey, keyFingerprint } from '../../../src/core/pki/index.ts';
import { CredentialStore } from '../../../src/host/engine/credentials/credentials.ts';
import { loadCredentials } from '../../../src/host/engine/credentials/load.ts';
import { compile, loadConfig, readCredentials } from '../../../src/product/config/index.ts';

const own = generateKey('ed25519');
const peer = generateKey('ed25519');
const PIN = keyFingerprint(peer.spki);
const FILES: Readonly<Record<string, string>> = {
  '/etc/own.key': own.pem,
  '/etc/own.pub': formatPem('PUBLIC KEY', own.spki),
  '/etc/peer.pub': formatPem('PUBLIC KEY', peer.spki),
};
const files = {
  readFile: async (path: string) => utf8(FILES[path]!),
  readSecretFile: async (path: string) => utf8(FILES[path]!),
  env: () => undefined,
};

const config = (local: string, remote: string, more = '') =>
  compile(
    loadConfig(`${more}connections:\n  c:\n    local: ${local}\n    remote: ${remote}\n    children: {net: {}}\n`, { file: '/etc/f.yaml' }),
  );

async function loaded(local: string, remote: string) {
  const { credentials, connections } = config(local, remote);
  const store = new CredentialStore();
  loadCredentials(store, await readCredentials(credentials, files));
  return { connection: connections[0]!, store };
}

test('key without certs is a raw public key, and pubkeys are whom to trust', async () => {
  const { connection, store } = await loaded(
    '{auth: pubkey, key: own.key, pubkeys: own.pub}',
    `{auth: pubkey, pubkeys: [peer.pub, "${PIN}"]}`,
  );
  expect(connection.local).toEqual([{ auth: 'pubkey', id: undefined, credential: 'c.local[0]' }]);
  expect(connection.remote).toEqual([
    { auth: 'pubkey', id: { kind: 'any' }, authorities: [], publicKeys: ['pubkey /etc/peer.pub', `pubkey ${PIN}`] },
  ]);
  expect(store.loaded(0)).toEqual([
    { kind: 'public key', handle: 'c.local[0]', fingerprint: keyFingerprint(own.spki), key: 'Ed25519' },
    { kind: 'peer public key', handle: 'pubkey /etc/peer.pub', fingerprint: PIN, key: 'Ed25519' },
    { kind: 'peer public key', handle: `pubkey ${PIN}`, fingerprint: PIN, key: '' },
  ]);
});

test('a public key that is not that of the key', async () => {
  await expect(loaded('{auth: pubkey, key: own.key, pubkeys: peer.pub}', `{auth: pubkey, pubkeys: "${PIN}"}`)).rejects.toMatchObject({
    code: 'KEY_MISMATCH',
    message: expect.stringContaining('/etc/own.key'),
  });
});

test('authorities beside pinned keys count only where the connection names them', () => {
  const authorities = 'authorities: {ca: {cacert: ca.pem}}\n';
  const remote = (text: string) => config('{auth: pubkey, key: own.key}', text, authorities).connections[0]!.remote[0];
  expect(remote(`{auth: pubkey, pubkeys: "${PIN}"}`)!.authorities).toEqual([]);
  expect(remote(`{auth: pubkey, pubkeys: "${PIN}", cacerts: other.pem}`)!.authorities).toEqual(['/etc/other.pem']);
});

test.each([
  ['{auth: pubkey}', '{auth: pubkey, pubkeys: peer.pub}', 'connections.c.local.certs: is missing'],
  [
    '{auth: pubkey, certs: a.pem, pubkeys: own.pub}',
    '{auth: pubkey, pubkeys: peer.pub}',
    'connections.c.local.pubkeys: a key goes with its certificate or raw',
  ],
  ['{auth: pubkey, key: own.key}', '{auth: pubkey}', 'no authority is trusted for this peer'],
  ['{auth: pubkey, key: own.key}', '{auth: pubkey, pubkeys: "sha256:123"}', 'has 64 hex digits'],
  ['{auth: pubkey, key: own.key}', '{auth: pubkey, pubkeys: 0s3000}', 'the public key cannot be read'],
])('%s %s', (local, remote, message) => {
  expect(() => config(local, remote)).toThrow(message);
});
