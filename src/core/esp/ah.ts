import { writeU32 } from '../bytes/bytes.ts';
import { ApiMisuse } from '../bytes/errors.ts';
import { equalSecrets } from '../crypto/constant-time.ts';
import type { Mac } from '../crypto/mac.ts';
import { integrity } from '../crypto/transforms.ts';
import { MutableFields } from './ah-mutable.ts';
import type { InboundDrop, InboundSnapshot, InboundVerdict, OpenedPacket } from './inbound.ts';
import { EXHAUSTED } from './outbound.ts';
import { ReplayWindow } from './replay-window.ts';
import { type OutboundSnapshot, SequenceCounter } from './sequence-counter.ts';

export interface AhKeys {
  /** IANA Transform Type 3. */
  readonly integrity: number;
  /** Copied. */
  readonly integrityKey: Uint8Array;
}

export interface OutboundAhOptions extends AhKeys {
  /** The peer's inbound SPI. */
  readonly spi: number;
  readonly esn: boolean;
  readonly resume?: OutboundSnapshot | undefined;
}

export interface InboundAhOptions extends AhKeys {
  /** The SPI that we chose. */
  readonly spi: number;
  readonly esn: boolean;
  /** Packets; 0 turns the check off, 1024 unless given. */
  readonly replayWindow?: number | undefined;
  readonly resume?: InboundSnapshot | undefined;
}

/** The sending half of an AH SA (RFC 4302 §3.3), over whole IP packets whose headers are final. */
export class OutboundAh {
  readonly protocol = 'AH';
  readonly spi: number;
  readonly esn: boolean;
  /** Packets and octets of payload that were sealed; exact to 2^53. */
  packets = 0;
  bytes = 0;
  readonly #mac: KeyedMac;
  readonly #sequence: SequenceCounter;
  readonly #fields = new MutableFields();
  #epoch = 0;

  /** @throws ApiMisuse for an algorithm that is not there */
  constructor(options: OutboundAhOptions) {
    this.spi = options.spi;
    this.esn = options.esn;
    this.#mac = new KeyedMac(options);
    this.#sequence = new SequenceCounter(options.esn, options.resume);
  }

  get exhausted(): boolean {
    return this.#sequence.exhausted;
  }

  /** Sequence numbers used so far, as a number for display and lifetimes. */
  get sequence(): number {
    return this.#sequence.total;
  }

  /** Octets of the AH header in a packet of this IP version. */
  headerLength(version: 4 | 6): number {
    return this.#mac.headerLength(version);
  }

