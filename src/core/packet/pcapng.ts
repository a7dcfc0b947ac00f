import { concat, fromUtf8, utf8 } from '../bytes/bytes.ts';
import { type CapturedPacket, damaged, MAX_CAPTURED, view } from './pcap-file.ts';

/** The format is that of draft-ietf-opsawg-pcapng. */
export const isPcapng = (data: Uint8Array): boolean => data.length >= 12 && view(data).getUint32(0) === SECTION_HEADER;

/** Blocks of a type we do not know are skipped; every section may have its own byte order and interfaces. */
export function* readPcapng(data: Uint8Array): Generator<CapturedPacket> {
  let section: Section = { littleEndian: true, interfaces: [] };
  for (let at = 0; at < data.length; ) {
    if (at + 12 > data.length) throw damaged('the file ends inside a block header', at);
    if (view(data).getUint32(at) === SECTION_HEADER) section = { littleEndian: byteOrder(data, at), interfaces: [] };
    const block = readBlock(data, at, section.littleEndian);
    if (block.type === INTERFACE_DESCRIPTION) addInterface(section, block);
    else {
      const packet = readPacket(section, block);
      if (packet !== undefined) yield packet;
    }
    at += block.length;
  }
}

/** What begins a file of one interface: section header and interface description, little-endian, microseconds. @param application who writes it */
export function pcapngHeader(linkType: number, application = 'Tunnelwright'): Uint8Array {
  const section = new Uint8Array(16);
  const s = view(section);
  s.setUint32(0, BYTE_ORDER_MAGIC, true);
  s.setUint16(4, 1, true);
  s.setInt32(8, -1, true);
  s.setInt32(12, -1, true);
  const face = new Uint8Array(8);
  view(face).setUint16(0, linkType, true);
  view(face).setUint32(4, MAX_CAPTURED, true);
  return concat(
    writeBlock(SECTION_HEADER, section, option(SHB_USERAPPL, utf8(application)), END_OF_OPTIONS),
    writeBlock(INTERFACE_DESCRIPTION, face, option(IF_TSRESOL, Uint8Array.of(6)), END_OF_OPTIONS),
  );
}

/** One packet of the interface that `pcapngHeader` described. @param at milliseconds since 1970 UTC @param comment stays with the packet */
export function pcapngPacket(at: number, data: Uint8Array, comment?: string): Uint8Array {
  const fixed = new Uint8Array(20);
  const v = view(fixed);
  const micros = BigInt(Math.round(at * 1000));
  v.setUint32(4, Number(micros >> 32n), true);
  v.setUint32(8, Number(micros & 0xffffffffn), true);
  v.setUint32(12, data.length, true);
  v.setUint32(16, data.length, true);
  const options = comment === undefined ? [] : [option(OPT_COMMENT, utf8(comment).subarray(0, MAX_COMMENT)), END_OF_OPTIONS];
  return writeBlock(ENHANCED_PACKET, fixed, padded(data), ...options);
}

interface Section {
  readonly littleEndian: boolean;
  readonly interfaces: Interface[];
}

interface Interface {
  readonly linkType: number;
  readonly snapLength: number;
  /** Ticks of a timestamp in a second, and seconds to add. */
  readonly ticks: bigint;
  readonly offset: number;
}

interface Block {
  readonly type: number;
  readonly length: number;
  readonly body: Uint8Array;
  /** Of the block, in the file. */
  readonly at: number;
}

function byteOrder(data: Uint8Array, at: number): boolean {
  const magic = view(data).getUint32(at + 8);
  if (magic !== BYTE_ORDER_MAGIC && magic !== BYTE_ORDER_SWAPPED) throw damaged('a section header without byte-order magic', at);
  return magic === BYTE_ORDER_SWAPPED;
}

function readBlock(data: Uint8Array, at: number, littleEndian: boolean): Block {
  const v = view(data);
  const length = v.getUint32(at + 4, littleEndian);
  if (length < 12 || length % 4 !== 0) throw damaged(`a block of ${length} octets`, at);
  if (at + length > data.length) throw damaged(`the file ends inside a block of ${length} octets`, at);
  if (v.getUint32(at + length - 4, littleEndian) !== length) throw damaged('a block whose two lengths differ', at);
  return { type: v.getUint32(at, littleEndian), length, body: data.subarray(at + 8, at + length - 4), at };
}

