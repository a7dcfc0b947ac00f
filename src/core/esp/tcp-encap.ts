import { NON_ESP_MARKER_LENGTH } from './udp-encap.ts';

/** RFC 9329 §4: `IKETCP`, sent once, by the end that opened the connection. */
export const STREAM_PREFIX: Uint8Array = Uint8Array.of(0x49, 0x4b, 0x45, 0x54, 0x43, 0x50);

/** Octets of the longest message that a frame carries (RFC 9329 §3), its non-ESP marker included. */
export const LONGEST_STREAM_MESSAGE = 65_533;

/** Takes one message, which is its own from here on. @returns false: no more of this chunk */
export type OnStreamMessage = (message: Uint8Array) => boolean;

/** Why a stream has to be closed. */
export type StreamFault =
  /** It does not begin with the prefix: whoever opened it means something else. */
  | 'no stream prefix'
  /** RFC 9329 §3.1: a Length of 0 or 1. */
  | 'impossible length';

/**
 * One message as it goes into the stream.
 * @param marked IKE: the non-ESP marker goes in front
 * @returns undefined for what no frame holds
 */
export function frameMessage(message: Uint8Array, marked: boolean): Uint8Array | undefined {
  const marker = marked ? NON_ESP_MARKER_LENGTH : 0;
  const length = marker + message.length;
  if (message.length === 0 || length > LONGEST_STREAM_MESSAGE) return undefined;
  const frame = new Uint8Array(LENGTH_FIELD + length);
  frame[0] = (LENGTH_FIELD + length) >>> 8;
  frame[1] = (LENGTH_FIELD + length) & 0xff;
  frame.set(message, LENGTH_FIELD + marker);
  return frame;
}

/**
 * Takes a stream apart (RFC 9329 §3, §4), however it was cut into pieces. It keeps no more than the frame that is under way: 65535 octets
 * at the most, and only as many as came.
 */
export class StreamReader {
  /** Octets of the prefix that are still to come. */
  #prefixLeft: number;
  /** The frame under way from its length field on; what is behind `#have` is not filled yet. */
  #frame = new Uint8Array(FIRST_BUFFER);
  #have = 0;
  #fault: StreamFault | undefined;

  /** @param from where the stream begins: the end that was called reads the prefix first, the other one gets none */
  constructor(from: 'prefix' | 'messages') {
    this.#prefixLeft = from === 'prefix' ? STREAM_PREFIX.length : 0;
  }

  /** The whole prefix was there. */
  get begun(): boolean {
    return this.#prefixLeft === 0;
  }

  /** In the middle of a frame, or of the prefix. */
  get partial(): boolean {
    return this.#have > 0 || (this.#prefixLeft > 0 && this.#prefixLeft < STREAM_PREFIX.length);
  }

  /**
   * @param chunk what came; messages that lie in it whole are handed out as views of it
   * @param onMessage gets one message at a time, its length field taken off
   * @returns what is wrong with the stream; nothing is read of it from then on
   */
  push(chunk: Uint8Array, onMessage: OnStreamMessage): StreamFault | undefined {
    let at = this.#skipPrefix(chunk);
    while (this.#fault === undefined && at < chunk.length) {
      const next = this.#have > 0 ? this.#resume(chunk, at, onMessage) : this.#whole(chunk, at, onMessage);
      if (next === STOPPED) break;
      at = next;
    }
    return this.#fault;
  }

  #skipPrefix(chunk: Uint8Array): number {
    let at = 0;
    while (this.#prefixLeft > 0 && at < chunk.length && this.#fault === undefined) {
      if (chunk[at] === STREAM_PREFIX[STREAM_PREFIX.length - this.#prefixLeft]) {
        this.#prefixLeft--;
        at++;
      } else this.#fault = 'no stream prefix';
    }
    return at;
  }

  /** A frame that begins here. @returns where the next one begins */
  #whole(chunk: Uint8Array, at: number, onMessage: OnStreamMessage): number {
    const left = chunk.length - at;
    const length = left < LENGTH_FIELD ? 0 : (chunk[at]! << 8) | chunk[at + 1]!;
    if (left >= LENGTH_FIELD && length < LENGTH_FIELD) {
      this.#fault = 'impossible length';
      return at;
    }
    if (left < LENGTH_FIELD || left < length) {
      this.#keep(chunk.subarray(at));
      return chunk.length;
    }
    return this.#hand(chunk.subarray(at + LENGTH_FIELD, at + length), onMessage) ? at + length : STOPPED;
  }

  /** A frame that began in an earlier chunk. @returns where the next one begins */
  #resume(chunk: Uint8Array, at: number, onMessage: OnStreamMessage): number {
    if (this.#have < LENGTH_FIELD) {
      this.#keep(chunk.subarray(at, at + 1));
      return this.#checkLength(at + 1, onMessage);
    }
    const length = this.#length;
    const end = Math.min(chunk.length, at + length - this.#have);
    this.#keep(chunk.subarray(at, end));
    if (this.#have < length) return end;
    return this.#handKept(length, onMessage) ? end : STOPPED;
  }

  #checkLength(at: number, onMessage: OnStreamMessage): number {
    if (this.#have < LENGTH_FIELD || this.#length > LENGTH_FIELD) return at;
    if (this.#length < LENGTH_FIELD) this.#fault = 'impossible length';
    else return this.#handKept(LENGTH_FIELD, onMessage) ? at : STOPPED;
    return at;
  }

  get #length(): number {
    return (this.#frame[0]! << 8) | this.#frame[1]!;
  }

  #handKept(length: number, onMessage: OnStreamMessage): boolean {
    const message = this.#frame.subarray(LENGTH_FIELD, length);
    this.#have = 0;
    // the receiver may hold on to it; a long one takes the buffer with it
    this.#frame = new Uint8Array(FIRST_BUFFER);
    return this.#hand(message, onMessage);
  }

  /** RFC 9329 §3: an empty message is ignored in silence. */
  #hand(message: Uint8Array, onMessage: OnStreamMessage): boolean {
    return message.length === 0 || onMessage(message);
  }

  /** Room grows with what comes, never with what a length promises. */
  #keep(octets: Uint8Array): void {
    const needed = this.#have + octets.length;
    if (needed > this.#frame.length) {
      const larger = new Uint8Array(Math.min(LONGEST_FRAME, Math.max(needed, 2 * this.#frame.length)));
      larger.set(this.#frame.subarray(0, this.#have));
      this.#frame = larger;
    }
    this.#frame.set(octets, this.#have);
    this.#have = needed;
  }
}

const LENGTH_FIELD = 2;
const LONGEST_FRAME = 0xffff;
/** Most messages fit. */
const FIRST_BUFFER = 2048;
const STOPPED = -1;
