import { type Address, sameAddress } from '../../bytes/ip-address.ts';
import { withLast } from '../../bytes/lists.ts';
import { ExchangeType } from '../../wire/index.ts';
import type { Millis } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { Outstanding } from '../message-window.ts';
import { transmit } from '../messenger.ts';
import { isOverTcp, type Path, pathKey, samePath } from '../path.ts';
import type { Connection } from '../policy.ts';
import { ask, exchange, type Routine } from '../routine.ts';
import type { World } from '../world.ts';
import { lineOf, trafficPath } from './mobike-line.ts';
import { requestUpdate } from './mobike-update.ts';
import { closeLeft } from './tcp-leaving.ts';
import { tcpPathTo } from './tcp-state.ts';

/** Opens the stream of an IKE SA that is about to begin (RFC 9329 §6.1). Throws what kept it from opening. */
export function* openFirstStream(world: World, sa: IkeSa, connection: Connection): Routine<void> {
  const path = tcpPathTo(connection, sa.local.ip, sa.remote.ip);
  const opened = yield* connect(path.local.ip, path.remote, timeLeft(world, sa, connection));
  if (!opened.ok) throw opened.error;
  world.moveIke(sa, { ...path, local: opened.local });
}

/** Observation `stream-closed`: the IKE SA stands as it did; the end that opened the stream opens another one (§6.1). */
export function streamClosed(world: World, local: Address, remote: Address): void {
  for (const sa of [...world.ikeSas.values()]) {
    if (!isOverTcp(sa) || !sameAddress(sa.local, local) || !sameAddress(sa.remote, remote)) continue;
    if (sa.heir !== sa || sa.is('lingering', 'dead') || sa.tcp?.originator === undefined) continue;
    world.notice({ kind: 'stream', ikeSa: sa.id, connection: sa.connection?.name, remote, change: 'lost' });
    // one that is taken and dropped again and again is not opened at once again and again
    if (sa.tcp.originator && sa.tcp.failures++ === 0) openAgain(world, sa);
    else if (sa.tcp.originator) openLater(world, sa);
  }
}

/** §6.1, §6.2: a new stream, what waits for an answer once more, and something new by which the peer knows where we are. */
export function openAgain(world: World, owner: IkeSa): void {
  const sa = owner.heir;
  const { tcp } = sa;
  if (tcp === undefined || !tcp.originator || tcp.opening || !isOverTcp(sa) || sa.is('lingering', 'dead')) return;
  tcp.opening = true;
  world.run(
    sa,
    reconnect(world, sa),
    () => undefined,
    (error) => {
      throw error;
    },
  );
}

function* reconnect(world: World, owner: IkeSa): Routine<void> {
  const tcp = owner.tcp!;
  let through = false;
  try {
    const { local, remote } = owner;
    const opened = yield* connect(local.ip, remote);
    const sa = owner.heir;
    through = true;
    const wanted = isOverTcp(sa) && sa.local.ip === local.ip && sameAddress(sa.remote, remote);
    if (!opened.ok) {
      tcp.failure = opened.error;
      tcp.failures++;
      if (isOverTcp(sa)) openLater(world, sa);
    } else if (wanted) enter(world, sa, { local: opened.local, remote, encap: true, transport: 'tcp' });
    else closeStream(world, opened.local, remote);
  } finally {
    tcp.opening = false;
    if (!through && owner.heir !== owner) openAgain(world, owner.heir);
  }
}

/** Ever later, as long as nothing authentic comes. */
const openLater = (world: World, sa: IkeSa): void =>
  world.arm(sa.timers.stream, world.now + Math.min(FIRST_RETRY * 2 ** (sa.tcp?.failures ?? 0), LONGEST_RETRY));

/** The stream stands. */
function enter(world: World, sa: IkeSa, path: Path): void {
  const tcp = sa.tcp!;
  tcp.failure = undefined;
  moveOver(world, sa, path);
  // what was there before is lost, or was taken for it
  closeLeft(world, sa);
  world.notice({ kind: 'stream', ikeSa: sa.id, connection: sa.connection?.name, remote: path.remote, change: 'opened' });
  if (!sa.isEstablished) return;
  if (sa.mobike?.decides) {
    sa.mobike.generation++;
    sa.mobike.seenAs = undefined;
    sa.mobike.updateDue = true;
    requestUpdate(world, sa);
  } else world.enqueue(sa, { what: 'showing the peer our new stream', key: 'liveness', start: showUp });
}

