import type { Duplex } from 'node:stream';
import { ConnectionLost } from '../transfer/peer-http.ts';
import { type ConnectionOptions, SftpConnection } from './connection.ts';
import type { SftpSession } from './session.ts';

export interface LinkOptions extends Omit<ConnectionOptions, 'signal'> {
  /** A new stream to the server's SSH port, through whatever leads there. */
  readonly connect: (signal: AbortSignal | undefined) => Promise<Duplex>;
}

/** A server for as long as somebody wants something of it: when the connection is lost, the next who asks makes a new one. */
export class SftpLink {
  readonly #options: LinkOptions;
  #connection: SftpConnection | undefined;
  #opening: Promise<SftpConnection> | undefined;
  #stood = false;
  #closed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** `user@host`, for messages. */
  get name(): string {
    return `${this.#options.user}@${this.#options.hostKey.host}`;
  }

  /**
   * The session that stands, or a new one.
   * @throws ConnectionLost once there was one; what the first attempt fails of is told as it is, since waiting may not mend it
   */
  async session(signal?: AbortSignal): Promise<SftpSession> {
    if (this.#connection !== undefined && !this.#connection.session.ended) return this.#connection.session;
    this.#opening ??= this.#open(signal).finally(() => {
      this.#opening = undefined;
    });
    return (await this.#opening).session;
  }

  /** Ends what is under way; the next who asks makes a new connection. */
  drop(): void {
    this.#connection?.close();
  }

  close(): void {
    this.#closed = true;
    this.drop();
  }

  async #open(signal: AbortSignal | undefined): Promise<SftpConnection> {
    this.#connection?.close();
    const stream = await this.#options.connect(signal).catch((cause: unknown) => {
      if (!this.#stood || signal?.aborted) throw cause;
      throw new ConnectionLost(cause instanceof Error ? cause.message : String(cause), cause);
    });
    const connection = await SftpConnection.open(stream, { ...this.#options, signal });
    if (this.#closed) {
      connection.close();
      throw new ConnectionLost('closed here');
    }
    this.#connection = connection;
    this.#stood = true;
    return connection;
  }
}
