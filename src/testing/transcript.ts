import { equalBytes, formatAddress, toHex } from '../core/bytes/index.ts';
import type { CapturedPacket, PacketCapture } from './capture.ts';
import { ScenarioFailure } from './failure.ts';

/** An IKE message as its sender meant it: in clear, before fragmentation, once however often it was sent. */
export interface TranscriptMessage {
  readonly at: number;
  readonly from: string;
  readonly to: string;
  /** `IKE_AUTH request 1  { IDi, AUTH, SA, TSi, TSr }`. */
  readonly summary: string;
  /** Every payload with what it says. */
  readonly text: string;
  /** As sent: one, or one per fragment. Without the non-ESP marker. */
  readonly datagrams: readonly Uint8Array[];
  readonly retransmissions: number;
}

/** Every message of every peer, in the order in which they were sent. */
export class Transcript {
  readonly #messages: Mutable[] = [];
  /** Texts whose datagrams have not been seen yet, by sender. */
  readonly #announced = new Map<string, string[]>();
  /** The last message of each sender and exchange. */
  readonly #last = new Map<string, Mutable>();

  get messages(): readonly TranscriptMessage[] {
    return this.#messages;
  }

  /** The sender says what is in the message it is about to send. */
  announce(from: string, text: string): void {
    const waiting = this.#announced.get(from);
    if (waiting === undefined) this.#announced.set(from, [text]);
    else waiting.push(text);
  }

  /** A datagram leaves: a new message, one more fragment of it, or a copy. */
  sent(at: number, from: string, to: string, data: Uint8Array): void {
    const exchange = `${from} ${exchangeOf(data)}`;
    const known = this.#last.get(exchange);
    if (known?.datagrams.some((datagram) => equalBytes(datagram, data))) {
      known.retransmissions++;
      return;
    }
    if (known !== undefined && data[NEXT_PAYLOAD] === SKF) {
      known.datagrams.push(data);
      return;
    }
    const text = this.#announced.get(from)?.shift() ?? '(the sender did not say what is in it)';
    const end = text.indexOf('\n');
    const summary = end < 0 ? text : text.slice(0, end);
    const message = { at, from, to, summary, text, datagrams: [data], retransmissions: 0 };
    this.#last.set(exchange, message);
    this.#messages.push(message);
  }
}

type Mutable = { -readonly [K in keyof TranscriptMessage]: TranscriptMessage[K] } & { datagrams: Uint8Array[] };

/** RFC 7296 §3.1: SPIs, exchange, flags and Message ID name a message; in IKE_SA_INIT several attempts share them. */
const exchangeOf = (data: Uint8Array): string => `${toHex(data.subarray(0, 16))}${toHex(data.subarray(18, 24))}`;

/** One line of a message chart: `a → b  CREATE_CHILD_SA request 2 { N(REKEY_SA), SA, Ni, ... }`; request/response and Message ID may be left out. */
export interface Arrow {
  readonly from: string;
  readonly to: string;
  readonly exchange: string;
  readonly kind: string | undefined;
  readonly messageId: number | undefined;
  /** As written; `...` stands for any others, `X?` for one that may be missing. */
  readonly payloads: readonly string[];
}

export function parseArrow(line: string): Arrow {
  const found = line.trim().match(/^(\S+)\s*(?:→|->)\s*(\S+)\s+([A-Z][A-Z0-9_]*|\d+)(?:\s+(request|response))?(?:\s+(\d+))?\s*\{(.*)\}$/);
  if (!found) throw new ScenarioFailure(`not an arrow of a chart: ${line}`);
  return {
    from: found[1]!,
    to: found[2]!,
    exchange: found[3]!,
    kind: found[4],
    messageId: found[5] === undefined ? undefined : Number(found[5]),
    payloads: splitPayloads(found[6]!),
  };
}

