import { type Address, sameAddress } from '../../core/bytes/index.ts';
import type { Millis } from '../../core/ike/effects.ts';

export interface KeepaliveTarget {
  readonly local: Address;
  readonly remote: Address;
  /** Silence after which the mapping of the NAT in front of us is refreshed. */
  readonly interval: Millis;
}

/**
 * NAT keepalives (RFC 3948 §4): one octet when nothing else was sent to the peer for the interval, so that the NAT in front of us keeps
 * its mapping. One entry per IKE SA that is behind such a NAT.
 */
export class Keepalives {
  readonly #entries = new Map<number, Entry>();
  #next: Millis | undefined;

  /** Starts or changes. An interval of 0 is off. */
  track(ikeSa: number, target: KeepaliveTarget, now: Millis): void {
    if (target.interval <= 0) {
      this.drop(ikeSa);
      return;
    }
    this.#entries.set(ikeSa, { ...target, sentAt: now });
    this.#wakeAt(now + target.interval);
  }

  drop(ikeSa: number): void {
    this.#entries.delete(ikeSa);
    if (this.#entries.size === 0) this.#next = undefined;
  }

  get tracked(): Iterable<number> {
    return this.#entries.keys();
  }

  intervalOf(ikeSa: number): Millis | undefined {
    return this.#entries.get(ikeSa)?.interval;
  }

  /** Another interval, counted from what was sent last. */
  adjust(ikeSa: number, interval: Millis): void {
    const entry = this.#entries.get(ikeSa);
    if (entry === undefined || entry.interval === interval) return;
    entry.interval = interval;
    this.#wakeAt(entry.sentAt + interval);
  }

  tracks(ikeSa: number): boolean {
    return this.#entries.has(ikeSa);
  }

  /** IKE went out: the mapping is fresh. ESP is asked about only when an entry seems due. */
  transmitted(local: Address, remote: Address, now: Millis): void {
    for (const entry of this.#entries.values()) if (entry.local.ip === local.ip && sameAddress(entry.remote, remote)) entry.sentAt = now;
  }

  nextDeadline(): Millis | undefined {
    return this.#next;
  }

  /** @param lastEsp when ESP was last sent for an IKE SA */
  expire(now: Millis, lastEsp: (ikeSa: number) => Millis | undefined, send: (local: Address, remote: Address) => void): void {
    if (this.#next === undefined || now < this.#next) return;
    this.#next = undefined;
    for (const [ikeSa, entry] of this.#entries) {
      entry.sentAt = Math.max(entry.sentAt, lastEsp(ikeSa) ?? Number.NEGATIVE_INFINITY);
      if (now - entry.sentAt >= entry.interval) {
        send(entry.local, entry.remote);
        entry.sentAt = now;
      }
      this.#wakeAt(entry.sentAt + entry.interval);
    }
  }

  #wakeAt(at: Millis): void {
    if (this.#next === undefined || at < this.#next) this.#next = at;
  }
}

interface Entry extends Omit<KeepaliveTarget, 'interval'> {
  interval: Millis;
  sentAt: Millis;
}
