import { Duplex } from 'node:stream';

/** A byte stream whose writer is made to wait at one point until something has come to pass. */
export class HeldStream extends Duplex {
  readonly #inner: Duplex;
  readonly #until: () => Promise<unknown>;
  /** Octets that may still pass before the writer waits. */
  #free: number;
  #held = true;

  /**
   * @param at octets that pass at once
   * @param until called when the next one is written; a rejection breaks the stream
   */
  constructor(inner: Duplex, at: number, until: () => Promise<unknown>) {
    super();
    this.#inner = inner;
    this.#free = at;
    this.#until = until;
    inner.on('data', (chunk: Uint8Array) => {
      if (!this.push(chunk)) inner.pause();
    });
    inner.on('end', () => this.push(null));
    inner.on('error', (error) => this.destroy(error));
    inner.on('close', () => this.destroy());
  }

  override _read(): void {
    this.#inner.resume();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (!this.#held || chunk.length <= this.#free) {
      this.#free -= chunk.length;
      this.#inner.write(chunk, done);
      return;
    }
    if (this.#free > 0) this.#inner.write(chunk.subarray(0, this.#free));
    const rest = chunk.subarray(this.#free);
    this.#until().then(() => {
      this.#held = false;
      this.#inner.write(rest, done);
    }, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#inner.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#inner.destroy();
    done(error);
  }
}
