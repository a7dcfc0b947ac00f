import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openProxy, ProxyUser } from '../../../src/product/reach/index.ts';
import { everything, Scene } from './scene.ts';

describe('the proxy for HTTP', () => {
  let scene: Scene;
  let at: { ip: string; port: number };
  const start = async (user?: ProxyUser): Promise<void> => {
    at = scene.keep(await openProxy({ way: scene.way, at: { ip: '127.0.0.1', port: 0 }, user })).address;
  };
  beforeEach(async () => {
    scene = new Scene();
    await start();
  });
  afterEach(() => scene.end());

  /** In absolute form, as a client asks its proxy. */
  async function ask(url: string, options: object = {}, body?: string): Promise<{ response: IncomingMessage; text: string }> {
    const asking = httpRequest({ host: at.ip, port: at.port, path: url, agent: false, ...options });
    asking.end(body);
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    let text = '';
    for await (const part of response) text += part;
    return { response, text };
  }
  function raw(text: string): Socket {
    const socket = connect({ host: at.ip, port: at.port, allowHalfOpen: true });
    socket.on('error', () => undefined);
    socket.write(text);
    scene.keep({ close: () => socket.destroy() });
    return socket;
  }

  test('carries requests and answers whole, without what is about one connection alone', async () => {
    const big = 'x'.repeat(300_000);
    const port = await scene.http(async (request, response) => {
      let body = '';
      for await (const part of request) body += part;
      response.writeHead(201, {
        'x-seen': JSON.stringify(request.headers),
        connection: 'x-private',
        'x-private': '1',
        'x-path': request.url!,
      });
      response.end(body);
    });
    const headers = { 'proxy-connection': 'keep-alive', connection: 'close, x-mine', 'x-mine': 'no', 'x-kept': 'yes', host: 'other' };
    const { response, text } = await ask(`http://Files.internal:${port}/a%20b?c=1`, { method: 'POST', headers }, big);
    expect({ status: response.statusCode, path: response.headers['x-path'], same: text === big }).toEqual({
      status: 201,
      path: '/a%20b?c=1',
      same: true,
    });
    const seen = JSON.parse(response.headers['x-seen'] as string) as Record<string, string>;
    expect(seen).toMatchObject({ host: `files.internal:${port}`, 'x-kept': 'yes' });
    expect(seen).not.toHaveProperty('x-mine');
    expect(seen).not.toHaveProperty('proxy-connection');
    expect(response.headers).not.toHaveProperty('x-private');
    expect(scene.asked).toEqual([`files.internal:${port}`]);
  });

  test('joins a CONNECT with what came right behind it', async () => {
    const port = await scene.echo();
    const socket = raw(`CONNECT files.internal:${port} HTTP/1.1\r\nHost: x\r\n\r\nearly `);
    socket.end('late');
    expect(await everything(socket)).toBe('HTTP/1.1 200 Connection established\r\n\r\nearly late');
  });

  test('passes an Upgrade on', async () => {
    const port = await scene.tcp((socket) => {
      socket.once('data', (data) => socket.end(`HTTP/1.1 101 Switching Protocols\r\n\r\n${data.toString().split('\r\n')[0]}`));
    });
    const socket = raw(
      `GET http://ws.internal:${port}/chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nProxy-Authorization: secret\r\n\r\n`,
    );
    socket.end();
    expect(await everything(socket)).toBe('HTTP/1.1 101 Switching Protocols\r\n\r\nGET /chat HTTP/1.1');
  });

  test.each([
    ['refused.test', 502],
    ['silent.test', 504],
    ['forbidden.test', 403],
  ])('says why %s is not reached', async (host, status) => {
    const { response, text } = await ask(`http://${host}/`);
    expect({ status: response.statusCode, text }).toEqual({ status, text: expect.stringContaining(`connect ${host}`) });
    expect(await everything(raw(`CONNECT ${host}:443 HTTP/1.1\r\n\r\n`))).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });

  test('wants a whole URL, or a host with its port', async () => {
    expect((await ask('/index.html')).response.statusCode).toBe(400);
    expect((await ask('ftp://a.test/')).response.statusCode).toBe(400);
    for (const where of ['a.test', ':80', 'a.test:0', 'a.test:70000', 'u@a.test:80'])
      expect(await everything(raw(`CONNECT ${where} HTTP/1.1\r\n\r\n`))).toMatch(/^HTTP\/1.1 400 /);
    expect(await everything(raw('what is this\r\n\r\n'))).toMatch(/^HTTP\/1.1 400 /);
    expect(scene.asked).toEqual([]);
  });

  test('with a password lets in who knows it', async () => {
    await start(new ProxyUser('bob', 'se:cret'));
    const port = await scene.http((_request, response) => response.end('inside'));
    const basic = (text: string) => ({ headers: { 'proxy-authorization': `Basic ${btoa(text)}` } });
    expect((await ask(`http://a.test:${port}/`, basic('bob:se:cret'))).text).toBe('inside');
    for (const options of [basic('bob:secret'), basic('bob'), {}, { headers: { 'proxy-authorization': 'Basic %%%' } }]) {
      const { response } = await ask(`http://a.test:${port}/`, options);
      expect([response.statusCode, response.headers['proxy-authenticate']]).toEqual([407, 'Basic realm="tunnelwright", charset="UTF-8"']);
    }
    expect(await everything(raw(`CONNECT a.test:${port} HTTP/1.1\r\n\r\n`))).toMatch(/^HTTP\/1.1 407 .*\r\nProxy-Authenticate: Basic/);
    expect(scene.asked).toHaveLength(1);
  });

  test('an answer that breaks off does not look whole', async () => {
    const port = await scene.tcp((socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')));
    const asking = httpRequest({ host: at.ip, port: at.port, path: `http://a.test:${port}/`, agent: false });
    asking.end();
    const broke = new Promise<string>((resolve) => {
      asking.once('error', (error) => resolve(error.message));
      asking.once('response', (response) => response.resume().once('error', (error) => resolve(error.message)));
    });
    expect(await broke).toMatch(/aborted|hang up/);
  });
});
