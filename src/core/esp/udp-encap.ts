/** What a datagram on a UDP-encapsulating socket is (RFC 3948 §2, RFC 7296 §2.23). */
export type EncapsulatedKind =
  /** ESP from its first octet. */
  | 'esp'
  /** IKE behind the non-ESP marker: from octet `NON_ESP_MARKER_LENGTH`. */
  | 'ike'
  /** NAT keepalive, to be ignored. */
  | 'keepalive'
  /** Neither. */
  | 'invalid';

/** Octets of zeros in front of IKE on such a socket. */
export const NON_ESP_MARKER_LENGTH = 4;
/** RFC 3948 §2.3. */
export const KEEPALIVE: Uint8Array = Uint8Array.of(0xff);

/** @param start offset of the datagram's payload in `data`; @param end offset behind it */
export function classifyEncapsulated(data: Uint8Array, start = 0, end = data.length): EncapsulatedKind {
  const length = end - start;
  if (length === 1 && data[start] === 0xff) return 'keepalive';
  if (length < 4) return 'invalid';
  if (data[start] === 0 && data[start + 1] === 0 && data[start + 2] === 0) {
    if (data[start + 3] === 0) return length >= NON_ESP_MARKER_LENGTH + IKE_HEADER_LENGTH ? 'ike' : 'invalid';
    // RFC 4303 §2.1: SPIs 1 to 255 are reserved.
    return 'invalid';
  }
  return length >= SHORTEST_ESP ? 'esp' : 'invalid';
}

/** SPI of an ESP packet; the caller knows that there are 4 octets. */
export function spiOf(data: Uint8Array, start = 0): number {
  return ((data[start]! << 24) | (data[start + 1]! << 16) | (data[start + 2]! << 8) | data[start + 3]!) >>> 0;
}

const IKE_HEADER_LENGTH = 28;
/** SPI, sequence number, pad length and next header with 2 octets of padding, ICV of 8 octets at least. */
const SHORTEST_ESP = 20;
