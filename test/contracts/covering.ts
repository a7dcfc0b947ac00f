/** Names of values by name of dimension; the order is that in which values are preferred. */
export type Dimensions = Readonly<Record<string, readonly string[]>>;
export type Combination = Readonly<Record<string, string>>;

/** Whether values do not go together; dimensions that are not decided yet are absent. */
export type Conflicts = (partial: Partial<Combination>) => boolean;

/** Every combination of values that go together. */
export function* combinations(dimensions: Dimensions, conflicts: Conflicts, partial: Combination = {}): Generator<Combination> {
  const next = Object.keys(dimensions).find((name) => !(name in partial));
  if (next === undefined) return yield partial;
  for (const value of dimensions[next]!) {
    const longer = { ...partial, [next]: value };
    if (!conflicts(longer)) yield* combinations(dimensions, conflicts, longer);
  }
}

/** Few combinations in which every two values that go together in any are together once (pairwise testing). */
export function covering(dimensions: Dimensions, conflicts: Conflicts): readonly Combination[] {
  const covered = new Set<string>();
  const chosen: Combination[] = [];
  const names = Object.keys(dimensions);
  for (const [i, first] of names.entries())
    for (const second of names.slice(i + 1))
      for (const a of dimensions[first]!)
        for (const b of dimensions[second]!) {
          if (covered.has(pairKey(first, a, second, b))) continue;
          const combination = completed({ [first]: a, [second]: b }, dimensions, conflicts, covered);
          if (combination === undefined) continue;
          chosen.push(combination);
          for (const key of pairsOf(combination)) covered.add(key);
        }
  return chosen;
}

/** The pairs of a combination, each as one word. */
export function* pairsOf(combination: Combination): Generator<string> {
  const entries = Object.entries(combination);
  for (const [i, [first, a]] of entries.entries()) for (const [second, b] of entries.slice(i + 1)) yield pairKey(first, a, second, b);
}

/** Of what goes together, one value after the other that makes the most new pairs with those before it. */
function completed(
  partial: Combination,
  dimensions: Dimensions,
  conflicts: Conflicts,
  covered: ReadonlySet<string>,
): Combination | undefined {
  if (conflicts(partial)) return undefined;
  const next = Object.keys(dimensions).find((name) => !(name in partial));
  if (next === undefined) return partial;
  const fresh = (value: string): number =>
    Object.entries(partial).filter(([name, other]) => !covered.has(pairKey(name, other, next, value))).length;
  const candidates = dimensions[next]!.map((value) => ({ value, count: fresh(value) })).sort((a, b) => b.count - a.count);
  for (const { value } of candidates) {
    const found = completed({ ...partial, [next]: value }, dimensions, conflicts, covered);
    if (found !== undefined) return found;
  }
  return undefined;
}

const pairKey = (first: string, a: string, second: string, b: string): string =>
  first < second ? `${first}=${a} ${second}=${b}` : `${second}=${b} ${first}=${a}`;
