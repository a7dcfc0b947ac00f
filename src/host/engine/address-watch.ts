import type { Millis } from '../../core/ike/effects.ts';
import type { UdpNetwork } from '../platform/udp.ts';

/**
 * Looks at this machine's addresses now and then: it roams, and interfaces come and go. It looks often after a change, as those come in
 * bursts, while whoever uses it is busy, and at once where the machine says that something changed.
 */
export class AddressWatch {
  readonly #udp: Pick<UdpNetwork, 'addresses'>;
  readonly #onLook: (addresses: readonly string[], changed: boolean) => void;
  #known = '';
  #looked: Millis = Number.NEGATIVE_INFINITY;
  #alertUntil: Millis = Number.NEGATIVE_INFINITY;
  #next: Millis | undefined;

  constructor(udp: Pick<UdpNetwork, 'addresses'>, onLook: (addresses: readonly string[], changed: boolean) => void) {
    this.#udp = udp;
    this.#onLook = onLook;
  }

  /** Begins to look; when it does already, nothing changes. @param known what the caller has seen: one that came since is a change */
  start(now: Millis, known: readonly string[] = this.#udp.addresses()): void {
    if (this.#next !== undefined) return;
    this.#known = known.join(' ');
    this.#looked = now;
    this.#next = now + INTERVAL;
  }

  /** Something depends on the addresses just now. @returns whether it looks sooner than it would have */
  alert(now: Millis): boolean {
    this.#alertUntil = now + ALERT;
    return this.#lookAt(Math.max(now, this.#looked + OFTEN));
  }

  /** The machine says that something changed. @returns whether it looks sooner than it would have */
  heard(now: Millis): boolean {
    return this.#lookAt(Math.max(now, this.#looked + AT_ONCE));
  }

  nextDeadline(): Millis | undefined {
    return this.#next;
  }

  expire(now: Millis): void {
    if (this.#next === undefined || now < this.#next) return;
    const addresses = this.#udp.addresses();
    const known = addresses.join(' ');
    const changed = known !== this.#known;
    this.#known = known;
    this.#looked = now;
    if (changed) this.#alertUntil = now + ALERT;
    this.#next = now + (now < this.#alertUntil ? OFTEN : INTERVAL);
    this.#onLook(addresses, changed);
  }

  #lookAt(soon: Millis): boolean {
    if (this.#next === undefined || soon >= this.#next) return false;
    this.#next = soon;
    return true;
  }
}

/** Interfaces come and go at human pace, and asking is cheap. */
const INTERVAL: Millis = 3000;
const OFTEN: Millis = 200;
/** Between two looks, where a table of routes changes without an end. */
const AT_ONCE: Millis = 50;
const ALERT: Millis = 1000;
