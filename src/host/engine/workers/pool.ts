import { InternalError, NegotiationFailure, type TunnelwrightError } from '../../../core/bytes/index.ts';
import { zeroise } from '../../../core/crypto/index.ts';
import type { AskRank } from '../../../core/ike/effects.ts';
import { NotifyType } from '../../../core/wire/iana.ts';
import type { Thread, Threads } from '../../platform/worker-threads.ts';
import { JobQueue, type Place } from './job-queue.ts';
import { type Computer, compute, errorOf, type PlainError, type Work, type WorkOf, type WorkResults } from './work.ts';

export interface ToWorker {
  readonly id: number;
  readonly work: Work;
}

export type FromWorker =
  | { readonly id: number; readonly result: WorkResults[Work['kind']] }
  | { readonly id: number; readonly error: PlainError };

export interface PoolOptions {
  readonly threads: Threads;
  readonly workers: number;
  /** The file that runs in them; that of this folder unless given. */
  readonly module?: URL | undefined;
  /** Told when work that can be refused piles up, and when it does so no more. */
  readonly onPressure?: (high: boolean) => void;
  /** A worker ended by itself. */
  readonly onCrash?: (error: TunnelwrightError) => void;
}

export interface PoolLoad {
  /** Threads that run. */
  readonly workers: number;
  readonly waiting: Readonly<Record<AskRank, number>>;
  readonly underWay: number;
  readonly done: number;
  /** Sent away because there was too much. */
  readonly refused: number;
  /** Taken back before it was begun: its IKE SA had died. */
  readonly cancelled: number;
  readonly crashes: number;
}

export interface JobOptions {
  readonly rank: AskRank;
  readonly refusable: boolean;
}

/** A result to come, and the way to take it back. */
export interface PooledJob<T> {
  readonly result: Promise<T>;
  /** The result no longer matters: what was not begun is not begun, and no secret of it is kept. The promise then never settles. */
  cancel(): void;
}

/**
 * Threads that compute key exchanges and signatures, so that a flood of strangers keeps no packet and no rekeying waiting. Each has one work
 * under way and the next one at hand; whatever waits, waits in order of rank.
 */
