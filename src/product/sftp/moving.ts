import { ProgressMeter, type TransferProgress } from '../transfer/progress.ts';
import { type Attempts, DEFAULT_RETRY, type RetryPolicy, retrying } from '../transfer/retry.ts';
import { SYSTEM_TIMING, type Timing } from '../transfer/timing.ts';
import type { SftpLink } from './link.ts';
import type { SftpSession } from './session.ts';

export interface FileOptions {
  readonly link: SftpLink;
  readonly remote: string;
  readonly local: string;
  readonly onProgress?: ((progress: TransferProgress) => void) | undefined;
  readonly retry?: Partial<RetryPolicy> | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timing?: Timing | undefined;
}

/** A file that got across. */
export interface FileResult {
  /** Where it is now. */
  readonly path: string;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
  /** false when the server cannot tell its digest: the length alone was compared. */
  readonly verified: boolean;
  readonly resumedFrom: number;
  readonly retries: number;
  /** Milliseconds. */
  readonly took: number;
}

/** What an attempt knows of it. */
export type Moved = Pick<FileResult, 'path' | 'bytes' | 'sha256' | 'verified'>;

/** What an attempt at a file has to work with. */
export interface Moves {
  readonly attempts: Attempts;
  readonly meter: FileMeter;
}

/** The progress of one file, which remembers where the first attempt began. */
export class FileMeter extends ProgressMeter {
  readonly #phase: 'receiving' | 'sending';
  #hasBegun = false;

  constructor(phase: 'receiving' | 'sending', ...rest: ConstructorParameters<typeof ProgressMeter>) {
    super(...rest);
    this.#phase = phase;
  }

  began(at: number): void {
    if (!this.#hasBegun) this.resumedFrom = at;
    this.#hasBegun = true;
    this.phase(this.#phase, at);
  }
}

/** Runs attempts at one file, each with a session that stands, until one succeeds or none will. @throws TransferError */
export async function moving(
  options: FileOptions,
  direction: 'receiving' | 'sending',
  name: string,
  attempt: (session: SftpSession, moves: Moves) => Promise<Moved>,
): Promise<FileResult> {
  const { link, signal, retry, timing = SYSTEM_TIMING } = options;
  const meter = new FileMeter(direction, name, 0, timing, options.onProgress);
  const began = timing.now();
  const abort = (): void => link.drop();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const result = await retrying({ policy: { ...DEFAULT_RETRY, ...retry }, timing, meter, signal }, async (attempts) => {
      meter.phase('connecting');
      return attempt(await link.session(signal), { attempts, meter });
    });
    meter.phase('done', result.bytes);
    return { ...result, resumedFrom: meter.resumedFrom, retries: meter.retries, took: timing.now() - began };
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
