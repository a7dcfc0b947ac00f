import { TimedOut, TunnelwrightError } from '../../bytes/errors.ts';
import { NONE, withLast } from '../../bytes/lists.ts';
import type { IkeSa } from '../ike-sa.ts';
import { isOverTcp, type Path, pathOf } from '../path.ts';
import type { Connection } from '../policy.ts';
import type { World } from '../world.ts';
import { isOurs } from './mobike-paths.ts';
import { newTcpLine, tcpPathTo } from './tcp-state.ts';
import { openAgain, tcpAfter } from './tcp-streams.ts';

/**
 * RFC 9329 §5.1: UDP first. Where it gets no answer, the same begins over TCP with an IKE SA of its own, while the first goes on asking;
 * the one that is answered stays.
 * @param beside the one that asks for the same over UDP
 * @param startOver begins the same over TCP
 */
export function watchForAnswer(
  world: World,
  sa: IkeSa,
  connection: Connection,
  beside: IkeSa | undefined,
  startOver: (path: Path) => IkeSa,
): void {
  const { transport } = connection;
  if (transport !== 'auto' && transport !== 'tcp') return;
  sa.tcp ??= newTcpLine(true, transport === 'tcp' ? 'the configuration says so' : 'UDP got no answer');
  sa.tcp.rival = beside;
  if (beside?.tcp) beside.tcp.rival = sa;
  if (transport === 'tcp' || isOverTcp(sa)) return;
  sa.tcp.startOver = () => startOver(tcpPathTo(connection, sa.local.ip, sa.remote.ip));
  world.arm(sa.timers.stream, world.now + tcpAfter(connection));
}

/** Timer `stream`. */
export function transportDue(world: World, sa: IkeSa): void {
  if (isOverTcp(sa)) return openAgain(world, sa);
  const { tcp, connection } = sa;
  if (tcp?.startOver === undefined || connection === undefined || !sa.is('connecting')) return;
  // where the gateway is may still be looked up
  if (sa.window.size === 0) return world.arm(sa.timers.stream, world.now + tcpAfter(connection));
  tryTcp(world, sa, connection, tcp.startOver);
}

function tryTcp(world: World, sa: IkeSa, { name }: Connection, startOver: () => IkeSa): IkeSa {
  const other = startOver();
  if (sa.tcp) sa.tcp.startOver = undefined;
  world.notice({ kind: 'trying-tcp', ikeSa: sa.id, connection: name, remote: other.remote, to: other.id });
  return other;
}

/** The first answer is here: this IKE SA goes on, the other one ends. */
export function decideTransport(world: World, sa: IkeSa): void {
  world.disarm(sa.timers, 'stream');
  const rival = takeRival(sa);
  if (rival !== undefined) replace(world, rival, sa, undefined);
}

/**
 * One of two has failed. Silence is no verdict while the other one still asks; anything else is, and ends both.
 * @returns whether that is all there is to do about it
 */
export function yieldsTo(world: World, sa: IkeSa, error: unknown): boolean {
  const rival = takeRival(sa);
  if (rival === undefined || !rival.is('connecting')) return false;
  if (!(error instanceof TunnelwrightError) || !isSilence(error)) {
    world.kill(rival, OUTDONE);
    return false;
  }
  if (rival.tcp) rival.tcp.failure = error;
  sa.running--;
  replace(world, sa, rival, error.message);
  return true;
}

/**
 * UDP answered IKE_SA_INIT and nothing behind it: a firewall lets port 500 through and not 4500 (RFC 7296 §2.23), or nothing that is long. Not
 * before all the time is over: who asks the operator, or a second factor, before it answers IKE_AUTH would be asked twice.
 * @returns whether the same goes on over TCP
 */
export function turnsToTcp(world: World, sa: IkeSa, error: unknown): boolean {
  const { tcp, connection } = sa;
  if (tcp?.startOver === undefined || connection === undefined || isOverTcp(sa) || !sa.is('authenticating')) return false;
  if (!(error instanceof TunnelwrightError) || !isSilence(error) || !isOurs(world, sa.local.ip)) return false;
  const other = tryTcp(world, sa, connection, tcp.startOver);
  takeRival(sa);
  if (other.tcp) other.tcp.failure = error;
  sa.running--;
  replace(world, sa, other, error.message);
  return true;
}

/** What keeps TCP from being used says something of what is wrong with UDP, too. */
export function withOtherTransport(sa: IkeSa, error: unknown): unknown {
  const other = sa.tcp?.failure;
  if (other === undefined || sa.establishedAt !== undefined || !(error instanceof TunnelwrightError) || !isSilence(error)) return error;
  const [udp, tcp] = isOverTcp(sa) ? [other, error] : [error, other];
  return new TimedOut(`${udp.message}; over TCP: ${tcp.message}`, {
    code: 'PEER_SILENT',
    section: 'RFC 9329 §5.1',
    hint: 'Is the address right, is the gateway running, and do firewalls let UDP 500 and 4500, or TCP 4500, through?',
    cause: error,
  });
}

/** Where another IKE SA with the same peer begins: with UDP, whatever this one is on (RFC 9329 §7.2, §7.3). */
export function afresh(world: World, sa: IkeSa, connection: Connection): Path {
  return isOverTcp(sa) ? firstPath(world, connection, sa.local.ip, sa.remote.ip) : pathOf(sa);
}

/** Where an IKE SA of a connection begins between two addresses. With one port for both roles all goes through the encapsulating socket (§2.23). */
export function firstPath(world: World, connection: Connection, localIp: string, remoteIp: string): Path {
  const encap = connection.remotePort === connection.remoteNatPort;
  return { local: { ip: localIp, port: world.ownPort(encap) }, remote: { ip: remoteIp, port: connection.remotePort }, encap };
}

/** What was to come of one comes of the other. */
function replace(world: World, loser: IkeSa, winner: IkeSa, failure: string | undefined): void {
  winner.jobs = withLast(winner.jobs, ...loser.jobs);
  loser.jobs = NONE;
  if (winner.reauth.of) winner.reauth.of.reauth.by = winner;
  for (const { redirect } of world.ikeSas.values()) if (redirect?.follower === loser.id) redirect.follower = winner.id;
  const transport = isOverTcp(winner) ? 'tcp' : 'udp';
  world.notice({ kind: 'transport-chosen', ikeSa: loser.id, connection: winner.connection?.name, transport, failure, to: winner.id });
  world.kill(loser, failure === undefined ? OUTDONE : OUTLASTED);
}

function takeRival(sa: IkeSa): IkeSa | undefined {
  const rival = sa.tcp?.rival;
  if (sa.tcp) sa.tcp.rival = undefined;
  if (rival?.tcp) rival.tcp.rival = undefined;
  return rival;
}

/** The operator ends one: so ends the other. */
export function endRival(world: World, sa: IkeSa): void {
  const rival = takeRival(sa);
  if (rival) world.kill(rival, 'given up by the operator');
}

export const isSilence = ({ code }: TunnelwrightError): boolean => SILENT.has(code);

const OUTLASTED = 'the other transport goes on alone';
const OUTDONE = 'the other transport was answered';

const SILENT: ReadonlySet<string> = new Set([
  'PEER_SILENT',
  'TCP_SILENT',
  'TCP_REFUSED',
  'NO_ROUTE',
  'ADDRESS_NOT_OURS',
  'SOCKET_FAILED',
  'NO_TCP',
  'ASK_TIMEOUT',
]);
