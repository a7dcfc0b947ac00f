/** Takes a listener off again. Calling it twice does nothing. */
export type Unsubscribe = () => void;

/**
 * Typed events: `Events` names each event and what it carries. Listeners run at once and in the order in which they were added; one that
 * throws takes nothing down but is handed to `onListenerError`.
 */
export class Emitter<Events extends object> {
  /** Each list is replaced and never changed, so that whoever goes along it meets those that were there when it began. */
  readonly #listeners = new Map<keyof Events, readonly ((event: never) => void)[]>();
  readonly #onListenerError: (error: unknown) => void;

  constructor(onListenerError: (error: unknown) => void) {
    this.#onListenerError = onListenerError;
  }

  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): Unsubscribe {
    // A wrapper of its own, so that one function added twice is taken off one by one.
    const wrapped = (event: never): void => listener(event as Events[Name]);
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), wrapped]);
    return () =>
      void this.#listeners.set(
        name,
        (this.#listeners.get(name) ?? []).filter((listener) => listener !== wrapped),
      );
  }

  once<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): Unsubscribe {
    const off = this.on(name, (event) => {
      off();
      listener(event);
    });
    return off;
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    const listeners = this.#listeners.get(name);
    if (listeners === undefined) return;
    for (const listener of listeners) {
      try {
        listener(event as never);
      } catch (error) {
        this.#onListenerError(error);
      }
    }
  }
}
