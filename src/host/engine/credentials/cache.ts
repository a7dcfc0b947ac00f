import { equalBytes, toHex } from '../../../core/bytes/index.ts';
import { type Certificate, parseCertificate } from '../../../core/pki/index.ts';

/** A path that was found good, and until when it stays so if nothing is loaded or removed. */
export interface KnownPath {
  readonly path: readonly Certificate[];
  readonly notBefore: number;
  readonly notAfter: number;
}

interface Entry {
  readonly certificate: Certificate;
  /** By what was trusted. */
  readonly paths: Map<string, KnownPath>;
}

/**
 * Certificates that peers send, parsed once, and the good paths that were found from them. Bounded: the longest unused entry goes. What
 * failed is not kept, so that a peer cannot push out others by sending rubbish.
 */
export class CertificateCache {
  readonly #entries = new Map<string, Entry>();
  readonly #size: number;

  constructor(size = DEFAULT_SIZE) {
    this.#size = size;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Throws `MalformedMessage` as `parseCertificate` does. */
  certificate(der: Uint8Array): Certificate {
    const entry = this.#find(der);
    if (entry !== undefined) return entry.certificate;
    // The message buffer is reused by its owner; what stays needs octets of its own.
    return parseCertificate(der.slice());
  }

  path(certificate: Certificate, trust: string, at: number): readonly Certificate[] | undefined {
    const known = this.#find(certificate.der)?.paths.get(trust);
    return known !== undefined && at >= known.notBefore && at <= known.notAfter ? known.path : undefined;
  }

  keep(trust: string, known: KnownPath): void {
    for (const certificate of known.path) this.#entry(certificate);
    const paths = this.#entry(known.path[0]!).paths;
    if (paths.size >= PATHS_EACH) paths.clear();
    paths.set(trust, known);
  }

  /** After something was loaded or removed: paths must be found anew. */
  forgetPaths(): void {
    for (const entry of this.#entries.values()) entry.paths.clear();
  }

  #find(der: Uint8Array): Entry | undefined {
    const key = keyOf(der);
    const entry = this.#entries.get(key);
    if (entry === undefined || !equalBytes(entry.certificate.der, der)) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  #entry(certificate: Certificate): Entry {
    const found = this.#find(certificate.der);
    if (found !== undefined) return found;
    const entry = { certificate, paths: new Map<string, KnownPath>() };
    this.#entries.set(keyOf(certificate.der), entry);
    if (this.#entries.size > this.#size) this.#entries.delete(this.#entries.keys().next().value!);
    return entry;
  }
}

/** The end of a signature is as good as random; a hit is compared octet by octet all the same. */
const keyOf = (der: Uint8Array): string => toHex(der.subarray(-KEY_OCTETS));

const KEY_OCTETS = 20;
const DEFAULT_SIZE = 2048;
const PATHS_EACH = 8;
