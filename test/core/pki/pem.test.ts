import { describe, expect, test } from 'vitest';
import { MalformedMessage } from '../../../src/core/bytes/index.ts';
import { decodeBase64, encodeBase64, formatPem, parsePem } from '../../../src/core/pki/pem.ts';

describe('base64 (RFC 4648 §4)', () => {
  test('every length comes back, as node has it', () => {
    for (let length = 0; length < 100; length++) {
      const octets = Uint8Array.from({ length }, (_, i) => (i * 37 + length) % 256);
      expect(encodeBase64(octets)).toBe(Buffer.from(octets).toString('base64'));
      expect(decodeBase64(encodeBase64(octets))).toEqual(octets);
    }
  });

  test.each(['A', 'AB', 'AAA', 'A===', 'AA=A', '====', 'AA A', 'AA-_'])('%j is none', (text) => expect(decodeBase64(text)).toBeUndefined());
});

describe('PEM (RFC 7468)', () => {
  const octets = Uint8Array.from({ length: 100 }, (_, i) => i);

  test('what is written is read, with CRLF and text around too', () => {
    const pem = formatPem('CERTIFICATE', octets);
    expect(Math.max(...pem.split('\n').map((line) => line.length))).toBe(64);
    for (const text of [pem, pem.replaceAll('\n', '\r\n'), `subject=x\n${pem}\ntrailer`, pem.replaceAll('\n', '\n  ')]) {
      expect(parsePem(text)).toEqual([{ label: 'CERTIFICATE', der: octets }]);
    }
  });

  test('blocks of several kinds in a row', () => {
    expect(parsePem(formatPem('CERTIFICATE', octets) + formatPem('EC PRIVATE KEY', octets)).map(({ label }) => label)).toEqual([
      'CERTIFICATE',
      'EC PRIVATE KEY',
    ]);
    expect(parsePem('no blocks')).toEqual([]);
  });

  test.each([
    ['that does not end', '-----BEGIN X-----\nAAAA\n', /X that begins on line 1 does not end/],
    ['that ends as another', '-----BEGIN X-----\nAAAA\n-----END Y-----\n', /does not end/],
    ['that is not base64', '\n-----BEGIN X-----\nA*AA\n-----END X-----\n', /X that begins on line 2 is not base64/],
    ['with headers inside', '-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END X-----\n', /not base64/],
    ['that is empty', '-----BEGIN X-----\n-----END X-----\n', /not base64/],
  ])('a block %s is refused', (_what, text, why) => {
    expect(() => parsePem(text)).toThrow(MalformedMessage);
    expect(() => parsePem(text)).toThrow(why);
  });
});
