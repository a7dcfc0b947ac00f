import { CertEncoding, nameOf, PayloadType } from '../iana.ts';
import { definePayload, many } from '../payload.ts';

/** Certificate Request payload. */
export default definePayload<'CERTREQ'>({
  type: PayloadType.CERTREQ,
  notation: 'CERTREQ',
  section: 'RFC 7296 §3.7',
  // RFC 6311 §7.1 shows one in the response of IKE_AUTH as well, where it asks for nothing any more.
  occurs: many(
    'IKE_SA_INIT response',
    'IKE_AUTH request',
    'IKE_AUTH response',
    'IKE_AUTH response, EAP round',
    'IKE_INTERMEDIATE response',
  ),
  parse: (r) => ({ kind: 'CERTREQ', encoding: r.u8('Cert Encoding'), authorities: r.rest() }),
  write: (w, { encoding, authorities }) => void w.u8(encoding).bytes(authorities),
  describe({ encoding, authorities }) {
    const name = nameOf(CertEncoding, encoding);
    const hashed =
      encoding === CertEncoding.X509_SIGNATURE ||
      encoding === CertEncoding.HASH_AND_URL_X509 ||
      encoding === CertEncoding.HASH_AND_URL_X509_BUNDLE;
    if (authorities.length === 0) return `${name}, any authority`;
    if (!hashed || authorities.length % 20 !== 0) return `${name}, ${authorities.length} octets`;
    return `${name}, ${authorities.length === 20 ? '1 authority' : `${authorities.length / 20} authorities`}`;
  },
  sample: (gen) => ({
    kind: 'CERTREQ',
    encoding: gen.oneIn(4) ? gen.u8() : CertEncoding.X509_SIGNATURE,
    authorities: gen.bytes(20 * gen.int(0, 12)),
  }),
});
