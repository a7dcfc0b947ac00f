import { describe, expect, test } from 'vitest';
import { ConfigError, fromHex, toHex, utf8 } from '../../../src/core/bytes/index.ts';
import { formatIdentity, identityTypeName, parseIdentity } from '../../../src/core/pki/identity.ts';
import {
  formatIdentityPattern,
  matchIdentity,
  matchStrength,
  parseIdentityPattern,
  sameIdentity,
} from '../../../src/core/pki/identity-pattern.ts';
import { parseNameText } from '../../../src/core/pki/name-text.ts';

const dn = (text: string) => parseNameText(text).der;

describe('identities as swanctl.conf writes them', () => {
  test.each([
    ['203.0.113.7', 1, fromHex('cb007107')],
    ['2001:db8::1', 5, fromHex('20010db8000000000000000000000001')],
    ['vpn.example.com', 2, utf8('vpn.example.com')],
    ['@vpn.example.com', 2, utf8('vpn.example.com')],
    ['alice@example.com', 3, utf8('alice@example.com')],
    ['@@alice@example.com', 3, utf8('alice@example.com')],
    ['@#0A1b2c', 11, fromHex('0a1b2c')],
    ['C=CH, O=lab, CN=left', 9, dn('C=CH, O=lab, CN=left')],
    ['/C=CH/E=moon@strongswan.org/CN=moon', 9, dn('C=CH, E=moon@strongswan.org, CN=moon')],
    ['keyid:plant 7', 11, utf8('plant 7')],
    ['keyid:#00ff', 11, fromHex('00ff')],
    ['fqdn:203.0.113.7', 2, utf8('203.0.113.7')],
    ['dns:vpn', 2, utf8('vpn')],
    ['email:tester', 3, utf8('tester')],
    ['rfc822:a@b', 3, utf8('a@b')],
    ['userfqdn:a@b', 3, utf8('a@b')],
    ['ipv4:203.0.113.7', 1, fromHex('cb007107')],
    ['ipv4:#c0a80101', 1, fromHex('c0a80101')],
    ['ipv6:2001:db8::1', 5, fromHex('20010db8000000000000000000000001')],
    ['dn:CN=x', 9, dn('CN=x')],
    ['asn1dn:#3000', 9, fromHex('3000')],
    ['asn1gn:#8201 61', 10, undefined],
    ['asn1gn:#820161', 10, fromHex('820161')],
    ['{99}:somedata', 99, utf8('somedata')],
    ['{12}:#0102', 12, fromHex('0102')],
    ['FQDN:Upper', 2, utf8('Upper')],
    ['some:thing', 11, utf8('some:thing')],
    ['10.1', 2, utf8('10.1')],
    ['  vpn.example.com\n', 2, utf8('vpn.example.com')],
  ])('%s', (text, idType, data) => {
    if (data === undefined) expect(() => parseIdentity(text)).toThrow(ConfigError);
    else expect(parseIdentity(text)).toEqual({ idType, data });
  });

  test.each([
    ['', /stands for any identity/],
    ['%any', /stands for any identity/],
    ['*', /stands for any identity/],
    ['@#0', /not hex/],
    ['fqdn:#xyz', /not hex/],
    ['ipv4:2001:db8::1', /not an address of that family/],
    ['ipv6:1.2.3.4', /not an address of that family/],
    ['ipv4:#0102', /not an address of that family/],
    ['192.0.2.0/24', /range of addresses/],
    ['192.0.2.1-192.0.2.9', /range of addresses/],
    ['two words', /blanks inside/],
    ['key=value', /not an attribute type/],
    ['asn1gn:vpn', /written in hex/],
    // RFC 7296 §3.5: no terminators
    ['vpn.example.com\u0000', /control characters/],
    ['fqdn:vpn\r\nx', /control characters/],
    ['alice@example.com\u0000x', /control characters/],
    ['email:alice\nbob', /control characters/],
  ])('%j is none, and says why', (text, why) => {
    expect(() => parseIdentity(text)).toThrow(why);
    expect(() => parseIdentity(text)).toThrow(expect.objectContaining({ hint: expect.stringMatching(/\.$/) }));
  });
});

