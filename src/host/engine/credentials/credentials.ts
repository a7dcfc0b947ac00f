import { ConfigError, equalBytes, fromUtf8, InternalError, TunnelwrightError } from '../../../core/bytes/index.ts';
import { exportSpki, importPrivateKey, type KeyObject, sha1 } from '../../../core/crypto/index.ts';
import type { Answer, Ask, AskAnswers } from '../../../core/ike/effects.ts';
import {
  type Certificate,
  certificateTitle,
  formatName,
  type IdentityPattern,
  keyFingerprint,
  type PinnedKey,
  parseCertificate,
  parseIdentity,
  parseIdentityPattern,
  parsePem,
  parsePinnedKey,
  readPublicKey,
  sameCertificate,
} from '../../../core/pki/index.ts';
import { isHashAndUrl } from '../../../core/wire/index.ts';
import type { CertPayload, Identification } from '../../../core/wire/payloads/types.ts';
import type { Credentials } from '../asks.ts';
import { type Computer, compute, follow } from '../workers/work.ts';
import { CertificateCache } from './cache.ts';
import type { CredentialOptions, OwnCertificate, OwnRawKey, TrustedCertificate } from './keyring.ts';
import { type LoadedCredential, listLoaded } from './list.ts';
import { CertificateLookup } from './lookup.ts';
import { PostQuantumKeys } from './ppk.ts';
import { SharedSecrets } from './secrets.ts';
import { authenticate } from './sign.ts';
import { verify } from './verify.ts';

export type { CredentialOptions } from './keyring.ts';
export type { LoadedCredential } from './list.ts';

/** PEM text, or the octets of a PEM or DER file. */
export type CredentialSource = string | Uint8Array;

export interface AuthorityOptions extends HandleOption {
  /** What the URLs of the certificates that it issued begin with: `http://…/` (RFC 7296 §3.6). Their SHA-1 follows, in hex. */
  readonly certificateUrls?: string | undefined;
}

export interface HandleOption {
  /** The name by which connections refer to it; several things may share one. The subject where it is left out. */
  readonly handle?: string | undefined;
}

/**
 * Keys, certificates and secrets in memory, and the answers to the two Asks that need them. Where they come from, and who may read those
 * files, is the caller's business. Everything thrown is a `ConfigError`; answers never throw.
 */
export class CredentialStore implements Credentials {
  readonly #options: CredentialOptions;
  readonly #secrets = new SharedSecrets();
  readonly #postQuantum = new PostQuantumKeys();
  readonly #cache = new CertificateCache();
  readonly #lookup: CertificateLookup | undefined;
  #own: OwnCertificate[] = [];
  #keys: { readonly spki: Uint8Array; readonly key: KeyObject }[] = [];
  #authorities: TrustedCertificate[] = [];
  #peers: TrustedCertificate[] = [];
  #rawKeys: OwnRawKey[] = [];
  #pinned: (PinnedKey & { readonly handle: string })[] = [];
  #intermediates: { readonly handle: string; readonly certificate: Certificate }[] = [];
  #unnamed = 0;

  constructor(options: CredentialOptions = {}) {
    this.#options = options;
    this.#lookup = options.httpGet && new CertificateLookup(options.httpGet);
  }

  /** Trusts every authority in a PEM bundle or DER file. `NOT_A_CA` for a certificate that is none. Returns the handle. */
  addAuthority(source: CredentialSource, options: AuthorityOptions = {}): string {
    const certificates = readCertificates(source);
    for (const certificate of certificates) if (certificate.basicConstraints?.ca !== true) throw notAnAuthority(certificate);
    const handle = options.handle ?? formatName(certificates[0]!.subject);
    const { certificateUrls } = options;
    for (const certificate of certificates)
      this.#authorities = withCertificate(this.#authorities, { handle, certificate, certificateUrls });
    this.#cache.forgetPaths();
    return handle;
  }

