import type { Certificate } from './certificate.ts';
import { append } from './multimap.ts';
import { Oid } from './oid.ts';

/** Inputs (c) to (g) of RFC 5280 §6.1.1. */
export interface PolicyInputs {
  /** Acceptable policies; undefined for any. */
  readonly acceptable?: readonly string[] | undefined;
  readonly requireExplicit?: boolean | undefined;
  readonly inhibitMapping?: boolean | undefined;
  readonly inhibitAny?: boolean | undefined;
}

/**
 * Policy processing of RFC 5280 §6.1 with the graph of RFC 9618 §5, whose size is linear where the tree of the former is exponential:
 * a level for every certificate, in which each policy stands once and points to all its parents above.
 */
export class PolicyGraph {
  readonly #inputs: PolicyInputs;
  #level: Map<string, Node> = new Map([[ANY, { policy: ANY, expected: [ANY], parents: [] }]]);
  #previous: Map<string, Node> = new Map();
  #explicit: number;
  #mapping: number;
  #any: number;

  /** @param length certificates in the path, the trust anchor not counted */
  constructor(length: number, inputs: PolicyInputs) {
    this.#inputs = inputs;
    this.#explicit = inputs.requireExplicit === true ? 0 : length + 1;
    this.#mapping = inputs.inhibitMapping === true ? 0 : length + 1;
    this.#any = inputs.inhibitAny === true ? 0 : length + 1;
  }

  /** RFC 5280 §6.1.3 (d) to (f). False when no valid policy is left and one is demanded. */
  process(certificate: Certificate, final: boolean, selfIssued: boolean): boolean {
    const { policies } = certificate;
    this.#previous = this.#level;
    this.#level = new Map();
    if (policies !== undefined && this.#previous.size > 0) {
      const parents = expectations(this.#previous);
      for (const { policy } of policies) if (policy !== ANY) this.#grow(policy, parents.get(policy) ?? []);
      const takesAny = this.#any > 0 || (!final && selfIssued);
      if (takesAny && policies.some(({ policy }) => policy === ANY)) {
        for (const [policy, above] of parents)
          if (!this.#level.has(policy)) this.#level.set(policy, { policy, expected: [policy], parents: above });
      }
    }
    return this.#explicit > 0 || this.#level.size > 0;
  }

  /** RFC 5280 §6.1.4 (a), (b), (h) to (j). False when a mapping touches anyPolicy. */
  prepare(certificate: Certificate, selfIssued: boolean): boolean {
    if (!this.#map(certificate)) return false;
    if (!selfIssued) {
      if (this.#explicit > 0) this.#explicit--;
      if (this.#mapping > 0) this.#mapping--;
      if (this.#any > 0) this.#any--;
    }
    const { policyConstraints, inhibitAnyPolicy } = certificate;
    this.#explicit = Math.min(this.#explicit, policyConstraints?.requireExplicitPolicy ?? this.#explicit);
    this.#mapping = Math.min(this.#mapping, policyConstraints?.inhibitPolicyMapping ?? this.#mapping);
    this.#any = Math.min(this.#any, inhibitAnyPolicy ?? this.#any);
    return true;
  }

  /** RFC 5937 §3.2: constraints that a trust anchor carries in its own certificate. */
  anchor(certificate: Certificate): boolean {
    const processed = certificate.policies === undefined ? true : this.process(certificate, false, true);
    return processed && this.prepare(certificate, true);
  }

  /** RFC 5280 §6.1.5 (a), (b), (g): the policies under which the path holds, or undefined where it holds under none that is acceptable. */
  finish(certificate: Certificate): ReadonlySet<string> | undefined {
    if (this.#explicit > 0) this.#explicit--;
    if (certificate.policyConstraints?.requireExplicitPolicy === 0) this.#explicit = 0;
    const authority = this.#topPolicies();
    const { acceptable } = this.#inputs;
    let held = authority;
    if (acceptable !== undefined && !acceptable.includes(ANY)) {
      held = authority.has(ANY) ? new Set(acceptable) : new Set(acceptable.filter((policy) => authority.has(policy)));
    }
    return this.#explicit > 0 || held.size > 0 ? held : undefined;
  }

  #grow(policy: string, matching: readonly Node[]): void {
    const any = this.#previous.get(ANY);
    const parents = matching.length > 0 ? matching : any === undefined ? [] : [any];
    if (parents.length > 0) this.#level.set(policy, { policy, expected: [policy], parents });
  }

  #map({ policyMappings }: Certificate): boolean {
    if (policyMappings === undefined) return true;
    const targets = new Map<string, string[]>();
    for (const { issuerPolicy, subjectPolicy } of policyMappings) {
      if (issuerPolicy === ANY || subjectPolicy === ANY) return false;
      append(targets, issuerPolicy, subjectPolicy);
    }
    const any = this.#level.get(ANY);
    for (const [policy, expected] of targets) {
      const node = this.#level.get(policy);
      if (this.#mapping === 0) this.#level.delete(policy);
      else if (node !== undefined) node.expected = expected;
      else if (any !== undefined) this.#level.set(policy, { policy, expected, parents: any.parents });
    }
    return true;
  }

  /** The policies in the domain of the trust anchor from which the last level descends: those right below anyPolicy. */
  #topPolicies(): Set<string> {
    const top = new Set<string>();
    let level: ReadonlySet<Node> = new Set(this.#level.values());
    if (this.#level.has(ANY)) top.add(ANY);
    while (level.size > 0) {
      const above = new Set<Node>();
      for (const node of level) {
        if (node.policy !== ANY && node.parents.some((parent) => parent.policy === ANY)) top.add(node.policy);
        for (const parent of node.parents) if (parent.policy !== ANY) above.add(parent);
      }
      level = above;
    }
    return top;
  }
}

interface Node {
  readonly policy: string;
  expected: readonly string[];
  readonly parents: readonly Node[];
}

const ANY: string = Oid.anyPolicy;

/** Expected policies of a level, each with the nodes that expect it. */
function expectations(level: ReadonlyMap<string, Node>): Map<string, Node[]> {
  const map = new Map<string, Node[]>();
  for (const node of level.values()) for (const policy of node.expected) append(map, policy, node);
  return map;
}
