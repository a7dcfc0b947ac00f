import { concat } from '../../bytes/bytes.ts';
import { NegotiationFailure } from '../../bytes/errors.ts';
import { isPuzzleSolution, prf } from '../../crypto/index.ts';
import {
  ExchangeType,
  type Message,
  type NotifyPayload,
  NotifyType,
  nameOf,
  type Payload,
  PrfId,
  TransformType,
} from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { find, findNotify, notify } from '../notifies.ts';
import type { Connection, EndpointLimits } from '../policy.ts';
import { ask, type Routine } from '../routine.ts';
import type { AuthMaterial } from '../signed-octets.ts';

/** RFC 8019 §8.1: keys for this PRF are to be found under which the cookie becomes something that ends in so many zero bits. */
export interface Puzzle {
  readonly prf: number;
  readonly difficulty: number;
}

/**
 * The initiator (RFC 8019 §7.1.2): PS for a demand that holds COOKIE and PUZZLE. What is too hard, or in a PRF that is not known here, goes
 * unsolved, as if it had not been understood.
 *
 *     HDR, N(COOKIE), [PS,] SA, KE, Ni  -->
 */
export function* solvePuzzle({ puzzles }: Connection, demand: readonly Payload[], cookie: Uint8Array): Routine<Payload[]> {
  const puzzle = puzzleIn(demand);
  if (puzzle === undefined || puzzles === undefined || puzzle.difficulty > puzzles || prf(puzzle.prf) === undefined) return [];
  // §7.1.1.1: 0 leaves it to us how much to do
  const difficulty = puzzle.difficulty === 0 ? Math.min(puzzles, FREE_DIFFICULTY) : puzzle.difficulty;
  const answer = yield* ask({ kind: 'solve-puzzle', prf: puzzle.prf, difficulty, octets: cookie.slice() });
  return answer.ok ? [{ kind: 'PS', data: answer.solution }] : [];
}

/**
 * The initiator (RFC 8019 §7.2.2): a responder that sets another puzzle in its regular response drops IKE_AUTH without the solution unread.
 *
 *     HDR, PS, SK {IDi, ...}  -->
 *
 * @throws NegotiationFailure `PUZZLE_TOO_HARD`
 */
export function* solveAuthPuzzle({ spiR }: IkeSa, { name, puzzles = 0 }: Connection, { puzzle, nonces }: AuthMaterial): Routine<Payload[]> {
  if (puzzle === undefined) return [];
  if (puzzle.difficulty > puzzles || prf(puzzle.prf) === undefined) throw tooHard(name, puzzle);
  // §7.2.3
  const answer = yield* ask({ kind: 'solve-puzzle', ...puzzle, octets: concat(nonces.Nr, spiR) });
  if (!answer.ok) throw answer.error;
  return [{ kind: 'PS', data: answer.solution }];
}

/** RFC 8019 §8.1: three octets; what is anything else is no puzzle. */
export function puzzleIn(payloads: readonly Payload[]): Puzzle | undefined {
  const data = findNotify(payloads, NotifyType.PUZZLE)?.data;
  return data?.length === 3 ? readPuzzle(data) : undefined;
}

/** What becomes of a request that brings one of our cookies (RFC 8019 §7.1.5). */
export type Verdict = 'accept' | 'solved' | 'reject' | { readonly demand: Puzzle };

/**
 * The responder, when so many IKE SAs are half-open that a cookie alone is not enough. Who solves the puzzle comes in; who does not, be it that
 * it cannot, has a chance that gets smaller the fuller it is.
 * @param given the puzzle that the cookie was handed out with
 * @param chance from 0 to below 1
 */
