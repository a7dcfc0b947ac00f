import { describe, expect, test } from 'vitest';
import {
  certificateIdentities,
  formatIdentity,
  identityMatchesCertificate,
  identityMismatch,
  parseIdentity,
} from '../../../src/core/pki/index.ts';
import { peer, root } from './lab.ts';

const ca = root();
const gateway = peer(ca, 'C=CH, O=lab, CN=cn.example.com, E=mail@example.com', [
  'vpn.example.com',
  '*.wild.example.com',
  'gw@example.com',
  '203.0.113.7',
  '2001:db8::7',
]).certificate;
const nameless = peer(ca, '', ['vpn.example.com']).certificate;
const bare = peer(ca, 'CN=bare', []).certificate;

describe('what a certificate speaks for (RFC 4945 §3.1)', () => {
  test.each([
    ['vpn.example.com', true],
    ['VPN.Example.com', true],
    ['evil.vpn.example.com', false],
    ['cn.example.com', false],
    ['a.wild.example.com', false],
    ['*.wild.example.com', true],
    ['gw@example.com', true],
    ['GW@example.com', true],
    ['mail@example.com', false],
    ['203.0.113.7', true],
    ['fqdn:203.0.113.7', false],
    ['203.0.113.8', false],
    ['2001:db8::7', true],
    ['C=CH, O=lab, CN=cn.example.com, E=mail@example.com', true],
    ['c=ch, o=LAB, cn=CN.example.com, e=MAIL@example.com', true],
    ['C=CH, O=lab, CN=cn.example.com', false],
    ['O=lab, C=CH, CN=cn.example.com, E=mail@example.com', false],
    ['fqdn:vpn.example.\u212aom', false],
    ['keyid:vpn.example.com', false],
    ['{12}:vpn.example.com', false],
    ['fqdn:#', false],
    ['dn:#3000', false],
    ['dn:#ff', false],
  ])('%s: %s', (id, expected) => expect(identityMatchesCertificate(parseIdentity(id), gateway)).toBe(expected));

  test('an empty subject is nobody', () => expect(identityMatchesCertificate(parseIdentity('dn:#3000'), nameless)).toBe(false));

  test.each([
    ['a.wild.example.com', true],
    ['a.b.wild.example.com', false],
    ['wild.example.com', false],
    ['.wild.example.com', false],
    ['vpn.example.com', true],
  ])('a wildcard where it is asked for stands for one label: %s, %s', (id, expected) => {
    expect(identityMatchesCertificate(parseIdentity(`fqdn:${id}`), gateway, { wildcards: true })).toBe(expected);
  });

  test.each(['*', '*.com', 'w*.example.com', '*.*.example.com'])('but %s is no wildcard', (san) => {
    const { certificate } = peer(ca, 'CN=x', [`fqdn:${san}`]);
    for (const id of ['example.com', 'wx.example.com', 'com', 'a.b.example.com']) {
      expect(identityMatchesCertificate(parseIdentity(`fqdn:${id}`), certificate, { wildcards: true })).toBe(false);
    }
  });

  test('all of it can be listed', () => {
    expect(certificateIdentities(gateway).map(formatIdentity)).toEqual([
      'C=CH, O=lab, CN=cn.example.com, E=mail@example.com',
      'vpn.example.com',
      '*.wild.example.com',
      'gw@example.com',
      '203.0.113.7',
      '2001:db8::7',
    ]);
    expect(certificateIdentities(nameless).map(formatIdentity)).toEqual(['vpn.example.com']);
  });
});

describe('a mismatch names what was compared, and what to do', () => {
  const say = (id: string, certificate = gateway) => identityMismatch(parseIdentity(id), certificate);

  test('alternative names', () => {
    const error = say('other.example.com');
    expect(error.code).toBe('IDENTITY_MISMATCH');
    expect(error.message).toBe(
      'the certificate "C=CH, O=lab, CN=cn.example.com, E=mail@example.com" does not speak for other.example.com: ' +
        'it says DNS:vpn.example.com, DNS:*.wild.example.com, email:gw@example.com, IP:203.0.113.7, IP:2001:db8::7',
    );
    expect(error.hint).toBe(
      "Put other.example.com into the certificate's subjectAltName, or use the identity vpn.example.com if that is who is meant.",
    );
  });

  test('no alternative names', () =>
    expect(say('vpn.example.com', bare).message).toContain('"CN=bare" does not speak for vpn.example.com: it has no subjectAltName'));
  test('a subject', () => expect(say('CN=other', bare).message).toContain('does not speak for CN=other: its subject is "CN=bare"'));
  test('a wildcard', () => expect(say('a.wild.example.com').hint).toContain('RFC 4945 §3.1.2 lets no wildcard speak for a peer'));
  test('a key identifier', () => expect(say('keyid:7').hint).toContain('id_from_cert: yes'));

  test('a certificate with very many names', () => {
    const many = peer(
      ca,
      'CN=many',
      Array.from({ length: 50 }, (_, i) => `n${i}.example.com`),
    ).certificate;
    expect(say('x', many).message).toMatch(/DNS:n5\.example\.com, 44 more$/);
  });
});
