import { checksum, pseudoHeaderSum, sum16, updateChecksum } from './checksum.ts';
import type { IpView } from './ip.ts';
import { IpProtocol } from './ip-protocol.ts';
import { getI32, getU16, putU16, putU32 } from './octets.ts';

export const TCP_HEADER = 20;

/** RFC 9293 §3.1, control bits. */
export const TcpFlag = { FIN: 0x01, SYN: 0x02, RST: 0x04, PSH: 0x08, ACK: 0x10, URG: 0x20 } as const;

/** IANA TCP Option Kind Numbers. */
export const TcpOption = { END: 0, NOP: 1, MSS: 2, WINDOW_SCALE: 3, SACK_PERMITTED: 4, SACK: 5, TIMESTAMPS: 8 } as const;

/** RFC 2018 §3: 40 octets of options hold four blocks, three beside timestamps. */
export const MAX_SACK_BLOCKS = 4;

/** A TCP segment inside an IP packet, parsed into fields of an object that is used again. Numbers of 32 bits are signed. */
export class TcpView {
  sourcePort = 0;
  destinationPort = 0;
  seq = 0;
  ack = 0;
  flags = 0;
  /** As in the header, unscaled. */
  window = 0;
  urgentPointer = 0;
  /** Bounds of the text in the packet. */
  start = 0;
  end = 0;
  /** Octets of text in each segment that it was put together from, but the last; all of its text for one that came alone. */
  unit = 0;
  /** Options; -1 or false when absent. */
  mss = -1;
  windowScale = -1;
  sackPermitted = false;
  hasTimestamps = false;
  tsVal = 0;
  tsEcr = 0;
  /** Left and right edges, alternating; `sackBlocks` pairs are valid. */
  readonly sack = new Int32Array(2 * MAX_SACK_BLOCKS);
  sackBlocks = 0;

  /** SEG.LEN (RFC 9293 §3.3.1): text, and one each for SYN and FIN. */
  get length(): number {
    return this.end - this.start + ((this.flags >>> 1) & 1) + (this.flags & 1);
  }

  /**
   * @param unit of a segment whose checksums were verified where it was put together; 0 for one that came alone
   * @returns false when lengths lie or the checksum fails. Options that make no sense are ignored (RFC 9293 §3.2).
   */
  parse(ip: IpView, unit = 0): boolean {
    const { data, payload, end } = ip;
    const length = end - payload;
    if (length < TCP_HEADER) return false;
    const header = (data[payload + 12]! >>> 4) * 4;
    if (header < TCP_HEADER || header > length) return false;
    if (unit === 0 && !checksumHolds(ip)) return false;
    this.sourcePort = getU16(data, payload);
    this.destinationPort = getU16(data, payload + 2);
    this.seq = getI32(data, payload + 4);
    this.ack = getI32(data, payload + 8);
    this.flags = data[payload + 13]!;
    this.window = getU16(data, payload + 14);
    this.urgentPointer = getU16(data, payload + 18);
    this.start = payload + header;
    this.end = end;
    this.unit = unit > 0 ? unit : end - this.start;
    this.mss = -1;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.hasTimestamps = false;
    this.sackBlocks = 0;
    if (header > TCP_HEADER) this.#parseOptions(data, payload + TCP_HEADER, this.start);
    return true;
  }

  #parseOptions(data: Uint8Array, start: number, end: number): void {
    // The layout of nearly every segment (RFC 7323 appendix A): NOP, NOP, Timestamps.
    if (end - start === 12 && getI32(data, start) === NOP_NOP_TIMESTAMPS) {
      this.hasTimestamps = true;
      this.tsVal = getI32(data, start + 4);
      this.tsEcr = getI32(data, start + 8);
      return;
    }
    for (let at = start; at < end; ) {
      const kind = data[at]!;
      if (kind === TcpOption.END) return;
      if (kind === TcpOption.NOP) {
        at++;
        continue;
      }
      if (at + 2 > end) return;
      const length = data[at + 1]!;
      // RFC 9293 MUST-7: an illegal length must not harm; what follows it cannot be found.
      if (length < 2 || at + length > end) return;
      this.#takeOption(data, at, kind, length);
      at += length;
    }
  }

  #takeOption(data: Uint8Array, at: number, kind: number, length: number): void {
    if (kind === TcpOption.MSS && length === 4) this.mss = getU16(data, at + 2);
    else if (kind === TcpOption.WINDOW_SCALE && length === 3) this.windowScale = data[at + 2]!;
    else if (kind === TcpOption.SACK_PERMITTED && length === 2) this.sackPermitted = true;
    else if (kind === TcpOption.TIMESTAMPS && length === 10) {
      this.hasTimestamps = true;
      this.tsVal = getI32(data, at + 2);
      this.tsEcr = getI32(data, at + 6);
    } else if (kind === TcpOption.SACK && length > 2 && (length - 2) % 8 === 0) {
      const blocks = Math.min((length - 2) / 8, MAX_SACK_BLOCKS);
      for (let i = 0; i < 2 * blocks; i++) this.sack[i] = getI32(data, at + 2 + 4 * i);
      this.sackBlocks = blocks;
    }
  }
}

