import { PeerRefused, TimedOut, TunnelwrightError } from '../bytes/errors.ts';
import { formatAddress } from '../bytes/ip-address.ts';
import { withLast, without } from '../bytes/lists.ts';
import { ExchangeType, NotifyType, nameOf } from '../wire/index.ts';
import { datagramSize, learnDatagramSize, smallerThan } from './fragments.ts';
import type { IkeSa, Job } from './ike-sa.ts';
import type { Outstanding } from './message-window.ts';
import { isFirst, reseal, seal, transmit } from './messenger.ts';
import { isOverTcp, pathKey, pathOf, samePath } from './path.ts';
import type { Retransmission } from './policy.ts';
import type { Inbound, Request } from './routine.ts';
import { deleteIkeSa } from './tasks/ike-delete.ts';
import { otherPaths } from './tasks/mobike-paths.ts';
import { replaceInstead } from './tasks/reauthentication.ts';
import type { World } from './world.ts';

/**
 * Sends a request of ours, once the window has room, and repeats it until it is answered or given up (RFC 7296 §2.1, §2.3).
 * @param answered with nothing where it was no longer due by then
 * @returns what takes it back
 */
export function sendRequest(
  world: World,
  sa: IkeSa,
  request: Request,
  answered: (response: Inbound | undefined) => void,
  failed: (error: unknown) => void,
): () => void {
  // §2.2: IKE_SA_INIT sent anew, with a cookie or another method, keeps Message ID 0
  if (isFirst(request.exchange)) sa.window.reuse(0);
  if (sa.window.hasRoom || request.synchronises) {
    request.due?.();
    return sendAtOnce(world, sa, request, answered, failed);
  }
  let takeBack = sa.window.whenRoom(() => {
    try {
      if (request.due?.() === false) answered(undefined);
      else takeBack = sendAtOnce(world, sa, request, answered, failed);
    } catch (error) {
      failed(error);
    }
  });
  return () => takeBack();
}

function sendAtOnce(
  world: World,
  sa: IkeSa,
  request: Request,
  answered: (response: Inbound) => void,
  failed: (error: unknown) => void,
): () => void {
  const messageId = request.synchronises ? 0 : sa.window.allocate();
  spareMessageIds(world, sa, messageId);
  const messages = seal(world, sa, request.exchange, messageId, false, request.payloads);
  if (isFirst(request.exchange)) sa.initRequest = messages[0];
  const { initial, giveUp } = retransmissionOf(sa);
  const outstanding: Outstanding = {
    messageId,
    exchange: request.exchange,
    messages,
    firstSent: world.now,
    since: world.now,
    attempts: 0,
    giveUp: Math.min(giveUp, request.patience ?? giveUp),
    nextAt: world.now + initial,
    via: request.via,
    anywhere: request.anywhere,
    aside: request.aside,
    recut: (datagram) => {
      const { messageId, messages } = outstanding;
      const cut = { exchange: request.exchange, messageId, payloads: request.payloads, fragments: messages.length };
      return reseal(world, sa, cut, datagram);
    },
    synchronises: request.synchronises,
    renumber: () => {
      outstanding.messageId = sa.window.allocate();
      outstanding.messages = seal(world, sa, request.exchange, outstanding.messageId, false, request.payloads);
      outstanding.cut = undefined;
    },
    probed: new Map(),
    resume: answered,
    fail: (reason) => {
      if (reason instanceof TunnelwrightError) failed(reason);
      if (reason === 'timeout') failed(noAnswer(sa, request.exchange, world.now - outstanding.firstSent));
    },
  };
  sa.window.sent(outstanding);
  sendCopies(world, sa, outstanding);
  armRetransmission(world, sa);
  return () => {
    sa.window.answered(outstanding.messageId);
    armRetransmission(world, sa);
  };
}

/** RFC 7296 §2.2: an IKE SA whose Message IDs grow too large is rekeyed, again and again if need be; with the last of them it ends. */
function spareMessageIds(world: World, sa: IkeSa, messageId: number): void {
  if (messageId > LAST_MESSAGE_ID) throw endedByMessageIds(world, sa);
  if (messageId >= LARGE_MESSAGE_ID && messageId % TRY_AFTER_MESSAGES === 0) world.arm(sa.timers['rekey-ike'], world.now);
}

