import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConfigError, equalBytes, fromUtf8, Reader } from '../../core/bytes/index.ts';
import { errnoOf } from '../transfer/errors.ts';

/** A public key of SSH, as it travels: its type first (RFC 4253 §6.6). */
export interface HostKey {
  readonly type: string;
  readonly octets: Uint8Array;
}

/** A line of a known_hosts file that names the host. */
export interface KnownKey {
  /** From 1. */
  readonly line: number;
  readonly marker: 'revoked' | 'cert-authority' | undefined;
  readonly type: string;
  readonly octets: Uint8Array;
}

/** @throws MalformedMessage */
export const parseHostKey = (octets: Uint8Array): HostKey => {
  const reader = new Reader(octets);
  return { type: fromUtf8(reader.bytes(reader.u32('key type'), 'key type')), octets };
};

/** `SHA256:…` as OpenSSH prints it. */
export const fingerprint = (octets: Uint8Array): string =>
  `SHA256:${createHash('sha256').update(octets).digest('base64').replace(/=+$/, '')}`;

/** The lines of OpenSSH's known_hosts format (sshd(8)) that name a host; what is no such line is passed over, as ssh does. */
export function knownKeys(text: string, host: string, port: number): KnownKey[] {
  const name = nameOf(host, port);
  return text.split('\n').flatMap((line, index) => {
    const words = line.trim().split(/\s+/);
    const marker = words[0]?.startsWith('@') ? words.shift()!.slice(1) : undefined;
    const [patterns, type, base64] = words;
    if (patterns === undefined || patterns.startsWith('#') || type === undefined || base64 === undefined) return [];
    if (marker !== undefined && marker !== 'revoked' && marker !== 'cert-authority') return [];
    if (!names(patterns, name)) return [];
    const octets = decodeBase64(base64);
    return octets === undefined ? [] : [{ line: index + 1, marker, type, octets }];
  });
}

export type Standing =
  | { readonly kind: 'known' }
  /** Other keys are known under this name, of this type or of another. */
  | { readonly kind: 'changed'; readonly known: KnownKey }
  | { readonly kind: 'revoked'; readonly known: KnownKey }
  /** A certificate of this authority would be believed, and there is none. */
  | { readonly kind: 'authority-only'; readonly known: KnownKey }
  | { readonly kind: 'unknown' };

/** What a file says of the key that a host showed. */
export function standingOf(known: readonly KnownKey[], { octets }: HostKey): Standing {
  const same = (each: KnownKey): boolean => equalBytes(each.octets, octets);
  const revoked = known.find((each) => each.marker === 'revoked' && same(each));
  if (revoked !== undefined) return { kind: 'revoked', known: revoked };
  const plain = known.filter(({ marker }) => marker === undefined);
  if (plain.some(same)) return { kind: 'known' };
  if (plain[0] !== undefined) return { kind: 'changed', known: plain[0] };
  const authority = known.find(({ marker }) => marker === 'cert-authority');
  return authority === undefined ? { kind: 'unknown' } : { kind: 'authority-only', known: authority };
}

/** A file of known hosts; that it is not there yet means that none are known. */
export class KnownHosts {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async keysOf(host: string, port: number): Promise<KnownKey[]> {
    return knownKeys(await this.#text(), host, port);
  }

  /** A line more. Where names stand hashed, this one does too. @throws ConfigError */
  async add(host: string, port: number, { type, octets }: HostKey): Promise<void> {
    const text = await this.#text();
    const name = nameOf(host, port);
    const shown = /^\|1\|/m.test(text) ? hashed(name, randomBytes(20)) : name;
    const line = `${shown} ${type} ${btoa(String.fromCharCode(...octets))}\n`;
    try {
      await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
      const file = await open(this.path, 'a', 0o600);
      try {
        await file.write(text === '' || text.endsWith('\n') ? line : `\n${line}`);
      } finally {
        await file.close();
      }
    } catch (cause) {
      throw this.#unusable(cause);
    }
  }

  async #text(): Promise<string> {
    try {
      return await readFile(this.path, 'utf8');
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT') return '';
      throw this.#unusable(cause);
    }
  }

  #unusable(cause: unknown): ConfigError {
    return new ConfigError(`${this.path}, the file of known hosts, cannot be used: ${errnoOf(cause) ?? String(cause)}`, {
      code: 'KNOWN_HOSTS',
      file: this.path,
      hint: 'Name another with --known-hosts, or pin the key with --host-key.',
      cause,
    });
  }
}

/** The port stands with the name where it is not SSH's own. */
const nameOf = (host: string, port: number): string => (port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`);

/** A list of patterns, or one hashed name. */
function names(patterns: string, name: string): boolean {
  if (patterns.startsWith('|1|')) {
    const salt = decodeBase64(patterns.split('|')[2] ?? '');
    return salt !== undefined && sameText(patterns, hashed(name, salt));
  }
  let found = false;
  for (const pattern of patterns.split(',')) {
    const negated = pattern.startsWith('!');
    if (!fits(negated ? pattern.slice(1) : pattern, name)) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

/** `*` is any text, `?` one character. Linear: it goes back to the last `*` alone. */
function fits(pattern: string, name: string): boolean {
  const wanted = pattern.toLowerCase();
  let [at, mark, star] = [0, 0, -1];
  let p = 0;
  while (at < name.length) {
    if (wanted[p] === '*') [star, mark] = [p++, at];
    else if (wanted[p] === '?' || wanted[p] === name[at]) [p, at] = [p + 1, at + 1];
    else if (star >= 0) [p, at] = [star + 1, ++mark];
    else return false;
  }
  while (wanted[p] === '*') p++;
  return p === wanted.length;
}

/** HashKnownHosts of ssh_config(5). */
function hashed(name: string, salt: Uint8Array): string {
  const base64 = (octets: Uint8Array): string => btoa(String.fromCharCode(...octets));
  return `|1|${base64(salt)}|${createHmac('sha1', salt).update(name).digest('base64')}`;
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [new TextEncoder().encode(a), new TextEncoder().encode(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function decodeBase64(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
