import { type Address, isIpv6, parseIp } from '../../bytes/ip-address.ts';
import { NONE } from '../../bytes/lists.ts';
import { bestMatch } from '../address-patterns.ts';
import type { IkeSa } from '../ike-sa.ts';
import { isOverTcp, type Path, pathKey, pathOf, samePath } from '../path.ts';
import { takesTransport } from '../policy.ts';
import type { World } from '../world.ts';
import { tcpPathTo } from './tcp-state.ts';

/**
 * Pairs of an own address and one of the peer's, in order of preference (RFC 4555 §2.1 leaves the order to policy). Ours come first in the
 * order of the configuration where it names them, else the one from which the machine itself would send. Of the peer's, those that the
 * configuration names come first, then those it announced.
 */
function pathsTo(world: World, sa: IkeSa, addresses: readonly string[]): readonly Path[] {
  const remotes = addresses.map((remote) => ({ remote, locals: localsTowards(world, sa, remote) }));
  const most = Math.max(0, ...remotes.map(({ locals }) => locals.length));
  const paths: Path[] = [];
  for (let rank = 0; rank < most; rank++) {
    for (const { remote, locals } of remotes) {
      const local = locals[rank];
      if (local !== undefined) paths.push(pathBetween(world, sa, local, remote));
    }
  }
  return [...paths.slice(0, MOST_PATHS), ...streamInUse(world, sa, addresses)];
}

/** RFC 9329 §9: over UDP wherever that may be, whatever the IKE SA is on. */
function pathBetween(world: World, sa: IkeSa, local: string, remote: string): Path {
  const { connection } = sa;
  if (connection?.transport === 'tcp') {
    return isOverTcp(sa) && local === sa.local.ip && remote === sa.remote.ip ? pathOf(sa) : tcpPathTo(connection, local, remote);
  }
  const port = isOverTcp(sa) ? (connection?.remoteNatPort ?? sa.remote.port) : sa.remote.port;
  return { local: ownEnd(world, sa, local), remote: { ip: remote, port }, encap: sa.encap };
}

/** Still a way, and the last one to take. */
function streamInUse(world: World, sa: IkeSa, addresses: readonly string[]): readonly Path[] {
  if (!isOverTcp(sa) || sa.connection?.transport === 'tcp') return [];
  return addresses.includes(sa.remote.ip) && ownAddresses(world, sa).includes(sa.local.ip) ? [pathOf(sa)] : [];
}

/** To where the configuration says it is, best first. */
export const namedPaths = (world: World, sa: IkeSa): readonly Path[] => pathsTo(world, sa, namedAddresses(sa));

/** To where the peer says it is, best first, without what it refused a while ago. */
export const acceptablePaths = (world: World, sa: IkeSa): readonly Path[] => unrefused(world, sa, pathsTo(world, sa, toldAddresses(sa)));

function unrefused(world: World, { mobike }: IkeSa, paths: readonly Path[]): readonly Path[] {
  return paths.filter((path) => (mobike?.refused?.get(pathKey(path)) ?? Number.NEGATIVE_INFINITY) <= world.now);
}

/**
 * What may be tried besides the current path, so many at once, in turn. Where the configuration says the peer is comes last: it may be there
 * again although it said otherwise.
 */
export function otherPaths(world: World, sa: IkeSa): readonly Path[] {
  const { mobike } = sa;
  if (mobike === undefined) return [];
  const addresses = [...new Set([...toldAddresses(sa), ...namedAddresses(sa)])];
  const others = unrefused(world, sa, pathsTo(world, sa, addresses)).filter((path) => !samePath(path, sa) && !isOverTcp(path));
  const count = Math.min(AT_ONCE, others.length);
  const chosen = Array.from({ length: count }, (_, i) => others[(mobike.turn + i) % others.length]!);
  mobike.turn += count;
  return chosen;
}

/** What we tell the peer: addresses that may be used beside the one in the IP header. */
export function additionalAddresses(world: World, sa: IkeSa): readonly string[] {
  const others = ownAddresses(world, sa).filter((ip) => ip !== sa.local.ip && scopeOf(ip) === scopeOf(sa.local.ip));
  return others.length === 0 ? NONE : others.slice(0, MOST_TOLD);
}

