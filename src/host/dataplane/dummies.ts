import type { RandomSource } from '../../core/crypto/random.ts';
import type { Millis } from '../../core/ike/effects.ts';
import type { ChildEntry } from './child-entry.ts';

/**
 * When packets without content are due (RFC 4303 §2.6): at random times, so that they do not stand out by their rhythm, and of random
 * length where nothing pads the others.
 */
export class Dummies {
  readonly #random: Pick<RandomSource, 'jitter'>;
  readonly #next = new Map<ChildEntry, Millis>();
  /** When `run` has something to do; infinite when it never has. */
  due: Millis = Number.POSITIVE_INFINITY;

  constructor(random: Pick<RandomSource, 'jitter'>) {
    this.#random = random;
  }

  add(entry: ChildEntry, now: Millis): void {
    if (entry.dummies === 0) return;
    this.#next.set(entry, now + this.#gap(entry));
    this.#reckon();
  }

  remove(entry: ChildEntry): void {
    if (this.#next.delete(entry)) this.#reckon();
  }

  /** @param send gets each child whose turn it is, and how many octets to send; once each, however late it is */
  run(now: Millis, send: (entry: ChildEntry, length: number) => void): void {
    if (now < this.due) return;
    for (const [entry, next] of this.#next) {
      if (next > now) continue;
      this.#next.set(entry, now + this.#gap(entry));
      if (entry.sends) send(entry, entry.tfcLength || Math.floor(this.#random.jitter() * Math.max(1, entry.mtu)));
    }
    this.#reckon();
  }

  /** As between the drops of rain. */
  #gap({ dummies }: ChildEntry): Millis {
    return (-Math.log(1 - this.#random.jitter()) * SECOND) / dummies;
  }

  #reckon(): void {
    this.due = Number.POSITIVE_INFINITY;
    for (const next of this.#next.values()) if (next < this.due) this.due = next;
  }
}

const SECOND: Millis = 1000;
