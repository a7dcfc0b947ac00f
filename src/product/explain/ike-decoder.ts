import { concat, equalBytes, toHex } from '../../core/bytes/bytes.ts';
import { MalformedMessage, TunnelwrightError } from '../../core/bytes/errors.ts';
import {
  checkMessage,
  describePayload,
  ExchangeType,
  HEADER_LENGTH,
  type IkeHeader,
  type Message,
  type MessageCipher,
  nameOf,
  type OpenedFragment,
  openFragment,
  openMessage,
  type Payload,
  parseHeader,
  parseMessage,
  parseProtected,
  payloadNotation,
  summarise,
} from '../../core/wire/index.ts';
import { type CaptureCipher, createCaptureCipher } from './capture-cipher.ts';
import { describeIkev1 } from './ikev1.ts';
import { octets } from './octets.ts';
import type { IkeKeys } from './wireshark.ts';

export interface IkeFacts {
  /** Hex. */
  readonly spiI: string;
  readonly spiR: string;
  readonly exchange: string;
  readonly messageId: number;
  readonly response: boolean;
  /** Sent by the original initiator of the IKE SA. */
  readonly initiator: boolean;
  /**
   * `clear`: it needs no keys. `opened`: decrypted, ICV verified. `fragment`: decrypted, the rest of the message is still to come.
   * `sealed`: no keys for these SPIs. `refused`: there are keys, and the ICV is wrong under all of them.
   */
  readonly protection: 'clear' | 'opened' | 'fragment' | 'sealed' | 'refused';
  /** In the RFC's notation. */
  readonly payloads: readonly string[];
  /** The same octets were seen before. */
  readonly retransmitted: boolean;
}

export interface DecodedDatagram {
  readonly kind: 'ike' | 'ikev1' | 'malformed';
  readonly summary: string;
  readonly lines: readonly string[];
  readonly ike?: IkeFacts;
}

/** Reads IKE messages in the order of a capture: opens them where it has keys, and joins their fragments. */
export class IkeDecoder {
  readonly #keys: readonly KeyRow[];
  readonly #fragments = new Map<string, Reassembly>();
  readonly #seen = new Map<string, Uint8Array>();

  constructor(keys: readonly IkeKeys[]) {
    this.#keys = keys.map((row) => new KeyRow(row));
  }

  /** @param data an IKE message, non-ESP marker taken off */
  decode(data: Uint8Array): DecodedDatagram {
    let message: Message;
    try {
      message = parseMessage(data);
    } catch (error) {
      if (error instanceof TunnelwrightError) return notIkev2(data, error);
      throw error;
    }
    const sealed = message.payloads.at(-1);
    const again = this.#isRepeated(message, sealed?.kind === 'SKF' ? sealed.fragment : 0);
    if (sealed?.kind === 'SK') return this.#decodeProtected(message, again);
    if (sealed?.kind === 'SKF') return this.#decodeFragment(message, again);
    return present(message.header, message.payloads, 'clear', again);
  }

  #decodeProtected(message: Message, again: boolean): DecodedDatagram {
    const attempt = this.#attempt(message, openMessage);
    if (!attempt.opened) return present(message.header, message.payloads, attempt.protection, again, attempt.notes);
    return present(message.header, attempt.value.payloads, 'opened', again);
  }

  #decodeFragment(message: Message, again: boolean): DecodedDatagram {
    const { header, payloads } = message;
    const attempt = this.#attempt(message, openFragment);
    if (!attempt.opened) return present(header, payloads, attempt.protection, again, attempt.notes);
    const whole = this.#collect(message, attempt.value);
    if (whole === undefined) return present(header, payloads, 'fragment', again);
    try {
      return present(header, [...payloads.slice(0, -1), ...parseProtected(whole.inner, whole.plaintext)], 'opened', again);
    } catch (error) {
      if (!(error instanceof TunnelwrightError)) throw error;
      return present(header, payloads, 'opened', again, [`! decrypted, and malformed inside: ${error.message}`]);
    }
  }

  /** Tries every row of keys for the SPIs of the message: an IKE SA with additional key exchanges has several (RFC 9370). */
  #attempt<T>(message: Message, open: (message: Message, cipher: MessageCipher) => T | undefined): Attempt<T> {
    const { header } = message;
    const rows = this.#keys.filter((row) => row.fits(header));
    const notes: string[] = [];
    for (const row of rows) {
      try {
        const value = open(message, row.cipher(header.flags.initiator));
        if (value !== undefined) return { opened: true, value };
      } catch (error) {
        if (!(error instanceof TunnelwrightError)) throw error;
        if (error instanceof MalformedMessage)
          return { opened: false, protection: 'opened', notes: [`! decrypted, and malformed inside: ${error.message}`] };
        notes.push(`! the keys do not fit: ${error.message}`);
      }
    }
    if (rows.length === 0) return { opened: false, protection: 'sealed', notes };
    return {
      opened: false,
      protection: 'refused',
      notes: notes.length > 0 ? notes : ['! the integrity check fails under the keys given for these SPIs'],
    };
  }

  #collect(message: Message, piece: OpenedFragment): OpenedFragment | undefined {
    const skf = message.payloads.at(-1);
    if (skf?.kind !== 'SKF') return undefined;
    const key = `${keyOf(message.header)} ${skf.total}`;
    const state = this.#fragments.get(key) ?? { pieces: new Map<number, OpenedFragment>(), octets: 0 };
    if (!state.pieces.has(skf.fragment)) {
      state.pieces.set(skf.fragment, piece);
      state.octets += piece.plaintext.length;
    }
    this.#fragments.delete(key);
    if (state.pieces.size === skf.total) {
      const parts = [...state.pieces].sort(([a], [b]) => a - b).map(([, part]) => part);
      return { inner: parts[0]!.inner, plaintext: concat(...parts.map((part) => part.plaintext)) };
    }
    if (state.octets <= MAX_MESSAGE) remember(this.#fragments, key, state, MAX_REASSEMBLIES);
    return undefined;
  }

  #isRepeated(message: Message, fragment: number): boolean {
    const key = `${keyOf(message.header)} ${fragment}`;
    const before = this.#seen.get(key);
    remember(this.#seen, key, message.raw, MAX_SEEN);
    return before !== undefined && equalBytes(before, message.raw);
  }
}

