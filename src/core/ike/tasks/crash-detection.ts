import { equalBytes, toHex, utf8 } from '../../bytes/bytes.ts';
import { TimedOut } from '../../bytes/errors.ts';
import { formatAddress } from '../../bytes/ip-address.ts';
import { Writer } from '../../bytes/writer.ts';
import { equalSecrets, prf, sha256 } from '../../crypto/index.ts';
import {
  ExchangeType,
  type IkeHeader,
  isSealed,
  type Message,
  type NotifyPayload,
  NotifyType,
  type Payload,
  PrfId,
  ProtocolId,
  writeMessage,
} from '../../wire/index.ts';
import type { Datagram, Millis, Observation } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { IkeSpis } from '../keys.ts';
import { transmit } from '../messenger.ts';
import { findAll, findNotify, notify } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { exchange, type Routine } from '../routine.ts';
import { TokenBucket } from '../token-bucket.ts';
import type { World } from '../world.ts';

/** What an IKE SA remembers of quick crash detection (RFC 6290). */
export interface CrashState {
  /** The peer has a token of ours. */
  made: boolean;
  /** Digests of the peer's tokens, the latest first: what is stored is no token (§3). */
  held: readonly Uint8Array[];
  /** How many were compared of late, and since when (§8.1). */
  compared: number;
  since: Millis;
}

/** Makes tokens that another life of this process makes again (§5.1): all that they hang on is the secret and the SPIs. */
export class TokenMaker {
  readonly #key: Uint8Array;
  readonly #answers = new TokenBucket(50, 20);

  constructor(secret: Uint8Array) {
    this.#key = hash.compute(secret, utf8('tokens of IKEv2 quick crash detection'));
  }

