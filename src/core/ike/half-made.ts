import { equalBytes } from '../bytes/bytes.ts';
import { NONE, withLast, without } from '../bytes/lists.ts';
import { zeroise } from '../crypto/index.ts';
import type { ChildSa } from './child-sa.ts';
import type { Millis } from './effects.ts';
import type { AdditionalKe } from './keys.ts';
import type { Reply, Routine } from './routine.ts';

/** What a new SA takes the place of: a child, the IKE SA that carries the exchange, or nothing. */
export type Replaced = ChildSa | 'ike' | undefined;

/** An SA that the peer asked for and whose additional key exchanges are not all made (RFC 9370 §2.2.4). Until they are, it does not exist. */
export interface HalfMade {
  readonly replaces: Replaced;
  /** Of the CREATE_CHILD_SA exchange that began it: the collision rules compare them (RFC 7296 §2.8.1, §2.8.2). */
  readonly lowestNonce: Uint8Array;
  /** Key exchanges still to come, in order. */
  readonly owed: AdditionalKe[];
  /** SK(0), SK(1), …, as far as they are known. */
  readonly sharedSecrets: Uint8Array[];
  /** Makes the SA; undefined where what it was to replace has gone. The secrets are its to zeroise. */
  readonly complete: (sharedSecrets: readonly Uint8Array[]) => Routine<Pick<Reply, 'afterwards'> | undefined>;
}

/** The half-made SAs of one IKE SA, by the link data that we gave out for them; few, and not for long. */
export class HalfMadeSas {
  #entries: readonly Entry[] = NONE;
  /** What a rekeying of ours is about that has got past CREATE_CHILD_SA: from then on one of the peer's comes too late. */
  following: Replaced;

  /** @returns false where there are too many */
  add(link: Uint8Array, half: HalfMade, until: Millis): boolean {
    // whoever begins anew has given up what it began before
    if (half.replaces !== undefined) this.forget(half.replaces);
    if (this.#entries.length >= MOST_HALF_MADE) return false;
    this.#entries = withLast(this.#entries, { link, half, until });
    return true;
  }

  find(link: Uint8Array): HalfMade | undefined {
    return this.#entries.find((entry) => equalBytes(entry.link, link))?.half;
  }

  /** It is taken out: whoever goes on with it puts it in again. */
  take(link: Uint8Array): HalfMade | undefined {
    const found = this.#entries.find((entry) => equalBytes(entry.link, link));
    if (found) this.#entries = without(this.#entries, found);
    return found?.half;
  }

  /** The peer's rekeying of this SA. */
  rivalOf(replaces: Replaced): HalfMade | undefined {
    return replaces === undefined ? undefined : this.#entries.find(({ half }) => half.replaces === replaces)?.half;
  }

  get anyOfChildren(): boolean {
    return this.#entries.some(({ half }) => half.replaces !== 'ike');
  }

  forget(replaces: Replaced): void {
    this.#drop(({ half }) => half.replaces === replaces);
  }

  /** @returns when to come back, if anything is left */
  expire(now: Millis): Millis | undefined {
    this.#drop(({ until }) => until <= now);
    return this.#entries.length === 0 ? undefined : Math.min(...this.#entries.map(({ until }) => until));
  }

  clear(): void {
    this.#drop(() => true);
  }

  #drop(which: (entry: Entry) => boolean): void {
    for (const entry of this.#entries) {
      if (!which(entry)) continue;
      zeroise(...entry.half.sharedSecrets);
      this.#entries = without(this.#entries, entry);
    }
  }
}

interface Entry {
  readonly link: Uint8Array;
  readonly half: HalfMade;
  readonly until: Millis;
}

/** Initiators make one SA after the other. */
const MOST_HALF_MADE = 8;