type Attempt<T> =
  | { readonly opened: true; readonly value: T }
  | { readonly opened: false; readonly protection: 'opened' | 'sealed' | 'refused'; readonly notes: readonly string[] };

interface Reassembly {
  readonly pieces: Map<number, OpenedFragment>;
  octets: number;
}

class KeyRow {
  readonly #keys: IkeKeys;
  readonly #ciphers = new Map<boolean, MessageCipher>();

  constructor(keys: IkeKeys) {
    this.#keys = keys;
  }

  fits({ spiI, spiR }: IkeHeader): boolean {
    return equalBytes(this.#keys.spiI, spiI) && equalBytes(this.#keys.spiR, spiR);
  }

  /** RFC 7296 §2.14: SK_ei and SK_ai protect what the original initiator sends. */
  cipher(initiator: boolean): MessageCipher {
    const { encryption, keyLength, integrity, SK_ei, SK_er, SK_ai, SK_ar } = this.#keys;
    let cipher = this.#ciphers.get(initiator);
    if (cipher === undefined) {
      const encryptionKey = initiator ? SK_ei : SK_er;
      cipher = forMessages(
        createCaptureCipher({ encryption, keyLength, encryptionKey, integrity, integrityKey: initiator ? SK_ai : SK_ar }),
      );
      this.#ciphers.set(initiator, cipher);
    }
    return cipher;
  }
}

/** A recording is opened, never sealed. */
const forMessages = (cipher: CaptureCipher): MessageCipher => ({
  ivLength: cipher.ivLength,
  icvLength: cipher.icvLength,
  blockLength: 1,
  seal: () => -1,
  open: (buffer, start, headLength, end) => cipher.open(buffer, start, headLength, end),
});

function present(
  header: IkeHeader,
  payloads: readonly Payload[],
  protection: IkeFacts['protection'],
  retransmitted: boolean,
  notes: readonly string[] = [],
): DecodedDatagram {
  const { response } = header.flags;
  const shown = protection === 'fragment' ? [] : payloads;
  const lines = [...shown.flatMap((payload) => describePayload(payload, response)), ...notes, ...grammarNotes(header, payloads)];
  const ike: IkeFacts = {
    spiI: toHex(header.spiI),
    spiR: toHex(header.spiR),
    exchange: nameOf(ExchangeType, header.exchange),
    messageId: header.messageId,
    response,
    initiator: header.flags.initiator,
    protection,
    payloads: payloads.map((payload) => payloadNotation(payload, response)),
    retransmitted,
  };
  return {
    kind: 'ike',
    summary: `${summarise(header, payloads)}${REMARKS[protection]}${retransmitted ? '  (retransmitted)' : ''}`,
    lines,
    ike,
  };
}

function grammarNotes(header: IkeHeader, payloads: readonly Payload[]): string[] {
  try {
    checkMessage(header, payloads);
    return [];
  } catch (error) {
    if (error instanceof TunnelwrightError) return [`! ${error.message} (${error.section ?? 'RFC 7296'})`];
    throw error;
  }
}

function notIkev2(data: Uint8Array, error: TunnelwrightError): DecodedDatagram {
  if (data.length < HEADER_LENGTH) return { kind: 'malformed', summary: `not IKE: ${octets(data.length)}`, lines: [] };
  const parsed = parseHeader(data);
  const { header } = parsed;
  if (header.majorVersion === 1) return { kind: 'ikev1', summary: describeIkev1(parsed, data.length), lines: [] };
  if (header.majorVersion !== 2)
    return {
      kind: 'malformed',
      summary: `not IKE: ${octets(data.length)}, version ${header.majorVersion}.${header.minorVersion}`,
      lines: [],
    };
  return { kind: 'malformed', summary: `malformed ${nameOf(ExchangeType, header.exchange)}: ${error.message}`, lines: [] };
}

const keyOf = ({ spiI, spiR, exchange, messageId, flags }: IkeHeader): string =>
  `${toHex(spiI)} ${toHex(spiR)} ${exchange} ${messageId} ${flags.initiator} ${flags.response}`;

/** Puts an entry behind the others and lets the oldest go. */
function remember<V>(map: Map<string, V>, key: string, value: V, limit: number): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= limit) return;
    map.delete(oldest);
  }
}

const REMARKS: Readonly<Record<IkeFacts['protection'], string>> = {
  clear: '',
  opened: '',
  fragment: '  decrypted, waits for the other fragments',
  sealed: '  no keys',
  refused: '  WRONG ICV',
};

/** Ours. */
const MAX_REASSEMBLIES = 64;
const MAX_MESSAGE = 1 << 20;
const MAX_SEEN = 1024;
