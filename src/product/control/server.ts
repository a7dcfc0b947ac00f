import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import process from 'node:process';
import type { z } from 'zod';
import { ApiMisuse, TunnelwrightError } from '../../core/bytes/errors.ts';
import type { Notice } from '../../core/ike/effects.ts';
import { commandInside } from '../../host/platform/linux/namespace-inside.ts';
import type { Way } from '../../host/platform/way.ts';
import { ROUTES, type Route, type RouteName } from './api.ts';
import {
  choiceDocument,
  type EventLine,
  ikeSaDocument,
  iso,
  isoClock,
  loadDocument,
  noticeLine,
  pingToDocument,
  progressToLine,
  transferredToLine,
} from './encode.ts';
import { errorToBody } from './errors.ts';
import { PeerHistory } from './history.ts';
import { claimSocket, releaseSocket } from './socket.ts';
import type { ControlTarget, TransferTarget } from './target.ts';
import { noWay, refuse, WAY_PROTOCOL, WayServer } from './way-server.ts';

export interface ControlServerOptions {
  readonly target: ControlTarget;
  /** Where to listen; `defaultSocketPath(target.name)` is the usual place. */
  readonly path: string;
  /** Of this program. */
  readonly version: string;
}

/** The local API of one instance. Whoever can open the socket may do everything, so its mode is 0600 and its folder's 0700. */
export class ControlServer {
  readonly path: string;
  readonly #target: ControlTarget;
  readonly #version: string;
  readonly #server: Server;
  readonly #history = new PeerHistory();
  readonly #stopListening: () => void;
  readonly #way: WayServer | undefined;