  /** @param role ours, so that a request with a false flag I draws a token that nobody holds (§9.2) */
  token({ spiI, spiR }: IkeSpis, role: IkeSa['originalRole']): Uint8Array {
    return hash.compute(this.#key, Uint8Array.of(role === 'initiator' ? 1 : 2), spiI, spiR).slice(0, TOKEN);
  }

  mayAnswer(now: Millis): boolean {
    return this.#answers.take(now);
  }
}

/** §4.2, §4.3: our token for an IKE SA, where we can make one and the connection wants it. */
export function tokenFor(world: World, connection: Connection | undefined, spis: IkeSpis, role: IkeSa['originalRole']): NotifyPayload[] {
  if (world.tokens === undefined || connection?.crashDetection !== true) return [];
  const data = world.tokens.token(spis, role);
  return [{ ...notify(NotifyType.QUICK_CRASH_DETECTION, data), protocol: ProtocolId.IKE }];
}

/** The same for an IKE SA that is there. */
export function offerToken(world: World, sa: IkeSa, connection: Connection): Payload[] {
  const token = tokenFor(world, connection, sa, sa.originalRole);
  if (token.length > 0) stateOf(sa).made = true;
  return token;
}

/** §3, §4.4: what the peer says in a protected message, asked or not. */
export function acceptToken(sa: IkeSa, payloads: readonly Payload[]): void {
  if (sa.connection?.crashDetection !== true) return;
  const tokens = tokensIn(payloads).map(({ data }) => sha256(data));
  if (tokens.length > 0) stateOf(sa).held = [...tokens, ...(sa.crash?.held ?? [])].slice(0, MOST_TOKENS);
}

/** §4.3: a rekeyed IKE SA has other SPIs. The responder's token came along in the answer; ours, as initiator, goes in an exchange of its own. */
export function renewToken(world: World, successor: IkeSa, byUs: boolean): void {
  const { connection } = successor;
  if (connection === undefined) return;
  if (!byUs) {
    if (tokenFor(world, connection, successor, successor.originalRole).length > 0) stateOf(successor).made = true;
    return;
  }
  const token = offerToken(world, successor, connection);
  if (token.length === 0) return;
  world.enqueue(successor, { what: 'a token for crash detection', key: 'crash-token', start: () => sendToken(token) });
}

function* sendToken(token: readonly Payload[]): Routine<void> {
  yield* exchange(ExchangeType.INFORMATIONAL, token);
}

/**
 * §4.5: a protected request for an IKE SA that is not here. Its sender gets the token of that IKE SA; never more octets than it sent, never
 * one of an IKE SA that lives (§9.2), and not often.
 */
export function answerUnknownIkeSa(world: World, { header, payloads, raw }: Message, datagram: Datagram): void {
  const { tokens } = world;
  if (tokens === undefined || header.flags.response || !payloads.some(isSealed) || !isWanted(world)) return;
  // whichever of the two SPIs is ours, and whatever the flag says
  if (world.bySpi(header.spiI) !== undefined || world.bySpi(header.spiR) !== undefined || !tokens.mayAnswer(world.now)) return;
  // §9.2: its answer overtook the one that tells us of it
  if (world.chosenSpis.has(toHex(header.flags.initiator ? header.spiR : header.spiI))) return;
  const drawn = tokens.token(header, header.flags.initiator ? 'responder' : 'initiator');
  const token = { ...notify(NotifyType.QUICK_CRASH_DETECTION, drawn), protocol: ProtocolId.IKE };
  // RFC 7296 §2.21.4: SPIs, Message ID and exchange type are those of the request
  const answer: IkeHeader = { ...header, minorVersion: 0, flags: { initiator: !header.flags.initiator, response: true, version: false } };
  const both = [notify(NotifyType.INVALID_IKE_SPI), token];
  const told = writeMessage(answer, both).length <= raw.length ? both : [token];
  const data = writeMessage(answer, told);
  if (data.length > raw.length || !world.strangers.mayRefuse(datagram.remote.ip, world.now)) return;
  world.message(undefined, 'out', answer, told);
  transmit(world, [data], datagram);
}

/** RFC 7296 §1.5: ESP came for an SA that is not here, from somebody with whom we have no IKE SA: a hint, which may cost it one question. */
export function answerUnknownChild(world: World, { spi, local, remote, encap }: Extract<Observation, { kind: 'unknown-spi' }>): void {
  if (!isWanted(world) || [...world.ikeSas.values()].some((sa) => sa.remote.ip === remote.ip)) return;
  if (!world.strangers.mayRefuse(remote.ip, world.now)) return;
  const flags = { initiator: true, response: false, version: false };
  const none = { spiI: new Uint8Array(8), spiR: new Uint8Array(8) };
  const header = { ...none, majorVersion: 2, minorVersion: 0, exchange: ExchangeType.INFORMATIONAL, flags, messageId: 0 };
  const invalid = notify(NotifyType.INVALID_SPI, new Writer(4).u32(spi).finish());
  const data = writeMessage(header, [invalid]);
  world.message(undefined, 'out', header, [invalid]);
  // to the port that the packet came from, where it came from one
  const to = encap ? remote : { ip: remote.ip, port: IKE_PORT };
  world.emit({ kind: 'transmit', datagram: { local: { ip: local.ip, port: world.ownPort(encap) }, remote: to, data, encap } });
}

/** Tokens in a message that is not protected; empty where it has none, or is protected. */
export const clearTokens = ({ payloads }: Message): readonly NotifyPayload[] => (payloads.some(isSealed) ? [] : tokensIn(payloads));

/** §3: is one of these the peer's for this IKE SA? Compared in constant time, and not more often than the peer may be expected to say it. */
export function provesCrash(world: World, sa: IkeSa, header: IkeHeader, tokens: readonly NotifyPayload[]): boolean {
  const { crash } = sa;
  if (crash === undefined || !equalBytes(header.spiI, sa.spiI) || !equalBytes(header.spiR, sa.spiR)) return false;
  return isHeld(world, crash, tokens);
}

/** The IKE SA whose peer says that it does not know an ESP SPI of ours, and the tokens it said it with (RFC 7296 §1.5, RFC 6290 §8.2). */
export function complainedOf(
  world: World,
  { header, payloads }: Message,
  remote: Datagram['remote'],
): { readonly sa: IkeSa; readonly crashed: boolean } | undefined {
  const { flags, exchange: type } = header;
  const data = findNotify(payloads, NotifyType.INVALID_SPI)?.data;
  if (type !== ExchangeType.INFORMATIONAL || flags.response || payloads.some(isSealed) || data?.length !== 4) return undefined;
  if (!world.complaints.take(world.now)) return undefined;
  const spi = new DataView(data.buffer, data.byteOffset, 4).getUint32(0);
  for (const sa of world.ikeSas.values()) {
    if (sa.remote.ip !== remote.ip) continue;
    for (const child of sa.children) {
      if (child.spec.outbound.spi === spi) return { sa, crashed: sa.crash !== undefined && isHeld(world, sa.crash, tokensIn(payloads)) };
    }
  }
  return undefined;
}

/** §3: the token taker deletes the IKE SA in silence; whether it comes back is the policy's to say, as after any other silence. */
export const crashed = (sa: IkeSa): TimedOut =>
  new TimedOut(`${formatAddress(sa.remote)} has lost the IKE SA: it restarted`, {
    code: 'PEER_CRASHED',
    section: 'RFC 6290 §3',
    hint: 'Nothing needs to be done where dpd_action brings the connection back; else connect again with `up`.',
  });

function isHeld(world: World, crash: CrashState, tokens: readonly NotifyPayload[]): boolean {
  if (world.now - crash.since >= COMPARE_PERIOD) {
    crash.since = world.now;
    crash.compared = 0;
  }
  let found = false;
  for (const { data } of tokens.slice(0, MOST_TOKENS)) {
    if (++crash.compared > MOST_COMPARED) break;
    const digest = sha256(data);
    for (const held of crash.held) if (equalSecrets(held, digest)) found = true;
  }
  return found;
}

const tokensIn = (payloads: readonly Payload[]): NotifyPayload[] =>
  findAll(payloads, 'N').filter(
    (n) => n.notify === NotifyType.QUICK_CRASH_DETECTION && n.data.length >= SHORTEST_TOKEN && n.data.length <= LONGEST_TOKEN,
  );

/** Somebody here has it on: there is no connection to ask before we know who is there. */
const isWanted = (world: World): boolean => world.connections.some((connection) => connection.crashDetection);

function stateOf(sa: IkeSa): CrashState {
  sa.crash ??= { made: false, held: [], compared: 0, since: 0 };
  return sa.crash;
}

const IKE_PORT = 500;
const hash = prf(PrfId.PRF_HMAC_SHA2_256)!;
/** 128 bits (§5: at least 16 octets); with more, the answer to the shortest request would be longer than the request. */
const TOKEN = 16;
const SHORTEST_TOKEN = 16;
const LONGEST_TOKEN = 128;
/** §4.5. */
const MOST_TOKENS = 4;
const COMPARE_PERIOD: Millis = 10_000;
const MOST_COMPARED = 32;
