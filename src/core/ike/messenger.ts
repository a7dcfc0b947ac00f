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
import { datagramSize, headersOf, learnDatagramSize, messageOctets, Reassembly } from './fragments.ts';
import type { IkeSa } from './ike-sa.ts';
import { isOverTcp, type Path } from './path.ts';
import type { World } from './world.ts';

/**
 * Seals a message of this SA: one datagram, or as many fragments as the path needs (RFC 7383 §2.5).
 * @param datagram octets of IP datagrams that pass, as far as is known
 */
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
  return isFirst(exchange) ? [writeMessage(header, payloads)] : protect(world, sa, header, payloads, datagramSize(sa));
}

/** A request that was sealed before, once more, for a path on which smaller datagrams pass. @returns undefined where it was as small already */
export function reseal(
  world: World,
  sa: IkeSa,
  { exchange, messageId, payloads, fragments }: { exchange: number; messageId: number; payloads: readonly Payload[]; fragments: number },
  datagram: number,
): Uint8Array[] | undefined {
  if (isFirst(exchange) || !sa.hasKeys || sa.state === 'dead') return undefined;
  const messages = protect(world, sa, headerOf(sa, exchange, messageId, false), payloads, datagram);
  // RFC 7383 §2.5.2: Total Fragments tells the new set from the old one
  return messages.length > fragments ? messages : undefined;
}

function protect(world: World, sa: IkeSa, header: IkeHeader, payloads: readonly Payload[], datagram: number): Uint8Array[] {
  // RFC 8019 §7.2.2: what is to be looked at before anything is opened
  const clear = payloads.filter(({ kind }) => kind === 'PS');
  const inner = clear.length === 0 ? payloads : payloads.filter(({ kind }) => kind !== 'PS');
  return sa.sealing((cipher) => {
    const iv = (length: number): Uint8Array => (cipher.ivKind === 'counter' ? sa.counterIv(length) : world.random.cbcIv(length));
    const protection = { cipher, iv };
    const whole = sealMessage(header, inner, protection, clear);
    // RFC 9329 §7.5: a stream needs no fragments; those of others are taken all the same
    if (isOverTcp(sa)) return [whole];
    const room = messageOctets(datagram, isIpv6(sa.remote.ip), sa.encap);
    const mayFragment = sa.peer.fragmentation && sa.connection?.fragmentation !== 'accept';
    const mustFragment = whole.length > room || sa.connection?.fragmentation === 'force';
    return mayFragment && mustFragment ? sealFragments(header, inner, protection, room, clear) : [whole];
  });
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
  if (last?.kind === 'SK') {
    const opened = sa.opening(message.header, (cipher) => openMessage(message, cipher));
    if (opened === undefined) return { kind: 'bad-icv' };
    world.message(sa, 'in', message.header, opened.payloads);
    const authenticated = isIntermediate(message) ? octetsOfReceived(headOf(message), opened.plaintext) : undefined;
    return { kind: 'payloads', payloads: opened.payloads, authenticated };
  }
  if (last?.kind !== 'SKF') return { kind: 'clear' };
  // RFC 7383 §2.3: only where both ends said that they can
  if (!sa.peer.fragmentation) return { kind: 'not-agreed' };
  const piece = sa.opening(message.header, (cipher) => openFragment(message, cipher));
  if (piece === undefined) return { kind: 'bad-icv' };
  if (!fresh) return { kind: 'known' };
  // RFC 7383 §2.5.1: what the peer cuts to passes; the first of several is as large as it cuts them
  if (last.fragment === 1 && last.total > 1) learnDatagramSize(sa, message.raw.length + headersOf(isIpv6(sa.remote.ip), sa.encap));
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
  const { local, remote, encap, transport } = path;
  for (const data of messages) world.emit({ kind: 'transmit', datagram: { local, remote, data, encap, transport } });
}

function headerOf(sa: IkeSa, exchange: number, messageId: number, response: boolean): IkeHeader {
  // RFC 7296 §3.1: I is set by the original initiator, in requests and responses alike; V is always cleared
  const flags: HeaderFlags = {
    initiator: sa.originalRole === 'initiator',
    response,
    version: false,
  };
  return {
    spiI: sa.spiI,
    spiR: sa.spiR,
    majorVersion: 2,
    minorVersion: 0,
    exchange,
    flags,
    messageId,
  };
}
