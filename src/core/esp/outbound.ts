import { EMPTY, writeU32 } from '../bytes/bytes.ts';
import { ApiMisuse } from '../bytes/errors.ts';
import { MOST_IN_BURST, PacketBurst, sealBurst } from '../crypto/packet-burst.ts';
import type { PacketCipher } from '../crypto/packet-cipher.ts';
import type { RandomSource } from '../crypto/random.ts';
import { type OutboundSnapshot, SequenceCounter } from './sequence-counter.ts';

export interface OutboundSaOptions {
  /** The peer's inbound SPI. */
  readonly spi: number;
  readonly cipher: PacketCipher;
  /** Extended (64-bit) sequence numbers (RFC 4303 §2.2.1). */
  readonly esn: boolean;
  /** Needed for CBC; AEAD and CTR count their IVs. */
  readonly random?: Pick<RandomSource, 'cbcIv'> | undefined;
  /** What a snapshot of an SA under the same keys said; the SA goes on strictly behind it. */
  readonly resume?: OutboundSnapshot | undefined;
}

/**
 * The sending half of an ESP SA (RFC 4303 §3.3): SPI | sequence number | IV | payload | padding | pad length | next header | ICV.
 * Synchronous; nothing but the buffers that it is handed is kept.
 */
export class OutboundSa {
  readonly protocol = 'ESP';
  readonly spi: number;
  readonly esn: boolean;
  /** Packets and octets of payload that were sealed; exact to 2^53. */
  packets = 0;
  bytes = 0;
  readonly #cipher: PacketCipher;
  readonly #random: Pick<RandomSource, 'cbcIv'> | undefined;
  readonly #ivLength: number;
  /** What payload, padding and the two octets of the trailer add up to is a multiple of this. */
  readonly #alignment: number;
  readonly #sequence: SequenceCounter;
  /** Added to the upper half of counter IVs: another in every life that goes on under the same keys. */
  #epoch = 0;
  /** IVs drawn in advance; each is used once. */
  #ivs: Uint8Array = EMPTY;
  #ivAt = 0;

  constructor(options: OutboundSaOptions) {
    this.spi = options.spi;
    this.esn = options.esn;
    this.#cipher = options.cipher;
    this.#random = options.random;
    this.#ivLength = options.cipher.ivLength;
    // RFC 4303 §2.4: the cipher's block, and in any case 4 octets.
    this.#alignment = Math.max(4, options.cipher.blockLength);
    this.#sequence = new SequenceCounter(options.esn, options.resume);
    if (options.cipher.ivKind === 'random' && options.random === undefined)
      throw new ApiMisuse('an SA with CBC needs a source of random IVs');
  }

  /** No sequence number is left: the SA must be replaced, `seal` refuses for ever. */
  get exhausted(): boolean {
    return this.#sequence.exhausted;
  }

  /** Sequence numbers used so far, as a number for display and lifetimes. */
  get sequence(): number {
    return this.#sequence.total;
  }

  /** Octets of the ESP packet around a payload of this length. */
  sealedLength(payloadLength: number): number {
    return HEADER + this.#ivLength + this.#padded(payloadLength) + this.#cipher.icvLength;
  }

