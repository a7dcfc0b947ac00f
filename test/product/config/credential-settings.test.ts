import { describe, expect, test } from 'vitest';
import { compile, configFrom } from '../../../src/product/config/index.ts';

const authority = (cert_uri_base: string) =>
  compile(
    configFrom({
      authorities: { lab: { cacert: 'ca.crt', cert_uri_base } },
      connections: { net: { local: { auth: 'pubkey', certs: 'me.crt' }, remote: { auth: 'pubkey' }, children: { net: {} } } },
    }),
  ).credentials.authorities[0]!;

describe('where certificates lie', () => {
  test('certificates lie at the beginning of an http URL, up to a slash', () => {
    expect(authority('http://pki.example.com:8080/certs/').certificateUrls).toBe('http://pki.example.com:8080/certs/');
  });

  test.each([
    'https://pki.example.com/certs/',
    'file:///etc/certs/',
    'http://pki.example.com/certs',
    'http://me@pki.example.com/certs/',
    'http://pki.example.com/certs/?by=hash/',
    'http://pki.example.com/a/../certs/',
    'pki.example.com/certs/',
    'http://',
  ])('%s is none', (base) => {
    expect(() => authority(base)).toThrow(/is not the beginning of an http URL, up to a slash/);
  });
});
