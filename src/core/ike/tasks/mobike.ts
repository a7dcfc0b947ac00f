import { NONE } from '../../bytes/lists.ts';
import { NotifyType, type Payload } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findNotify, notify } from '../notifies.ts';
import { isOverTcp, pathOf } from '../path.ts';
import type { Connection } from '../policy.ts';
import type { Inbound } from '../routine.ts';
import type { World } from '../world.ts';
import { addressList, contradictsHeader, copiedCookie, forbidNats, readAddressList, unexpectedNat } from './mobike-notifies.ts';
import { additionalAddresses, isAcceptable } from './mobike-paths.ts';
import { followUpdate } from './mobike-roam.ts';
import { isNewer, type Mobike, newMobike } from './mobike-state.ts';
import { reconsider } from './mobike-update.ts';
import { natNotifies, natOn, speaksNatTraversal } from './nat-detection.ts';
import { heedEcho, knowsEcho, offerEcho } from './nat-echo.ts';
import { mayRoam } from './null-authentication.ts';
import { newTcpLine } from './tcp-state.ts';

/** RFC 4555 is about tunnel mode alone (§1.2). */
export const wantsMobike = ({ mobike, children }: Connection): boolean => mobike && children.every(({ mode }) => mode === 'tunnel');

/** RFC 4555 §3.3: a peer that knows NAT traversal is spoken to on its port from IKE_AUTH on, so that no port changes later. */
export const floatsForMobike = (world: World, sa: IkeSa, connection: Connection, initResponse: readonly Payload[]): boolean =>
  wantsMobike(connection) && speaksNatTraversal(world, sa) && findNotify(initResponse, NotifyType.NAT_DETECTION_SOURCE_IP) !== undefined;

/** RFC 4555 §3.2, §3.4: beside the SA payload of IKE_AUTH. */
export function offerMobike(world: World, sa: IkeSa, connection: Connection): Payload[] {
  if (!wantsMobike(connection)) return [];
  return [notify(NotifyType.MOBIKE_SUPPORTED), ...ownList(world, sa), ...forbidNats(sa, sa), offerEcho()];
}

/** The initiator reads the answer: only both together make MOBIKE. */
export function takeMobike(world: World, sa: IkeSa, connection: Connection, payloads: readonly Payload[]): void {
  if (!wantsMobike(connection) || findNotify(payloads, NotifyType.MOBIKE_SUPPORTED) === undefined) return;
  sa.mobike = newMobike(true, sa.remote.ip, world.now);
  notePeerAddresses(sa.mobike, payloads);
  sa.mobike.told = additionalAddresses(world, sa);
  sa.mobike.echoes = knowsEcho(payloads);
  // RFC 9329 §9: back to UDP as soon as that works
  if (isOverTcp(sa) && connection.transport === 'auto') world.arm(sa.timers.paths, world.now + sa.mobike.testAfter);
}

/** Where it told of others than that which it is at. */
function notePeerAddresses(mobike: Mobike, payloads: readonly Payload[]): void {
  const others = readAddressList(payloads) ?? NONE;
  if (others.length > 0) mobike.peerAddresses = [...mobike.peerAddresses, ...others];
}

/** The responder reads the offer. Throws when the request shows that somebody changes addresses (RFC 4555 §3.9). */
export function answerMobikeOffer(world: World, sa: IkeSa, connection: Connection, request: Inbound): Payload[] {
  if (contradictsHeader(request.payloads, request.path) || isForbiddenNat(sa, connection)) throw unexpectedNat();
  if (!mayRoam(connection) || !wantsMobike(connection) || findNotify(request.payloads, NotifyType.MOBIKE_SUPPORTED) === undefined)
    return [];
  sa.mobike = newMobike(false, sa.remote.ip, world.now);
  sa.tcp ??= newTcpLine(false);
  notePeerAddresses(sa.mobike, request.payloads);
  sa.mobike.told = additionalAddresses(world, sa);
  sa.mobike.echoes = knowsEcho(request.payloads);
  return [notify(NotifyType.MOBIKE_SUPPORTED), ...ownList(world, sa), ...(sa.mobike.echoes ? [offerEcho()] : [])];
}

/**
 * What MOBIKE has to say to an INFORMATIONAL request: copies COOKIE2, hashes the addresses anew, and does what UPDATE_SA_ADDRESSES (§3.5) and
 * lists of addresses (§3.6) ask for. @returns what goes into the response; `afterwards` once it is on its way
 */
export function answerMobike(world: World, sa: IkeSa, request: Inbound): { payloads: Payload[]; afterwards: () => void } {
  const { mobike } = sa;
  const { payloads, path } = request;
  const nothing = () => undefined;
  if (mobike === undefined) return { payloads: [], afterwards: nothing };
  const cookie = copiedCookie(payloads);
  const update = !mobike.decides && findNotify(payloads, NotifyType.UPDATE_SA_ADDRESSES) !== undefined;
  const list = readAddressList(payloads);
  if ((update || list) && (contradictsHeader(payloads, path) || seesForbiddenNat(sa, request)))
    return { payloads: [notify(NotifyType.UNEXPECTED_NAT_DETECTED), ...cookie], afterwards: nothing };
  const ref = { ikeSa: sa.id, messageId: request.messageId };
  const afterwards = [() => heedEcho(world, sa, request)];
  if (update && isNewer(ref, mobike.newestUpdate)) {
    if (!isAcceptable(sa, path)) return { payloads: [notify(NotifyType.UNACCEPTABLE_ADDRESSES), ...cookie], afterwards: nothing };
    mobike.newestUpdate = ref;
    afterwards.push(() => followUpdate(world, sa, pathOf(path), natOn(sa, payloads, path)));
  }
  if (list && isNewer(ref, mobike.newestList)) {
    mobike.newestList = ref;
    mobike.peerAddresses = [path.remote.ip, ...list.filter((ip) => ip !== path.remote.ip)];
    if (mobike.decides) afterwards.push(() => reconsider(world, sa.heir, 'the peer has other addresses'));
  }
  // §3.8: whoever sends the hashes is answered with hashes
  const asked = findNotify(payloads, NotifyType.NAT_DETECTION_SOURCE_IP) !== undefined;
  return { payloads: [...(asked ? natNotifies(world, sa, path) : []), ...cookie], afterwards: () => run(afterwards) };
}

function ownList(world: World, sa: IkeSa): Payload[] {
  const additional = additionalAddresses(world, sa);
  return additional.length === 0 ? [] : addressList(additional);
}

const run = (all: readonly (() => void)[]): void => {
  for (const one of all) one();
};

/** In IKE_SA_INIT the hashes have shown one; a peer that pretends one so that ESP goes into UDP has no other way to say so. */
const isForbiddenNat = (sa: IkeSa, { natsAllowed }: Connection): boolean => natsAllowed === false && sa.nat.ours && !isOverTcp(sa);

function seesForbiddenNat(sa: IkeSa, { payloads, path }: Inbound): boolean {
  return sa.connection?.natsAllowed === false && !isOverTcp(path) && natOn(sa, payloads, path)?.ours === true;
}
