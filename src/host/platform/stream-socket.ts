import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { type Address, DataPlaneError, formatAddress, isIpv6 } from '../../core/bytes/index.ts';
import { type FailureCode, type Millis, Ready, type TcpConnection, type TcpListener } from '../../core/netstack/index.ts';

/** What a socket needs of whoever drives the stack. */
export interface SocketHost {
  setTimer(callback: () => void, delay: Millis): unknown;
  clearTimer(timer: unknown): void;
}

export interface StreamSocketOptions {
  /** As in `node:net`: false (the default) ends our side when the peer ended its own. */
  readonly allowHalfOpen?: boolean | undefined;
  /** Turns the Nagle algorithm off. */
  readonly noDelay?: boolean | undefined;
}

/**
 * A TCP connection of the in-process stack with the look of `net.Socket`: what takes a `Duplex` with `remoteAddress`,
 * `setTimeout` and friends (`node:http`, `node:tls`) takes this. Errors carry `code` ECONNREFUSED, ECONNRESET, ETIMEDOUT, EHOSTUNREACH ….
 */
export class StreamSocket extends Duplex {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly remoteFamily: 'IPv4' | 'IPv6';
  readonly localAddress: string;
  readonly localPort: number;
  readonly localFamily: 'IPv4' | 'IPv6';
  bytesRead = 0;
  bytesWritten = 0;
  /** Milliseconds set with `setTimeout`; 0 is off. */
  timeout = 0;
  readonly #host: SocketHost;
  readonly #connection: TcpConnection;
  #connecting: boolean;
  #wantsRead = false;
  #endPushed = false;
  /** Chunks that `_write` could not place yet, and what to call when they are. */
  #pending: readonly Uint8Array[] = [];
  #pendingAt = 0;
  #pendingDone: ((error?: Error | null) => void) | undefined;
  #idleTimer: unknown;

  constructor(host: SocketHost, connection: TcpConnection, options: StreamSocketOptions = {}) {
    super({
      allowHalfOpen: options.allowHalfOpen ?? false,
      emitClose: true,
      autoDestroy: true,
      decodeStrings: true,
      readableHighWaterMark: READ_CHUNK,
      writableHighWaterMark: READ_CHUNK,
    });
    this.#host = host;
    this.#connection = connection;
    this.#connecting = connection.state === 'SYN-SENT' || connection.state === 'SYN-RECEIVED';
    this.remoteAddress = connection.remote.ip;
    this.remotePort = connection.remote.port;
    this.remoteFamily = isIpv6(connection.remote.ip) ? 'IPv6' : 'IPv4';
    this.localAddress = connection.local.ip;
    this.localPort = connection.local.port;
    this.localFamily = isIpv6(connection.local.ip) ? 'IPv6' : 'IPv4';
    if (options.noDelay === true) connection.setNoDelay(true);
    connection.onReady = (events) => this.#onReady(events);
  }

  get connecting(): boolean {
    return this.#connecting;
  }

  get pending(): boolean {
    return this.#connecting;
  }

  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.#connecting) return 'opening';
    if (this.readable && this.writable) return 'open';
    if (this.readable) return 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  get bufferSize(): number {
    return this.writableLength;
  }

  address(): { address: string; family: string; port: number } {
    return { address: this.localAddress, family: this.localFamily, port: this.localPort };
  }

  setNoDelay(noDelay = true): this {
    this.#connection.setNoDelay(noDelay);
    return this;
  }

  /** @param initialDelay milliseconds of silence before the first probe; 0 leaves the default. */
  setKeepAlive(enable = false, initialDelay = 0): this {
    this.#connection.setKeepAlive(enable, initialDelay > 0 ? initialDelay : undefined);
    return this;
  }

  /** Emits `timeout` after so many milliseconds without traffic; the socket stays open. 0 turns it off. */
  setTimeout(timeout: number, callback?: () => void): this {
    this.timeout = timeout;
    if (callback !== undefined) {
      if (timeout === 0) this.off('timeout', callback);
      else this.once('timeout', callback);
    }
    this.#touch();
    return this;
  }

