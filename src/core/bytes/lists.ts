/** Takes one item out of a list that is too short to be worth a Set; the order of the others stays. Nothing happens where it is not in it. */
export function takeOut<T>(list: T[], item: T): void {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
}
