import { concat, toHex } from '../../../src/core/bytes/index.ts';
import { createPacketCipher, type PacketCipher } from '../../../src/core/crypto/index.ts';
import type { Datagram, IkeKeyLog } from '../../../src/core/ike/index.ts';
import {
  type IkeHeader,
  type Message,
  openMessage,
  type Payload,
  parseMessage,
  sealFragments,
  sealMessage,
  writeMessage,
} from '../../../src/core/wire/index.ts';
import type { End } from '../../core/ike/two-ends.ts';

/** Stands between two ends and has the keys of every IKE SA they make: what it changes or makes up is authentic. */
export class Meddler {
  readonly #ends: readonly End[];
  readonly #ciphers = new Map<string, { readonly initiator: PacketCipher; readonly responder: PacketCipher }>();
  #iv = 0x7000_0000;

  /** @param ends made with `logKeys` */
  constructor(...ends: readonly End[]) {
    this.#ends = ends;
  }

  /** The payloads of a message, those inside SK in the place of SK. Undefined for what nobody has the keys of. */
  open(data: Uint8Array): { readonly message: Message; readonly payloads: readonly Payload[] } | undefined {
    const message = parseMessage(data);
    if (!isProtected(message)) return { message, payloads: message.payloads };
    const cipher = this.#cipher(message.header);
    const opened = cipher && openMessage(message, cipher);
    return opened && { message, payloads: opened.payloads };
  }

  /** The same message with other payloads, in clear or sealed as it was. */
  rewrite(datagram: Datagram, edit: (payloads: readonly Payload[], header: IkeHeader) => readonly Payload[]): Datagram {
    const opened = this.open(datagram.data);
    if (opened === undefined) throw new Error('a message under keys that were not logged');
    const { message, payloads } = opened;
    const edited = edit(payloads, message.header);
    const data = isProtected(message) ? this.seal(message.header, edited) : writeMessage(message.header, edited);
    return { ...datagram, data };
  }

  seal(header: IkeHeader, payloads: readonly Payload[]): Uint8Array {
    return sealMessage(header, payloads, this.#protection(header));
  }

  /** SKF payloads, each made by `sealFragments`; `octets` bounds each message. */
  fragments(header: IkeHeader, payloads: readonly Payload[], octets: number): Uint8Array[] {
    return sealFragments(header, payloads, this.#protection(header), octets);
  }

  /**
   * A message of the IKE SA of `spiI` with any octets at all as its inside, and any numbers in its headers.
   * @param first type of the first payload inside
   * @param fragment Fragment Number and Total Fragments: an SKF payload
   */
  sealRaw(
    header: IkeHeader,
    first: number,
    inside: Uint8Array,
    fragment?: { readonly number: number; readonly total: number },
  ): Uint8Array {
    const cipher = this.#cipher(header)!;
    const fields = fragment === undefined ? [] : [fragment.number >> 8, fragment.number & 0xff, fragment.total >> 8, fragment.total & 0xff];
    const padding = (cipher.blockLength - ((inside.length + 1) % cipher.blockLength)) % cipher.blockLength;
    const length = 4 + fields.length + cipher.ivLength + inside.length + padding + 1 + cipher.icvLength;
    const { exchange, messageId, flags } = header;
    const bits = (flags.response ? 0x20 : 0) | (flags.initiator ? 0x08 : 0);
    const message = concat(
      header.spiI,
      header.spiR,
      Uint8Array.of(fragment === undefined ? SK : SKF, 0x20, exchange, bits, ...u32(messageId), ...u32(28 + length)),
      Uint8Array.of(first, 0, length >> 8, length & 0xff, ...fields),
      this.#nextIv(cipher.ivLength),
      inside,
      new Uint8Array(padding),
      Uint8Array.of(padding),
      new Uint8Array(cipher.icvLength),
    );
    cipher.seal(message, 0, 32 + fields.length, message.length - cipher.icvLength);
    return message;
  }

  /** The same octets as `sealMessage` would make of them, but payload by payload, so that one can be of any type. */
  static chain(payloads: readonly { readonly type: number; readonly body: Uint8Array; readonly critical?: boolean }[]): {
    readonly first: number;
    readonly octets: Uint8Array;
  } {
    const parts = payloads.map(({ body, critical }, i) => {
      const length = 4 + body.length;
      return concat(Uint8Array.of(payloads[i + 1]?.type ?? 0, critical ? 0x80 : 0, length >> 8, length & 0xff), body);
    });
    return { first: payloads[0]?.type ?? 0, octets: concat(...parts) };
  }

  #protection(header: IkeHeader) {
    return { cipher: this.#cipher(header)!, iv: (length: number) => this.#nextIv(length) };
  }

  #cipher({ spiI, flags }: IkeHeader): PacketCipher | undefined {
    const name = toHex(spiI);
    let pair = this.#ciphers.get(name);
    if (pair === undefined) {
      const keys = this.#keys(name);
      if (keys === undefined) return undefined;
      pair = ciphersOf(keys);
      this.#ciphers.set(name, pair);
    }
    return flags.initiator ? pair.initiator : pair.responder;
  }

  #keys(spiI: string): IkeKeyLog | undefined {
    for (const end of this.#ends) for (const { keys } of end.has('ike-keys')) if (toHex(keys.spiI) === spiI) return keys;
    return undefined;
  }

  /** Far from the counters of the real senders. */
  #nextIv(length: number): Uint8Array {
    const iv = new Uint8Array(length);
    new DataView(iv.buffer).setUint32(length - 4, this.#iv++);
    return iv;
  }
}

export const isProtected = (message: Message): boolean => {
  const last = message.payloads.at(-1)?.kind;
  return last === 'SK' || last === 'SKF';
};

/** `SA`, `N(16388)`, `unknown(49)`. */
export const nameOfPayload = (payload: Payload): string =>
  payload.kind === 'N' ? `N(${payload.notify})` : payload.kind === 'unknown' ? `unknown(${payload.type})` : payload.kind;

function ciphersOf({ encryption, keyLength, integrity, SK_ei, SK_er, SK_ai, SK_ar }: IkeKeyLog) {
  const common = { encryption, keyLength, integrity };
  return {
    initiator: createPacketCipher({ ...common, encryptionKey: SK_ei, integrityKey: SK_ai }),
    responder: createPacketCipher({ ...common, encryptionKey: SK_er, integrityKey: SK_ar }),
  };
}

const u32 = (value: number): number[] => [value >>> 24, (value >> 16) & 0xff, (value >> 8) & 0xff, value & 0xff];

const SK = 46;
const SKF = 53;
