import { ApiMisuse, MalformedMessage } from '../bytes/errors.ts';
import { Reader } from '../bytes/reader.ts';
import { Writer } from '../bytes/writer.ts';
import { HEADER_LENGTH, type IkeHeader, parseHeader, writeHeader } from './header.ts';
import { nameOf, PayloadType } from './iana.ts';
import { definitionByKind, definitionByType } from './payloads/index.ts';
import type { Payload } from './payloads/types.ts';

export interface Message {
  readonly header: IkeHeader;
  /** In the order of the wire; an SK or SKF payload stands last and is still sealed. */
  readonly payloads: readonly Payload[];
  /** The octets from the header to the end that its Length field states: what AUTH and the ICV cover. A view of the datagram. */
  readonly raw: Uint8Array;
}

/**
 * Reads an IKEv2 message; every byte field of it is a view of `data`. Payloads of unknown type are kept with their critical bit:
 * whether to refuse them is for the exchange to say (RFC 7296 §2.5). Reserved bits and the minor version are ignored.
 *
 * Throws `MalformedMessage`; its code is `UNSUPPORTED_MAJOR_VERSION` for IKEv1 and all else that is not version 2, on which `parseHeader` still works.
 */
export function parseMessage(data: Uint8Array): Message {
  const { header, nextPayload, length } = parseHeader(data);
  if (header.majorVersion !== 2) throw unsupportedVersion(header);
  // Octets behind the stated length are no part of the message: nothing authenticates them, so they are not looked at.
  if (length < HEADER_LENGTH || length > data.length) {
    throw new MalformedMessage(`the header states ${length} octets, the datagram has ${data.length}`, {
      offset: 24,
      field: 'Length',
      section: 'RFC 7296 §3.1',
    });
  }
  // a Buffer, whose own slice is a view, is not handed on
  const raw = length === data.length && data.constructor === Uint8Array ? data : data.subarray(0, length);
  return { header, payloads: parseChain(nextPayload, new Reader(raw, 0, HEADER_LENGTH)), raw };
}

/**
 * Reads a chain of payloads that fills `data` exactly (RFC 7296 §3.2).
 * @param first type of the first payload
 * @param base what offset 0 of `data` is called in errors, and what an SK payload counts its offset from
 */
export function parsePayloads(first: number, data: Uint8Array, base = 0): Payload[] {
  return parseChain(first, new Reader(data, base));
}

function parseChain(first: number, r: Reader): Payload[] {
  const payloads: Payload[] = [];
  for (let type = first; type !== PayloadType.NONE; ) {
    if (payloads.length >= MAX_PAYLOADS) throw r.malformed(`more than ${MAX_PAYLOADS} payloads`, 'Next Payload');
    const next = r.u8('Next Payload');
    const critical = (r.u8('Critical') & CRITICAL) !== 0;
    const length = r.u16('Payload Length');
    if (length < GENERIC_HEADER_LENGTH)
      throw r.malformed(`Payload Length is ${length}, its own header has 4 octets`, 'Payload Length', 'RFC 7296 §3.2');
    const payload = parseBody(type, next, r.sub(length - GENERIC_HEADER_LENGTH, fieldOf(type)));
    payloads.push(critical ? { ...payload, critical } : payload);
    // RFC 7296 §3.14: an Encrypted payload ends the message; its Next Payload belongs to what is inside.
    type = isSealed(payload) ? PayloadType.NONE : next;
  }
  r.end('the last payload');
  return payloads;
}

/** Throws `ApiMisuse` for values that do not fit the format, among them a sealed payload, which `sealMessage` writes. */
export function writeMessage(header: IkeHeader, payloads: readonly Payload[]): Uint8Array {
  const w = new Writer();
  writeHeader(w, header, firstType(payloads), 0);
  writePayloads(w, payloads);
  return w.patchU32(24, w.length).finish();
}

/**
 * Writes a chain of payloads.
 * @param following type of what comes behind the last one, for its Next Payload field
 */
export function writePayloads(w: Writer, payloads: readonly Payload[], following: number = PayloadType.NONE): void {
  for (let i = 0; i < payloads.length; i++) {
    const payload = payloads[i]!;
    const next = payloads[i + 1];
    const at = w.length;
    w.u8(next === undefined ? following : typeOf(next));
    // §3.2: of what is defined there nothing asks for the bit, and the seven behind it are zero
    w.u8(payload.critical === true ? CRITICAL : 0);
    w.u16(0);
    writeBody(w, payload);
    const length = w.length - at;
    if (length > MAX_PAYLOAD_LENGTH)
      throw new ApiMisuse(`${payload.kind} payload of ${length} octets exceeds ${MAX_PAYLOAD_LENGTH}`, { code: 'PAYLOAD_TOO_LONG' });
    w.patchU16(at + 2, length);
  }
}

/** IANA payload type of a payload. */
export function typeOf(payload: Payload): number {
  return payload.kind === 'unknown' ? payload.type : definitionByKind(payload.kind)!.type;
}

/** Type of the first payload of a chain, or of what follows an empty one. */
export const firstType = (payloads: readonly Payload[], following: number = PayloadType.NONE): number =>
  payloads[0] === undefined ? following : typeOf(payloads[0]);

export const isSealed = (payload: Payload): boolean => payload.kind === 'SK' || payload.kind === 'SKF';

function parseBody(type: number, next: number, body: Reader): Payload {
  const definition = definitionByType(type);
  if (definition === undefined) return { kind: 'unknown', type, data: body.rest() };
  const payload = definition.parse(body, next);
  // said of each payload, and needed of hardly any
  if (body.remaining > 0) body.end(`the fields of a ${definition.notation} payload`);
  return payload;
}

/** What errors call a payload of this type. */
function fieldOf(type: number): string {
  FIELDS[type] ??= `${nameOf(PayloadType, type)} payload`;
  return FIELDS[type];
}

function writeBody(w: Writer, payload: Payload): void {
  if (payload.kind === 'unknown') {
    w.bytes(payload.data);
    return;
  }
  if (isSealed(payload)) throw new ApiMisuse(`a sealed ${payload.kind} payload cannot be written, only sealed anew`);
  definitionByKind(payload.kind)!.write(w, payload);
}

function unsupportedVersion({ majorVersion, minorVersion }: IkeHeader): MalformedMessage {
  const what = majorVersion === 1 ? 'IKEv1' : `IKE version ${majorVersion}.${minorVersion}`;
  return new MalformedMessage(`${what}, and only IKEv2 is spoken here`, {
    code: 'UNSUPPORTED_MAJOR_VERSION',
    offset: 17,
    field: 'Major Version',
    section: 'RFC 7296 §2.5',
    ...(majorVersion === 1 ? { hint: 'Switch the peer to IKEv2: IKEv1 is deprecated (RFC 9395).' } : {}),
  });
}

/** By type, made once. */
const FIELDS: string[] = [];
const GENERIC_HEADER_LENGTH = 4;
const CRITICAL = 0x80;
const MAX_PAYLOAD_LENGTH = 0xffff;
/** Ours: what real peers send stays well below a hundred. */
const MAX_PAYLOADS = 512;
