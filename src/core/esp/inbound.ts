import { MOST_IN_BURST, openBurst, PacketBurst } from '../crypto/packet-burst.ts';
import type { PacketCipher } from '../crypto/packet-cipher.ts';
import type { ReplayRings } from './replay-rings.ts';
import { ReplayWindow } from './replay-window.ts';

export interface InboundSaOptions {
  /** The SPI that we chose. */
  readonly spi: number;
  readonly cipher: PacketCipher;
  readonly esn: boolean;
  /** Packets; 0 turns the check off, 1024 unless given. */
  readonly replayWindow?: number | undefined;
  readonly resume?: InboundSnapshot | undefined;
  /** What all of one plane have their replay windows in. */
  readonly rings?: ReplayRings | undefined;
}

/** Newest sequence number accepted; after a restart everything up to it counts as seen. */
export interface InboundSnapshot {
  readonly sequenceHigh: number;
  readonly sequenceLow: number;
}

/** Why a packet is not handed on; each is counted under its name. */
export type InboundDrop =
  /** Too short, or its length does not fit the cipher. */
  | 'malformed'
  /** Outside the window to the left, seen before, or beyond what a sequence number can say. */
  | 'replay'
  /** The ICV is wrong. */
  | 'icv'
  /** Authentic, but its padding is not 1, 2, 3 … or longer than the packet. */
  | 'padding'
  /** Authentic and empty on purpose: next header 59 (RFC 4303 §2.6). Counts as traffic. */
  | 'dummy';

export type InboundVerdict = 'ok' | InboundDrop;

/** Filled by `InboundSa.open` when the verdict is `ok`; made once and used again for every packet. */
export class OpenedPacket {
  /** Protocol of the payload. */
  nextHeader = 0;
  /** Offset of the payload in the buffer that was opened. */
  start = 0;
  /** Octets of the payload; TFC padding, if any, included. */
  length = 0;
  sequenceHigh = 0;
  sequenceLow = 0;
}

/**
 * What `InboundSa.openAhead` has verified and decrypted before its turn comes: by the offset of a packet, in the order that they stand in. Made
 * once and used again for every burst.
 */
export class OpenedAhead {
  readonly burst = new PacketBurst();
  #next = 0;

  clear(): void {
    this.burst.count = 0;
    this.#next = 0;
  }

  /** @returns the place in `burst` of the packet at `start`, once, and in order; -1 where it is not there */
  take(start: number): number {
    const next = this.#next;
    if (next >= this.burst.count || this.burst.starts[next] !== start) return -1;
    this.#next = next + 1;
    return next;
  }
}

/** The receiving half of an ESP SA (RFC 4303 §3.4). */
export class InboundSa {
  readonly protocol = 'ESP';
  readonly spi: number;
  readonly esn: boolean;
  /** Authentic packets and octets of their payloads; exact to 2^53. */
  packets = 0;
  bytes = 0;
  #drops: Record<InboundDrop, number> | undefined;
  readonly #cipher: PacketCipher;
  readonly #window: ReplayWindow;
  readonly #shortest: number;
  readonly #alignment: number;

  constructor(options: InboundSaOptions) {
    this.spi = options.spi;
    this.esn = options.esn;
    this.#cipher = options.cipher;
    this.#window = new ReplayWindow(options.replayWindow, options.rings);
    this.#alignment = Math.max(4, options.cipher.blockLength);
    this.#shortest = HEADER + options.cipher.ivLength + this.#alignment + options.cipher.icvLength;
    if (options.resume !== undefined) this.#window.restore(options.resume.sequenceHigh, options.resume.sequenceLow);
  }

  /**
   * Checks and decrypts an ESP packet in place.
   * @param buffer holds it from the SPI at `start` to the end of the ICV at `end`; overwritten with plaintext when authentic, untouched otherwise
   * @param ahead where it may have been verified and decrypted already
   */
  open(buffer: Uint8Array, opened: OpenedPacket, start = 0, end = buffer.length, ahead?: OpenedAhead): InboundVerdict {
    const verdict = this.#open(buffer, opened, start, end, ahead);
    if (verdict === 'ok') return verdict;
    this.#drops ??= { ...NO_DROPS };
    this.#drops[verdict]++;
    return verdict;
  }

