/** What compresses: DEFLATE without a header of its own (RFC 2394 §2). */
export interface Deflate {
  deflate(data: Uint8Array): Uint8Array;
  /** @returns undefined for what is no such stream, or would grow beyond `limit` octets */
  inflate(data: Uint8Array, limit: number): Uint8Array | undefined;
}

/** Compresses the packets of one SA before they are protected (RFC 3173). */
export class IpcompOutbound {
  readonly #cpi: number;
  readonly #codec: Deflate;
  /** Packets that did not get smaller, in a row. */
  #vain = 0;
  /** Packets that go as they are before another one is tried. */
  #rest = 0;

  /** @param cpi the peer's */
  constructor(cpi: number, codec: Deflate) {
    this.#cpi = cpi;
    this.#codec = codec;
  }

  /**
   * Writes header and compressed payload to `out` from `at`.
   * @param nextHeader protocol of the payload
   * @returns octets written; 0 where the payload goes as it is (RFC 3173 §2.2: no packet grows)
   */
  compress(payload: Uint8Array, nextHeader: number, out: Uint8Array, at: number): number {
    if (payload.length < WORTH_TRYING) return 0;
    if (this.#rest > 0) {
      this.#rest--;
      return 0;
    }
    const compressed = this.#codec.deflate(payload);
    const length = IPCOMP_HEADER + compressed.length;
    if (length >= payload.length) {
      // RFC 3173 §2.2: what is encrypted or compressed already comes in long rows
      this.#vain++;
      if (this.#vain >= PATIENCE) this.#rest = Math.min(LONGEST_REST, 2 ** (this.#vain - PATIENCE));
      return 0;
    }
    this.#vain = 0;
    out[at] = nextHeader;
    out[at + 1] = 0;
    out[at + 2] = this.#cpi >>> 8;
    out[at + 3] = this.#cpi;
    out.set(compressed, at + IPCOMP_HEADER);
    return length;
  }
}

/** Takes apart what the peer of one SA compressed. */
export class IpcompInbound {
  /** Protocol of the last payload. */
  nextHeader = 0;
  readonly #cpi: number;
  readonly #codec: Deflate;

  /** @param cpi ours */
  constructor(cpi: number, codec: Deflate) {
    this.#cpi = cpi;
    this.#codec = codec;
  }

  /** @returns the payload; undefined for what is not compressed as was agreed, or larger than any packet */
  open(data: Uint8Array, start: number, end: number): Uint8Array | undefined {
    if (end - start <= IPCOMP_HEADER) return undefined;
    const cpi = (data[start + 2]! << 8) | data[start + 3]!;
    // RFC 3173 §3.3: a number below 64 names an algorithm, whatever was agreed besides
    if (cpi !== this.#cpi && cpi !== DEFLATE_CPI) return undefined;
    this.nextHeader = data[start]!;
    // RFC 3173 §2.1: compressed once
    if (this.nextHeader === IPCOMP) return undefined;
    return this.#codec.inflate(data.subarray(start + IPCOMP_HEADER, end), LARGEST_PACKET);
  }
}

/** IP protocol number. */
export const IPCOMP = 108;
export const IPCOMP_HEADER = 4;
/** IPCOMP_DEFLATE, as transform of IKE and as CPI (RFC 3173 §3.3). */
const DEFLATE_CPI = 2;
/** Octets; below, headers are all that there is (RFC 2394 §3). */
const WORTH_TRYING = 90;
const PATIENCE = 4;
const LONGEST_REST = 64;
/** With the header of IPv6. */
const LARGEST_PACKET = 65_535 + 40;
