import { ApiMisuse, MalformedMessage, printable, utf8 } from '../../../../core/bytes/index.ts';
import { HostReader, HostWriter, textOf } from './host-order.ts';

/**
 * Netlink's framing (RFC 3549 §2.2, linux/netlink.h): messages of a header and a body, where the body is one structure and attributes behind
 * it. Pure: bytes in, bytes out. What the kernel sends is bounded and checked like anything else that comes from outside.
 */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Port of the socket it answers; 0 in notifications. */
  readonly port: number;
  /** A view of what was received. */
  readonly body: Uint8Array;
}

/** A request as it is put together: the header first, whose length and sequence number are filled in at the end. */
export class MessageWriter extends HostWriter {
  readonly #flags: number;

  /** @param flags NLM_F; that it is a request is added */
  constructor(type: number, flags = 0) {
    super();
    this.#flags = flags | NLM_F.REQUEST;
    this.zero(4).u16(type).zero(10);
  }

  /** One attribute, aligned; a function writes its payload, and may write attributes of its own into it. */
  attribute(type: number, payload: Uint8Array | ((writer: this) => void)): this {
    const at = this.align(4).length;
    this.zero(2).u16(type);
    if (payload instanceof Uint8Array) this.bytes(payload);
    else payload(this);
    const length = this.length - at;
    if (length > 0xffff) throw new ApiMisuse(`attribute ${type & NLA_TYPE_MASK} is ${length} octets long, and 65535 is the most`);
    return this.patchU16(at, length).align(4);
  }

  nested(type: number, payload: (writer: this) => void): this {
    return this.attribute(type | NLA_F_NESTED, payload);
  }

  attributeU8(type: number, value: number): this {
    return this.attribute(type, (w) => w.u8(value));
  }

  attributeU32(type: number, value: number): this {
    return this.attribute(type, (w) => w.u32(value));
  }

  /** With the zero at its end. */
  attributeText(type: number, value: string): this {
    return this.attribute(type, (w) => w.bytes(utf8(value)).u8(0));
  }

  /** @param flags added to those it was made with */
  finish(sequence: number, flags = 0): Uint8Array {
    this.align(4);
    return this.patchU32(0, this.length)
      .patchU16(6, this.#flags | flags)
      .patchU32(8, sequence)
      .written();
  }
}

/** The messages of one datagram. @throws MalformedMessage `MALFORMED_NETLINK` when a length leads out of it */
export function parseMessages(datagram: Uint8Array): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  let at = 0;
  while (datagram.length - at >= HEADER) {
    const head = new HostReader(datagram.subarray(at, at + HEADER), 'nlmsghdr');
    const [length, type, flags, sequence, port] = [head.u32(), head.u16(), head.u16(), head.u32(), head.u32()];
    if (length < HEADER || length > datagram.length - at) throw malformed(`a message of ${length} octets`, datagram.length - at, at);
    messages.push({ type, flags, sequence, port, body: datagram.subarray(at + HEADER, at + length) });
    at += aligned(length);
  }
  return messages;
}

/** The attributes of one level. What is nested is parsed when it is asked for, so depth is the reader's, never the sender's. */
export class Attributes {
  readonly #all: readonly (readonly [number, Uint8Array])[];
  readonly #last: ReadonlyMap<number, Uint8Array>;

  private constructor(all: readonly (readonly [number, Uint8Array])[]) {
    this.#all = all;
    this.#last = new Map(all);
  }

  /** @throws MalformedMessage `MALFORMED_NETLINK` when a length leads out of `data` */
  static parse(data: Uint8Array): Attributes {
    const all: [number, Uint8Array][] = [];
    let at = 0;
    while (data.length - at >= ATTRIBUTE_HEADER) {
      const head = new HostReader(data.subarray(at, at + ATTRIBUTE_HEADER), 'nlattr');
      const [length, type] = [head.u16(), head.u16() & NLA_TYPE_MASK];
      if (length < ATTRIBUTE_HEADER || length > data.length - at)
        throw malformed(`attribute ${type} of ${length} octets`, data.length - at, at);
      all.push([type, data.subarray(at + ATTRIBUTE_HEADER, at + length)]);
      at += aligned(length);
    }
    return new Attributes(all);
  }

  /** In the order in which they came. */
  entries(): readonly (readonly [number, Uint8Array])[] {
    return this.#all;
  }

  has(type: number): boolean {
    return this.#last.has(type);
  }

  /** Of several of one type the last, which is how the kernel reads, too. */
  bytes(type: number): Uint8Array | undefined {
    return this.#last.get(type);
  }

  u8(type: number): number | undefined {
    return this.reader(type)?.u8();
  }

  u32(type: number): number | undefined {
    return this.reader(type)?.u32();
  }

  u64(type: number): bigint | undefined {
    return this.reader(type)?.u64();
  }

  text(type: number): string | undefined {
    const octets = this.#last.get(type);
    return octets && textOf(octets);
  }

  nested(type: number): Attributes | undefined {
    const octets = this.#last.get(type);
    return octets && Attributes.parse(octets);
  }

  reader(type: number): HostReader | undefined {
    const octets = this.#last.get(type);
    return octets && new HostReader(octets, `attribute ${type}`);
  }
}

/** How a request ended. */
export interface Outcome {
  /** 0 for success, else the positive number of errno(3). */
  readonly errno: number;
  /** The extended ACK: what the kernel says about it, in words. */
  readonly text: string | undefined;
  /** Where in the request the attribute begins that it did not take, octets from its header on. */
  readonly offset: number | undefined;
  /** The attribute that it misses. */
  readonly missing: number | undefined;
}

/** NLMSG_ERROR, which is the ACK as well, and NLMSG_DONE, which ends a dump. @throws MalformedMessage when it is shorter than its number */
export function parseOutcome(message: NetlinkMessage): Outcome {
  const body = new HostReader(message.body, 'nlmsgerr');
  // 0 - 0, since -0 is another number to some
  const errno = 0 - body.i32();
  if (message.type === NLMSG.ERROR) {
    const length = body.u32();
    body.skip(HEADER - 4);
    // unless it was capped, what was asked stands between; an ACK of success repeats the header alone
    if (errno !== 0 && (message.flags & NLM_F.CAPPED) === 0)
      body.skip(Math.min(body.remaining, aligned(Math.max(length, HEADER)) - HEADER));
  }
  const extended = (message.flags & NLM_F.ACK_TLVS) === 0 ? undefined : Attributes.parse(body.rest());
  const text = extended?.text(NLMSGERR_ATTR.MSG);
  return {
    errno,
    text: text === undefined || text === '' ? undefined : printable(text),
    offset: extended?.u32(NLMSGERR_ATTR.OFFS),
    missing: extended?.u32(NLMSGERR_ATTR.MISS_TYPE),
  };
}

const aligned = (length: number): number => (length + 3) & ~3;

const malformed = (what: string, left: number, offset: number): MalformedMessage =>
  new MalformedMessage(`the kernel sent ${what}, where ${left} are left`, { code: 'MALFORMED_NETLINK', offset });

export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const;
export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  DUMP_INTR: 0x10,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  /** In an ACK: what was asked is not repeated. */
  CAPPED: 0x100,
  ACK_TLVS: 0x200,
} as const;
const NLMSGERR_ATTR = { MSG: 1, OFFS: 2, MISS_TYPE: 5 } as const;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const HEADER = 16;
const ATTRIBUTE_HEADER = 4;
