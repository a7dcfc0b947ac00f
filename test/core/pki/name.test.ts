import { describe, expect, test } from 'vitest';
import { ConfigError, fromHex, MalformedMessage, toHex, utf8 } from '../../../src/core/bytes/index.ts';
import { DerTag } from '../../../src/core/pki/der.ts';
import { element, oid, sequence, setOf } from '../../../src/core/pki/der-writer.ts';
import { formatName, isWithin, nameKey, parseName, sameName } from '../../../src/core/pki/name.ts';
import { looksLikeName, parseNameText } from '../../../src/core/pki/name-text.ts';
import { decodeString, foldString, matchesGlob } from '../../../src/core/pki/strings.ts';
import { expectAtOnce } from '../../support/at-once.ts';

/** A name of one CN in a given string type. */
const cn = (tag: number, content: Uint8Array) => parseName(sequence(setOf(sequence(oid('2.5.4.3'), element(tag, content)))));

describe('names as text', () => {
  test('C=CH, O=strongSwan comes out in the very octets of another implementation', () => {
    expect(toHex(parseNameText('C=CH, O=strongSwan').der)).toBe(
      '3022310b30090603550406130243483113301106035504' + '0a130a7374726f6e675377616e',
    );
  });

  test.each([
    'C=CH, O=lab, CN=left',
    'DC=org, DC=example, UID=alice',
    'C=US, ST=Arizona, L=Scottsdale, O=Starfield Technologies\\, Inc., CN=Root',
    'O=a \\+ b, CN=\\"quoted\\" \\<x\\>\\;',
    'CN=\\20leading and trailing\\20',
    'CN=\\#not hex',
    'CN=Zürich 東京',
    'CN=line\\0abreak\\1b[31m',
    'serialNumber=42 + CN=one, OU=two',
    '1.3.6.1.4.1.99999.1=private',
    'E=alice@example.com, CN=alice',
  ])('%s is printed as it was read', (text) => {
    const name = parseNameText(text);
    expect(formatName(name)).toBe(text);
    expect(sameName(parseName(name.der), name)).toBe(true);
  });

  test.each([
    ['/C=CH/O=lab/CN=left', 'C=CH, O=lab, CN=left'],
    ['  c = CH ,o=lab,   cn=left  ', 'C=CH, O=lab, CN=left'],
    ['CN="Doe, John", O=x', 'CN=Doe\\, John, O=x'],
    ['emailAddress=a@b, SN=7, S=Doe', 'E=a@b, serialNumber=7, surname=Doe'],
    ['telephone=1', undefined],
    ['CN=+41 44 123', 'CN=\\+41 44 123'],
    ['CN=\\ a\\ ', 'CN=\\20a\\20'],
    ['CN=#0c026869', 'CN=hi'],
    ['CN=#020105', 'CN=#020105'],
  ])('%s is read as %s', (text, expected) => {
    if (expected === undefined) expect(() => parseNameText(text)).toThrow(ConfigError);
    else expect(formatName(parseNameText(text))).toBe(expected);
  });

  test.each(['', 'CN', 'CN=a,', 'CN=a, , O=b', 'CN="open', 'CN=a\\', 'CN=#0', 'CN=#zz', 'CN="a" b', 'nonsense=1'])(
    '%j is no name',
    (text) => {
      expect(() => parseNameText(text)).toThrow(expect.objectContaining({ code: 'NOT_A_NAME' }));
    },
  );

  test('string types follow RFC 5280 appendix A', () => {
    const tags = (text: string) => parseNameText(text).parts.map((part) => part[0]!.tag);
    expect(tags('C=CH, O=lab, CN=Zürich, E=a@b, DC=org')).toEqual([
      DerTag.PRINTABLE_STRING,
      DerTag.PRINTABLE_STRING,
      DerTag.UTF8_STRING,
      DerTag.IA5_STRING,
      DerTag.IA5_STRING,
    ]);
  });

  test.each([
    ['C=CH, O=lab', true],
    ['/C=CH', true],
    ['2.5.4.3=x', true],
    ['key=value', false],
    ['vpn.example.com', false],
    ['alice@example.com', false],
  ])('%s means to be a name: %s', (text, expected) => expect(looksLikeName(text)).toBe(expected));
});

