import { describe, expect, test } from 'vitest';
import { fromHex } from '../../../src/core/bytes/index.ts';
import type { Certificate } from '../../../src/core/pki/certificate.ts';
import type { GeneralName } from '../../../src/core/pki/general-name.ts';
import { NameConstraintSet } from '../../../src/core/pki/name-constraints.ts';
import { parseNameText } from '../../../src/core/pki/name-text.ts';
import { peer, root } from './lab.ts';

const dns = (text: string): GeneralName => ({ kind: 'dns', text });
const email = (text: string): GeneralName => ({ kind: 'email', text });
const uri = (text: string): GeneralName => ({ kind: 'uri', text });
const ip = (hex: string): GeneralName => ({ kind: 'ip', octets: fromHex(hex) });
const directory = (text: string): GeneralName => ({ kind: 'directory', name: parseNameText(text) });
const other: GeneralName = { kind: 'other', content: fromHex('0603550403') };

const sample = peer(root(), 'C=CH, O=lab, CN=x', []).certificate;
const holder = (names: readonly GeneralName[], subject = ''): Certificate => ({
  ...sample,
  subject: subject === '' ? { der: fromHex('3000'), parts: [], keys: [] } : parseNameText(subject),
  subjectAltNames: names,
});

/** Whether a certificate with these names may stand below authorities with these constraints. */
function allowed(
  constraints: { permitted?: readonly GeneralName[]; excluded?: readonly GeneralName[] },
  certificate: Certificate,
  leadingDot = true,
): boolean {
  const set = new NameConstraintSet(leadingDot, 1000);
  set.add({ permitted: constraints.permitted ?? [], excluded: constraints.excluded ?? [] });
  return set.check(certificate) === undefined;
}

describe('permitted, excluded', () => {
  test.each([
    // constraint, name, allowed when permitted, allowed when excluded
    [dns('example.com'), dns('example.com'), true, false],
    [dns('example.com'), dns('a.b.Example.COM'), true, false],
    [dns('example.com'), dns('badexample.com'), false, true],
    [dns('example.com'), dns('example.com.evil'), false, true],
    [dns('host.example.com'), dns('example.com'), false, true],
    [dns('example.com'), dns('*.example.com'), true, false],
    [dns('bar.example.com'), dns('*.example.com'), false, false],
    [dns('x.bar.example.com'), dns('*.example.com'), false, true],
    [dns(''), dns('anything'), true, false],
    [dns('.example.com'), dns('a.example.com'), true, false],
    [dns('.example.com'), dns('example.com'), false, true],
    [dns('example.com'), dns('.example.com'), false, false],
    [dns('example.com'), dns('a..example.com'), false, false],
    [dns('*.example.com'), dns('a.example.com'), false, false],
    [email('example.com'), email('a@example.com'), true, false],
    [email('example.com'), email('a@sub.example.com'), false, true],
    [email('.example.com'), email('a@sub.example.com'), true, false],
    [email('.example.com'), email('a@example.com'), false, true],
    [email('a@example.com'), email('a@EXAMPLE.com'), true, false],
    [email('a@example.com'), email('A@example.com'), false, false],
    [email('a@example.com'), email('b@example.com'), false, true],
    [email('example.com'), email('"a"@example.com'), false, false],
    [email('example.com'), email('a@b@example.com'), false, false],
    [email('example.com'), email('no-at'), false, false],
    [email('@example.com'), email('a@example.com'), false, false],
    [uri('example.com'), uri('https://example.com:8443/path?q#f'), true, false],
    [uri('example.com'), uri('https://user@example.com/'), true, false],
    [uri('example.com'), uri('https://example.com@evil.org/'), false, true],
    [uri('example.com'), uri('https://www.example.com/'), false, true],
    [uri('.example.com'), uri('https://www.example.com/'), true, false],
    [uri('example.com'), uri('https://203.0.113.7/'), false, false],
    [uri('example.com'), uri('urn:isbn:1'), false, false],
    [ip('c0000200ffffff00'), ip('c00002ff'), true, false],
    [ip('c0000200ffffff00'), ip('c0000300'), false, true],
    [ip('0000000000000000'), ip('cb007107'), true, false],
    [ip('c0000200ffffff00'), ip('00000000000000000000ffffc0000201'), false, true],
    [ip(`20010db8${'00'.repeat(12)}ffffffff${'00'.repeat(12)}`), ip('20010db8000000000000000000000001'), true, false],
    [directory('C=CH, O=lab'), directory('c=ch, o=LAB, CN=x'), true, false],
    [directory('C=CH, O=lab'), directory('C=CH, O=other'), false, true],
    [other, other, false, false],
  ] as const)('%j and %j', (constraint, name, permitted, excluded) => {
    expect(allowed({ permitted: [constraint] }, holder([name]))).toBe(permitted);
    expect(allowed({ excluded: [constraint] }, holder([name]))).toBe(excluded);
  });

  test('names of other forms are not concerned', () => {
    expect(allowed({ permitted: [dns('example.com')] }, holder([email('a@other.org'), ip('c0000201')], 'CN=anything'))).toBe(true);
    expect(allowed({ permitted: [other] }, holder([dns('example.com')]))).toBe(true);
  });

  test('the subject counts as a directory name, its mail addresses as mail addresses', () => {
    expect(allowed({ permitted: [directory('C=CH')] }, holder([], 'C=CH, CN=x'))).toBe(true);
    expect(allowed({ permitted: [directory('C=CH')] }, holder([directory('C=CH, CN=y')], 'C=DE, CN=x'))).toBe(false);
    expect(allowed({ excluded: [directory('C=DE')] }, holder([directory('C=CH')], 'C=DE, CN=x'))).toBe(false);
    expect(allowed({ permitted: [directory('C=CH')] }, holder([]))).toBe(true);
    expect(allowed({ permitted: [email('example.com')] }, holder([], 'CN=x, E=a@example.org'))).toBe(false);
    expect(allowed({ excluded: [email('example.org')] }, holder([], 'CN=x, E=a@example.org'))).toBe(false);
  });

  test('a leading period of a DNS name is no RFC 5280', () => {
    expect(allowed({ permitted: [dns('.example.com')] }, holder([dns('a.example.com')]), false)).toBe(false);
    expect(allowed({ excluded: [dns('.example.com')] }, holder([dns('other.org')]), false)).toBe(false);
  });

  test('all authorities of a path must permit, and one that excludes suffices', () => {
    const set = new NameConstraintSet(true, 1000);
    set.add({ permitted: [dns('a.example'), dns('b.example')], excluded: [] });
    set.add({ permitted: [dns('b.example'), dns('c.example')], excluded: [dns('secret.b.example')] });
    expect(set.check(holder([dns('x.b.example')]))).toBeUndefined();
    expect(set.check(holder([dns('x.a.example')]))).toContain('not among the permitted names');
    expect(set.check(holder([dns('x.c.example')]))).toContain('not among the permitted names');
    expect(set.check(holder([dns('x.secret.b.example')]))).toContain('is excluded by DNS:secret.b.example');
    expect(set.check(holder([dns('x.b.example'), dns('other')]))).toContain('DNS:other');
  });

  test('comparisons are counted before they are made', () => {
    const set = new NameConstraintSet(true, 10);
    set.add({ permitted: [dns('a'), dns('b'), dns('c')], excluded: [email('x')] });
    expect(set.affords(holder([dns('a'), dns('a'), dns('a'), ip('c0000201')]))).toBe(true);
    expect(set.affords(holder([dns('a')]))).toBe(false);
  });
});
