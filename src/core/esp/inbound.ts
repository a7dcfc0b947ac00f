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
   */
  open(buffer: Uint8Array, opened: OpenedPacket, start = 0, end = buffer.length): InboundVerdict {
    const verdict = this.#open(buffer, opened, start, end);
    if (verdict === 'ok') return verdict;
    this.#drops ??= { ...NO_DROPS };
    this.#drops[verdict]++;
    return verdict;
  }

  get drops(): Readonly<Record<InboundDrop, number>> {
    return this.#drops ?? NO_DROPS;
  }

  /** Newest sequence number that was accepted, as a number for display. */
  get sequence(): number {
    return this.#window.topHigh * 2 ** 32 + this.#window.topLow;
  }

  snapshot(): InboundSnapshot {
    return { sequenceHigh: this.#window.topHigh, sequenceLow: this.#window.topLow };
  }

  destroy(): void {
    this.#window.release();
    this.#cipher.destroy();
  }

  #open(buffer: Uint8Array, opened: OpenedPacket, start: number, limit: number): InboundVerdict {
    const bodyAt = start + HEADER + this.#cipher.ivLength;
    const bodyLength = limit - bodyAt - this.#cipher.icvLength;
    // RFC 4303 §2.4: payload, padding and trailer end on a multiple of 4 and of the cipher's block.
    if (limit - start < this.#shortest || bodyLength % this.#alignment !== 0) return 'malformed';
    const low = ((buffer[start + 4]! << 24) | (buffer[start + 5]! << 16) | (buffer[start + 6]! << 8) | buffer[start + 7]!) >>> 0;
    const high = this.esn ? this.#window.inferHigh(low) : 0;
    // RFC 4303 §3.4.3: cheap check first, then the ICV, and only what is authentic moves the window.
    if (high < 0 || high > 0xffffffff || !this.#window.check(high, low)) return 'replay';
    const end = this.#cipher.open(buffer, start, HEADER, limit, this.esn ? high : undefined);
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
}

/** RFC 4303 §2.4: the receiver should inspect the padding. */
function isMonotonic(packet: Uint8Array, at: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (packet[at + i] !== i + 1) return false;
  return true;
}

const NO_DROPS: Readonly<Record<InboundDrop, number>> = { malformed: 0, replay: 0, icv: 0, padding: 0, dummy: 0 };
const HEADER = 8;
const TRAILER = 2;
const NO_NEXT_HEADER = 59;
