import type { FileSent } from './server/files.ts';

/** What one peer gets of a file in ranges, over several connections, is one thing to tell: once all has left from the first of them on. */
export class SentRanges {
  readonly #unfinished = new Map<string, FileSent>();

  /** @param range field of the request; one without an end asks for all that is left. @returns what there is to tell */
  add(peer: string, sent: FileSent, range: string | undefined): FileSent | undefined {
    if (range === undefined || range.endsWith('-')) return sent;
    const key = JSON.stringify([peer, sent.name, sent.total]);
    const before = this.#unfinished.get(key);
    const from = Math.min(sent.from, before?.from ?? sent.from);
    const bytes = Math.min(sent.total - from, sent.bytes + (before?.bytes ?? 0));
    this.#unfinished.delete(key);
    const all = { ...sent, from, bytes };
    // the last range alone may have been the fastest
    if (from + bytes === sent.total && (before !== undefined || from === 0)) return all;
    this.#unfinished.set(key, all);
    if (this.#unfinished.size > MOST_UNFINISHED) this.#unfinished.delete(this.#unfinished.keys().next().value!);
    return undefined;
  }
}

const MOST_UNFINISHED = 64;