function checksumHolds({ data, payload, end, sourceAt, destinationAt, addressLength }: IpView): boolean {
  const seed = pseudoHeaderSum(data, sourceAt, data, destinationAt, addressLength, IpProtocol.TCP, end - payload);
  return sum16(data, payload, end, seed) === 0xffff;
}

/** Everything of a TCP header but addresses, options and text. */
export interface TcpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  /** Unscaled, as it goes into the header. */
  readonly window: number;
}

/** Writes the fixed header at `at`. `header` counts options too; they stand behind it already, or will before the checksum is made. */
export function writeTcp(data: Uint8Array, at: number, fields: TcpFields, header: number): void {
  putU16(data, at, fields.sourcePort);
  putU16(data, at + 2, fields.destinationPort);
  putU32(data, at + 4, fields.seq);
  putU32(data, at + 8, fields.ack);
  data[at + 12] = (header >>> 2) << 4;
  data[at + 13] = fields.flags;
  putU16(data, at + 14, fields.window);
  putU32(data, at + 16, 0);
}

/** Puts the checksum of the segment in `[at, end)` in its place. */
export function sealTcp(data: Uint8Array, at: number, end: number, source: Uint8Array, destination: Uint8Array): void {
  putU16(data, at + 16, 0);
  const seed = pseudoHeaderSum(source, 0, destination, 0, source.length, IpProtocol.TCP, end - at);
  putU16(data, at + 16, checksum(data, at, end, seed));
}

/**
 * Lowers every MSS option of a SYN that passes through and is larger than `mss` (RFC 6691 §2): what keeps TCP off a path whose ICMP is
 * filtered. Hosts disagree on which of two counts, so both are lowered. The checksum is mended, not made anew.
 * @returns true when the packet was changed.
 */
export function clampTcpMss(ip: IpView, mss: number): boolean {
  let changed = false;
  eachMss(ip, (at) => {
    if (lowerMss(ip.data, ip.payload, at, mss)) changed = true;
  });
  return changed;
}

/** Whether `clampTcpMss` would change the packet. */
export function offersMssAbove(ip: IpView, mss: number): boolean {
  let above = false;
  eachMss(ip, (at) => {
    if (getU16(ip.data, at) > mss) above = true;
  });
  return above;
}

/** Where the value of each MSS option of a SYN stands. */
function eachMss(ip: IpView, visit: (at: number) => void): void {
  const { data, payload, end } = ip;
  if (ip.protocol !== IpProtocol.TCP || ip.fragmentOffset > 0 || end - payload < TCP_HEADER) return;
  if ((data[payload + 13]! & TcpFlag.SYN) === 0) return;
  const optionsEnd = Math.min(payload + (data[payload + 12]! >>> 4) * 4, end);
  for (let at = payload + TCP_HEADER; at < optionsEnd; ) {
    const kind = data[at]!;
    if (kind === TcpOption.END) return;
    if (kind === TcpOption.NOP) {
      at++;
      continue;
    }
    const length = at + 1 < optionsEnd ? data[at + 1]! : 0;
    if (length < 2 || at + length > optionsEnd) return;
    if (kind === TcpOption.MSS && length === 4) visit(at + 2);
    at += length;
  }
}

function lowerMss(data: Uint8Array, segment: number, at: number, mss: number): boolean {
  const old = getU16(data, at);
  if (old <= mss) return false;
  putU16(data, at, mss);
  const checksumAt = segment + 16;
  // An option at an odd offset straddles two words of the sum: its octets then stand swapped in it.
  const odd = ((at - segment) & 1) === 1;
  const from = odd ? swap(old) : old;
  const to = odd ? swap(mss) : mss;
  putU16(data, checksumAt, updateChecksum(getU16(data, checksumAt), from, to));
  return true;
}

const swap = (word: number): number => ((word & 0xff) << 8) | (word >>> 8);

const NOP_NOP_TIMESTAMPS = (TcpOption.NOP << 24) | (TcpOption.NOP << 16) | (TcpOption.TIMESTAMPS << 8) | 10;
