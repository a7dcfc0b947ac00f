import { expect } from 'vitest';
import { ANY_PURPOSE, findPath, type PolicyInputs, parseCertificate } from '../../src/core/pki/index.ts';
import { describeWithShared, readSharedJson } from '../support/shared.ts';
import { type Exemption, judge, readBytes, reasonFor, verdictOf } from './x509-cases.ts';

interface Case {
  readonly test: string;
  readonly title: string;
  readonly id: string;
  readonly certs: readonly string[];
  readonly should_validate: boolean;
  readonly initialExplicitPolicy?: boolean;
  readonly initialPolicyMappingInhibit?: boolean;
  readonly initialInhibitAnyPolicy?: boolean;
  readonly initialPolicySet?: string;
  readonly userConstrainedPolicySet?: string;
}

const FOLDER = 'vectors/x509/pkits';
const AT = Date.UTC(2020, 0, 1);

const NEEDS_REVOCATION = 'what makes it invalid is in its revocation lists, which are not read here';
const INVALID: readonly Exemption[] = [
  { what: /^4\.(4|14|15)\./, why: NEEDS_REVOCATION },
  { what: /^4\.5\.(2|5|7|8)$/, why: NEEDS_REVOCATION },
  { what: /^4\.7\.(4|5)$/, why: NEEDS_REVOCATION },
];
const VALID: readonly Exemption[] = [{ what: /^4\.1\.(4|5)$/, why: 'DSA is not used in IKEv2' }];

/** How each section of invalid paths must be refused. */
const CODES: Readonly<Record<string, readonly string[]>> = {
  '4.1': ['BAD_SIGNATURE', 'DER_MALFORMED', 'WEAK_KEY'],
  '4.2': ['CERTIFICATE_EXPIRED', 'NOT_YET_VALID'],
  '4.3': ['UNKNOWN_CA'],
  '4.5': ['BAD_SIGNATURE'],
  '4.6': ['NOT_A_CA', 'PATH_TOO_LONG'],
  '4.7': ['KEY_USAGE'],
  '4.8': ['POLICY'],
  '4.9': ['POLICY'],
  '4.10': ['POLICY'],
  '4.11': ['POLICY'],
  '4.12': ['POLICY'],
  '4.13': ['NAME_CONSTRAINTS'],
  '4.16': ['CRITICAL_EXTENSION'],
};

const sectionOf = (each: Case): string => each.test.split('.').slice(0, 2).join('.');

describeWithShared('NIST PKITS', FOLDER, () => {
  for (const each of readSharedJson(`${FOLDER}/tests.json`) as readonly Case[]) {
    judge(`${each.test} ${each.title}`, reasonFor(each.test, each.should_validate ? VALID : INVALID), () => {
      const verdict = verdictOf(() => {
        const [anchor, ...rest] = each.certs.map((name) => parseCertificate(readBytes(`${FOLDER}/certs/${name}.crt`)));
        return findPath(rest[rest.length - 1]!, {
          anchors: [anchor!],
          intermediates: rest.slice(0, -1),
          at: AT,
          purpose: ANY_PURPOSE,
          policies: policyInputs(each),
        });
      });
      expect(verdict.valid, verdict.says).toBe(each.should_validate);
      if (!verdict.valid) expect(CODES[sectionOf(each)]).toContain(verdict.code);
      else if (each.userConstrainedPolicySet !== undefined) {
        expect([...verdict.policies].sort()).toEqual(policyOids(each.userConstrainedPolicySet).sort());
      }
    });
  }
});

function policyInputs(each: Case): PolicyInputs {
  return {
    acceptable: each.initialPolicySet === undefined ? undefined : policyOids(each.initialPolicySet),
    requireExplicit: each.initialExplicitPolicy,
    inhibitMapping: each.initialPolicyMappingInhibit,
    inhibitAny: each.initialInhibitAnyPolicy,
  };
}

/** NIST registered its test policies 1 to 10 below 2.16.840.1.101.3.2.1.48. */
function policyOids(names: string): string[] {
  return names
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
    .map((name) => (name === 'anyPolicy' ? '2.5.29.32.0' : `2.16.840.1.101.3.2.1.48.${/\d+$/.exec(name)![0]}`));
}
