/**
 * What a test made on the machine, undone in reverse order, whatever happened in between. Undoing goes on after a failure, and the
 * failures are reported together at the end.
 */
export class Scope {
  readonly #undo: { readonly what: string; readonly run: () => unknown }[] = [];

  /** Registers how something is undone, at once after it was done. */
  defer(what: string, run: () => unknown): void {
    this.#undo.push({ what, run });
  }

  async close(): Promise<void> {
    const failures: string[] = [];
    for (let entry = this.#undo.pop(); entry !== undefined; entry = this.#undo.pop()) {
      try {
        await entry.run();
      } catch (error) {
        failures.push(`${entry.what}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    if (failures.length > 0) throw new Error(`not everything could be cleaned up\n${failures.join('\n')}`);
  }
}
