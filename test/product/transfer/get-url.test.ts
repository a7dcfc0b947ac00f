import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DataPlaneError } from '../../../src/core/bytes/index.ts';
import { certificateSigner, generateKey } from '../../../src/core/crypto/certificate-signing.ts';
import { createCa, formatPem, GATEWAY_USAGES, issueCertificate } from '../../../src/core/pki/index.ts';
import { getUrl } from '../../../src/product/transfer/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { Scene } from '../reach/scene.ts';
import { folder, ONCE, QUICK, sha256 } from './scene.ts';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

const DATA = new SeededRandom('url').bytes(3 * 2 ** 20 + 5);

/** A file with a strong tag and ranges, as any web server serves it. */
const serving: RequestListener = (request, response) => {
  const [, start, end] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const [from, to] = [Number(start ?? 0), end === undefined || end === '' ? DATA.length : Number(end) + 1];
  response.writeHead(start === undefined ? 200 : 206, {
    'Accept-Ranges': 'bytes',
    ETag: '"v1"',
    'Content-Length': to - from,
    ...(start !== undefined && { 'Content-Range': `bytes ${from}-${to - 1}/${DATA.length}` }),
  });
  response.end(request.method === 'HEAD' ? undefined : DATA.subarray(from, to));
};

const redirecting =
  (location: string): RequestListener =>
  (_request, response) =>
    void response.writeHead(302, { location }).end();

/** With a certificate for that name, of an authority made for it. */
async function secure(name: string, listener: RequestListener) {
  const validity = { notBefore: Date.now() - 3_600_000, notAfter: Date.now() + 3_600_000 };
  const caKey = generateKey('ecdsa-p256');
  const signer = certificateSigner(caKey.privateKey);
  const ca = createCa({ name: 'CN=Test', serial: randomBytes(16), signer, ...validity, notAfter: validity.notAfter + 3_600_000 });
  const key = generateKey('ecdsa-p256');
  const issued = issueCertificate({
    ca,
    subject: `CN=${name}`,
    sans: [name],
    publicKey: key.spki,
    usages: GATEWAY_USAGES,
    serial: randomBytes(16),
    ...validity,
  });
  const server = createServer({ cert: formatPem('CERTIFICATE', issued.der), key: key.pem }, listener);
  scene.keep({
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  return { port: address !== null && typeof address === 'object' ? address.port : 0, ca: formatPem('CERTIFICATE', ca.certificate.der) };
}

describe('what a URL names', () => {
  test('comes through the way, by several connections, under its own name', async () => {
    const port = await scene.http(serving);
    const to = folder();
    const got = await getUrl({ way: scene.way, url: `http://files.internal:${port}/pub/disk%20image.iso?v=1#top`, to, ...QUICK });
    expect(got).toMatchObject({ path: join(to, 'disk image.iso'), bytes: DATA.length, sha256: sha256(DATA) });
    expect(new Set(scene.asked)).toEqual(new Set([`files.internal:${port}`]));
    // two to ask what there is and where, four for the ranges
    expect(scene.asked).toHaveLength(6);
  });

  test('over TLS, where the certificate is for that name and of an authority that is trusted', async () => {
    const { port, ca } = await secure('files.internal', serving);
    const to = folder();
    const got = await getUrl({ way: scene.way, url: `https://files.internal:${port}/file.iso`, to, ca, ...QUICK });
    expect(readFileSync(got.path).equals(DATA)).toBe(true);
    await expect(getUrl({ way: scene.way, url: `https://files.internal:${port}/file.iso`, to, ...QUICK })).rejects.toMatchObject({
      name: 'CertificateFailure',
      code: 'TLS_CERTIFICATE',
      hint: expect.stringContaining('--ca FILE'),
    });
    await expect(getUrl({ way: scene.way, url: `https://other.internal:${port}/file.iso`, to, ca, ...QUICK })).rejects.toMatchObject({
      code: 'TLS_CERTIFICATE',
      hint: expect.stringContaining('the name in its certificate'),
    });
  });

  test('redirected it keeps the name that was asked for', async () => {
    const there = await scene.http(serving);
    const port = await scene.http(redirecting(`http://mirror.internal:${there}/x/4711`));
    const to = folder();
    const got = await getUrl({ way: scene.way, url: `http://files.internal:${port}/file.iso`, to, ...QUICK });
    expect(got.path).toBe(join(to, 'file.iso'));
    expect(scene.asked).toContain(`mirror.internal:${there}`);
  });

  test('redirected without end, or from TLS to none, it is not got', async () => {
    const to = folder();
    const round = await scene.http(redirecting('/again'));
    await expect(getUrl({ way: scene.way, url: `http://a.internal:${round}/f`, to, ...QUICK })).rejects.toMatchObject({
      code: 'TRANSFER_PROTOCOL',
      message: expect.stringContaining('without end'),
    });
    const { port, ca } = await secure('a.internal', redirecting('http://b.internal/f'));
    await expect(getUrl({ way: scene.way, url: `https://a.internal:${port}/f`, to, ca, ...QUICK })).rejects.toMatchObject({
      code: 'TRANSFER_FORBIDDEN',
    });
    expect(scene.asked).not.toContain('b.internal:80');
    expect(readdirSync(to)).toEqual([]);
  });

  test.each([
    ['ftp://a.internal/f', 'no URL of HTTP'],
    ['https://alice:secret@a.internal/f', 'a password in it'],
  ])('%s: refused before anybody is asked', async (url, message) => {
    const failed = getUrl({ way: scene.way, url, to: folder(), ...QUICK });
    await expect(failed).rejects.toMatchObject({ code: 'TRANSFER_BAD_PATH', message: expect.stringContaining(message) });
    await expect(failed).rejects.not.toMatchObject({ message: expect.stringContaining('secret') });
    expect(scene.asked).toEqual([]);
  });

  test('nobody there is said as the way says it, at once; what the server refuses, as it says it', async () => {
    await expect(getUrl({ way: scene.way, url: 'http://refused.test/f', to: folder(), ...QUICK })).rejects.toBeInstanceOf(DataPlaneError);
    const port = await scene.http((_request, response) => void response.writeHead(404).end());
    await expect(getUrl({ way: scene.way, url: `http://a.internal:${port}/f`, to: folder(), ...ONCE })).rejects.toMatchObject({
      code: 'TRANSFER_NOT_FOUND',
    });
  });

  test('no path of a URL names a file outside', async () => {
    const port = await scene.http(serving);
    for (const path of ['/', '/%2e%2e%2fup', '/a%2f..%2f..%2fup', '/a%00b'])
      await expect(getUrl({ way: scene.way, url: `http://a.internal:${port}${path}`, to: folder(), ...QUICK })).rejects.toMatchObject({
        code: 'TRANSFER_BAD_PATH',
      });
  });
});
