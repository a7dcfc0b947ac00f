import { describe, expect, test } from 'vitest';
import { fromHex, utf8 } from '../../../src/core/bytes/index.ts';
import {
  describeAttribute,
  formatTrustAnchor,
  isInDomain,
  parseDomain,
  parseTrustAnchor,
  readTrustAnchor,
  writeTrustAnchor,
} from '../../../src/core/wire/index.ts';

const DIGEST = 'B6225AB2CC613E0DCA7962BDC2342EA4F1B56083A1B2C3D4E5F60718293A4B5C';
const TEXT = `43547 8 2 ${DIGEST}`;

describe('INTERNAL_DNS_DOMAIN (RFC 8598 §4.1)', () => {
  test.each([
    ['example.com', 'example.com'],
    ['City.Other.TEST.', 'city.other.test'],
    ['internal', 'internal'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['_sip._tcp.example.com', '_sip._tcp.example.com'],
    [`${'a'.repeat(63)}.example`, `${'a'.repeat(63)}.example`],
  ])('%s', (text, name) => {
    expect(parseDomain(utf8(text))).toBe(name);
  });

  test.each([
    '',
    '.',
    '..',
    '.example.com',
    'example..com',
    'example.com..',
    '-a.example',
    'a-.example',
    'a b.example',
    'example.com\0',
    'exa\nmple.com',
    '*.example.com',
    'bücher.example',
    '10.0.0.1',
    '::1',
    `${'a'.repeat(64)}.example`,
    `${'a.'.repeat(126)}aa`,
    'a/b.example',
    'a@example.com',
  ])('%j is none', (text) => {
    expect(parseDomain(utf8(text))).toBeUndefined();
  });

  test('the longest there is, with and without its dot', () => {
    const longest = `${'a.'.repeat(126)}a`;
    expect(parseDomain(utf8(longest))).toBe(longest);
    expect(parseDomain(utf8(`${longest}.`))).toBe(longest);
  });

  test.each([
    ['example.test', 'example.test', true],
    ['mail.eng.example.test', 'example.test', true],
    ['otherexample.test', 'example.test', false],
    ['ple.test', 'example.test', false],
    ['test', 'example.test', false],
  ])('§5: %s lies in %s: %s', (name, domain, lies) => {
    expect(isInDomain(name, domain)).toBe(lies);
  });
});

describe('INTERNAL_DNSSEC_TA (RFC 8598 §4.2)', () => {
  test('goes out with its digest in presentation format, and comes back', () => {
    const anchor = readTrustAnchor(TEXT)!;
    const wire = writeTrustAnchor(anchor);
    expect(wire).toHaveLength(4 + 64);
    expect(wire.subarray(0, 4)).toEqual(fromHex('aa1b0802'));
    expect(formatTrustAnchor(parseTrustAnchor(wire)!)).toBe(TEXT);
    expect(describeAttribute({ type: 26, value: wire })).toMatch(
      /^INTERNAL_DNSSEC_TA key tag 43547, algorithm 8, digest type 2, .*b6225ab2/,
    );
  });

  test('a digest as octets is taken too', () => {
    expect(formatTrustAnchor(parseTrustAnchor(fromHex(`aa1b0802${DIGEST}`))!)).toBe(TEXT);
  });

  test.each([
    '',
    'aa',
    'aa1b',
    'aa1b08',
    'aa1b0802',
    'aa1b080200',
    `aa1b0802${DIGEST}00`,
    `aa1b0802${DIGEST.slice(2)}`,
    `aa1b0809${DIGEST}`,
    `aa1b0802${'7a'.repeat(64)}`,
    'aa1b0800',
  ])('%s is none', (hex) => {
    expect(parseTrustAnchor(fromHex(hex))).toBeUndefined();
  });

  test.each(['', '43547 8 2', `70000 8 2 ${DIGEST}`, `1 300 2 ${DIGEST}`, `1 8 1 ${DIGEST}`, `1 8 2 ${DIGEST}x`, `1 8 99 ${DIGEST}`])(
    '%j is none',
    (text) => {
      expect(readTrustAnchor(text)).toBeUndefined();
    },
  );
});
