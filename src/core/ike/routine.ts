import type { Payload } from '../wire/index.ts';
import type { Ask, AskAnswers, Millis } from './effects.ts';
import type { Path } from './path.ts';

/**
 * An exchange is written as one sequential routine, a generator that reads like the RFC's paragraph. It stops for exactly two things:
 * an Ask, which the world answers, and an exchange with the peer. So the core stays synchronous and deterministic, without promises,
 * and a cancelled routine still runs its `finally` blocks, where keys are zeroised.
 */
export type Routine<T> = Generator<Wish, T, unknown>;

export type Wish =
  | { readonly kind: 'ask'; readonly ask: Ask; readonly within: Millis }
  | { readonly kind: 'exchange'; readonly request: Request };

/** A message to be sent; header fields follow from the IKE SA. */
export interface Request {
  readonly exchange: number;
  readonly payloads: readonly Payload[];
  /** RFC 4555 §3.10: tests this path; only when it stays silent, copies go where the IKE SA is. */
  readonly via?: Path | undefined;
  /** RFC 4555 §3.6: a responder whose address is gone may send it over any pair of addresses. */
  readonly anywhere?: boolean | undefined;
  /** What answers over `via` says nothing of the path that the IKE SA should be on. */
  readonly aside?: boolean | undefined;
  /** Give up after this time where the policy would wait longer. */
  readonly patience?: Millis | undefined;
  /** RFC 6311 §5.1: it goes out with Message ID 0, whatever the window says; only what this says yes to is an answer. */
  readonly synchronises?: ((response: readonly Payload[]) => boolean) | undefined;
  /** Asked when the window has room: whether it still has to be sent. */
  readonly due?: (() => boolean) | undefined;
}

/** A message that was received, opened and checked against the grammar. */
export interface Inbound {
  readonly exchange: number;
  readonly messageId: number;
  readonly payloads: readonly Payload[];
  /** The whole message as received: RealMessage1 and RealMessage2 of RFC 7296 §2.15 are bytes, not values. */
  readonly raw: Uint8Array;
  /** Of IKE_INTERMEDIATE alone: what AUTH will cover of it (RFC 9242 §3.3.2). */
  readonly authenticated?: Uint8Array | undefined;
  /** Over which it came, as its IP header says: not authenticated. */
  readonly path: Path;
}

/** What a responder sends back, and what happens once it has been sent. */
export interface Reply {
  readonly payloads: readonly Payload[];
  readonly afterwards?: () => void;
}

/** Stops until the world has answered; after `within` the answer is a TimedOut failure. */
export function* ask<K extends Ask['kind']>(request: Extract<Ask, { kind: K }>, within: Millis = ASK_DEADLINE): Routine<AskAnswers[K]> {
  return (yield { kind: 'ask', ask: request, within }) as AskAnswers[K];
}

/** Sends a request and stops until its response is here; throws TimedOut when the peer is given up. */
export function* exchange(
  exchangeType: number,
  payloads: readonly Payload[],
  options: Pick<Request, 'via' | 'anywhere' | 'aside' | 'patience' | 'synchronises'> = {},
): Routine<Inbound> {
  return (yield { kind: 'exchange', request: { exchange: exchangeType, payloads, ...options } }) as Inbound;
}

/** As `exchange`. @returns undefined where it was no longer due when the window had room */
export function* exchangeWhileDue(due: () => boolean, exchangeType: number, payloads: readonly Payload[]): Routine<Inbound | undefined> {
  return (yield { kind: 'exchange', request: { exchange: exchangeType, payloads, due } }) as Inbound | undefined;
}

/** Generous: a smart card or a person may sit behind an Ask. */
const ASK_DEADLINE: Millis = 30_000;