  /** The largest payload whose ESP packet has at most so many octets; negative when not even an empty one fits. */
  largestPayload(packetLength: number): number {
    const room = packetLength - HEADER - this.#ivLength - this.#cipher.icvLength;
    return room - (((room % this.#alignment) + this.#alignment) % this.#alignment) - TRAILER;
  }

  /** Offset in the packet at which `seal` puts the payload. A payload that stands there already is not copied. */
  get payloadOffset(): number {
    return HEADER + this.#ivLength;
  }

  /**
   * Writes the ESP packet for one payload to `out` from `outOffset`, where `sealedLength` octets must be free.
   * @param nextHeader protocol of the payload: 4 or 41 in tunnel mode, 59 for a dummy (RFC 4303 §2.6)
   * @param tfcLength octets of payload and traffic flow confidentiality padding together (RFC 4303 §2.7); the payload must carry its
   *   own length, as IP does
   * @returns octets written, or `EXHAUSTED` when the sequence numbers are used up (RFC 4303 §3.3.3): nothing is written then
   */
  seal(payload: Uint8Array, nextHeader: number, out: Uint8Array, outOffset: number, tfcLength = 0): number {
    // what cannot be sent anyhow must not disturb the buffer, nor be written behind its end
    if (this.exhausted) return EXHAUSTED;
    this.#checkRoom(out, outOffset, Math.max(tfcLength, payload.length));
    const bodyAt = outOffset + this.payloadOffset;
    if (out.buffer !== payload.buffer || out.byteOffset + bodyAt !== payload.byteOffset) out.set(payload, bodyAt);
    return this.sealInPlace(out, outOffset, payload.length, nextHeader, tfcLength);
  }

  /** As `seal`, for a payload that stands at `outOffset + payloadOffset` already. @param payloadLength octets of it */
  sealInPlace(out: Uint8Array, outOffset: number, payloadLength: number, nextHeader: number, tfcLength = 0): number {
    const bodyAt = outOffset + HEADER + this.#ivLength;
    const length = Math.max(tfcLength, payloadLength);
    this.#checkRoom(out, outOffset, length);
    if (!this.#sequence.next()) return EXHAUSTED;
    const end = bodyAt + this.#padded(length);
    this.#frame(out, outOffset, payloadLength, length, end, nextHeader);
    return this.#cipher.seal(out, outOffset, HEADER, end, this.esn ? this.#sequence.high : undefined) - outOffset;
  }

  /**
   * As `sealInPlace` for several payloads, which the cipher may seal together: `count` of them, each at `payloadOffset` of its packet, and the
   * packets one behind the other from `outOffset`, `sealedLength` octets each.
   * @param lastLength octets of the last payload, which may be shorter
   * @returns octets of all packets, or `EXHAUSTED` when there are not as many sequence numbers or these are more than one burst: nothing is
   *   written then, and some may still be sealed one by one
   */
  sealBurst(
    out: Uint8Array,
    outOffset: number,
    count: number,
    payloadLength: number,
    lastLength: number,
    nextHeader: number,
    tfcLength = 0,
  ): number {
    if (count < 1 || count > MOST_IN_BURST || this.#sequence.left < count) return EXHAUSTED;
    const step = this.sealedLength(Math.max(tfcLength, payloadLength));
    const length = Math.max(tfcLength, lastLength);
    this.#checkRoom(out, outOffset + (count - 1) * step, length);
    const inFront = HEADER + this.#ivLength;
    const padded = this.#padded(Math.max(tfcLength, payloadLength));
    BURST.count = 0;
    for (let i = 1, at = outOffset; i <= count; i++, at += step) {
      this.#sequence.next();
      const isLast = i === count;
      const octets = isLast ? lastLength : payloadLength;
      const end = at + inFront + (isLast ? this.#padded(length) : padded);
      this.#frame(out, at, octets, Math.max(tfcLength, octets), end, nextHeader);
      BURST.add(at, end, this.#sequence.high);
    }
    sealBurst(this.#cipher, out, BURST, HEADER, this.esn);
    return (count - 1) * step + this.sealedLength(length);
  }

  /** All of a packet but its payload, which stands there. @param length with TFC padding; @param end behind the trailer */
  #frame(out: Uint8Array, at: number, payloadLength: number, length: number, end: number, nextHeader: number): void {
    const bodyAt = at + HEADER + this.#ivLength;
    if (length > payloadLength) out.fill(0, bodyAt + payloadLength, bodyAt + length);
    writeU32(out, at, this.spi);
    writeU32(out, at + 4, this.#sequence.low);
    this.#writeIv(out, at + HEADER);
    // RFC 4303 §2.4: 1, 2, 3 …
    const padding = end - TRAILER - (bodyAt + length);
    for (let i = 1; i <= padding; i++) out[bodyAt + length + i - 1] = i;
    out[end - 2] = padding;
    out[end - 1] = nextHeader;
    this.packets++;
    this.bytes += payloadLength;
  }

  /** Skips sequence numbers (and with them IVs), so that what another holder of a snapshot may have sent is not sent again. */
  skipAhead(count: number | bigint): void {
    this.#sequence.skip(count);
  }

  /**
   * Counter IVs go on in a range of their own, so that they differ even from those of a life that the snapshot knows nothing of. IVs that are the
   * sequence number (RFC 8750) cannot.
   * @param epoch 32 bits, drawn by chance
   */
  beginEpoch(epoch: number): void {
    this.#epoch = epoch >>> 0;
  }

  snapshot(): OutboundSnapshot {
    return this.#sequence.snapshot();
  }

  destroy(): void {
    this.#cipher.destroy();
    this.#ivs.fill(0);
  }

  #checkRoom(out: Uint8Array, outOffset: number, length: number): void {
    const needed = this.sealedLength(length);
    if (outOffset + needed > out.length) throw new ApiMisuse(`an ESP packet of ${needed} octets does not fit its buffer`);
  }

  #padded(length: number): number {
    return Math.ceil((length + TRAILER) / this.#alignment) * this.#alignment;
  }

  #writeIv(out: Uint8Array, at: number): void {
    switch (this.#cipher.ivKind) {
      case 'counter':
        // RFC 4106 §3.1, RFC 4309 §3.1, RFC 3686 §3.1: unique under the key; the 64-bit sequence number is, in one life.
        writeU32(out, at, (this.#sequence.high + this.#epoch) >>> 0);
        writeU32(out, at + 4, this.#sequence.low);
        return;
      case 'random':
        if (this.#ivAt + this.#ivLength > this.#ivs.length) this.#drawIvs();
        for (let i = 0; i < this.#ivLength; i++) out[at + i] = this.#ivs[this.#ivAt + i]!;
        this.#ivAt += this.#ivLength;
        return;
      // RFC 8750 §4: the sequence number, which stands in the header already.
      case 'implicit':
      case 'none':
        return;
    }
  }

  /** RFC 3602 §3: unpredictable. Drawn for many packets at once, since a draw costs as much as sealing a small one. */
  #drawIvs(): void {
    this.#ivs = new Uint8Array(this.#random!.cbcIv(this.#ivLength * IVS_PER_DRAW));
    this.#ivAt = 0;
  }
}

/** Serves all SAs in turn: nothing in it outlives the call that filled it. */
const BURST = new PacketBurst();

/** What `seal` returns when the sequence numbers are used up. */
export const EXHAUSTED = -1;

/** SPI and sequence number. */
const HEADER = 8;
/** Pad length and next header. */
const TRAILER = 2;
const IVS_PER_DRAW = 64;
