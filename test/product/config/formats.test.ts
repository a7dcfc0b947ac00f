import { describe, expect, test } from 'vitest';
import { formatIp } from '../../../src/core/bytes/ip-address.ts';
import { rangeToPrefixes } from '../../../src/core/bytes/ranges.ts';
import { formatSelector } from '../../../src/core/wire/text/selector.ts';
import { nearest } from '../../../src/product/config/schema/section.ts';
import { parseSelector, toTrafficSelector } from '../../../src/product/config/selectors.ts';
import { formatRange, type Parsed, parseAddressRange, parseDuration, parseSize } from '../../../src/product/config/values.ts';

const value = <T>(parsed: Parsed<T>): T | string => (parsed.ok ? parsed.value : parsed.message);

test.each([
  ['30s', 30_000],
  ['90', 90_000],
  ['1.5', 1500],
  ['500ms', 500],
  ['4h', 14_400_000],
  ['1h30m', 5_400_000],
  ['1d 12h', 129_600_000],
  ['0', 0],
  ['30x', '"30x" is not a length of time'],
  ['h', '"h" is not a length of time'],
  ['-5s', '"-5s" is not a length of time'],
  ['1h garbage', '"1h garbage" is not a length of time'],
  ['99999d', '"99999d" is longer than ten years'],
  ['', '"" is not a length of time'],
])('duration %j', (text, expected) => {
  expect(value(parseDuration(text))).toBe(expected);
});

test.each([
  ['64GiB', 64 * 2 ** 30],
  ['500MB', 500_000_000],
  ['1.5KiB', 1536],
  ['1000', 1000],
  ['2k', 2000],
  ['10 octets', 10],
  ['0', 0],
  ['9999999TiB', '"9999999TiB" is too large'],
  ['five', '"five" is not a size'],
])('size %j', (text, expected) => {
  expect(value(parseSize(text))).toBe(expected);
});

describe('address ranges', () => {
  test.each([
    ['10.0.0.5/24', '10.0.0.0/24'],
    ['10.0.0.5', '10.0.0.5'],
    ['2001:db8::/32', '2001:db8::/32'],
    ['10.0.0.1 - 10.0.0.9', '10.0.0.1-10.0.0.9'],
    ['0.0.0.0/0', '0.0.0.0/0'],
  ])('%s', (text, expected) => {
    const range = parseAddressRange(text);
    expect(range.ok && formatRange(range.value)).toBe(expected);
  });

  test.each(['10.0.0.0/33', '10.0.0.0/', '::/129', '10.0.0.9-10.0.0.1', '10.0.0.1-::1', 'x/8', '10.0.0.256', '1-2-3'])(
    '%s is none',
    (text) => {
      expect(parseAddressRange(text).ok).toBe(false);
    },
  );

  test.each([
    ['10.0.0.1-10.0.0.6', ['10.0.0.1', '10.0.0.2/31', '10.0.0.4/31', '10.0.0.6']],
    ['10.0.0.0-10.0.0.255', ['10.0.0.0/24']],
    ['0.0.0.0-255.255.255.255', ['0.0.0.0/0']],
    ['192.0.2.7-192.0.2.7', ['192.0.2.7']],
    ['fd00::1-fd00::4', ['fd00::1', 'fd00::2/127', 'fd00::4']],
    ['::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', ['::/0']],
  ])('%s in prefixes', (text, expected) => {
    const range = parseAddressRange(text);
    expect(range.ok && rangeToPrefixes(range.value).map(formatRange)).toEqual(expected);
  });

  test('the worst range takes 254 prefixes, which cover it without a gap', () => {
    const range = parseAddressRange('::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe');
    if (!range.ok) throw new Error(range.message);
    const prefixes = rangeToPrefixes(range.value);
    expect(prefixes).toHaveLength(254);
    expect([formatIp(prefixes[0]!.start), formatIp(prefixes.at(-1)!.end)]).toEqual(['::1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe']);
  });
});

describe('traffic selectors', () => {
  test.each([
    ['10.0.0.0/24', '10.0.0.0/24'],
    ['10.1.0.10', '10.1.0.10'],
    ['10.0.0.0/24[tcp/80]', '10.0.0.0/24[tcp/80]'],
    ['10.0.0.0/24[6/80]', '10.0.0.0/24[tcp/80]'],
    ['10.1.0.0/16[tcp/21-22]', '10.1.0.0/16[tcp/21-22]'],
    ['10.1.0.0/16[udp/domain]', '10.1.0.0/16[udp/53]'],
    ['fec2::0/16[ipv6-icmp]', 'fec2::/16[icmpv6]'],
    ['10.1.0.0/16[icmp/2048]', '10.1.0.0/16[icmp/8(0)]'],
    ['10.1.0.0/16[icmp/8]', '10.1.0.0/16[icmp/8]'],
    ['10.1.0.0/16[icmp/0]', '10.1.0.0/16[icmp/0]'],
    ['fec2::/16[icmpv6/133-137]', 'fec2::/16[icmpv6/133-137]'],
    ['10.1.0.0/16[icmp/0-255]', '10.1.0.0/16[icmp]'],
    ['10.1.0.0/16[tcp/opaque]', '10.1.0.0/16[tcp/OPAQUE]'],
    ['10.1.0.0/16[/any]', '10.1.0.0/16'],
    ['10.1.0.0/16[gre]', '10.1.0.0/16[gre]'],
    ['10.0.0.1-10.0.0.9[udp/8000-8099]', '10.0.0.1-10.0.0.9[udp/8000-8099]'],
    ['0::0/0', '::/0'],
  ])('%s', (text, expected) => {
    const selector = parseSelector(text);
    if (!selector.ok) throw new Error(selector.message);
    const { addresses } = selector.value;
    if (addresses === 'dynamic') throw new Error('dynamic');
    expect(formatSelector(toTrafficSelector({ ...selector.value, addresses }))).toBe(expected);
  });

  test('dynamic, with what narrows it', () => {
    expect(parseSelector('dynamic')).toEqual({ ok: true, value: { addresses: 'dynamic', protocol: 0, startPort: 0, endPort: 65535 } });
    expect(parseSelector('dynamic[tcp/32768-65535]')).toMatchObject({
      value: { addresses: 'dynamic', protocol: 6, startPort: 32768, endPort: 65535 },
    });
  });

  test.each([
    '',
    '10.0.0.0/24[',
    '10.0.0.0/24[tcp/80]]',
    '10.0.0.0/24[tcp/80-70]',
    '10.0.0.0/24[tcp/1-2-3]',
    '10.0.0.0/24[300]',
    '10.0.0.0/24[tcp/70000]',
    '10.0.0.0/24[gre/1]',
    '10.0.0.0/24[constructor]',
    '10.0.0.0/24[tcp/__proto__]',
    'Dynamic',
  ])('%j is none', (text) => {
    expect(parseSelector(text).ok).toBe(false);
  });
});

test.each([
  ['remot_addrs', 'remote_addrs'],
  ['rekeytime', 'rekey_time'],
  ['rekey_tiem', 'rekey_time'],
  ['Mobike', 'mobike'],
  ['local-addrs', 'local_addrs'],
  ['zebra', undefined],
  ['x'.repeat(100_000), undefined],
])('the nearest known word to %.20s', (word, expected) => {
  expect(nearest(word, ['remote_addrs', 'local_addrs', 'rekey_time', 'mobike'])).toBe(expected);
});