describe('comparison (RFC 5280 §7.1)', () => {
  test.each([
    ['C=CH, O=Lab, CN=Left', 'c=ch, o=lab, cn=left', true],
    ['CN=two  words', 'CN=  Two words ', true],
    ['CN=a + OU=b', 'OU=b + CN=a', true],
    ['CN=a, OU=b', 'OU=b, CN=a', false],
    ['CN=a', 'CN=a, OU=b', false],
    ['CN=a', 'O=a', false],
    ['CN=ﬁle', 'CN=file', true],
    ['CN=ÅNGSTRÖM', 'CN=ångström', true],
    ['CN=ab', 'CN=a b', false],
  ])('%s and %s: %s', (a, b, same) => {
    expect(sameName(parseNameText(a), parseNameText(b))).toBe(same);
    expect(nameKey(parseNameText(a)) === nameKey(parseNameText(b))).toBe(same);
  });

  test('string types do not matter', () => {
    const forms = [
      cn(DerTag.UTF8_STRING, utf8('Gw')),
      cn(DerTag.PRINTABLE_STRING, utf8('gw')),
      cn(DerTag.TELETEX_STRING, utf8('GW')),
      cn(DerTag.BMP_STRING, fromHex('0067 0077')),
      cn(DerTag.UNIVERSAL_STRING, fromHex('00000047 00000057')),
    ];
    for (const a of forms) for (const b of forms) expect(sameName(a, b)).toBe(true);
  });

  test('values that are not text compare octet by octet', () => {
    expect(sameName(cn(DerTag.INTEGER, fromHex('05')), cn(DerTag.INTEGER, fromHex('05')))).toBe(true);
    expect(sameName(cn(DerTag.INTEGER, fromHex('05')), cn(DerTag.INTEGER, fromHex('06')))).toBe(false);
    expect(sameName(cn(DerTag.OCTET_STRING, utf8('A')), cn(DerTag.UTF8_STRING, utf8('a')))).toBe(false);
  });

  test('no two different names share a key by their punctuation', () => {
    expect(nameKey(parseNameText('CN=a, OU=b'))).not.toBe(nameKey(parseNameText('CN=a\\, OU\\=b')));
    expect(nameKey(parseNameText('CN=x + OU=y'))).not.toBe(nameKey(parseNameText('CN=x\\+2.5.4.112\\=y')));
  });

  test('a subtree is a beginning', () => {
    const base = parseNameText('C=CH, O=lab');
    expect(isWithin(parseNameText('C=CH, O=Lab, CN=x'), base)).toBe(true);
    expect(isWithin(base, base)).toBe(true);
    expect(isWithin(parseNameText('C=CH'), base)).toBe(false);
    expect(isWithin(parseNameText('O=lab, C=CH, CN=x'), base)).toBe(false);
    expect(isWithin(base, parseName(sequence()))).toBe(true);
  });
});

describe('what is refused', () => {
  test.each([
    ['an empty part', '3002 3100'],
    ['an attribute without value', '3009 3107 3005 0603 550403'],
    ['three elements in an attribute', '3010 310e 300c 0603 550403 0c0161 0c0162'],
    ['octets that are not UTF-8', '300c 310a 3008 0603 550403 0c01ff'],
    ['an IA5String above 127', '300c 310a 3008 0603 550403 1601ff'],
    ['half a BMP character', '300c 310a 3008 0603 550403 1e0161'],
  ])('%s', (_what, hex) => expect(() => parseName(fromHex(hex))).toThrow(MalformedMessage));
});

describe('strings', () => {
  test('the forms that are no Unicode are refused', () => {
    expect(decodeString(DerTag.UNIVERSAL_STRING, fromHex('00110000'))).toBeUndefined();
    expect(decodeString(DerTag.UTF8_STRING, fromHex('c080'))).toBeUndefined();
    expect(decodeString(DerTag.INTEGER, fromHex('05'))).toBeUndefined();
  });

  test('folding is idempotent', () => {
    for (const text of ['  A  B ', 'ﬃ Ⅳ', 'İstanbul', 'straße', 'Ω', '\u00a0x\u3000y'])
      expect(foldString(foldString(text))).toBe(foldString(text));
  });

  test.each([
    ['*', '', true],
    ['*', 'anything', true],
    ['a*c', 'abc', true],
    ['a*c', 'ac', true],
    ['a*c', 'abd', false],
    ['*.example.com', 'a.example.com', true],
    ['*.example.com', 'example.com', false],
    ['a*b*c', 'a-b-b-c', true],
    ['**', 'x', true],
    ['', '', true],
    ['', 'x', false],
    ['abc', 'abcd', false],
  ])('%s fits %s: %s', (pattern, text, expected) => expect(matchesGlob(pattern, text)).toBe(expected));

  test('no pattern makes the search explode', () => {
    expectAtOnce(() => expect(matchesGlob(`${'*a'.repeat(50)}*b`, 'a'.repeat(5000))).toBe(false), 1000);
  });
});
