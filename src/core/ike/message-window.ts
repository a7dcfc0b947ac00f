import type { TunnelwrightError } from '../bytes/errors.ts';
import { NONE, withLast, without } from '../bytes/lists.ts';
import type { Payload } from '../wire/index.ts';
import type { Millis } from './effects.ts';
import type { Path } from './path.ts';
import type { Inbound } from './routine.ts';

/** A request of ours that waits for its response. */
export interface Outstanding {
  /** Another one only where both ends have agreed on where they go on (RFC 6311 §5.1). */
  messageId: number;
  readonly exchange: number;
  /** Bit-identical in every copy (RFC 7296 §2.1), until it is cut into smaller fragments (RFC 7383 §2.5.2). */
  messages: readonly Uint8Array[];
  /** The same, cut so that no datagram has more octets; undefined where that makes no more fragments than before. */
  readonly recut?: ((datagram: number) => readonly Uint8Array[] | undefined) | undefined;
  /** What it was cut to since, and after how many copies. */
  cut?: { readonly datagram: number; readonly after: number } | undefined;
  readonly firstSent: Millis;
  /** From when on the peer is silent: the first transmission, or the last change of addresses. */
  since: Millis;
  attempts: number;
  /** When nobody waits any more, counted from `firstSent`. */
  readonly giveUp: Millis;
  /** When the next copy is due. */
  nextAt: Millis;
  readonly via?: Path | undefined;
  readonly anywhere?: boolean | undefined;
  readonly aside?: boolean | undefined;
  /** Whether this is its answer: it has Message ID 0, and others may have as well (RFC 6311 §5.1). */
  readonly synchronises?: ((response: readonly Payload[]) => boolean) | undefined;
  /** Takes the next Message ID, and a message that has it. */
  readonly renumber: () => void;
  /** Over which copies went besides the IKE SA's own, by key (RFC 4555 §3.10). */
  readonly probed: Map<string, Path>;
  /** Believes a refusal that came in the clear (§2.21.1): done at `nextAt`, where nothing better has come by then. */
  believe?: (() => void) | undefined;
  readonly resume: (response: Inbound) => void;
  readonly fail: (reason: 'timeout' | 'cancelled' | TunnelwrightError) => void;
}

export type RequestVerdict = 'new' | 'in-progress' | 'repeat' | 'outside';

/** What a former life knew (snapshot.ts). */
export interface WindowMemory {
  readonly nextRequest: number;
  /** So many requests from `nextRequest` on the former life may have sent, about something else. */
  readonly doubtful?: number;
  readonly nextExpected: number;
  readonly answers?: Iterable<readonly [number, readonly Uint8Array[]]>;
  readonly receiveSize?: number | undefined;
}

/**
 * Message IDs and the two halves of reliability (RFC 7296 §2.1–§2.3): the requester repeats until it is answered, the responder repeats
 * its answer and never acts twice. Both directions have a window of their own.
 */
export class MessageWindow {
  /** How many requests of ours may be under way: 1 until the peer says more by SET_WINDOW_SIZE (§2.3). */
  sendSize = 1;
  /** How many of the peer's requests we take at once and keep answers for: 1 until we have said more. */
  receiveSize: number;
  #nextRequest: number;
  /** The lowest Message ID that is not answered yet; some above it may be. */
  #nextExpected: number;
  /** The highest Message ID that a new request came with. */
  #newest: number;
  readonly #doubtful: { readonly from: number; readonly to: number } | undefined;
  // lists, since there are thousands of windows and few messages in each
  #outstanding: readonly Outstanding[] = NONE;
  #inProgress: readonly number[] = NONE;
  #answers: readonly (readonly [messageId: number, messages: readonly Uint8Array[]])[] = NONE;
  /** Requests that are made and wait until the window moves on. */
  #waiting: readonly (() => void)[] = NONE;

  constructor(
    { nextRequest, doubtful = 0, nextExpected, answers = [], receiveSize = 1 }: WindowMemory = { nextRequest: 0, nextExpected: 0 },
  ) {
    this.#nextRequest = nextRequest;
    this.#doubtful = doubtful > 0 ? { from: nextRequest, to: nextRequest + doubtful } : undefined;
    this.#nextExpected = nextExpected;
    this.receiveSize = receiveSize;
    this.#answers = [...answers];
    this.#newest = Math.max(nextExpected - 1, ...this.#answers.map(([id]) => id));
  }

