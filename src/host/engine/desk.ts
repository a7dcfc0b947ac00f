import type { TunnelwrightError } from '../../core/bytes/index.ts';
import type { Ask, AskResult, Effect } from '../../core/ike/effects.ts';
import type { Platform } from '../platform/platform.ts';
import { type AskContext, answerAsk } from './asks.ts';
import { lend, type PoolLoad, WorkerPool } from './workers/pool.ts';

export interface DeskOptions {
  readonly context: Omit<AskContext, 'computer'>;
  /** An answer that came later, while its Ask was still open. */
  readonly onAnswer: (id: number, result: AskResult, what: string) => void;
  readonly onDefect: (what: string, error: unknown) => void;
  /** What was made for an Ask that had been taken back. */
  readonly onOrphan: (ask: Ask, late: AskResult, ikeSa: number) => void;
}

/** How many threads compute beside us, and whom to tell what about them. */
export interface Hiring {
  readonly platform: Platform;
  readonly workers?: number | undefined;
  readonly workerModule?: URL | undefined;
}

export interface PoolEvents {
  readonly onPressure: (high: boolean) => void;
  readonly onCrash: (error: TunnelwrightError) => void;
}

/** Asks of the core that are under way: who answers them, who computes for them, and what becomes of those that are taken back. */
export class Desk {
  readonly #options: DeskOptions;
  /** Where nobody computes beside us: one for all Asks. */
  readonly #alone: AskContext;
  readonly #open = new Map<number, { cancelled: boolean; takeBack: (() => void) | undefined }>();
  #pool: WorkerPool | undefined;

  constructor(options: DeskOptions) {
    this.#options = options;
    this.#alone = { ...options.context, computer: undefined };
  }

  hire({ platform, workers, workerModule }: Hiring, events: PoolEvents): void {
    if (hires({ platform, workers }))
      this.#pool = new WorkerPool({ threads: platform.threads!, workers: workers!, module: workerModule, ...events });
  }

  /** Undefined: all is computed in this thread. */
  load(): PoolLoad | undefined {
    return this.#pool?.load();
  }

  async close(): Promise<void> {
    await this.#pool?.close();
  }

  /** @returns the answer, where it is there at once */
  ask({ id, ikeSa, rank, ask }: Extract<Effect, { kind: 'ask' }>): AskResult | undefined {
    const { onAnswer, onDefect, onOrphan } = this.#options;
    const open = { cancelled: false, takeBack: undefined as (() => void) | undefined };
    const refusable = ask.kind === 'key-exchange' && ask.refusable;
    const context = this.#pool ? { ...this.#alone, computer: lend(this.#pool, { rank, refusable }, open) } : this.#alone;
    const result = answerAsk(ask, ikeSa, context);
    if (!(result instanceof Promise)) return result;
    this.#open.set(id, open);
    result
      .then((late) => {
        this.#open.delete(id);
        if (open.cancelled && late.ok) onOrphan(ask, late, ikeSa);
        if (!open.cancelled) onAnswer(id, late, ask.kind);
      })
      .catch((error: unknown) => onDefect(`the answer to ${ask.kind}`, error));
    return undefined;
  }

  /** What another thread was to compute is not computed any more; everything else is answered, and nobody hears it. */
  cancel(id: number): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    open.cancelled = true;
    if (open.takeBack === undefined) return;
    open.takeBack();
    this.#open.delete(id);
  }
}

export const hires = ({ platform, workers = 0 }: Pick<Hiring, 'platform' | 'workers'>): boolean =>
  workers > 0 && platform.threads !== undefined;
