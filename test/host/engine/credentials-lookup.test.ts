import { describe, expect, test } from 'vitest';
import { concat, DataPlaneError, toHex, utf8 } from '../../../src/core/bytes/index.ts';
import { sha1 } from '../../../src/core/crypto/index.ts';
import { formatPem } from '../../../src/core/pki/index.ts';
import { parseHashAndUrl } from '../../../src/core/wire/index.ts';
import type { CertPayload } from '../../../src/core/wire/payloads/types.ts';
import { CredentialStore } from '../../../src/host/engine/credentials/credentials.ts';
import type { HttpGet } from '../../../src/host/platform/http.ts';
import { type Holder, intermediate, NOW, peer, root } from '../../core/pki/lab.ts';

const PLACE = 'http://pki.example.com/certs/';
const [X509, HASH_AND_URL, HASH_AND_URL_BUNDLE] = [4, 12, 13];

const ca = root();
const sub = intermediate(ca, 'C=CH, O=lab, CN=issuing');
const gateway = peer(sub, 'C=CH, O=lab, CN=gw', ['vpn.example.com']);
const pem = (...holders: readonly Pick<Holder, 'certificate'>[]): string =>
  holders.map(({ certificate }) => formatPem('CERTIFICATE', certificate.der)).join('');
const payload = (encoding: number, data: Uint8Array): CertPayload => ({ kind: 'CERT', encoding, data });
const inPlaceOf = (der: Uint8Array, url = `${PLACE}gw`, encoding = HASH_AND_URL): CertPayload =>
  payload(encoding, concat(sha1(der), utf8(url)));

/** A server that has one file, and what it was asked for. */
function server(file: Uint8Array) {
  const asked: string[] = [];
  const httpGet: HttpGet = async (url) => {
    asked.push(url);
    return file;
  };
  return { asked, httpGet };
}

function storeWith(httpGet: HttpGet | undefined, certificateUrls: string | undefined): CredentialStore {
  const store = new CredentialStore({ httpGet });
  store.addAuthority(pem(ca), { certificateUrls });
  return store;
}

const { der } = gateway.certificate;

