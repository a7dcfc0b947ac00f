import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromUtf8, toHex, utf8 } from '../../../src/core/bytes/index.ts';
import { compile, decodeSecret, loadConfig, machineFiles, readCredentials } from '../../../src/product/config/index.ts';
import { digestOf } from '../../../src/product/config/secrets.ts';

describe('forms', () => {
  test.each([
    ['correct horse', toHex(utf8('correct horse'))],
    ['0x00ff10', '00ff10'],
    ['0sAAECAw==', '00010203'],
    ['0sAAECAw', '00010203'],
    ['0', '30'],
    ['0q', '3071'],
  ])('%j', (text, expected) => {
    const secret = decodeSecret(utf8(text));
    expect(secret.ok && toHex(secret.value)).toBe(expected);
  });

  test.each([
    ['', 'the secret is empty'],
    ['0x', 'the secret begins with 0x, but hex does not follow'],
    ['0x123', 'the secret begins with 0x, but hex does not follow'],
    ['0xhello', 'the secret begins with 0x, but hex does not follow'],
    ['0s***', 'the secret begins with 0s, but base64 does not follow'],
  ])('%j is refused, and never shown', (text, message) => {
    const secret = decodeSecret(utf8(text));
    expect(secret).toMatchObject({ ok: false, message });
    if (text.length > 3) expect(JSON.stringify(secret)).not.toContain(text.slice(2));
  });
});

test('a secret of 64 octets of ASCII and more is taken as it is, with no NUL behind it (RFC 7296 §2.15)', () => {
  for (const length of [64, 65, 200]) {
    const octets = Uint8Array.from({ length }, (_, i) => 0x20 + (i % 95));
    const secret = decodeSecret(octets);
    expect(secret.ok && toHex(secret.value)).toBe(toHex(octets));
  }
});

test('a secret in hex stands for the octets that it tells (RFC 7296 §2.15)', () => {
  const secret = decodeSecret(utf8('0x00ff10aB'));
  expect(secret.ok && toHex(secret.value)).toBe('00ff10ab');
});

describe('the digest of credentials', () => {
  const empty = { certificates: [], authorities: [], peers: [], peerKeys: [], psks: [], ppks: [], warnings: [] };
  const psk = (name: string, secret: string) => ({ name, owners: [], secret: utf8(secret) });
  const digest = (...psks: ReturnType<typeof psk>[]) => toHex(digestOf({ ...empty, psks }));

  test('is another one when any of them changes, comes or goes, and the same otherwise', () => {
    const digests = [
      digest(),
      digest(psk('a', 'one')),
      digest(psk('a', 'two')),
      digest(psk('b', 'one')),
      digest(psk('a', 'one'), psk('b', 'two')),
      digest(psk('ao', 'ne')),
    ];
    expect(new Set(digests).size).toBe(digests.length);
    expect(digest(psk('a', 'one'))).toBe(digests[1]);
  });
});

