import { ConfigError, fromHex, fromUtf8, TunnelwrightError, utf8 } from '../../core/bytes/index.ts';
import { sha256 } from '../../core/crypto/index.ts';
import { formatIdentityPattern } from '../../core/pki/index.ts';
import type { ConfigWarning, CredentialSources, FileReference, SecretSource } from './compiled.ts';
import { errorAt, type Place } from './source.ts';
import { invalid, type Parsed, valid } from './values.ts';

/** What reading credentials needs of the machine; `machineFiles` is the real one. */
export interface CredentialFiles {
  readFile(path: string): Promise<Uint8Array>;
  /** Refuses what others could have read. */
  readSecretFile(path: string): Promise<Uint8Array>;
  env(variable: string): string | undefined;
}

/** Everything that `CredentialSources` names, as octets. Whoever keeps the secrets overwrites them in the end. */
export interface RawCredentials {
  readonly certificates: readonly {
    readonly handle: string;
    readonly certificates: readonly RawFile[];
    readonly key: (RawFile & { readonly passphrase: Uint8Array | undefined }) | undefined;
    readonly publicKeys: readonly (string | RawFile)[];
  }[];
  readonly authorities: readonly {
    readonly handle: string;
    readonly certificate: RawFile;
    readonly certificateUrls?: string | undefined;
    readonly crlUris: readonly string[];
    readonly ocspUris: readonly string[];
  }[];
  readonly peers: readonly { readonly handle: string; readonly certificate: RawFile }[];
  readonly peerKeys: readonly { readonly handle: string; readonly key: string | RawFile }[];
  readonly psks: readonly {
    readonly name: string;
    readonly owners: CredentialSources['psks'][number]['owners'];
    readonly secret: Uint8Array;
  }[];
  readonly ppks: readonly { readonly name: string; readonly ids: CredentialSources['ppks'][number]['ids']; readonly secret: Uint8Array }[];
  readonly warnings: readonly ConfigWarning[];
}

export interface RawFile extends FileReference {
  readonly data: Uint8Array;
}

/** Reads every file and secret. Throws `ConfigError` that names the setting, and what to do about it. */
export async function readCredentials(sources: CredentialSources, files: CredentialFiles): Promise<RawCredentials> {
  const warnings: ConfigWarning[] = [];
  const passphrases = new Map<string, Uint8Array>();
  for (const { file, secret } of sources.passphrases) passphrases.set(file, await readSecret(secret, files));
  const certificates: RawCredentials['certificates'][number][] = [];
  for (const source of sources.certificates) {
    const candidates: RawFile[] = [];
    for (const file of source.certificates) candidates.push(await readCertificate(file, files));
    const key =
      source.key === undefined
        ? undefined
        : { ...(await read(source.key, (path) => files.readSecretFile(path))), passphrase: passphrases.get(source.key.path) };
    const publicKeys: (string | RawFile)[] = [];
    for (const each of source.publicKeys ?? []) publicKeys.push(await readKey(each, files));
    certificates.push({ handle: source.handle, certificates: candidates, key, publicKeys });
  }
  const authorities: RawCredentials['authorities'][number][] = [];
  for (const source of sources.authorities)
    authorities.push({ ...source, certificate: await read(source.certificate, (path) => files.readFile(path)) });
  const peers: RawCredentials['peers'][number][] = [];
  for (const { handle, certificate } of sources.peers)
    peers.push({ handle, certificate: await read(certificate, (path) => files.readFile(path)) });
  const peerKeys: RawCredentials['peerKeys'][number][] = [];
  for (const { handle, key } of sources.peerKeys) peerKeys.push({ handle, key: await readKey(key, files) });
  const psks: RawCredentials['psks'][number][] = [];
  for (const { name, owners, secret } of sources.psks) {
    const octets = await readSecret(secret, files);
    if (octets.length < SHORT_PSK) warnings.push(shortPsk(secret.place, octets.length));
    psks.push({ name, owners, secret: octets });
  }
  const ppks: RawCredentials['ppks'][number][] = [];
  for (const { name, ids, secret } of sources.ppks) {
    const octets = await readSecret(secret, files);
    if (octets.length < SHORT_PPK) warnings.push(shortPpk(secret.place, octets.length));
    ppks.push({ name, ids, secret: octets });
  }
  return { certificates, authorities, peers, peerKeys, psks, ppks, warnings };
}

/** Another one for other credentials: whoever was let in by some of these is not by some of those. */
export function digestOf({ certificates, authorities, peers, peerKeys, psks, ppks }: RawCredentials): Uint8Array {
  const parts = [
    ...certificates.flatMap((each) => [utf8(each.handle), ...each.certificates.map(({ data }) => data)]),
    ...[...authorities, ...peers].flatMap(({ handle, certificate }) => [utf8(handle), certificate.data]),
    ...peerKeys.flatMap(({ handle, key }) => [utf8(handle), typeof key === 'string' ? utf8(key) : key.data]),
    ...psks.flatMap(({ name, owners, secret }) => [utf8(name), utf8(owners.map(formatIdentityPattern).join()), secret]),
    ...ppks.flatMap(({ name, secret }) => [utf8(name), secret]),
  ];
  // lengths in between: what one part ends with is not what the next begins with
  return sha256(...parts.flatMap((part) => [utf8(`${part.length} `), part]));
}

