import { equalBytes, toHex } from '../bytes/bytes.ts';
import { MalformedMessage } from '../bytes/errors.ts';
import { contextPrimitive, contextTag, DerReader } from './der.ts';
import { type Extension, type KnownExtensions, parseKnownExtensions, readExtensions } from './extensions.ts';
import { formatName, type Name, nameKey, readName, sameName } from './name.ts';
import { type PublicKeyInfo, parsePublicKeyInfo } from './public-key.ts';
import { readTime } from './time.ts';

/** An X.509 certificate (RFC 5280 §4.1), parsed once and read-only; the octets are views into `der`. */
export interface Certificate extends KnownExtensions {
  readonly der: Uint8Array;
  /** What the signature covers. */
  readonly tbs: Uint8Array;
  readonly version: 1 | 2 | 3;
  /** Two's complement octets. */
  readonly serial: Uint8Array;
  /** DER of the AlgorithmIdentifier. */
  readonly signatureAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
  readonly issuer: Name;
  readonly subject: Name;
  /** Milliseconds since 1970-01-01T00:00Z, both included. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** DER of the SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly publicKey: PublicKeyInfo;
  /** All of them, by object identifier; those we know stand parsed beside. */
  readonly extensions: ReadonlyMap<string, Extension>;
}

/**
 * Parses one DER certificate that fills `der`. Throws `MalformedMessage` for everything that is not X.509 in DER: also for a known
 * extension that is malformed. Whether a well-formed certificate is acceptable is for path validation to say.
 */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_OCTETS) throw new MalformedMessage(`a certificate of ${der.length} octets is too large`, { code: 'DER_MALFORMED' });
  const outer = new DerReader(der);
  const reader = outer.sequence('certificate');
  outer.end('certificate');
  const start = reader.offset;
  const tbsReader = reader.sequence('tbsCertificate');
  const tbs = reader.since(start);
  const signatureAlgorithm = readAlgorithm(reader, 'signatureAlgorithm');
  const signature = reader.octetBits('signatureValue');
  reader.end('certificate');
  const fields = readTbs(tbsReader);
  // RFC 5280 §4.1.1.2: both fields MUST contain the same algorithm.
  if (!equalBytes(fields.innerAlgorithm, signatureAlgorithm)) throw tbsReader.malformed('the two signature algorithms differ', 'signature');
  return { der, tbs, signatureAlgorithm, signature, ...fields, ...parseKnownExtensions(fields.extensions) };
}

/** RFC 5280 §6.1: issuer and subject are the same name. */
export const isSelfIssued = (certificate: Certificate): boolean => sameName(certificate.issuer, certificate.subject);

export const sameCertificate = (a: Certificate, b: Certificate): boolean => a === b || equalBytes(a.der, b.der);

/** The subject, or where it is empty the first subjectAltName or the serial number: what to call a certificate in a sentence. */
export function certificateTitle(certificate: Certificate): string {
  const subject = formatName(certificate.subject);
  return subject !== '' ? `"${subject}"` : `number ${serialText(certificate)} of "${formatName(certificate.issuer)}"`;
}

/** The serial number in hex, as openssl prints it. */
export const serialText = (certificate: Certificate): string => toHex(certificate.serial).toUpperCase();

export const subjectKey = (certificate: Certificate): string => nameKey(certificate.subject);
export const issuerKey = (certificate: Certificate): string => nameKey(certificate.issuer);

function readTbs(reader: DerReader) {
  const versioned = reader.optional(contextTag(0), 'version');
  const number = versioned?.smallInteger('version') ?? 0;
  versioned?.end('version');
  // X.690 §11.5: version 1 is the default, hence not written.
  if (number > 2 || (versioned !== undefined && number === 0))
    throw reader.malformed(`there is no X.509 version ${number + 1} here`, 'version');
  const version = (number + 1) as 1 | 2 | 3;
  const serial = reader.integer('serialNumber');
  const innerAlgorithm = readAlgorithm(reader, 'signature');
  const issuer = readName(reader, 'issuer');
  const validity = reader.sequence('validity');
  const notBefore = readTime(validity, 'notBefore');
  const notAfter = readTime(validity, 'notAfter');
  validity.end('validity');
  const subject = readName(reader, 'subject');
  const start = reader.offset;
  reader.sequence('subjectPublicKeyInfo');
  const spki = reader.since(start);
  for (const [tag, field] of UNIQUE_IDS) {
    if (!reader.nextIs(tag)) continue;
    if (version === 1) throw reader.malformed(`a certificate of version 1 has no ${field}`, field);
    reader.bitString(field, tag);
  }
  const extensions = readOptionalExtensions(reader, version);
  reader.end('tbsCertificate');
  return { innerAlgorithm, version, serial, issuer, subject, notBefore, notAfter, spki, publicKey: parsePublicKeyInfo(spki), extensions };
}

function readOptionalExtensions(reader: DerReader, version: number): ReadonlyMap<string, Extension> {
  const explicit = reader.optional(contextTag(3), 'extensions');
  if (explicit === undefined) return NO_EXTENSIONS;
  if (version !== 3) throw reader.malformed(`a certificate of version ${version} has no extensions`, 'extensions');
  const extensions = readExtensions(explicit);
  explicit.end('extensions');
  return extensions;
}

function readAlgorithm(reader: DerReader, field: string): Uint8Array {
  const start = reader.offset;
  const algorithm = reader.sequence(field);
  const whole = reader.since(start);
  algorithm.oid(field);
  if (!algorithm.done) algorithm.any(`${field} parameters`);
  algorithm.end(field);
  return whole;
}

const UNIQUE_IDS = [
  [contextPrimitive(1), 'issuerUniqueID'],
  [contextPrimitive(2), 'subjectUniqueID'],
] as const;

const NO_EXTENSIONS: ReadonlyMap<string, Extension> = new Map();

/** Ours: a CERT payload holds less than 64 KiB; the largest certificates of test suites have half a mebibyte of names. */
const MAX_OCTETS = 1 << 20;
