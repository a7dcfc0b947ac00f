import { equalBytes } from '../../bytes/bytes.ts';
import { ApiMisuse, ConfigError } from '../../bytes/errors.ts';
import type { CertificateSigner } from '../../crypto/certificate-signing.ts';
import { sha1 } from '../../crypto/index.ts';
import { type Certificate, certificateTitle, parseCertificate } from '../certificate.ts';
import { readSequence } from '../der.ts';
import { bitString, explicit, integer, sequence, unsigned } from '../der-writer.ts';
import { KeyUsage } from '../extensions.ts';
import type { Name } from '../name.ts';
import { parseNameText } from '../name-text.ts';
import { Oid } from '../oid.ts';
import { formatTime, writeTime } from '../time.ts';
import * as write from './extension-writers.ts';

/** An authority that can sign: its certificate, and something that holds its private key. */
export interface CertificateAuthority {
  readonly certificate: Certificate;
  readonly signer: CertificateSigner;
}

interface Common {
  /** 8 to 20 random octets; the top bit is cleared (RFC 5280 §4.1.2.2). */
  readonly serial: Uint8Array;
  /** Milliseconds since 1970-01-01T00:00Z; cut to whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface AuthorityRequest extends Common {
  /** `CN=Example VPN CA`, as text or parsed. */
  readonly name: string | Name;
  /** Authorities that may stand below it; undefined for any number. */
  readonly pathLength?: number | undefined;
  /** DNS names and mail domains (`@` or `.` as RFC 5280 §4.2.1.10 has them) to which it is held. */
  readonly permittedNames?: readonly string[] | undefined;
}

export interface CertificateRequest extends Common {
  readonly ca: CertificateAuthority;
  /** May be empty when there are alternative names. */
  readonly subject: string | Name;
  /** As `parseIdentity` reads them: DNS names, mail addresses, IP addresses. `dns:203.0.113.7` writes an address as a name, too. */
  readonly sans: readonly string[];
  /** DER of the SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  /** Object identifiers of extended key usages: `GATEWAY_USAGES`, `CLIENT_USAGES` or others; none leaves the extension out. */
  readonly usages: readonly string[];
  readonly crlUris?: readonly string[] | undefined;
  readonly ocspUris?: readonly string[] | undefined;
  readonly issuerUris?: readonly string[] | undefined;
}

/** What Windows and Apple clients demand of a gateway, and ipsecIKE, without which RFC 4945 §5.1.3.12 refuses the others. */
export const GATEWAY_USAGES: readonly string[] = [Oid.serverAuth, Oid.ikeIntermediate, Oid.ipsecIke];
/** What Windows looks for among the certificates of the machine, and ipsecIKE. */
export const CLIENT_USAGES: readonly string[] = [Oid.clientAuth, Oid.ipsecIke];

/** A root: signs itself. Throws `ConfigError` for names or times that do not fit. */
export function createCa(request: AuthorityRequest & { readonly signer: CertificateSigner }): CertificateAuthority {
  const { signer } = request;
  const name = nameOf(request.name);
  if (name.parts.length === 0) throw noName();
  const own = keyIdentifier(signer.spki);
  const certificate = sign(request, signer, name, name, signer.spki, [
    ...authorityExtensions(request, own),
    write.authorityKeyIdentifier(own),
  ]);
  return { certificate, signer };
}

/** An authority below another one. */
export function issueCa(request: AuthorityRequest & { readonly ca: CertificateAuthority; readonly publicKey: Uint8Array }): Certificate {
  const name = nameOf(request.name);
  if (name.parts.length === 0) throw noName();
  const identifiers = authorityExtensions(request, keyIdentifier(request.publicKey));
  return issue(request.ca, request, name, request.publicKey, identifiers);
}

