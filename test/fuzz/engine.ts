import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TunnelwrightError } from '../../src/core/bytes/index.ts';
import { least, processorTime } from '../support/processor-time.ts';
import { type Draws, seededDraws } from './draws.ts';
import { mutate } from './mutate.ts';
import { Watchdog } from './watchdog.ts';

/** Something that meets octets of strangers. */
export interface FuzzTarget {
  readonly name: string;
  /** Milliseconds of processor time that no input may take; those of a datagram's size 50. */
  readonly slow?: number;
  /** Well-formed inputs from which the wandering starts. */
  seeds(draws: Draws): readonly Uint8Array[];
  /**
   * Handles one input. It may refuse it with an error of our tree, or return; anything else is a crash, and so is a broken promise that
   * it states with `assert`.
   */
  run(input: Uint8Array): void;
}

export interface Crash {
  readonly target: string;
  readonly input: Uint8Array;
  readonly reason: string;
}

export interface Budget {
  readonly seed: number;
  /** Stops at whichever comes first. */
  readonly inputs: number;
  readonly milliseconds: number;
}

/** Seeds first, then mutations of them; the first crash ends it, made smaller. */
export function fuzz(target: FuzzTarget, budget: Budget): { readonly inputs: number; readonly crash: Crash | undefined } {
  const draws = seededDraws(budget.seed);
  const seeds = [...target.seeds(draws)];
  const watchdog = Watchdog.ofThisProcess();
  const end = performance.now() + budget.milliseconds;
  let inputs = 0;
  try {
    for (; inputs < budget.inputs && performance.now() < end; inputs++) {
      const input = inputs < seeds.length ? seeds[inputs]! : mutate(draws.pick(seeds), seeds, draws);
      watchdog.watch(target.name, input);
      const reason = crashReason(target, input);
      if (reason !== undefined) return { inputs, crash: shrink(target, { target: target.name, input, reason }) };
    }
    return { inputs, crash: undefined };
  } finally {
    watchdog.rest();
  }
}

/** Why this input is a crash, or undefined when the target stood it. */
export function crashReason(target: FuzzTarget, input: Uint8Array): string | undefined {
  const slow = target.slow ?? SLOW;
  const began = performance.now();
  const reason = runOnce(target, input);
  // asking for the processor's time costs more than most inputs; it is never much longer than that of the clock on the wall
  if (reason !== undefined || performance.now() - began < slow) return reason;
  const took = least(() => processorTime(() => void runOnce(target, input)), slow);
  return took < slow ? undefined : `took ${took.toFixed(0)} ms for ${input.length} octets`;
}

/** Crashes that were found before, each a file; they stay here for good. */
export function corpus(target: FuzzTarget): readonly { readonly file: string; readonly input: Uint8Array }[] {
  const folder = corpusFolder(target.name);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((file) => ({ file, input: new Uint8Array(readFileSync(join(folder, file))) }));
}

export function keep(crash: Crash): string {
  const folder = corpusFolder(crash.target);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${createHash('sha256').update(crash.input).digest('hex').slice(0, 16)}.bin`);
  writeFileSync(file, crash.input);
  return file;
}

export const describeCrash = ({ target, input, reason }: Crash): string =>
  `${target}: ${reason}\n${input.length} octets: ${Buffer.from(input.subarray(0, 512)).toString('hex')}${input.length > 512 ? '…' : ''}`;

function runOnce(target: FuzzTarget, input: Uint8Array): string | undefined {
  const copy = input.slice();
  try {
    target.run(copy);
  } catch (error) {
    if (error instanceof TunnelwrightError && !FORBIDDEN_CODES.has(error.code)) return undefined;
    return error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 4).join('\n') : String(error);
  }
  return undefined;
}

/** Takes parts away as long as the same thing goes wrong, for a bounded number of tries. What is slow stays as it is: a try would cost too much. */
function shrink(target: FuzzTarget, crash: Crash): Crash {
  const kind = crash.reason.split('\n')[0];
  let { input, reason } = crash;
  let tries = 0;
  for (let size = input.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < input.length && tries < SHRINK_TRIES; tries++) {
      const shorter = Uint8Array.from([...input.subarray(0, at), ...input.subarray(at + size)]);
      const found = runOnce(target, shorter);
      if (found === undefined && tries === 0 && runOnce(target, input) === undefined) return crash;
      if (found?.split('\n')[0] === kind) [input, reason] = [shorter, found!];
      else at += size;
    }
  }
  return { ...crash, input, reason };
}

const corpusFolder = (name: string): string => join(import.meta.dirname, 'corpus', name.replace(/[^a-z0-9]+/gi, '-'));

/** Our own mistakes are crashes, although they come from the tree. */
const FORBIDDEN_CODES = new Set(['INTERNAL_ERROR', 'API_MISUSE']);
const SLOW = 50;
const SHRINK_TRIES = 2000;
