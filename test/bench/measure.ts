import { readFileSync } from 'node:fs';

/** One line of the table. */
export interface Row {
  /** What is measured, and of what. */
  readonly what: string;
  readonly subject: string;
  readonly value: number;
  readonly unit: string;
  /** All runs in order; the value is their median. */
  readonly runs: readonly number[];
}

export function median(runs: readonly number[]): number {
  const sorted = [...runs].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export const row = (what: string, subject: string, unit: string, runs: readonly number[]): Row => ({
  what,
  subject,
  unit,
  runs,
  value: median(runs),
});

/** CPU time of a process, user and system together, in seconds: fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

const TICKS = 100;
