import { Agent, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { Duplex } from 'node:stream';
import { printable } from '../../core/bytes/index.ts';
import { codeOf, ERROR_FIELD, isTransferCode, TransferError, wordsFor } from './errors.ts';
import type { Pace } from './pace.ts';
import { SYSTEM_TIMING, type Timing, Watchdog } from './timing.ts';

/** Opens a byte stream to the other end, through the tunnel and nowhere else. */
export type Connect = () => Promise<Duplex>;

export interface PeerHttpOptions {
  readonly connect: Connect;
  /** Of the Host field; the peer's name. */
  readonly host?: string;
  /** A connection on which nothing moved for so many milliseconds is taken for lost. */
  readonly idleTimeout?: number;
  readonly timing?: Timing;
  /** Of bodies, both ways; absent: as fast as it goes. */
  readonly pace?: Pace | undefined;
}

export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: AsyncIterable<Uint8Array> | Uint8Array;
  /** Octets of `body` where that comes in pieces. */
  readonly length?: number;
  readonly signal?: AbortSignal | undefined;
}

/** HTTP/1.1 over one connection that is kept and opened anew when it was lost. One request at a time. */
export class PeerHttp {
  readonly #options: PeerHttpOptions;
  readonly #agent: TunnelAgent;

  constructor(options: PeerHttpOptions) {
    this.#options = options;
    this.#agent = new TunnelAgent(options.connect);
  }

