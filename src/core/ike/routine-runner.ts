import { withLast, without } from '../bytes/lists.ts';
import type { Ask, AskResult, Millis } from './effects.ts';
import type { IkeSa } from './ike-sa.ts';
import type { Inbound, Request, Routine, Wish } from './routine.ts';

/** How a runner grants wishes; each call gives a function that takes the wish back. */
export interface Granter {
  ask(sa: IkeSa, ask: Ask, within: Millis, answered: (answer: AskResult) => void): () => void;
  request(sa: IkeSa, request: Request, answered: (response: Inbound | undefined) => void, failed: (error: unknown) => void): () => void;
}

/**
 * Drives one routine from wish to wish. Cancelling it, which is what an IKE SA does to all of its routines when it dies, takes the open
 * wish back and runs the routine's `finally` blocks.
 */
export function runRoutine<T>(
  granter: Granter,
  sa: IkeSa,
  routine: Routine<T>,
  done: (value: T) => void,
  failed: (error: unknown) => void,
): void {
  let finished = false;
  let running = false;
  let cancelled = false;
  let takeBack: (() => void) | undefined;

  const close = () => {
    finished = true;
    sa.cancels = without(sa.cancels, cancel);
    routine.return(undefined as T);
  };

  function cancel(): void {
    cancelled = true;
    takeBack?.();
    takeBack = undefined;
    // a routine that ends its own SA is still on the stack: it is closed when it stops
    if (!running && !finished) close();
  }

  const step = (resume: () => IteratorResult<Wish, T>) => {
    if (finished || cancelled) return;
    takeBack = undefined;
    running = true;
    let result: IteratorResult<Wish, T>;
    try {
      result = resume();
    } catch (error) {
      finished = true;
      sa.cancels = without(sa.cancels, cancel);
      failed(error);
      return;
    } finally {
      running = false;
    }
    if (result.done) {
      finished = true;
      sa.cancels = without(sa.cancels, cancel);
      done(result.value);
    } else if (cancelled) close();
    else grantOrFail(result.value);
  };

  /** A wish that cannot be granted, say a message too large to send, is the routine's to deal with. */
  const grantOrFail = (wish: Wish) => {
    try {
      grant(wish);
    } catch (error) {
      step(() => routine.throw(error));
    }
  };

  const grant = (wish: Wish) => {
    if (wish.kind === 'ask') {
      takeBack = granter.ask(sa, wish.ask, wish.within, (answer) => step(() => routine.next(answer)));
    } else {
      takeBack = granter.request(
        sa,
        wish.request,
        (response) => step(() => routine.next(response)),
        (error) => step(() => routine.throw(error)),
      );
    }
  };

  sa.cancels = withLast(sa.cancels, cancel);
  step(() => routine.next());
}
