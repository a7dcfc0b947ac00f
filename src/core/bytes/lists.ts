/** The empty list of all who have none: of most kinds of things most SAs have nothing, and an own list takes room. */
export const NONE: readonly never[] = Object.freeze([]);

/** A list is never changed but replaced. Of its length exactly: what it grows by elsewhere takes room for good. */
export const withLast = <T extends object | number>(list: readonly T[], ...items: readonly T[]): readonly T[] =>
  items.length === 0 ? list : list.concat(items);

/** The same without the first that is `item`. */
export function without<T>(list: readonly T[], item: T): readonly T[] {
  const at = list.indexOf(item);
  if (at < 0) return list;
  return list.length === 1 ? NONE : list.slice(0, at).concat(list.slice(at + 1));
}
