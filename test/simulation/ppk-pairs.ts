import type { PpkExchange, PpkPolicy } from '../../src/core/ike/index.ts';
import { fqdn, type Pair, type PairOptions, pair, SeededRandom, type SideOptions } from '../../src/testing/index.ts';

/** What tests of post-quantum pre-shared keys set up. */
export const SECRET = new SeededRandom('ppk').bytes(32);
export const OTHER = new SeededRandom('another ppk').bytes(32);

export interface Choice {
  readonly required?: boolean;
  readonly exchange?: PpkExchange;
}

/** For the PPK with this id. */
export const ppkPolicy = (id: string, { required = false, exchange }: Choice = {}): PpkPolicy => ({
  id: { kind: 'exact', id: fqdn(id) },
  required,
  exchange,
});

/** An end with such a policy that knows these PPKs. */
export const side = (ppk: PpkPolicy | undefined, ppks: Record<string, Uint8Array> = { 'ppk.lab': SECRET }): SideOptions => ({
  connection: { ...(ppk && { ppk }) },
  identity: { ppks },
});

export const bothWith = (choice: Choice): PairOptions => ({ a: side(ppkPolicy('ppk.lab', choice)), b: side(ppkPolicy('ppk.lab', choice)) });

export function up(options: PairOptions): Pair {
  const made = pair(options);
  made.a.initiate();
  made.net.settle();
  return made;
}

export const errorsOf = ({ a, b }: Pair) =>
  [a, b].map((peer) =>
    [...peer.heard('failed'), ...peer.heard('ike-down')].map(({ error }) => error?.code).filter((code) => code !== undefined),
  );