function endedByMessageIds(world: World, sa: IkeSa): TimedOut {
  const error = new TimedOut('the Message IDs of the IKE SA are used up, and no rekeying succeeded before', {
    code: 'LIFETIME_OVER',
    section: 'RFC 7296 §2.2',
    hint: 'The failed rekeyings before it say why; both ends must have a proposal in common when they rekey, too.',
  });
  world.kill(sa, error.message, error);
  return error;
}

/** The retransmission timer fired: copies go out, or the peer is given up. */
export function retransmit(world: World, sa: IkeSa): void {
  const { initial, base } = retransmissionOf(sa);
  for (const request of [...sa.window.outstanding]) {
    // one that was given up may have taken the others with it
    if (request.nextAt > world.now || sa.window.awaiting(request.messageId) !== request) continue;
    if (request.believe) {
      request.believe();
      continue;
    }
    // the very sum that the timer is armed with: a difference may round to less, and the timer would be due for ever
    if (world.now >= request.since + request.giveUp) {
      sa.window.answered(request.messageId);
      request.fail('timeout');
      continue;
    }
    request.attempts++;
    // at least a millisecond on: whatever the policy says, a timer that fires leaves time to pass
    if (request.attempts - (request.cut?.after ?? 0) >= COPIES) cutSmaller(sa, request);
    const copies = request.attempts - (request.cut?.after ?? 0);
    request.nextAt = Math.min(world.now + Math.max(1, initial * base ** copies), request.since + request.giveUp);
    if (!isOverTcp(sa))
      world.notice({
        kind: 'retransmit',
        ikeSa: sa.id,
        exchange: request.exchange,
        messageId: request.messageId,
        attempt: request.attempts,
      });
    sendCopies(world, sa, request);
  }
  if (sa.state !== 'dead') armRetransmission(world, sa);
}

/** RFC 7383 §2.5.2: perhaps datagrams of this size do not pass; smaller fragments are tried, and the copies of them begin anew. */
function cutSmaller(sa: IkeSa, request: Outstanding): void {
  if (isOverTcp(sa)) return;
  let datagram = smallerThan(request.cut?.datagram ?? datagramSize(sa), sa);
  for (; datagram !== undefined; datagram = smallerThan(datagram, sa)) {
    const messages = request.recut?.(datagram);
    if (messages === undefined) continue;
    request.messages = messages;
    request.cut = { datagram, after: request.attempts };
    return;
  }
}

/** An ICMP error says what passes on the way to `remote`. What is under way goes out again as small as that (RFC 7383 §2.5.2). */
export function heedPathMtu(world: World, sa: IkeSa, mtu: number): void {
  if (isOverTcp(sa) || !learnDatagramSize(sa, mtu)) return;
  for (const request of sa.window.outstanding) {
    const messages = request.recut?.(datagramSize(sa));
    if (messages === undefined) continue;
    request.messages = messages;
    request.cut = { datagram: datagramSize(sa), after: request.attempts };
    request.nextAt = world.now;
  }
  armRetransmission(world, sa);
}

/** The IKE SA is on another path: what is under way goes out there at once (RFC 4555 §3.5), and the peer has its time again to answer. */
export function sendAgain(world: World, sa: IkeSa): void {
  const { initial } = retransmissionOf(sa);
  for (const request of sa.window.outstanding) {
    request.since = world.now;
    request.attempts = 0;
    request.nextAt = world.now + initial;
    transmit(world, request.messages, sa);
  }
  armRetransmission(world, sa);
}

/**
 * RFC 6311 §9: what is under way when both ends go on with other Message IDs is not waited for any more. A cluster member that took over may not have
 * heard it: what may be asked twice goes out again, and what makes SAs is begun anew, since nonces are not used twice.
 */
