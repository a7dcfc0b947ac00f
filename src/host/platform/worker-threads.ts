import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

/** Another thread of this process that runs a module of ours. What it is told goes through memory alone, never through argv or the environment. */
export interface Thread {
  /**
   * Structured clone: octets are copied, a `KeyObject` is shared without its octets being seen. Nothing is thrown for a thread that has ended.
   * @param handedOver buffers in the message that are moved there, and are empty here afterwards
   */
  post(message: unknown, handedOver?: readonly ArrayBuffer[]): void;
  /** Ends it at once, whatever it is doing. */
  end(): Promise<void>;
}

export interface ThreadEvents {
  onMessage(message: unknown): void;
  /** It ended without being asked to. Told once. */
  onExit(why: string): void;
}

export interface Threads {
  /** How many can really run at the same time. */
  readonly cores: number;
  start(module: URL, events: ThreadEvents): Thread;
}

export const systemThreads: Threads = { cores: availableParallelism(), start };

function start(module: URL, { onMessage, onExit }: ThreadEvents): Thread {
  // flags of this process, a debugger's for instance, and its environment are not the thread's affair
  const worker = new Worker(module, { argv: [], execArgv: [], env: {}, stdin: false, resourceLimits: { maxYoungGenerationSizeMb: YOUNG } });
  let ended = false;
  const exited = new Promise<void>((resolve) => {
    let why = 'it ended by itself';
    worker.on('message', onMessage);
    worker.on('error', (error) => {
      why = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => {
      resolve();
      if (ended) return;
      ended = true;
      onExit(why);
    });
  });
  // sockets keep a gateway alive, not those who work for it
  worker.unref();
  return {
    post: (message, handedOver = []) => {
      if (!ended) worker.postMessage(message, handedOver);
    },
    end: async () => {
      ended = true;
      await worker.terminate();
      await exited;
    },
  };
}

/** Mebibytes for objects that do not live long. What runs in threads works on buffers, and the usual 48 would all be taken in time. */
const YOUNG = 4;
