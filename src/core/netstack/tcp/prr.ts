import type { Acknowledgment } from './congestion/control.ts';

/**
 * Proportional Rate Reduction (RFC 6937): during fast recovery what leaves follows what arrives, so that the window has come down to ssthresh by
 * the end of it, without a pause at first and without a burst behind. The names are those of §3; sizes are octets.
 */
export class ProportionalRateReduction {
  /** cwnd: what may be in the network now. */
  window = 0;
  readonly #recoverFs: number;
  readonly #threshold: number;
  readonly #smss: number;
  /** prr_delivered, prr_out */
  #delivered = 0;
  #out = 0;

  /**
   * Recovery begins.
   * @param flight RecoverFS
   * @param threshold ssthresh as this loss has left it
   */
  constructor(flight: number, threshold: number, smss: number) {
    this.#recoverFs = Math.max(flight, smss);
    this.#threshold = threshold;
    this.#smss = smss;
  }

  /**
   * An acknowledgment, that with which recovery begins among them.
   * @param progress it acknowledges cumulatively, and tells of no further loss
   */
  acknowledged({ delivered, pipe }: Pick<Acknowledgment, 'delivered' | 'pipe'>, progress: boolean): void {
    this.#delivered += delivered;
    const octets = pipe > this.#threshold ? this.#proportional() : Math.min(this.#threshold - pipe, this.#limit(delivered, progress));
    // the first lost segment is repeated whatever was delivered
    this.window = pipe + Math.max(octets, this.#out === 0 ? this.#smss : 0);
  }

  /** Text leaves, for the first time or again. */
  sent(octets: number): void {
    this.#out += octets;
  }

  #proportional(): number {
    return Math.ceil((this.#delivered * this.#threshold) / this.#recoverFs) - this.#out;
  }

  /** PRR-SSRB as long as recovery makes progress: what a burst of losses closed opens in slow start. Else PRR-CRB: as much as arrives. */
  #limit(delivered: number, progress: boolean): number {
    return Math.max(this.#delivered - this.#out, delivered) + (progress ? this.#smss : 0);
  }
}
