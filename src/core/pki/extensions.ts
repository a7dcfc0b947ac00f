import { contextPrimitive, contextTag, DerReader, DerTag } from './der.ts';
import { type GeneralName, readGeneralName, readGeneralNames } from './general-name.ts';
import { Oid } from './oid.ts';
import {
  type CertificatePolicy,
  type PolicyConstraints,
  type PolicyMapping,
  readCertificatePolicies,
  readPolicyConstraints,
  readPolicyMappings,
} from './policy-extensions.ts';

export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  /** DER inside the OCTET STRING. */
  readonly value: Uint8Array;
}

/** Bits of KeyUsage (RFC 5280 §4.2.1.3) as 1 << bit number. */
export const KeyUsage = {
  digitalSignature: 1 << 0,
  nonRepudiation: 1 << 1,
  keyEncipherment: 1 << 2,
  dataEncipherment: 1 << 3,
  keyAgreement: 1 << 4,
  keyCertSign: 1 << 5,
  cRLSign: 1 << 6,
  encipherOnly: 1 << 7,
  decipherOnly: 1 << 8,
} as const;

export interface BasicConstraints {
  readonly ca: boolean;
  /** Intermediate certificates that may follow below; undefined for any number. */
  readonly pathLength: number | undefined;
}

export interface AuthorityKeyIdentifier {
  readonly keyIdentifier: Uint8Array | undefined;
  readonly issuer: readonly GeneralName[] | undefined;
  readonly serial: Uint8Array | undefined;
}

export interface NameConstraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

export interface DistributionPoint {
  /** Of `fullName`; empty where the point is named relative to the issuer or not at all. */
  readonly names: readonly GeneralName[];
  /** DER content of `nameRelativeToCRLIssuer`. */
  readonly relativeName: Uint8Array | undefined;
  /** ReasonFlags as 1 << bit number; undefined for all reasons. */
  readonly reasons: number | undefined;
  readonly crlIssuer: readonly GeneralName[];
}

export interface AccessDescription {
  readonly method: string;
  readonly location: GeneralName;
}

/** The extensions that we act upon, parsed; undefined where a certificate lacks one. */
export interface KnownExtensions {
  readonly basicConstraints?: BasicConstraints;
  readonly keyUsage?: number;
  readonly extendedKeyUsage?: readonly string[];
  readonly subjectAltNames?: readonly GeneralName[];
  readonly nameConstraints?: NameConstraints;
  readonly authorityKeyIdentifier?: AuthorityKeyIdentifier;
  readonly subjectKeyIdentifier?: Uint8Array;
  readonly crlDistributionPoints?: readonly DistributionPoint[];
  readonly authorityInfoAccess?: readonly AccessDescription[];
  readonly policies?: readonly CertificatePolicy[];
  readonly policyMappings?: readonly PolicyMapping[];
  readonly policyConstraints?: PolicyConstraints;
  readonly inhibitAnyPolicy?: number;
}

/** `Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension`; no object identifier may come twice (RFC 5280 §4.2). */
export function readExtensions(reader: DerReader): ReadonlyMap<string, Extension> {
  const list = reader.sequence('extensions');
  const extensions = new Map<string, Extension>();
  do {
    const each = list.sequence('extension');
    const oid = each.oid('extension id');
    const critical = each.defaultFalse('extension critical flag');
    const value = each.read(DerTag.OCTET_STRING, 'extension value');
    each.end('extension');
    if (extensions.has(oid)) throw each.malformed(`extension ${oid} is there twice`, 'extensions');
    extensions.set(oid, { oid, critical, value });
  } while (!list.done);
  return extensions;
}

/** Parses those extensions that we know. A malformed one spoils the certificate, critical or not. */
export function parseKnownExtensions(extensions: ReadonlyMap<string, Extension>): KnownExtensions {
  const known: Partial<Record<keyof KnownExtensions, unknown>> = {};
  for (const { oid, value } of extensions.values()) {
    const parser = PARSERS[oid];
    if (parser === undefined) continue;
    const reader = new DerReader(value);
    known[parser.name] = parser.parse(reader);
    reader.end(parser.name);
  }
  return known as KnownExtensions;
}

/**
 * Whether path validation knows what to do with an extension, so that it may be critical. The application policies of Windows authorities
 * say in other words what an extended key usage beside them says.
 */
export const isUnderstood = (oid: string, beside: ReadonlyMap<string, Extension>): boolean =>
  PARSERS[oid] !== undefined || (oid === Oid.msApplicationPolicies && beside.has(Oid.extKeyUsage));

interface ExtensionParser {
  readonly name: keyof KnownExtensions;
  readonly parse: (reader: DerReader) => unknown;
}

const parser = <K extends keyof KnownExtensions>(name: K, parse: (reader: DerReader) => Required<KnownExtensions>[K]): ExtensionParser => ({
  name,
  parse,
});

function readBasicConstraints(reader: DerReader): BasicConstraints {
  const inner = reader.sequence('basicConstraints');
  const ca = inner.defaultFalse('cA');
  const pathLength = inner.done ? undefined : inner.smallInteger('pathLenConstraint');
  inner.end('basicConstraints');
  return { ca, pathLength };
}

/** Named bits as 1 << bit number, at least one of them set; those above 30 are let pass, and zeros behind the last (X.690 §11.2.2). */
function readNamedBits(reader: DerReader, field: string, tag?: number): number {
  const { bytes } = reader.bitString(field, tag);
  if (bytes.every((octet) => octet === 0)) throw reader.malformed(`${field} has no bits`, field);
  let bits = 0;
  for (let i = 0; i < Math.min(31, bytes.length * 8); i++) if ((bytes[i >> 3]! & (0x80 >> (i & 7))) !== 0) bits |= 1 << i;
  return bits;
}

