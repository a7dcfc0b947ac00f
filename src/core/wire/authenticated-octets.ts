import { ApiMisuse } from '../bytes/errors.ts';
import { Writer } from '../bytes/writer.ts';
import { HEADER_LENGTH, type IkeHeader, writeHeader } from './header.ts';
import { PayloadType } from './iana.ts';
import { firstType, type Message, writePayloads } from './message.ts';
import type { Payload } from './payloads/types.ts';

/**
 * IntAuth_[i/r]*A | IntAuth_[i/r]*P of RFC 9242 §3.3.2: a protected message as it is before encryption and before it is cut into
 * fragments, its lengths without IV, padding, Pad Length and ICV. Here for a message of ours.
 */
export function octetsOfSent(header: IkeHeader, payloads: readonly Payload[]): Uint8Array {
  const w = new Writer();
  writeHeader(w, header, PayloadType.SK, 0);
  w.u8(firstType(payloads)).u8(0).u16(0);
  writePayloads(w, payloads);
  return adjusted(w.finish(), HEADER_LENGTH);
}

/** The same for a message of the peer. @param head what `headOf` gave for it, or for its first fragment */
export function octetsOfReceived(head: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const octets = new Uint8Array(head.length + plaintext.length);
  octets.set(head);
  octets.set(plaintext, head.length);
  return adjusted(octets, head.length - GENERIC_HEADER_LENGTH);
}

/**
 * The octets from the IKE header to the end of the generic header of the Encrypted payload, as if the message had never been cut: a
 * first fragment's Encrypted Fragment payload becomes an Encrypted payload, its RESERVED field is kept (RFC 9242 §3.3.2).
 */
export function headOf(message: Message): Uint8Array {
  const sealed = message.payloads.at(-1);
  if (sealed?.kind === 'SK') return message.raw.subarray(0, sealed.bodyOffset);
  if (sealed?.kind !== 'SKF') throw new ApiMisuse('the message has no Encrypted payload', { code: 'NOT_PROTECTED' });
  const at = sealed.bodyOffset - GENERIC_HEADER_LENGTH - FRAGMENT_FIELDS_LENGTH;
  const head = message.raw.slice(0, at + GENERIC_HEADER_LENGTH);
  head[typeFieldBefore(head, at)] = PayloadType.SK;
  return head;
}

/** Where the type of the payload that begins at `at` stands: in the header, or in the payload before it. */
function typeFieldBefore(octets: Uint8Array, at: number): number {
  let field = NEXT_PAYLOAD_OFFSET;
  for (let next = HEADER_LENGTH; next < at; next += (octets[next + 2]! << 8) | octets[next + 3]!) field = next;
  return field;
}

function adjusted(octets: Uint8Array, sealedAt: number): Uint8Array {
  const view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  view.setUint32(LENGTH_OFFSET, octets.length);
  view.setUint16(sealedAt + 2, octets.length - sealedAt);
  return octets;
}

const NEXT_PAYLOAD_OFFSET = 16;
const LENGTH_OFFSET = 24;
const GENERIC_HEADER_LENGTH = 4;
/** Fragment Number and Total Fragments, RFC 7383 §2.5. */
const FRAGMENT_FIELDS_LENGTH = 4;
