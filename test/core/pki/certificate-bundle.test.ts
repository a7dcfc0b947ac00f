import { describe, expect, test } from 'vitest';
import { concat, fromHex, MalformedMessage } from '../../../src/core/bytes/index.ts';
import { parseCertificateBundle } from '../../../src/core/pki/index.ts';
import { intermediate, root } from './lab.ts';

const ca = root();
const sub = intermediate(ca, 'C=CH, O=lab, CN=issuing');

/** DER with a length of two octets. */
const der = (tag: number, ...content: Uint8Array[]): Uint8Array => {
  const whole = concat(...content);
  return concat(Uint8Array.of(tag, 0x82, whole.length >> 8, whole.length & 0xff), whole);
};
const CERT = 0xa0;
const CRL = 0xa1;
const SEQUENCE = 0x30;

describe('a bundle of certificates (RFC 7296 §3.6)', () => {
  test('gives its certificates in order; what revokes is passed over', () => {
    const list = der(SEQUENCE, new Uint8Array(300));
    const bundle = der(SEQUENCE, der(CERT, sub.certificate.der), der(CRL, list), der(CERT, ca.certificate.der));
    expect(parseCertificateBundle(bundle)).toEqual([sub.certificate.der, ca.certificate.der]);
  });

  test.each([
    ['nothing', new Uint8Array(0)],
    ['a certificate without the bundle around it', sub.certificate.der],
    ['another kind of entry', der(SEQUENCE, der(0xa2, new Uint8Array(300)))],
    ['an entry cut short', fromHex('3004a0050000')],
    ['octets behind the end', concat(der(SEQUENCE, der(CERT, sub.certificate.der)), Uint8Array.of(0))],
    ['17 entries', der(SEQUENCE, ...Array.from({ length: 17 }, () => der(CERT, new Uint8Array(256))))],
  ])('%s is refused', (_, octets) => {
    expect(() => parseCertificateBundle(octets)).toThrow(MalformedMessage);
  });
});
