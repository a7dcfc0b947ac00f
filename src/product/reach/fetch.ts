import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import type { Way } from '../../host/platform/way.ts';
import { SecureWayAgent, WayAgent } from './agents.ts';

export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** `fetch` whose connections go through a way: names are resolved at its far end. Redirects are followed as the standard says, 20 at most. */
export function createFetch(way: Way): Fetch {
  const agents = { http: new WayAgent(way), https: new SecureWayAgent(way) };
  return async (input, init) => {
    const request = new Request(input, init);
    // a body that is a stream passes once: where it may have to be said again it is kept
    const body =
      request.body === null ? undefined : request.redirect === 'follow' ? new Uint8Array(await request.arrayBuffer()) : request.body;
    return follow(agents, request, body, 0);
  };
}

interface Agents {
  readonly http: WayAgent;
  readonly https: SecureWayAgent;
}

type Body = Uint8Array | ReadableStream<Uint8Array> | undefined;
type Asked = Pick<Request, 'method' | 'headers' | 'redirect' | 'signal' | 'url'>;

async function follow(agents: Agents, asked: Asked, body: Body, redirects: number): Promise<Response> {
  const url = new URL(asked.url);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new TypeError(`fetch through the tunnel knows http and https, not ${url.protocol}`);
  const answer = await send(agents, url, asked, body);
  const status = answer.statusCode ?? 502;
  const { location } = answer.headers;
  if (!REDIRECTS.has(status) || location === undefined || asked.redirect === 'manual')
    return responseOf(answer, asked.method, url, redirects);
  answer.resume();
  if (asked.redirect === 'error') throw new TypeError(`${url.host} redirects, and the request forbids it`);
  if (redirects === MOST_REDIRECTS) throw new TypeError(`${url.host} redirects without end`);
  const next = new URL(location, url);
  const headers = new Headers(asked.headers);
  // what proves who we are stays with the origin that asked for it
  if (next.origin !== url.origin) for (const name of ['authorization', 'cookie', 'proxy-authorization', 'host']) headers.delete(name);
  const becomesGet = (status === 303 && asked.method !== 'HEAD') || ((status === 301 || status === 302) && asked.method === 'POST');
  if (becomesGet)
    for (const name of ['content-length', 'content-type', 'content-encoding', 'content-language', 'content-location']) headers.delete(name);
  const { redirect, signal } = asked;
  const again = { redirect, signal, headers, method: becomesGet ? 'GET' : asked.method, url: next.href };
  return follow(agents, again, becomesGet ? undefined : body, redirects + 1);
}

function send(agents: Agents, url: URL, { method, headers, signal }: Asked, body: Body): Promise<IncomingMessage> {
  const secure = url.protocol === 'https:';
  const named = Object.fromEntries(headers);
  const options: RequestOptions = {
    agent: secure ? agents.https : agents.http,
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
    method,
    signal,
    setHost: false,
    headers: {
      accept: '*/*',
      'accept-encoding': 'gzip, deflate, br',
      ...named,
      host: url.host,
      ...(body instanceof Uint8Array ? { 'content-length': body.length } : {}),
    },
  };
  return new Promise((resolve, reject) => {
    const asking = (secure ? httpsRequest : httpRequest)(options, resolve);
    asking.once('error', (cause) => reject(signal.aborted ? signal.reason : new TypeError(`fetch failed: ${cause.message}`, { cause })));
    if (body === undefined || body instanceof Uint8Array) asking.end(body);
    else
      Readable.fromWeb(body)
        .on('error', (error) => asking.destroy(error))
        .pipe(asking);
  });
}

function responseOf(answer: IncomingMessage, method: string, url: URL, redirects: number): Response {
  const status = answer.statusCode ?? 502;
  const headers = new Headers();
  for (let i = 0; i < answer.rawHeaders.length; i += 2) headers.append(answer.rawHeaders[i]!, answer.rawHeaders[i + 1]!);
  const empty = method === 'HEAD' || status === 204 || status === 205 || status === 304;
  if (empty) answer.resume();
  const content = empty ? null : (Readable.toWeb(decoded(answer)) as unknown as globalThis.ReadableStream<Uint8Array>);
  const response = new Response(content, { status, statusText: answer.statusMessage ?? '', headers });
  Object.defineProperties(response, { url: { value: url.href }, redirected: { value: redirects > 0 } });
  return response;
}

function decoded(answer: IncomingMessage): Readable {
  const coding = answer.headers['content-encoding']?.trim().toLowerCase() ?? '';
  const decoder =
    coding === 'gzip' || coding === 'x-gzip'
      ? createGunzip()
      : coding === 'deflate'
        ? createInflate()
        : coding === 'br'
          ? createBrotliDecompress()
          : undefined;
  if (decoder === undefined) return answer;
  answer.once('error', (error) => decoder.destroy(error));
  return answer.pipe(decoder);
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const MOST_REDIRECTS = 20;
