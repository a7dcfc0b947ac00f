import { createServer, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { TunnelwrightError, utf8 } from '../../core/bytes/index.ts';
import { join } from '../../host/platform/join.ts';
import type { Way } from '../../host/platform/way.ts';
import { WayAgent } from './agents.ts';
import type { ProxyUser } from './proxy-user.ts';

export interface HttpProxyOptions {
  readonly way: Way;
  readonly user?: ProxyUser | undefined;
  readonly onFailure?: ((target: string, error: unknown) => void) | undefined;
}

/** A proxy for HTTP/1.1: CONNECT (RFC 9110 §9.3.6) for everything, and requests for `http:` URLs in absolute form (RFC 9112 §3.2.2). */
export class HttpProxy {
  readonly #options: HttpProxyOptions;
  readonly #server = createServer({ headersTimeout: 30_000, requestTimeout: 0, keepAliveTimeout: 30_000, maxHeaderSize: 32 * 1024 });
  readonly #agent: WayAgent;

  constructor(options: HttpProxyOptions) {
    this.#options = options;
    this.#agent = new WayAgent(options.way);
    this.#server.on('connect', (request, socket, head) => void this.#connect(request, socket as Duplex, head));
    this.#server.on('upgrade', (request, socket, head) => void this.#upgrade(request, socket as Duplex, head));
    this.#server.on('request', (request, response) => this.#forward(request, response));
    this.#server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
      else socket.destroy();
    });
  }

  /** Takes over a connection on which nothing has been read that was not put back. */
  accept(socket: Duplex): void {
    this.#server.emit('connection', socket);
  }

  close(): void {
    this.#agent.destroy();
    this.#server.closeAllConnections();
  }

  async #connect(request: IncomingMessage, socket: Duplex, head: Uint8Array): Promise<void> {
    socket.on('error', () => undefined);
    if (!this.#isAllowed(request)) return answer(socket, 407, 'Proxy Authentication Required', 'this proxy wants a password', CHALLENGE);
    const target = authorityOf(request.url ?? '');
    if (target === undefined) return answer(socket, 400, 'Bad Request', 'CONNECT wants HOST:PORT');
    const far = await this.#dial(target, socket);
    if (far === undefined) return;
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    await join(socket, far, head);
  }

  /** WebSocket and its like to an `http:` URL: the request goes on as it came, and the answer is for the client to read. */
  async #upgrade(request: IncomingMessage, socket: Duplex, head: Uint8Array): Promise<void> {
    socket.on('error', () => undefined);
    if (!this.#isAllowed(request)) return answer(socket, 407, 'Proxy Authentication Required', 'this proxy wants a password', CHALLENGE);
    const url = httpUrl(request.url);
    if (url === undefined) return answer(socket, 400, 'Bad Request', NO_URL);
    const far = await this.#dial({ host: hostOf(url), port: portOf(url) }, socket);
    if (far === undefined) return;
    const lines = [`${request.method} ${url.pathname}${url.search} HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      const name = request.rawHeaders[i]!;
      if (!name.toLowerCase().startsWith('proxy-')) lines.push(`${name}: ${request.rawHeaders[i + 1]}`);
    }
    far.write(`${lines.join('\r\n')}\r\n\r\n`);
    await join(socket, far, head);
  }

  async #dial(target: { host: string; port: number }, socket: Duplex): Promise<Duplex | undefined> {
    const gone = new AbortController();
    const onClose = (): void => gone.abort(new Error('the client went away'));
    socket.once('close', onClose);
    try {
      const far = await this.#options.way.connect({ ...target, signal: gone.signal });
      if (!socket.destroyed) return far;
      far.destroy();
    } catch (error) {
      if (gone.signal.aborted) return undefined;
      this.#options.onFailure?.(`${target.host} port ${target.port}`, error);
      const [status, text] = statusOf(error);
      answer(socket, status, text, wordsOf(error));
    } finally {
      socket.off('close', onClose);
    }
    return undefined;
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    if (!this.#isAllowed(request)) return reply(response, 407, 'this proxy wants a password', { 'proxy-authenticate': BASIC });
    const url = httpUrl(request.url);
    if (url === undefined) return reply(response, 400, NO_URL);
    const asking = httpRequest({
      agent: this.#agent,
      host: hostOf(url),
      port: portOf(url),
      method: request.method,
      path: `${url.pathname}${url.search}`,
      headers: { ...endToEnd(request.headers), host: url.host },
      setHost: false,
    });
    asking.once('response', (answered) => {
      response.writeHead(answered.statusCode ?? 502, answered.statusMessage, endToEnd(answered.headers));
      // a body that breaks off must not look whole
      answered.once('error', () => response.destroy());
      answered.pipe(response);
    });
    asking.once('error', (error) => {
      if (response.destroyed) return;
      if (response.headersSent) return void response.destroy();
      this.#options.onFailure?.(`${url.hostname} port ${portOf(url)}`, error);
      reply(response, statusOf(error)[0], wordsOf(error));
    });
    response.once('close', () => {
      if (!response.writableFinished) asking.destroy();
    });
    request.pipe(asking);
  }

  /** RFC 7617: Basic, the one scheme that every client knows; behind loopback it is as safe as SOCKS's. */
  #isAllowed({ headers }: IncomingMessage): boolean {
    const { user } = this.#options;
    if (user === undefined) return true;
    const encoded = /^Basic +([A-Za-z0-9+/=]+) *$/i.exec(headers['proxy-authorization'] ?? '')?.[1] ?? '';
    const text = new TextDecoder().decode(Uint8Array.from(atob(encoded.length % 4 === 0 ? encoded : ''), (char) => char.charCodeAt(0)));
    const colon = text.indexOf(':');
    return user.matches(utf8(text.slice(0, Math.max(0, colon))), utf8(text.slice(colon + 1)));
  }
}

/** `host:port`, `[2001:db8::1]:443`. */
function authorityOf(text: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:/@\s]{1,253})):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) return undefined;
  return { host: (match[1] ?? match[2])!, port };
}

function httpUrl(text: string | undefined): URL | undefined {
  if (text === undefined || !/^http:\/\//i.test(text) || !URL.canParse(text)) return undefined;
  return new URL(text);
}

const bare = (host: string): string => host.replace(/^\[(.*)\]$/, '$1');
const hostOf = (url: URL): string => bare(url.hostname);
const portOf = (url: URL): number => (url.port === '' ? 80 : Number(url.port));

/** RFC 9110 §7.6.1: what is about one connection alone stays on it. */
function endToEnd(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const dropped = new Set([...HOP_BY_HOP, ...(headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase())]);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !dropped.has(name)));
}

function statusOf(error: unknown): readonly [number, string] {
  const code = error instanceof TunnelwrightError ? error.code : '';
  if (code === 'ETIMEDOUT') return [504, 'Gateway Timeout'];
  if (code === 'EACCES' || code === 'FORBIDDEN') return [403, 'Forbidden'];
  return [502, 'Bad Gateway'];
}

const wordsOf = (error: unknown): string => (error instanceof TunnelwrightError ? error.message : 'the connection broke');

function answer(socket: Duplex, status: number, text: string, body: string, header = ''): void {
  if (!socket.writable) return void socket.destroy();
  const octets = utf8(`${body}\n`);
  socket.end(
    `HTTP/1.1 ${status} ${text}\r\n${header}Content-Type: text/plain\r\nContent-Length: ${octets.length}\r\nConnection: close\r\n\r\n${body}\n`,
  );
}

function reply(response: ServerResponse, status: number, body: string, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, { 'content-type': 'text/plain', connection: 'close', ...headers });
  response.end(`${body}\n`);
}

const BASIC = 'Basic realm="tunnelwright", charset="UTF-8"';
const CHALLENGE = `Proxy-Authenticate: ${BASIC}\r\n`;
const NO_URL = 'this is a proxy: ask it for a whole URL that begins with http://, or use CONNECT';
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
