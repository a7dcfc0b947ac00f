import { NONE, withLast, without } from '../bytes/lists.ts';
import type { Millis } from './effects.ts';

/** Every timer of the core, and why it exists. */
export type TimerKind =
  /** The oldest unanswered request goes out again, or is given up (RFC 7296 §2.1). */
  | 'retransmit'
  /** An unauthenticated IKE SA is dropped (RFC 7296 §2.6: half-open SAs are an attacker's tool). */
  | 'half-open'
  /** Nothing was heard for a while: ask whether the peer lives (RFC 7296 §2.4). */
  | 'liveness'
  /** The soft lifetime of the IKE SA (RFC 7296 §2.8). */
  | 'rekey-ike'
  /** The hard lifetime of the IKE SA. */
  | 'expire-ike'
  /** The initiator authenticates anew; the responder ends an IKE SA whose initiator did not (RFC 4478). */
  | 'reauthenticate'
  /** A newer IKE SA of the same peer stands: packets and a Delete of the peer get a moment, then this one goes. */
  | 'superseded'
  /** A dead or replaced IKE SA still answers retransmissions for a while (RFC 7296 §2.1, §2.8.2). */
  | 'linger'
  /** An answer is sent a second time (`tasks/nat-echo.ts`). */
  | 'echo'
  /** Another path is tried, or one that was refused (RFC 4555 §3.9, §3.10). */
  | 'paths'
  /** TCP is tried beside UDP, or a stream that was lost is opened again (RFC 9329 §5.1, §6.1). */
  | 'stream'
  /** A job that met TEMPORARY_FAILURE is tried again (RFC 7296 §2.25). */
  | 'retry'
  /** A peer that was sent to another gateway has had time to go there (RFC 5685 §5). */
  | 'redirect'
  /** An SA that the peer began is forgotten when its additional key exchanges do not come (RFC 9370 §2.2.4). */
  | 'follow-up'
  | 'rekey-child'
  | 'expire-child'
  /** The inbound half of a replaced CHILD_SA waits for packets still under way. */
  | 'retire-child'
  /** The peer of a new authentication has had time to install its half: we send on the new child (RFC 7296 §2.8). */
  | 'take-over'
  /** Was there traffic meanwhile? */
  | 'idle-child'
  /** Nobody answered an Ask. */
  | 'ask'
  /** A connection whose peer went away is initiated again. */
  | 'reconnect';

/** One armed or idle timer. Its owner keeps the object and moves it; there is never a second one for the same thing. */
export interface Timer {
  readonly kind: TimerKind;
  /** Id of the IKE SA, CHILD_SA or Ask it belongs to, or name of the connection. */
  readonly owner: number | string;
  at: Millis;
  /** Position in the heap, -1 while idle. */
  slot: number;
}

export const newTimer = (kind: TimerKind, owner: number | string): Timer => ({ kind, owner, at: 0, slot: -1 });

/** The timers of one owner by name. Each is made when it is first spoken of: most never are, and there are many owners. */
export type TimerSet<K extends string> = Readonly<Record<K, Timer>> & {
  /** Those that were spoken of, and not dropped since. */
  readonly made: readonly Timer[];
  /** It is not needed any more: whoever has it clears it. */
  drop(name: K): Timer | undefined;
};

/** @returns a class whose instances have these timers: what an owner calls each of them, and its kind */
export function timerSet<K extends string>(kinds: Readonly<Record<K, TimerKind>>): new (owner: number) => TimerSet<K> {
  class Owned {
    readonly owner: number;
    made: readonly Timer[] = NONE;

    constructor(owner: number) {
      this.owner = owner;
    }

    drop(name: K): Timer | undefined {
      const timer = this.made.find(({ kind }) => kind === kinds[name]);
      if (timer) this.made = without(this.made, timer);
      return timer;
    }
  }
  for (const [name, kind] of Object.entries<TimerKind>(kinds)) {
    const get = function (this: Owned): Timer {
      for (const timer of this.made) if (timer.kind === kind) return timer;
      const timer = newTimer(kind, this.owner);
      this.made = withLast(this.made, timer);
      return timer;
    };
    Object.defineProperty(Owned.prototype, name, { get });
  }
  return Owned as unknown as new (
    owner: number,
  ) => TimerSet<K>;
}

/** A binary heap of timers that know their place: arming, moving and clearing cost O(log n) and leave nothing behind. */
export class TimerQueue {
  readonly #heap: Timer[] = [];

  get size(): number {
    return this.#heap.length;
  }

  next(): Millis | undefined {
    return this.#heap[0]?.at;
  }

  arm(timer: Timer, at: Millis): void {
    timer.at = at;
    if (timer.slot < 0) {
      timer.slot = this.#heap.length;
      this.#heap.push(timer);
    }
    this.#sink(this.#rise(timer.slot));
  }

  clear(timer: Timer | undefined): void {
    if (timer === undefined || timer.slot < 0) return;
    const slot = timer.slot;
    const last = this.#heap.pop()!;
    timer.slot = -1;
    if (last === timer) return;
    this.#heap[slot] = last;
    last.slot = slot;
    this.#sink(this.#rise(slot));
  }

  /** Takes the earliest timer that is due; call until undefined. */
  due(now: Millis): Timer | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.at > now) return undefined;
    this.clear(first);
    return first;
  }

  #rise(slot: number): number {
    const timer = this.#heap[slot]!;
    while (slot > 0) {
      const above = (slot - 1) >> 1;
      if (this.#heap[above]!.at <= timer.at) break;
      this.#place(this.#heap[above]!, slot);
      slot = above;
    }
    this.#place(timer, slot);
    return slot;
  }

  #sink(slot: number): void {
    const timer = this.#heap[slot]!;
    for (;;) {
      let below = 2 * slot + 1;
      if (below >= this.#heap.length) break;
      if (below + 1 < this.#heap.length && this.#heap[below + 1]!.at < this.#heap[below]!.at) below++;
      if (timer.at <= this.#heap[below]!.at) break;
      this.#place(this.#heap[below]!, slot);
      slot = below;
    }
    this.#place(timer, slot);
  }

  #place(timer: Timer, slot: number): void {
    this.#heap[slot] = timer;
    timer.slot = slot;
  }
}
