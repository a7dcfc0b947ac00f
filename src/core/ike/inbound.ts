import { equalBytes } from '../bytes/bytes.ts';
import { MalformedMessage, PeerViolation, TunnelwrightError } from '../bytes/errors.ts';
import type { Address } from '../bytes/ip-address.ts';
import {
  checkMessage,
  ExchangeType,
  type Message,
  NotifyType,
  type Payload,
  parseHeader,
  parseMessage,
  summarise,
  writeMessage,
} from '../wire/index.ts';
import type { Datagram } from './effects.ts';
import { respondCreateChildSa } from './exchanges/create-child-sa.ts';
import { respondFollowupKe } from './exchanges/followup-ke.ts';
import { respondIkeAuth } from './exchanges/ike-auth.ts';
import { respondIntermediate } from './exchanges/ike-intermediate.ts';
import { endByPeer, respondInformational } from './exchanges/informational.ts';
import { learnDatagramSize } from './fragments.ts';
import type { IkeSa } from './ike-sa.ts';
import { isFirst, open, seal, transmit } from './messenger.ts';
import { answerTo, errorNotify, findNotify, invalidSyntax, notify } from './notifies.ts';
import { armRetransmission, askAnew, believeLater, copyOnce, repeatAtOnce } from './outbound.ts';
import { outcomeOf } from './outcome.ts';
import { isOverTcp, type Path, pathOf, samePath } from './path.ts';
import type { Inbound, Reply, Routine } from './routine.ts';
import { isCookie } from './tasks/cookie.ts';
import { clearTokens, crashed, provesCrash } from './tasks/crash-detection.ts';
import { isSynchronisation, isSynchronising, maySynchronise, respondSynchronisation } from './tasks/message-id-sync.ts';
import { noteAnswer } from './tasks/mobike-roam.ts';
import { checkLiveness } from './tasks/mobike-update.ts';
import { maySpendOn } from './tasks/puzzle.ts';
import { checkInitRedirect } from './tasks/redirect.ts';
import { followStream, settleProbes } from './tasks/tcp-streams.ts';
import type { World } from './world.ts';

/** RFC 7296 §2.5: a request of a higher major version is dropped, and its sender told which one we speak; never more octets than it sent. */
export function refuseVersion(world: World, datagram: Datagram): void {
  const { data, remote } = datagram;
  const { header } = parseHeader(data);
  if (header.majorVersion < 3 || header.flags.response || !world.strangers.isKnown(world.connections, remote.ip)) return;
  const flags = { initiator: !header.flags.initiator, response: true, version: false };
  const answer = writeMessage({ ...header, majorVersion: 2, minorVersion: 0, flags }, [notify(NotifyType.INVALID_MAJOR_VERSION)]);
  if (answer.length <= data.length && world.strangers.mayRefuse(remote.ip, world.now)) transmit(world, [answer], datagram);
}

/** A datagram for an IKE SA we know. Nothing is believed, and no address is followed, before its ICV has verified. */
export function receiveForSa(world: World, sa: IkeSa, message: Message, datagram: Datagram): void {
  const { header } = message;
  const tokens = clearTokens(message);
  // RFC 6290 §3: from whatever address, and whatever else the message says
  if (tokens.length > 0) return suspect(world, sa, message, datagram, provesCrash(world, sa, header, tokens));
  // RFC 7296 §3.1: flag I names the sender's original role
  if (header.flags.initiator !== (sa.originalRole === 'responder'))
    return drop(world, datagram, 'wrong-direction', summarise(header, message.payloads));
  if (isFirst(header.exchange)) return receiveInitResponse(world, sa, message, datagram);
  if (!sa.hasKeys) return drop(world, datagram, 'no-keys-yet', summarise(header, message.payloads));
  // §2.3: looked at before anything is opened; a request that is outside of the window is not answered
  const { response } = header.flags;
  const outside = !response && (sa.window.judge(header.messageId) === 'outside' || isSynchronising(sa));
  if (response ? sa.window.awaiting(header.messageId) === undefined : outside && !maySynchronise(sa, header)) {
    return drop(world, datagram, 'outside-window', summarise(header, message.payloads));
  }
  if (!maySpendOn(sa, message)) return drop(world, datagram, 'puzzle-unsolved', summarise(header, message.payloads));
  const opened = unprotect(world, sa, message, datagram);
  if (opened === undefined) return;
  const inbound: Inbound = { exchange: header.exchange, messageId: header.messageId, raw: message.raw, path: pathOf(datagram), ...opened };
  if (response) receiveResponse(world, sa, inbound, datagram);
  else if (maySynchronise(sa, header) && isSynchronisation(inbound)) receiveSynchronisation(world, sa, inbound, datagram);
  else if (outside) drop(world, datagram, 'outside-window', summarise(header, inbound.payloads));
  else receiveRequest(world, sa, inbound, datagram);
}

