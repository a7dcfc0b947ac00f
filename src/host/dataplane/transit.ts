import { IpView } from '../../core/packet/index.ts';
import type { EspPlane } from './esp-plane.ts';
import { mayPassOn, takeHop, timeExceeded } from './forwarding.ts';
import type { OwnAddresses } from './own-addresses.ts';

export interface TransitOptions {
  readonly esp: Pick<EspPlane, 'send' | 'lookup'>;
  readonly own: OwnAddresses;
  /** From one CHILD_SA to another. */
  readonly forwards: boolean;
  /** There is a host that answers in the name of the networks behind us, for packets that no CHILD_SA takes. */
  readonly behind: boolean;
}

/** Which host of a plane with hosts in this process a packet out of a tunnel is for, and the way on of those that are for none. */
export class Transit {
  forwarded = 0;
  hopsRanOut = 0;
  readonly #options: TransitOptions;
  readonly #packet = new IpView();

  constructor(options: TransitOptions) {
    this.#options = options;
  }

  /** @returns `HERE` or `BEHIND`; undefined where it has left again, or ended */
  hostOf(buffer: Uint8Array, start: number, end: number): number | undefined {
    const { esp, forwards, behind } = this.#options;
    if ((!forwards && !behind) || !this.#isTransit(buffer, start, end)) return HERE;
    const view = this.#packet;
    if (!takeHop(view)) this.#endOfHops(view);
    else if (behind && esp.lookup(buffer, start, end, view) === undefined) return BEHIND;
    else if (forwards && esp.send(buffer.subarray(start, end))) this.forwarded++;
    return undefined;
  }

  /** What is not for us, and may leave again. The rest is the stack's business: it knows best what to make of it. */
  #isTransit(buffer: Uint8Array, start: number, end: number): boolean {
    return this.#packet.parse(buffer, start, end) && !this.#options.own.isDestination(this.#packet) && mayPassOn(this.#packet);
  }

  #endOfHops(view: IpView): void {
    this.hopsRanOut++;
    const from = this.#options.own.ofFamily(view.addressLength);
    const answer = from === undefined ? undefined : timeExceeded(view, from);
    if (answer !== undefined) this.#options.esp.send(answer);
  }
}

/** Hosts of one plane, by number. */
export const HERE = 0;
export const BEHIND = 1;
