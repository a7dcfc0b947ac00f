/** Time as an argument: milliseconds of a monotonic clock, and waiting. */
export interface Timing {
  now(): number;
  /** @returns how to call it off. */
  after(milliseconds: number, action: () => void): () => void;
}

export const SYSTEM_TIMING: Timing = {
  now: () => performance.now(),
  after: (milliseconds, action) => {
    const timer = setTimeout(action, milliseconds);
    return () => clearTimeout(timer);
  },
};

/** Rejects with the signal's reason when it is aborted first. */
export function sleep(timing: Timing, milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const cancel = timing.after(milliseconds, () => {
      signal?.removeEventListener('abort', aborted);
      resolve();
    });
    const aborted = (): void => {
      cancel();
      reject(signal!.reason);
    };
    signal?.addEventListener('abort', aborted, { once: true });
  });
}

/** Calls `expired` once when `touch` was not called for so long. */
export class Watchdog {
  readonly #timing: Timing;
  readonly #limit: number;
  readonly #expired: () => void;
  #cancel: (() => void) | undefined;
  #last: number;

  constructor(timing: Timing, limit: number, expired: () => void) {
    this.#timing = timing;
    this.#limit = limit;
    this.#expired = expired;
    this.#last = timing.now();
    this.#arm(limit);
  }

  touch(): void {
    this.#last = this.#timing.now();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** One timer that looks again later, instead of one per touch. */
  #arm(delay: number): void {
    this.#cancel = this.#timing.after(delay, () => {
      const left = this.#last + this.#limit - this.#timing.now();
      if (left > 0) this.#arm(left);
      else this.#expired();
    });
  }
}