/** @param order whether payloads must stand in the order of the arrow. @returns what differs, or undefined. */
export function compare(arrow: Arrow, message: TranscriptMessage, order: 'free' | 'exact' = 'free'): string | undefined {
  const real = message.summary.match(/^(\S+) (request|response) (\d+)\s+\{(.*)\}$/);
  if (!real) return `the message cannot be read: ${message.summary}`;
  if (message.from !== arrow.from || message.to !== arrow.to) return `it goes from ${message.from} to ${message.to}`;
  if (real[1] !== arrow.exchange) return `it is ${real[1]}`;
  if (arrow.kind !== undefined && real[2] !== arrow.kind) return `it is a ${real[2]}`;
  if (arrow.messageId !== undefined && Number(real[3]) !== arrow.messageId) return `its Message ID is ${real[3]}`;
  return comparePayloads(arrow.payloads, splitPayloads(real[4]!), order);
}

function comparePayloads(wanted: readonly string[], real: readonly string[], order: 'free' | 'exact'): string | undefined {
  const open = wanted.includes('...');
  const left = [...real];
  let at = 0;
  for (const name of wanted) {
    if (name === '...') continue;
    const optional = name.endsWith('?');
    const bare = optional ? name.slice(0, -1) : name;
    const found = left.findIndex((candidate, i) => (order === 'free' || i >= at) && matches(bare, candidate));
    if (found >= 0) {
      if (order === 'exact' && !open && found !== at) return `${bare} stands in another place`;
      if (order === 'free') left.splice(found, 1);
      else at = found + 1;
    } else if (!optional) return `${bare} is missing`;
  }
  const rest = order === 'free' ? left : left.slice(at);
  return !open && rest.length > 0 ? `it has ${rest.join(', ')} besides` : undefined;
}

/** `KE` is KEi or KEr, as the chart likes. */
const matches = (wanted: string, real: string): boolean => wanted === real || (wanted === 'KE' && /^KE[ir]$/.test(real));

const splitPayloads = (text: string): string[] =>
  text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

/** What really happened, packet by packet, for failure messages. */
export function renderChart(capture: PacketCapture, transcript: Transcript, nameOf: (ip: string) => string, limit = 80): string {
  const titles = new Map<string, string>();
  for (const message of transcript.messages) {
    message.datagrams.forEach((datagram, i) => {
      const part = message.datagrams.length > 1 ? `  fragment ${i + 1}/${message.datagrams.length}` : '';
      titles.set(toHex(datagram), `${message.summary}${part}`);
    });
  }
  const shown = capture.packets.slice(-limit);
  const lines = shown.map((entry) => renderPacket(entry, titles, nameOf));
  const hidden = capture.packets.length - shown.length + capture.forgotten;
  return [...(hidden > 0 ? [`  … ${hidden} packets before`] : []), ...lines].join('\n');
}

function renderPacket(entry: CapturedPacket, titles: ReadonlyMap<string, string>, nameOf: (ip: string) => string): string {
  const { source, destination, data, protocol } = entry.packet;
  const marked = data.length > 4 && data.subarray(0, 4).every((octet) => octet === 0);
  const ike = titles.get(toHex(marked ? data.subarray(4) : data));
  const what = ike ?? (protocol === 'udp' && data.length === 1 ? 'NAT keepalive' : `ESP or other  ${toHex(data.subarray(0, 8))}`);
  const name = (address: typeof source): string => nameOf(address.ip) || formatAddress(address);
  const fate = entry.fate !== 'delivered' ? `  ✗ ${entry.fate}` : entry.deliveries.length > 1 ? `  ×${entry.deliveries.length}` : '';
  const place = entry.network === 'internet' ? '' : ` [${entry.network}]`;
  return `  ${(entry.at / 1000).toFixed(3).padStart(9)}  ${name(source)} → ${name(destination)}  ${what}  ${data.length} B${place}${fate}`;
}

const NEXT_PAYLOAD = 16;
const SKF = 53;