  /** The packet interface decides whether the process lives on; sockets have no say. */
  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  /** Ends, and destroys once everything written was taken. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  /** Closes with RST instead of FIN. */
  resetAndDestroy(): this {
    this.#connection.abort();
    return this.destroy();
  }

  override _read(): void {
    this.#wantsRead = true;
    this.#pump();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#begin([chunk], done);
  }

  override _writev(chunks: { chunk: Uint8Array; encoding: BufferEncoding }[], done: (error?: Error | null) => void): void {
    this.#begin(
      chunks.map((entry) => entry.chunk),
      done,
    );
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#connection.shutdown();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#connection.onReady = undefined;
    this.#connection.close();
    if (this.#idleTimer !== undefined) this.#host.clearTimer(this.#idleTimer);
    this.#idleTimer = undefined;
    const pendingDone = this.#pendingDone;
    this.#pendingDone = undefined;
    pendingDone?.(error ?? socketError('ECONNABORTED', 'write', this.#connection.remote));
    done(error);
  }

  #onReady(events: number): void {
    if ((events & Ready.CONNECTED) !== 0 && this.#connecting) {
      this.#connecting = false;
      this.#touch();
      this.emit('connect');
      this.emit('ready');
    }
    if (this.destroyed) return;
    if ((events & (Ready.READABLE | Ready.ENDED)) !== 0) this.#pump();
    if ((events & Ready.WRITABLE) !== 0) this.#place();
    if ((events & Ready.CLOSED) !== 0) this.#onClosed();
  }

  #onClosed(): void {
    const code = this.#connection.error;
    if (code === undefined) {
      this.#pump();
      return;
    }
    const call = this.#connecting ? 'connect' : 'read';
    this.#connecting = false;
    this.destroy(socketError(code, call, this.#connection.remote));
  }

  /** Moves octets from the stack to the stream until either has enough. */
  #pump(): void {
    const connection = this.#connection;
    let moved = false;
    while (this.#wantsRead && !this.destroyed && connection.readable > 0) {
      const chunk = Buffer.allocUnsafeSlow(Math.min(connection.readable, READ_CHUNK));
      const length = connection.read(chunk);
      moved = true;
      this.bytesRead += length;
      this.#wantsRead = this.push(length === chunk.length ? chunk : chunk.subarray(0, length));
    }
    if (moved) this.#touch();
    if (connection.ended && !this.#endPushed && !this.destroyed) {
      this.#endPushed = true;
      this.push(null);
      // net.Socket does the same: without a reader 'end' would never come, and 'close' neither.
      if (this.readableLength === 0) this.read(0);
    }
  }

  #begin(chunks: readonly Uint8Array[], done: (error?: Error | null) => void): void {
    this.#pending = chunks;
    this.#pendingAt = 0;
    this.#pendingDone = done;
    this.#place();
  }

  /** Hands pending chunks to the stack; back-pressure is that `done` is not called until all were taken. */
  #place(): void {
    const done = this.#pendingDone;
    if (done === undefined) return;
    let index = 0;
    for (; index < this.#pending.length; index++) {
      const chunk = this.#pending[index]!;
      const rest = this.#pendingAt === 0 ? chunk : chunk.subarray(this.#pendingAt);
      const taken = this.#connection.write(rest);
      this.bytesWritten += taken;
      if (taken < rest.length) {
        this.#pendingAt += taken;
        break;
      }
      this.#pendingAt = 0;
    }
    this.#touch();
    if (index < this.#pending.length) {
      this.#pending = this.#pending.slice(index);
      return;
    }
    this.#pending = [];
    this.#pendingDone = undefined;
    done();
  }

  /** Restarts the idle timer. */
  #touch(): void {
    if (this.#idleTimer !== undefined) this.#host.clearTimer(this.#idleTimer);
    this.#idleTimer = undefined;
    if (this.timeout > 0 && !this.destroyed) {
      this.#idleTimer = this.#host.setTimer(() => {
        this.#idleTimer = undefined;
        this.emit('timeout');
      }, this.timeout);
    }
  }
}