/** @returns undefined when there is nothing to act on: dropped, or a fragment of more to come. */
function unprotect(world: World, sa: IkeSa, message: Message, datagram: Datagram): Pick<Inbound, 'payloads' | 'authenticated'> | undefined {
  const { header } = message;
  try {
    const opened = open(world, sa, message, header.flags.response || sa.window.judge(header.messageId) === 'new');
    if (opened.kind === 'payloads') return { payloads: opened.payloads, authenticated: opened.authenticated };
    if (opened.kind === 'bad-icv') world.noteForged(sa);
    if (opened.kind === 'bad-icv') drop(world, datagram, 'bad-icv', summarise(header, message.payloads));
    else if (opened.kind === 'clear') suspect(world, sa, message, datagram);
    else if (opened.kind === 'not-agreed') drop(world, datagram, 'fragments-not-agreed', summarise(header, message.payloads));
    else if (opened.kind === 'partial') sa.fragmentOctets += datagram.data.length;
    else repeatAnswer(world, sa, message, datagram);
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    // authentic, yet nonsense: §2.21.3 lets INVALID_SYNTAX end the IKE SA
    refuseMalformed(world, sa, message, datagram, error);
  }
  return undefined;
}

/** RFC 6311 §5.1: outside of the window, and never answered twice. */
function receiveSynchronisation(world: World, sa: IkeSa, request: Inbound, datagram: Datagram): void {
  const payloads = respondSynchronisation(world, sa, request);
  if (payloads === undefined)
    return drop(world, datagram, 'not-synchronising', 'Message IDs that were synchronised already, or nothing that does');
  heed(world, sa);
  followPeer(world, sa, datagram, false);
  transmit(world, seal(world, sa, request.exchange, 0, true, payloads), request.path);
  askAnew(world, sa);
  world.pump(sa);
}

function receiveRequest(world: World, sa: IkeSa, request: Inbound, datagram: Datagram): void {
  const verdict = sa.window.judge(request.messageId);
  // RFC 7296 §2.11: an answer goes where the request came from
  if (verdict === 'repeat') return transmit(world, sa.window.answerTo(request.messageId) ?? [], request.path);
  if (verdict === 'in-progress') return drop(world, datagram, 'request-in-progress', `message ${request.messageId}`);
  const routine = dispatch(world, sa, request);
  if (routine === undefined) return drop(world, datagram, 'wrong-state', `exchange ${request.exchange} in state ${sa.state}`);
  const newest = sa.window.begin(request.messageId);
  sa.reachable = true;
  if (request.exchange !== ExchangeType.INFORMATIONAL) sa.lastMade = Math.max(sa.lastMade ?? 0, request.messageId);
  heed(world, sa);
  const octets = takeOctets(sa, datagram);
  if (newest) followPeer(world, sa, datagram, sa.state === 'half-open');
  world.run(
    sa,
    routine,
    (reply) => answer(world, sa, request, reply, octets),
    (error) => answerError(world, sa, request, error, octets),
  );
}

/** Which routine a request starts; undefined where the exchange has no place in this state. */
function dispatch(world: World, sa: IkeSa, request: Inbound): Routine<Reply> | undefined {
  const { exchange } = request;
  if (exchange === ExchangeType.IKE_INTERMEDIATE && sa.state === 'half-open' && sa.pending && sa.peer.intermediate)
    return checked(request, respondIntermediate(world, sa, sa.pending, request));
  if (exchange === ExchangeType.IKE_AUTH && sa.state === 'half-open' && sa.pending) {
    const { candidates, material } = sa.pending;
    return checked(request, respondIkeAuth(world, sa, candidates, material, request));
  }
  const authenticated = sa.state !== 'half-open' && takesRequests(sa);
  if (exchange === ExchangeType.CREATE_CHILD_SA && authenticated) return checked(request, respondCreateChildSa(world, sa, request));
  if (exchange === ExchangeType.IKE_FOLLOWUP_KE && authenticated) return checked(request, respondFollowupKe(world, sa, request));
  if (exchange === ExchangeType.INFORMATIONAL && authenticated)
    return checked(
      request,
      later(() => respondInformational(world, sa, request)),
    );
  return undefined;
}