export class WorkerPool {
  readonly #options: PoolOptions;
  readonly #queue: JobQueue<Job>;
  readonly #slots: Slot[] = [];
  readonly #counts = { done: 0, refused: 0, cancelled: 0, crashes: 0 };
  #nextId = 1;
  #pressed = false;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#queue = new JobQueue(MOST_WAITING);
    for (let i = 0; i < options.workers; i++) {
      const slot: Slot = { thread: undefined, underWay: new Map(), crashesInARow: 0 };
      this.#slots.push(slot);
      this.#start(slot);
    }
  }

  load(): PoolLoad {
    const waiting = { trusted: 0, reachable: 0, stranger: 0 };
    for (const rank of ['trusted', 'reachable', 'stranger'] as const) waiting[rank] = this.#queue.sizeOf(rank);
    const underWay = this.#slots.reduce((sum, slot) => sum + slot.underWay.size, 0);
    return { workers: this.#slots.filter(({ thread }) => thread !== undefined).length, waiting, underWay, ...this.#counts };
  }

  run<K extends Work['kind']>(work: WorkOf<K>, { rank, refusable }: JobOptions): PooledJob<WorkResults[K]> {
    let job!: Job;
    const result = new Promise<WorkResults[K]>((resolve, reject) => {
      job = { id: this.#nextId++, work, resolve: resolve as Job['resolve'], reject, place: undefined, cancelled: false };
    });
    if (!this.#slots.some(({ thread }) => thread !== undefined)) this.#computeHere(job);
    else {
      const { place, evicted } = this.#queue.put(job, rank, refusable);
      job.place = place;
      if (evicted !== undefined) this.#refuse(evicted);
      if (place === undefined) this.#refuse(job);
      this.#feed();
    }
    return { result, cancel: () => this.#cancel(job) };
  }

  /** Ends the threads; what was not answered never is. */
  async close(): Promise<void> {
    this.#closed = true;
    for (let job = this.#queue.take(); job !== undefined; job = this.#queue.take()) job.cancelled = true;
    await Promise.all(this.#slots.map(({ thread }) => thread?.end()));
  }

  #cancel(job: Job): void {
    if (job.cancelled) return;
    job.cancelled = true;
    if (job.place !== undefined && this.#queue.leave(job.place)) {
      this.#counts.cancelled++;
      this.#feel();
    }
  }

  /** Without threads it takes longer, but it is done. */
  #computeHere(job: Job): void {
    try {
      job.resolve(compute(job.work as WorkOf<Work['kind']>));
      this.#counts.done++;
    } catch (error) {
      job.reject(error);
    }
  }

  #refuse(job: Job): void {
    this.#counts.refused++;
    job.reject(overloaded());
  }

  #start(slot: Slot): void {
    const { threads, module = WORKER } = this.#options;
    slot.thread = threads.start(module, {
      onMessage: (message) => this.#onAnswer(slot, message as FromWorker),
      onExit: (why) => this.#onExit(slot, why),
    });
  }

  #feed(): void {
    for (let depth = 1; depth <= AT_HAND; depth++) {
      for (const slot of this.#slots) {
        if (slot.thread === undefined || slot.underWay.size >= depth) continue;
        const job = this.#queue.take();
        if (job === undefined) return this.#feel();
        this.#post(slot, slot.thread, job);
      }
    }
    this.#feel();
  }

  #post(slot: Slot, thread: Thread, job: Job): void {
    slot.underWay.set(job.id, job);
    const message: ToWorker = { id: job.id, work: job.work };
    thread.post(message);
  }

  #onAnswer(slot: Slot, answer: FromWorker): void {
    const job = slot.underWay.get(answer.id);
    if (job === undefined) return;
    slot.underWay.delete(answer.id);
    slot.crashesInARow = 0;
    if (job.cancelled || this.#closed) forgetSecret(answer);
    else if ('error' in answer) job.reject(errorOf(answer.error));
    else {
      this.#counts.done++;
      job.resolve(answer.result);
    }
    if (!this.#closed) this.#feed();
  }

  #onExit(slot: Slot, why: string): void {
    slot.thread = undefined;
    if (this.#closed) return;
    this.#counts.crashes++;
    const lost = [...slot.underWay.values()];
    slot.underWay.clear();
    const gone = ++slot.crashesInARow >= MOST_CRASHES;
    if (!gone) this.#start(slot);
    for (const job of lost) if (!job.cancelled) job.reject(workerCrashed(why));
    this.#options.onCrash?.(workerCrashed(gone ? `${why}; it did so ${MOST_CRASHES} times in a row and is not started again` : why));
    if (this.#slots.some(({ thread }) => thread !== undefined)) this.#feed();
    else for (let job = this.#queue.take(); job !== undefined; job = this.#queue.take()) this.#computeHere(job);
  }

  /** With a gap between the two marks, so that it is not told at every job. */
  #feel(): void {
    const { size } = this.#queue;
    const high = this.#pressed ? size > PRESSURE_ENDS : size >= PRESSURE_BEGINS;
    if (high === this.#pressed) return;
    this.#pressed = high;
    this.#options.onPressure?.(high);
  }
}

/** The pool as one Ask sees it: what it had computed can be taken back as long as it is not answered. */
export function lend(pool: WorkerPool, options: JobOptions, asked: { takeBack: (() => void) | undefined }): Computer {
  return (work) => {
    const { result, cancel } = pool.run(work, options);
    asked.takeBack = cancel;
    return result;
  };
}

interface Job {
  readonly id: number;
  readonly work: Work;
  readonly resolve: (result: WorkResults[Work['kind']]) => void;
  readonly reject: (error: unknown) => void;
  place: Place<Job> | undefined;
  cancelled: boolean;
}

interface Slot {
  /** Undefined: it crashed too often. */
  thread: Thread | undefined;
  readonly underWay: Map<number, Job>;
  /** Without an answer between them. */
  crashesInARow: number;
}

function forgetSecret(answer: FromWorker): void {
  if ('result' in answer && 'sharedSecret' in answer.result) zeroise(answer.result.sharedSecret);
}

/** Whoever asks for a first IKE SA gets no answer or a cookie; a peer that is known, TEMPORARY_FAILURE. */
const overloaded = (): TunnelwrightError =>
  new NegotiationFailure('more key exchanges wait than can be computed', {
    code: 'OVERLOADED',
    notify: NotifyType.TEMPORARY_FAILURE,
    hint: 'More workers help if processors are idle; otherwise it is a flood, and cookies are demanded until it ends.',
  });

const workerCrashed = (why: string): TunnelwrightError =>
  new InternalError(`a worker ended while it computed: ${why}`, { code: 'WORKER_CRASHED' });

const WORKER = new URL('./worker.js', import.meta.url);
/** Work that may be refused; a tenth of a second of it, roughly. */
const MOST_WAITING = 256;
const PRESSURE_BEGINS = 64;
const PRESSURE_ENDS = 16;
/** For each worker: what it computes, and what it goes on with before we hear that it is through. */
const AT_HAND = 2;
const MOST_CRASHES = 5;
