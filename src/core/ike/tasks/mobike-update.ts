import { equalBytes } from '../../bytes/bytes.ts';
import { ExchangeType, NotifyType } from '../../wire/index.ts';
import type { Millis } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import { errorNotify, notify, refusedBy } from '../notifies.ts';
import { isOverTcp, type Path, pathKey, pathOf, samePath } from '../path.ts';
import { exchange, type Inbound, type Routine } from '../routine.ts';
import type { World } from '../world.ts';
import { announceMove, closeForCookie, first, lineOf, moveTo, moveTraffic, noteNat, trafficPath } from './mobike-line.ts';
import { addressList, COOKIE2_LENGTH, cookie2, forbidNats, returnsCookie, unexpectedNat } from './mobike-notifies.ts';
import { acceptablePaths, additionalAddresses, suspectsNat } from './mobike-paths.ts';
import { FIRST_TEST, type Mobike, noteVerified } from './mobike-state.ts';
import { espInUdp, natNotifies, natOn, speaksNatTraversal } from './nat-detection.ts';
import { closeLeft } from './tcp-leaving.ts';

/**
 * The initiator has decided for another path (RFC 4555 §3.5): the IKE SA goes over to it, its traffic as well unless the peer's address has
 * to prove itself first, what is under way is sent again, and the peer is told.
 */
export function changeTo(world: World, sa: IkeSa, path: Path, why: string): void {
  const { mobike } = sa;
  if (mobike === undefined || !mobike.decides) return;
  const { waits } = moveTo(world, sa, path);
  mobike.seenAs = undefined;
  mobike.updateDue = true;
  if (!waits) {
    // until the peer has said how it sees us
    if (speaksNatTraversal(world, sa) && suspectsNat(path)) for (const one of lineOf(sa)) one.nat.ours = true;
    moveTraffic(world, sa);
  }
  announceMove(world, sa, why);
  requestUpdate(world, sa);
  // the stream from there is still to be opened; what waits goes out with it
  if (isOverTcp(path) && path.local.port === 0) world.openStream(sa);
}

/**
 * RFC 4555 §3.5: the initiator looks at its paths again. One that is no longer possible is left at once for the best there is; a better one
 * than that in use is tested first.
 */
export function reconsider(world: World, sa: IkeSa, why: string): void {
  const { mobike } = sa;
  if (mobike === undefined || !mobike.decides || !sa.isEstablished) return;
  const [best, ...others] = acceptablePaths(world, sa);
  if (best === undefined || samePath(best, sa)) return world.disarm(sa.timers, 'paths');
  if (!others.some((path) => samePath(path, sa))) return changeTo(world, sa, best, why);
  mobike.testAfter = FIRST_TEST;
  world.arm(sa.timers.paths, world.now);
}

/** RFC 4555 §3.5: as soon as the window has room, before anything else that waits. */
export const requestUpdate = (world: World, sa: IkeSa): void =>
  first(world, sa, { what: 'telling the peer our new address', key: 'mobike-update', start: (owner) => updateAddresses(world, owner) });

/** The timer `paths`: an address update that met a NAT is tried again, or a better path than the one in use is tested. */
export function pathsDue(world: World, sa: IkeSa): void {
  const { mobike } = sa;
  if (mobike === undefined || !sa.isEstablished || !mobike.decides) return;
  if (mobike.updateDue) return requestUpdate(world, sa);
  const [best] = acceptablePaths(world, sa);
  // one over TCP would have to be opened to be tested
  if (best === undefined || samePath(best, sa) || isOverTcp(best)) return;
  world.arm(sa.timers.paths, world.now + mobike.testAfter);
  mobike.testAfter = Math.min(2 * mobike.testAfter, LONGEST_TEST);
  world.enqueue(sa, { what: 'testing a path', key: 'mobike-test', start: (owner) => testPath(world, owner) });
}

/**
 * INFORMATIONAL that asks whether the peer lives; from the end that decides also how it sees us, because a NAT may have changed its mind
 * (RFC 4555 §3.8, §3.12).
 */
export function* checkLiveness(world: World, sa: IkeSa): Routine<void> {
  const { mobike } = sa;
  if (mobike?.decides && sa.nat.ours && mobike.seenAs === undefined) {
    // nothing to compare with: §3.8 allows to skip the question
    mobike.updateDue = true;
    return yield* updateAddresses(world, sa);
  }
  const generation = mobike?.generation;
  const response = yield* exchange(ExchangeType.INFORMATIONAL, mobike?.decides ? natNotifies(world, sa) : []);
  if (mobike === undefined || mobike.generation !== generation) return;
  mobike.seenAt = world.now;
  const nat = mobike.decides ? natOn(sa, response.payloads, sa) : undefined;
  if (nat === undefined) return;
  const { ours, theirs } = sa.nat;
  const moved = nat.ours && mobike.seenAs !== undefined && !equalBytes(nat.seenAs, mobike.seenAs);
  if (!moved && nat.ours === ours && nat.theirs === theirs) return;
  world.notice({ kind: 'nat', ikeSa: sa.id, ours: nat.ours, theirs: nat.theirs, forced: sa.nat.forced, remapped: moved });
  mobike.updateDue = true;
  requestUpdate(world, sa);
}