  /** @throws ControlError `ALREADY_RUNNING` when an instance answers there, `CONTROL_SOCKET` when the path cannot be had */
  static async listen(options: ControlServerOptions): Promise<ControlServer> {
    const server = new ControlServer(options);
    try {
      await claimSocket(server.#server, options.path);
    } catch (error) {
      server.#stopListening();
      throw error;
    }
    return server;
  }

  private constructor({ target, path, version }: ControlServerOptions) {
    this.path = path;
    this.#target = target;
    this.#version = version;
    this.#stopListening = target.onNotice(({ at, notice }) => this.#history.record(notice, at));
    this.#server = createServer(
      { headersTimeout: 5000, requestTimeout: 10_000, keepAliveTimeout: 1000, maxHeaderSize: 8192 },
      (request, response) => {
        void this.#serve(request, response);
      },
    );
    this.#server.maxConnections = MOST_CONNECTIONS;
    this.#way = target.way === undefined ? undefined : new WayServer(target.way);
    this.#server.on('upgrade', (request, socket, head) => {
      if (this.#way === undefined || request.headers.upgrade !== WAY_PROTOCOL) refuse(socket, noWay(this.#target.facts().plane));
      else void this.#way.serve(request, socket, head);
    });
  }

  /** Ends what is under way, and takes the socket away. */
  async close(): Promise<void> {
    this.#stopListening();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#way?.close();
    this.#server.closeAllConnections();
    await closed;
    releaseSocket(this.path);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined);
    try {
      const url = new URL(request.url ?? '/', 'http://localhost');
      const name = routeOf(request.method ?? '', url.pathname);
      const gone = new AbortController();
      response.once('close', () => gone.abort(new ApiMisuse('the caller went away', { code: 'CALLER_GONE' })));
      const body = 'request' in ROUTES[name] ? await readBody(request, (ROUTES[name] as Route).request!) : undefined;
      await this.#answer(name, body, url, response, gone.signal);
    } catch (error) {
      if (response.headersSent) response.end(`${JSON.stringify({ event: 'error', error: errorToBody(error) })}\n`);
      else sendJson(response, error instanceof HttpRefusal ? error.status : statusOf(error), { error: errorToBody(error) });
    }
  }

  async #answer(name: RouteName, body: unknown, url: URL, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const target = this.#target;
    switch (name) {
      case 'version':
        return sendJson(response, 200, {
          name: target.name,
          role: target.role,
          version: this.#version,
          node: process.version,
          openssl: process.versions.openssl,
          pid: process.pid,
        });
      case 'status':
        return sendJson(response, 200, this.#status());
      case 'sas':
        return sendJson(response, 200, this.#sas());
      case 'events':
        return this.#events(url, response, signal);
      case 'up':
        return this.#up(body as z.output<typeof ROUTES.up.request>, response, signal);
      case 'down':
      case 'terminate':
        return sendJson(response, 200, await target.down(body as z.output<typeof ROUTES.down.request>, signal));
      case 'rekey':
        return sendJson(response, 200, await target.rekey(body as z.output<typeof ROUTES.rekey.request>, signal));
      case 'redirect':
        return sendJson(response, 200, await target.redirect(body as z.output<typeof ROUTES.redirect.request>, signal));
      case 'ping':
        return sendJson(response, 200, await this.#ping(body as z.output<typeof ROUTES.ping.request>, signal));
      case 'resolve':
        return sendJson(response, 200, {
          ip: await this.#throughWay().resolve((body as z.output<typeof ROUTES.resolve.request>).host, signal),
        });
      case 'list':
        return sendJson(response, 200, await this.#list(body as z.output<typeof ROUTES.list.request>, signal));
      case 'send':
      case 'get':
        return this.#transfer(name, body, response, signal);
    }
  }

  async #ping({ host, ...options }: z.output<typeof ROUTES.ping.request>, signal: AbortSignal) {
    return pingToDocument(await this.#throughWay().ping(host, { ...options, signal }), this.#target.ikeSas());
  }

  /** @throws ApiMisuse `NO_WAY` */
  #throughWay(): Way {
    const { way } = this.#target;
    if (way === undefined) throw noWay(this.#target.facts().plane);
    return way;
  }

  #status() {
    const { name, role } = this.#target;
    const now = this.#target.now();
    const { plane, decision, espThread, entry, listen, startedAt } = this.#target.facts();
    const peers = this.#history.peers(this.#target.connections(), this.#target.ikeSas(), isoClock(now)).map((peer) => ({ ...peer, plane }));
    const load = loadDocument(this.#target.load());
    return {
      name,
      role,
      version: this.#version,
      pid: process.pid,
      startedAt: iso(startedAt),
      at: iso(now.wall),
      plane,
      planeChoice: decision === undefined ? null : choiceDocument(decision),
      espThread: espThread ?? null,
      enter: entry === undefined ? null : commandInside(entry, []),
      listen,
      peers,
      load,
    };
  }

  #sas() {
    const now = this.#target.now();
    const toIso = isoClock(now);
    return {
      name: this.#target.name,
      at: iso(now.wall),
      ikeSas: this.#target.ikeSas().map((sa) => ikeSaDocument(sa, toIso, this.#dpdDelay(sa.connection))),
    };
  }

  async #events(url: URL, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const connection = url.searchParams.get('connection') ?? undefined;
    const lines = new LineStream(response);
    lines.open();
    const stop = this.#follow(lines, connection, url.searchParams.get('messages') === '1');
    await aborted(signal);
    stop();
    lines.end();
  }

  async #up(request: z.output<typeof ROUTES.up.request>, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const lines = new LineStream(response);
    const stop = this.#follow(lines, request.connection, false);
    try {
      const { ikeSa, took } = await this.#target.up(request, signal);
      const now = this.#target.now();
      const standing = this.#target.ikeSas().find((sa) => sa.id === ikeSa.id) ?? ikeSa;
      lines.write({
        event: 'up',
        at: iso(now.wall),
        ikeSa: ikeSaDocument(standing, isoClock(now), this.#dpdDelay(request.connection)),
        tookMs: Math.round(took),
      });
    } finally {
      stop();
    }
    lines.end();
  }

  #files(): TransferTarget {
    const { transfer } = this.#target;
    if (transfer !== undefined) return transfer;
    throw new ApiMisuse(`${this.#target.name} is not made to move files`, {
      code: 'NO_TRANSFER',
      hint: 'Use scp or rsync through the tunnel, or an instance of the command line: tunnelwright up.',
    });
  }

  async #list(request: z.output<typeof ROUTES.list.request>, signal: AbortSignal) {
    const listed = await this.#files().list(request, signal);
    return { entries: listed.map((entry) => ({ ...entry, modified: entry.kind === 'link' ? null : iso(entry.modified) })) };
  }

  async #transfer(name: 'send' | 'get', body: unknown, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const transfer = this.#files();
    const lines = new LineStream(response);
    const progress: Parameters<typeof transfer.send>[1] = (event) => lines.write(progressToLine(event));
    const done =
      name === 'send'
        ? await transfer.send(body as z.output<typeof ROUTES.send.request>, progress, signal)
        : await transfer.get(body as z.output<typeof ROUTES.get.request>, progress, signal);
    lines.write(transferredToLine(done));
    lines.end();
  }

  /** Writes notices of a connection, or of all, until the returned function is called. */
  #follow(lines: LineStream, connection: string | undefined, messages: boolean): () => void {
    return this.#target.onNotice(({ at, notice }) => {
      const about = this.#connectionOf(notice);
      if (connection !== undefined && about !== connection) return;
      const line = noticeLine(notice, at, isoClock(this.#target.now()), this.#dpdDelay(about), messages);
      if (line !== undefined) lines.write(line);
    });
  }

  #connectionOf(notice: Notice): string | undefined {
    if ('connection' in notice && notice.connection !== undefined) return notice.connection;
    if (notice.kind === 'ike-up') return notice.info.connection;
    if (notice.kind === 'ike-rekeyed') return this.#history.connectionOf(notice.to);
    return 'ikeSa' in notice && notice.ikeSa !== undefined ? this.#history.connectionOf(notice.ikeSa) : undefined;
  }

  #dpdDelay(connection: string | undefined): number {
    return this.#target.connections().find(({ name }) => name === connection)?.liveness.delay ?? 0;
  }
}