export function askAnew(world: World, sa: IkeSa): void {
  const waiting = [...sa.window.outstanding].filter(({ synchronises }) => synchronises === undefined);
  for (const { messageId } of waiting) sa.window.answered(messageId);
  const { initial } = retransmissionOf(sa);
  for (const request of waiting.filter(({ exchange }) => exchange === ExchangeType.INFORMATIONAL)) {
    request.renumber();
    request.since = world.now;
    request.attempts = 0;
    request.nextAt = world.now + initial;
    sa.window.sent(request);
    transmit(world, request.messages, sa);
  }
  armRetransmission(world, sa);
  for (const request of waiting.filter(({ exchange }) => exchange !== ExchangeType.INFORMATIONAL)) request.fail(failedOver(sa));
  sa.window.release();
}

const failedOver = (sa: IkeSa): PeerRefused =>
  new PeerRefused(`another member of the cluster at ${formatAddress(sa.remote)} took over, and may not have heard what was asked`, {
    code: 'PEER_FAILED_OVER',
    notify: NotifyType.TEMPORARY_FAILURE,
    section: 'RFC 6311 §9',
    hint: 'Nothing needs to be done: it is begun anew.',
  });

/**
 * RFC 4555 §3.8: the traffic follows a NAT's other port at once, IKE only when the peer has told. Until then copies go there, too; never to
 * another address, since that has to prove itself (§3.7).
 */
function copyToTraffic(world: World, sa: IkeSa, messages: readonly Uint8Array[]): void {
  const { mobike, remote } = sa;
  const used = mobike?.traffic;
  if (used === undefined || mobike?.decides || !sa.encap || isOverTcp(used) || used.remote.ip !== remote.ip) return;
  if (used.remote.port !== remote.port) transmit(world, messages, { ...pathOf(sa), remote: used.remote });
}

/** Whoever did not answer may now: what is under way goes out once more, besides its copies, whose times stay as they are. */
export function copyOnce(world: World, sa: IkeSa): void {
  if (isOverTcp(sa)) return;
  for (const { messages } of sa.window.outstanding) transmit(world, messages, sa);
}

/** RFC 4555 §3.10: a request that stays unanswered is also sent over the other paths there are, by the end that may decide for one of them. */
function sendCopies(world: World, sa: IkeSa, request: Outstanding): void {
  const { via, attempts, messages } = request;
  if (via !== undefined && attempts < TESTS && !samePath(via, sa)) {
    request.probed.set(pathKey(via), via);
    return transmit(world, messages, via);
  }
  // RFC 9329 §6.2: a stream loses nothing, so what went into it is not repeated
  const first = via === undefined || samePath(via, sa) ? 0 : TESTS;
  if (!isOverTcp(sa) || attempts === first) transmit(world, messages, sa);
  else if (attempts > first && (attempts - first) % STREAM_DOUBT === 0 && sa.isEstablished) world.openStream(sa);
  world.probeTcp(sa, request);
  if (attempts > first) copyToTraffic(world, sa, messages);
  const suspicious = via === undefined ? SUSPICIOUS : TESTS + SUSPICIOUS;
  if (attempts < suspicious || !(sa.mobike?.decides || request.anywhere)) return;
  for (const path of otherPaths(world, sa)) {
    request.probed.set(pathKey(path), path);
    transmit(world, messages, path);
  }
}

/** The peer shows up elsewhere: what went to where it was is lost, and by now the next copy may be due too late (§2.23). */
export function repeatAtOnce(world: World, sa: IkeSa): void {
  for (const request of sa.window.outstanding) request.nextAt = world.now;
  armRetransmission(world, sa);
}

/** §2.21.1: anybody can forge a refusal of IKE_SA_INIT, so the true answer gets its time. Of several the first one counts. */
export function believeLater(world: World, sa: IkeSa, request: Outstanding, believe: () => void): void {
  if (request.believe !== undefined) return;
  request.believe = believe;
  request.nextAt = Math.min(request.nextAt, world.now + BELIEVED_AFTER);
  armRetransmission(world, sa);
}

export function armRetransmission(world: World, sa: IkeSa): void {
  let at = Number.POSITIVE_INFINITY;
  for (const request of sa.window.outstanding) at = Math.min(at, request.nextAt);
  if (at === Number.POSITIVE_INFINITY) world.disarm(sa.timers, 'retransmit');
  else world.arm(sa.timers.retransmit, at);
}

