import type { Millis } from '../../core/ike/effects.ts';

/** What is open at the far end of a way, and goes with it. */
interface Ending {
  onEnd: ((error?: Error) => void) | undefined;
  close(): void;
}

export interface LastingOptions<T extends Ending> {
  /** Opens it; `last` is what went, unless it is the first. */
  readonly open: (last: T | undefined) => Promise<T>;
  /** It went with its way, or is there again. */
  readonly onPresence?: ((there: boolean) => void) | undefined;
  /** Why it cannot be opened again; each reason once, while it is away. */
  readonly onFailure?: ((error: unknown) => void) | undefined;
}

/** A port at the far end of a way: where the way goes, the port is opened again as soon as the way is back. */
export class Lasting<T extends Ending> {
  readonly #options: LastingOptions<T>;
  #current: T;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;

  /** @throws what opening it for the first time throws */
  static async open<T extends Ending>(options: LastingOptions<T>): Promise<Lasting<T>> {
    return new Lasting(await options.open(undefined), options);
  }

  private constructor(first: T, options: LastingOptions<T>) {
    this.#options = options;
    this.#current = first;
    this.#follow(first);
  }

  /** While it is away, what was there last. */
  get current(): T {
    return this.#current;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#current.close();
  }

  #follow(opened: T): void {
    this.#current = opened;
    opened.onEnd = () => {
      this.#options.onPresence?.(false);
      this.#tryLater(undefined, SOONEST);
    };
  }

  #tryLater(lastReason: string | undefined, delay: Millis): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#tryAgain(lastReason, delay), delay);
  }

  async #tryAgain(lastReason: string | undefined, delay: Millis): Promise<void> {
    try {
      const opened = await this.#options.open(this.#current);
      if (this.#closed) return opened.close();
      this.#follow(opened);
      this.#options.onPresence?.(true);
    } catch (error) {
      if (this.#closed) return;
      const reason = String(error);
      if (reason !== lastReason) this.#options.onFailure?.(error);
      this.#tryLater(reason, Math.min(2 * delay, LATEST));
    }
  }
}

const SOONEST: Millis = 100;
const LATEST: Millis = 2000;