/** Where a request of the peer has a place at all. */
const takesRequests = (sa: IkeSa): boolean => sa.isEstablished || sa.is('half-open', 'replaced', 'deleting');

/** §2.5 and the grammar come before anything the exchange itself would say. */
function* checked(request: Inbound, routine: Routine<Reply>): Routine<Reply> {
  rejectUnknownCritical(request.payloads);
  checkMessage(headerLike(request, false), request.payloads);
  return yield* routine;
}

// biome-ignore lint/correctness/useYield: an answer that needs nobody else is a routine all the same
function* later(make: () => Reply): Routine<Reply> {
  return make();
}

function answer(world: World, sa: IkeSa, request: Inbound, reply: Reply, requestOctets: number): void {
  if (sa.state === 'dead') return;
  const messages = sealAnswer(world, sa, request, reply);
  if (messages === undefined) return;
  sa.window.answer(request.messageId, messages);
  transmit(world, messages, request.path);
  world.notice({
    kind: 'exchange',
    ikeSa: sa.id,
    exchange: request.exchange,
    messageId: request.messageId,
    initiator: false,
    remote: request.path.remote,
    requestOctets,
    responseOctets: sumOctets(messages),
    took: 0,
    retransmissions: 0,
    summary: outcomeOf(request.exchange, reply.payloads),
  });
  reply.afterwards?.();
  world.pump(sa);
  // a child that was made on this one may hang on the next by now, and what is asked of it waits there
  if (sa.successor) world.pump(sa.heir);
}

/** What cannot be sent, say a chain of certificates without fragmentation, ends the IKE SA: the peer cannot go on without the answer. */
function sealAnswer(world: World, sa: IkeSa, request: Inbound, reply: Reply): Uint8Array[] | undefined {
  try {
    return seal(world, sa, request.exchange, request.messageId, true, reply.payloads);
  } catch (error) {
    if (!(error instanceof TunnelwrightError)) throw error;
    world.kill(sa, `the answer cannot be sent: ${error.message}`, error);
    return undefined;
  }
}

/** §2.21: the peer learns what the table allows; an IKE SA that could not be authenticated, or whose peer talks nonsense, ends. */
function answerError(world: World, sa: IkeSa, request: Inbound, error: unknown, requestOctets: number): void {
  if (!(error instanceof TunnelwrightError)) return world.kill(sa, 'internal error', error);
  const payloads = answerTo(error);
  const unauthenticated = sa.state === 'half-open';
  const fatal = unauthenticated || payloads.some((p) => p.kind === 'N' && p.notify === NotifyType.INVALID_SYNTAX);
  if (!fatal) world.notice({ kind: 'failed', ikeSa: sa.id, connection: sa.connection?.name, what: `the peer's request`, error });
  answer(world, sa, request, { payloads, ...(fatal ? { afterwards: () => world.linger(sa, error.message, error) } : {}) }, requestOctets);
}