/** One secret, from wherever it is. */
export async function readSecret(source: SecretSource, files: CredentialFiles): Promise<Uint8Array> {
  if (source.kind === 'inline') return decoded(utf8(source.text), source.place);
  if (source.kind === 'file') {
    const { data } = await read({ path: source.path, place: source.place }, (path) => files.readSecretFile(path));
    const secret = decoded(withoutLastLineEnd(data), source.place);
    if (secret.buffer !== data.buffer) data.fill(0);
    return secret;
  }
  const text = files.env(source.variable);
  if (text === undefined)
    throw errorAt(
      source.place,
      `the environment has no variable ${source.variable}`,
      `Set ${source.variable}, or name a file with secret_file.`,
      'SECRET_MISSING',
    );
  return decoded(utf8(text), source.place);
}

/** `0x…` is hex, `0s…` is base64, anything else is the secret itself. */
export function decodeSecret(data: Uint8Array): Parsed<Uint8Array> {
  if (data.length === 0) return invalid('the secret is empty');
  if (data[0] !== ZERO || (data[1] !== LETTER_X && data[1] !== LETTER_S)) return valid(data);
  const text = fromUtf8(data.subarray(2, 2 + MAX_ENCODED));
  if (data.length > 2 + MAX_ENCODED) return invalid('the secret is too long');
  if (data[1] === LETTER_X)
    return /^([0-9a-fA-F]{2})+$/.test(text)
      ? valid(fromHex(text))
      : invalid('the secret begins with 0x, but hex does not follow', ENCODE_IT);
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return invalid('the secret begins with 0s, but base64 does not follow', ENCODE_IT);
  return valid(Uint8Array.from(atob(text.replace(/=+$/, '')), (c) => c.charCodeAt(0)));
}

function decoded(data: Uint8Array, place: Place): Uint8Array {
  const secret = decodeSecret(data);
  if (!secret.ok) throw errorAt(place, secret.message, secret.hint, 'SECRET_FORM');
  return secret.value;
}

const readKey = (key: string | FileReference, files: CredentialFiles): string | Promise<RawFile> =>
  typeof key === 'string' ? key : read(key, (path) => files.readFile(path));

/** A certificate is public, unless its private key stands beside it in the same file. */
async function readCertificate(file: FileReference, files: CredentialFiles): Promise<RawFile> {
  const raw = await read(file, (path) => files.readFile(path));
  if (!holdsPrivateKey(raw.data)) return raw;
  raw.data.fill(0);
  return read(file, (path) => files.readSecretFile(path));
}

async function read(file: FileReference, reader: (path: string) => Promise<Uint8Array>): Promise<RawFile> {
  try {
    return { ...file, data: await reader(file.path) };
  } catch (error) {
    if (error instanceof ConfigError) throw errorAt(file.place, error.message, error.hint, error.code);
    if (error instanceof TunnelwrightError) throw error;
    const reason = error instanceof Error && 'code' in error ? (REASONS.get(String(error.code)) ?? String(error.code)) : String(error);
    throw errorAt(
      file.place,
      `${file.path} cannot be read: ${reason}`,
      'Check the path and who may read it; a relative path starts beside the configuration file.',
      'FILE_UNREADABLE',
    );
  }
}

function shortPsk(place: Place, length: number): ConfigWarning {
  const message = errorAt(
    place,
    `the pre-shared key has ${length} octets; somebody who poses as the gateway can try all short ones at home`,
  ).message;
  return { message, hint: 'Take a random one: head -c 32 /dev/urandom | base64', place };
}

function shortPpk(place: Place, length: number): ConfigWarning {
  const message = errorAt(
    place,
    `the post-quantum pre-shared key has ${length} octets; against a quantum computer they are worth half of that`,
  ).message;
  return { message, hint: 'Take 32 random ones: echo 0s$(head -c 32 /dev/urandom | base64)', place };
}

function withoutLastLineEnd(data: Uint8Array): Uint8Array {
  let end = data.length;
  if (end > 0 && data[end - 1] === LINE_FEED) end--;
  if (end > 0 && data[end - 1] === CARRIAGE_RETURN) end--;
  return data.subarray(0, end);
}

const holdsPrivateKey = (data: Uint8Array): boolean => fromUtf8(data).includes('PRIVATE KEY-----');

const ZERO = 0x30;
const LETTER_X = 0x78;
const LETTER_S = 0x73;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const MAX_ENCODED = 8192;
const ENCODE_IT = 'If it is meant as text, write it in base64 behind 0s.';
/** RFC 7296 §2.15: a shared secret should hold as much randomness as the strongest key it protects. */
const SHORT_PSK = 16;
/** RFC 8784 §6: 256 bits of entropy. */
const SHORT_PPK = 32;
const REASONS = new Map([
  ['ENOENT', 'there is no such file'],
  ['EACCES', 'permission denied'],
  ['EISDIR', 'it is a folder'],
]);
