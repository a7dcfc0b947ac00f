import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { httpGet } from '../../../src/host/platform/http.ts';

const opened: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0)) await close();
});

/** @returns where it listens */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  opened.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const BOUNDS = { within: 60_000, limit: 1000 };

describe('what lies at an http URL', () => {
  test('is fetched whole', async () => {
    const url = await serve((request, response) => response.end(`${request.method} ${request.url}`));
    expect(Buffer.from(await httpGet(`${url}certs/7f`, BOUNDS)).toString()).toBe('GET /certs/7f');
  });

  test.each([
    ['another status', (_, response) => response.writeHead(404).end('none')],
    ['a redirection, which is not followed', (_, response) => response.writeHead(302, { location: '/other' }).end()],
    ['one octet too many', (_, response) => response.end(new Uint8Array(1001))],
    ['no end of octets', (_, response) => void setInterval(() => response.write(new Uint8Array(500)), 1).unref()],
    ['an answer cut short', (_, response) => response.writeHead(200, { 'content-length': 500 }).write('x', () => response.destroy())],
  ] satisfies [string, RequestListener][])('%s is a failure', async (_, listener) => {
    await expect(httpGet(await serve(listener), BOUNDS)).rejects.toMatchObject({ code: 'HTTP_FAILED' });
  });

  test('a server that says nothing is waited for as long as is said', async () => {
    const url = await serve(() => undefined);
    await expect(httpGet(url, { ...BOUNDS, within: 50 })).rejects.toMatchObject({ code: 'HTTP_SILENT' });
  });

  test('nobody there is a failure', async () => {
    const url = await serve(() => undefined);
    for (const close of opened.splice(0)) await close();
    await expect(httpGet(url, BOUNDS)).rejects.toMatchObject({ code: 'HTTP_FAILED', message: expect.stringContaining(url) });
  });
});