/** Our addresses that the policy of the connection allows; those inside of the tunnel are no way to its end. */
export function ownAddresses(world: World, sa: IkeSa): readonly string[] {
  const patterns = sa.connection?.localAddresses ?? [];
  const known = world.ownAddresses?.addresses ?? [sa.local.ip];
  const usable = known.filter((ip) => bestMatch(patterns, ip) >= 0 && !(sa.assignedToUs && sa.assigned.includes(ip)));
  const free = patterns.some((pattern) => pattern === '%any' || pattern.includes('/'));
  return free ? usable : [...usable].sort((a, b) => patterns.indexOf(a) - patterns.indexOf(b));
}

export function isOurs(world: World, ip: string): boolean {
  return world.ownAddresses?.addresses.includes(ip) ?? true;
}

/** RFC 4555 §3.5: is the pair in the IP header acceptable according to local policy? */
export function isAcceptable({ connection }: IkeSa, path: Path): boolean {
  if (connection === undefined || !takesTransport(connection, path)) return false;
  const { local, remote } = path;
  return bestMatch(connection.localAddresses, local.ip) >= 0 && bestMatch(connection.mobikeAddresses ?? ANYWHERE, remote.ip) >= 0;
}

/** RFC 4555 §3.5: whoever sends from a private address to a global one is likely to do so through a NAT. */
export const suspectsNat = ({ local, remote }: Path): boolean => isPrivate(local.ip) && !isPrivate(remote.ip);

/** In the order in which the configuration names them, then in that of the peer. */
function toldAddresses(sa: IkeSa): readonly string[] {
  const told = (sa.mobike?.peerAddresses ?? []).filter((ip) => bestMatch(sa.connection?.mobikeAddresses ?? ANYWHERE, ip) >= 0);
  return [...new Set([...namedAddresses(sa).filter((ip) => told.includes(ip)), ...told])];
}

/** A gateway to which we were redirected is not the one that the configuration names (RFC 5685). */
const namedAddresses = ({ connection, redirect }: IkeSa): readonly string[] =>
  (redirect?.from === undefined ? (connection?.remoteAddresses ?? []) : []).filter(
    (address) => address !== '%any' && !address.includes('/'),
  );

function localsTowards(world: World, sa: IkeSa, remote: string): readonly string[] {
  const fitting = ownAddresses(world, sa).filter((ip) => isIpv6(ip) === isIpv6(remote) && scopeOf(ip) === scopeOf(remote));
  const patterns = sa.connection?.localAddresses ?? [];
  if (patterns.every((pattern) => pattern !== '%any' && !pattern.includes('/'))) return fitting;
  // without a word from the machine there is no reason to leave the address in use
  const first = world.ownAddresses?.sources?.[remote] ?? sa.local.ip;
  return fitting.includes(first) ? [first, ...fitting.filter((ip) => ip !== first)] : fitting;
}

function ownEnd(world: World, sa: IkeSa, ip: string): Address {
  if (ip === sa.local.ip && !isOverTcp(sa)) return sa.local;
  return { ip, port: (sa.encap ? world.ownAddresses?.ports?.[ip] : undefined) ?? world.ownPort(sa.encap) };
}

/** A machine reaches itself over loopback and nobody else. */
const scopeOf = (ip: string): 'loopback' | 'other' => (ip === '::1' || ip.startsWith('127.') ? 'loopback' : 'other');

/** RFC 1918, RFC 6598, RFC 3927, RFC 4193. */
function isPrivate(ip: string): boolean {
  const [a = 0, b = 0] = parseIp(ip);
  if (isIpv6(ip)) return (a & 0xfe) === 0xfc;
  return (
    a === 10 ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168) ||
    (a === 100 && b >= 64 && b < 128) ||
    (a === 169 && b === 254)
  );
}

const ANYWHERE: readonly string[] = ['%any'];
const MOST_PATHS = 32;
const MOST_TOLD = 8;
/** A request under way is repeated over so many other paths each time. */
const AT_ONCE = 4;
