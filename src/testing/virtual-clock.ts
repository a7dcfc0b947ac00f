import { InternalError } from '../core/bytes/index.ts';

/** Milliseconds since the simulated world began. */
export type VirtualTime = number;

export interface VirtualTimer {
  readonly at: VirtualTime;
  /** Does nothing when it fired or was cancelled before. */
  cancel(): void;
}

export interface SettleLimits {
  /** Settled means: nothing is due within this many milliseconds from now. */
  readonly quiet?: number;
  /** Gives up after this much virtual time. */
  readonly within?: number;
  /** Gives up after this many events. */
  readonly steps?: number;
}

export interface Settled {
  /** false when a limit ended it. */
  readonly settled: boolean;
  readonly steps: number;
  readonly took: number;
}

/** Time that passes only when told to. What is due at the same instant happens in the order in which it was scheduled. */
export class VirtualClock {
  #now: VirtualTime = 0;
  #scheduled = 0;
  readonly #queue: Entry[] = [];

  get now(): VirtualTime {
    return this.#now;
  }

  /** Instant of the next event, or undefined when nothing is scheduled. */
  get next(): VirtualTime | undefined {
    this.#dropCancelled();
    return this.#queue[0]?.at;
  }

  /** An instant in the past means now. */
  at(time: VirtualTime, action: () => void): VirtualTimer {
    const entry = new Entry(Math.max(time, this.#now), this.#scheduled++, action);
    push(this.#queue, entry);
    return entry;
  }

  after(delay: number, action: () => void): VirtualTimer {
    return this.at(this.#now + delay, action);
  }

  /** Runs the next event, moving time to it. @returns false when there was none. */
  step(): boolean {
    this.#dropCancelled();
    const entry = pop(this.#queue);
    if (entry === undefined) return false;
    this.#now = entry.at;
    entry.action?.();
    return true;
  }

  /** Runs everything due up to and including `until`, and leaves the clock there. */
  run(until: VirtualTime, maxSteps = MAX_STEPS): number {
    let steps = 0;
    for (let next = this.next; next !== undefined && next <= until; next = this.next) {
      if (++steps > maxSteps)
        throw new InternalError(`more than ${maxSteps} events before ${until} ms of virtual time: something schedules itself forever`);
      this.step();
    }
    this.#now = Math.max(this.#now, until);
    return steps;
  }

  /** Runs until nothing is due within the quiet time; the clock stays at the last event. */
  settle(limits: SettleLimits = {}): Settled {
    const { quiet = 0, within = 600_000, steps: maxSteps = MAX_STEPS } = limits;
    const began = this.#now;
    let steps = 0;
    for (let next = this.next; next !== undefined && next <= this.#now + quiet; next = this.next) {
      if (next > began + within || steps >= maxSteps) return { settled: false, steps, took: this.#now - began };
      this.step();
      steps++;
    }
    return { settled: true, steps, took: this.#now - began };
  }

  #dropCancelled(): void {
    while (this.#queue.length > 0 && this.#queue[0]!.action === undefined) pop(this.#queue);
  }
}

class Entry implements VirtualTimer {
  readonly at: VirtualTime;
  readonly order: number;
  /** Undefined once cancelled. */
  action: (() => void) | undefined;

  constructor(at: VirtualTime, order: number, action: () => void) {
    this.at = at;
    this.order = order;
    this.action = action;
  }

  cancel(): void {
    this.action = undefined;
  }
}

const before = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

function push(heap: Entry[], entry: Entry): void {
  let at = heap.length;
  while (at > 0) {
    const parent = (at - 1) >>> 1;
    if (!before(entry, heap[parent]!)) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = entry;
}

function pop(heap: Entry[]): Entry | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (top === undefined || last === undefined || heap.length === 0) return top;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
    if (!before(heap[child]!, last)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
  return top;
}

const MAX_STEPS = 1_000_000;