/** A certificate for a gateway or a user (RFC 4945 §5.1, RFC 5280 §4): key identifiers always, the key for signatures. */
export function issueCertificate(request: CertificateRequest): Certificate {
  const subject = nameOf(request.subject);
  const { sans, usages } = request;
  if (subject.parts.length === 0 && sans.length === 0) throw noName();
  const [crl, ocsp, issuers] = [request.crlUris ?? [], request.ocspUris ?? [], request.issuerUris ?? []];
  return issue(request.ca, request, subject, request.publicKey, [
    write.basicConstraints(false),
    write.keyUsage(KeyUsage.digitalSignature),
    ...(usages.length > 0 ? [write.extendedKeyUsage(usages)] : []),
    ...(sans.length > 0 ? [write.subjectAltName(sans, subject.parts.length === 0)] : []),
    write.subjectKeyIdentifier(keyIdentifier(request.publicKey)),
    ...(crl.length > 0 ? [write.crlDistributionPoints(crl)] : []),
    ...(ocsp.length + issuers.length > 0 ? [write.authorityInfoAccess(ocsp, issuers)] : []),
  ]);
}

/** RFC 5280 §4.2.1.2 (1): SHA-1 of the key's BIT STRING. @param spki DER of the SubjectPublicKeyInfo */
export function keyIdentifier(spki: Uint8Array): Uint8Array {
  return readSequence(spki, 'subjectPublicKeyInfo', (reader) => {
    reader.any('algorithm');
    return sha1(reader.octetBits('subjectPublicKey'));
  });
}

function authorityExtensions({ pathLength, permittedNames }: AuthorityRequest, own: Uint8Array): Uint8Array[] {
  return [
    write.basicConstraints(true, pathLength),
    write.keyUsage(KeyUsage.keyCertSign | KeyUsage.cRLSign),
    ...(permittedNames !== undefined && permittedNames.length > 0 ? [write.permittedNames(permittedNames)] : []),
    write.subjectKeyIdentifier(own),
  ];
}

function issue(ca: CertificateAuthority, common: Common, subject: Name, spki: Uint8Array, extensions: readonly Uint8Array[]): Certificate {
  const { certificate, signer } = ca;
  if (!equalBytes(certificate.spki, signer.spki)) throw new ApiMisuse('the signer does not hold the key of the authority’s certificate');
  if (common.notAfter > certificate.notAfter) {
    throw new ConfigError(
      `the certificate would outlive its authority ${certificateTitle(certificate)}, which ends on ${formatTime(certificate.notAfter)}`,
      {
        code: 'OUTLIVES_CA',
        hint: 'Choose an earlier end, or renew the authority first.',
      },
    );
  }
  const issuerKey = certificate.subjectKeyIdentifier ?? keyIdentifier(certificate.spki);
  return sign(common, signer, certificate.subject, subject, spki, [...extensions, write.authorityKeyIdentifier(issuerKey)]);
}

function sign(
  common: Common,
  signer: CertificateSigner,
  issuer: Name,
  subject: Name,
  spki: Uint8Array,
  extensions: readonly Uint8Array[],
): Certificate {
  const { notBefore, notAfter } = common;
  if (notAfter <= notBefore)
    throw new ConfigError('a certificate would end before it begins', { code: 'EMPTY_VALIDITY', hint: 'Choose a later end.' });
  const tbs = sequence(
    explicit(0, integer(2)),
    unsigned(positiveSerial(common.serial)),
    signer.algorithm,
    issuer.der,
    sequence(writeTime(notBefore), writeTime(notAfter)),
    subject.der,
    spki,
    explicit(3, sequence(...extensions)),
  );
  return parseCertificate(sequence(tbs, signer.algorithm, bitString(signer.sign(tbs))));
}

function positiveSerial(octets: Uint8Array): Uint8Array {
  if (octets.length < 8 || octets.length > 20) throw new ApiMisuse(`a serial number has 8 to 20 octets, not ${octets.length}`);
  const serial = octets.slice();
  serial[0]! &= 0x7f;
  if (serial.every((octet) => octet === 0)) throw new ApiMisuse('a serial number is zero');
  return serial;
}

const nameOf = (name: string | Name): Name => (typeof name !== 'string' ? name : name.trim() === '' ? EMPTY_NAME : parseNameText(name));

const noName = (): ConfigError =>
  new ConfigError('a certificate would name nobody', { code: 'NO_NAME', hint: 'Give it a subject, or alternative names.' });

const EMPTY_NAME: Name = { der: sequence(), parts: [], keys: [] };
