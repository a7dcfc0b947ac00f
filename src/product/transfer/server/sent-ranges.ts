import type { FileSending, FileSent } from './files.ts';

/** What one peer gets of a file in ranges, over several connections, is one thing to tell: once all has left from the first of them on. */
export class SentRanges {
  readonly #unfinished = new Map<string, Ranges>();

  /**
   * A range begins to leave.
   * @param range field of the request; one without an end asks for all that is left
   * @returns what to call with the octets that have left; it gives what there is to tell
   */
  begin(peer: string, file: FileSending, range: string | undefined): (bytes: number) => FileSent | undefined {
    if (range === undefined || range.endsWith('-')) return (bytes) => ({ ...file, bytes });
    const key = JSON.stringify([peer, file.name, file.total]);
    const all = this.#unfinished.get(key) ?? { from: file.from, bytes: 0, count: 0, open: 0 };
    all.from = Math.min(all.from, file.from);
    all.count++;
    all.open++;
    this.#unfinished.set(key, all);
    if (this.#unfinished.size > MOST_UNFINISHED) this.#unfinished.delete(this.#unfinished.keys().next().value!);
    return (bytes) => {
      all.open--;
      all.bytes = Math.min(file.total - all.from, all.bytes + bytes);
      const isAll = all.from + all.bytes === file.total;
      // the last range alone may have been the fastest
      if (!isAll || (all.from > 0 && all.count === 1)) return undefined;
      // while some in front are still leaving, those make it the whole
      if (all.open > 0) return undefined;
      this.#unfinished.delete(key);
      return { ...file, from: all.from, bytes: all.bytes };
    };
  }
}

interface Ranges {
  /** Of those that have begun, the lowest. */
  from: number;
  /** That have left. */
  bytes: number;
  count: number;
  /** That are leaving. */
  open: number;
}

const MOST_UNFINISHED = 64;