  /**
   * Sends a request and resolves when the head of the response is there.
   * @throws ConnectionLost when the connection could not be had, broke or stood still; the signal's reason when aborted.
   */
  async request(method: string, target: string, options: RequestOptions = {}): Promise<PeerResponse> {
    options.signal?.throwIfAborted();
    const { host = 'peer', idleTimeout = 20_000, timing = SYSTEM_TIMING, pace } = this.#options;
    const headers: Record<string, string> = { ...options.headers, Host: host };
    if (options.body !== undefined)
      headers['Content-Length'] = String(options.body instanceof Uint8Array ? options.body.length : (options.length ?? 0));
    else if (method === 'POST' || method === 'PATCH') headers['Content-Length'] = '0';
    const sent = request({ agent: this.#agent, method, path: target, headers, setHost: false });
    // While there is no connection yet, destroying a request makes no sound: so breaking off rejects by itself.
    let breakOff = (_cause: ConnectionLost): void => {};
    const broken = new Promise<never>((_, reject) => {
      breakOff = (cause) => {
        sent.destroy(cause);
        reject(cause);
      };
    });
    broken.catch(() => {});
    const watchdog = new Watchdog(timing, idleTimeout, () =>
      breakOff(new ConnectionLost(`nothing moved for ${Math.round(idleTimeout / 1000)} s`)),
    );
    const aborted = (): void => breakOff(new ConnectionLost('aborted'));
    options.signal?.addEventListener('abort', aborted, { once: true });
    // `connect` runs inside of `request`, and may have been the moment of the signal.
    if (options.signal?.aborted) aborted();
    const release = (): void => {
      watchdog.stop();
      options.signal?.removeEventListener('abort', aborted);
    };
    try {
      const answer = head(sent);
      // Whoever awaits `answer` below sees its failure; a failure while the body is still being written must not count as unhandled.
      answer.catch(() => {});
      await Promise.race([broken, writeBody(sent, options.body, watchdog, pace)]);
      return new PeerResponse(await Promise.race([broken, answer]), sent, watchdog, release, pace);
    } catch (cause) {
      release();
      sent.destroy();
      options.signal?.throwIfAborted();
      throw cause instanceof TransferError ? cause : lost(cause);
    }
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** A response whose body is still coming. Exactly one of `chunks`, `text`, `discard` takes it. */
export class PeerResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly #message: IncomingMessage;
  readonly #request: ClientRequest;
  readonly #watchdog: Watchdog;
  readonly #release: () => void;
  readonly #pace: Pace | undefined;

  constructor(message: IncomingMessage, sent: ClientRequest, watchdog: Watchdog, release: () => void, pace: Pace | undefined) {
    this.status = message.statusCode ?? 0;
    this.headers = message.headers;
    this.#message = message;
    this.#request = sent;
    this.#watchdog = watchdog;
    this.#release = release;
    this.#pace = pace;
  }

  header(name: string): string | undefined {
    const value = this.headers[name.toLowerCase()];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  /** A field that must be a whole number not below 0; undefined otherwise. */
  number(name: string): number | undefined {
    const text = this.header(name);
    return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  }

  async *chunks(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of this.#message as AsyncIterable<Uint8Array>) {
        for await (const piece of slices(chunk, this.#pace)) {
          this.#watchdog.touch();
          yield piece;
        }
        // The time the receiver took must not count against the sender.
        this.#watchdog.touch();
      }
    } catch (cause) {
      throw cause instanceof TransferError ? cause : lost(cause);
    } finally {
      this.#release();
    }
  }

  /** Up to `limit` octets of text; what is longer breaks the connection. */
  async text(limit = 64 * 1024): Promise<string> {
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of this.chunks()) {
      text += decoder.decode(chunk, { stream: true });
      if (text.length > limit) {
        this.#request.destroy();
        break;
      }
    }
    return text + decoder.decode();
  }

  async discard(): Promise<void> {
    await this.text();
  }

  /** The error that the other end reports: its code and words where it is one of us, else what the status says. */
  async error(what: string): Promise<TransferError> {
    const text = await this.text().catch(() => '');
    const { message, hint } = parseError(text);
    const told = this.header(ERROR_FIELD);
    const code = isTransferCode(told) ? told : codeOf(this.status);
    // It names the file as it knows it; the caller knows it as `what`.
    const words = message?.replace(/^[^:]*: /, '') ?? (isTransferCode(told) ? wordsFor(told) : undefined);
    return new TransferError(
      `${what}: ${words === undefined ? `the other end answered ${this.status}` : `${words} (says the other end)`}`,
      {
        code,
        side: 'there',
        resumable: code === 'TRANSFER_DISK_FULL',
        ...(hint === undefined ? {} : { hint }),
      },
    );
  }
}

/** The connection is gone; trying again is worth it. */
export class ConnectionLost extends TransferError {
  constructor(why: string, cause?: unknown) {
    super(`the connection was lost: ${why}`, { code: 'TRANSFER_INTERRUPTED', resumable: true, cause });
  }
}

/** Hands the tunnel's streams to HTTP; they need not be sockets of the machine. */
class TunnelAgent extends Agent {
  readonly #connect: Connect;
  #closed = false;

  constructor(connect: Connect) {
    super({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1 });
    this.#connect = connect;
  }

  override createConnection(_options: unknown, done?: (error: Error | null, stream: Duplex) => void): undefined {
    const opened = (stream: Duplex): void => {
      // Whoever wanted it may be gone by now; nobody would ever close it.
      if (this.#closed) stream.destroy();
      else done?.(null, stream);
    };
    // On failure the second argument is not looked at, but the declared type wants one.
    const failed = (cause: unknown): void => done?.(lost(cause), undefined as unknown as Duplex);
    this.#connect().then(opened, failed);
    return undefined;
  }

  override destroy(): void {
    this.#closed = true;
    super.destroy();
  }

  /** The inherited one calls methods that only a socket of the machine has. */
  override keepSocketAlive(): boolean {
    return true;
  }

  override reuseSocket(stream: Duplex & { ref?: () => void }, sent: ClientRequest): void {
    stream.ref ??= () => undefined;
    super.reuseSocket(stream, sent);
  }
}

function head(sent: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once('response', resolve);
    sent.once('error', reject);
    sent.once('close', () => reject(new ConnectionLost('closed before an answer came')));
  });
}

/** Writes with back-pressure, and stops early when the answer came before the end: then it is an error. */
async function writeBody(sent: ClientRequest, body: RequestOptions['body'], watchdog: Watchdog, pace: Pace | undefined): Promise<void> {
  let answered = false;
  sent.once('response', () => {
    answered = true;
  });
  if (body !== undefined) {
    for await (const chunk of body instanceof Uint8Array ? [body] : body) {
      for await (const piece of slices(chunk, pace)) {
        if (answered || sent.destroyed) return;
        if (!sent.write(piece)) await writable(sent);
        watchdog.touch();
      }
    }
  }
  sent.end();
}

const slices = (chunk: Uint8Array, pace: Pace | undefined): Iterable<Uint8Array> | AsyncIterable<Uint8Array> =>
  pace === undefined ? [chunk] : pace.pieces(chunk);

function writable(sent: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const events = ['drain', 'response', 'error', 'close'] as const;
    const done = (): void => {
      for (const event of events) sent.off(event, done);
      resolve();
    };
    for (const event of events) sent.once(event, done);
  });
}

const lost = (cause: unknown): ConnectionLost =>
  cause instanceof ConnectionLost ? cause : new ConnectionLost(cause instanceof Error ? cause.message : String(cause), cause);

function parseError(text: string): { message?: string; hint?: string } {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null) return {};
    const { message, hint } = parsed as Record<string, unknown>;
    return {
      ...(typeof message === 'string' ? { message: oneLine(message) } : {}),
      ...(typeof hint === 'string' ? { hint: oneLine(hint) } : {}),
    };
  } catch {
    return {};
  }
}

const oneLine = (text: string): string => printable(text.slice(0, 500));
