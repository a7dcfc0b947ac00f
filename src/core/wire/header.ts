import { Reader } from '../bytes/reader.ts';
import type { Writer } from '../bytes/writer.ts';

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

/** What stands in the 28 octets: the header proper and the two fields that belong to the message around it. */
export interface ParsedHeader {
  readonly header: IkeHeader;
  /** Type of the first payload, 0 for none. */
  readonly nextPayload: number;
  /** Octets of the whole message, as the sender states them: not yet compared with anything. */
  readonly length: number;
}

/** Octets of the IKE header. */
export const HEADER_LENGTH = 28;

/**
 * Reads the header and judges nothing in it, so that it works on every major version: who answers INVALID_MAJOR_VERSION needs the
 * SPIs and the Message ID of a message that cannot be parsed any further. Throws `MalformedMessage` for fewer than 28 octets.
 */
export function parseHeader(source: Reader | Uint8Array): ParsedHeader {
  const r = source instanceof Reader ? source : new Reader(source);
  const spiI = r.bytes(8, 'IKE SA Initiator SPI');
  const spiR = r.bytes(8, 'IKE SA Responder SPI');
  const nextPayload = r.u8('Next Payload');
  const version = r.u8('version');
  const exchange = r.u8('Exchange Type');
  const flags = r.u8('Flags');
  const messageId = r.u32('Message ID');
  const length = r.u32('Length');
  const header: IkeHeader = {
    spiI,
    spiR,
    majorVersion: version >>> 4,
    minorVersion: version & 0x0f,
    exchange,
    flags: { initiator: (flags & INITIATOR) !== 0, response: (flags & RESPONSE) !== 0, version: (flags & VERSION) !== 0 },
    messageId,
  };
  return { header, nextPayload, length };
}

/** RFC 7296 §3.1: the X bits of Flags are sent as zero. */
export function writeHeader(w: Writer, header: IkeHeader, nextPayload: number, length: number): void {
  const { flags } = header;
  w.bytes(header.spiI).bytes(header.spiR);
  w.u8(nextPayload);
  w.u8((header.majorVersion << 4) | header.minorVersion);
  w.u8(header.exchange);
  w.u8((flags.initiator ? INITIATOR : 0) | (flags.response ? RESPONSE : 0) | (flags.version ? VERSION : 0));
  w.u32(header.messageId).u32(length);
}

const INITIATOR = 0x08;
const VERSION = 0x10;
const RESPONSE = 0x20;
