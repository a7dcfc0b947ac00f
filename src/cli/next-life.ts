import { setTimeout as sleep } from 'node:timers/promises';
import { ControlError } from '../product/control/errors.ts';
import { CliError } from './errors.ts';

export interface NextLifeOptions<I, L> {
  /** The instance that is asked. @throws ControlError, CliError while there is none that could do it */
  readonly find: () => Promise<I>;
  readonly ask: (instance: I) => AsyncIterable<L>;
  /** The instance is gone in the middle, or there is one again. */
  readonly onPresence: (there: boolean) => void;
  readonly signal: AbortSignal;
  /** Milliseconds between two looks for the next one. */
  readonly every?: number;
}

/**
 * What an instance says of something long that loses nothing by being asked for again, such as a transfer: where the instance is killed in the
 * middle, the next one that comes up in its place is asked for the same, and goes on where it ended.
 * @throws CliError `INSTANCE_GONE`, resumable, when none comes up within a minute; besides, what asking throws
 */
export async function* throughLives<I, L>(options: NextLifeOptions<I, L>): AsyncGenerator<L> {
  const { find, ask, onPresence } = options;
  for (let instance = await find(); ; ) {
    try {
      yield* ask(instance);
      return;
    } catch (error) {
      if (!isGone(error)) throw error;
      onPresence(false);
      instance = await nextLife(options, error);
      onPresence(true);
    }
  }
}

async function nextLife<I, L>({ find, signal, every = LOOK_EVERY }: NextLifeOptions<I, L>, cause: unknown): Promise<I> {
  for (let looks = Math.ceil(PATIENCE / LOOK_EVERY); looks > 0; looks--) {
    await sleep(every, undefined, { signal }).catch(() => signal.throwIfAborted());
    try {
      return await find();
    } catch {
      signal.throwIfAborted();
    }
  }
  throw new CliError('the instance ended in the middle, and none has come up in its place for a minute; what is across is kept', {
    code: 'INSTANCE_GONE',
    resumable: true,
    hint: 'Start it again, and run the same command to go on where it stopped.',
    cause,
  });
}

const isGone = (error: unknown): boolean =>
  error instanceof ControlError && (error.code === 'CONTROL_LOST' || error.code === 'NOT_RUNNING');

/** Milliseconds. */
const LOOK_EVERY = 1000;
const PATIENCE = 60_000;
