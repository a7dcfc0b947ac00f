import { equalBytes } from '../../bytes/bytes.ts';
import { type Address, parseIp } from '../../bytes/ip-address.ts';
import { sha1 } from '../../crypto/index.ts';
import { NotifyType, type Payload } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findAll, notify } from '../notifies.ts';
import { isOverTcp, overTransport, type Path } from '../path.ts';
import type { World } from '../world.ts';

/** RFC 7296 §2.23: SHA-1(SPIi | SPIr | address | port), port in network byte order. */
function natHash(spiI: Uint8Array, spiR: Uint8Array, { ip, port }: Address): Uint8Array {
  const address = parseIp(ip);
  const octets = new Uint8Array(spiI.length + spiR.length + address.length + 2);
  octets.set(spiI);
  octets.set(spiR, spiI.length);
  octets.set(address, spiI.length + spiR.length);
  octets[octets.length - 2] = port >>> 8;
  octets[octets.length - 1] = port & 0xff;
  return sha1(octets);
}

/** To force encapsulation we claim a source address that cannot match, so the peer sees a NAT on our side. */
export function natNotifies(world: World, sa: IkeSa, path: Path = sa): Payload[] {
  const { local, remote } = path;
  const { spiI, spiR } = sa;
  // RFC 9329 §6.5: a stream passes every NAT, so there is nothing to pretend
  sa.nat.forced = wantsEncap(world, sa) && !isOverTcp(path);
  if (!speaksNatTraversal(world, sa)) return [];
  const source = sa.nat.forced ? world.random.secret(HASH_LENGTH) : natHash(spiI, spiR, local);
  return [notify(NotifyType.NAT_DETECTION_SOURCE_IP, source), notify(NotifyType.NAT_DETECTION_DESTINATION_IP, natHash(spiI, spiR, remote))];
}

/** Of IKE_SA_INIT: compares the peer's hashes with what we see; both stay hints, nothing is trusted on their account. */
export function detectNat(world: World, sa: IkeSa, payloads: readonly Payload[]): void {
  // §2.23: the initiator hashed its request before it knew SPIr: zero then
  const spiR = sa.originalRole === 'responder' ? new Uint8Array(8) : sa.spiR;
  const seen = speaksNatTraversal(world, sa) ? compareHashes(sa.spiI, spiR, payloads, sa) : undefined;
  if (seen === undefined) return;
  sa.nat.ours = seen.ours;
  sa.nat.theirs = seen.theirs;
  world.notice({
    kind: 'nat',
    ikeSa: sa.id,
    ours: sa.nat.ours,
    theirs: sa.nat.theirs,
    forced: sa.nat.forced,
    ...overTransport(sa.transport),
  });
}

/** What the hashes of a later message say of the path it came over; undefined when there are none. */
export function natOn(sa: IkeSa, payloads: readonly Payload[], path: Path): NatSeen | undefined {
  return compareHashes(sa.spiI, sa.spiR, payloads, path);
}

export interface NatSeen {
  readonly ours: boolean;
  readonly theirs: boolean;
  /** The hash of our address as the peer sees it. */
  readonly seenAs: Uint8Array;
}

function compareHashes(spiI: Uint8Array, spiR: Uint8Array, payloads: readonly Payload[], { local, remote }: Path): NatSeen | undefined {
  const hashes = (type: number) => findAll(payloads, 'N').filter((n) => n.notify === type);
  const sources = hashes(NotifyType.NAT_DETECTION_SOURCE_IP);
  const destinations = hashes(NotifyType.NAT_DETECTION_DESTINATION_IP);
  const [first] = destinations;
  if (sources.length === 0 || first === undefined) return undefined;
  const seen = natHash(spiI, spiR, remote);
  const own = natHash(spiI, spiR, local);
  return {
    theirs: !sources.some((n) => equalBytes(n.data, seen)),
    ours: !destinations.some((n) => equalBytes(n.data, own)),
    seenAs: first.data,
  };
}

export const natFound = (sa: IkeSa): boolean => sa.nat.ours || sa.nat.theirs || sa.nat.forced;

/** §2.23: where IKE began outside of UDP encapsulation and moved into it for MOBIKE's sake alone (RFC 4555 §3.3), ESP stays outside. */
export const espInUdp = (sa: IkeSa): boolean => sa.encap && (isOverTcp(sa) || !sa.floated || natFound(sa));

/** RFC 4555 §3.9: whoever forbids NATs does not enable NAT traversal, unless the data plane knows nothing but UDP. */
export const speaksNatTraversal = (world: World, sa: IkeSa): boolean => sa.connection?.natsAllowed !== false || wantsEncap(world, sa);

export const wantsEncap = (world: World, sa: IkeSa): boolean => world.options.forceEncap === true || sa.connection?.encap === true;

const HASH_LENGTH = 20;
