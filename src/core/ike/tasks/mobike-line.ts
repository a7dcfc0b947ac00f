import { PeerViolation } from '../../bytes/errors.ts';
import { type Address, isIpv6, sameAddress } from '../../bytes/ip-address.ts';
import type { ChildSaSpec } from '../effects.ts';
import type { IkeSa, Job } from '../ike-sa.ts';
import { sendAgain } from '../outbound.ts';
import { isOverTcp, overTransport, type Path, pathOf, samePath } from '../path.ts';
import type { World } from '../world.ts';
import { isOurs } from './mobike-paths.ts';
import { espInUdp, type NatSeen } from './nat-detection.ts';

/** Where the traffic goes; `encap` is of ESP. A child that is made meanwhile starts there as well. */
export const trafficPath = (sa: IkeSa): Path => sa.mobike?.traffic ?? { ...pathOf(sa), encap: espInUdp(sa) };

/** All children go where the IKE SA is. */
export function moveTraffic(world: World, sa: IkeSa): void {
  const { mobike } = sa;
  if (mobike) mobike.traffic = undefined;
  for (const one of lineOf(sa)) world.moveTraffic(one, trafficPath(sa));
}

/** A child stands in the data plane now: the addresses may have changed while that was busy with those of its spec. */
export function catchUp(world: World, sa: IkeSa, spec: ChildSaSpec): void {
  const path = trafficPath(sa.heir);
  if (!samePath(spec, path)) for (const one of lineOf(sa.heir)) world.moveTraffic(one, path);
}

/**
 * RFC 4555 §3.8: the end that is not behind a NAT may let the traffic follow authentic ESP. It stays with an address that the peer has shown
 * to receive at: where the checks are on, ESP is no way around them.
 */
export function followTraffic(world: World, sa: IkeSa, remote: Address): void {
  const { mobike } = sa;
  const used = trafficPath(sa);
  if (mobike === undefined || mobike.decides) return;
  const { left } = mobike;
  if (left) left.again = sameAddress(left.remote, remote);
  if (sameAddress(used.remote, remote) || isUnproven(sa, { ...used, remote })) return;
  // sent before it moved, and overtaken by what tells of that; much later by somebody who had withheld it: to another machine's address that it
  // says it has left only its word leads back (§3.5)
  if (left?.again && (world.now < left.until || remote.ip !== sa.remote.ip)) return;
  divertTraffic(world, sa, { ...used, remote });
}

/** Packets go on coming from where the traffic does not go. A source is told once: that which the peer had left is where it is again. */
export function followBack(world: World, sa: IkeSa): void {
  const left = sa.mobike?.left;
  if (left?.again && world.now >= left.until) followTraffic(world, sa, left.remote);
}

/** The traffic alone takes a path, be it that of the IKE SA or not. */
export function divertTraffic(world: World, sa: IkeSa, path: Path): void {
  if (sa.mobike) sa.mobike.traffic = samePath(path, { ...pathOf(sa), encap: espInUdp(sa) }) ? undefined : path;
  for (const one of lineOf(sa)) world.moveTraffic(one, path);
}

/**
 * The IKE SA goes over to a path, and so does what is under way. Its traffic goes along unless the peer's address has to prove itself first
 * (RFC 4555 §3.7: the default is to check before traffic goes to an address that is new).
 * @returns whether the traffic waits
 */
export function moveTo(world: World, sa: IkeSa, path: Path): { readonly waits: boolean } {
  const mobike = sa.mobike!;
  const before = trafficPath(sa);
  mobike.generation++;
  moveLine(world, sa, path);
  const waits = isUnproven(sa, path);
  if (waits) {
    mobike.traffic ??= before;
    leaveLostSource(world, sa);
  }
  return { waits };
}

/** Traffic that waits goes on to the address that is proven, from where the IKE SA is when its own source is lost. */
export function leaveLostSource(world: World, sa: IkeSa): void {
  const waiting = sa.mobike?.traffic;
  if (waiting === undefined || waiting.transport !== undefined || isOurs(world, waiting.local.ip)) return;
  if (isIpv6(waiting.local.ip) === isIpv6(sa.local.ip)) divertTraffic(world, sa, { ...waiting, local: sa.local });
}

/** What waits for an answer goes out over the new path at once, and whoever watches hears of it. */
export function announceMove(world: World, sa: IkeSa, why: string): void {
  world.notice({ kind: 'moved', ikeSa: sa.id, connection: sa.connection?.name, local: sa.local, remote: sa.remote, why });
  for (const one of lineOf(sa)) sendAgain(world, one);
}

/** What a message over the present path says of NATs on it. @returns whether it is news */
export function noteNat(world: World, sa: IkeSa, nat: NatSeen | undefined): boolean {
  if (nat === undefined) return false;
  const { ours, theirs } = nat;
  const news = sa.nat.ours !== ours || sa.nat.theirs !== theirs;
  for (const one of lineOf(sa)) Object.assign(one.nat, { ours, theirs });
  if (news) world.notice({ kind: 'nat', ikeSa: sa.id, ours, theirs, forced: sa.nat.forced, ...overTransport(sa.transport) });
  return news;
}

/** The IKE SAs of one line of rekeyings that are still there: all of them go with the last one. */
export function lineOf(sa: IkeSa): ReadonlySet<IkeSa> {
  const line = new Set<IkeSa>([sa]);
  for (const one of line) {
    for (const other of [one.successor, one.predecessor, one.peerSuccessor])
      if (other !== undefined && other.mobike === sa.mobike && other.hasKeys) line.add(other);
  }
  return line;
}

export function moveLine(world: World, sa: IkeSa, path: Path): void {
  for (const one of lineOf(sa)) world.moveIke(one, path);
}

/** §3.7: values that do not match end the IKE SA. */
export function closeForCookie(world: World, sa: IkeSa): false {
  const error = new PeerViolation('the peer did not return our COOKIE2: it does not receive where it says it is', {
    code: 'COOKIE2_MISMATCH',
    notify: 0,
    section: 'RFC 4555 §3.7',
    hint: 'Its MOBIKE is broken, or somebody sends in its name: connect again.',
  });
  world.notice({ kind: 'failed', ikeSa: sa.id, connection: sa.connection?.name, what: 'return routability check', error });
  world.kill(sa, error.message, error);
  return false;
}

/** Queues an exchange before all others that wait. */
export function first(world: World, owner: IkeSa, job: Job): void {
  const sa = owner.heir;
  if (!sa.isEstablished || sa.jobs.some((waiting) => waiting.key === job.key)) return;
  sa.jobs = [job, ...sa.jobs];
  world.pump(sa);
}

/** RFC 9329 §7.1: over TCP the handshake has proven it. */
const isUnproven = (sa: IkeSa, path: Path): boolean =>
  sa.connection?.mobikeReturnRoutability !== false && !isOverTcp(path) && sa.mobike?.verified.includes(path.remote.ip) === false;
