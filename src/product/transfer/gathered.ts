/**
 * Goes on reading while whoever takes is busy, and hands over together what came meanwhile: a disk that answers late is then written to in
 * large pieces. Everything that came before a failure is handed over first.
 * @param most octets that wait at a time, but for the last piece
 */
export async function* gathered(source: AsyncIterable<Uint8Array>, most = MOST_WAITING): AsyncGenerator<readonly Uint8Array[]> {
  let waiting: Uint8Array[] = [];
  let octets = 0;
  let ended = false;
  let left = false;
  let failure: { readonly cause: unknown } | undefined;
  let came = (): void => {};
  let taken = (): void => {};
  const read = async (): Promise<void> => {
    for await (const piece of source) {
      waiting.push(piece);
      octets += piece.length;
      came();
      while (octets >= most && !left) await new Promise<void>((resolve) => (taken = resolve));
      if (left) return;
    }
  };
  read()
    .catch((cause: unknown) => {
      failure = { cause };
    })
    .finally(() => {
      ended = true;
      came();
    });
  try {
    while (waiting.length > 0 || !ended) {
      if (waiting.length === 0) {
        await new Promise<void>((resolve) => (came = resolve));
        continue;
      }
      const pieces = waiting;
      waiting = [];
      octets = 0;
      taken();
      yield pieces;
    }
    if (failure !== undefined) throw failure.cause;
  } finally {
    left = true;
    taken();
  }
}

/** One behind the other, in a buffer of their own. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(octetsIn(pieces));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

export const octetsIn = (pieces: readonly Uint8Array[]): number => pieces.reduce((sum, { length }) => sum + length, 0);

const MOST_WAITING = 1024 * 1024;