function readOids(reader: DerReader): string[] {
  const list = reader.sequence('extKeyUsage');
  const oids: string[] = [];
  do oids.push(list.oid('key purpose'));
  while (!list.done);
  return oids;
}

function readNameConstraints(reader: DerReader): NameConstraints {
  const inner = reader.sequence('nameConstraints');
  // RFC 5280 §4.2.1.10: an empty extension is no constraint that an authority may write.
  if (inner.done) throw inner.malformed('nameConstraints are empty', 'nameConstraints');
  const permitted = readSubtrees(inner, contextTag(0), 'permittedSubtrees');
  const excluded = readSubtrees(inner, contextTag(1), 'excludedSubtrees');
  inner.end('nameConstraints');
  return { permitted, excluded };
}

function readSubtrees(reader: DerReader, tag: number, field: string): GeneralName[] {
  const list = reader.optional(tag, field);
  if (list === undefined) return [];
  const bases: GeneralName[] = [];
  do {
    const subtree = list.sequence(field);
    const base = readGeneralName(subtree, field, [8, 32]);
    if (base.kind === 'ip' && !isMask(base.octets.subarray(base.octets.length / 2)))
      throw subtree.malformed(`${field} has a mask with holes`, field);
    // RFC 5280 §4.2.1.10: minimum is zero, hence left out, and maximum is absent.
    subtree.end(`${field} (minimum and maximum are not used)`);
    bases.push(base);
  } while (!list.done);
  return bases;
}

function isMask(mask: Uint8Array): boolean {
  const bits = Array.from(mask, (octet) => octet.toString(2).padStart(8, '0')).join('');
  return /^1*0*$/.test(bits);
}

function readAuthorityKeyIdentifier(reader: DerReader): AuthorityKeyIdentifier {
  const inner = reader.sequence('authorityKeyIdentifier');
  const keyIdentifier = inner.nextIs(contextPrimitive(0)) ? inner.read(contextPrimitive(0), 'keyIdentifier') : undefined;
  const names = inner.optional(contextTag(1), 'authorityCertIssuer');
  const issuer = names && readGeneralNames(names, 'authorityCertIssuer');
  const serial = inner.nextIs(contextPrimitive(2)) ? inner.integer('authorityCertSerialNumber', contextPrimitive(2)) : undefined;
  inner.end('authorityKeyIdentifier');
  return { keyIdentifier, issuer, serial };
}

function readDistributionPoints(reader: DerReader): DistributionPoint[] {
  const list = reader.sequence('cRLDistributionPoints');
  const points: DistributionPoint[] = [];
  do {
    const each = list.sequence('DistributionPoint');
    const choice = each.optional(contextTag(0), 'distributionPoint');
    const fullName = choice?.optional(contextTag(0), 'fullName');
    const names = fullName ? readGeneralNames(fullName, 'fullName') : [];
    const relativeName = choice && !fullName ? choice.read(contextTag(1), 'nameRelativeToCRLIssuer') : undefined;
    choice?.end('distributionPoint');
    const reasons = each.nextIs(contextPrimitive(1)) ? readNamedBits(each, 'reasons', contextPrimitive(1)) : undefined;
    const issuer = each.optional(contextTag(2), 'cRLIssuer');
    const crlIssuer = issuer ? readGeneralNames(issuer, 'cRLIssuer') : [];
    each.end('DistributionPoint');
    points.push({ names, relativeName, reasons, crlIssuer });
  } while (!list.done);
  return points;
}

function readAuthorityInfoAccess(reader: DerReader): AccessDescription[] {
  const list = reader.sequence('authorityInfoAccess');
  const descriptions: AccessDescription[] = [];
  do {
    const each = list.sequence('AccessDescription');
    descriptions.push({ method: each.oid('accessMethod'), location: readGeneralName(each, 'accessLocation', [4, 16]) });
    each.end('AccessDescription');
  } while (!list.done);
  return descriptions;
}

const PARSERS: Readonly<Record<string, ExtensionParser>> = {
  [Oid.basicConstraints]: parser('basicConstraints', readBasicConstraints),
  [Oid.keyUsage]: parser('keyUsage', (reader) => readNamedBits(reader, 'keyUsage')),
  [Oid.extKeyUsage]: parser('extendedKeyUsage', readOids),
  [Oid.subjectAltName]: parser('subjectAltNames', (reader) => readGeneralNames(reader.sequence('subjectAltName'), 'subjectAltName')),
  [Oid.nameConstraints]: parser('nameConstraints', readNameConstraints),
  [Oid.authorityKeyIdentifier]: parser('authorityKeyIdentifier', readAuthorityKeyIdentifier),
  [Oid.subjectKeyIdentifier]: parser('subjectKeyIdentifier', (reader) => reader.read(DerTag.OCTET_STRING, 'subjectKeyIdentifier')),
  [Oid.crlDistributionPoints]: parser('crlDistributionPoints', readDistributionPoints),
  [Oid.authorityInfoAccess]: parser('authorityInfoAccess', readAuthorityInfoAccess),
  [Oid.certificatePolicies]: parser('policies', readCertificatePolicies),
  [Oid.policyMappings]: parser('policyMappings', readPolicyMappings),
  [Oid.policyConstraints]: parser('policyConstraints', readPolicyConstraints),
  [Oid.inhibitAnyPolicy]: parser('inhibitAnyPolicy', (reader) => reader.smallInteger('inhibitAnyPolicy')),
};
