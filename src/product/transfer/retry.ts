import { TransferError } from './errors.ts';
import { ConnectionLost } from './peer-http.ts';
import { formatBytes, type ProgressMeter } from './progress.ts';
import { sleep, type Timing } from './timing.ts';

/** The n-th attempt without progress waits `initial * 2^n`, at most `longest`; after `giveUp` without progress nothing is tried again. All in milliseconds. */
export interface RetryPolicy {
  readonly initial: number;
  readonly longest: number;
  readonly giveUp: number;
}

export const DEFAULT_RETRY: RetryPolicy = { initial: 250, longest: 10_000, giveUp: 60_000 };

export interface Attempts {
  /** Something new reached the other end (or us): `kept` octets are safe now. The time to give up counts from here. */
  progressed(kept: number): void;
  /** Octets are on their way. That counts until the connection is lost; then the other end has to confirm some first. */
  moved(): void;
}

export interface RetryOptions {
  readonly policy: RetryPolicy;
  readonly timing: Timing;
  readonly meter: Pick<ProgressMeter, 'waiting'>;
  readonly signal?: AbortSignal | undefined;
}

/** Runs `attempt` until it returns, or fails for a reason that trying again does not mend, or made no progress for too long. */
export async function retrying<T>(options: RetryOptions, attempt: (attempts: Attempts) => Promise<T>): Promise<T> {
  const { policy, timing, meter, signal } = options;
  let lastProgress = timing.now();
  let fruitless = 0;
  let kept: number | undefined;
  let isTrusted = true;
  const attempts: Attempts = {
    progressed: (bytes) => {
      lastProgress = timing.now();
      fruitless = 0;
      kept = bytes;
      isTrusted = true;
    },
    moved: () => {
      if (isTrusted) lastProgress = timing.now();
    },
  };
  for (;;) {
    try {
      return await attempt(attempts);
    } catch (cause) {
      if (signal?.aborted) throw stopped(kept, cause);
      if (!worthAnother(cause)) throw cause;
      isTrusted = false;
      const delay = Math.min(policy.longest, policy.initial * 2 ** fruitless++);
      const idle = timing.now() - lastProgress;
      if (idle + delay > policy.giveUp) throw gaveUp(policy.giveUp, kept, cause);
      meter.waiting(delay);
      await sleep(timing, delay, signal).catch((aborted: unknown) => {
        throw stopped(kept, aborted);
      });
    }
  }
}

/** The connection broke, or the other end asked to come back later. */
function worthAnother(cause: unknown): boolean {
  return cause instanceof ConnectionLost || (cause instanceof TransferError && cause.code === 'TRANSFER_BUSY');
}

const RESUME_HINT = 'Run the same command to resume.';

function gaveUp(giveUp: number, kept: number | undefined, cause: unknown): TransferError {
  const safe = kept === undefined || kept === 0 ? '' : ` Kept ${formatBytes(kept)}.`;
  return new TransferError(`tunnel lost (no answer for ${Math.round(giveUp / 1000)} s).${safe}`, {
    code: 'TRANSFER_INTERRUPTED',
    resumable: true,
    hint: RESUME_HINT,
    cause,
    ...(kept === undefined ? {} : { kept }),
  });
}

function stopped(kept: number | undefined, cause: unknown): TransferError {
  const safe = kept === undefined || kept === 0 ? '' : ` Kept ${formatBytes(kept)}.`;
  return new TransferError(`stopped.${safe}`, {
    code: 'TRANSFER_ABORTED',
    resumable: true,
    hint: RESUME_HINT,
    cause,
    ...(kept === undefined ? {} : { kept }),
  });
}