/** Starts waiting exchanges while the window has room (§2.3). */
export function pumpJobs(world: World, sa: IkeSa): void {
  for (let job = takeNext(sa); job !== undefined; job = takeNext(sa)) {
    const started = job;
    sa.running++;
    sa.active = withLast(sa.active, started);
    const ended = () => {
      sa.running--;
      sa.active = without(sa.active, started);
      if (sa.state !== 'dead') world.pump(sa);
    };
    world.run(sa, started.start(sa), ended, (error) => {
      jobFailed(world, sa, started, error);
      ended();
    });
  }
}

/** First come, first served; what is about the same as a job under way waits for its end, and what has to be alone for the end of all. */
function takeNext(sa: IkeSa): Job | undefined {
  const { jobs, active, running, window } = sa;
  // §2.3: the window is one until the initial exchanges are complete
  const begun = running === active.length;
  if (!(sa.isEstablished || sa.state === 'replaced') || !begun || running >= window.sendSize || !window.hasRoom) return undefined;
  if (active.some(isAlone)) return undefined;
  // §2.25.2, RFC 9370 §2.2.4: what would have made us refuse the rekeying that the peer follows up waits for its end, on the SA that is there then
  const held = sa.halfMade.rivalOf('ike') !== undefined;
  // §2.8.2: after a restart the peer alone knows whether its successor is in our place; what that is to carry, and its end, is asked for there
  const undecided = sa.peerSuccessor !== undefined;
  for (const job of jobs) {
    if ((held || undecided) && job.ofChild === true) continue;
    if (undecided && OF_ITS_PLACE.has(job.key)) continue;
    if (isAlone(job)) return running === 0 && !isEarly(sa, job) ? take(sa, job) : undefined;
    if (!isEarly(sa, job) && !active.some((other) => isAboutTheSame(job, other))) return take(sa, job);
  }
  return undefined;
}

function take(sa: IkeSa, job: Job): Job {
  sa.jobs = without(sa.jobs, job);
  return job;
}

const isAlone = ({ key }: Job): boolean => ALONE.has(key);

/**
 * What is asked of a child that is being installed waits for that; so does what is asked of one beside which a successor that the peer made is
 * being installed, since which of the two stays is decided then (§2.8.1).
 */
const isEarly = (sa: IkeSa, { about }: Job): boolean =>
  about !== undefined && sa.children.some((c) => c.is('installing') && (about.includes(c.id) || about.includes(c.spec.replaces ?? c.id)));

const isAboutTheSame = (a: Job, b: Job): boolean => a.key === b.key || a.about?.some((child) => b.about?.includes(child)) === true;

/** What a failed exchange of ours means for the IKE SA it ran on. */
function jobFailed(world: World, sa: IkeSa, job: Job, error: unknown): void {
  const known = error instanceof TunnelwrightError ? error : undefined;
  if (known === undefined) {
    world.kill(sa, 'internal error', error);
    return;
  }
  // RFC 9370 §2.2.4: where the peer has lost what we followed up, it is begun anew
  const again =
    known instanceof PeerRefused && (known.notify === NotifyType.TEMPORARY_FAILURE || known.notify === NotifyType.STATE_NOT_FOUND);
  if (again && retryLater(world, sa, job)) return;
  world.notice({ kind: 'failed', ikeSa: sa.id, connection: sa.connection?.name, what: job.what, error: known });
  if (known instanceof TimedOut && known.code === 'PEER_SILENT') {
    world.kill(sa, known.message, known);
  } else if (
    known instanceof PeerRefused &&
    (known.notify === NotifyType.INVALID_SYNTAX || known.notify === NotifyType.AUTHENTICATION_FAILED)
  ) {
    // §2.21.3: these two end the IKE SA without a Delete
    world.kill(sa, known.message, known);
  } else if (known instanceof PeerRefused && known.notify === NotifyType.TEMPORARY_FAILURE && sa.isEstablished) {
    // §2.25: after minutes of it the two ends are out of step, and the IKE SA is closed
    sa.failure = known;
    world.enqueue(sa, { what: 'deleting the IKE SA', key: 'delete-ike', start: (owner) => deleteIkeSa(world, owner, known.message) });
  } else if (known instanceof PeerRefused) replaceInstead(world, sa, job, known);
}

