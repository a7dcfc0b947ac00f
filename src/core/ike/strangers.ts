import type { Millis } from './effects.ts';
import { KnownSources } from './known-sources.ts';
import type { StrangerCounts } from './load.ts';
import type { AnswerRates, Connection, EndpointLimits } from './policy.ts';
import { SourceBuckets, sourceOf, TokenBucket } from './token-bucket.ts';

/**
 * Senders that belong to no IKE SA: which of them are heard at all, and how often they are answered. What they get is never longer than what
 * they sent, and no more of it than the limits say, to one source and to all: who forges addresses finds no use in us (CERT VU#419128).
 */
export class Strangers {
  readonly #limits: EndpointLimits;
  readonly #refusals: Allowance;
  readonly #cookies: Allowance;
  readonly #counts = { cookies: 0, puzzles: 0, refusals: 0, silenced: 0, unknown: 0 };
  #known: KnownSources | undefined;
  #knownOf: readonly Connection[] | undefined;

  constructor(limits: EndpointLimits) {
    this.#limits = limits;
    this.#refusals = new Allowance(limits.refusals ?? DEFAULT_REFUSALS);
    this.#cookies = new Allowance(limits.cookies ?? DEFAULT_COOKIES);
  }

  get counts(): StrangerCounts {
    return { ...this.#counts };
  }

  /** Counts it if not. */
  isKnown(connections: readonly Connection[], ip: string): boolean {
    const { knownPeers } = this.#limits;
    if (knownPeers === undefined) return true;
    if (this.#known === undefined || (knownPeers.connections && this.#knownOf !== connections)) {
      const named = knownPeers.connections ? connections.flatMap(({ remoteAddresses }) => remoteAddresses) : [];
      this.#known = new KnownSources([...knownPeers.addresses, ...named]);
      this.#knownOf = connections;
    }
    if (this.#known.has(ip)) return true;
    this.#counts.unknown++;
    return false;
  }

  /** An answer that leaves nothing behind: INVALID_IKE_SPI, INVALID_MAJOR_VERSION, a refusal of IKE_SA_INIT, a crash token. */
  mayRefuse(ip: string, now: Millis): boolean {
    return this.#count(this.#refusals.take(ip, now), 'refusals');
  }

  mayDemandCookie(ip: string, now: Millis): boolean {
    return this.#count(this.#cookies.take(ip, now), 'cookies');
  }

  mayDemandPuzzle(ip: string, now: Millis): boolean {
    return this.#count(this.#cookies.take(ip, now), 'puzzles');
  }

  #count(may: boolean, what: 'refusals' | 'cookies' | 'puzzles'): boolean {
    this.#counts[may ? what : 'silenced']++;
    return may;
  }
}

class Allowance {
  readonly #sources: SourceBuckets;
  readonly #all: TokenBucket;

  /** Of each two seconds' worth at once: peers come back together when a link does. */
  constructor({ perSource, inAll }: AnswerRates) {
    this.#sources = new SourceBuckets(2 * perSource, perSource);
    this.#all = new TokenBucket(2 * inAll, inAll);
  }

  take(ip: string, now: Millis): boolean {
    return this.#sources.take(sourceOf(ip), now) && this.#all.take(now);
  }
}

/** A source may be a NAT with many clients behind it. */
const DEFAULT_REFUSALS: AnswerRates = { perSource: 50, inAll: 2000 };
/** Far more: while a flood lasts, whoever gets no cookie does not get in, and a forged source must not be able to use up another's. */
const DEFAULT_COOKIES: AnswerRates = { perSource: 1000, inAll: 100_000 };
