import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Address } from '../../core/bytes/index.ts';
import type { Echo, EchoOptions, UdpPort, Way, WayListener, WayTo } from '../../host/platform/way.ts';
import { errorDocument } from './api.ts';
import type { ControlClient } from './client.ts';
import { ControlError, RemoteError } from './errors.ts';
import { FrameReader, writeFrame } from './way-frames.ts';
import { WAY_PATHS, WAY_PROTOCOL } from './way-server.ts';

/** The networks behind the tunnels of an instance in another process, through its control socket. */
export class ControlWay implements Way {
  readonly #client: ControlClient;

  constructor(client: ControlClient) {
    this.#client = client;
  }

  async connect({ host, port, timeout, signal }: WayTo): Promise<Duplex> {
    const query = { host, port: String(port), ...(timeout === undefined ? {} : { timeout: String(timeout) }) };
    const { stream } = await this.#upgrade(WAY_PATHS.connect, query, signal);
    return stream;
  }

  async listenTcp(port: number, onConnection: (stream: Duplex, from: Address) => void): Promise<WayListener> {
    const { stream, local } = await this.#upgrade(WAY_PATHS.listen, { port: String(port) });
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('error', () => undefined);
    stream.on('data', (text: string) => {
      rest += text;
      const lines = rest.split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const knock = knockOf(line);
        if (knock === undefined) return void stream.destroy();
        const { id, from } = knock;
        // one that is gone by now is no matter
        this.#upgrade(WAY_PATHS.accept, { id: String(id) }).then(
          (accepted) => onConnection(accepted.stream, from),
          () => undefined,
        );
      }
    });
    return new RemoteListener(stream, local);
  }

  async openUdp(port = 0): Promise<UdpPort> {
    const { stream, local } = await this.#upgrade(WAY_PATHS.udp, { port: String(port) });
    return new RemoteUdp(stream, local);
  }

  async resolve(host: string, signal?: AbortSignal): Promise<string> {
    return (await this.#client.resolve(host, signal)).ip;
  }

  async ping(host: string, { signal, ...rest }: EchoOptions = {}): Promise<Echo> {
    const { rttMs, from } = await this.#client.ping({ host, ...rest }, signal);
    return { rtt: rttMs, from };
  }

  async #upgrade(
    path: string,
    query: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<{ readonly stream: Duplex; readonly local: Address }> {
    signal?.throwIfAborted();
    const answer = await new Promise<{ response: IncomingMessage; stream?: Duplex }>((resolve, reject) => {
      const asking: ClientRequest = httpRequest({
        socketPath: this.#client.path,
        path: `${path}?${new URLSearchParams(query)}`,
        agent: false,
        headers: { connection: 'Upgrade', upgrade: WAY_PROTOCOL },
        ...(signal === undefined ? {} : { signal }),
      });
      asking.once('upgrade', (response, stream, head) => {
        stream.allowHalfOpen = true;
        if (head.length > 0) stream.unshift(head);
        resolve({ response, stream });
      });
      asking.once('response', (response) => resolve({ response }));
      asking.once('error', (error: NodeJS.ErrnoException) => reject(signal?.aborted ? signal.reason : this.#client.unreachable(error)));
      asking.end();
    });
    if (answer.stream !== undefined) {
      const local = answer.response.headers['x-local'];
      return { stream: answer.stream, local: typeof local === 'string' ? (JSON.parse(local) as Address) : NOWHERE };
    }
    throw await refusalOf(answer.response);
  }
}

/** Undefined for what an instance of another version may say. */
function knockOf(line: string): { readonly id: number; readonly from: Address } | undefined {
  try {
    const { id, from } = JSON.parse(line) as { readonly id?: unknown; readonly from?: { readonly ip?: unknown; readonly port?: unknown } };
    if (typeof id !== 'number' || typeof from?.ip !== 'string' || typeof from.port !== 'number') return undefined;
    return { id, from: { ip: from.ip, port: from.port } };
  } catch {
    return undefined;
  }
}

class RemoteListener implements WayListener {
  readonly address: Address;
  onEnd: WayListener['onEnd'];
  readonly #stream: Duplex;
  #closed = false;

  constructor(stream: Duplex, address: Address) {
    this.#stream = stream;
    this.address = address;
    whenOver(stream, () => {
      if (!this.#closed) this.onEnd?.();
    });
  }

  close(): void {
    this.#closed = true;
    this.#stream.destroy();
  }
}

class RemoteUdp implements UdpPort {
  readonly local: Address;
  onDatagram: UdpPort['onDatagram'];
  onError: UdpPort['onError'];
  onEnd: UdpPort['onEnd'];
  readonly #stream: Duplex;
  #closed = false;

  constructor(stream: Duplex, local: Address) {
    this.#stream = stream;
    this.local = local;
    const reader = new FrameReader();
    stream.on('error', () => undefined);
    stream.on('data', (octets: Uint8Array) => {
      for (const { host, port, data } of reader.take(octets)) this.onDatagram?.(data, { ip: host, port });
    });
    whenOver(stream, () => {
      if (!this.#closed) this.onEnd?.(undefined);
    });
  }

  send(data: Uint8Array, { host, port }: { readonly host: string; readonly port: number }): void {
    if (this.#closed || this.#stream.destroyed || this.#stream.writableLength > MOST_BUFFERED) return;
    const frame = writeFrame({ host, port, data });
    if (frame !== undefined) this.#stream.write(frame);
  }

  close(): void {
    this.#closed = true;
    this.#stream.destroy();
  }
}

/** The instance says nothing more: a stream that is half-open would wait for our own end. */
function whenOver(stream: Duplex, onOver: () => void): void {
  stream.once('end', () => stream.destroy());
  stream.once('close', onOver);
}

async function refusalOf(response: IncomingMessage): Promise<Error> {
  let text = '';
  response.setEncoding('utf8');
  for await (const part of response as AsyncIterable<string>) text = (text + part).slice(0, LONGEST_REFUSAL);
  try {
    return new RemoteError(errorDocument.parse(JSON.parse(text)).error);
  } catch {
    return new ControlError(`the instance gave HTTP status ${response.statusCode}`, { code: 'CONTROL_PROTOCOL' });
  }
}

const NOWHERE: Address = { ip: '0.0.0.0', port: 0 };
const MOST_BUFFERED = 4 * 1024 * 1024;
const LONGEST_REFUSAL = 64 * 1024;
