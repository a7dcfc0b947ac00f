import type { CliContext, EndSignal } from './context.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit-codes.ts';

/**
 * Runs something that Ctrl-C, the wish to end and --timeout stop in an orderly way: the signal is aborted, and what runs says goodbye.
 * Whoever asks a second time is not made to wait.
 */
export async function interruptible<T>(
  context: CliContext,
  timeout: number | undefined,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const stop = onEnd(context, () => controller.abort(new CliError('interrupted', { code: 'INTERRUPTED' })));
  const late = () =>
    controller.abort(new CliError(`not done within ${timeout! / 1000} s`, { code: 'TIMEOUT', hint: 'Give it more time with --timeout.' }));
  const timer = timeout === undefined ? undefined : setTimeout(late, timeout);
  try {
    return await run(controller.signal);
  } finally {
    clearTimeout(timer);
    stop();
  }
}

/** Calls back once for the first wish to end; a second one ends the process at once. */
export function onEnd(context: CliContext, listener: (signal: EndSignal) => void): () => void {
  let asked = false;
  return context.onSignal((signal) => {
    if (asked) context.exitNow(EXIT.interrupted);
    asked = true;
    listener(signal);
  });
}
