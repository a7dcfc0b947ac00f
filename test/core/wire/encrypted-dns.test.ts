import { describe, expect, test } from 'vitest';
import { concat, fromHex, toHex, utf8 } from '../../../src/core/bytes/index.ts';
import {
  type EncryptedResolver,
  formatEncryptedResolver,
  parseDigestRequest,
  parseEncryptedResolver,
  parseResolverDigest,
  writeDigestRequest,
  writeEncryptedResolver,
  writeResolverDigest,
} from '../../../src/core/wire/index.ts';

const NAME = toHex(utf8('doh.example'));
const HEAD = `0001 01 0b c0000235 ${NAME}`;
const octets = (hex: string): Uint8Array => fromHex(hex.replaceAll(' ', ''));

describe('ENCDNS_IP4 and ENCDNS_IP6 (RFC 9464 §3.1)', () => {
  test.each<[string, 4 | 16, EncryptedResolver, string]>([
    [
      `${HEAD} 0001 0004 03 646f74`,
      4,
      { priority: 1, name: 'doh.example', addresses: ['192.0.2.53'], alpn: ['dot'] },
      'dot by doh.example at 192.0.2.53',
    ],
    [
      `0002 02 0b c0000235 c0000236 ${NAME} 0001 0006 02 6832 02 6833 0003 0002 22c3 0007 0010 2f646e732d71756572797b3f646e737d`,
      4,
      {
        priority: 2,
        name: 'doh.example',
        addresses: ['192.0.2.53', '192.0.2.54'],
        alpn: ['h2', 'h3'],
        port: 8899,
        path: '/dns-query{?dns}',
      },
      'h2, h3 by doh.example, port 8899, path /dns-query{?dns}, at 192.0.2.53 192.0.2.54',
    ],
    [
      `ffff 01 0b 20010db8000000000000000000000053 ${NAME} 0001 0004 03 646f71`,
      16,
      { priority: 65_535, name: 'doh.example', addresses: ['2001:db8::53'], alpn: ['doq'] },
      'doq by doh.example at 2001:db8::53',
    ],
  ])('%s', (hex, family, resolver, text) => {
    expect(parseEncryptedResolver(octets(hex), family)).toEqual(resolver);
    expect(toHex(writeEncryptedResolver(resolver))).toBe(hex.replaceAll(' ', ''));
    expect(formatEncryptedResolver(resolver)).toBe(text);
  });

  test('keys that nobody knows are passed over, unless they have to be understood (RFC 9460 §8)', () => {
    expect(parseEncryptedResolver(octets(`${HEAD} 0001 0004 03 646f74 ff00 0003 010203`), 4).alpn).toEqual(['dot']);
    expect(parseEncryptedResolver(octets(`${HEAD} 0000 0002 0001 0001 0004 03 646f74`), 4).alpn).toEqual(['dot']);
    expect(() => parseEncryptedResolver(octets(`${HEAD} 0000 0002 ff00 0001 0004 03 646f74 ff00 0000`), 4)).toThrow('key65280');
  });

  test.each([
    ['nothing at all', ''],
    ['priority 0, which is an alias', `0000 01 0b c0000235 ${NAME} 0001 0004 03 646f74`],
    ['no address', `0001 00 0b ${NAME} 0001 0004 03 646f74`],
    ['fewer addresses than announced', `0001 04 0b c0000235 ${NAME}`],
    ['a name that is cut off', `0001 01 ff c0000235 ${NAME}`],
    ['no name', '0001 01 00 c0000235 0001 0004 03 646f74'],
    ['a name with a terminator', '0001 01 02 c0000235 6100 0001 0004 03 646f74'],
    ['no protocol', HEAD],
    ['a protocol without a name', `${HEAD} 0001 0001 00`],
    ['a protocol longer than its parameter', `${HEAD} 0001 0004 09 646f74`],
    ['a parameter that is cut off', `${HEAD} 0001 0009 03 646f74`],
    ['a key that comes twice', `${HEAD} 0001 0004 03 646f74 0001 0004 03 646f74`],
    ['keys out of order', `${HEAD} 0003 0002 0355 0001 0004 03 646f74`],
    ['a port of one octet', `${HEAD} 0001 0004 03 646f74 0003 0001 35`],
    ['a port of three', `${HEAD} 0001 0004 03 646f74 0003 0003 003535`],
    ['addresses among the parameters', `${HEAD} 0001 0004 03 646f74 0004 0004 c0000235`],
    ['ASCII art in a protocol', `${HEAD} 0001 0003 02 1b5b`],
  ])('%s cannot be used', (_what, hex) => {
    expect(() => parseEncryptedResolver(octets(hex), 4)).toThrow(expect.objectContaining({ code: 'MALFORMED_MESSAGE' }));
  });
});

describe('ENCDNS_DIGEST_INFO (RFC 9464 §3.2)', () => {
  test('a request lists hashes', () => {
    expect(toHex(writeDigestRequest([2, 4]))).toBe('020000020004');
    expect(parseDigestRequest(octets('0200 0002 0004'))).toEqual([2, 4]);
    for (const hex of ['', '01', '0100', '010000', '0100000200', '0200 0002']) expect(parseDigestRequest(octets(hex))).toEqual([]);
  });

  test.each(['doh.example', ''])('a reply holds a digest, of %j', (name) => {
    const digest = { name, hash: 2, digest: new Uint8Array(32).fill(7) };
    const value = writeResolverDigest(digest);
    expect(value).toEqual(concat(Uint8Array.of(1, name.length), utf8(name), Uint8Array.of(0, 2), digest.digest));
    expect(parseResolverDigest(value)).toEqual(digest);
  });

  test.each(['', '00', '0000', '0200 0002', '01ff', '0100 00'])('%s is none', (hex) => {
    expect(() => parseResolverDigest(octets(hex))).toThrow(expect.objectContaining({ code: 'MALFORMED_MESSAGE' }));
  });
});
