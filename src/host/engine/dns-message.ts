import { formatIp, MalformedMessage, Reader, utf8, Writer } from '../../core/bytes/index.ts';

export const DnsType = { A: 1, CNAME: 5, AAAA: 28 } as const;

export interface DnsAnswer {
  /** RFC 1035 §4.1.1: 0 no error, 3 no such name. */
  readonly code: number;
  readonly addresses: readonly string[];
}

/** A question for the addresses of one name (RFC 1035 §4.1). @throws MalformedMessage for what is not a host name */
export function writeDnsQuery(id: number, name: string, type: number): Uint8Array {
  const writer = new Writer(64).u16(id).u16(RECURSION_DESIRED).u16(1).u16(0).u16(0).u16(0);
  for (const label of name.replace(/\.$/, '').split('.')) {
    const octets = utf8(label);
    if (octets.length === 0 || octets.length > LONGEST_LABEL)
      throw new MalformedMessage(`not a host name: ${name}`, { code: 'NOT_A_HOST' });
    writer.u8(octets.length).bytes(octets);
  }
  return writer.u8(0).u16(type).u16(CLASS_IN).finish().slice();
}

/**
 * The answer to exactly this question, aliases followed (RFC 1034 §3.6.2).
 * @returns undefined for anything else: what is not the answer to a question is not looked at further
 * @throws MalformedMessage
 */
export function parseDnsAnswer(message: Uint8Array, query: Uint8Array, type: number): DnsAnswer | undefined {
  const reader = new Reader(message);
  if (reader.u16('id') !== ((query[0]! << 8) | query[1]!)) return undefined;
  const flags = reader.u16('flags');
  const questions = reader.u16('question count');
  const answers = reader.u16('answer count');
  reader.skip(4, 'other counts');
  const question = query.subarray(HEADER);
  const echoed = reader.remaining >= question.length ? reader.bytes(question.length, 'question') : undefined;
  // Names compare without regard to case (RFC 4343); the octets of lengths and types are below every letter.
  const same = echoed?.every((octet, i) => lower(octet) === lower(question[i]!)) ?? false;
  if ((flags & RESPONSE) === 0 || questions !== 1 || !same) return undefined;
  return { code: flags & 0x0f, addresses: collect(reader, message, answers, type) };
}

function collect(reader: Reader, message: Uint8Array, count: number, type: number): string[] {
  let wanted = readName(message, HEADER);
  const records = Array.from({ length: Math.min(count, MOST_RECORDS) }, () => readRecord(reader, message));
  // Servers list aliases in order; a second pass would be needed only by one that does not.
  for (const { name, type: kind, data, at } of records) {
    if (kind === DnsType.CNAME && name === wanted && data.length > 0) wanted = readName(message, at);
  }
  const size = type === DnsType.A ? 4 : 16;
  return records.filter((r) => r.type === type && r.name === wanted && r.data.length === size).map((r) => formatIp(r.data));
}

interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly data: Uint8Array;
  /** Offset of the data in the message. */
  readonly at: number;
}

function readRecord(reader: Reader, message: Uint8Array): DnsRecord {
  const name = readName(message, reader.offset);
  skipName(reader);
  const type = reader.u16('type');
  reader.skip(6, 'class and TTL');
  const length = reader.u16('data length');
  const at = reader.offset;
  return { name, type, data: reader.bytes(length, 'data'), at };
}

function skipName(reader: Reader): void {
  for (;;) {
    const length = reader.u8('label');
    if (length === 0) return;
    if ((length & POINTER) === POINTER) {
      reader.skip(1, 'compression pointer');
      return;
    }
    reader.skip(length, 'label');
  }
}

/** RFC 1035 §4.1.4: a pointer leads strictly backwards, so that none leads in circles. */
function readName(message: Uint8Array, start: number): string {
  const labels: string[] = [];
  let at = start;
  let bound = start;
  for (let total = 0; total <= LONGEST_NAME; ) {
    const length = message[at];
    if (length === undefined) break;
    if (length === 0) return labels.join('.');
    if ((length & POINTER) === POINTER) {
      const target = ((length & 0x3f) << 8) | (message[at + 1] ?? 0);
      if (target >= bound) break;
      bound = at = target;
      continue;
    }
    if (length > LONGEST_LABEL || at + 1 + length > message.length) break;
    labels.push(String.fromCharCode(...message.subarray(at + 1, at + 1 + length)).toLowerCase());
    at += 1 + length;
    total += 1 + length;
  }
  throw new MalformedMessage('a DNS name ends nowhere', { offset: start, field: 'name', section: 'RFC 1035 §4.1.4' });
}

const lower = (octet: number): number => (octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet);

const HEADER = 12;
const RESPONSE = 0x8000;
const RECURSION_DESIRED = 0x0100;
const CLASS_IN = 1;
const POINTER = 0xc0;
const LONGEST_LABEL = 63;
const LONGEST_NAME = 255;
const MOST_RECORDS = 64;