function receiveInitResponse(world: World, sa: IkeSa, message: Message, datagram: Datagram): void {
  const { header, payloads } = message;
  const outstanding = sa.window.awaiting(header.messageId);
  if (!header.flags.response || sa.state !== 'connecting' || outstanding?.exchange !== header.exchange) {
    return drop(world, datagram, 'unexpected-init', summarise(header, payloads));
  }
  // §2.2: each of them has Message ID 0, so what answered the request before looks like an answer to this one
  if (sa.heeded && equalBytes(sa.heeded, message.raw)) return drop(world, datagram, 'init-repeated', summarise(header, payloads));
  const cookie = findNotify(payloads, NotifyType.COOKIE);
  // §2.6: a COOKIE or an error makes no IKE SA, whatever stands beside it
  const decisive = payloads.some((p) => p.kind === 'Nonce') && cookie === undefined && errorNotify(payloads) === undefined;
  try {
    rejectUnknownCritical(payloads);
    checkMessage(header, payloads);
    if (cookie && !isCookie(cookie.data)) throw invalidSyntax(`a cookie of ${cookie.data.length} octets`, 'RFC 7296 §2.6');
    // RFC 8019 §7.1.2: without the cookie there is nothing to solve it for
    if (!decisive && cookie === undefined && findNotify(payloads, NotifyType.PUZZLE))
      throw invalidSyntax('a puzzle without a cookie', 'RFC 8019 §7.1.2');
    checkInitRedirect(sa, payloads);
    if (decisive && isZero(header.spiR)) throw invalidSyntax('the responder named no SPI', 'RFC 7296 §3.1');
  } catch (error) {
    // §2.21.1: anybody can forge this; the true answer may still come
    return drop(world, datagram, 'implausible-init', error instanceof Error ? error.message : '');
  }
  world.message(sa, 'in', header, payloads);
  const raw = message.raw.slice();
  const response = { exchange: header.exchange, messageId: header.messageId, raw, path: pathOf(datagram) };
  if (!decisive && isVerdict(payloads) && !isOverTcp(sa)) {
    // a copy: the datagram is gone by then
    const refusal = { ...response, payloads: parseMessage(raw).payloads };
    return believeLater(world, sa, outstanding, () => receiveResponse(world, sa, refusal, { ...datagram, data: raw }));
  }
  if (decisive) sa.spiR = header.spiR.slice();
  else sa.heeded = raw;
  receiveResponse(world, sa, { ...response, payloads }, datagram);
}

/** §2.21.1: an error for which no other attempt is defined. Over UDP anybody can forge it. */
function isVerdict(payloads: readonly Payload[]): boolean {
  const refused = errorNotify(payloads);
  return refused !== undefined && refused.notify !== NotifyType.INVALID_KE_PAYLOAD;
}

function receiveResponse(world: World, sa: IkeSa, response: Inbound, datagram: Datagram): void {
  const outstanding = sa.window.awaiting(response.messageId);
  // any authentic answer completes the probe of an SA that was restored: the former life may have asked something else under this id
  const fits = outstanding?.exchange === response.exchange || sa.window.isDoubtful(response.messageId);
  if (outstanding === undefined || !fits || outstanding.synchronises?.(response.payloads) === false)
    return drop(world, datagram, 'unexpected-response', `message ${response.messageId}`);
  sa.window.answered(response.messageId);
  armRetransmission(world, sa);
  heed(world, sa);
  // RFC 7383 §2.5.2: later messages begin with what went through
  if (outstanding.cut) learnDatagramSize(sa, outstanding.cut.datagram);
  if (sa.isEstablished) followPeer(world, sa, datagram, false);
  noteAnswer(world, sa, outstanding, response.path);
  settleProbes(world, sa, outstanding);
  world.notice({
    kind: 'exchange',
    ikeSa: sa.id,
    exchange: response.exchange,
    messageId: response.messageId,
    initiator: true,
    remote: datagram.remote,
    requestOctets: sumOctets(outstanding.messages),
    responseOctets: takeOctets(sa, datagram),
    took: world.now - outstanding.firstSent,
    retransmissions: outstanding.attempts,
    summary: outcomeOf(response.exchange, response.payloads),
  });
  sa.window.release();
  const fault = faultOf(response);
  if (fault) outstanding.fail(fault);
  else outstanding.resume(response);
  world.pump(sa);
}

/** §2.5: a response that breaks the grammar, or holds something critical that we do not know, cannot be acted upon. */
function faultOf(response: Inbound): TunnelwrightError | undefined {
  try {
    rejectUnknownCritical(response.payloads);
    checkMessage(headerLike(response, true), response.payloads);
    return undefined;
  } catch (error) {
    if (error instanceof TunnelwrightError) return error;
    throw error;
  }
}

function refuseMalformed(world: World, sa: IkeSa, { header }: Message, path: Path, error: MalformedMessage): void {
  const { messageId, exchange } = header;
  const { response } = header.flags;
  const outstanding = response ? sa.window.awaiting(messageId) : undefined;
  if (response) {
    if (outstanding) world.kill(sa, `the peer's answer is malformed: ${error.message}`, error);
    return;
  }
  // §1.2: an initiator that is not answered yet takes no requests, so it answers none either
  if (!takesRequests(sa) || sa.window.judge(messageId) !== 'new') return;
  sa.window.begin(messageId);
  answerError(world, sa, { exchange, messageId, payloads: [], raw: new Uint8Array(0), path: pathOf(path) }, error, 0);
}

