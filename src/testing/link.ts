import type { SeededRandom } from './seeded.ts';

/** How one direction of a link treats IP packets. Everything may be changed while packets are under way. */
export interface LinkConditions {
  /** Probability that a packet (or an IP fragment of it) is lost. */
  loss: number;
  /** Milliseconds under way. */
  delay: number;
  /** Additional milliseconds, uniform between 0 and this: packets overtake one another. */
  jitter: number;
  /** Probability that a packet arrives twice. */
  duplicate: number;
  /** Octets of an IP packet that pass whole. */
  mtu: number;
  /** What happens to a larger one. `too-big`: dropped, and the sender learns the MTU by ICMP. */
  oversize: 'fragment' | 'drop' | 'too-big';
  /** Bits per second; 0 is unlimited. */
  bandwidth: number;
  /** Octets that wait for the bandwidth before newcomers are dropped. */
  queue: number;
  /** Nothing passes. */
  cut: boolean;
}

export const IDEAL_LINK: Readonly<LinkConditions> = {
  loss: 0,
  delay: 0,
  jitter: 0,
  duplicate: 0,
  mtu: 1500,
  oversize: 'fragment',
  bandwidth: 0,
  queue: 256 * 1024,
  cut: false,
};

/** What a link decided about one packet. */
export type Passage =
  /** Milliseconds from now of each copy that arrives. */
  | { readonly kind: 'pass'; readonly arrivals: readonly number[] }
  | { readonly kind: 'drop'; readonly why: 'lost' | 'too big' | 'queue full' | 'cut' };

/** One direction of a link. */
export class Link {
  readonly conditions: LinkConditions;
  readonly #random: SeededRandom;
  #busyUntil = 0;

  constructor(conditions: Partial<LinkConditions>, random: SeededRandom) {
    this.conditions = { ...IDEAL_LINK, ...conditions };
    this.#random = random;
  }

  /** @param octets of the whole IP packet, @param header octets of its IP header, which every fragment repeats. */
  pass(octets: number, header: number, now: number): Passage {
    const c = this.conditions;
    // Drawn in any case and in fixed number, so that a change of one condition leaves the dice of the others alone.
    const delayA = this.#random.fraction();
    const delayB = this.#random.fraction();
    const twice = this.#random.chance(c.duplicate);
    const pieces = octets > c.mtu && c.oversize === 'fragment' ? fragmentCount(octets, header, c.mtu) : 1;
    const lost = this.#lost(pieces);
    if (c.cut) return { kind: 'drop', why: 'cut' };
    if (octets > c.mtu && c.oversize !== 'fragment') return { kind: 'drop', why: 'too big' };
    const waiting = this.#queue(octets + (pieces - 1) * header, now);
    if (waiting === undefined) return { kind: 'drop', why: 'queue full' };
    if (lost) return { kind: 'drop', why: 'lost' };
    const arrivals = [waiting + c.delay + delayA * c.jitter];
    if (twice) arrivals.push(waiting + c.delay + delayB * c.jitter);
    return { kind: 'pass', arrivals };
  }

  /** A fragmented packet arrives only when each of its fragments did. */
  #lost(pieces: number): boolean {
    let lost = false;
    for (let i = 0; i < pieces; i++) if (this.#random.chance(this.conditions.loss)) lost = true;
    return lost;
  }

  /** Milliseconds until the last bit has left, or undefined when the queue is full. */
  #queue(octets: number, now: number): number | undefined {
    const { bandwidth, queue } = this.conditions;
    if (bandwidth === 0) return 0;
    const perOctet = 8000 / bandwidth;
    const backlog = Math.max(0, this.#busyUntil - now);
    if (backlog / perOctet + octets > queue) return undefined;
    this.#busyUntil = now + backlog + octets * perOctet;
    return this.#busyUntil - now;
  }
}

/** RFC 791 §3.2: the data of every fragment but the last is a multiple of eight octets. */
function fragmentCount(octets: number, header: number, mtu: number): number {
  const room = Math.max(8, Math.floor((mtu - header) / 8) * 8);
  return Math.ceil((octets - header) / room);
}
