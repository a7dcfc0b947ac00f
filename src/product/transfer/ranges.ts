import { BLOCK } from './blocks.ts';

export interface RangesOptions {
  /** The first octet, and the one behind the last. */
  readonly from: number;
  readonly to: number;
  readonly connections: number;
  /** Brings the octets from `start` up to `end`, over the connection of that number; one at a time over each. */
  readonly bring: (connection: number, start: number, end: number) => Promise<Uint8Array>;
}

/**
 * Octets that come over several connections at once, handed out in order. What is ahead of its turn waits in memory, `AHEAD` blocks at most: so
 * the file here has no holes, and what is in it when everything ends at once is what the next run begins with.
 */
export async function* inRanges({ from, to, connections, bring }: RangesOptions): AsyncGenerator<Uint8Array> {
  const count = Math.ceil((to - from) / BLOCK);
  const free = Array.from({ length: connections }, (_, connection) => connection);
  const coming = new Map<number, Promise<Uint8Array>>();
  let [asked, due, ended] = [0, 0, false];

  const askMore = (): void => {
    while (!ended && free.length > 0 && asked < count && asked < due + AHEAD) {
      const connection = free.shift()!;
      const start = from + asked * BLOCK;
      const block = bring(connection, start, Math.min(to, start + BLOCK)).then((octets) => {
        free.push(connection);
        askMore();
        return octets;
      });
      // it is heard when its turn comes; until then, what was asked for before it still counts
      block.catch(() => {
        ended = true;
      });
      coming.set(asked++, block);
    }
  };

  try {
    for (; due < count; due++) {
      askMore();
      yield await coming.get(due)!;
      coming.delete(due);
    }
  } finally {
    ended = true;
  }
}

/** Is a file worth more than one connection? */
export const isForRanges = (octets: number): boolean => octets >= 2 * BLOCK;

const AHEAD = 16;
/** Connections at once. */
export const MOST_PARALLEL = 16;
