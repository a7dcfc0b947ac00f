import { performance } from 'node:perf_hooks';
import type { Millis } from '../../core/ike/effects.ts';

/** A timer that was armed; cancelling one that ran or was cancelled does nothing. */
export interface Timer {
  cancel(): void;
}

/**
 * Time as an argument. The engine reads it nowhere else, so that the simulator runs the same engine on virtual time.
 */
export interface Clock {
  /** Monotonic, milliseconds with fractions; only differences mean something. */
  now(): Millis;
  /** Milliseconds since 1970-01-01 UTC: for what is shown and for the validity of certificates, never for intervals. */
  wall(): number;
  /** Runs `run` once, `delay` milliseconds from now (0 or less: in the next turn). */
  after(delay: Millis, run: () => void): Timer;
  /** Runs `run` once, behind all input that is ready now: packets of one turn are worked on together. */
  soon(run: () => void): void;
}

/** The clock of this machine. Its timers keep the process alive. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(delay, run) {
    const handle = setTimeout(run, Math.min(Math.max(0, Math.ceil(delay)), LONGEST_TIMEOUT));
    return { cancel: () => clearTimeout(handle) };
  },
  soon: (run) => void setImmediate(run),
};

/** setTimeout keeps its delay in 31 bits; whoever waits longer is woken early and looks again. */
const LONGEST_TIMEOUT = 2 ** 31 - 1;
