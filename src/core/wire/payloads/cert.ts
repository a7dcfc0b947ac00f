import { MalformedMessage } from '../../bytes/errors.ts';
import { CertEncoding, nameOf, PayloadType } from '../iana.ts';
import { definePayload, many } from '../payload.ts';
import { describeHashAndUrl } from '../text/certificate.ts';

/** Certificate payload. The content is handed on unread: who validates it reads it with a DER reader of its own. */
export default definePayload<'CERT'>({
  type: PayloadType.CERT,
  notation: 'CERT',
  section: 'RFC 7296 §3.6',
  occurs: many('IKE_AUTH request', 'IKE_AUTH response', 'IKE_AUTH response, EAP round'),
  parse: (r) => ({ kind: 'CERT', encoding: r.u8('Cert Encoding'), data: r.rest() }),
  write: (w, { encoding, data }) => void w.u8(encoding).bytes(data),
  describe({ encoding, data }) {
    const name = nameOf(CertEncoding, encoding);
    return isHashAndUrl(encoding) ? `${name}  ${describeHashAndUrl(data)}` : `${name}, ${data.length} octets`;
  },
  sample: (gen) => ({ kind: 'CERT', encoding: gen.oneIn(4) ? gen.u8() : gen.pick(Object.values(CertEncoding)), data: gen.bytes(0, 1500) }),
});

/** RFC 7296 §3.6: a SHA-1 hash and a URL stand in for the certificate (or bundle) that lies there. */
export const isHashAndUrl = (encoding: number): boolean =>
  encoding === CertEncoding.HASH_AND_URL_X509 || encoding === CertEncoding.HASH_AND_URL_X509_BUNDLE;

export interface HashAndUrl {
  /** SHA-1 of the DER that the URL leads to; 20 octets. */
  readonly hash: Uint8Array;
  /** As sent: chosen by the peer, neither fetched nor trusted here. */
  readonly url: string;
}

/** Throws `MalformedMessage` when the data is shorter than the hash, or the URL is empty, overlong or not of visible ASCII. */
export function parseHashAndUrl(data: Uint8Array): HashAndUrl {
  const octets = data.subarray(SHA1_LENGTH);
  if (octets.length === 0 || octets.length > URL_LIMIT || octets.some((c) => c <= 0x20 || c >= 0x7f)) {
    throw new MalformedMessage('a hash-and-URL certificate has no usable URL', { field: 'Certificate Data', section: 'RFC 7296 §3.6' });
  }
  return { hash: data.subarray(0, SHA1_LENGTH), url: String.fromCharCode(...octets) };
}

const SHA1_LENGTH = 20;
const URL_LIMIT = 2048;