export function judgeRequest(
  { puzzles, halfOpen }: EndpointLimits,
  size: number,
  payloads: readonly Payload[],
  given: Puzzle | undefined,
  chance: number,
): Verdict {
  if (puzzles === undefined || size < puzzles.threshold) return 'accept';
  if (given === undefined) {
    const puzzle = choosePuzzle(payloads, puzzles.difficulty);
    // without a PRF in common there is no IKE SA either, and the initiator hears that (§7.1.1.2)
    return puzzle === undefined ? 'accept' : { demand: puzzle };
  }
  const solution = find(payloads, 'PS')?.data;
  const transform = prf(given.prf);
  const cookie = findNotify(payloads, NotifyType.COOKIE);
  if (solution !== undefined && transform !== undefined && cookie && isPuzzleSolution(solution, transform, given.difficulty, cookie.data))
    return 'solved';
  return chance < LOTTERY * (1 - size / halfOpen) ? 'accept' : 'reject';
}

/**
 * The responder (RFC 8019 §7.2.1), to an initiator that solved the puzzle in IKE_SA_INIT, and to no other:
 *
 *     <--  HDR, SA, KE, Nr, N(PUZZLE)
 *
 * The key exchange is computed by then; what it spares is opening what nobody has sealed, again and again.
 * @param forged half-open IKE SAs whose IKE_AUTH did not open, of so many
 */
export function puzzleForAuth({ puzzles }: EndpointLimits, forged: number, size: number, payloads: readonly Payload[]): Puzzle | undefined {
  if (!puzzles?.inAuth || forged === 0 || forged < size * MANY_FORGED) return undefined;
  return choosePuzzle(payloads, puzzles.inAuth);
}

/**
 * RFC 8019 §7.2.4: what comes without the solution is dropped before anything is computed for it; once it is known, it need not come again.
 * IKE_INTERMEDIATE stands before IKE_AUTH where both agreed to it, and RFC 8019 is older than that: it has no solution.
 */
export function maySpendOn({ pending, peer, spiR }: IkeSa, { header, payloads }: Message): boolean {
  const puzzle = pending?.puzzle;
  if (pending === undefined || puzzle === undefined) return true;
  if (header.exchange === ExchangeType.IKE_INTERMEDIATE) return peer.intermediate;
  const solution = header.exchange === ExchangeType.IKE_AUTH ? find(payloads, 'PS')?.data : undefined;
  const octets = concat(pending.material.nonces.Nr, spiR);
  if (solution === undefined || !isPuzzleSolution(solution, prf(puzzle.prf)!, puzzle.difficulty, octets)) return false;
  pending.puzzle = undefined;
  return true;
}

export const puzzleNotify = ({ prf: id, difficulty }: Puzzle): NotifyPayload =>
  notify(NotifyType.PUZZLE, Uint8Array.of(id >>> 8, id & 0xff, difficulty));

export const readPuzzle = (data: Uint8Array): Puzzle => ({ prf: (data[0]! << 8) | data[1]!, difficulty: data[2]! });

/** §7.1.1.2: of the PRFs that the initiator offers for its IKE SA. */
function choosePuzzle(payloads: readonly Payload[], difficulty: number): Puzzle | undefined {
  const offered = new Set(
    (find(payloads, 'SA')?.proposals ?? []).flatMap(({ transforms }) =>
      transforms.filter(({ type }) => type === TransformType.PRF).map(({ id }) => id),
    ),
  );
  const chosen = PREFERRED.find((id) => offered.has(id)) ?? [...offered].find((id) => prf(id) !== undefined);
  return chosen === undefined ? undefined : { prf: chosen, difficulty };
}

const tooHard = (name: string, { prf: id, difficulty }: Puzzle): NegotiationFailure =>
  new NegotiationFailure(
    `the peer wants a puzzle of ${difficulty} zero bits (${nameOf(PrfId, id)}) solved in IKE_AUTH, which is more than ${name} allows`,
    {
      code: 'PUZZLE_TOO_HARD',
      section: 'RFC 8019 §7.2.2',
      hint: 'The gateway is under attack: try again later, or allow harder ones (max_puzzle).',
    },
  );

const PREFERRED: readonly number[] = [PrfId.PRF_HMAC_SHA2_256, PrfId.PRF_HMAC_SHA2_384, PrfId.PRF_HMAC_SHA2_512];
const FREE_DIFFICULTY = 14;
/** Of the requests without a solution, as long as there is room for all. */
const LOTTERY = 0.25;
/** Of the half-open IKE SAs. */
const MANY_FORGED = 0.25;
