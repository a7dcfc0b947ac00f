import type { Address } from '../bytes/index.ts';

/** Milliseconds of a monotonic clock that the caller owns; fractions are welcome. */
export type Millis = number;

/** What happened to an endpoint since it was last looked at; bits, because they gather. */
export const Ready = {
  /** The connection is established. */
  CONNECTED: 1,
  /** There are octets or datagrams to read. */
  READABLE: 2,
  /** There is room to write again after `write` or `send` took less than it was offered. */
  WRITABLE: 4,
  /** The peer sends no more; what it sent may still wait to be read. */
  ENDED: 8,
  /** The connection is gone. `error` tells why, and is undefined when both ends closed in order. */
  CLOSED: 16,
  /** A listener has connections to accept. */
  ACCEPT: 32,
  /** A ping was answered or failed. */
  DONE: 64,
  /** An ICMP error arrived for a UDP endpoint; `takeError` has it. */
  ERROR: 128,
  /** Somebody wants to be let in to a listener that asks; `nextKnock` has it. */
  KNOCK: 256,
} as const;

/** Why a connection, datagram or ping failed, in the words that `node:net` uses. */
export type FailureCode =
  | 'ECONNREFUSED'
  | 'ECONNRESET'
  | 'ECONNABORTED'
  | 'ETIMEDOUT'
  | 'EHOSTUNREACH'
  | 'ENETUNREACH'
  | 'EADDRNOTAVAIL'
  | 'EACCES'
  | 'EMSGSIZE'
  | 'ETTL'
  | 'ENETDOWN';

/** Anything of the stack that an application holds and that becomes ready: connection, listener, UDP endpoint, ping. */
export abstract class Endpoint {
  abstract get local(): Address;
  /**
   * Called with the gathered `Ready` bits by `Stack.dispatch`, never from inside `receive`, `expire` or `poll`. One function per
   * endpoint; leave it undefined to use `Stack.nextReady` instead.
   */
  onReady: ((events: number) => void) | undefined = undefined;
  #events = 0;
  #queued = false;

  /** The bits that gathered since the last call. */
  takeEvents(): number {
    const events = this.#events;
    this.#events = 0;
    return events;
  }

  /** Adds bits, for the queue. @returns true when the endpoint has to be queued. */
  gather(events: number): boolean {
    this.#events |= events;
    const first = !this.#queued;
    this.#queued = true;
    return first;
  }

  /** The queue lets go of the endpoint. */
  dequeued(): void {
    this.#queued = false;
  }
}

/** Endpoints in the order in which they became ready. */
export class ReadyQueue {
  readonly #onWork: () => void;
  #waiting: Endpoint[] = [];
  #taken = 0;

  /** @param onWork called when an endpoint was queued. */
  constructor(onWork: () => void) {
    this.#onWork = onWork;
  }

  mark(endpoint: Endpoint, events: number): void {
    if (!endpoint.gather(events)) return;
    this.#waiting.push(endpoint);
    this.#onWork();
  }

  next(): Endpoint | undefined {
    const endpoint = this.#waiting[this.#taken];
    if (endpoint === undefined) return undefined;
    endpoint.dequeued();
    this.#taken++;
    if (this.#taken === this.#waiting.length) {
      this.#waiting = [];
      this.#taken = 0;
    }
    return endpoint;
  }
}