describe('identities for people', () => {
  test.each([
    [{ idType: 1, data: fromHex('cb007107') }, '203.0.113.7'],
    [{ idType: 2, data: utf8('vpn.example.com') }, 'vpn.example.com'],
    [{ idType: 2, data: utf8('203.0.113.7') }, 'fqdn:203.0.113.7'],
    [{ idType: 2, data: utf8('a@b') }, 'fqdn:a@b'],
    [{ idType: 3, data: utf8('alice@example.com') }, 'alice@example.com'],
    [{ idType: 3, data: utf8('tester') }, 'email:tester'],
    [{ idType: 9, data: dn('C=CH, CN=x\\, y') }, 'C=CH, CN=x\\, y'],
    [{ idType: 9, data: fromHex('3000') }, 'dn:#3000'],
    [{ idType: 9, data: fromHex('ff') }, 'dn:#ff'],
    [{ idType: 11, data: utf8('plant 7') }, 'keyid:plant 7'],
    [{ idType: 11, data: fromHex('00ff') }, 'keyid:#00ff'],
    [{ idType: 11, data: utf8('#x') }, 'keyid:#2378'],
    [{ idType: 12, data: utf8('x') }, '{12}:x'],
    [{ idType: 13, data: new Uint8Array() }, '%null'],
    [{ idType: 2, data: utf8('evil\u001b[2J') }, 'fqdn:#6576696c1b5b324a'],
    [{ idType: 1, data: fromHex('0102') }, 'ipv4:#0102'],
  ])('%j is shown as %s', (id, text) => expect(formatIdentity(id)).toBe(text));

  test('what is shown is read back, whatever a peer sent', () => {
    let seed = 1;
    const random = () => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed;
    };
    for (let i = 0; i < 2000; i++) {
      const idType = [2, 3, 11, 12, 200][random() % 5]!;
      const printable = random() % 2 === 0;
      const data = Uint8Array.from({ length: random() % 12 }, () => (printable ? 0x20 + (random() % 95) : random() % 256));
      expect(parseIdentity(formatIdentity({ idType, data }))).toEqual({ idType, data });
    }
  });

  test('types have names', () => {
    expect([1, 2, 3, 5, 9, 11, 12].map(identityTypeName)).toEqual(['ipv4', 'fqdn', 'email', 'ipv6', 'dn', 'keyid', 'id type 12']);
  });
});

describe('patterns', () => {
  test.each([
    ['%any', 'vpn.example.com', 1],
    ['*', 'C=CH, CN=x', 1],
    ['vpn.example.com', 'VPN.example.com', 3],
    ['vpn.example.com', 'evil.vpn.example.com', 0],
    ['vpn.example.com', 'vpn.example.com.evil', 0],
    ['*.example.com', 'a.example.com', 2],
    ['*.example.com', 'a.b.EXAMPLE.com', 2],
    ['*.example.com', 'example.com', 0],
    ['*.example.com', 'badexample.com', 0],
    ['*.example.com', 'email:x.example.com', 0],
    ['*@example.com', 'alice@Example.com', 2],
    ['*@example.com', 'alice@sub.example.com', 0],
    ['alice@example.com', 'Alice@example.com', 3],
    ['fqdn:*.example.com', 'fqdn:a.example.com', 2],
    ['keyid:branch-*', 'keyid:branch-7', 2],
    ['keyid:branch-*', 'keyid:Branch-7', 0],
    ['keyid:branch', 'keyid:Branch', 0],
    ['203.0.113.7', '203.0.113.7', 3],
    ['192.0.2.0/24', '192.0.2.255', 2],
    ['192.0.2.77/24', '192.0.2.0', 2],
    ['192.0.2.0/24', '192.0.3.0', 0],
    ['0.0.0.0/0', '255.255.255.255', 2],
    ['192.0.2.1-192.0.2.9', '192.0.2.9', 2],
    ['192.0.2.1-192.0.2.9', '192.0.2.10', 0],
    ['2001:db8::/33', '2001:db8:7fff::1', 2],
    ['2001:db8::/33', '2001:db8:8000::1', 0],
    ['192.0.2.0/24', 'ipv4:#c00002', 'bad'],
    ['C=CH, O=lab, CN=left', 'c=CH, O=LAB, cn=Left', 3],
    ['C=CH, O=lab, CN=left', 'C=CH, O=lab', 0],
    ['C=CH, O=lab, CN=*', 'C=CH, O=lab, CN=right', 2],
    ['C=CH, O=lab, CN=*', 'C=CH, O=lab, CN=right, OU=x', 0],
    ['C=CH, O=lab, CN=*', 'O=lab, C=CH, CN=right', 0],
    ['C=CH, O=*, CN=*.lab', 'C=CH, O=x, CN=gw.lab', 2],
    ['O=lab, OU=eng, *', 'C=CH, O=Lab, OU=Eng, CN=joe', 2],
    ['O=lab, OU=eng, *', 'OU=eng, O=lab', 2],
    ['O=lab, OU=eng, *', 'O=lab, CN=joe', 0],
    ['OU=a, OU=b, *', 'OU=a, CN=x', 0],
    ['O=lab, *', 'lab', 0],
    ['dn:CN=*', 'CN=x', 2],
    ['CN=a + CN=*', 'CN=a + CN=b', 2],
    ['CN=a + CN=*', 'CN=a + OU=b', 0],
  ])('%s takes %s: %s', (pattern, id, strength) => {
    if (strength === 'bad') return expect(() => parseIdentity(id)).toThrow();
    const compiled = parseIdentityPattern(pattern);
    expect(matchStrength(compiled, parseIdentity(id))).toBe(strength);
    expect(matchIdentity(compiled, parseIdentity(id))).toBe(strength !== 0);
    expect(parseIdentityPattern(formatIdentityPattern(compiled))).toEqual(compiled);
  });

  test.each([
    ['ID_IPV4_ADDR', '192.0.2.7', 1, fromHex('c0000207')],
    ['ID_FQDN', 'vpn.example.com', 2, utf8('vpn.example.com')],
    ['ID_RFC822_ADDR', 'alice@example.com', 3, utf8('alice@example.com')],
    ['ID_KEY_ID', 'keyid:plant 7', 11, utf8('plant 7')],
    ['ID_IPV6_ADDR', '2001:db8::7', 5, fromHex('20010db8000000000000000000000007')],
  ])('%s can be asked of a peer (RFC 7296 §3.5)', (_type, text, idType, data) => {
    expect(matchStrength(parseIdentityPattern(text), { idType, data })).toBe(3);
    expect(matchStrength(parseIdentityPattern(text), { idType: 200, data })).toBe(0);
  });

  test('an address of the wrong length fits no range', () => {
    const range = parseIdentityPattern('192.0.2.0/24');
    expect(matchIdentity(range, { idType: 1, data: fromHex('c00002') })).toBe(false);
    expect(matchIdentity(range, { idType: 1, data: fromHex('c000020100') })).toBe(false);
  });

  test('octets that are no name fit no name', () => {
    const pattern = parseIdentityPattern('CN=*');
    expect(matchIdentity(pattern, { idType: 9, data: fromHex('30ff') })).toBe(false);
    expect(matchIdentity(pattern, { idType: 9, data: new Uint8Array() })).toBe(false);
    expect(matchIdentity(parseIdentityPattern('dn:CN=x, *'), { idType: 9, data: parseIdentityPatternDer('CN=x, *') })).toBe(false);
  });

  test.each(['192.0.2.0/33', '192.0.2.9-192.0.2.1', '192.0.2.1-2001:db8::1', '192.0.2.1-', 'ipv4:192.0.2.*', 'two words*', '', 'CN=a, O'])(
    '%j is none',
    (text) => {
      expect(() => parseIdentityPattern(text)).toThrow(ConfigError);
    },
  );

  test.each(['C=CH, O=lab, CN=left', '/C=CH/CN=left', 'dn:CN=left', 'dn:#30ff'])('%s names one identity', (text) => {
    expect(parseIdentityPattern(text)).toEqual({ kind: 'exact', id: parseIdentity(text) });
    expect(matchStrength(parseIdentityPattern(text), parseIdentity(text))).toBe(3);
  });

  test('a star makes a wildcard of its type', () => {
    expect(parseIdentityPattern('*.example.com')).toEqual({ kind: 'wildcard', idType: 2, pattern: '*.example.com' });
  });
});

