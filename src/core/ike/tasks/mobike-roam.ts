import { isIpv6 } from '../../bytes/ip-address.ts';
import { ExchangeType, NotifyType } from '../../wire/index.ts';
import type { Millis } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { Outstanding } from '../message-window.ts';
import { errorNotify, refusedBy } from '../notifies.ts';
import { sendAgain } from '../outbound.ts';
import { isOverTcp, type Path, pathKey, pathOf, samePath } from '../path.ts';
import { exchange, type Routine } from '../routine.ts';
import type { World } from '../world.ts';
import {
  announceMove,
  closeForCookie,
  divertTraffic,
  first,
  leaveLostSource,
  lineOf,
  moveLine,
  moveTo,
  moveTraffic,
  noteNat,
  trafficPath,
} from './mobike-line.ts';
import { addressList, COOKIE2_LENGTH, cookie2, forbidNats, returnsCookie } from './mobike-notifies.ts';
import { additionalAddresses, isOurs, ownAddresses } from './mobike-paths.ts';
import { noteVerified } from './mobike-state.ts';
import { changeTo, reconsider, requestUpdate } from './mobike-update.ts';
import type { NatSeen } from './nat-detection.ts';

/** The responder does as the initiator says; traffic follows once the new address has shown that it listens (RFC 4555 §3.5, §3.7). */
export function followUpdate(world: World, owner: IkeSa, path: Path, nat: NatSeen | undefined): void {
  const sa = owner.heir;
  const { mobike } = sa;
  if (mobike === undefined) return;
  const changed = !samePath(path, sa);
  if (changed) mobike.left = { remote: sa.remote, until: world.now + UNDER_WAY, again: false };
  const { waits } = moveTo(world, sa, path);
  const natChanged = noteNat(world, sa, nat);
  if (waits) requestReachabilityCheck(world, sa);
  else if (changed || natChanged || mobike.traffic !== undefined) moveTraffic(world, sa);
  if (changed) announceMove(world, sa, 'the peer says so');
}

/** This machine's addresses are others. */
export function localAddressesChanged(world: World, sa: IkeSa): void {
  const { mobike } = sa;
  if (mobike === undefined || !sa.isEstablished || sa.heir !== sa) return;
  if (mobike.decides) followOwnAddresses(world, sa);
  // a stream ends with its address, and only the peer opens another one (RFC 9329 §6.1)
  else if (!isOurs(world, sa.local.ip) && !isOverTcp(sa)) leaveLostAddress(world, sa);
  leaveLostSource(world, sa);
  if (!mobike.updateDue && additionalAddresses(world, sa).join() !== mobike.told.join()) requestTell(world, sa);
}

/** Where that changes nothing, there may have been no way for a moment: what is under way was sent in vain, and goes out again at once (§3.5). */
function followOwnAddresses(world: World, sa: IkeSa): void {
  const before = pathOf(sa);
  reconsider(world, sa, 'our addresses changed');
  if (samePath(before, sa) && !isOverTcp(sa) && isOurs(world, sa.local.ip)) for (const one of lineOf(sa)) sendAgain(world, one);
}

/**
 * After a restart nobody knows whether the peer heard of the last address, of which a snapshot may know nothing, or whether the machine has
 * others by now: RFC 4555 §3.5 lets the initiator say at any time where it is.
 */
export function resumeMobike(world: World, sa: IkeSa): void {
  const { mobike } = sa;
  if (mobike === undefined) return;
  mobike.updateDue = mobike.decides;
  if (mobike.decides) requestUpdate(world, sa);
  else if (mobike.traffic !== undefined) requestReachabilityCheck(world, sa);
  if (world.ownAddresses) localAddressesChanged(world, sa);
}

/** Authentic, and an answer to what also went over other paths: the one that it came over works, and that in use is in doubt (§3.10). */
export function noteAnswer(world: World, sa: IkeSa, request: Outstanding, path: Path): void {
  const { heir } = sa;
  if (request.aside || heir.mobike === undefined || !heir.isEstablished || samePath(path, heir)) return;
  const probed = request.probed.get(pathKey(path));
  if (probed === undefined) return;
  if (heir.mobike.decides) return changeTo(world, heir, probed, reasonFor(heir, request, probed));
  heir.mobike.generation++;
  // §3.5: where the traffic goes the initiator decides
  heir.mobike.traffic ??= trafficPath(heir);
  moveLine(world, heir, probed);
}

