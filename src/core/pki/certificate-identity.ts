import { equalBytes, fromUtf8, utf8 } from '../bytes/bytes.ts';
import type { CertificateFailure } from '../bytes/errors.ts';
import { IdType } from '../wire/iana.ts';
import type { Identification } from '../wire/payloads/types.ts';
import { type Certificate, certificateTitle } from './certificate.ts';
import { certificateFailure } from './failure.ts';
import { formatGeneralName, type GeneralName } from './general-name.ts';
import { formatIdentity, identityName } from './identity.ts';
import { formatName, sameName } from './name.ts';
import { foldAscii } from './strings.ts';

export interface IdentityMatchOptions {
  /**
   * Take `*.example.com` in a dNSName for one label more. Off unless asked for: RFC 4945 §3.1.2 forbids it for what a peer claims, and
   * it may help where we look for a certificate of our own.
   */
  readonly wildcards?: boolean | undefined;
}

/**
 * Whether a certificate speaks for an identity (RFC 4945 §3.1): ID_FQDN by a dNSName, ID_RFC822_ADDR by an rfc822Name, addresses by an
 * iPAddress, all in subjectAltName, and ID_DER_ASN1_DN by the subject. A name in the subject's CN counts for nothing (§3.1.9), and no
 * certificate speaks for ID_KEY_ID (§3.1.7). Names compare by RFC 5280 §7.1, which takes in the bitwise comparison of §3.1.5.
 */
export function identityMatchesCertificate(id: Identification, certificate: Certificate, options: IdentityMatchOptions = {}): boolean {
  const names = certificate.subjectAltNames ?? [];
  switch (id.idType) {
    case IdType.ID_FQDN: {
      const wanted = foldAscii(fromUtf8(id.data));
      return names.some((name) => name.kind === 'dns' && matchesHost(foldAscii(name.text), wanted, options.wildcards === true));
    }
    case IdType.ID_RFC822_ADDR: {
      const wanted = foldAscii(fromUtf8(id.data));
      return names.some((name) => name.kind === 'email' && foldAscii(name.text) === wanted);
    }
    case IdType.ID_IPV4_ADDR:
    case IdType.ID_IPV6_ADDR:
      return names.some((name) => name.kind === 'ip' && equalBytes(name.octets, id.data));
    case IdType.ID_DER_ASN1_DN: {
      const name = identityName(id);
      return name !== undefined && name.parts.length > 0 && sameName(name, certificate.subject);
    }
    default:
      return false;
  }
}

/** Every identity that a certificate speaks for: the subject first, then its alternative names. */
export function certificateIdentities(certificate: Certificate): Identification[] {
  const subject: Identification[] =
    certificate.subject.parts.length > 0 ? [{ idType: IdType.ID_DER_ASN1_DN, data: certificate.subject.der }] : [];
  return [...subject, ...(certificate.subjectAltNames ?? []).flatMap(identityOf)];
}

/** A certificate that does not speak for an identity: names what was compared. */
export function identityMismatch(id: Identification, certificate: Certificate): CertificateFailure {
  const title = certificateTitle(certificate);
  const wanted = formatIdentity(id);
  const names = certificate.subjectAltNames ?? [];
  const says =
    id.idType === IdType.ID_DER_ASN1_DN
      ? `its subject is "${formatName(certificate.subject)}"`
      : names.length === 0
        ? 'it has no subjectAltName'
        : `it says ${listOf(names.map(formatGeneralName))}`;
  return certificateFailure(
    'IDENTITY_MISMATCH',
    `the certificate ${title} does not speak for ${wanted}: ${says}`,
    mismatchHint(id, certificate),
    'RFC 4945 §3.1',
  );
}

function mismatchHint(id: Identification, certificate: Certificate): string {
  const wanted = formatIdentity(id);
  if (id.idType === IdType.ID_KEY_ID)
    return 'Use a name that stands in the certificate, or take the peer for whom that names (id_from_cert: yes).';
  if (identityMatchesCertificate(id, certificate, { wildcards: true }))
    return `RFC 4945 §3.1.2 lets no wildcard speak for a peer: put ${wanted} itself into the certificate.`;
  const [first] = certificateIdentities(certificate).filter((each) => each.idType !== IdType.ID_DER_ASN1_DN);
  const instead = first === undefined ? '' : `, or use the identity ${formatIdentity(first)} if that is who is meant`;
  return `Put ${wanted} into the certificate's subjectAltName${instead}.`;
}

function identityOf(name: GeneralName): Identification[] {
  switch (name.kind) {
    case 'dns':
      return [{ idType: IdType.ID_FQDN, data: utf8(name.text) }];
    case 'email':
      return [{ idType: IdType.ID_RFC822_ADDR, data: utf8(name.text) }];
    case 'ip':
      return [{ idType: name.octets.length === 4 ? IdType.ID_IPV4_ADDR : IdType.ID_IPV6_ADDR, data: name.octets }];
    default:
      return [];
  }
}

/** RFC 6125 §6.4.3: the wildcard is the whole leftmost label, and stands for exactly one. */
function matchesHost(presented: string, wanted: string, wildcards: boolean): boolean {
  if (wanted === '') return false;
  if (presented === wanted) return true;
  const dot = wanted.indexOf('.');
  // Something must follow that is more than a top-level domain.
  return wildcards && presented.startsWith('*.') && dot > 0 && wanted.slice(dot) === presented.slice(1) && presented.indexOf('.', 2) > 0;
}

const listOf = (names: readonly string[]): string =>
  (names.length <= MOST_NAMES ? names : [...names.slice(0, MOST_NAMES), `${names.length - MOST_NAMES} more`]).join(', ');

/** Names that a sentence can bear. */
const MOST_NAMES = 6;
