/**
 * The highest rate that passes, to 6 %: doubling or halving from the first, then between the last good and the first bad one. A rate is bad
 * after two failures, since on a busy machine one hiccup fails any.
 * @param first datagrams a second to begin with
 * @param passes whether nearly everything that was sent at this rate arrived
 * @returns 0 where nothing passed
 */
export async function highestRate(first: number, passes: (rate: number) => Promise<boolean>): Promise<number> {
  let [good, bad, rate] = [0, Number.POSITIVE_INFINITY, first];
  for (let steps = 0; steps < MOST_STEPS; steps++) {
    if ((await passes(rate)) || (await passes(rate))) good = rate;
    else bad = rate;
    if (bad <= good * PRECISION || bad < LEAST) break;
    rate = bad === Number.POSITIVE_INFINITY ? good * 2 : good === 0 ? bad / 2 : Math.sqrt(good * bad);
  }
  return good;
}

const PRECISION = 1.06;
/** Datagrams a second: below that it is not worth asking. */
const LEAST = 100;
const MOST_STEPS = 20;