describe('certificates that a peer names by hash and URL', () => {
  test('are put in the place of what leads to them; what was found once is not fetched again', async () => {
    const { asked, httpGet } = server(der);
    const store = storeWith(httpGet, PLACE);
    const sent = [inPlaceOf(der), payload(X509, sub.certificate.der)];
    const whole = [payload(X509, der), payload(X509, sub.certificate.der)];
    expect(store.looksUpCertificates).toBe(true);
    expect(await store.lookUp(sent)).toEqual(whole);
    expect(await store.lookUp([inPlaceOf(der, `${PLACE}elsewhere`), sent[1]!])).toEqual(whole);
    expect(asked).toEqual([`${PLACE}gw`]);
  });

  test('two peers that name the same at once make one request', async () => {
    const { asked, httpGet } = server(der);
    const store = storeWith(httpGet, PLACE);
    await Promise.all([store.lookUp([inPlaceOf(der)]), store.lookUp([inPlaceOf(der)])]);
    expect(asked).toHaveLength(1);
  });

  test('a bundle gives all its certificates', async () => {
    const entry = (certificate: Uint8Array): Uint8Array => lengthed(0xa0, certificate);
    const bundle = lengthed(0x30, concat(entry(der), entry(sub.certificate.der)));
    const store = storeWith(server(bundle).httpGet, PLACE);
    expect(await store.lookUp([inPlaceOf(bundle, `${PLACE}gw.bundle`, HASH_AND_URL_BUNDLE)])).toEqual([
      payload(X509, der),
      payload(X509, sub.certificate.der),
    ]);
  });

  test.each([
    ['another server', 'http://10.0.0.1/certs/gw'],
    ['another scheme', 'https://pki.example.com/certs/gw'],
    ['another port', 'http://pki.example.com:81/certs/gw'],
    ['a user in front', 'http://pki.example.com@10.0.0.1/certs/gw'],
    ['a place that begins alike', 'http://pki.example.com/certs2/gw'],
    ['a folder further down', `${PLACE}a/gw`],
    ['a folder further up', `${PLACE}..`],
    ['escapes', `${PLACE}%2e%2e%2fadmin`],
    ['a query', `${PLACE}gw?delete=all`],
    ['the place itself', PLACE],
  ])('%s is not asked', async (_, url) => {
    const { asked, httpGet } = server(der);
    await expect(storeWith(httpGet, PLACE).lookUp([inPlaceOf(der, url)])).rejects.toMatchObject({ code: 'CERTIFICATE_URL_REFUSED' });
    expect(asked).toEqual([]);
  });

  test('five at once are refused, before any is fetched', async () => {
    const { asked, httpGet } = server(der);
    const sent = Array.from({ length: 5 }, (_, i) => inPlaceOf(der, `${PLACE}${i}`));
    await expect(storeWith(httpGet, PLACE).lookUp(sent)).rejects.toMatchObject({ code: 'CERTIFICATE_URL_REFUSED' });
    expect(asked).toEqual([]);
  });

  test('no more than 32 are under way', async () => {
    const waiting: (() => void)[] = [];
    const store = storeWith(() => new Promise((resolve) => waiting.push(() => resolve(der))), PLACE);
    const first = Array.from({ length: 32 }, (_, i) => store.lookUp([inPlaceOf(der, `${PLACE}${i}`)]));
    await expect(store.lookUp([inPlaceOf(der, `${PLACE}32`)])).rejects.toMatchObject({ code: 'CERTIFICATE_NOT_FETCHED' });
    for (const answer of waiting) answer();
    await Promise.all(first);
    expect(await store.lookUp([inPlaceOf(der, `${PLACE}32`)])).toHaveLength(1);
  });

  test('what has another hash does not count, nor is it kept', async () => {
    const store = storeWith(server(sub.certificate.der).httpGet, PLACE);
    for (let i = 0; i < 2; i++)
      await expect(store.lookUp([inPlaceOf(der)])).rejects.toMatchObject({
        code: 'CERTIFICATE_NOT_FETCHED',
        message: expect.stringContaining('SHA-1'),
      });
  });

  test('a server that fails is named with its cause', async () => {
    const failing: HttpGet = async () => {
      throw new DataPlaneError('http://pki.example.com/certs/gw was not fetched: no route', { code: 'HTTP_FAILED', hint: 'Look.' });
    };
    await expect(storeWith(failing, PLACE).lookUp([inPlaceOf(der)])).rejects.toMatchObject({
      code: 'CERTIFICATE_NOT_FETCHED',
      message: expect.stringContaining('no route'),
    });
  });

  test.each([
    ['no URL', payload(HASH_AND_URL, new Uint8Array(20)), 'CERTIFICATE_UNREADABLE'],
    ['a bundle that is none', inPlaceOf(der, `${PLACE}gw`, HASH_AND_URL_BUNDLE), 'CERTIFICATE_UNREADABLE'],
  ])('%s is refused', async (_, sent, code) => {
    await expect(storeWith(server(der).httpGet, PLACE).lookUp([sent])).rejects.toMatchObject({ code });
  });

  test.each([
    ['nobody fetches', storeWith(undefined, PLACE)],
    ['no authority says where they lie', storeWith(server(der).httpGet, undefined)],
  ])('where %s they stay what they are', (_, store) => {
    const sent = [inPlaceOf(der)];
    expect(store.looksUpCertificates).toBe(false);
    expect(store.lookUp(sent)).toBe(sent);
  });
});

describe('our own certificates', () => {
  const ask = (looksUp: boolean) => ({
    kind: 'authenticate' as const,
    connection: 'road',
    auth: { auth: 'pubkey' as const, id: undefined },
    localId: undefined,
    remoteId: undefined,
    octets: () => utf8('octets'),
    prf: 5,
    peerHashes: [2, 3, 4, 5],
    certificateAuthorities: [],
    sendCertificates: true,
    looksUp,
  });

  function certificates(looksUp: boolean, certificateUrls: string | undefined) {
    const store = storeWith(undefined, certificateUrls);
    store.addCertificate(pem(gateway, sub));
    store.addPrivateKey(gateway.key.pem);
    const answer = store.authenticate(ask(looksUp), NOW);
    if (!answer.ok) throw answer.error;
    return answer.certificates;
  }

  test('go as hash and URL where their authority keeps them, to a peer that looks them up', () => {
    const [end, above] = certificates(true, PLACE);
    // the one above was issued by the authority that says where; the end entity by another
    expect(end).toEqual({ encoding: X509, data: der });
    expect(above!.encoding).toBe(HASH_AND_URL);
    const hash = sha1(sub.certificate.der);
    expect(parseHashAndUrl(above!.data)).toEqual({ hash, url: `${PLACE}${toHex(hash)}` });
  });

  test.each([
    [false, PLACE],
    [true, undefined],
  ])('go whole else (the peer looks them up: %s, they lie at %s)', (looksUp, place) => {
    expect(certificates(looksUp, place)).toEqual([
      { encoding: X509, data: der },
      { encoding: X509, data: sub.certificate.der },
    ]);
  });
});

/** DER with a length of two octets. */
function lengthed(tag: number, content: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(tag, 0x82, content.length >> 8, content.length & 0xff), content);
}