  /** What a repeated request brings, by Message ID. */
  get answers(): readonly (readonly [number, readonly Uint8Array[]])[] {
    return [...this.#answers];
  }

  get nextRequest(): number {
    return this.#nextRequest;
  }

  get nextExpected(): number {
    return this.#nextExpected;
  }

  /** The highest Message ID of the peer so far; -1 before the first. */
  get newest(): number {
    return this.#newest;
  }

  /** The oldest request under way, or the next one. */
  get oldest(): number {
    return Math.min(this.#nextRequest, ...this.#outstanding.map(({ messageId }) => messageId));
  }

  /** §2.3: request X waits for the responses to all up through X − N, however many of those behind are answered. */
  get hasRoom(): boolean {
    if (this.#nextRequest >= this.oldest + this.sendSize) return false;
    return this.#waiting.length === 0;
  }

  /** Requests of ours under way. */
  get size(): number {
    return this.#outstanding.length;
  }

  get outstanding(): Iterable<Outstanding> {
    return this.#outstanding;
  }

  /** After a restart: this request may have been answered in the former life, with an answer to something else. */
  isDoubtful(messageId: number): boolean {
    return this.#doubtful !== undefined && messageId >= this.#doubtful.from && messageId < this.#doubtful.to;
  }

  /** Calls `send` when the window has room, in the order of the calls. @returns what takes it back */
  whenRoom(send: () => void): () => void {
    this.#waiting = withLast(this.#waiting, send);
    return () => {
      this.#waiting = without(this.#waiting, send);
    };
  }

  /** The window may have moved on: what waits goes out. */
  release(): void {
    while (this.#nextRequest < this.oldest + this.sendSize) {
      const [send] = this.#waiting;
      if (send === undefined) return;
      this.#waiting = without(this.#waiting, send);
      send();
    }
  }

  /** Takes the next Message ID, which may be one that does not fit the header any more (§2.2). */
  allocate(): number {
    return this.#nextRequest++;
  }

  /** IKE_SA_INIT keeps Message ID 0 when it is sent anew with a cookie or another key exchange (§2.2). */
  reuse(messageId: number): void {
    this.#nextRequest = messageId;
  }

  /** RFC 6311 §5.1, §8.1: from here on these numbers count, and no copy of an older request is answered any more. */
  goOn(request: number, expected: number): void {
    this.#nextRequest = request;
    this.#nextExpected = expected;
    this.#newest = expected - 1;
    this.#answers = NONE;
  }

  sent(request: Outstanding): void {
    this.#outstanding = withLast(this.#outstanding, request);
  }

  awaiting(messageId: number): Outstanding | undefined {
    return this.#outstanding.find((request) => request.messageId === messageId);
  }

  answered(messageId: number): void {
    const request = this.awaiting(messageId);
    if (request !== undefined) this.#outstanding = without(this.#outstanding, request);
  }

  /** Gives up everything under way. */
  drop(reason: 'timeout' | 'cancelled'): void {
    const givenUp = this.#outstanding;
    this.#waiting = NONE;
    this.#outstanding = NONE;
    for (const request of givenUp) request.fail(reason);
  }

  judge(messageId: number): RequestVerdict {
    if (this.#inProgress.includes(messageId)) return 'in-progress';
    if (this.answerTo(messageId) !== undefined) return 'repeat';
    return messageId >= this.#nextExpected && messageId < this.#nextExpected + this.receiveSize ? 'new' : 'outside';
  }

  /** @returns whether the peer sent it last of all that are here: with a window, requests overtake one another */
  begin(messageId: number): boolean {
    this.#inProgress = withLast(this.#inProgress, messageId);
    if (messageId <= this.#newest) return false;
    this.#newest = messageId;
    return true;
  }

  /** Keeps as many answers as were promised, those to the latest requests (§2.1, §2.3). */
  answer(messageId: number, messages: readonly Uint8Array[]): void {
    this.#inProgress = without(this.#inProgress, messageId);
    const latest = Math.max(messageId, ...this.#answers.map(([id]) => id));
    const kept = this.#answers.filter(([id]) => id > latest - this.receiveSize);
    this.#answers = messageId > latest - this.receiveSize ? kept.concat([[messageId, messages]]) : kept;
    while (this.answerTo(this.#nextExpected) !== undefined) this.#nextExpected++;
  }

  answerTo(messageId: number): readonly Uint8Array[] | undefined {
    return this.#answers.find(([id]) => id === messageId)?.[1];
  }
}
