import { z } from 'zod';

/** A section of named keys. Any other key is refused, with the known one it resembles. */
export function section<T extends z.ZodRawShape>(shape: T) {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? issue.keys.map((unknown) => unknownKey(unknown, known)).join('\n') : undefined),
  });
}

/** Sections or values under names that the operator chooses. */
export const named = <T extends z.ZodType>(inner: T) => z.record(name, inner);

export const name = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}$/, {
    error: 'a name has 1 to 64 letters, digits and . _ - @ +, and begins with a letter, a digit or _',
  })
  .meta({ id: 'Name', description: 'A name that you choose.' });

/** An optional key with its description and, in words, what holds when it is absent. */
export function key<T extends z.ZodType>(schema: T, description: string, otherwise?: string | number) {
  return schema.optional().meta({ description, ...(otherwise === undefined ? {} : { otherwise }) });
}

export const required = <T extends z.ZodType>(schema: T, description: string) => schema.meta({ description });

/** A section that may stand empty: its keys all have defaults. */
export function orEmpty<T extends z.ZodType>(inner: T) {
  return z.union([inner, z.null().transform((): z.output<T> => ({}) as z.output<T>)]);
}

/** Names in `known` that `word` was probably meant to be; best first, at most one unless they are equally near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const folded = fold(word);
  let best: string | undefined;
  let least = Math.max(1, Math.floor(folded.length / 3)) + 1;
  for (const candidate of known) {
    const distance = fold(candidate) === folded ? 0 : editDistance(folded, fold(candidate), least);
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

function unknownKey(unknown: string, known: readonly string[]): string {
  const meant = nearest(unknown, known);
  return meant === undefined ? `unknown key; known here: ${listed(known)}` : `unknown key: did you mean "${meant}"?`;
}

const listed = (words: readonly string[]) => (words.length > 12 ? `${words.slice(0, 12).join(', ')}, …` : words.join(', '));
const fold = (word: string) => word.slice(0, 64).toLowerCase().replaceAll(/[-_ ]/g, '');

/** Damerau-Levenshtein (adjacent letters swapped count once); at least `limit` when it is not less. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(change, previous[j]! + 1, row[j - 1]! + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j]!, before[j - 2]! + 1);
    }
    [before, previous] = [previous, row];
  }
  return previous[b.length]!;
}
