import { readSharedJson } from '../support/shared.ts';

export type Group = { readonly [key: string]: unknown; readonly tests: readonly Case[] };
export type Case = {
  readonly [key: string]: unknown;
  readonly tcId: number;
  readonly result: 'valid' | 'invalid' | 'acceptable';
  readonly flags?: readonly string[];
};

export const wycheproof = (file: string): readonly Group[] =>
  (readSharedJson(`vectors/wycheproof/${file}`) as { testGroups: readonly Group[] }).testGroups;

export function* cases(file: string): Generator<{ readonly group: Group; readonly test: Case }> {
  for (const group of wycheproof(file)) for (const test of group.tests) yield { group, test };
}

export const text = (holder: Group | Case, field: string): string => {
  const value = holder[field];
  if (typeof value !== 'string') throw new Error(`no text in ${field}`);
  return value;
};
export const hex = (holder: Group | Case, field: string): Uint8Array =>
  Uint8Array.from(text(holder, field).match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

/**
 * Judges every case of a file. `judge` says whether the product accepted it and, where it computed something, came to the right result;
 * `skip` leaves out what the product has no way to express, and must say why.
 */
export function tally(
  file: string,
  judge: (group: Group, test: Case) => boolean,
  options: { readonly skip?: (group: Group, test: Case) => string | undefined; readonly acceptable?: (test: Case) => boolean } = {},
): { readonly wrong: readonly string[]; readonly judged: number; readonly skipped: Readonly<Record<string, number>> } {
  const wrong: string[] = [];
  const skipped: Record<string, number> = {};
  let judged = 0;
  for (const { group, test } of cases(file)) {
    const reason = options.skip?.(group, test);
    if (reason !== undefined) {
      skipped[reason] = (skipped[reason] ?? 0) + 1;
      continue;
    }
    judged++;
    const wanted = test.result === 'acceptable' ? (options.acceptable?.(test) ?? false) : test.result === 'valid';
    if (judge(group, test) !== wanted) wrong.push(`${file} ${test.tcId} ${test.result} ${(test.flags ?? []).join(' ')}`);
  }
  return { wrong, judged, skipped };
}