  /** A certificate of our own, with the authorities between it and the root behind it. Its private key may come before or after. */
  addCertificate(source: CredentialSource, options: HandleOption = {}): string {
    const [certificate, ...chain] = readCertificates(source) as [Certificate, ...Certificate[]];
    const handle = options.handle ?? formatName(certificate.subject);
    const key = this.#keys.find(({ spki }) => equalBytes(spki, certificate.spki))?.key;
    this.#own = [
      ...this.#own.filter((each) => !(each.handle === handle && sameCertificate(each.certificate, certificate))),
      { handle, certificate, key },
    ];
    this.#intermediates = [...this.#intermediates, ...chain.map((each) => ({ handle, certificate: each }))];
    this.#cache.forgetPaths();
    return handle;
  }

  /** A private key: PKCS #8, PKCS #1 or SEC 1. It goes with every certificate of our own that holds its public half. */
  addPrivateKey(source: CredentialSource, options: { readonly passphrase?: string } = {}): void {
    const key = importPrivateKey(source, options.passphrase);
    const spki = exportSpki(key);
    this.#keys.push({ spki, key });
    this.#own = this.#own.map((each) => (equalBytes(each.certificate.spki, spki) ? { ...each, key } : each));
  }

  /** A private key of our own that goes without certificate (RFC 7670). Returns the handle: the fingerprint, unless there is another. */
  addRawKey(source: CredentialSource, options: HandleOption & { readonly passphrase?: string } = {}): string {
    const key = importPrivateKey(source, options.passphrase);
    const spki = exportSpki(key);
    const handle = options.handle ?? keyFingerprint(spki);
    this.#rawKeys = [...this.#rawKeys.filter((each) => !(each.handle === handle && equalBytes(each.spki, spki))), { handle, spki, key }];
    return handle;
  }

  /**
   * Trusts whoever holds the private half of this key (RFC 7670): a text as `parsePinnedKey` reads it, or the octets of a PEM or DER file.
   * Returns the handle: the fingerprint, unless there is another.
   */
  addPeerKey(source: CredentialSource, options: HandleOption = {}): string {
    const pinned = typeof source === 'string' ? parsePinnedKey(source) : readPublicKey(source);
    const handle = options.handle ?? pinned.fingerprint;
    this.#pinned = [
      ...this.#pinned.filter((each) => each.handle !== handle || each.fingerprint !== pinned.fingerprint),
      { ...pinned, handle },
    ];
    return handle;
  }

  /** Trusts one peer's certificate as it is, whoever issued it. Also found by identity where the peer sends no certificate. */
  addPeerCertificate(source: CredentialSource, options: HandleOption = {}): string {
    const [certificate] = readCertificates(source) as [Certificate];
    const handle = options.handle ?? formatName(certificate.subject);
    this.#peers = withCertificate(this.#peers, { handle, certificate });
    this.#cache.forgetPaths();
    return handle;
  }

  /**
   * A pre-shared key and whose it is: the identities of both ends, or of the peer alone; texts are read by `parseIdentityPattern`, and no
   * owner at all means anybody. The octets are copied. Returns the handle.
   */
  addPsk(owners: readonly (string | Identification | IdentityPattern)[], secret: Uint8Array, options: HandleOption = {}): string {
    if (secret.length === 0)
      throw new ConfigError('a pre-shared key is empty', { code: 'EMPTY_SECRET', hint: 'Give it at least 16 random characters.' });
    const handle = options.handle ?? `psk-${++this.#unnamed}`;
    this.#secrets.add(handle, owners.map(toPattern), secret);
    return handle;
  }

  /**
   * A post-quantum pre-shared key (RFC 8784) and the ids that both ends know it by; texts are read by `parseIdentity`. The octets are copied.
   * Returns the handle.
   */
  addPpk(ids: readonly (string | Identification)[], secret: Uint8Array, options: HandleOption = {}): string {
    if (secret.length === 0 || ids.length === 0)
      throw new ConfigError('a post-quantum pre-shared key is empty, or has no id', {
        code: 'EMPTY_SECRET',
        hint: 'Give it 32 random octets, and the id that both ends name it by.',
      });
    const handle = options.handle ?? `ppk-${++this.#unnamed}`;
    this.#postQuantum.add(
      handle,
      ids.map((id) => (typeof id === 'string' ? parseIdentity(id) : id)),
      secret,
    );
    return handle;
  }

  /** Forgets everything of that handle; secrets are overwritten. False when there was nothing. */
  remove(handle: string): boolean {
    const others = <T extends { readonly handle: string }>(list: readonly T[]): T[] => list.filter((each) => each.handle !== handle);
    const gone = this.#own.filter((each) => each.handle === handle);
    const count = () => this.#own.length + this.#authorities.length + this.#peers.length + this.#rawKeys.length + this.#pinned.length;
    const before = count();
    this.#own = others(this.#own);
    this.#authorities = others(this.#authorities);
    this.#peers = others(this.#peers);
    this.#rawKeys = others(this.#rawKeys);
    this.#pinned = others(this.#pinned);
    this.#intermediates = others(this.#intermediates);
    this.#keys = this.#keys.filter(({ spki }) => holdsKey(this.#own, spki) || !holdsKey(gone, spki));
    this.#cache.forgetPaths();
    const secretGone = this.#secrets.remove(handle);
    const ppkGone = this.#postQuantum.remove(handle);
    return secretGone || ppkGone || count() < before;
  }

  clear(): void {
    for (const { handle } of this.#secrets.all.slice()) this.#secrets.remove(handle);
    for (const { handle } of this.#postQuantum.all) this.#postQuantum.remove(handle);
    this.#own = [];
    this.#keys = [];
    this.#authorities = [];
    this.#peers = [];
    this.#rawKeys = [];
    this.#pinned = [];
    this.#intermediates = [];
    this.#cache.forgetPaths();
  }

  /** SHA-1 of the SubjectPublicKeyInfo of every trusted authority, for CERTREQ (RFC 7296 §3.7). */
  authorityHashes(): Uint8Array[] {
    return this.#authorities.map(({ certificate }) => sha1(certificate.spki));
  }

  /** What is loaded, for `status`. @param wallClockMs for the days that are left */
  loaded(wallClockMs: number): LoadedCredential[] {
    return listLoaded(this.#keyring(), wallClockMs);
  }

  authenticate(ask: AuthenticateAsk, wallClockMs: number): AskAnswers['authenticate'];
  authenticate(ask: AuthenticateAsk, wallClockMs: number, computer: Computer | undefined): Awaitable<AskAnswers['authenticate']>;
  authenticate(ask: AuthenticateAsk, wallClockMs: number, computer: Computer = compute): Awaitable<AskAnswers['authenticate']> {
    return answer(() => follow(authenticate(this.#keyring(), ask, wallClockMs), computer));
  }

  verify(ask: VerifyAsk, wallClockMs: number): AskAnswers['verify'];
  verify(ask: VerifyAsk, wallClockMs: number, computer: Computer | undefined): Awaitable<AskAnswers['verify']>;
  verify(ask: VerifyAsk, wallClockMs: number, computer: Computer = compute): Awaitable<AskAnswers['verify']> {
    return answer(() => follow(verify(this.#keyring(), ask, wallClockMs), computer));
  }

  /** Whether certificates that are named by hash and URL can be had: somebody fetches, and an authority says where they lie. */
  get looksUpCertificates(): boolean {
    return this.#lookup !== undefined && this.#places.length > 0;
  }

  lookUp(certificates: readonly CertPayload[]): Awaitable<readonly CertPayload[]> {
    if (!this.looksUpCertificates || !certificates.some(({ encoding }) => isHashAndUrl(encoding))) return certificates;
    return this.#lookup!.resolve(certificates, this.#places);
  }

  get #places(): string[] {
    return this.#authorities.flatMap(({ certificateUrls }) => certificateUrls ?? []);
  }

  ppk(ask: Extract<Ask, { kind: 'ppk' }>): AskAnswers['ppk'] {
    return answer(() => this.#postQuantum.find(ask));
  }

  #keyring() {
    return {
      options: this.#options,
      own: this.#own,
      authorities: this.#authorities,
      rawKeys: this.#rawKeys,
      pinned: this.#pinned,
      peers: this.#peers,
      intermediates: this.#intermediates.map(({ certificate }) => certificate),
      secrets: this.#secrets,
      postQuantum: this.#postQuantum,
      cache: this.#cache,
    };
  }
}

function answer<T>(make: () => T & { readonly ok: true }): Answer<T>;
function answer<T>(make: () => Awaitable<T & { readonly ok: true }>): Awaitable<Answer<T>>;
function answer<T>(make: () => Awaitable<T & { readonly ok: true }>): Awaitable<Answer<T>> {
  try {
    const made = make();
    return made instanceof Promise ? made.catch(refusal) : made;
  } catch (error) {
    return refusal(error);
  }
}

function refusal(error: unknown): { readonly ok: false; readonly error: TunnelwrightError } {
  if (error instanceof TunnelwrightError) return { ok: false, error };
  return {
    ok: false,
    error: new InternalError(`unexpected: ${error instanceof Error ? error.message : String(error)}`, { cause: error }),
  };
}

type Awaitable<T> = T | Promise<T>;
type AuthenticateAsk = Extract<Ask, { kind: 'authenticate' }>;
type VerifyAsk = Extract<Ask, { kind: 'verify' }>;

/** At least one certificate; other blocks of a PEM file, such as the private key, are not ours to read here. */
function readCertificates(source: CredentialSource): Certificate[] {
  const octets = typeof source === 'string' ? undefined : source;
  const text = typeof source === 'string' ? source : source[0] === SEQUENCE ? undefined : fromUtf8(source);
  try {
    const blocks =
      text === undefined ? [octets!.slice()] : parsePem(text).flatMap(({ label, der }) => (CERTIFICATE_LABELS.has(label) ? [der] : []));
    if (blocks.length === 0)
      throw new ConfigError('there is no certificate in it', { code: 'NO_CERTIFICATE', hint: 'Give X.509 certificates, as PEM or DER.' });
    return blocks.map(parseCertificate);
  } catch (cause) {
    if (cause instanceof ConfigError || !(cause instanceof TunnelwrightError)) throw cause;
    throw new ConfigError(`the certificate cannot be read: ${cause.message}`, {
      code: 'CERTIFICATE_UNREADABLE',
      hint: 'Give X.509 certificates, as PEM or DER.',
      cause,
    });
  }
}

const holdsKey = (own: readonly OwnCertificate[], spki: Uint8Array): boolean =>
  own.some(({ certificate }) => equalBytes(certificate.spki, spki));

function withCertificate(list: readonly TrustedCertificate[], one: TrustedCertificate): TrustedCertificate[] {
  return [...list.filter((each) => !(each.handle === one.handle && sameCertificate(each.certificate, one.certificate))), one];
}

function toPattern(owner: string | Identification | IdentityPattern): IdentityPattern {
  if (typeof owner === 'string') return parseIdentityPattern(owner);
  return 'kind' in owner ? owner : { kind: 'exact', id: owner };
}

function notAnAuthority(certificate: Certificate): ConfigError {
  return new ConfigError(`the certificate ${certificateTitle(certificate)} is not one of an authority`, {
    code: 'NOT_A_CA',
    hint: 'To trust this one certificate of a peer, load it as such (certs of the remote section).',
  });
}

/** RFC 7468 §5.1 and the label that it tells parsers to take besides. */
const CERTIFICATE_LABELS: ReadonlySet<string> = new Set(['CERTIFICATE', 'X509 CERTIFICATE']);

/** The first octet of a DER certificate. */
const SEQUENCE = 0x30;