  /**
   * Fills in the AH header for which there is room at `at` and authenticates the packet from `start` to `end`, whose IP header names
   * protocol 51 already.
   * @param nextHeader protocol of what stands behind AH
   * @returns octets of the packet, or `EXHAUSTED` when the sequence numbers are used up
   */
  seal(packet: Uint8Array, start: number, at: number, end: number, nextHeader: number): number {
    const length = this.headerLength(packet[start]! >>> 4 === 4 ? 4 : 6);
    if (at + length > end) throw new ApiMisuse(`an AH header of ${length} octets does not fit its packet`);
    if (!this.#sequence.next()) return EXHAUSTED;
    packet[at] = nextHeader;
    packet[at + 1] = length / 4 - 2;
    packet[at + 2] = 0;
    packet[at + 3] = 0;
    writeU32(packet, at + 4, this.spi);
    writeU32(packet, at + 8, this.#sequence.low);
    packet.fill(0, at + HEADER, at + length);
    if (!this.#fields.clear(packet, start, at)) throw new ApiMisuse('the headers in front of AH are no headers of IP');
    const { ivLength, icvLength } = this.#mac;
    if (ivLength > 0) writeIv(this.#mac.iv, (this.#sequence.high + this.#epoch) >>> 0, this.#sequence.low);
    const mac = this.#mac.compute(packet.subarray(start, end), this.esn ? this.#sequence.high : undefined);
    packet.set(this.#mac.iv, at + HEADER);
    packet.set(mac.subarray(0, icvLength), at + HEADER + ivLength);
    this.#fields.restore(packet, start, at);
    this.packets++;
    this.bytes += end - at - length;
    return end - start;
  }

  /** Skips sequence numbers, so that what another holder of a snapshot may have sent is not sent again. */
  skipAhead(count: number | bigint): void {
    this.#sequence.skip(count);
  }

  /** IVs of GMAC go on in a range of their own. @param epoch 32 bits, drawn by chance */
  beginEpoch(epoch: number): void {
    this.#epoch = epoch >>> 0;
  }

  snapshot(): OutboundSnapshot {
    return this.#sequence.snapshot();
  }

  destroy(): void {
    this.#mac.destroy();
  }
}

/** The receiving half of an AH SA (RFC 4302 §3.4). */
export class InboundAh {
  readonly protocol = 'AH';
  readonly spi: number;
  readonly esn: boolean;
  /** Authentic packets and octets of their payloads; exact to 2^53. */
  packets = 0;
  bytes = 0;
  readonly drops: Record<InboundDrop, number> = { malformed: 0, replay: 0, icv: 0, padding: 0, dummy: 0 };
  readonly #mac: KeyedMac;
  readonly #window: ReplayWindow;
  readonly #fields = new MutableFields();
  readonly #received = new Uint8Array(LONGEST_ICV);

  /** @throws ApiMisuse for an algorithm that is not there */
  constructor(options: InboundAhOptions) {
    this.spi = options.spi;
    this.esn = options.esn;
    this.#mac = new KeyedMac(options);
    this.#window = new ReplayWindow(options.replayWindow);
    if (options.resume !== undefined) this.#window.restore(options.resume.sequenceHigh, options.resume.sequenceLow);
  }

  /**
   * Checks a whole IP packet, not a fragment, from `start` to `end`, whose AH header stands at `at`. The packet is as it was on return.
   * @param opened tells where the payload stands, behind AH
   */
  open(packet: Uint8Array, opened: OpenedPacket, start: number, at: number, end: number): InboundVerdict {
    const verdict = this.#open(packet, opened, start, at, end);
    if (verdict !== 'ok') this.drops[verdict]++;
    return verdict;
  }

  /** Newest sequence number that was accepted, as a number for display. */
  get sequence(): number {
    return this.#window.topHigh * 2 ** 32 + this.#window.topLow;
  }

  /** Takes nothing any more up to this number: the peer goes on behind it (RFC 6311 §5.2). */
  closeUpTo(high: number, low: number): void {
    this.#window.closeUpTo(high, low);
  }

  snapshot(): InboundSnapshot {
    return { sequenceHigh: this.#window.topHigh, sequenceLow: this.#window.topLow };
  }

  destroy(): void {
    this.#mac.destroy();
  }

  #open(packet: Uint8Array, opened: OpenedPacket, start: number, at: number, end: number): InboundVerdict {
    const length = this.#mac.headerLength(packet[start]! >>> 4 === 4 ? 4 : 6);
    // RFC 4302 §3.3.3.2.1: no more padding than alignment needs, so the length is known
    if (end - at < length || packet[at + 1] !== length / 4 - 2) return 'malformed';
    const low = ((packet[at + 8]! << 24) | (packet[at + 9]! << 16) | (packet[at + 10]! << 8) | packet[at + 11]!) >>> 0;
    const high = this.esn ? this.#window.inferHigh(low) : 0;
    if (high < 0 || high > 0xffffffff || !this.#window.check(high, low)) return 'replay';
    if (!this.#isAuthentic(packet, start, at, end, high)) return 'icv';
    this.#window.update(high, low);
    this.packets++;
    const nextHeader = packet[at]!;
    if (nextHeader === NO_NEXT_HEADER) return 'dummy';
    opened.nextHeader = nextHeader;
    opened.start = at + length;
    opened.length = end - at - length;
    opened.sequenceHigh = high;
    opened.sequenceLow = low;
    this.bytes += opened.length;
    return 'ok';
  }

  #isAuthentic(packet: Uint8Array, start: number, at: number, end: number, high: number): boolean {
    if (!this.#fields.clear(packet, start, at)) return false;
    const { iv, ivLength, icvLength } = this.#mac;
    const icvAt = at + HEADER;
    const received = this.#received.subarray(0, ivLength + icvLength);
    received.set(packet.subarray(icvAt, icvAt + received.length));
    iv.set(received.subarray(0, ivLength));
    // RFC 4302 §3.4.4: the ICV counts as zero, padding behind it as it is
    packet.fill(0, icvAt, icvAt + received.length);
    const mac = this.#mac.compute(packet.subarray(start, end), this.esn ? high : undefined);
    const authentic = equalSecrets(mac.subarray(0, icvLength), received.subarray(ivLength));
    packet.set(received, icvAt);
    this.#fields.restore(packet, start, at);
    return authentic;
  }
}

class KeyedMac {
  readonly iv: Uint8Array;
  readonly icvLength: number;
  readonly #mac: Mac;

  constructor({ integrity: id, integrityKey }: AhKeys) {
    const transform = integrity(id);
    if (transform === undefined || integrityKey.length !== transform.keyLength)
      throw new ApiMisuse(`there is no integrity algorithm ${id} with a key of ${integrityKey.length} octets`, {
        code: 'UNKNOWN_ALGORITHM',
      });
    this.iv = new Uint8Array(transform.ivLength);
    this.icvLength = transform.icvLength;
    this.#mac = transform.createMac(integrityKey);
  }

  get ivLength(): number {
    return this.iv.length;
  }

  /** RFC 4302 §2.2, §2.6: a multiple of 4 octets in IPv4, of 8 in IPv6. */
  headerLength(version: 4 | 6): number {
    const unit = version === 4 ? 4 : 8;
    return Math.ceil((HEADER + this.iv.length + this.icvLength) / unit) * unit;
  }

  compute(data: Uint8Array, esnHigh: number | undefined): Uint8Array {
    return this.iv.length > 0 ? this.#mac.compute(data, esnHigh, this.iv) : this.#mac.compute(data, esnHigh);
  }

  destroy(): void {
    this.#mac.destroy();
  }
}

/** RFC 4543 §3.1: never twice under one key, as the sequence number in one life. */
function writeIv(iv: Uint8Array, high: number, low: number): void {
  writeU32(iv, 0, high);
  writeU32(iv, 4, low);
}

/** Next header, length, reserved, SPI, sequence number. */
const HEADER = 12;
const NO_NEXT_HEADER = 59;
/** GMAC: 8 octets of IV and 16 of tag; HMAC-SHA-512 has 32. */
const LONGEST_ICV = 32;
