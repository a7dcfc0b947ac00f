import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { least } from '../../support/processor-time.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Octets that are still held once everything that can be collected is: the heap, and what typed arrays have outside of it. */
export function heldOctets(): number {
  let held = Number.POSITIVE_INFINITY;
  // what one collection frees, a thread beside it may give back only during the next one: until there is no more to gain
  for (let round = 0, gained = held; round < ROUNDS && (round < ROUNDS_AT_LEAST || gained > NOTHING); round++) {
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    gained = held - (heapUsed + arrayBuffers);
    held = Math.min(held, heapUsed + arrayBuffers);
  }
  return held;
}

/**
 * Octets that work leaves behind: the least of up to three measurements, ended early by one below `enough`. A leak leaves them each time; code
 * that was compiled meanwhile, and caches, stay once. `prepare` makes what is not to be counted, and gives the work; what the work refers to is
 * alive when it is measured.
 */
export function leftBehind(prepare: () => () => void, enough: number): number {
  const alive: (() => void)[] = [];
  return least(() => {
    alive.length = 0;
    const work = prepare();
    alive.push(work);
    const before = heldOctets();
    work();
    return heldOctets() - before;
  }, enough);
}

const ROUNDS_AT_LEAST = 3;
const ROUNDS = 8;
const NOTHING = 16_384;