function reasonFor(sa: IkeSa, { via }: Outstanding, path: Path): string {
  if (isOverTcp(path)) return 'UDP got no answer, TCP did';
  if (isOverTcp(sa)) return 'UDP works again';
  return via ? 'a better path works' : 'the path was dead';
}

/**
 * RFC 4555 §3.5, the exception: a responder may leave an address that it has lost; what follows is the initiator's decision. That takes it
 * to be still at the lost one until it is told (§3.6), also where there never was another.
 */
function leaveLostAddress(world: World, sa: IkeSa): void {
  const ip = ownAddresses(world, sa).find((own) => isIpv6(own) === isIpv6(sa.remote.ip));
  if (ip === undefined) return;
  const used = trafficPath(sa);
  const local = { ip, port: world.ownAddresses?.ports?.[ip] ?? sa.local.port };
  const mobike = sa.mobike!;
  mobike.generation++;
  mobike.told = [sa.local.ip, ...mobike.told.filter((known) => known !== sa.local.ip)];
  moveLine(world, sa, { ...pathOf(sa), local });
  divertTraffic(world, sa, { ...used, local });
  announceMove(world, sa, 'our address is gone');
}

/** RFC 4555 §3.6. */
const requestTell = (world: World, sa: IkeSa): void =>
  first(world, sa, { what: 'telling the peer our other addresses', key: 'mobike-list', start: (owner) => tellAddresses(world, owner) });

/** RFC 4555 §3.7. */
const requestReachabilityCheck = (world: World, sa: IkeSa): void =>
  first(world, sa, { what: 'return routability check', key: 'mobike-check', start: (owner) => checkReachability(world, owner) });

/** The list of our addresses, until the peer has the one that is true (§3.6). */
function* tellAddresses(world: World, sa: IkeSa): Routine<void> {
  const { mobike } = sa;
  if (mobike === undefined) return;
  let through = false;
  try {
    for (let round = 0; round < MOST_LISTS; round++) {
      // as with updates: on an IKE SA that was replaced nothing new is told
      if (sa.heir !== sa) return;
      const { generation } = mobike;
      const told = additionalAddresses(world, sa);
      const response = yield* exchange(ExchangeType.INFORMATIONAL, [...addressList(told), ...forbidNats(sa, sa)], { anywhere: true });
      const refused = errorNotify(response.payloads);
      if (refused && refused.notify !== NotifyType.UNEXPECTED_NAT_DETECTED) throw refusedBy(refused, 'our list of addresses');
      if (refused || mobike.generation !== generation) continue;
      mobike.told = told;
      if (told.join() === additionalAddresses(world, sa).join()) break;
    }
    through = true;
  } finally {
    if (!through && sa.heir !== sa) requestTell(world, sa.heir);
  }
}

/** §3.7: COOKIE2 comes back only from whoever receives at the new address. */
function* checkReachability(world: World, sa: IkeSa): Routine<void> {
  const { mobike } = sa;
  let through = false;
  try {
    while (mobike?.traffic !== undefined && !mobike.verified.includes(sa.remote.ip)) {
      const { generation } = mobike;
      const cookie = world.random.secret(COOKIE2_LENGTH);
      const response = yield* exchange(ExchangeType.INFORMATIONAL, [cookie2(cookie)]);
      // the exception of §3.7: it may have gone to several addresses
      if (mobike.generation !== generation) continue;
      if (!returnsCookie(response.payloads, cookie)) {
        closeForCookie(world, sa.heir);
        return;
      }
      noteVerified(mobike, sa.remote.ip);
    }
    if (mobike?.traffic !== undefined) moveTraffic(world, sa.heir);
    through = true;
  } finally {
    if (!through && sa.heir !== sa) requestReachabilityCheck(world, sa.heir);
  }
}

/** Longer than packets linger in any path that TCP could use. */
const UNDER_WAY: Millis = 5000;
/** Lists that are sent before giving in to one that changes as fast as it is told. */
const MOST_LISTS = 5;
