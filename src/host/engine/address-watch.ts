import type { Millis } from '../../core/ike/effects.ts';
import type { UdpNetwork } from '../platform/udp.ts';

/** Looks at this machine's addresses now and then: it roams, and interfaces come and go. */
export class AddressWatch {
  readonly #udp: Pick<UdpNetwork, 'addresses'>;
  readonly #onLook: (addresses: readonly string[], changed: boolean) => void;
  #known = '';
  #next: Millis | undefined;

  constructor(udp: Pick<UdpNetwork, 'addresses'>, onLook: (addresses: readonly string[], changed: boolean) => void) {
    this.#udp = udp;
    this.#onLook = onLook;
  }

  /** Begins to look; when it does already, nothing changes. */
  start(now: Millis): void {
    if (this.#next !== undefined) return;
    this.#known = this.#udp.addresses().join(' ');
    this.#next = now + INTERVAL;
  }

  nextDeadline(): Millis | undefined {
    return this.#next;
  }

  expire(now: Millis): void {
    if (this.#next === undefined || now < this.#next) return;
    this.#next = now + INTERVAL;
    const addresses = this.#udp.addresses();
    const known = addresses.join(' ');
    const changed = known !== this.#known;
    this.#known = known;
    this.#onLook(addresses, changed);
  }
}

/** Interfaces come and go at human pace, and asking is cheap. */
const INTERVAL: Millis = 3000;
