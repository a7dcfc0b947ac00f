import type { FromWorker, ToWorker } from '../../../src/host/engine/workers/pool.ts';
import { compute, plainError, type Work, type WorkOf } from '../../../src/host/engine/workers/work.ts';
import type { ThreadEvents, Threads } from '../../../src/host/platform/worker-threads.ts';
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';

/** Threads of a simulation: they compute what they are told, one work after the other, and each takes so many milliseconds. */
export function virtualThreads(clock: VirtualClock, cost: number): Threads {
  return {
    cores: 2,
    start(_module, { onMessage }) {
      let free = 0;
      let ended = false;
      return {
        post(message) {
          free = Math.max(free, clock.now) + cost;
          clock.after(free - clock.now, () => {
            if (!ended) onMessage(answerTo(message as ToWorker));
          });
        },
        end() {
          ended = true;
          return Promise.resolve();
        },
      };
    },
  };
}

/** Threads that do what a test says, when it says so. */
export class ManualThreads implements Threads {
  readonly cores = 2;
  readonly started: ManualThread[] = [];

  start(_module: URL, events: ThreadEvents): ManualThread {
    const thread = new ManualThread(events);
    this.started.push(thread);
    return thread;
  }
}

class ManualThread {
  readonly posted: ToWorker[] = [];
  ended = false;
  readonly #events: ThreadEvents;

  constructor(events: ThreadEvents) {
    this.#events = events;
  }

  post(message: unknown): void {
    this.posted.push(message as ToWorker);
  }

  end(): Promise<void> {
    this.ended = true;
    return Promise.resolve();
  }

  /** Does the work that came first. */
  work(): ToWorker {
    const next = this.posted.shift()!;
    this.#events.onMessage(answerTo(next));
    return next;
  }

  say(message: FromWorker): void {
    this.#events.onMessage(message);
  }

  crash(why = 'out of memory'): void {
    this.#events.onExit(why);
  }
}

function answerTo({ id, work }: ToWorker): FromWorker {
  try {
    return { id, result: compute(work as WorkOf<Work['kind']>) };
  } catch (error) {
    return { id, error: plainError(error) };
  }
}
