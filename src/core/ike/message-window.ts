import type { TunnelwrightError } from '../bytes/errors.ts';
import type { Millis } from './effects.ts';
import type { Path } from './path.ts';
import type { Inbound } from './routine.ts';

/** A request of ours that waits for its response. */
export interface Outstanding {
  readonly messageId: number;
  readonly exchange: number;
  /** Bit-identical in every copy (RFC 7296 §2.1). */
  readonly messages: readonly Uint8Array[];
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
  /** Over which copies went besides the IKE SA's own, by key (RFC 4555 §3.10). */
  readonly probed: Map<string, Path>;
  readonly resume: (response: Inbound) => void;
  readonly fail: (reason: 'timeout' | 'cancelled' | TunnelwrightError) => void;
}

export type RequestVerdict = 'new' | 'in-progress' | 'repeat' | 'outside';

/**
 * Message IDs and the two halves of reliability (RFC 7296 §2.1–§2.3): the requester repeats until it is answered, the responder repeats
 * its answer and never acts twice. Both directions have a window of their own.
 */
export class MessageWindow {
  /** How many requests of ours may be under way: the peer's SET_WINDOW_SIZE, 1 until it says more (§2.3). */
  sendSize = 1;
  /** How many of the peer's requests we keep answers for. */
  readonly receiveSize = 1;
  #nextRequest: number;
  #nextExpected: number;
  readonly #outstanding = new Map<number, Outstanding>();
  readonly #inProgress = new Set<number>();
  readonly #answers = new Map<number, readonly Uint8Array[]>();

  /** After a restart: a request with this id may have been answered in the former life, with an answer to something else. */
  readonly doubtful: number | undefined;

  constructor(nextRequest = 0, nextExpected = 0, doubtful?: number, answers: Iterable<readonly [number, readonly Uint8Array[]]> = []) {
    this.#nextRequest = nextRequest;
    this.doubtful = doubtful;
    this.#nextExpected = nextExpected;
    for (const [messageId, messages] of answers) this.#answers.set(messageId, messages);
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

  get hasRoom(): boolean {
    return this.#outstanding.size < this.sendSize;
  }

  /** Requests of ours under way. */
  get size(): number {
    return this.#outstanding.size;
  }

  get outstanding(): Iterable<Outstanding> {
    return this.#outstanding.values();
  }

  /** Takes the next Message ID. The IKE SA must be rekeyed long before 2^32 (§2.2). */
  allocate(): number {
    return this.#nextRequest++;
  }

  /** IKE_SA_INIT keeps Message ID 0 when it is sent anew with a cookie or another key exchange (§2.2). */
  reuse(messageId: number): void {
    this.#nextRequest = messageId;
  }

  sent(request: Outstanding): void {
    this.#outstanding.set(request.messageId, request);
  }

  awaiting(messageId: number): Outstanding | undefined {
    return this.#outstanding.get(messageId);
  }

  answered(messageId: number): void {
    this.#outstanding.delete(messageId);
  }

  /** Gives up everything under way. */
  drop(reason: 'timeout' | 'cancelled'): void {
    const all = [...this.#outstanding.values()];
    this.#outstanding.clear();
    for (const request of all) request.fail(reason);
  }

  judge(messageId: number): RequestVerdict {
    if (this.#inProgress.has(messageId)) return 'in-progress';
    if (this.#answers.has(messageId)) return 'repeat';
    return messageId >= this.#nextExpected && messageId < this.#nextExpected + this.receiveSize ? 'new' : 'outside';
  }

  begin(messageId: number): void {
    this.#inProgress.add(messageId);
  }

  /** Keeps the answer until the window has moved past it (§2.3). */
  answer(messageId: number, messages: readonly Uint8Array[]): void {
    this.#inProgress.delete(messageId);
    this.#answers.set(messageId, messages);
    if (messageId >= this.#nextExpected) this.#nextExpected = messageId + 1;
    for (const id of this.#answers.keys()) if (id < this.#nextExpected - this.receiveSize) this.#answers.delete(id);
  }

  answerTo(messageId: number): readonly Uint8Array[] | undefined {
    return this.#answers.get(messageId);
  }
}
