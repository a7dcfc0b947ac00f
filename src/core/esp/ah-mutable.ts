/**
 * The fields in front of an AH header that routers may change (RFC 4302 §3.3.3.1): they are taken for zero when the ICV is computed, and are
 * there again afterwards. Works in place, so that the packet need not be copied.
 */
export class MutableFields {
  readonly #saved = new Uint8Array(LONGEST);

  /**
   * Zeroes them in the headers of the packet that stands from `start` to `ahAt`.
   * @returns false where the headers are not what they must be; nothing is changed then
   */
  clear(packet: Uint8Array, start: number, ahAt: number): boolean {
    const length = ahAt - start;
    if (length < 20 || length > LONGEST) return false;
    for (let i = 0; i < length; i++) this.#saved[i] = packet[start + i]!;
    if (packet[start]! >>> 4 === 4 ? clearIpv4(packet, start, ahAt) : clearIpv6(packet, start, ahAt)) return true;
    this.restore(packet, start, ahAt);
    return false;
  }

  restore(packet: Uint8Array, start: number, ahAt: number): void {
    for (let i = 0; i < ahAt - start; i++) packet[start + i] = this.#saved[i]!;
  }
}

/** RFC 4302 §3.3.3.1.1: DSCP and ECN, flags and offset, TTL, checksum; options by appendix A1. */
function clearIpv4(packet: Uint8Array, start: number, ahAt: number): boolean {
  if (start + (packet[start]! & 0x0f) * 4 !== ahAt) return false;
  packet[start + 1] = 0;
  packet[start + 6] = 0;
  packet[start + 7] = 0;
  packet[start + 8] = 0;
  packet[start + 10] = 0;
  packet[start + 11] = 0;
  for (let at = start + 20; at < ahAt; ) {
    const type = packet[at]!;
    if (type === END_OF_OPTIONS) return true;
    if (type === NO_OPERATION) {
      at++;
      continue;
    }
    const length = at + 1 < ahAt ? packet[at + 1]! : 0;
    if (length < 2 || at + length > ahAt) return false;
    // §3.3.3.1: one that is not known counts as mutable, and as a unit
    if (!IMMUTABLE_OPTIONS.includes(type)) packet.fill(0, at, at + length);
    at += length;
  }
  return true;
}

/** RFC 4302 §3.3.3.1.2: traffic class, flow label, hop limit; extension headers by appendix A2. */
function clearIpv6(packet: Uint8Array, start: number, ahAt: number): boolean {
  if (ahAt - start < IPV6_HEADER) return false;
  packet[start]! &= 0xf0;
  packet[start + 1] = 0;
  packet[start + 2] = 0;
  packet[start + 3] = 0;
  packet[start + 7] = 0;
  let next = packet[start + 6]!;
  let at = start + IPV6_HEADER;
  while (at < ahAt) {
    if (ahAt - at < 8) return false;
    const end = at + (packet[at + 1]! + 1) * 8;
    if (end > ahAt) return false;
    if (next === HOP_BY_HOP || next === DESTINATION_OPTIONS) {
      if (!clearOptions(packet, at + 2, end)) return false;
    } // a Routing header stands as it arrives, with no segment left: who receives it sees what the sender foresaw
    else if (next !== ROUTING || packet[at + 3] !== 0) return false;
    next = packet[at]!;
    at = end;
  }
  return next === AH;
}

/** The third bit of an option's type says whether its data may change on the way (RFC 8200 §4.2); type and length stay. */
function clearOptions(packet: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; ) {
    const type = packet[at]!;
    if (type === PAD1) {
      at++;
      continue;
    }
    const data = at + 2;
    const next = data + (packet[at + 1] ?? 0);
    if (data > end || next > end) return false;
    if ((type & MAY_CHANGE) !== 0) packet.fill(0, data, next);
    at = next;
  }
  return true;
}

/** RFC 4302 appendix A1, type octets: the three kinds of security options, router alert, sender directed delivery. */
const IMMUTABLE_OPTIONS: readonly number[] = [130, 133, 134, 148, 149];
const END_OF_OPTIONS = 0;
const NO_OPERATION = 1;
const PAD1 = 0;
const MAY_CHANGE = 0x20;
const IPV6_HEADER = 40;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const AH = 51;
const DESTINATION_OPTIONS = 60;
/** Octets of headers in front of AH; ours. */
const LONGEST = 512;
