/** Enough to go on under the same keys without ever using a sequence number or an IV twice. */
export interface OutboundSnapshot {
  readonly sequenceHigh: number;
  readonly sequenceLow: number;
}

/** Sequence numbers of what is sent on one SA, in halves of 32 bits (RFC 4303 §3.3.3, RFC 4302 §3.3.2). */
export class SequenceCounter {
  /** Last one used. */
  high: number;
  low: number;
  readonly #esn: boolean;

  constructor(esn: boolean, resume: OutboundSnapshot | undefined) {
    this.#esn = esn;
    this.high = resume?.sequenceHigh ?? 0;
    this.low = resume?.sequenceLow ?? 0;
  }

  get exhausted(): boolean {
    return this.low === 0xffffffff && (!this.#esn || this.high === 0xffffffff);
  }

  /** How many there are still, as far as the low half says: more than that with ESN. */
  get left(): number {
    return 0xffffffff - this.low;
  }

  /** For display and lifetimes. */
  get total(): number {
    return this.high * 2 ** 32 + this.low;
  }

  /** @returns false when none is left: the counter must not cycle */
  next(): boolean {
    if (this.low !== 0xffffffff) {
      this.low++;
      return true;
    }
    if (!this.#esn || this.high === 0xffffffff) return false;
    this.high++;
    this.low = 0;
    return true;
  }

  /** Where that would take it past the last number, none is left. */
  skip(count: number | bigint): void {
    const most = this.#esn ? 0xffff_ffff_ffff_ffffn : 0xffff_ffffn;
    const wanted = ((BigInt(this.high) << 32n) | BigInt(this.low)) + BigInt(count);
    const next = wanted < most ? wanted : most;
    this.high = Number(next >> 32n);
    this.low = Number(next & 0xffff_ffffn);
  }

  snapshot(): OutboundSnapshot {
    return { sequenceHigh: this.high, sequenceLow: this.low };
  }
}
