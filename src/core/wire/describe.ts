import { toHex } from '../bytes/bytes.ts';
import type { IkeHeader } from './header.ts';
import { ConfigType, ExchangeType, nameOf, PayloadType } from './iana.ts';
import type { Description } from './payload.ts';
import { definitionByKind } from './payloads/index.ts';
import type { Payload } from './payloads/types.ts';
import { notifyName } from './text/notify.ts';
import { shortHex } from './text/octets.ts';

export { describeAttribute } from './text/configuration.ts';
export { formatDistinguishedName } from './text/distinguished-name.ts';
export { formatIdentification } from './text/identification.ts';
export { notifyName } from './text/notify.ts';
export { formatProposal, formatTransform } from './text/proposal.ts';
export { formatRange, formatSelector } from './text/selector.ts';
export { describeVendorId, vendorName } from './text/vendor-ids.ts';

export interface DescribeOptions {
  /** Stands before every line. */
  readonly indent?: string;
}

/** `IKE_AUTH request 1  { IDi, CERT, N(INITIAL_CONTACT), AUTH, SA, TSi, TSr }`: one line, in the RFC's notation. */
export function summarise(header: IkeHeader, payloads: readonly Payload[]): string {
  const names = payloads.slice(0, MAX_NAMES).map((payload) => payloadNotation(payload, header.flags.response));
  if (payloads.length > MAX_NAMES) names.push(`and ${payloads.length - MAX_NAMES} more`);
  return `${titleOf(header)}  ${names.length === 0 ? '{ }' : `{ ${names.join(', ')} }`}`;
}

/**
 * A message as lines of text: header first, then every payload with what it says. Whatever a peer chose is made safe for a terminal;
 * nothing secret is shown, since nothing secret is in a message that can be described.
 */
export function describeMessage(header: IkeHeader, payloads: readonly Payload[], options: DescribeOptions = {}): string {
  const indent = options.indent ?? '';
  const sender = header.flags.initiator ? 'initiator' : 'responder';
  const lines = [`${titleOf(header)}  ${toHex(header.spiI)} ${toHex(header.spiR)}  from the original ${sender}`];
  for (const payload of payloads) lines.push(...describePayload(payload, header.flags.response).map((line) => `  ${line}`));
  return lines.map((line) => indent + line).join('\n');
}

/** The lines of one payload: its notation, beside it what it says. */
export function describePayload(payload: Payload, response: boolean): string[] {
  const label = labelOf(payload, response);
  const lines = flatten(contentOf(payload), 0);
  const first = lines[0] === '' ? lines.splice(0, 2)[1] : lines.shift();
  const margin = ' '.repeat(LABEL_WIDTH);
  if (lines.length > MAX_LINES) lines.splice(MAX_LINES, lines.length, `and ${lines.length - MAX_LINES} more`);
  return [`${label.padEnd(LABEL_WIDTH - 1)} ${first ?? ''}`.trimEnd(), ...lines.map((line) => margin + line)];
}

/** A payload in the notation of `summarise`: `SA`, `Ni`, `N(COOKIE)`, `CP(CFG_REQUEST)`, `SKF(1/2)`, `payload 200 (critical)`. */
export function payloadNotation(payload: Payload, response: boolean): string {
  const label = labelOf(payload, response);
  if (payload.kind === 'N') return `N(${notifyName(payload.notify)})`;
  if (payload.kind === 'CP') return `CP(${nameOf(ConfigType, payload.cfgType)})`;
  if (payload.kind === 'SKF') return `SKF(${payload.fragment}/${payload.total})`;
  if (payload.kind === 'unknown')
    return `${label === String(payload.type) ? `payload ${label}` : label}${payload.critical === true ? ' (critical)' : ''}`;
  return label;
}

const titleOf = (header: IkeHeader): string =>
  `${nameOf(ExchangeType, header.exchange)} ${header.flags.response ? 'response' : 'request'} ${header.messageId}`;

/** RFC 7296 §1.2: a Nonce is Ni or Nr, a KE is KEi or KEr, after who speaks in the exchange. */
function labelOf(payload: Payload, response: boolean): string {
  if (payload.kind === 'Nonce') return response ? 'Nr' : 'Ni';
  if (payload.kind === 'KE') return response ? 'KEr' : 'KEi';
  if (payload.kind === 'unknown') return nameOf(PayloadType, payload.type);
  return payload.kind;
}

function contentOf(payload: Payload): Description {
  if (payload.kind !== 'unknown') return definitionByKind(payload.kind)!.describe(payload);
  const data = payload.data.length === 0 ? 'empty' : shortHex(payload.data);
  return `unknown payload${payload.critical === true ? ', critical' : ''}, ${data}`;
}

function flatten(description: Description, depth: number): string[] {
  const indent = '  '.repeat(depth);
  if (typeof description === 'string') return [indent + description];
  const beneath = description.text === '' ? depth : depth + 1;
  return [description.text === '' ? '' : indent + description.text, ...description.lines.flatMap((line) => flatten(line, beneath))];
}

const LABEL_WIDTH = 9;
/** Ours: real messages stay far below; what does not is no reason to fill a terminal. */
const MAX_NAMES = 64;
const MAX_LINES = 128;
