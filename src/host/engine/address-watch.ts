import type { Millis } from '../../core/ike/effects.ts';
import type { UdpNetwork } from '../platform/udp.ts';

/** Notices that this machine's addresses changed: it roamed, or an interface came or went. */
export class AddressWatch {
  readonly #udp: Pick<UdpNetwork, 'addresses'>;
  readonly #onChange: (addresses: readonly string[]) => void;
  #known = '';
  #next: Millis | undefined;

  constructor(udp: Pick<UdpNetwork, 'addresses'>, onChange: (addresses: readonly string[]) => void) {
    this.#udp = udp;
    this.#onChange = onChange;
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
    if (known === this.#known) return;
    this.#known = known;
    this.#onChange(addresses);
  }
}

/** Interfaces come and go at human pace, and asking is cheap. */
const INTERVAL: Millis = 3000;
