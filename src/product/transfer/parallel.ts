/**
 * Works on everything that comes, on so many at once. After a failure nothing new begins; it is thrown when all that had begun is over.
 * @param work is told the item and its number, from 0
 */
export async function inParallel<T>(
  items: AsyncIterable<T> | Iterable<T>,
  width: number,
  work: (item: T, index: number) => Promise<void>,
): Promise<void> {
  const iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  let count = 0;
  let failed = false;
  const worker = async (): Promise<void> => {
    while (!failed) {
      try {
        const { done, value } = await iterator.next();
        if (done === true) return;
        await work(value, count++);
      } catch (cause) {
        failed = true;
        throw cause;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: width }, worker));
  await iterator.return?.();
  const broken = ends.find((end) => end.status === 'rejected');
  if (broken !== undefined) throw broken.reason;
}

/** Takes items before they are asked for, up to so many, but for those that come with the last. @param found is told each of them when it is there */
export async function* ahead<T>(items: AsyncIterable<readonly T[]>, most: number, found: (item: T) => void): AsyncGenerator<readonly T[]> {
  let waiting: T[] = [];
  let [over, failed] = [false, false];
  let cause: unknown;
  let wake = (): void => undefined;
  const changed = (): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve;
    });
  let roomAgain = (): void => undefined;
  const fill = async (): Promise<void> => {
    try {
      for await (const some of items) {
        if (over) return;
        for (const item of some) {
          found(item);
          waiting.push(item);
        }
        wake();
        if (waiting.length >= most) {
          await new Promise<void>((resolve) => {
            roomAgain = resolve;
          });
        }
      }
    } catch (error) {
      [failed, cause] = [true, error];
    } finally {
      over = true;
      wake();
    }
  };
  const filling = fill();
  try {
    for (;;) {
      const some = waiting;
      waiting = [];
      roomAgain();
      if (some.length > 0) yield some;
      else if (over) break;
      else await changed();
    }
    if (failed) throw cause;
  } finally {
    over = true;
    roomAgain();
    await filling;
  }
}
