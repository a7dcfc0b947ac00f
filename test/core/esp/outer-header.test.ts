import { describe, expect, test } from 'vitest';
import {
  DECAPSULATED_ECN,
  DROP,
  decapsulatedClass,
  dontFragment,
  Ecn,
  outerClass,
  outerRules,
  TRANSPORT_RULES,
} from '../../../src/core/esp/index.ts';

const { NOT_ECT, ECT_0, ECT_1, CE } = Ecn;
const NAMES: Readonly<Record<number, string>> = { [NOT_ECT]: 'Not-ECT', [ECT_0]: 'ECT(0)', [ECT_1]: 'ECT(1)', [CE]: 'CE', [DROP]: 'drop' };

describe('RFC 6040 §4.2, figure 4', () => {
  const OUTER = [NOT_ECT, ECT_0, ECT_1, CE];
  test.each([
    [NOT_ECT, [NOT_ECT, NOT_ECT, NOT_ECT, DROP]],
    [ECT_0, [ECT_0, ECT_0, ECT_1, CE]],
    [ECT_1, [ECT_1, ECT_1, ECT_1, CE]],
    [CE, [CE, CE, CE, CE]],
  ])('inner %i', (inner, row) => {
    const rules = outerRules();
    const dscp = 0x2e << 2;
    OUTER.forEach((outer, i) => {
      const expected = row[i] === DROP ? DROP : dscp | row[i]!;
      expect([NAMES[inner], NAMES[outer], decapsulatedClass(dscp | inner, 0x10 | outer, rules)]).toEqual([
        NAMES[inner],
        NAMES[outer],
        expected,
      ]);
    });
  });

  test('is printed as it stands', () => {
    const numbers = [NOT_ECT, ECT_1, ECT_0, CE];
    expect(numbers.map((inner) => numbers.map((outer) => NAMES[DECAPSULATED_ECN[inner]![outer]!]).join(' ')).join('\n')).toBe(
      ['Not-ECT Not-ECT Not-ECT drop', 'ECT(1) ECT(1) ECT(1) CE', 'ECT(0) ECT(1) ECT(0) CE', 'CE CE CE CE'].join('\n'),
    );
  });
});

describe('the outer header', () => {
  const every = Array.from({ length: 256 }, (_, i) => i);

  test('has the inner traffic class unless told otherwise', () => {
    for (const inner of every) expect(outerClass(inner, outerRules())).toBe(inner);
  });

  test('has a DSCP of its own, and congestion marks all the same', () => {
    for (const inner of every) expect(outerClass(inner, outerRules({ copyDscp: 'no', outerDscp: 46 }))).toBe((46 << 2) | (inner & 3));
  });

  test('carries no congestion marks where they are not copied, and none come back', () => {
    const rules = outerRules({ copyEcn: false });
    for (const inner of every) {
      expect(outerClass(inner, rules)).toBe(inner & 0xfc);
      for (const outer of [NOT_ECT, ECT_0, ECT_1, CE]) expect(decapsulatedClass(inner, outer, rules)).toBe(inner);
    }
  });

  test('gives its DSCP to the inner one only where that is wanted', () => {
    for (const copyDscp of ['in', 'yes'] as const) expect(decapsulatedClass(0x04, 0xb8, outerRules({ copyDscp }))).toBe(0xb8);
    for (const copyDscp of ['out', 'no'] as const) expect(decapsulatedClass(0x04, 0xb8, outerRules({ copyDscp }))).toBe(0x04);
    expect(outerClass(0xb8, outerRules({ copyDscp: 'in' }))).toBe(0);
  });

  test('of transport mode is the inner one', () => {
    for (const inner of every) expect(outerClass(inner, TRANSPORT_RULES)).toBe(inner);
  });

  test.each([
    ['copy', true, true],
    ['copy', false, false],
    ['set', false, true],
    ['clear', true, false],
  ] as const)('DF %s over %s is %s', (df, inner, outer) => {
    expect(dontFragment(inner, outerRules({ df }))).toBe(outer);
  });
});
