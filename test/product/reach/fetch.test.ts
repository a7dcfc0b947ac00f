import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createFetch, DatagramSocket, type RemoteInfo, WayAgent } from '../../../src/product/reach/index.ts';
import { Scene } from './scene.ts';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

describe('fetch through a way', () => {
  test('asks by name, and gives what the standard says', async () => {
    const port = await scene.http((request, response) => {
      response.writeHead(
        200,
        [
          ['set-cookie', 'a=1'],
          ['set-cookie', 'b=2'],
          ['content-encoding', 'gzip'],
        ].flat(),
      );
      response.end(gzipSync(`${request.method} ${request.url} ${request.headers.host}`));
    });
    const response = await createFetch(scene.way)(`http://files.internal:${port}/a?b#c`);
    expect([response.status, response.ok, response.url, response.headers.getSetCookie()]).toEqual([
      200,
      true,
      `http://files.internal:${port}/a?b#c`,
      ['a=1', 'b=2'],
    ]);
    expect(await response.text()).toBe(`GET /a?b files.internal:${port}`);
    expect(scene.asked).toEqual([`files.internal:${port}`]);
  });

  test('follows redirects with the method and body that are due, and leaves credentials with their origin', async () => {
    const seen: string[] = [];
    const other = await scene.http(async (request, response) => {
      let body = '';
      for await (const part of request) body += part;
      seen.push(`${request.method} ${body} ${request.headers.authorization} ${request.headers['x-kept']}`);
      response.end('there');
    });
    const first = await scene.http((request, response) => {
      const status = Number(request.url!.slice(1));
      response.writeHead(status, { location: `http://other.internal:${other}/` }).end();
    });
    const fetch = createFetch(scene.way);
    for (const status of [302, 303, 307]) {
      const headers = { authorization: 'secret', 'x-kept': 'yes' };
      const response = await fetch(`http://a.internal:${first}/${status}`, { method: 'POST', body: 'octets', headers });
      expect([await response.text(), response.redirected]).toEqual(['there', true]);
    }
    expect(seen).toEqual(['GET  undefined yes', 'GET  undefined yes', 'POST octets undefined yes']);
    expect((await fetch(`http://a.internal:${first}/302`, { redirect: 'manual' })).status).toBe(302);
    await expect(fetch(`http://a.internal:${first}/302`, { redirect: 'error' })).rejects.toThrow(/redirects/);
  });

  test('that ends nowhere rejects: no end of redirects, nobody there, another protocol, an abort', async () => {
    const port = await scene.http((_request, response) => void response.writeHead(302, { location: '/' }).end());
    const fetch = createFetch(scene.way);
    await expect(fetch(`http://a.internal:${port}/`)).rejects.toThrow(/without end/);
    await expect(fetch('http://refused.test/')).rejects.toMatchObject({ name: 'TypeError', cause: { code: 'ECONNREFUSED' } });
    await expect(fetch('ftp://a.internal/')).rejects.toThrow(/http and https/);
    const silent = await scene.http(() => undefined);
    await expect(fetch(`http://a.internal:${silent}/`, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      name: 'TimeoutError',
    });
  });
});

test('an agent of node:http uses a connection again', async () => {
  const port = await scene.http((_request, response) => response.end('ok'));
  const agent = new WayAgent(scene.way);
  for (let i = 0; i < 3; i++) {
    const asking = httpRequest({ host: 'files.internal', port, agent });
    asking.end();
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    for await (const _part of response);
  }
  agent.destroy();
  expect(scene.asked).toEqual([`files.internal:${port}`]);
});

test('a datagram socket looks like that of node:dgram', async () => {
  const [left, right] = [new DatagramSocket(await scene.way.openUdp()), new DatagramSocket(await scene.way.openUdp())];
  right.on('message', (data: Uint8Array, from: RemoteInfo) => right.send(data, from.port, from.address));
  await new Promise((resolve) => left.send('hello', right.address().port, '127.0.0.1', resolve));
  const [data, from] = (await once(left, 'message')) as [Uint8Array, RemoteInfo];
  expect([String(data), from]).toEqual(['hello', { address: '127.0.0.1', family: 'IPv4', port: right.address().port, size: 5 }]);
  right.close();
  await new Promise<void>((resolve) => void left.close(resolve));
  await expect(new Promise((_resolve, reject) => left.send('x', 1, '127.0.0.1', (error) => reject(error)))).rejects.toThrow(/closed/);
});