/** A listening port with the look of `net.Server`: emits `listening`, `connection` with a `StreamSocket`, and `close`. */
export class StreamServer extends EventEmitter {
  readonly #host: SocketHost;
  readonly #listener: TcpListener;
  readonly #options: StreamSocketOptions;
  #listening = true;

  constructor(host: SocketHost, listener: TcpListener, options: StreamSocketOptions = {}) {
    super();
    this.#host = host;
    this.#listener = listener;
    this.#options = options;
    listener.onReady = () => this.#accept();
    queueMicrotask(() => this.emit('listening'));
  }

  get listening(): boolean {
    return this.#listening;
  }

  address(): { address: string; family: string; port: number } {
    const { ip, port } = this.#listener.local;
    return { address: ip, family: isIpv6(ip) ? 'IPv6' : 'IPv4', port };
  }

  /** Stops listening; sockets that were accepted live on. */
  close(callback?: () => void): this {
    if (callback !== undefined) this.once('close', callback);
    if (this.#listening) {
      this.#listening = false;
      this.#listener.close();
      queueMicrotask(() => this.emit('close'));
    }
    return this;
  }

  #accept(): void {
    for (let connection = this.#listener.accept(); connection !== undefined; connection = this.#listener.accept()) {
      this.emit('connection', new StreamSocket(this.#host, connection, this.#options));
    }
  }
}

/** The error of `node:net`'s shape: `code`, `errno`, `syscall`, `address`, `port`. */
export class StreamSocketError extends DataPlaneError {
  readonly syscall: string;
  readonly address: string;
  readonly port: number;

  constructor(code: FailureCode, syscall: string, remote: Address) {
    const where = remote.port === 0 ? remote.ip : formatAddress(remote);
    super(`${syscall} ${where}: ${WORDS[code]}`, { code, errno: code, backend: 'netstack', hint: HINTS[code] });
    this.syscall = syscall;
    this.address = remote.ip;
    this.port = remote.port;
  }
}

/** Without a stack trace: what packets brought about has no place in the code, and finding it would cost more than all else of a socket. */
export function socketError(code: FailureCode, syscall: string, remote: Address): StreamSocketError {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return new StreamSocketError(code, syscall, remote);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

const READ_CHUNK = 65536;

const WORDS: Readonly<Record<FailureCode, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset by the peer',
  ECONNABORTED: 'connection aborted',
  ETIMEDOUT: 'no answer in time',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  EADDRNOTAVAIL: 'the own address is gone',
  EACCES: 'forbidden by a filter on the way',
  EMSGSIZE: 'packet too large for the path',
  ETTL: 'hop limit exceeded on the way',
  ENETDOWN: 'the network stack was closed',
};

const HINTS: Readonly<Record<FailureCode, string>> = {
  ECONNREFUSED: 'The host is up, but nothing listens on that port.',
  ECONNRESET: 'The peer closed the connection without waiting; its log may say why.',
  ECONNABORTED: 'The connection was given up on this side.',
  ETIMEDOUT: 'Check that the address is behind the tunnel and that no firewall drops the packets.',
  EHOSTUNREACH: 'A router says the host does not answer; check the address and that it is switched on.',
  ENETUNREACH: 'There is no route to that network; check the traffic selectors of the tunnel.',
  EADDRNOTAVAIL: 'The tunnel was assigned another address; connect again.',
  EACCES: 'A firewall on the way rejects this traffic.',
  EMSGSIZE: 'Send less than the path MTU, or allow fragmentation.',
  ETTL: 'There is a routing loop, or the path is longer than the hop limit.',
  ENETDOWN: 'The tunnel went down; start it and connect again.',
};
