import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Certificate,
  CLIENT_USAGES,
  certificateSigner,
  createCa,
  findPath,
  formatName,
  formatPem,
  GATEWAY_USAGES,
  generateKey,
  type KeyKind,
  keyIdentifier,
  sameName,
  serialText,
} from '../../../src/core/pki/index.ts';
import { parseNameText } from '../../../src/core/pki/name-text.ts';
import { DAY, intermediate, NOW, opensslVersion, peer, root } from './lab.ts';

const KINDS: readonly KeyKind[] = ['ecdsa-p256', 'ecdsa-p384', 'rsa-3072', 'ed25519', 'ed448'];
const pem = (certificate: Certificate): string => formatPem('CERTIFICATE', certificate.der);

describe('what is issued', () => {
  const ca = root('C=CH, O=lab, CN=lab CA', { pathLength: 1 });
  const gateway = peer(ca, 'C=CH, O=lab, CN=gw', ['vpn.example.com', '203.0.113.7', '2001:db8::7', 'gw@example.com', 'dns:203.0.113.7'], {
    usages: GATEWAY_USAGES,
    crlUris: ['http://crl.example.com/lab.crl'],
    ocspUris: ['http://ocsp.example.com/'],
    issuerUris: ['http://example.com/lab.cer'],
  }).certificate;

  test('an authority carries what RFC 5280 demands of one', () => {
    const { certificate } = ca;
    expect(certificate).toMatchObject({ version: 3, basicConstraints: { ca: true, pathLength: 1 }, keyUsage: (1 << 5) | (1 << 6) });
    expect(certificate.subjectKeyIdentifier).toEqual(keyIdentifier(certificate.spki));
    expect(certificate.authorityKeyIdentifier?.keyIdentifier).toEqual(certificate.subjectKeyIdentifier);
    expect(sameName(certificate.issuer, certificate.subject)).toBe(true);
    for (const oid of ['2.5.29.19', '2.5.29.15']) expect(certificate.extensions.get(oid)?.critical).toBe(true);
  });

  test('a gateway carries what Windows, Apple and RFC 4945 demand', () => {
    expect(gateway.extendedKeyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.8.2.2', '1.3.6.1.5.5.7.3.17']);
    expect(gateway.keyUsage).toBe(1);
    expect(gateway.basicConstraints).toEqual({ ca: false, pathLength: undefined });
    expect(gateway.authorityKeyIdentifier?.keyIdentifier).toEqual(ca.certificate.subjectKeyIdentifier);
    const names = new X509Certificate(gateway.der).subjectAltName;
    expect(names).toBe(
      'DNS:vpn.example.com, IP Address:203.0.113.7, IP Address:2001:DB8:0:0:0:0:0:7, email:gw@example.com, DNS:203.0.113.7',
    );
    expect(gateway.crlDistributionPoints?.[0]?.names).toEqual([{ kind: 'uri', text: 'http://crl.example.com/lab.crl' }]);
    expect(gateway.authorityInfoAccess?.map(({ method }) => method)).toEqual(['1.3.6.1.5.5.7.48.1', '1.3.6.1.5.5.7.48.2']);
  });

  test('without a subject the alternative names are critical', () => {
    const { certificate } = peer(ca, '', ['vpn.example.com']);
    expect(formatName(certificate.subject)).toBe('');
    expect(certificate.extensions.get('2.5.29.17')?.critical).toBe(true);
    expect(gateway.extensions.get('2.5.29.17')?.critical).toBe(false);
  });

  test('times from 2050 on are told apart', () => {
    const { certificate } = root('CN=long', { notAfter: Date.UTC(2060, 0, 1) });
    expect(certificate.notAfter).toBe(Date.UTC(2060, 0, 1));
    expect(new X509Certificate(certificate.der).validTo).toContain('2060');
  });

  test('serial numbers are positive and keep their length', () => {
    const { certificate } = root('CN=serial', { serial: new Uint8Array(20).fill(0xff) });
    expect(serialText(certificate)).toBe(`7F${'FF'.repeat(19)}`);
  });

  test('the same request gives the same octets with a deterministic key', () => {
    const { privateKey } = generateKey('ed25519');
    const make = () =>
      createCa({
        name: 'CN=x',
        serial: new Uint8Array(8).fill(7),
        notBefore: NOW,
        notAfter: NOW + DAY,
        signer: certificateSigner(privateKey),
      });
    expect(make().certificate.der).toEqual(make().certificate.der);
  });
});

describe('what is not issued', () => {
  const ca = root();
  test.each([
    ['a certificate for nobody', () => peer(ca, '', []), 'NO_NAME'],
    ['an authority without name', () => root(''), 'NO_NAME'],
    ['one that outlives its authority', () => peer(ca, 'CN=x', [], { notAfter: ca.certificate.notAfter + DAY }), 'OUTLIVES_CA'],
    ['one that ends before it begins', () => peer(ca, 'CN=x', [], { notBefore: NOW, notAfter: NOW }), 'EMPTY_VALIDITY'],
    ['a name with blanks', () => peer(ca, 'CN=x', ['fqdn:two words']), 'NOT_AN_IDENTITY'],
    ['a name that is not ASCII', () => peer(ca, 'CN=x', ['vpn.zürich.example']), 'NOT_AN_IDENTITY'],
    ['a key identifier', () => peer(ca, 'CN=x', ['keyid:7']), 'NOT_AN_IDENTITY'],
    ['a serial number of 7 octets', () => peer(ca, 'CN=x', [], { serial: new Uint8Array(7).fill(1) }), 'API_MISUSE'],
    ['a serial number of zero', () => peer(ca, 'CN=x', [], { serial: new Uint8Array(8) }), 'API_MISUSE'],
    ['with the key of another authority', () => peer({ certificate: ca.certificate, signer: root().signer }, 'CN=x', []), 'API_MISUSE'],
  ])('%s', (_what, issue, code) => expect(issue).toThrow(expect.objectContaining({ code })));

  test('a parsed name is taken as it is', () => {
    const name = parseNameText('C=CH, O=lab, CN=taken');
    expect(root(undefined, { name }).certificate.subject.der).toEqual(name.der);
  });
});

describe('our own path validation takes it, strictly', () => {
  test.each(KINDS)('%s', (kind) => {
    const ca = root('C=CH, O=lab, CN=lab CA', { kind });
    const sub = intermediate(ca, 'C=CH, O=lab, CN=issuing', { pathLength: 0, permittedNames: ['example.com'] });
    const leaf = peer(sub, 'C=CH, O=lab, CN=gw', ['vpn.example.com'], { kind, usages: GATEWAY_USAGES });
    const result = findPath(leaf.certificate, { anchors: [ca.certificate], intermediates: [sub.certificate], at: NOW, strict: true });
    expect(result).toMatchObject({ ok: true });
  });
});

const openssl = opensslVersion();
describe.skipIf(openssl === undefined)(`openssl verify -x509_strict (${openssl ?? 'needs openssl'})`, () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'issuing-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const file = (name: string, content: string): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const verify = (ca: Certificate, chain: readonly Certificate[], leaf: Certificate, ...options: string[]): string => {
    const paths = [file('ca.pem', pem(ca)), file('chain.pem', chain.map(pem).join('')), file('leaf.pem', pem(leaf))] as const;
    const untrusted = chain.length > 0 ? ['-untrusted', paths[1]] : [];
    const { stdout, stderr } = spawnSync(
      'openssl',
      ['verify', '-x509_strict', '-check_ss_sig', '-attime', String(NOW / 1000), ...options, '-CAfile', paths[0], ...untrusted, paths[2]],
      { encoding: 'utf8' },
    );
    return (stdout + stderr).replaceAll(paths[2], 'leaf');
  };

  test.each(KINDS)('%s', (kind) => {
    const ca = root('C=CH, O=lab, CN=lab CA', { kind });
    const sub = intermediate(ca, 'C=CH, O=lab, CN=issuing', { pathLength: 0 });
    const leaf = peer(sub, 'C=CH, O=lab, CN=gw', ['vpn.example.com', '203.0.113.7'], { kind, usages: GATEWAY_USAGES });
    expect(
      verify(ca.certificate, [sub.certificate], leaf.certificate, '-purpose', 'sslserver', '-verify_hostname', 'vpn.example.com'),
    ).toBe('leaf: OK\n');
    const user = peer(sub, 'C=CH, O=lab, CN=alice', ['alice@example.com'], { kind, usages: CLIENT_USAGES });
    expect(verify(ca.certificate, [sub.certificate], user.certificate, '-purpose', 'sslclient', '-verify_email', 'alice@example.com')).toBe(
      'leaf: OK\n',
    );
  });

  test('without subject, with name constraints', () => {
    const ca = root('CN=lab CA', { permittedNames: ['example.com'] });
    expect(verify(ca.certificate, [], peer(ca, '', ['vpn.example.com']).certificate)).toBe('leaf: OK\n');
    expect(verify(ca.certificate, [], peer(ca, 'CN=x', ['vpn.example.org']).certificate)).toContain('permitted subtree violation');
  });

  test('a printed name is what openssl prints', () => {
    const { certificate } = root('C=CH, O=lab\\, Inc., CN=Zürich');
    const printed = execFileSync('openssl', ['x509', '-noout', '-subject', '-nameopt', 'RFC2253,-esc_msb,utf8'], {
      input: pem(certificate),
      encoding: 'utf8',
    });
    expect(
      printed
        .trim()
        .split(/=(.*)/s)[1]
        ?.split(/(?<!\\),/)
        .reverse()
        .join(', '),
    ).toBe(formatName(certificate.subject));
  });
});
