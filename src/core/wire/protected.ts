import { ApiMisuse, InternalError, MalformedMessage } from '../bytes/errors.ts';
import { Writer } from '../bytes/writer.ts';
import { HEADER_LENGTH, type IkeHeader, writeHeader } from './header.ts';
import { PayloadType } from './iana.ts';
import { firstType, isSealed, type Message, parsePayloads, writePayloads } from './message.ts';
import type { Payload, SkfPayload, SkPayload } from './payloads/types.ts';

/** What protects one direction of an IKE SA, as `core/crypto` makes it. Works on the buffer in place: `head | IV | body | ICV`. */
export interface MessageCipher {
  readonly ivLength: number;
  readonly icvLength: number;
  /** `body` must be a multiple of this many octets. */
  readonly blockLength: number;
  /** @returns the offset behind the ICV */
  seal(buffer: Uint8Array, start: number, headLength: number, end: number): number;
  /** @returns the offset behind the body, or -1 when the ICV is wrong or lengths do not fit */
  open(buffer: Uint8Array, start: number, headLength: number, end: number): number;
}

export interface Protection {
  readonly cipher: MessageCipher;
  /** A fresh IV of `length` octets: a counter for AEAD and CTR, unpredictable for CBC. Called once per message or fragment. */
  iv(length: number): Uint8Array;
  /** RFC 7296 §3.14 leaves the content of the padding to the sender; zeros unless this says otherwise. Never more than a block. */
  padding?(length: number): Uint8Array;
}

export interface OpenedMessage {
  /** What stood in clear before the SK payload, then what was inside. */
  readonly payloads: readonly Payload[];
  /** The octets of the payloads inside, padding taken off. */
  readonly plaintext: Uint8Array;
  /** Type of the first payload inside. */
  readonly inner: number;
}

export interface OpenedFragment {
  /** Type of the first payload of the whole; 0 in all fragments but the first. */
  readonly inner: number;
  readonly plaintext: Uint8Array;
}

/**
 * Puts `payloads` into an SK payload (RFC 7296 §3.14). The header and what is in `clear` (RFC 8019 §7.2.2 puts its Puzzle Solution there) are
 * authenticated, not encrypted.
 */
export function sealMessage(
  header: IkeHeader,
  payloads: readonly Payload[],
  protection: Protection,
  clear: readonly Payload[] = [],
): Uint8Array {
  const body = plaintextOf(payloads);
  return seal(header, clear, PayloadType.SK, firstType(payloads), NO_FIELDS, body, protection);
}

/**
 * Cuts `payloads` into SKF payloads (RFC 7383 §2.5), each in a message of its own with the same header.
 * @param maxOctets of each IKE message, without IP and UDP headers and non-ESP marker
 * @param clear goes before the SKF payload of the first fragment alone (RFC 8019 §7.2.2, RFC 7383 §2.5.3)
 * @returns at least one message. Throws `ApiMisuse` when `maxOctets` leaves no room, or 65535 fragments do not suffice.
 */
export function sealFragments(
  header: IkeHeader,
  payloads: readonly Payload[],
  protection: Protection,
  maxOctets: number,
  clear: readonly Payload[] = [],
): Uint8Array[] {
  const whole = plaintextOf(payloads);
  const first = fragmentRoom(protection.cipher, maxOctets - chainLength(clear));
  const share = fragmentRoom(protection.cipher, maxOctets);
  if (first < 1 || share < 1) throw new ApiMisuse(`${maxOctets} octets leave no room for a fragment`, { code: 'FRAGMENT_TOO_SMALL' });
  const total = 1 + Math.ceil(Math.max(0, whole.length - first) / share);
  if (total > 0xffff) throw new ApiMisuse(`the message needs ${total} fragments`, { code: 'TOO_MANY_FRAGMENTS' });
  const messages: Uint8Array[] = [];
  for (let i = 0, at = 0; i < total; i++) {
    const fields = new Writer(4)
      .u16(i + 1)
      .u16(total)
      .finish();
    const end = at + (i === 0 ? first : share);
    // RFC 7383 §2.5: the type of the first payload stands in the first fragment only.
    const type = i === 0 ? firstType(payloads) : PayloadType.NONE;
    messages.push(seal(header, i === 0 ? clear : [], PayloadType.SKF, type, fields, whole.subarray(at, end), protection));
    at = end;
  }
  return messages;
}

/**
 * Verifies and decrypts the SK payload of a message, on a copy.
 * @returns undefined when the ICV is wrong. Throws `MalformedMessage` for an authentic message whose inside does not parse.
 */
export function openMessage(message: Message, cipher: MessageCipher): OpenedMessage | undefined {
  const sk = message.payloads.at(-1);
  if (sk?.kind !== 'SK') throw new ApiMisuse('the message has no SK payload to open', { code: 'NOT_PROTECTED' });
  const plaintext = open(message, sk, cipher);
  if (plaintext === undefined) return undefined;
  const inside = parseProtected(sk.inner, plaintext, sk.bodyOffset + cipher.ivLength);
  return { payloads: [...message.payloads.slice(0, -1), ...inside], plaintext, inner: sk.inner };
}

