import { PeerRefused, type TunnelwrightError } from '../../bytes/errors.ts';
import { NotifyType } from '../../wire/index.ts';
import type { ChildSa } from '../child-sa.ts';
import type { IkeSa } from '../ike-sa.ts';
import { findNotify, refusedBy } from '../notifies.ts';
import type { Inbound, Reply } from '../routine.ts';
import { answerChildDeletes } from '../tasks/child-delete.ts';
import { declineVersion } from '../tasks/configuration.ts';
import { acceptToken } from '../tasks/crash-detection.ts';
import { asksForIkeDelete } from '../tasks/ike-delete.ts';
import { handOver, settleOn } from '../tasks/ike-rekey.ts';
import { answerMobike } from '../tasks/mobike.ts';
import { heedAuthLifetime, oweToOld } from '../tasks/reauthentication.ts';
import { heedSessionRedirect } from '../tasks/redirect.ts';
import { skipAsAsked } from '../tasks/replay-counter-sync.ts';
import { grantTicket } from '../tasks/resumption.ts';
import { heedWindow } from '../tasks/window-size.ts';
import type { World } from '../world.ts';
import { enqueueCreate, isBeingRekeyed } from './create-child-sa.ts';

/** INFORMATIONAL, RFC 7296 §1.4: whatever is in the request, there is an answer; an empty request asks whether we live. */
export function respondInformational(world: World, sa: IkeSa, request: Inbound): Reply {
  const { payloads } = request;
  if (asksForIkeDelete(payloads)) return { payloads: [], afterwards: () => closeByPeer(world, sa) };
  const failed = findNotify(payloads, NotifyType.AUTHENTICATION_FAILED) ?? findNotify(payloads, NotifyType.INVALID_SYNTAX);
  if (failed) {
    // §2.21.2, §2.21.3: these two end the IKE SA without a Delete
    const error = refusedBy(failed, 'what we sent');
    return { payloads: [], afterwards: () => world.linger(sa, error.message, error) };
  }
  settleOn(world, sa);
  heedAuthLifetime(world, sa, payloads);
  heedWindow(sa, payloads);
  skipAsAsked(world, sa, payloads);
  const { answers, closed } = answerChildDeletes(world, sa, payloads);
  const mobike = answerMobike(world, sa, request);
  return {
    payloads: [...answers, ...mobike.payloads, ...declineVersion(payloads), ...grantTicket(world, sa, payloads)],
    afterwards: () => {
      mobike.afterwards();
      reopen(world, sa, closed);
      acceptToken(sa, payloads);
      heedSessionRedirect(world, sa, payloads);
    },
  };
}

/**
 * What the policy wants when the peer closes a child and the IKE SA stays. What an older authentication still carries, until it goes, was not meant to
 * end: the peer could not install it, say (RFC 7296 §2.8.3).
 */
function reopen(world: World, sa: IkeSa, closed: readonly ChildSa[]): void {
  for (const child of closed) {
    if (child.standIn?.serving || (!oweToOld(world, sa, child) && child.policy.closeAction !== 'start')) continue;
    // §2.8.1: it may have been redundant; whether a successor of ours stands in its place is known when that is answered
    const { replaces } = child.spec;
    if (replaces !== undefined && isBeingRekeyed(sa, replaces)) child.wantedBack = true;
    else enqueueCreate(world, sa.heir, child.policy);
  }
}

const closeByPeer = (world: World, sa: IkeSa): void => endByPeer(world, sa, 'linger', 'deleted by the peer', closedByPeer());

/**
 * The peer has it no longer. §2.25.2: that wins over a rekeying of ours, unless the peer has made a successor that we keep.
 * @param how an IKE SA that lingers repeats its last answer, for a peer that still asks
 * @param error why it ends, where nothing else takes its place and it was to stay
 */
export function endByPeer(world: World, sa: IkeSa, how: 'linger' | 'kill', reason: string, error: TunnelwrightError): void {
  if (sa.peerSuccessor) handOver(world, sa, sa.peerSuccessor, false);
  if (sa.successor) world[how](sa, 'rekeyed');
  // §2.8.2: the peer has both answers, and keeps the SA that we asked for
  else if (sa.isUndecided) world[how](sa, 'made redundant by a crossing rekey');
  // a Delete that crosses ours: it ends for our reason, not for the peer's
  else if (sa.is('deleting')) world[how](sa, sa.failure?.message ?? 'deleted by both ends', sa.failure);
  else world[how](sa, reason, sa.failure ?? error);
}

const closedByPeer = () =>
  new PeerRefused('the peer closed the IKE SA', {
    code: 'CLOSED_BY_PEER',
    notify: 0,
    section: 'RFC 7296 §1.4.1',
    hint: 'Its log says why; connect again with `up`.',
  });
