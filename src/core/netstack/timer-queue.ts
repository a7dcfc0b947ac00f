import type { Millis } from './ready.ts';

/** Something with a deadline. `heapIndex` and `heapTime` belong to the queue. */
export interface Timed {
  /** When it wants to be called; Infinity for never. May move at any time without telling. */
  readonly deadline: Millis;
  heapIndex: number;
  heapTime: Millis;
}

export const NOT_QUEUED = -1;

/**
 * A heap of deadlines that move all the time, mostly later. An entry may stand too early: it is looked at again when its turn comes.
 * Only an earlier deadline has to be told (`soon`).
 */
export class TimerQueue<T extends Timed> {
  readonly #heap: T[] = [];

  /** When `due` has to be asked next, at the latest. */
  get next(): Millis | undefined {
    return this.#heap[0]?.heapTime;
  }

  /** Makes sure that `item` is not called too late. */
  soon(item: T): void {
    const { deadline } = item;
    if (item.heapIndex === NOT_QUEUED) {
      if (deadline === Number.POSITIVE_INFINITY) return;
      item.heapTime = deadline;
      item.heapIndex = this.#heap.length;
      this.#heap.push(item);
      this.#up(item.heapIndex);
    } else if (deadline < item.heapTime) {
      item.heapTime = deadline;
      this.#up(item.heapIndex);
    }
  }

  /** Takes out one item that is due. Ask again until undefined. */
  due(now: Millis): T | undefined {
    for (let top = this.#heap[0]; top !== undefined && top.heapTime <= now; top = this.#heap[0]) {
      const { deadline } = top;
      if (deadline <= now) {
        this.remove(top);
        return top;
      }
      if (deadline === Number.POSITIVE_INFINITY) this.remove(top);
      else {
        top.heapTime = deadline;
        this.#down(0);
      }
    }
    return undefined;
  }

  remove(item: T): void {
    const index = item.heapIndex;
    if (index === NOT_QUEUED) return;
    item.heapIndex = NOT_QUEUED;
    const last = this.#heap.pop()!;
    if (last === item) return;
    this.#heap[index] = last;
    last.heapIndex = index;
    this.#up(index);
    this.#down(last.heapIndex);
  }

  #up(from: number): void {
    const heap = this.#heap;
    const item = heap[from]!;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent]!;
      if (above.heapTime <= item.heapTime) break;
      heap[at] = above;
      above.heapIndex = at;
      at = parent;
    }
    heap[at] = item;
    item.heapIndex = at;
  }

  #down(from: number): void {
    const heap = this.#heap;
    const item = heap[from]!;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.heapTime < heap[child]!.heapTime) child++;
      const below = heap[child]!;
      if (below.heapTime >= item.heapTime) break;
      heap[at] = below;
      below.heapIndex = at;
      at = child;
    }
    heap[at] = item;
    item.heapIndex = at;
  }
}