/** §2.4: an authentic message proves that the peer lives, if it is fresh; anybody can repeat an old one. */
function heed(world: World, sa: IkeSa): void {
  sa.lastInbound = world.now;
  if (sa.tcp) sa.tcp.failures = 0;
}

/**
 * §2.23: as long as nobody is authenticated the answer goes where the request came from; later an end that is not behind a NAT itself
 * follows a peer that is. Only a message that is new moves anything: a replayed one is older than what we know.
 */
function followPeer(world: World, sa: IkeSa, datagram: Datagram, stranger: boolean): void {
  if (samePath(datagram, sa) || followStream(world, sa, datagram)) return;
  // RFC 4555 §3.8: with MOBIKE only UPDATE_SA_ADDRESSES moves an IKE SA
  if (!stranger && (sa.mobike !== undefined || !sa.nat.theirs || sa.nat.ours)) return;
  // RFC 9329 §5: it stays on its transport, unless MOBIKE moves it
  if (!stranger && (isOverTcp(datagram) || isOverTcp(sa))) return;
  world.moved(sa, pathOf(datagram));
  repeatAtOnce(world, sa);
}

/**
 * §2.21.4, §2.4: what is not protected proves nothing; at most it is a reason to ask the peer, and not often (D52).
 * @param gone it proves all the same that the peer has lost the IKE SA, by a token that only the peer can make (RFC 6290)
 */
export function suspect(world: World, sa: IkeSa, message: Message, datagram: Datagram, gone = false): void {
  if (gone) {
    const error = crashed(sa);
    // it may as well have outlived our Delete of what was replaced, and that is no crash
    return endByPeer(world, sa, 'kill', error.message, error);
  }
  drop(world, datagram, 'unprotected', summarise(message.header, message.payloads));
  if (!sa.isEstablished || world.now - (sa.suspectedAt ?? Number.NEGATIVE_INFINITY) < SUSPICION_INTERVAL) return;
  sa.suspectedAt = world.now;
  // RFC 6290 §4.5: any request draws the token; one that the peer has left unanswered for long has its next copy far away
  copyOnce(world, sa);
  world.enqueue(sa, { what: 'liveness check', key: 'liveness', start: (owner) => checkLiveness(world, owner) });
}

/** RFC 7383 §2.6.1: of a request that was answered already only the first fragment brings the answer again. */
function repeatAnswer(world: World, sa: IkeSa, { header, payloads }: Message, datagram: Datagram): void {
  const last = payloads.at(-1);
  const first = last?.kind === 'SKF' && last.fragment === 1;
  const answer = sa.window.answerTo(header.messageId);
  if (answer === undefined) drop(world, datagram, 'request-in-progress', `message ${header.messageId}`);
  else if (first) transmit(world, answer, datagram);
}

/** §2.5: the one thing in an unknown payload that matters. */
export function rejectUnknownCritical(payloads: readonly Payload[]): void {
  const unknown = payloads.find((p) => p.kind === 'unknown' && p.critical === true);
  if (unknown?.kind !== 'unknown') return;
  throw new UnsupportedCriticalPayload(unknown.type);
}

class UnsupportedCriticalPayload extends PeerViolation {
  readonly data: Uint8Array;

  constructor(type: number) {
    super(`payload type ${type} is marked critical and not known here`, {
      code: 'UNSUPPORTED_CRITICAL_PAYLOAD',
      notify: NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
      section: 'RFC 7296 §2.5',
    });
    this.data = new Uint8Array([type]);
  }
}

export function drop(world: World, datagram: { readonly remote: Address }, cause: string, detail: string): void {
  world.notice({ kind: 'drop', cause, remote: datagram.remote, detail });
}

function takeOctets(sa: IkeSa, datagram: Datagram): number {
  const octets = sa.fragmentOctets + datagram.data.length;
  sa.fragmentOctets = 0;
  return octets;
}

const sumOctets = (messages: readonly Uint8Array[]): number => messages.reduce((sum, m) => sum + m.length, 0);

const headerLike = (m: Inbound, response: boolean) => ({
  spiI: NO_SPI,
  spiR: NO_SPI,
  majorVersion: 2,
  minorVersion: 0,
  exchange: m.exchange,
  flags: { initiator: false, response, version: false },
  messageId: m.messageId,
});

const isZero = (octets: Uint8Array): boolean => octets.every((octet) => octet === 0);

const SUSPICION_INTERVAL = 10_000;
const NO_SPI = new Uint8Array(8);
