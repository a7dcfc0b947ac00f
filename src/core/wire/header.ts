/** RFC 7296 §3.1. */
export interface IkeHeader {
  /** 8 octets. */
  readonly spiI: Uint8Array;
  /** 8 octets; zero in the first message. */
  readonly spiR: Uint8Array;
  readonly majorVersion: number;
  readonly minorVersion: number;
  readonly exchange: number;
  readonly flags: HeaderFlags;
  readonly messageId: number;
}

export interface HeaderFlags {
  /** The original initiator of the IKE SA sent this. */
  readonly initiator: boolean;
  /** This answers a request with the same Message ID. */
  readonly response: boolean;
  /** A higher major version is spoken; MUST be cleared, ignored on receipt. */
  readonly version: boolean;
}
