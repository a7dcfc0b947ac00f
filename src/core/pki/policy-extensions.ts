import { contextPrimitive, type DerReader } from './der.ts';

export interface CertificatePolicy {
  readonly policy: string;
  /** Object identifiers of the qualifiers; what they say is for people. */
  readonly qualifiers: readonly string[];
}

export interface PolicyMapping {
  readonly issuerPolicy: string;
  readonly subjectPolicy: string;
}

export interface PolicyConstraints {
  readonly requireExplicitPolicy: number | undefined;
  readonly inhibitPolicyMapping: number | undefined;
}

/** RFC 5280 §4.2.1.4: a policy MUST NOT appear more than once. */
export function readCertificatePolicies(reader: DerReader): CertificatePolicy[] {
  const list = reader.sequence('certificatePolicies');
  const policies = new Map<string, CertificatePolicy>();
  do {
    const each = list.sequence('PolicyInformation');
    const policy = each.oid('policyIdentifier');
    if (policies.has(policy)) throw each.malformed(`policy ${policy} is there twice`, 'certificatePolicies');
    policies.set(policy, { policy, qualifiers: each.done ? [] : readQualifiers(each.sequence('policyQualifiers')) });
    each.end('PolicyInformation');
  } while (!list.done);
  return [...policies.values()];
}

function readQualifiers(list: DerReader): string[] {
  const qualifiers: string[] = [];
  do {
    const each = list.sequence('PolicyQualifierInfo');
    qualifiers.push(each.oid('policyQualifierId'));
    each.any('qualifier');
    each.end('PolicyQualifierInfo');
  } while (!list.done);
  return qualifiers;
}

export function readPolicyMappings(reader: DerReader): PolicyMapping[] {
  const list = reader.sequence('policyMappings');
  const mappings: PolicyMapping[] = [];
  do {
    const each = list.sequence('policyMapping');
    mappings.push({ issuerPolicy: each.oid('issuerDomainPolicy'), subjectPolicy: each.oid('subjectDomainPolicy') });
    each.end('policyMapping');
  } while (!list.done);
  return mappings;
}

export function readPolicyConstraints(reader: DerReader): PolicyConstraints {
  const inner = reader.sequence('policyConstraints');
  // RFC 5280 §4.2.1.11: an empty sequence MUST NOT be issued.
  if (inner.done) throw inner.malformed('policyConstraints are empty', 'policyConstraints');
  const skipCerts = (number: number, field: string) =>
    inner.nextIs(contextPrimitive(number)) ? inner.smallInteger(field, contextPrimitive(number)) : undefined;
  const constraints = {
    requireExplicitPolicy: skipCerts(0, 'requireExplicitPolicy'),
    inhibitPolicyMapping: skipCerts(1, 'inhibitPolicyMapping'),
  };
  inner.end('policyConstraints');
  return constraints;
}
