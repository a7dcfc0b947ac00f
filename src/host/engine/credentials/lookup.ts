import { equalBytes, printable, TunnelwrightError, toHex } from '../../../core/bytes/index.ts';
import { sha1 } from '../../../core/crypto/index.ts';
import { certificateFailure, parseCertificateBundle } from '../../../core/pki/index.ts';
import { CertEncoding } from '../../../core/wire/iana.ts';
import { isHashAndUrl, parseHashAndUrl } from '../../../core/wire/index.ts';
import type { CertPayload } from '../../../core/wire/payloads/types.ts';
import type { HttpGet } from '../../platform/http.ts';

/**
 * Certificates that peers name by hash and URL (RFC 7296 §3.6). Such a peer has proven nothing yet, so it decides little: what is fetched lies
 * directly below a place that the operator has named, is bounded in size and time, and counts only with the hash that came in the message.
 */
export class CertificateLookup {
  readonly #get: HttpGet;
  /** By SHA-1, in hex. Whatever has that hash is what was meant, for good. */
  readonly #found = new Map<string, Uint8Array>();
  readonly #underWay = new Map<string, Promise<Uint8Array>>();

  constructor(get: HttpGet) {
    this.#get = get;
  }

  /**
   * @param places what URLs may begin with
   * @returns the certificates themselves, in place of what leads to them. Rejects with `CertificateFailure`
   */
  async resolve(certificates: readonly CertPayload[], places: readonly string[]): Promise<readonly CertPayload[]> {
    if (certificates.filter(({ encoding }) => isHashAndUrl(encoding)).length > MOST_URLS)
      throw certificateFailure(
        'CERTIFICATE_URL_REFUSED',
        `the peer names more than ${MOST_URLS} certificates by their URL`,
        'Have it send fewer.',
        SECTION,
      );
    const whole = await Promise.all(certificates.map((each) => (isHashAndUrl(each.encoding) ? this.#resolveOne(each, places) : [each])));
    return whole.flat();
  }

  async #resolveOne({ encoding, data }: CertPayload, places: readonly string[]): Promise<readonly CertPayload[]> {
    const { hash, url } = readable('the URL of a certificate', () => parseHashAndUrl(data));
    const key = toHex(hash);
    const der = this.#found.get(key) ?? (await this.#fetch(key, hash, url, places));
    const certificates = encoding === CertEncoding.HASH_AND_URL_X509 ? [der] : readable(url, () => parseCertificateBundle(der));
    return certificates.map((each) => ({ kind: 'CERT', encoding: CertEncoding.X509_SIGNATURE, data: each }));
  }

  async #fetch(key: string, hash: Uint8Array, url: string, places: readonly string[]): Promise<Uint8Array> {
    if (!places.some((place) => liesIn(place, url)))
      throw certificateFailure(
        'CERTIFICATE_URL_REFUSED',
        `the peer's certificate is said to lie at ${printable(url)}, where nothing is fetched from`,
        'If certificates do lie there, name the place with cert_uri_base of their authority.',
        SECTION,
      );
    const underWay = this.#underWay.get(url);
    if (underWay === undefined && this.#underWay.size >= MOST_AT_ONCE)
      throw certificateFailure('CERTIFICATE_NOT_FETCHED', `${MOST_AT_ONCE} certificates are being fetched already`, 'Try again.', SECTION);
    const der = await (underWay ?? this.#begin(url));
    if (!equalBytes(sha1(der), hash))
      throw certificateFailure(
        'CERTIFICATE_NOT_FETCHED',
        `what lies at ${url} is not what the peer means: its SHA-1 is another`,
        'Put the certificate there that the peer has, in DER.',
        SECTION,
      );
    if (this.#found.size >= MOST_FOUND) this.#found.delete(this.#found.keys().next().value!);
    this.#found.set(key, der);
    return der;
  }

  #begin(url: string): Promise<Uint8Array> {
    const fetched = this.#get(url, { within: WITHIN, limit: LONGEST })
      .catch((cause: unknown) => {
        if (!(cause instanceof TunnelwrightError)) throw cause;
        throw certificateFailure(
          'CERTIFICATE_NOT_FETCHED',
          `the peer's certificate is not to be had: ${cause.message}`,
          cause.hint ?? '',
          SECTION,
          cause,
        );
      })
      .finally(() => this.#underWay.delete(url));
    this.#underWay.set(url, fetched);
    return fetched;
  }
}

function readable<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof TunnelwrightError)) throw cause;
    throw certificateFailure(
      'CERTIFICATE_UNREADABLE',
      `${what} cannot be read: ${cause.message}`,
      'Have the peer name what RFC 7296 describes.',
      SECTION,
      cause,
    );
  }
}

/** Directly below: one more segment of a path, and nothing that a server could read otherwise. */
function liesIn(place: string, url: string): boolean {
  return url.startsWith(place) && /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/.test(url.slice(place.length));
}

const SECTION = 'RFC 7296 §3.6';
/** RFC 7296 §3.6 asks for four certificates. */
const MOST_URLS = 4;
const MOST_AT_ONCE = 32;
const MOST_FOUND = 1024;
/** Octets; a certificate has one or two thousand, a bundle a few of them. */
const LONGEST = 65_536;
/** Milliseconds; the peer repeats its request meanwhile. */
const WITHIN = 5000;
