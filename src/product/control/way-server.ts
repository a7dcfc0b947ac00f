import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { ApiMisuse, MalformedMessage } from '../../core/bytes/index.ts';
import { join } from '../../host/platform/join.ts';
import type { UdpPort, Way, WayListener } from '../../host/platform/way.ts';
import { errorToBody } from './errors.ts';
import { FrameReader, writeFrame } from './way-frames.ts';

/** What other processes reach through the tunnels of an instance: HTTP Upgrade on its control socket, then octets. Never throws. */
export class WayServer {
  readonly #way: Way;
  readonly #open = new Set<Duplex>();
  /** Connections to a listener that nobody has fetched yet, by number. */
  readonly #waiting = new Map<number, { readonly stream: Duplex; readonly fetched: () => void }>();
  #next = 1;

  constructor(way: Way) {
    this.#way = way;
  }

  /** @param path that this server knows: see `WAY_PATHS` */
  async serve(request: IncomingMessage, socket: Duplex, head: Uint8Array): Promise<void> {
    socket.on('error', () => undefined);
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    if (head.length > 0) socket.unshift(head);
    try {
      const url = new URL(request.url ?? '/', 'http://localhost');
      if (url.pathname === WAY_PATHS.connect) await this.#connect(url.searchParams, socket);
      else if (url.pathname === WAY_PATHS.udp) await this.#udp(url.searchParams, socket);
      else if (url.pathname === WAY_PATHS.listen) await this.#listen(url.searchParams, socket);
      else if (url.pathname === WAY_PATHS.accept) this.#accept(url.searchParams, socket);
      else throw new ApiMisuse(`there is nothing at ${url.pathname.slice(0, 100)}`, { code: 'NO_SUCH_PATH' });
    } catch (error) {
      refuse(socket, error);
    }
  }

  close(): void {
    for (const socket of this.#open) socket.destroy();
    for (const { stream } of this.#waiting.values()) stream.destroy();
    this.#waiting.clear();
  }

  async #connect(query: URLSearchParams, socket: Duplex): Promise<void> {
    const gone = new AbortController();
    const onClose = (): void => gone.abort(new ApiMisuse('the caller went away', { code: 'CALLER_GONE' }));
    socket.once('close', onClose);
    const timeout = Number(query.get('timeout') ?? 0);
    const far = await this.#way.connect({
      host: textOf(query, 'host'),
      port: portOf(query),
      signal: gone.signal,
      ...(timeout > 0 ? { timeout } : {}),
    });
    socket.off('close', onClose);
    const { localAddress, localPort } = far as { localAddress?: string; localPort?: number };
    upgrade(socket, localAddress === undefined ? {} : { 'x-local': JSON.stringify({ ip: localAddress, port: localPort }) });
    await join(socket, far);
  }

  async #udp(query: URLSearchParams, socket: Duplex): Promise<void> {
    const port = await this.#way.openUdp(portOf(query, 0));
    upgrade(socket, { 'x-local': JSON.stringify(port.local) });
    serveUdp(port, socket);
  }

  /** Tells each connection by a line with its number; who wants it fetches it with `accept`. */
  async #listen(query: URLSearchParams, socket: Duplex): Promise<void> {
    const mine = new Set<number>();
    const listener: WayListener = await this.#way.listenTcp(portOf(query, 0), (stream, from) => {
      if (mine.size >= MOST_WAITING || socket.destroyed) return void stream.destroy();
      const id = this.#next++;
      const fetched = (): void => {
        clearTimeout(unwanted);
        mine.delete(id);
        this.#waiting.delete(id);
      };
      const unwanted = setTimeout(() => stream.destroy(), FETCHED_WITHIN);
      mine.add(id);
      this.#waiting.set(id, { stream, fetched });
      stream.on('error', () => undefined);
      stream.once('close', fetched);
      socket.write(`${JSON.stringify({ id, from })}\n`);
    });
    upgrade(socket, { 'x-local': JSON.stringify(listener.address) });
    socket.resume();
    socket.once('end', () => socket.end());
    socket.once('close', () => {
      listener.close();
      for (const id of [...mine]) this.#waiting.get(id)?.stream.destroy();
    });
  }

  #accept(query: URLSearchParams, socket: Duplex): void {
    const id = Number(textOf(query, 'id'));
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) throw new ApiMisuse('that connection is gone', { code: 'NO_SUCH_CONNECTION' });
    waiting.fetched();
    upgrade(socket, {});
    void join(socket, waiting.stream);
  }
}

/** The plane hands packets to the system, or to a namespace: programs use the tunnel by themselves, and nothing may go another way. */
export const noWay = (plane: string): ApiMisuse =>
  new ApiMisuse(`on the data plane ${plane} programs use the tunnel by themselves: there is nothing to go through`, {
    code: 'NO_WAY',
    hint: 'Start the program as it is (in its namespace with the plane netns), or bring the tunnel up with --plane netstack.',
  });

/** An Upgrade goes to one of these. */
export const WAY_PATHS = { connect: '/v1/way/connect', udp: '/v1/way/udp', listen: '/v1/way/listen', accept: '/v1/way/accept' } as const;
/** What the Upgrade asks for. */
export const WAY_PROTOCOL = 'tunnelwright-way';

function serveUdp(port: UdpPort, socket: Duplex): void {
  const reader = new FrameReader();
  socket.on('data', (octets: Uint8Array) => {
    try {
      for (const { host, port: to, data } of reader.take(octets)) port.send(data, { host, port: to });
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      socket.destroy();
    }
  });
  port.onDatagram = (data, from) => {
    // a caller who does not read loses datagrams, as ever
    const frame = socket.writableLength > MOST_BUFFERED ? undefined : writeFrame({ host: from.ip, port: from.port, data });
    if (frame !== undefined) socket.write(frame);
  };
  port.onEnd = () => socket.destroy();
  socket.once('end', () => socket.end());
  socket.once('close', () => port.close());
}

function upgrade(socket: Duplex, headers: Readonly<Record<string, string>>): void {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${WAY_PROTOCOL}\r\n${lines.join('')}\r\n`);
}

export function refuse(socket: Duplex, error: unknown): void {
  const body = `${JSON.stringify({ schema: 1, error: errorToBody(error) })}\n`;
  const length = new TextEncoder().encode(body).length;
  socket.end(`HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n${body}`);
  socket.resume();
}

function textOf(query: URLSearchParams, name: string): string {
  const text = query.get(name);
  if (text === null || text === '') throw new ApiMisuse(`${name} is missing`, { code: 'BAD_REQUEST' });
  return text;
}

function portOf(query: URLSearchParams, standard?: number): number {
  const port = Number(query.get('port') ?? standard ?? Number.NaN);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new ApiMisuse('port is no port', { code: 'BAD_REQUEST' });
  return port;
}

/** Told of and not fetched yet, which takes one turn of the caller's: so many come together only where it hangs, or in a burst like the backlog's. */
const MOST_WAITING = 256;
/** Milliseconds. */
const FETCHED_WITHIN = 30_000;
const MOST_BUFFERED = 4 * 1024 * 1024;