  /**
   * Verifies and decrypts packets of one buffer before their turn: nothing is decided yet, and nothing counted. `open` then has to be called for
   * each of them, in order and with `ahead`, before anything else is done to this SA.
   * @param step octets from the beginning of one to that of the next; `MOST_IN_BURST` packets at most
   * @param length octets of each but the last, which ends at `end` and may be shorter
   */
  openAhead(buffer: Uint8Array, start: number, end: number, step: number, length: number, ahead: OpenedAhead): void {
    const { burst } = ahead;
    ahead.clear();
    const inFront = HEADER + this.#cipher.ivLength;
    for (let at = start; at < end && burst.count < MOST_IN_BURST; at += step) {
      const limit = Math.min(at + length, end);
      if (limit - at < this.#shortest || (limit - at - inFront - this.#cipher.icvLength) % this.#alignment !== 0) continue;
      const low = sequenceOf(buffer, at);
      const high = this.esn ? this.#window.inferHigh(low) : 0;
      // what is refused is left to `open`, which counts it
      if (high >= 0 && high <= 0xffffffff && this.#window.check(high, low)) burst.add(at, limit, high);
    }
    openBurst(this.#cipher, buffer, burst, HEADER, this.esn);
  }

  get drops(): Readonly<Record<InboundDrop, number>> {
    return this.#drops ?? NO_DROPS;
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
    this.#window.release();
    this.#cipher.destroy();
  }

  #open(buffer: Uint8Array, opened: OpenedPacket, start: number, limit: number, ahead: OpenedAhead | undefined): InboundVerdict {
    const bodyAt = start + HEADER + this.#cipher.ivLength;
    const bodyLength = limit - bodyAt - this.#cipher.icvLength;
    // RFC 4303 §2.4: payload, padding and trailer end on a multiple of 4 and of the cipher's block.
    if (limit - start < this.#shortest || bodyLength % this.#alignment !== 0) return 'malformed';
    const low = sequenceOf(buffer, start);
    const high = this.esn ? this.#window.inferHigh(low) : 0;
    const place = ahead === undefined ? -1 : ahead.take(start);
    // RFC 4303 §3.4.3: cheap check first, then the ICV, and only what is authentic moves the window.
    if (high < 0 || high > 0xffffffff || !this.#window.check(high, low)) return 'replay';
    const end =
      place < 0
        ? this.#cipher.open(buffer, start, HEADER, limit, this.esn ? high : undefined)
        : this.#known(buffer, start, limit, high, ahead!.burst, place);
    if (end < 0) return 'icv';
    this.#window.update(high, low);
    this.packets++;
    const padding = buffer[end - 2]!;
    const length = bodyLength - TRAILER - padding;
    if (length < 0 || !isMonotonic(buffer, end - TRAILER - padding, padding)) return 'padding';
    const nextHeader = buffer[end - 1]!;
    if (nextHeader === NO_NEXT_HEADER) return 'dummy';
    this.bytes += length;
    opened.nextHeader = nextHeader;
    opened.start = bodyAt;
    opened.length = length;
    opened.sequenceHigh = high;
    opened.sequenceLow = low;
    return 'ok';
  }

  /** What `open` of the cipher says, of a packet that was opened ahead. Since then the window may have moved to another high half (appendix A2.2). */
  #known(buffer: Uint8Array, start: number, limit: number, high: number, { highs, opened }: PacketBurst, place: number): number {
    const end = opened[place]!;
    if (high === highs[place]) return end;
    // authentic under one, it is not under the other; else it stands there as it came
    return end >= 0 ? -1 : this.#cipher.open(buffer, start, HEADER, limit, high);
  }
}

const sequenceOf = (packet: Uint8Array, at: number): number =>
  ((packet[at + 4]! << 24) | (packet[at + 5]! << 16) | (packet[at + 6]! << 8) | packet[at + 7]!) >>> 0;

/** RFC 4303 §2.4: the receiver should inspect the padding. */
function isMonotonic(packet: Uint8Array, at: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (packet[at + i] !== i + 1) return false;
  return true;
}

const NO_DROPS: Readonly<Record<InboundDrop, number>> = { malformed: 0, replay: 0, icv: 0, padding: 0, dummy: 0 };
const HEADER = 8;
const TRAILER = 2;
const NO_NEXT_HEADER = 59;