/** A refusal of HTTP itself, before the instance was asked. */
class HttpRefusal extends ApiMisuse {
  readonly status: number;

  constructor(status: number, message: string, code: string) {
    super(message, { code });
    this.status = status;
  }
}

/** Newline-delimited JSON to somebody who may read slowly: past a bound what is less than final is left out, and counted. */
class LineStream {
  readonly #response: ServerResponse;
  #missed = 0;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  open(): void {
    if (!this.#response.headersSent) this.#response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    this.#response.flushHeaders();
  }

  write(line: EventLine | Readonly<Record<string, unknown>>): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    if (this.#response.writableLength > MOST_BUFFERED && !FINAL.has(String(line.event))) {
      this.#missed++;
      return;
    }
    this.open();
    if (this.#missed > 0) this.#response.write(`${JSON.stringify({ event: 'missed', at: iso(Date.now()), lines: this.#missed })}\n`);
    this.#missed = 0;
    this.#response.write(`${JSON.stringify(line)}\n`);
  }

  end(): void {
    this.open();
    this.#response.end();
  }
}

function routeOf(method: string, path: string): RouteName {
  const found = Object.entries(ROUTES).find(([, route]) => route.path === path) as [RouteName, Route] | undefined;
  if (found === undefined) throw new HttpRefusal(404, `there is nothing at ${path.slice(0, 100)}`, 'NO_SUCH_PATH');
  if (found[1].method !== method) throw new HttpRefusal(405, `${path} wants ${found[1].method}`, 'WRONG_METHOD');
  return found[0];
}

async function readBody(request: IncomingMessage, schema: z.ZodType): Promise<unknown> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > LARGEST_BODY) throw new HttpRefusal(413, `a request has at most ${LARGEST_BODY} octets`, 'REQUEST_TOO_LARGE');
    parts.push(part);
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(joined(parts, length)));
  } catch {
    throw new HttpRefusal(400, 'the request is not JSON', 'BAD_REQUEST');
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new HttpRefusal(400, `the request is wrong at ${issue?.path.join('.') || 'its top'}: ${issue?.message ?? ''}`, 'BAD_REQUEST');
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  const text = `${JSON.stringify({ schema: 1, ...body })}\n`;
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(text);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** The caller's mistakes are 4xx, what the world did is 502, our own are 500. Clients go by `code`. */
function statusOf(error: unknown): number {
  if (!(error instanceof TunnelwrightError)) return 500;
  if (error instanceof ApiMisuse) return error.code.startsWith('NO_') ? 404 : 409;
  return error.name === 'InternalError' ? 500 : 502;
}

const FINAL: ReadonlySet<string> = new Set(['up', 'transferred', 'error', 'ike-down']);
/** A proxy in another process takes one for each connection of its own. */
const MOST_CONNECTIONS = 4096;
const MOST_BUFFERED = 1024 * 1024;
const LARGEST_BODY = 64 * 1024;
