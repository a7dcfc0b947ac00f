import type { Address } from '../../core/bytes/index.ts';
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
  /** By the peer's address: each datagram that leaves is for one of perhaps thousands. */
  readonly #byPeer = new Map<string, Set<Entry>>();
  #next: Millis | undefined;

  /** Starts or changes. An interval of 0 is off. */
  track(ikeSa: number, target: KeepaliveTarget, now: Millis): void {
    if (target.interval <= 0) {
      this.drop(ikeSa);
      return;
    }
    this.#forget(ikeSa);
    const entry = { ...target, sentAt: now };
    this.#entries.set(ikeSa, entry);
    const peer = keyOf(target.remote);
    const others = this.#byPeer.get(peer);
    if (others === undefined) this.#byPeer.set(peer, new Set([entry]));
    else others.add(entry);
    this.#wakeAt(now + target.interval);
  }

  drop(ikeSa: number): void {
    this.#forget(ikeSa);
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
    if (this.#entries.size === 0) return;
    for (const entry of this.#byPeer.get(keyOf(remote)) ?? []) if (entry.local.ip === local.ip) entry.sentAt = now;
  }

  nextDeadline(): Millis | undefined {
    return this.#next;
  }

  /** @param lastEsp when ESP was last sent for an IKE SA */
  expire(now: Millis, lastEsp: (ikeSa: number) => Millis | undefined, send: (local: Address, remote: Address) => void): void {
    if (this.#next === undefined || now < this.#next) return;
    this.#next = undefined;
    // many are looked at together, rather early than late
    const early = this.#entries.size > FEW ? TOGETHER : 0;
    for (const [ikeSa, entry] of this.#entries) {
      if (isDue(entry, now, early)) {
        entry.sentAt = Math.max(entry.sentAt, lastEsp(ikeSa) ?? Number.NEGATIVE_INFINITY);
        if (isDue(entry, now, early)) {
          send(entry.local, entry.remote);
          entry.sentAt = now;
        }
      }
      this.#wakeAt(Math.max(now + early, entry.sentAt + entry.interval - early));
    }
  }

  #forget(ikeSa: number): void {
    const entry = this.#entries.get(ikeSa);
    if (entry === undefined) return;
    this.#entries.delete(ikeSa);
    const peer = keyOf(entry.remote);
    const others = this.#byPeer.get(peer);
    others?.delete(entry);
    if (others?.size === 0) this.#byPeer.delete(peer);
  }

  #wakeAt(at: Millis): void {
    if (this.#next === undefined || at < this.#next) this.#next = at;
  }
}

interface Entry extends Omit<KeepaliveTarget, 'interval'> {
  interval: Millis;
  sentAt: Millis;
}

const isDue = ({ sentAt, interval }: Entry, now: Millis, early: Millis): boolean => now - sentAt >= interval - early;
const keyOf = ({ ip, port }: Address): string => `${ip} ${port}`;

const FEW = 64;
const TOGETHER: Millis = 1000;
