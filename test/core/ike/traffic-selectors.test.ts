import { describe, expect, test } from 'vitest';
import { parseIp } from '../../../src/core/bytes/index.ts';
import {
  anySelector,
  containsSelector,
  covers,
  isSubset,
  narrow,
  resolveDynamic,
  sameSelectors,
} from '../../../src/core/ike/traffic-selectors.ts';
import { type AddressRangeSelector, formatSelector } from '../../../src/core/wire/index.ts';

function range(start: string, end = start, protocol = 0, startPort = 0, endPort = 65535): AddressRangeSelector {
  return { type: start.includes(':') ? 8 : 7, protocol, startPort, endPort, start: parseIp(start), end: parseIp(end) };
}
const lan = range('10.1.0.0', '10.1.0.255');
const texts = (list: readonly AddressRangeSelector[]) => list.map(formatSelector).sort();

describe('narrowing (RFC 7296 §2.9)', () => {
  test.each([
    ['the same', lan, lan, lan],
    ['a wide proposal becomes what is permitted', anySelector(4), lan, lan],
    ['a narrow proposal stays narrow', range('10.1.0.7'), lan, range('10.1.0.7')],
    ['ranges that overlap', range('10.1.0.128', '10.1.1.127'), lan, range('10.1.0.128', '10.1.0.255')],
    ['a protocol against any', range('10.1.0.7', '10.1.0.7', 6, 80, 80), lan, range('10.1.0.7', '10.1.0.7', 6, 80, 80)],
    [
      'ports that overlap',
      range('10.1.0.7', '10.1.0.7', 17, 1000, 2000),
      range('10.1.0.0', '10.1.0.255', 17, 1500, 3000),
      range('10.1.0.7', '10.1.0.7', 17, 1500, 2000),
    ],
    ['OPAQUE within any (§3.13.1)', range('10.1.0.7', '10.1.0.7', 135, 65535, 0), lan, range('10.1.0.7', '10.1.0.7', 135, 65535, 0)],
    ['IPv6', range('2001:db8::', '2001:db8::ffff'), range('2001:db8::10', '2001:db8:1::'), range('2001:db8::10', '2001:db8::ffff')],
  ])('%s', (_what, proposed, permitted, expected) => {
    expect(texts(narrow([proposed], [permitted]))).toEqual(texts([expected]));
  });

  test.each([
    ['other addresses', range('10.2.0.1'), lan],
    ['another family', anySelector(6), lan],
    ['another protocol', range('10.1.0.7', '10.1.0.7', 6), range('10.1.0.0', '10.1.0.255', 17)],
    ['other ports', range('10.1.0.7', '10.1.0.7', 6, 80, 80), range('10.1.0.0', '10.1.0.255', 6, 443, 443)],
    ['OPAQUE against a port', range('10.1.0.7', '10.1.0.7', 135, 65535, 0), range('10.1.0.0', '10.1.0.255', 135, 1, 1)],
  ])('%s give nothing', (_what, proposed, permitted) => {
    expect(narrow([proposed], [permitted])).toEqual([]);
  });

  test('what lies inside another result is left out', () => {
    expect(narrow([range('10.1.0.7'), lan], [lan])).toHaveLength(1);
  });

  test('the answer never holds more than both sides allow, for any pair of selectors', () => {
    const ends = ['10.0.0.0', '10.0.0.5', '10.0.0.9', '10.0.1.0'];
    const all = ends.flatMap((a, i) => ends.slice(i).flatMap((b) => [0, 6].flatMap((p) => [range(a, b, p), range(a, b, p, 10, 20)])));
    for (const proposed of all) {
      for (const permitted of all) {
        for (const result of narrow([proposed], [permitted])) {
          expect(containsSelector(proposed, result) && containsSelector(permitted, result)).toBe(true);
        }
      }
    }
  });

  test('a peer that proposes thousands of selectors gets at most 255 back', () => {
    const many = Array.from({ length: 5000 }, (_, i) => range(`10.1.${i >> 8}.${i & 255}`));
    expect(narrow(many, [anySelector(4)]).length).toBeLessThanOrEqual(255);
  });
});

test('the initiator accepts a subset and nothing else', () => {
  expect(isSubset([range('10.1.0.7')], [lan])).toBe(true);
  expect(isSubset([anySelector(4)], [lan])).toBe(false);
  expect(isSubset([], [lan])).toBe(false);
  expect(sameSelectors([lan], [lan])).toBe(true);
});

describe('covering', () => {
  test.each([
    ['one range', [lan], [range('10.1.0.7')], true],
    ['ranges side by side', [range('10.1.0.100', '10.1.0.255'), range('10.1.0.0', '10.1.0.99')], [lan], true],
    ['ranges that overlap', [range('10.1.0.0', '10.1.0.200'), range('10.1.0.5', '10.1.0.9'), range('10.1.0.150', '10.1.1.9')], [lan], true],
    ['a gap of one address', [range('10.1.0.0', '10.1.0.99'), range('10.1.0.101', '10.1.0.255')], [lan], false],
    ['the last address is missing', [range('10.1.0.0', '10.1.0.254')], [lan], false],
    ['the first address is missing', [range('10.1.0.1', '10.1.0.255')], [lan], false],
    ['one protocol of all', [range('10.1.0.0', '10.1.0.255', 6)], [lan], false],
    ['one port of all', [range('10.1.0.0', '10.1.0.255', 6, 22, 22)], [range('10.1.0.0', '10.1.0.255', 6)], false],
    [
      'half with the protocol, half without',
      [range('10.1.0.0', '10.1.0.99', 6), range('10.1.0.100', '10.1.0.255')],
      [range('10.1.0.0', '10.1.0.255', 6)],
      true,
    ],
    ['the end of the address space', [anySelector(4), anySelector(6)], [range('255.255.255.255'), anySelector(6)], true],
    ['another family', [anySelector(4)], [range('::1')], false],
    ['OPAQUE within any', [lan], [range('10.1.0.7', '10.1.0.7', 6, 65535, 0)], true],
    ['nothing at all', [], [lan], false],
  ])('%s', (_what, outer, inner, expected) => {
    expect(covers(outer, inner)).toBe(expected);
  });
});

test('dynamic stands for the addresses of the hour, of both families, or for nothing', () => {
  expect(resolveDynamic(['dynamic', lan], ['10.66.0.5', 'fd00::5'])).toHaveLength(3);
  expect(resolveDynamic(['dynamic'], [])).toEqual([]);
  const web = { dynamic: true, protocol: 6, startPort: 80, endPort: 443 } as const;
  expect(resolveDynamic([web, lan], ['10.66.0.5']).map(formatSelector)).toEqual(['10.66.0.5[tcp/80-443]', '10.1.0.0/24']);
});

test('all ports are written from 0 to 65535, also where no protocol is named (RFC 7296 §3.13.1)', () => {
  const all = [anySelector(4), anySelector(6), ...resolveDynamic(['dynamic'], ['10.66.0.5', 'fd00::5'])];
  for (const selector of all) expect(selector).toMatchObject({ protocol: 0, startPort: 0, endPort: 65535 });
});
