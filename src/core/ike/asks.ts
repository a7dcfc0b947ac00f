import { TimedOut } from '../bytes/errors.ts';
import { zeroise } from '../crypto/index.ts';
import type { Ask, AskRank, AskResult, Effect, Millis } from './effects.ts';
import { newTimer, type Timer, type TimerQueue } from './timers.ts';

/** Asks under way: each has a deadline, a default outcome and a way back. */
export class Asks {
  readonly #open = new Map<number, { readonly timer: Timer; readonly kind: Ask['kind']; readonly answered: (answer: AskResult) => void }>();
  readonly #timers: TimerQueue;
  readonly #emit: (effect: Effect) => void;
  #next = 1;

  constructor(timers: TimerQueue, emit: (effect: Effect) => void) {
    this.#timers = timers;
    this.#emit = emit;
  }

  get size(): number {
    return this.#open.size;
  }

  /** @returns a function that takes the Ask back. */
  put(ikeSa: number, rank: AskRank, ask: Ask, deadline: Millis, answered: (answer: AskResult) => void): () => void {
    const id = this.#next++;
    const timer = newTimer('ask', id);
    this.#open.set(id, { timer, kind: ask.kind, answered });
    this.#timers.arm(timer, deadline);
    this.#emit({ kind: 'ask', id, ikeSa, rank, ask, deadline });
    return () => {
      if (this.#take(id)) this.#emit({ kind: 'cancel', id });
    };
  }

  /** @returns false for an answer nobody waits for any more; what it carried is zeroised. */
  answer(id: number, result: AskResult): boolean {
    const open = this.#take(id);
    if (open) open.answered(result);
    else if (result.ok && 'data' in result) zeroise(result.data);
    else if (result.ok && 'secret' in result) zeroise(result.secret);
    else if (result.ok && 'sharedSecret' in result) zeroise(result.sharedSecret);
    return open !== undefined;
  }

  expire(id: number): void {
    const open = this.#take(id);
    if (open === undefined) return;
    this.#emit({ kind: 'cancel', id });
    const error = new TimedOut(`nothing answered "${open.kind}" in time`, {
      code: 'ASK_TIMEOUT',
      hint: 'Whatever should do this (key store, data plane, authorisation hook) does not answer.',
    });
    open.answered({ ok: false, error });
  }

  #take(id: number): { readonly kind: Ask['kind']; readonly answered: (answer: AskResult) => void } | undefined {
    const open = this.#open.get(id);
    if (open === undefined) return undefined;
    this.#open.delete(id);
    this.#timers.clear(open.timer);
    return open;
  }
}
