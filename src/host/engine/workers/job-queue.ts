import type { AskRank } from '../../../core/ike/effects.ts';

/** A place in the queue, to leave it by. */
export interface Place<T> {
  readonly item: T;
  readonly rank: AskRank;
  /** Whoever wants it asks again by himself, so that it may be sent away when there is too much. */
  readonly refusable: boolean;
  before: Place<T> | undefined;
  after: Place<T> | undefined;
  waiting: boolean;
}

/**
 * What waits for a worker: first whose peer is proven, then who has shown that he hears us, then the rest; each in order of arrival. What
 * may be refused is bounded, and makes room from behind for what ranks higher; the rest is bounded by the IKE SAs that can ask for it.
 */
export class JobQueue<T> {
  readonly #lines: Readonly<Record<AskRank, Line<T>>> = { trusted: new Line(), reachable: new Line(), stranger: new Line() };
  readonly #most: number;
  #size = 0;
  #refusable = 0;

  /** @param most of those that may be refused */
  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#size;
  }

  sizeOf(rank: AskRank): number {
    return this.#lines[rank].size;
  }

  /** @returns its place, and what had to leave for it; no place: it is refused itself */
  put(item: T, rank: AskRank, refusable: boolean): { readonly place: Place<T> | undefined; readonly evicted: T | undefined } {
    let evicted: Place<T> | undefined;
    if (refusable && this.#refusable >= this.#most) {
      evicted = this.#lastBelow(rank);
      if (evicted === undefined) return { place: undefined, evicted: undefined };
      this.leave(evicted);
    }
    const place: Place<T> = { item, rank, refusable, before: undefined, after: undefined, waiting: true };
    this.#lines[rank].push(place);
    this.#size++;
    if (refusable) this.#refusable++;
    return { place, evicted: evicted?.item };
  }

  take(): T | undefined {
    for (const rank of RANKS) {
      const { first } = this.#lines[rank];
      if (first === undefined) continue;
      this.leave(first);
      return first.item;
    }
    return undefined;
  }

  /** @returns false when it does not wait any more */
  leave(place: Place<T>): boolean {
    if (!place.waiting) return false;
    this.#lines[place.rank].remove(place);
    this.#size--;
    if (place.refusable) this.#refusable--;
    return true;
  }

  /** The latest of a lower rank that may be refused. */
  #lastBelow(rank: AskRank): Place<T> | undefined {
    for (let i = RANKS.length - 1; RANKS[i] !== rank; i--) {
      for (let place = this.#lines[RANKS[i]!].last; place; place = place.before) if (place.refusable) return place;
    }
    return undefined;
  }
}

class Line<T> {
  first: Place<T> | undefined;
  last: Place<T> | undefined;
  size = 0;

  push(place: Place<T>): void {
    place.before = this.last;
    if (this.last) this.last.after = place;
    else this.first = place;
    this.last = place;
    this.size++;
  }

  remove(place: Place<T>): void {
    const { before, after } = place;
    if (before) before.after = after;
    else this.first = after;
    if (after) after.before = before;
    else this.last = before;
    place.before = undefined;
    place.after = undefined;
    place.waiting = false;
    this.size--;
  }
}

const RANKS: readonly AskRank[] = ['trusted', 'reachable', 'stranger'];
