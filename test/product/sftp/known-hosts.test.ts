import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkHostKey, type HostKeyOptions } from '../../../src/product/sftp/host-key.ts';
import { fingerprint, KnownHosts, knownKeys, parseHostKey } from '../../../src/product/sftp/known-hosts.ts';
import { folder } from './scene.ts';

// made by `ssh-keygen -t ed25519`, its fingerprint by `ssh-keygen -lf`, its hashed line by `ssh-keygen -Hf`
const KEY = 'AAAAC3NzaC1lZDI1NTE5AAAAICQk9PYFBnjfP4OlUdvrm/Cm2gVANxz81en20uQque8h';
const OTHER = 'AAAAC3NzaC1lZDI1NTE5AAAAIPXRoI/VgSUVAxnu4acJ/1BkgPnWh6py4hKcgBioQvub';
const octetsOf = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

describe('lines of known_hosts', () => {
  test.each([
    ['a name', 'files.example.com', 'files.example.com', 22, true],
    ['a name of many', 'a,files.example.com,10.0.0.1', 'files.example.com', 22, true],
    ['another case', 'Files.Example.com', 'files.example.COM', 22, true],
    ['another name', 'file.example.com', 'files.example.com', 22, false],
    ['a pattern', '*.example.com', 'files.example.com', 22, true],
    ['a question mark', 'file?.example.com', 'files.example.com', 22, true],
    ['a name that is excepted', '*.example.com,!files.example.com', 'files.example.com', 22, false],
    ['another port', 'files.example.com', 'files.example.com', 2022, false],
    ['its port', '[files.example.com]:2022', 'files.example.com', 2022, true],
    ['a pattern that begins alike', '*x', 'xxxy', 22, false],
  ])('%s', (_what, patterns, host, port, known) => {
    expect(knownKeys(`${patterns} ssh-ed25519 ${KEY} comment\n`, host, port)).toHaveLength(known ? 1 : 0);
  });

  test('a hashed name', () => {
    const line = `|1|NI3i37Gkayju4H6RVNwjlqEzG74=|tZ4WUNaap0SnUU8oLCHEo+tlBVY= ssh-ed25519 ${KEY}`;
    expect(knownKeys(line, 'files.example.com', 22)).toHaveLength(1);
    expect(knownKeys(line, 'files.example.org', 22)).toHaveLength(0);
  });

  test('comments, markers and what is no line', () => {
    const text = `# comment\n\n@revoked * ssh-ed25519 ${KEY}\n@cert-authority * ssh-ed25519 ${OTHER}\n@unknown * ssh-ed25519 ${KEY}\nbroken\nh ssh-ed25519 %%%\n`;
    expect(knownKeys(text, 'h', 22).map(({ line, marker }) => [line, marker])).toEqual([
      [3, 'revoked'],
      [4, 'cert-authority'],
    ]);
  });

  test('a pattern that could be matched in many ways takes no time', () => {
    const began = process.cpuUsage().user;
    expect(knownKeys(`${'*a'.repeat(40)} ssh-ed25519 ${KEY}`, 'a'.repeat(200).concat('b'), 22)).toEqual([]);
    expect(process.cpuUsage().user - began).toBeLessThan(2_000_000);
  });
});

describe('the key that a host shows', () => {
  const check = (text: string, more: Partial<HostKeyOptions> = {}, key = KEY): Promise<string> => {
    const file = join(folder(), 'known_hosts');
    if (text !== '') writeFileSync(file, text);
    const options = { host: 'h', port: 22, knownHosts: new KnownHosts(file), ...more };
    return checkHostKey(parseHostKey(octetsOf(key)), options).then(
      () => (text === '' ? readFileSync(file, 'utf8') : 'known'),
      (error: { code: string }) => error.code,
    );
  };
  const shown = fingerprint(octetsOf(KEY));

  test('has the fingerprint that OpenSSH prints', () => {
    expect(shown).toBe('SHA256:4Yr5GxTSBiIgNHhH0kCOQltRjMWn05PVu4ovNTreueg');
  });

  test.each([
    ['is known', `h ssh-ed25519 ${KEY}`, {}, 'known'],
    ['was another', `h ssh-ed25519 ${OTHER}`, { acceptNew: true }, 'SFTP_HOST_KEY_CHANGED'],
    ['is revoked', `h ssh-ed25519 ${KEY}\n@revoked * ssh-ed25519 ${KEY}`, { acceptNew: true }, 'SFTP_HOST_KEY_REVOKED'],
    ['is not known, and nobody can be asked', 'x ssh-rsa AAAA', {}, 'SFTP_HOST_KEY_UNKNOWN'],
    ['is not known, and somebody says no', 'x ssh-rsa AAAA', { ask: async () => false }, 'SFTP_HOST_KEY_UNKNOWN'],
    ['is known by its authority alone', `@cert-authority * ssh-ed25519 ${OTHER}`, {}, 'SFTP_HOST_KEY_UNKNOWN'],
    ['is pinned', `h ssh-ed25519 ${OTHER}`, { pinned: [shown] }, 'known'],
    ['is another than the one that is pinned', `h ssh-ed25519 ${KEY}`, { pinned: ['SHA256:else'] }, 'SFTP_HOST_KEY_CHANGED'],
  ] as const)('%s', async (_what, text, more, outcome) => {
    expect(await check(text, more)).toBe(outcome);
  });

  test('is remembered once it is believed', async () => {
    const line = `h ssh-ed25519 ${KEY}\n`;
    expect(await check('', { acceptNew: true })).toBe(line);
    expect(await check('', { ask: async (_host, type, print) => type === 'ssh-ed25519' && print === shown })).toBe(line);
  });

  test('is remembered under a hash where others are, in a file for its owner alone', async () => {
    const file = join(folder(), 'new', 'known_hosts');
    const hosts = new KnownHosts(file);
    await hosts.add('plain', 22, parseHostKey(octetsOf(KEY)));
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(file, '..')).mode & 0o777).toBe(0o700);
    writeFileSync(file, `|1|NI3i37Gkayju4H6RVNwjlqEzG74=|tZ4WUNaap0SnUU8oLCHEo+tlBVY= ssh-ed25519 ${OTHER}`);
    await hosts.add('h', 2022, parseHostKey(octetsOf(KEY)));
    expect(readFileSync(file, 'utf8')).toMatch(/^\|1\|[^\n]+\n\|1\|[^\n]+\n$/);
    expect(readFileSync(file, 'utf8')).not.toContain('2022');
    expect(await hosts.keysOf('h', 2022)).toHaveLength(1);
  });

  test('of a file that is none is said', async () => {
    const path = join(folder(), 'hosts');
    mkdirSync(path);
    await expect(new KnownHosts(path).keysOf('h', 22)).rejects.toMatchObject({ code: 'KNOWN_HOSTS' });
  });
});