function* showUp(): Routine<void> {
  yield* exchange(ExchangeType.INFORMATIONAL, []);
}

/** The whole line, its traffic, and what is under way (§6.2). */
function moveOver(world: World, sa: IkeSa, path: Path): void {
  const line = [...lineOf(sa)];
  if (sa.mobike) sa.mobike.traffic = undefined;
  for (const one of line) world.moveIke(one, path);
  for (const one of line) world.moveTraffic(one, trafficPath(sa));
  // §6.2: once, however long it has been waiting; the peer does not get more time for it
  for (const one of line) for (const request of one.window.outstanding) transmit(world, request.messages, one);
}

/**
 * §6.1: the end that was called sends where it last received something authentic and new; only from one stream to another, since from one
 * transport to the other it is MOBIKE that moves (§7.1). @returns whether it follows
 */
export function followStream(world: World, owner: IkeSa, path: Path): boolean {
  const sa = owner.heir;
  if (sa.tcp === undefined || sa.tcp.originator || !isOverTcp(sa) || !isOverTcp(path) || !sa.isEstablished) return false;
  if (!samePath(path, sa)) moveOver(world, sa, path);
  return true;
}

const closeStream = (world: World, local: Address, remote: Address): void => world.emit({ kind: 'stream', change: 'close', local, remote });

/**
 * A request of the end that decides stays unanswered over UDP: it goes out over TCP as it is (§7.1: no new exchange). Whether the answer
 * comes from there decides; meanwhile copies go on over UDP.
 */
export function probeTcp(world: World, sa: IkeSa, request: Outstanding): void {
  const { connection, tcp } = sa;
  if (connection?.transport !== 'auto' || tcp === undefined || tcp.opening || isOverTcp(sa) || !sa.mobike?.decides || !sa.isEstablished)
    return;
  if (request.via !== undefined || request.aside || world.now - request.since < tcpAfter(connection)) return;
  if ([...request.probed.values()].some(isOverTcp)) return;
  tcp.opening = true;
  world.run(
    sa,
    probe(world, sa, connection, request),
    () => undefined,
    (error) => {
      throw error;
    },
  );
}

function* probe(world: World, sa: IkeSa, connection: Connection, request: Outstanding): Routine<void> {
  const tcp = sa.tcp!;
  try {
    const path = tcpPathTo(connection, sa.local.ip, sa.remote.ip);
    const opened = yield* connect(path.local.ip, path.remote);
    if (!opened.ok) {
      tcp.failure = opened.error;
      return;
    }
    const stream = { ...path, local: opened.local };
    tcp.left = withLast(tcp.left, stream);
    if (sa.window.awaiting(request.messageId) !== request || isOverTcp(sa)) return closeLeft(world, sa);
    request.probed.set(pathKey(stream), stream);
    transmit(world, request.messages, stream);
  } finally {
    tcp.opening = false;
  }
}

/** A request was answered: what was opened for it and did not bring the answer is closed. */
export function settleProbes(world: World, { heir }: IkeSa, request: Outstanding): void {
  if (!isOverTcp(heir) && [...request.probed.values()].some(isOverTcp)) closeLeft(world, heir);
}

/** How long UDP may stay without an answer. §5.1: it is asked at least twice, and TCP has its time before the peer is given up. */
export const tcpAfter = ({ tcpAfter: after = TCP_AFTER, retransmission: { initial, giveUp } }: Connection): Millis =>
  Math.max(Math.min(after, giveUp / 2), initial + 1);

/** Of what it may take to reach a peer: UDP has used some of it. */
const timeLeft = (world: World, sa: IkeSa, { retransmission }: Connection): Millis =>
  Math.min(CONNECT_WITHIN, Math.max(LEAST_WITHIN, retransmission.giveUp - (world.now - (sa.tcp?.rival ?? sa).bornAt)));

const connect = (localIp: string, remote: Address, within = CONNECT_WITHIN) =>
  ask<'connect'>({ kind: 'connect', localIp, remote, within }, within + 1000);

const TCP_AFTER: Millis = 5000;
const CONNECT_WITHIN: Millis = 10_000;
/** To be worth a try. */
const LEAST_WITHIN: Millis = 1000;
const FIRST_RETRY: Millis = 1000;
const LONGEST_RETRY: Millis = 30_000;