/** §2.25: the peer is busy with something that crosses ours; the same again, ever later, on the IKE SA that is there by then. */
function retryLater(world: World, sa: IkeSa, job: Job): boolean {
  const heir = sa.heir;
  const retries = job.retries ?? 0;
  if (!heir.isEstablished || retries >= MOST_RETRIES) return false;
  if (heir !== sa && job.key === 'rekey-ike') return true;
  // a new authentication makes its own children: those of the old one end with it
  if (heir !== sa && job.about?.every((child) => !heir.children.some(({ id }) => id === child))) return true;
  if (heir.reauth !== sa.reauth && job.makes !== undefined && carries(heir, job.makes, job.key)) return true;
  job.retries = retries + 1;
  heir.deferred = withLast(heir.deferred, job);
  const delay = Math.min(RETRY_AFTER * 2 ** retries, LONGEST_RETRY);
  world.arm(heir.timers.retry, world.now + delay + Math.floor(world.random.jitter() * delay));
  return true;
}

const carries = ({ children, active, jobs, deferred }: IkeSa, policy: string, key: string): boolean =>
  children.some((child) => child.policy.name === policy && child.serving !== undefined) ||
  [...active, ...jobs, ...deferred].some((job) => job.key === key);

function retransmissionOf(sa: IkeSa): Retransmission {
  const policy = sa.connection?.retransmission ?? DEFAULT_RETRANSMISSION;
  // RFC 4555 §3.11: finding a new path is up to the initiator, and takes its time
  return sa.mobike?.decides === false ? { ...policy, giveUp: policy.responderGiveUp ?? policy.giveUp } : policy;
}

function noAnswer(sa: IkeSa, exchange: number, after: number): TimedOut {
  const connecting = sa.state === 'connecting';
  return new TimedOut(`${formatAddress(sa.remote)} did not answer ${nameOf(ExchangeType, exchange)} for ${Math.round(after / 1000)} s`, {
    code: 'PEER_SILENT',
    section: 'RFC 7296 §2.4',
    hint: connecting
      ? `Is the address right, is the gateway running, and do firewalls let ${portsOf(sa)} through?`
      : 'The path or the peer is down; the connection comes back when it answers again.',
  });
}

/** UDP ports of the peer, as configured: the one we begin with, and the one we go on with where there is a NAT. */
function portsOf({ remote, connection }: IkeSa): string {
  const ports = new Set([remote.port, connection?.remoteNatPort ?? remote.port]);
  return `UDP ${[...ports].join(' and ')}`;
}

/**
 * Exchanges beside which nothing of ours is under way, however large the window: those that replace or end the IKE SA, those that answer for
 * what a former life sent, and steps that stand for the end of everything before them.
 */
const ALONE: ReadonlySet<string> = new Set(['delete-unfinished', 'rekey-ike', 'delete-ike', 'restored', 'take-place', 'arrived']);
/** They are about whichever IKE SA stays. */
const OF_ITS_PLACE: ReadonlySet<string> = new Set(['rekey-ike', 'delete-ike']);
/** §3.1: they have four octets. */
const LAST_MESSAGE_ID = 0xffff_ffff;
const LARGE_MESSAGE_ID = 0xfff0_0000;
const TRY_AFTER_MESSAGES = 4096;
const DEFAULT_RETRANSMISSION: Retransmission = { initial: 1000, base: 1.8, giveUp: 165_000 };
/** A round trip on most paths; whoever waits for the verdict does not mind. */
const BELIEVED_AFTER = 1000;
/** Copies after which the path is in doubt (RFC 4555 §3.5). */
const SUSPICIOUS = 2;
/** Waits for an answer on a stream before it is taken for dead, some twelve seconds, and another one is opened. */
const STREAM_DOUBT = 4;
/** Copies that test a path before the present one is used again. */
const TESTS = 3;
/** Copies of one size after which a smaller one is tried: some three seconds, of the ten that a stranger has to authenticate. */
const COPIES = 2;
const RETRY_AFTER = 1000;
const LONGEST_RETRY = 30_000;
/** Together some four to seven minutes. */
const MOST_RETRIES = 12;
