import { TimedOut, TunnelwrightError } from '../bytes/errors.ts';
import { NONE, withLast } from '../bytes/lists.ts';
import type { ChildSa } from './child-sa.ts';
import { execute } from './commands.ts';
import type { EndpointWorld } from './endpoint-world.ts';
import { expireHalfMade } from './exchanges/followup-ke.ts';
import type { IkeSa } from './ike-sa.ts';
import { reauthenticate, stillOwing } from './initiation.ts';
import { retransmit } from './outbound.ts';
import { nextRekey } from './rekey-times.ts';
import { endOfLife, requestChildDelete, requestChildRekey, requestIkeDelete, requestIkeRekey, requestLivenessCheck } from './requests.ts';
import { activateSuccessors } from './tasks/child-delete.ts';
import { idleDue } from './tasks/inactivity.ts';
import { isMappingDue, pathsDue } from './tasks/mobike-update.ts';
import { echo } from './tasks/nat-echo.ts';
import { authenticatingAnew, isServedByOld, overdue, PEER_INSTALLS, takeOver } from './tasks/reauthentication.ts';
import { transportDue } from './tasks/tcp-fallback.ts';
import { hasNewer, isKnownToPeer, stillCarrying, stillSuperseded } from './tasks/uniqueness.ts';
import type { Timer } from './timers.ts';

/** A timer is due: what it was armed for happens, if its owner still lives. */
export function fire(world: EndpointWorld, timer: Timer): void {
  if (timer.kind === 'ask') return world.asks.expire(Number(timer.owner));
  if (timer.kind === 'reconnect') {
    return reconnect(world, String(timer.owner));
  }
  const id = Number(timer.owner);
  const child = world.child(id);
  switch (timer.kind) {
    case 'rekey-child':
      if (child?.state !== 'installed') return;
      // should it fail for good, the next try still comes before the hard lifetime ends
      world.arm(timer, nextRekey(world, child.timers.expire));
      return requestChildRekey(world, child);
    case 'expire-child':
      if (child) endOfLife(world, child);
      return;
    case 'take-over':
      if (child) takeOverDue(world, child, timer);
      return;
    case 'idle-child':
      if (child) idleDue(world, child, (reason) => requestChildDelete(world, child, reason));
      return;
    case 'retire-child':
      if (child?.is('rekeyed')) {
        activateSuccessors(world, child);
        requestChildDelete(world, child, 'replaced, and the peer did not delete it');
        // one that is being deleted meanwhile goes with the answer to that (§1.4.1)
      } else if (child?.is('retired')) world.removeChild(child, 'replaced');
      return;
    default: {
      const sa = world.ikeSas.get(id);
      if (sa) fireForIkeSa(world, sa, timer);
    }
  }
}

/** A connection that cannot be dialled (its peer has no fixed address) waits for the peer instead. */
function reconnect(world: EndpointWorld, connection: string): void {
  try {
    execute(world, { kind: 'initiate', connection });
  } catch (error) {
    if (!(error instanceof TunnelwrightError)) throw error;
    world.reconnects.settled(connection);
    world.notice({ kind: 'failed', ikeSa: undefined, connection, what: `reconnecting ${connection}`, error });
  }
}

function fireForIkeSa(world: EndpointWorld, sa: IkeSa, timer: Timer): void {
  switch (timer.kind) {
    case 'retransmit':
      return retransmit(world, sa);
    case 'half-open':
      return world.kill(
        sa,
        'the initiator did not authenticate in time',
        new TimedOut('the initiator did not authenticate in time', { code: 'HALF_OPEN_TIMEOUT', section: 'RFC 7296 §2.6' }),
      );
    case 'liveness':
      return livenessDue(world, sa, timer);
    case 'rekey-ike':
      if (!sa.isEstablished) return;
      world.arm(timer, nextRekey(world, sa.timers['expire-ike']));
      // another IKE SA is about to take its place
      if (authenticatingAnew(sa)) return;
      return requestIkeRekey(world, sa);
    case 'expire-ike':
      // nobody wanted this end: where the policy brings connections back, it comes back
      sa.failure ??= lifetimeOver();
      return endIke(world, sa, sa.failure);
    case 'reauthenticate':
      if (!sa.isEstablished) return;
      if (sa.reauth.byUs) return reauthenticate(world, sa);
      return endAuthentication(world, sa, timer);
    case 'superseded': {
      const reason = stillSuperseded(world, sa);
      const look = sa.is('replaced') ? stillOwing : stillCarrying;
      const later = reason === undefined ? undefined : look(world, sa);
      if (later !== undefined) return world.arm(timer, later);
      if (reason !== undefined) requestIkeDelete(world, sa, reason);
      return;
    }
    case 'linger':
      return world.kill(sa, sa.successor ? 'replaced' : 'done');
    case 'redirect':
      return requestIkeDelete(world, sa.heir, 'it was redirected to another gateway');
    case 'follow-up':
      return expireHalfMade(world, sa);
    case 'echo':
      return echo(world, sa);
    case 'stream':
      return transportDue(world, sa);
    case 'paths':
      return pathsDue(world, sa);
    case 'retry':
      sa.jobs = withLast(sa.jobs, ...sa.deferred);
      sa.deferred = NONE;
      return world.pump(sa);
    default:
      return;
  }
}

/** Its peer has had the time to install it; unless it waits for our answer still, which is to tell of it, or is to end the old one (RFC 7296 §2.8). */
function takeOverDue(world: EndpointWorld, child: ChildSa, timer: Timer): void {
  const sa = world.ikeSas.get(child.ikeSa);
  if ((sa && !isKnownToPeer(world, sa)) || isServedByOld(world, child)) world.arm(timer, world.now + PEER_INSTALLS);
  else takeOver(world, child);
}

/** RFC 4478 §2: its time is over. Where the peer did authenticate anew, its other IKE SA stands, and the end of this one is none. */
function endAuthentication(world: EndpointWorld, sa: IkeSa, timer: Timer): void {
  const later = stillCarrying(world, sa);
  if (later !== undefined) return world.arm(timer, later);
  if (!hasNewer(world, sa)) sa.failure ??= overdue();
  requestIkeDelete(world, sa, sa.failure?.message ?? 'authenticated anew');
}

/** In an orderly way; a peer that does not answer the request before is not waited for. */
function endIke(world: EndpointWorld, sa: IkeSa, failure: TunnelwrightError): void {
  if ([...sa.window.outstanding].some((request) => request.attempts > 0)) world.kill(sa, failure.message, failure);
  else requestIkeDelete(world, sa, failure.message);
}

/** RFC 7296 §2.4: a check goes out only when nothing authentic was heard for the whole delay; the timer is not moved for every packet. */
function livenessDue(world: EndpointWorld, sa: IkeSa, timer: Timer): void {
  const delay = sa.connection?.liveness.delay ?? 0;
  if (!sa.isEstablished || delay === 0) return;
  // one sum decides and is armed: a difference may round to the other side of it, and the timer would be due for ever
  const dueAt = (sa.lastInbound ?? world.now) + delay;
  if (world.now >= dueAt || isMappingDue(world, sa)) {
    world.arm(timer, world.now + delay);
    requestLivenessCheck(world, sa);
  } else world.arm(timer, dueAt);
}

const lifetimeOver = () =>
  new TimedOut('the hard lifetime of the IKE SA is over, and no rekeying succeeded before', {
    code: 'LIFETIME_OVER',
    section: 'RFC 7296 §2.8',
    hint: 'The failed rekeyings before it say why; both ends must have a proposal in common when they rekey, too.',
  });
