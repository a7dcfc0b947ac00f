import { Duplex } from 'node:stream';
import type { SeededRandom } from '../../../src/testing/seeded.ts';

/** How a connection breaks: both ends notice, only the client notices, or nobody does and bytes vanish. */
export type CutKind = 'reset' | 'client only' | 'silence';

/** One end of a byte stream in memory. What is written is taken by the other end when that has room: back-pressure is real. */
class End extends Duplex {
  other: End | undefined;
  silent = false;
  #waiting: (() => void) | undefined;
  readonly #allowed: (wanted: number) => number;
  readonly #onBytes: (count: number) => void;
  readonly #plan: WirePlan;
  #sincePause = 0;

  constructor(plan: WirePlan, allowed: (wanted: number) => number, onBytes: (count: number) => void) {
    super({ highWaterMark: 16 * 1024, allowHalfOpen: false });
    this.#plan = plan;
    this.#allowed = allowed;
    this.#onBytes = onBytes;
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    this.#carry(chunk, done);
  }

  /** One segment at a time, so that a cut may fall into the middle of what was written at once. */
  #carry(rest: Uint8Array, done: (error?: Error | null) => void): void {
    setImmediate(() => {
      // Who speaks into the silence learns of it by and by.
      if (this.silent && !this.destroyed) setTimeout(this.#plan.elapse, 5);
      if (this.silent || this.destroyed) return;
      const segment = rest.slice(0, this.#allowed(Math.min(rest.length, SEGMENT)));
      this.#plan.spoil?.(segment);
      const other = this.other!;
      if (other.destroyed) {
        done(resetError());
        return;
      }
      const proceed = (): void => {
        this.#onBytes(segment.length);
        if (segment.length === rest.length) done();
        else this.#carry(rest.subarray(segment.length), done);
      };
      this.#sincePause += segment.length;
      if (this.#plan.pace !== undefined && this.#sincePause >= 65_536) {
        this.#sincePause = 0;
        setTimeout(() => this.#hand(segment, proceed), this.#plan.pace);
      } else this.#hand(segment, proceed);
    });
  }

  #hand(segment: Uint8Array, proceed: () => void): void {
    const other = this.other!;
    if (this.silent || other.destroyed) return;
    if (other.push(segment)) proceed();
    else other.#waiting = proceed;
  }

  override _read(): void {
    const proceed = this.#waiting;
    this.#waiting = undefined;
    proceed?.();
  }

  override _final(done: () => void): void {
    if (!this.silent) this.other?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // A connection that was closed here is seen as reset there, unless nothing gets through.
    const other = this.other;
    if (other !== undefined && !other.destroyed && !this.silent)
      setImmediate(() => other.destroy(error === null ? undefined : resetError()));
    done(error);
  }
}

const SEGMENT = 4096;

const resetError = (): Error => Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });

export interface WirePlan {
  /** Lets the time pass after which somebody notices a silence. */
  readonly elapse: () => void;
  readonly accept: (stream: Duplex) => void;
  /** Octets (both directions) after which a connection is cut; undefined: never. Asked once per connection. */
  readonly cutAfter?: () => number | undefined;
  readonly kind?: () => CutKind;
  /** Whether the next attempt to connect fails. */
  readonly refuse?: () => boolean;
  /** May change a segment on its way; the copy is its own. */
  readonly spoil?: (segment: Uint8Array) => void;
  /** Milliseconds that each 64 KiB takes at least. */
  readonly pace?: number;
}

/** Connections between a client and a server in memory, which break when the plan says so. */
export class Wire {
  connections = 0;
  cuts = 0;
  bytes = 0;
  readonly #plan: WirePlan;

  constructor(plan: WirePlan) {
    this.#plan = plan;
  }

  readonly connect = (): Promise<Duplex> => {
    if (this.#plan.refuse?.()) return Promise.reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }));
    this.connections++;
    let left = this.#plan.cutAfter?.() ?? Number.POSITIVE_INFINITY;
    const count = (bytes: number): void => {
      this.bytes += bytes;
      if (left <= 0) return;
      left -= bytes;
      if (left <= 0) this.#cut(client, server);
    };
    const allowed = (wanted: number): number => Math.max(1, Math.min(wanted, left));
    const client: End = new End(this.#plan, allowed, count);
    const server: End = new End(this.#plan, allowed, count);
    client.other = server;
    server.other = client;
    client.on('error', () => {});
    this.#plan.accept(server);
    return Promise.resolve(client);
  };

  #cut(client: End, server: End): void {
    this.cuts++;
    const kind = this.#plan.kind?.() ?? 'reset';
    if (kind !== 'reset') {
      client.silent = true;
      server.silent = true;
    }
    if (kind !== 'silence') client.destroy(resetError());
    if (kind === 'reset') server.destroy(resetError());
    // By then both ends have written and read what they could.
    if (kind === 'silence') setTimeout(this.#plan.elapse, 5);
  }
}

/** Cuts after between `low` and `high` octets, seeded. */
export const cutBetween =
  (random: SeededRandom, low: number, high: number): (() => number) =>
  () =>
    random.between(low, high);