describe('files and environment', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tunnelwright-secrets-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const put = (name: string, content: string, mode = 0o600) => {
    writeFileSync(join(folder, name), content);
    chmodSync(join(folder, name), mode);
  };
  const config = (secret: string, more = '') => {
    const text = `connections:\n  road:\n    local: {auth: psk, id: us}\n    remote: {auth: psk}\n    children: {net: {}}\nsecrets:\n  home: {kind: psk, ${secret}}\n${more}`;
    return compile(loadConfig(text, { file: join(folder, 'tunnelwright.yaml') }));
  };
  const psk = async (secret: string) => (await readCredentials(config(secret).credentials, machineFiles)).psks[0]!;

  test.each([
    ['the last line end is not part of it', 'a long enough secret\n', 'a long enough secret'],
    ['nor is that of Windows', 'a long enough secret\r\n', 'a long enough secret'],
    ['one inside is', 'a long\nenough secret\n\n', 'a long\nenough secret\n'],
  ])('%s', async (_, content, expected) => {
    put('psk', content);
    expect(fromUtf8((await psk('secret_file: psk')).secret)).toBe(expected);
  });

  test('a file that others can read is refused, with the command that mends it', async () => {
    put('open', 'a long enough secret', 0o644);
    await expect(psk('secret_file: open')).rejects.toMatchObject({
      code: 'SECRET_FILE_PERMISSIONS',
      message: expect.stringContaining('tunnelwright.yaml:7:34 secrets.home.secret_file: '),
      hint: expect.stringContaining(`chmod 600 ${join(folder, 'open')}`),
      line: 7,
    });
  });

  test('a file that is not there', async () => {
    await expect(psk('secret_file: nowhere')).rejects.toMatchObject({
      code: 'FILE_UNREADABLE',
      message: expect.stringContaining('there is no such file'),
    });
  });

  test('an environment variable', async () => {
    const files = { ...machineFiles, env: (name: string) => (name === 'HOME_PSK' ? '0x00112233445566778899aabbccddeeff' : undefined) };
    const read = await readCredentials(config('secret_env: HOME_PSK').credentials, files);
    expect(toHex(read.psks[0]!.secret)).toBe('00112233445566778899aabbccddeeff');
    expect(read.warnings).toEqual([]);
    await expect(readCredentials(config('secret_env: OTHER').credentials, files)).rejects.toThrow(
      'secrets.home.secret_env: the environment has no variable OTHER',
    );
  });

  test('post-quantum: hex, base64 or text, by the ids that both ends name; less than 32 octets are said aloud', async () => {
    put('ppk', '0s3q2+7w==');
    const more = `  quantum: {kind: ppk, ids: [ppk.lab, "keyid:site 7"], secret_file: ppk}\n`;
    const compiled = config('secret_env: HOME_PSK', more);
    const files = { ...machineFiles, env: () => 'a long enough secret' };
    const read = await readCredentials(compiled.credentials, files);
    expect(read.ppks).toMatchObject([{ name: 'quantum', secret: Uint8Array.of(0xde, 0xad, 0xbe, 0xef) }]);
    expect(read.ppks[0]!.ids.map(({ data }) => fromUtf8(data))).toEqual(['ppk.lab', 'site 7']);
    expect(read.warnings.map(({ message }) => message)).toEqual([
      expect.stringContaining('secrets.quantum.secret_file: the post-quantum pre-shared key has 4 octets'),
    ]);
  });

  test('inline: said aloud, once, without the secret; short: said aloud too', async () => {
    const compiled = config('secret: hunter2');
    const read = await readCredentials(compiled.credentials, machineFiles);
    const warnings = [...compiled.warnings, ...read.warnings].map((warning) => `${warning.message} ${warning.hint}`);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain('secrets.home.secret: the secret stands in the configuration itself');
    expect(warnings[1]).toContain('the pre-shared key has 7 octets');
    expect(warnings.join()).not.toContain('hunter2');
  });

  test('a certificate file that holds the key as well must be as private as a key', async () => {
    put('both.pem', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n', 0o644);
    put('ca.pem', '-----BEGIN CERTIFICATE-----\n', 0o644);
    const text =
      'connections:\n  road:\n    local: {auth: pubkey, certs: both.pem}\n    remote: {auth: pubkey, cacerts: ca.pem}\n    children: {net: {}}\n';
    const compiled = compile(loadConfig(text, { file: join(folder, 'f.yaml') }));
    await expect(readCredentials(compiled.credentials, machineFiles)).rejects.toMatchObject({ code: 'SECRET_FILE_PERMISSIONS', line: 3 });
    chmodSync(join(folder, 'both.pem'), 0o600);
    const read = await readCredentials(compiled.credentials, machineFiles);
    expect(read.certificates).toMatchObject([
      { handle: 'road.local[0]', certificates: [{ path: join(folder, 'both.pem') }], key: undefined },
    ]);
    expect(read.authorities).toMatchObject([{ handle: join(folder, 'ca.pem') }]);
  });

  test('a passphrase finds its key', async () => {
    put('key.pem', 'encrypted', 0o600);
    put('cert.pem', 'certificate', 0o644);
    put('pass', 'open sesame\n');
    const text =
      'connections:\n  road:\n    local: {auth: pubkey, certs: [cert.pem], key: key.pem}\n    remote: {auth: pubkey, cacerts: cert.pem}\n    children: {net: {}}\nsecrets:\n  k: {kind: private, file: key.pem, secret_file: pass}\n';
    const read = await readCredentials(compile(loadConfig(text, { file: join(folder, 'f.yaml') })).credentials, machineFiles);
    expect(fromUtf8(read.certificates[0]!.key!.passphrase!)).toBe('open sesame');
    expect(read.certificates[0]!.key!.path).toBe(join(folder, 'key.pem'));
  });
});