function addInterface(section: Section, { body, at }: Block): void {
  if (body.length < 8) throw damaged('an interface description cut short', at);
  if (section.interfaces.length >= MAX_INTERFACES) throw damaged(`more than ${MAX_INTERFACES} interfaces`, at);
  const v = view(body);
  let ticks = 1_000_000n;
  let offset = 0;
  for (const { code, value } of options(body.subarray(8), section.littleEndian)) {
    if (code === IF_TSRESOL && value.length === 1) ticks = resolution(value[0]!);
    if (code === IF_TSOFFSET && value.length === 8) offset = Number(view(value).getBigInt64(0, section.littleEndian));
  }
  section.interfaces.push({
    linkType: v.getUint16(0, section.littleEndian),
    snapLength: v.getUint32(4, section.littleEndian),
    ticks,
    offset,
  });
}

/** The upper bit chooses between powers of 2 and of 10. */
const resolution = (octet: number): bigint => (octet & 0x80 ? 2n : 10n) ** BigInt(Math.min(octet & 0x7f, 63));

function readPacket({ littleEndian, interfaces }: Section, { type, body, at }: Block): CapturedPacket | undefined {
  const v = view(body);
  if (type === SIMPLE_PACKET) {
    const face = interfaces[0];
    if (body.length < 4 || face === undefined) throw damaged('a packet without interface', at);
    const length = v.getUint32(0, littleEndian);
    const captured = face.snapLength === 0 ? length : Math.min(length, face.snapLength);
    return { at: 0, linkType: face.linkType, data: packetOctets(body, 4, captured, at), length };
  }
  if (type !== ENHANCED_PACKET && type !== OBSOLETE_PACKET) return undefined;
  if (body.length < 20) throw damaged('a packet block cut short', at);
  const face = interfaces[type === ENHANCED_PACKET ? v.getUint32(0, littleEndian) : v.getUint16(0, littleEndian)];
  if (face === undefined) throw damaged('a packet of an interface that is not described', at);
  const ticks = (BigInt(v.getUint32(4, littleEndian)) << 32n) | BigInt(v.getUint32(8, littleEndian));
  const captured = v.getUint32(12, littleEndian);
  const data = packetOctets(body, 20, captured, at);
  const comment = commentIn(body.subarray(20 + roundUp(captured)), littleEndian);
  const time = face.offset * 1000 + milliseconds(ticks, face.ticks);
  return { at: time, linkType: face.linkType, data, length: v.getUint32(16, littleEndian), ...(comment === undefined ? {} : { comment }) };
}

function packetOctets(body: Uint8Array, start: number, captured: number, at: number): Uint8Array {
  if (captured > MAX_CAPTURED || start + captured > body.length)
    throw damaged(`a packet of ${captured} octets in a block of ${body.length}`, at);
  return body.subarray(start, start + captured);
}

/** Whole seconds and rest apart, so that nanoseconds do not drown in the mantissa. */
const milliseconds = (ticks: bigint, perSecond: bigint): number =>
  Number(ticks / perSecond) * 1000 + (Number(ticks % perSecond) * 1000) / Number(perSecond);

function commentIn(body: Uint8Array, littleEndian: boolean): string | undefined {
  for (const { code, value } of options(body, littleEndian)) if (code === OPT_COMMENT) return fromUtf8(value);
  return undefined;
}

/** Ends quietly at the first option that does not fit: options are remarks. */
function* options(body: Uint8Array, littleEndian: boolean): Generator<{ code: number; value: Uint8Array }> {
  const v = view(body);
  for (let at = 0; at + 4 <= body.length; ) {
    const code = v.getUint16(at, littleEndian);
    const length = v.getUint16(at + 2, littleEndian);
    if (code === OPT_END || at + 4 + length > body.length) return;
    yield { code, value: body.subarray(at + 4, at + 4 + length) };
    at += 4 + roundUp(length);
  }
}

function writeBlock(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const block = concat(new Uint8Array(8), ...parts, new Uint8Array(4));
  const v = view(block);
  v.setUint32(0, type, true);
  v.setUint32(4, block.length, true);
  v.setUint32(block.length - 4, block.length, true);
  return block;
}

function option(code: number, value: Uint8Array): Uint8Array {
  const head = new Uint8Array(4);
  view(head).setUint16(0, code, true);
  view(head).setUint16(2, value.length, true);
  return concat(head, padded(value));
}

const padded = (data: Uint8Array): Uint8Array => (data.length % 4 === 0 ? data : concat(data, new Uint8Array(4 - (data.length % 4))));
const roundUp = (length: number): number => (length + 3) & ~3;

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const OBSOLETE_PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const BYTE_ORDER_SWAPPED = 0x4d3c2b1a;
const OPT_END = 0;
const OPT_COMMENT = 1;
const SHB_USERAPPL = 4;
const IF_TSRESOL = 9;
const IF_TSOFFSET = 14;
const END_OF_OPTIONS = new Uint8Array(4);

/** Ours. */
const MAX_INTERFACES = 1024;
const MAX_COMMENT = 4096;