/** Verifies and decrypts the SKF payload of a message, on a copy. The plaintexts joined in order are what `parseProtected` reads. */
export function openFragment(message: Message, cipher: MessageCipher): OpenedFragment | undefined {
  const skf = message.payloads.at(-1);
  if (skf?.kind !== 'SKF') throw new ApiMisuse('the message has no SKF payload to open', { code: 'NOT_PROTECTED' });
  const plaintext = open(message, skf, cipher);
  return plaintext === undefined ? undefined : { inner: skf.inner, plaintext };
}

/** Reads the payloads that were inside an SK payload, or inside all SKF payloads of a message, joined. Nothing is sealed twice. */
export function parseProtected(inner: number, plaintext: Uint8Array, base = 0): Payload[] {
  const payloads = parsePayloads(inner, plaintext, base);
  if (payloads.some(isSealed)) {
    throw new MalformedMessage('an Encrypted payload inside an Encrypted payload', { field: 'Next Payload', section: 'RFC 7296 §3.14' });
  }
  return payloads;
}

/** What goes into SK; good until the next call, for sealing copies it. */
function plaintextOf(payloads: readonly Payload[]): Uint8Array {
  INNER.reset();
  writePayloads(INNER, payloads);
  return INNER.finish();
}

function seal(
  header: IkeHeader,
  clear: readonly Payload[],
  type: number,
  inner: number,
  fields: Uint8Array,
  body: Uint8Array,
  protection: Protection,
): Uint8Array {
  const { cipher } = protection;
  const padding = (cipher.blockLength - ((body.length + PAD_LENGTH_FIELD) % cipher.blockLength)) % cipher.blockLength;
  const length = 4 + fields.length + cipher.ivLength + body.length + padding + PAD_LENGTH_FIELD + cipher.icvLength;
  if (length > 0xffff)
    throw new ApiMisuse(`an Encrypted payload of ${length} octets exceeds 65535`, {
      code: 'PAYLOAD_TOO_LONG',
      hint: 'Enable IKE fragmentation.',
    });
  const w = new Writer(HEADER_LENGTH + chainLength(clear) + length);
  writeHeader(w, header, firstType(clear, type), 0);
  writePayloads(w, clear, type);
  w.u8(inner).u8(0);
  w.u16(length).bytes(fields);
  // RFC 7296 §3.14, RFC 5282 §5.1: what is authenticated reaches from the IKE header to before the IV.
  const headLength = w.length;
  const iv = protection.iv(cipher.ivLength);
  const filler = padding === 0 ? NO_FIELDS : (protection.padding?.(padding) ?? new Uint8Array(padding));
  if (iv.length !== cipher.ivLength || filler.length !== padding)
    throw new InternalError('an IV or a padding of another length than the cipher takes');
  w.bytes(iv).bytes(body);
  // RFC 7296 §3.14: up to a multiple of the block
  w.bytes(filler);
  w.u8(padding);
  const end = w.length;
  const message = w.zero(cipher.icvLength).patchU32(24, w.length).finish();
  if (cipher.seal(message, 0, headLength, end) !== message.length)
    throw new InternalError('the cipher wrote an ICV of another length than it states');
  return message;
}

function open(message: Message, sealed: SkPayload | SkfPayload, cipher: MessageCipher): Uint8Array | undefined {
  const copy = message.raw.slice();
  const bodyStart = sealed.bodyOffset + cipher.ivLength;
  const bodyEnd = cipher.open(copy, 0, sealed.bodyOffset, copy.length);
  if (bodyEnd < 0) return undefined;
  const padding = bodyEnd > bodyStart ? copy[bodyEnd - 1]! : undefined;
  const end = bodyEnd - PAD_LENGTH_FIELD - (padding ?? 0);
  if (padding === undefined || end < bodyStart) {
    throw new MalformedMessage('Pad Length exceeds what was encrypted', {
      offset: bodyEnd - 1,
      field: 'Pad Length',
      section: 'RFC 7296 §3.14',
    });
  }
  return copy.subarray(bodyStart, end);
}

/** Octets of plaintext that fit into a fragment whose message has `octets`; less than 1 for none. */
function fragmentRoom({ ivLength, icvLength, blockLength }: MessageCipher, octets: number): number {
  const body = Math.min(octets - HEADER_LENGTH, 0xffff) - SKF_HEADER_LENGTH - ivLength - icvLength;
  return body - (body % blockLength) - PAD_LENGTH_FIELD;
}

function chainLength(payloads: readonly Payload[]): number {
  if (payloads.length === 0) return 0;
  const w = new Writer();
  writePayloads(w, payloads);
  return w.length;
}

const NO_FIELDS = new Uint8Array(0);
const INNER = new Writer(2048);
const PAD_LENGTH_FIELD = 1;
/** Generic payload header, Fragment Number, Total Fragments. */
const SKF_HEADER_LENGTH = 8;
