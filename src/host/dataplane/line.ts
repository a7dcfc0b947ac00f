/**
 * The CHILD_SAs in whose place one stands, nearest first: what it replaces, what that replaced, and so on, as far as they are there. Those
 * between may never have sent, since the peer did not show in time that it has them (RFC 7296 §2.8): then it is one behind them that does.
 */
export function formersOf<Child>(
  child: Child,
  children: ReadonlyMap<number, Child>,
  replacedBy: (one: Child) => number | undefined,
): readonly Child[] {
  const formers: Child[] = [];
  const formerOf = (one: Child): Child | undefined => children.get(replacedBy(one) ?? Number.NaN);
  for (let former = formerOf(child); former !== undefined; former = formerOf(former)) formers.push(former);
  return formers;
}
