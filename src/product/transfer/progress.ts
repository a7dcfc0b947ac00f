import type { TransferPhase, TransferProgress } from '../control/target.ts';
import type { Timing } from './timing.ts';

export type { TransferProgress };

/** Turns octets that move into events: at most one each `interval`, and one at each change of phase. */
export class ProgressMeter {
  readonly #timing: Timing;
  readonly #listener: ((progress: TransferProgress) => void) | undefined;
  readonly #name: string;
  readonly #samples: { at: number; bytes: number }[] = [];
  #phase: TransferPhase = 'connecting';
  #bytes = 0;
  #total: number;
  #resumedFrom = 0;
  #retries = 0;
  #files: { readonly done: number; readonly total: number } | undefined;
  #reported = Number.NEGATIVE_INFINITY;

  constructor(name: string, total: number, timing: Timing, listener: ((progress: TransferProgress) => void) | undefined) {
    this.#name = name;
    this.#total = total;
    this.#timing = timing;
    this.#listener = listener;
  }

  get retries(): number {
    return this.#retries;
  }

  get resumedFrom(): number {
    return this.#resumedFrom;
  }

  set total(total: number) {
    this.#total = total;
  }

  set resumedFrom(bytes: number) {
    this.#resumedFrom = bytes;
  }

  set files(files: { readonly done: number; readonly total: number }) {
    this.#files = files;
  }

  /** Octets that were across already: they count, but are no rate. */
  skip(bytes: number): void {
    this.#resumedFrom += bytes;
    this.#bytes += bytes;
    for (const sample of this.#samples) sample.bytes += bytes;
  }

  /** A new phase, its count beginning at `bytes`. */
  phase(phase: TransferPhase, bytes = this.#bytes): void {
    this.#phase = phase;
    this.#restart(bytes);
    this.#report();
  }

  /** @param bytes below 0 for those that were lost with a connection */
  add(bytes: number): void {
    this.#bytes += bytes;
    const now = this.#timing.now();
    const last = this.#samples.at(-1);
    if (last === undefined || now - last.at >= SAMPLE_INTERVAL) this.#samples.push({ at: now, bytes: this.#bytes });
    while (this.#samples.length > 2 && now - this.#samples[0]!.at > RATE_WINDOW) this.#samples.shift();
    if (now - this.#reported >= REPORT_INTERVAL) this.#report();
  }

  waiting(retryIn: number): void {
    this.#retries++;
    this.#phase = 'waiting';
    this.#restart(this.#bytes);
    this.#report(retryIn);
  }

  #restart(bytes: number): void {
    this.#bytes = bytes;
    this.#samples.length = 0;
    this.#samples.push({ at: this.#timing.now(), bytes });
  }

  #report(retryIn?: number): void {
    this.#reported = this.#timing.now();
    const rate = this.#rate();
    this.#listener?.({
      phase: this.#phase,
      name: this.#name,
      bytes: this.#bytes,
      total: this.#total,
      rate,
      eta: rate > 0 ? (this.#total - this.#bytes) / rate : undefined,
      resumedFrom: this.#resumedFrom,
      retries: this.#retries,
      ...(retryIn === undefined ? {} : { retryIn }),
      ...(this.#files === undefined ? {} : { files: this.#files }),
    });
  }

  #rate(): number {
    const first = this.#samples[0];
    if (first === undefined) return 0;
    const took = this.#timing.now() - first.at;
    return took > 0 ? ((this.#bytes - first.bytes) * 1000) / took : 0;
  }
}

/** `3.1 GiB`: binary units, two significant digits or more, for messages. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;
const REPORT_INTERVAL = 100;
const SAMPLE_INTERVAL = 100;
const RATE_WINDOW = 5000;