/** §3.8: an end behind a NAT looks now and then even while traffic flows: the peer may follow it and leave IKE behind. */
export function isMappingDue(world: World, sa: IkeSa): boolean {
  const { mobike, nat } = sa;
  return mobike?.decides === true && nat.ours && !isOverTcp(sa) && world.now - mobike.seenAt >= MAPPING_INTERVAL;
}

function* updateAddresses(world: World, sa: IkeSa): Routine<void> {
  const mobike = sa.mobike;
  let through = false;
  try {
    while (mobike?.updateDue) {
      // §3.5: the newest counts, and what comes on an IKE SA that was replaced is older than anything on the next one
      if (sa.heir !== sa) return;
      mobike.updateDue = false;
      const { generation } = mobike;
      const cookie = mobike.traffic ? world.random.secret(COOKIE2_LENGTH) : undefined;
      const told = additionalAddresses(world, sa);
      const list = told.length + mobike.told.length > 0 ? addressList(told) : [];
      const response = yield* exchange(ExchangeType.INFORMATIONAL, [
        notify(NotifyType.UPDATE_SA_ADDRESSES),
        ...natNotifies(world, sa),
        ...list,
        ...forbidNats(sa, sa),
        ...(cookie ? [cookie2(cookie)] : []),
      ]);
      // §3.5: what was true when it was asked is no longer: the next request is under way
      if (mobike.generation !== generation) continue;
      mobike.told = told;
      if (!settleUpdate(world, sa, mobike, response, cookie)) break;
    }
    through = true;
  } finally {
    // an IKE SA that is replaced meanwhile leaves the debt to its heir
    if (!through && mobike && sa.heir !== sa) {
      mobike.updateDue = true;
      requestUpdate(world, sa.heir);
    }
  }
}

/** @returns whether the peer has taken the addresses. */
function settleUpdate(world: World, owner: IkeSa, mobike: Mobike, response: Inbound, cookie: Uint8Array | undefined): boolean {
  const sa = owner.heir;
  const refused = errorNotify(response.payloads);
  if (refused?.notify === NotifyType.UNEXPECTED_NAT_DETECTED) return tryAgain(world, sa, mobike);
  if (refused?.notify === NotifyType.UNACCEPTABLE_ADDRESSES) return giveUpPath(world, sa, 'the peer does not accept these addresses');
  if (refused) throw refusedBy(refused, 'UPDATE_SA_ADDRESSES');
  if (cookie && !returnsCookie(response.payloads, cookie)) return closeForCookie(world, sa);
  mobike.natRetries = 0;
  mobike.refused = undefined;
  if (cookie) noteVerified(mobike, sa.remote.ip);
  const before = espInUdp(sa);
  const nat = natOn(owner, response.payloads, sa);
  noteNat(world, sa, nat);
  mobike.seenAs = nat?.seenAs;
  mobike.seenAt = world.now;
  if (mobike.traffic !== undefined || before !== espInUdp(sa)) moveTraffic(world, sa);
  closeLeft(world, sa);
  const [best] = acceptablePaths(world, sa);
  if (best === undefined || samePath(best, sa)) mobike.testAfter = FIRST_TEST;
  else if (sa.timers.paths.slot < 0) world.arm(sa.timers.paths, world.now + mobike.testAfter);
  return true;
}

/** §3.9: one packet that was changed on the way must not keep a path unused; as often as a request is repeated. */
function tryAgain(world: World, sa: IkeSa, mobike: Mobike): false {
  if (mobike.natRetries >= NAT_RETRIES) {
    mobike.natRetries = 0;
    world.notice({ kind: 'failed', ikeSa: sa.id, connection: sa.connection?.name, what: 'changing addresses', error: unexpectedNat() });
    return giveUpPath(world, sa, 'addresses change on the way');
  }
  mobike.updateDue = true;
  world.arm(sa.timers.paths, world.now + FIRST_NAT_RETRY * 2 ** mobike.natRetries++);
  return false;
}

/** §3.5: other addresses, else those that were used before; where there are none, it stays and asks again some time. */
function giveUpPath(world: World, sa: IkeSa, why: string): false {
  const { mobike } = sa;
  if (mobike === undefined) return false;
  mobike.refused ??= new Map();
  mobike.refused.set(pathKey(sa), world.now + REFUSED_FOR);
  const used = trafficPath(sa);
  const paths = acceptablePaths(world, sa);
  const next = paths.find((path) => pathKey(path) === pathKey(used)) ?? paths[0];
  if (next !== undefined) changeTo(world, sa, next, why);
  else {
    mobike.updateDue = true;
    world.arm(sa.timers.paths, world.now + LONGEST_TEST);
  }
  return false;
}

/** §3.10: the answer, if it comes over the path that is tested, moves us there; else the copies over the present path are answered. */
function* testPath(world: World, sa: IkeSa): Routine<void> {
  const [best] = acceptablePaths(world, sa);
  if (best === undefined || samePath(best, sa)) return;
  yield* exchange(ExchangeType.INFORMATIONAL, natNotifies(world, sa, best), { via: pathOf(best) });
}

const NAT_RETRIES = 5;
const FIRST_NAT_RETRY: Millis = 1000;
const REFUSED_FOR: Millis = 600_000;
const LONGEST_TEST: Millis = 10 * FIRST_TEST;
const MAPPING_INTERVAL: Millis = 60_000;
