import { isIpv6 } from '../bytes/ip-address.ts';
import { headOf, octetsOfReceived, octetsOfSent } from '../wire/authenticated-octets.ts';
import {
  ExchangeType,
  type HeaderFlags,
  type IkeHeader,
  type Message,
  openFragment,
  openMessage,
  type Payload,
  parseProtected,
  sealFragments,
  sealMessage,
  writeMessage,
} from '../wire/index.ts';
import { messageOctets, Reassembly } from './fragments.ts';
import type { IkeSa } from './ike-sa.ts';
import { isOverTcp, type Path, pathOf } from './path.ts';
import type { World } from './world.ts';

/** Seals a message of this SA: one datagram, or as many fragments as the path needs (RFC 7383 §2.5). */
export function seal(
  world: World,
  sa: IkeSa,
  exchange: number,
  messageId: number,
  response: boolean,
  payloads: readonly Payload[],
): Uint8Array[] {
  const header = headerOf(sa, exchange, messageId, response);
  world.message(sa, 'out', header, payloads);
  if (isFirst(exchange)) return [writeMessage(header, payloads)];
  const cipher = sa.sendCipher;
  const protection = { cipher, iv: (length: number) => (cipher.ivKind === 'counter' ? sa.counterIv(length) : world.random.cbcIv(length)) };
  const whole = sealMessage(header, payloads, protection);
  // RFC 9329 §7.5: a stream needs no fragments; those of others are taken all the same
  if (isOverTcp(sa)) return [whole];
  const room = messageOctets(sa.connection?.fragmentSize ?? DEFAULT_FRAGMENT_SIZE, isIpv6(sa.remote.ip), sa.encap);
  const mayFragment = sa.peer.fragmentation && sa.connection?.fragmentation !== 'accept';
  const mustFragment = whole.length > room || sa.connection?.fragmentation === 'force';
  return mayFragment && mustFragment ? sealFragments(header, payloads, protection, room) : [whole];
}

/** The exchanges that make the keys, and so are not protected: IKE_SA_INIT and what may take its place (RFC 5723 §4.3.2). */
export const isFirst = (exchange: number): boolean => exchange === ExchangeType.IKE_SA_INIT || exchange === ExchangeType.IKE_SESSION_RESUME;

export type Opened =
  | { readonly kind: 'payloads'; readonly payloads: readonly Payload[]; readonly authenticated: Uint8Array | undefined }
  | { readonly kind: 'partial' }
  /** An authentic fragment of a message that is known already. */
  | { readonly kind: 'known' }
  | { readonly kind: 'not-agreed' }
  | { readonly kind: 'bad-icv' }
  | { readonly kind: 'clear' };

/**
 * Opens a protected message; a fragment gives `partial` until the set is whole. Throws MalformedMessage for what decrypts to nonsense.
 * @param fresh the message is awaited: fragments of others must not disturb a set under way
 */
export function open(world: World, sa: IkeSa, message: Message, fresh: boolean): Opened {
  const last = message.payloads.at(-1);
  const cipher = sa.receiveCipher(message.header);
  if (last?.kind === 'SK') {
    const opened = openMessage(message, cipher);
    if (opened === undefined) return { kind: 'bad-icv' };
    world.message(sa, 'in', message.header, opened.payloads);
    const authenticated = isIntermediate(message) ? octetsOfReceived(headOf(message), opened.plaintext) : undefined;
    return { kind: 'payloads', payloads: opened.payloads, authenticated };
  }
  if (last?.kind !== 'SKF') return { kind: 'clear' };
  // RFC 7383 §2.3: only where both ends said that they can
  if (!sa.peer.fragmentation) return { kind: 'not-agreed' };
  const piece = openFragment(message, cipher);
  if (piece === undefined) return { kind: 'bad-icv' };
  if (!fresh) return { kind: 'known' };
  sa.reassembly ??= { requests: new Reassembly(), responses: new Reassembly() };
  const [reassembly, atOnce] = message.header.flags.response
    ? [sa.reassembly.responses, sa.window.sendSize]
    : [sa.reassembly.requests, sa.window.receiveSize];
  const head = isIntermediate(message) ? headOf(message) : undefined;
  const whole = reassembly.add(message.header.messageId, { fragment: last.fragment, total: last.total, head, ...piece }, world.now, atOnce);
  if (whole === undefined) return { kind: 'partial' };
  const payloads = parseProtected(whole.inner, whole.plaintext);
  world.message(sa, 'in', message.header, payloads);
  return {
    kind: 'payloads',
    payloads,
    authenticated: isIntermediate(message) ? octetsOfReceived(whole.head!, whole.plaintext) : undefined,
  };
}

/** What AUTH will cover of an IKE_INTERMEDIATE message that we send (RFC 9242 §3.3.2). */
export const authenticatedOfOurs = (sa: IkeSa, messageId: number, response: boolean, payloads: readonly Payload[]): Uint8Array =>
  octetsOfSent(headerOf(sa, ExchangeType.IKE_INTERMEDIATE, messageId, response), payloads);

const isIntermediate = ({ header }: Message): boolean => header.exchange === ExchangeType.IKE_INTERMEDIATE;

export function transmit(world: World, messages: readonly Uint8Array[], path: Path): void {
  for (const data of messages) world.emit({ kind: 'transmit', datagram: { ...pathOf(path), data } });
}

function headerOf(sa: IkeSa, exchange: number, messageId: number, response: boolean): IkeHeader {
  // RFC 7296 §3.1: I is set by the original initiator, in requests and responses alike; V is always cleared
  const flags: HeaderFlags = { initiator: sa.originalRole === 'initiator', response, version: false };
  return { spiI: sa.spiI, spiR: sa.spiR, majorVersion: 2, minorVersion: 0, exchange, flags, messageId };
}

/** The minimum MTU of IPv6 passes nearly everywhere (RFC 7383 §2.5.1). */
const DEFAULT_FRAGMENT_SIZE = 1280;
