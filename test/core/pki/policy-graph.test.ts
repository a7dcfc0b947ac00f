import { describe, expect, test } from 'vitest';
import type { Certificate } from '../../../src/core/pki/certificate.ts';
import { PolicyGraph } from '../../../src/core/pki/policy-graph.ts';
import { expectAtOnce } from '../../support/at-once.ts';
import { peer, root } from './lab.ts';

const ANY = '2.5.29.32.0';
const sample = peer(root(), 'CN=x', []).certificate;

interface Policies {
  readonly policies?: readonly string[];
  readonly mappings?: readonly (readonly [string, string])[];
  readonly require?: number;
  readonly inhibitAny?: number;
}

function certificate({ policies, mappings, require, inhibitAny }: Policies): Certificate {
  return {
    ...sample,
    ...(policies === undefined ? {} : { policies: policies.map((policy) => ({ policy, qualifiers: [] })) }),
    ...(mappings === undefined
      ? {}
      : { policyMappings: mappings.map(([issuerPolicy, subjectPolicy]) => ({ issuerPolicy, subjectPolicy })) }),
    ...(require === undefined ? {} : { policyConstraints: { requireExplicitPolicy: require, inhibitPolicyMapping: undefined } }),
    ...(inhibitAny === undefined ? {} : { inhibitAnyPolicy: inhibitAny }),
  };
}

/** The policies under which a path holds, the authorities first; undefined where it holds under none. */
function hold(path: readonly Policies[], acceptable?: readonly string[]): string[] | undefined {
  const graph = new PolicyGraph(path.length, { acceptable });
  for (const [i, each] of path.entries()) {
    const final = i === path.length - 1;
    if (!graph.process(certificate(each), final, false)) return undefined;
    if (!final && !graph.prepare(certificate(each), false)) return undefined;
  }
  const held = graph.finish(certificate(path[path.length - 1]!));
  return held && [...held].sort();
}

describe('policies (RFC 5280 §6.1, RFC 9618)', () => {
  test.each([
    ['none', [{}, {}], []],
    ['the same everywhere', [{ policies: ['1.1'] }, { policies: ['1.1'] }], ['1.1']],
    ['what is left of two', [{ policies: ['1.1', '1.2'] }, { policies: ['1.2', '1.3'] }], ['1.2']],
    ['any above, one below', [{ policies: [ANY] }, { policies: ['1.1'] }], ['1.1']],
    ['one above, any below', [{ policies: ['1.1'] }, { policies: [ANY] }], ['1.1']],
    ['any below, when that is inhibited', [{ policies: ['1.1'], inhibitAny: 0 }, { policies: [ANY] }], []],
    ['different ones', [{ policies: ['1.1'] }, { policies: ['1.2'] }], []],
    ['different ones where one is required', [{ policies: ['1.1'], require: 0 }, { policies: ['1.2'] }], undefined],
    ['none where one is required', [{ require: 0 }, {}], undefined],
    ['mapped', [{ policies: ['1.1'], mappings: [['1.1', '2.1']], require: 0 }, { policies: ['2.1'] }], ['1.1']],
    ['mapped from any', [{ policies: [ANY], mappings: [['1.1', '2.1']], require: 0 }, { policies: ['2.1'] }], ['1.1']],
    ['mapped away', [{ policies: ['1.1'], mappings: [['1.1', '2.1']], require: 0 }, { policies: ['1.1'] }], undefined],
    ['a mapping of anyPolicy', [{ policies: ['1.1'], mappings: [[ANY, '2.1']] }, { policies: ['1.1'] }], undefined],
  ] as const)('%s', (_what, path, expected) => expect(hold(path)).toEqual(expected));

  test('what the connection accepts decides', () => {
    const path = [{ policies: ['1.1', '1.2'], require: 0 }, { policies: ['1.1', '1.2'] }];
    expect(hold(path, ['1.2', '1.9'])).toEqual(['1.2']);
    expect(hold(path, ['1.9'])).toBeUndefined();
    expect(hold([{ policies: [ANY], require: 0 }, { policies: [ANY] }], ['1.9'])).toEqual(['1.9']);
  });

  test('mappings from all to all on every level do not explode', () => {
    const names = Array.from({ length: 40 }, (_, i) => `1.3.${i}`);
    const level = { policies: names, mappings: names.flatMap((from) => names.map((to) => [from, to] as const)), require: 0 };
    expectAtOnce(() => expect(hold([...Array.from({ length: 10 }, () => level), { policies: names }])).toEqual([...names].sort()), 1000);
  });
});
