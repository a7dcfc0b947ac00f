import { contextTag, readSequence } from './der.ts';

/**
 * The certificates of a CertificateBundle (RFC 7296 §3.6), in its order; revocation lists in it are passed over.
 * Throws `MalformedMessage` for anything else, and for more than 16 entries.
 */
export function parseCertificateBundle(der: Uint8Array): Uint8Array[] {
  const certificates: Uint8Array[] = [];
  readSequence(der, WHAT, (bundle) => {
    for (let entries = 0; !bundle.done; entries++) {
      if (entries === MOST_ENTRIES) throw bundle.malformed(`${WHAT} has more than ${MOST_ENTRIES} entries`, WHAT);
      const { tag, content } = bundle.any('entry');
      if (tag === CERT) certificates.push(content);
      else if (tag !== CRL) throw bundle.malformed('entry is neither certificate nor revocation list', 'entry');
    }
  });
  return certificates;
}

const WHAT = 'certificate bundle';
const CERT = contextTag(0);
const CRL = contextTag(1);
const MOST_ENTRIES = 16;
