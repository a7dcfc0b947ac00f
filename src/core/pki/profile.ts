import { equalBytes } from '../bytes/bytes.ts';
import type { Certificate } from './certificate.ts';
import { isSelfIssued } from './certificate.ts';
import { KeyUsage } from './extensions.ts';
import { Oid } from './oid.ts';

export type ProfilePosition = 'anchor' | 'intermediate' | 'end entity';

export interface ProfileFault {
  /** The rest of a sentence. */
  readonly what: string;
  readonly section: string;
}

/**
 * Whether a certificate keeps the profile of RFC 5280 §4 where that is a matter of its own. Some rules protect the reader and hold
 * always; the others, which many private authorities break without harm, hold when `strict`.
 */
export function profileFault(certificate: Certificate, position: ProfilePosition, strict: boolean): ProfileFault | undefined {
  for (const rule of RULES) {
    if (
      (rule.always || strict) &&
      (rule.positions === undefined || rule.positions.includes(position)) &&
      rule.broken(certificate, position)
    )
      return rule;
  }
  return undefined;
}

interface Rule extends ProfileFault {
  readonly always?: boolean;
  readonly positions?: readonly ProfilePosition[];
  readonly broken: (certificate: Certificate, position: ProfilePosition) => boolean;
}

const AUTHORITIES: readonly ProfilePosition[] = ['anchor', 'intermediate'];

const critical = ({ extensions }: Certificate, oid: string): boolean => extensions.get(oid)?.critical === true;
const notCritical = ({ extensions }: Certificate, oid: string): boolean => extensions.get(oid)?.critical === false;

const RULES: readonly Rule[] = [
  {
    always: true,
    what: 'its issuer has no name',
    section: 'RFC 5280 §4.1.2.4',
    broken: ({ issuer }) => issuer.parts.length === 0,
  },
  {
    positions: ['end entity'],
    what: 'it claims keyCertSign without being an authority',
    section: 'RFC 5280 §4.2.1.9',
    broken: ({ keyUsage, basicConstraints, version }) =>
      version === 3 && ((keyUsage ?? 0) & KeyUsage.keyCertSign) !== 0 && basicConstraints?.ca !== true,
  },
  {
    always: true,
    positions: AUTHORITIES,
    what: 'an authority has no name',
    section: 'RFC 5280 §4.1.2.6',
    broken: ({ subject }) => subject.parts.length === 0,
  },
  {
    what: 'it is not of version 3',
    section: 'RFC 5280 §4.1.2.1',
    broken: ({ version }) => version !== 3,
  },
  {
    // Roots of the last century have number zero, and nobody refers to them by it.
    positions: ['intermediate', 'end entity'],
    what: 'its serial number is not a positive number of at most 20 octets',
    section: 'RFC 5280 §4.1.2.2',
    broken: ({ serial }) => serial[0]! >= 0x80 || serial.length > 20 || serial.every((octet) => octet === 0),
  },
  {
    what: 'its authorityKeyIdentifier is critical',
    section: 'RFC 5280 §4.2.1.1',
    broken: (certificate) => critical(certificate, Oid.authorityKeyIdentifier),
  },
  {
    positions: ['intermediate', 'end entity'],
    what: 'it has no authorityKeyIdentifier with a keyIdentifier',
    section: 'RFC 5280 §4.2.1.1',
    broken: ({ authorityKeyIdentifier }) => authorityKeyIdentifier?.keyIdentifier === undefined,
  },
  {
    positions: ['anchor'],
    what: 'its authorityKeyIdentifier does not point to itself',
    section: 'RFC 5280 §4.2.1.1',
    broken: (certificate) => {
      const { authorityKeyIdentifier: aki, subjectKeyIdentifier: ski } = certificate;
      if (aki === undefined || !isSelfIssued(certificate)) return false;
      return (
        aki.keyIdentifier === undefined ||
        ski === undefined ||
        !equalBytes(aki.keyIdentifier, ski) ||
        aki.issuer !== undefined ||
        aki.serial !== undefined
      );
    },
  },
  {
    what: 'its subjectKeyIdentifier is critical',
    section: 'RFC 5280 §4.2.1.2',
    broken: (certificate) => critical(certificate, Oid.subjectKeyIdentifier),
  },
  {
    positions: AUTHORITIES,
    what: 'an authority has no subjectKeyIdentifier',
    section: 'RFC 5280 §4.2.1.2',
    broken: ({ subjectKeyIdentifier }) => subjectKeyIdentifier === undefined,
  },
  {
    positions: AUTHORITIES,
    what: 'its basicConstraints are not critical',
    section: 'RFC 5280 §4.2.1.9',
    broken: (certificate) => notCritical(certificate, Oid.basicConstraints),
  },
  {
    what: 'it has a pathLenConstraint without being an authority that may sign certificates',
    section: 'RFC 5280 §4.2.1.9',
    broken: ({ basicConstraints, keyUsage }) =>
      basicConstraints?.pathLength !== undefined &&
      (!basicConstraints.ca || (keyUsage !== undefined && (keyUsage & KeyUsage.keyCertSign) === 0)),
  },
  {
    what: 'its subject is empty and its subjectAltName is absent or not critical',
    section: 'RFC 5280 §4.2.1.6',
    broken: (certificate) => certificate.subject.parts.length === 0 && !critical(certificate, Oid.subjectAltName),
  },
  {
    positions: ['end entity'],
    what: 'it has nameConstraints without being an authority',
    section: 'RFC 5280 §4.2.1.10',
    broken: ({ nameConstraints, basicConstraints }) => nameConstraints !== undefined && basicConstraints?.ca !== true,
  },
  {
    what: 'its policyConstraints are not critical',
    section: 'RFC 5280 §4.2.1.11',
    broken: (certificate) => notCritical(certificate, Oid.policyConstraints),
  },
  {
    what: 'its inhibitAnyPolicy is not critical',
    section: 'RFC 5280 §4.2.1.14',
    broken: (certificate) => notCritical(certificate, Oid.inhibitAnyPolicy),
  },
  {
    what: 'its authorityInfoAccess is critical',
    section: 'RFC 5280 §4.2.2.1',
    broken: (certificate) => critical(certificate, Oid.authorityInfoAccess),
  },
];
