import { concat, equalBytes } from '../../bytes/bytes.ts';
import { type Address, parseIp } from '../../bytes/ip-address.ts';
import { sha1 } from '../../crypto/index.ts';
import { NotifyType, type Payload } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findAll, notify } from '../notifies.ts';
import type { World } from '../world.ts';

/** RFC 7296 §2.23: SHA-1(SPIi | SPIr | address | port), port in network byte order. */
function natHash(spiI: Uint8Array, spiR: Uint8Array, { ip, port }: Address): Uint8Array {
  return sha1(concat(spiI, spiR, parseIp(ip), new Uint8Array([port >>> 8, port & 0xff])));
}

/** To force encapsulation we claim a source address that cannot match, so the peer sees a NAT on our side. */
export function natNotifies(world: World, sa: IkeSa): Payload[] {
  const { spiI, spiR, local, remote } = sa;
  sa.nat.forced = wantsEncap(world, sa);
  const source = sa.nat.forced ? world.random.secret(HASH_LENGTH) : natHash(spiI, spiR, local);
  return [notify(NotifyType.NAT_DETECTION_SOURCE_IP, source), notify(NotifyType.NAT_DETECTION_DESTINATION_IP, natHash(spiI, spiR, remote))];
}

/** Compares the peer's hashes with what we see; both stay hints, nothing is trusted on their account. */
export function detectNat(world: World, sa: IkeSa, payloads: readonly Payload[]): void {
  const { spiI, local, remote } = sa;
  // §2.23: the initiator hashed its request before it knew SPIr: zero then
  const spiR = sa.originalRole === 'responder' ? new Uint8Array(8) : sa.spiR;
  const hashes = (type: number) => findAll(payloads, 'N').filter((n) => n.notify === type);
  const sources = hashes(NotifyType.NAT_DETECTION_SOURCE_IP);
  const destinations = hashes(NotifyType.NAT_DETECTION_DESTINATION_IP);
  if (sources.length === 0 || destinations.length === 0) return;
  const seen = natHash(spiI, spiR, remote);
  const own = natHash(spiI, spiR, local);
  sa.nat.theirs = !sources.some((n) => equalBytes(n.data, seen));
  sa.nat.ours = !destinations.some((n) => equalBytes(n.data, own));
  world.notice({ kind: 'nat', ikeSa: sa.id, ours: sa.nat.ours, theirs: sa.nat.theirs, forced: sa.nat.forced });
}

export const natFound = (sa: IkeSa): boolean => sa.nat.ours || sa.nat.theirs || sa.nat.forced;

const wantsEncap = (world: World, sa: IkeSa): boolean => world.options.forceEncap === true || sa.connection?.encap === true;

const HASH_LENGTH = 20;