describe('sameness', () => {
  test('only ASCII letters have two cases', () => {
    const kelvin = { idType: 2, data: utf8('vpn.\u212a.example') };
    expect(sameIdentity(kelvin, parseIdentity('vpn.k.example'))).toBe(false);
    expect(matchIdentity(parseIdentityPattern('*.k.example'), kelvin)).toBe(false);
  });

  test('octets that are no UTF-8 are the same only when they are the same', () => {
    const [a, b] = [fromHex('ff'), fromHex('fe')].map((data) => ({ idType: 2, data })) as [
      { idType: number; data: Uint8Array },
      { idType: number; data: Uint8Array },
    ];
    expect(sameIdentity(a, b)).toBe(false);
    expect(sameIdentity(a, { ...a, data: fromHex('ff') })).toBe(true);
    expect(matchIdentity({ kind: 'wildcard', idType: 2, pattern: '*' }, a)).toBe(false);
  });

  test.each([
    ['vpn.example.com', 'VPN.EXAMPLE.COM', true],
    ['a@b', 'A@B', true],
    ['a@b', 'fqdn:a@b', false],
    ['keyid:a', 'keyid:A', false],
    ['C=CH, CN=x', 'c=ch, cn=X', true],
    ['C=CH, CN=x', 'CN=x, C=CH', false],
  ])('%s and %s: %s', (a, b, same) => expect(sameIdentity(parseIdentity(a), parseIdentity(b))).toBe(same));
});

function parseIdentityPatternDer(text: string): Uint8Array {
  const pattern = parseIdentityPattern(text);
  if (pattern.kind !== 'dn') throw new Error('not a name');
  expect(toHex(pattern.pattern)).toMatch(/3100$/);
  return pattern.pattern;
}
