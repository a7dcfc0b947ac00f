import { NegotiationFailure, TunnelwrightError } from '../bytes/errors.ts';
import { NONE, withLast } from '../bytes/lists.ts';
import type { Millis } from './effects.ts';
import type { EndpointWorld } from './endpoint-world.ts';
import { enqueueCreate, isBeingMade } from './exchanges/create-child-sa.ts';
import { initiateIkeAuth } from './exchanges/ike-auth.ts';
import { initiateIntermediates } from './exchanges/ike-intermediate.ts';
import { initiateIkeSaInit } from './exchanges/ike-sa-init.ts';
import { initiateSessionResume } from './exchanges/ike-session-resume.ts';
import { IkeSa, type Job } from './ike-sa.ts';
import { isOverTcp, type Path } from './path.ts';
import type { ChildPolicy, Connection } from './policy.ts';
import { scheduleReconnect } from './reconnect.ts';
import { requestIkeDelete } from './requests.ts';
import type { Routine } from './routine.ts';
import { type AddressPairs, isLost, nextPair, pairsFor, withOtherPairs } from './tasks/address-pairs.ts';
import { choosePpk, forgetPpk } from './tasks/ppk.ts';
import { authenticatingAnew, nextAuthentication, takePlace } from './tasks/reauthentication.ts';
import { approachGateway, Redirected } from './tasks/redirect.ts';
import { ticketFor } from './tasks/resumption.ts';
import { afresh, decideTransport, firstPath, turnsToTcp, watchForAnswer, withOtherTransport, yieldsTo } from './tasks/tcp-fallback.ts';
import { openFirstStream } from './tasks/tcp-streams.ts';

interface Beginning {
  readonly detour?: Detour | undefined;
  /** The IKE SA whose place the new one is to take. */
  readonly of?: IkeSa | undefined;
  /** Without a ticket. */
  readonly whole?: boolean;
  /** The one that asks for the same over UDP. */
  readonly beside?: IkeSa | undefined;
  /** Absent: those that the configuration gives. */
  readonly pairs?: AddressPairs | undefined;
}

/** Where a gateway sends us (RFC 5685). */
interface Detour {
  readonly gateway: string;
  /** The IKE SA on which we were told. */
  readonly via: IkeSa;
  /** The one that carries the traffic until the new one does. */
  readonly away: IkeSa | undefined;
}

/**
 * Begins an IKE SA with its children: IKE_SA_INIT or a ticket, IKE_AUTH, then what is left of the children by CREATE_CHILD_SA.
 * @param of the IKE SA whose place the new one is to take
 */
export function begin(
  world: EndpointWorld,
  connection: Connection,
  path: Path,
  policies: readonly ChildPolicy[],
  { detour, of, whole = of !== undefined, beside, pairs }: Beginning = {},
): IkeSa {
  const sa = new IkeSa({
    id: world.nextIkeSaId(),
    originalRole: 'initiator',
    spiI: world.allocateIkeSpi(),
    spiR: new Uint8Array(8),
    ...path,
    connection,
    state: 'connecting',
    bornAt: world.now,
  });
  sa.reauth.of = of;
  world.add(sa);
  sa.pairs = pairs ?? beside?.pairs ?? (detour ? undefined : pairsFor(world, sa));
  if (beside) sa.redirect = beside.redirect;
  else if (detour) setOut(world, detour, sa);
  watchForAnswer(world, sa, connection, beside, (over) =>
    begin(world, connection, over, policies, { detour, of, whole: true, beside: sa }),
  );
  const [first, ...others] = policies;
  sa.firstChild = first?.name;
  sa.running++;
  world.run(
    sa,
    establish(world, sa, connection, first, beside ? undefined : detour?.gateway, whole),
    (made) => {
      sa.running--;
      sa.firstChild = undefined;
      for (const policy of first && !made ? [first, ...others] : others) enqueueCreate(world, sa, policy);
      if (detour) enqueueArrival(world, sa, detour);
      // behind its children: what was asked for first runs first
      if (of) world.enqueue(sa, takingOver(world, true));
      world.pump(sa);
    },
    (failure) => {
      if (yieldsTo(world, sa, failure) || turnsToTcp(world, sa, failure)) return;
      const error = withOtherPairs(sa, withOtherTransport(sa, failure));
      if (notResumed(sa, error) && !isLost(world, sa)) return startWhole(world, sa, error, policies, detour);
      const next = nextPair(sa, error);
      if (next) return tryNext(world, sa, next, policies, { of, whole });
      if (error instanceof Redirected) return redirected(world, sa, error.gateway, policies, detour?.away ?? of);
      if (error instanceof TunnelwrightError) {
        const what = of ? `authenticating ${connection.name} anew` : `connecting ${connection.name}`;
        world.notice({ kind: 'failed', ikeSa: sa.id, connection: connection.name, what, error });
      }
      abandon(world, sa, error);
      if (detour) strayed(world, detour);
    },
  );
  return sa;
}

/** The new IKE SA comes first, the old one serves until that one carries its children (RFC 7296 §2.8.3). Failing that, it is tried again. */
export function reauthenticate(world: EndpointWorld, old: IkeSa): void {
  const { connection, reauth } = old;
  if (connection === undefined || !old.isEstablished || old.unwanted) return;
  world.arm(old.timers.reauthenticate, nextAuthentication(world, old));
  // what is under way is waited for: an earlier attempt, its own taking over, or a rekeying that is about to put another IKE SA into this place
  if (reauth.of?.heir.isEstablished || old.is('rekeying') || old.isUndecided || authenticatingAnew(old)) return;
  const standing = old.children.filter((child) => child.usable).map((child) => child.policy);
  const coming = connection.children.filter(({ name }) => isBeingMade(old, name));
  const children = standing.length > 0 ? [...new Set([...standing, ...coming])] : wanted(connection);
  reauth.by = begin(world, connection, afresh(world, old, connection), children, { of: old });
}

/** A restart came between the new authentication and its end: what the new IKE SA lacks is made, then the old one goes. */
export function resumeTakingOver(world: EndpointWorld, sa: IkeSa, old: IkeSa): void {
  sa.reauth.of = old;
  old.reauth.by = sa;
  world.enqueue(sa, takingOver(world, true));
}

// biome-ignore lint/correctness/useYield: a routine that needs nobody else
function* doneAtOnce(act: () => void): Routine<void> {
  act();
}

/**
 * The new IKE SA carries what the old one carries before that one goes. What fails is made once more, then the whole authentication; a child
 * that never comes does not hold it up for ever.
 */
const takingOver = (world: EndpointWorld, again: boolean): Job => ({
  what: 'taking over',
  key: 'take-place',
  start: (sa) =>
    doneAtOnce(() => {
      const old = sa.reauth.of?.heir;
      // its own rekeying puts another IKE SA into that place, which is the one to go; and what is being installed may be what is lacking
      if (old?.is('rekeying') || isInstalling(sa) || (old && isInstalling(old))) return takeOverLater(world, sa, again);
      const lacking = lackingOf(sa, old);
      if (old === undefined || lacking.length === 0 || old.reauth.incomplete >= MOST_INCOMPLETE) return takePlace(world, sa);
      // the peer could not, and is asked again in a while
      if (lacking.some(({ name }) => isBeingMade(sa, name))) takeOverLater(world, sa, again);
      else if (again) {
        for (const policy of lacking) enqueueCreate(world, sa, policy);
        world.enqueue(sa, takingOver(world, false));
      } else {
        old.reauth.incomplete++;
        requestIkeDelete(world, sa, 'it could not take all children along');
      }
    }),
});

/** Behind what is tried again by then, or waits for its turn already. */
function takeOverLater(world: EndpointWorld, sa: IkeSa, again: boolean): void {
  sa.deferred = withLast(sa.deferred, takingOver(world, again));
  if (sa.timers.retry.slot < 0) world.arm(sa.timers.retry, world.now + SETTLES);
}

const isInstalling = (sa: IkeSa): boolean => sa.children.some((child) => child.is('installing'));

/** What an old IKE SA carries and this one does not. */
function lackingOf(sa: IkeSa, old: IkeSa | undefined): readonly ChildPolicy[] {
  const usable = (one: IkeSa | undefined) => new Set((one?.children ?? []).filter((c) => c.usable).map((c) => c.policy));
  const made = usable(sa);
  return [...usable(old)].filter((policy) => !made.has(policy));
}

/**
 * An IKE SA is about to go whose place a new authentication has taken. What the peer deleted there since is made again before: until then the old one
 * carries the traffic. @returns when to look again; undefined where there is nothing to wait for
 */
export function stillOwing(world: EndpointWorld, old: IkeSa): Millis | undefined {
  const { heir, reauth } = old;
  if (heir === old || !heir.isEstablished || reauth.incomplete >= MOST_INCOMPLETE) return undefined;
  const lacking = lackingOf(heir, old).filter((policy) => reauth.owed.includes(policy));
  if (lacking.length === 0) return undefined;
  reauth.incomplete++;
  for (const policy of lacking) if (!isBeingMade(heir, policy.name)) enqueueCreate(world, heir, policy);
  return world.now + REMADE;
}

/** RFC 5723 §4.3.2: a ticket that is not taken, for whatever reason, costs no more than the time until we know. */
const notResumed = (sa: IkeSa, error: unknown): error is TunnelwrightError =>
  sa.resumption?.session !== undefined &&
  sa.establishedAt === undefined &&
  error instanceof TunnelwrightError &&
  !(error instanceof Redirected);

function startWhole(
  world: EndpointWorld,
  sa: IkeSa,
  { message: reason }: TunnelwrightError,
  children: readonly ChildPolicy[],
  detour: Detour | undefined,
): void {
  const { connection } = sa;
  sa.running--;
  if (connection) {
    const to = begin(world, connection, firstPath(world, connection, sa.local.ip, sa.remote.ip), children, { detour, whole: true }).id;
    world.notice({ kind: 'not-resumed', ikeSa: sa.id, connection: connection.name, reason, to });
  }
  world.kill(sa, reason);
}

/** RFC 4555 §3.1: the same over another pair of addresses, as an IKE SA of its own: a late answer to this one must not be taken for its. */
function tryNext(
  world: EndpointWorld,
  sa: IkeSa,
  { path, pairs }: { readonly path: Path; readonly pairs: AddressPairs },
  policies: readonly ChildPolicy[],
  { of, whole }: { readonly of: IkeSa | undefined; readonly whole: boolean },
): void {
  const { connection, packet } = sa;
  const lost = isLost(world, sa);
  sa.running--;
  if (connection) {
    const next = begin(world, connection, path, policies, { of, whole, pairs });
    next.jobs = withLast(next.jobs, ...sa.jobs);
    sa.jobs = NONE;
    next.packet = packet;
    if (of) of.reauth.by = next;
    world.notice({
      kind: 'trying-address',
      ikeSa: sa.id,
      connection: connection.name,
      silent: sa.remote,
      lost: lost ? sa.local : undefined,
      local: path.local,
      remote: path.remote,
      to: next.id,
    });
  }
  const why = lost ? `our address ${sa.local.ip} is gone` : `no answer from ${sa.remote.ip}`;
  world.kill(sa, `${why}, so ${(lost ? path.local : path.remote).ip} is tried`);
}

/** RFC 5685 §5: the same connection with another gateway, and the children that stand. The new IKE SA comes first, then the old one goes. */
export function follow(world: EndpointWorld, sa: IkeSa, gateway: string): void {
  const { connection } = sa;
  if (connection === undefined) return;
  const standing = [...new Set(sa.children.filter((child) => child.usable).map((child) => child.policy))];
  begin(world, connection, afresh(world, sa, connection), standing, { detour: { gateway, via: sa, away: sa } });
}

/** RFC 5685 §3, §6: sent away before there was a child. */
function redirected(world: EndpointWorld, sa: IkeSa, gateway: string, children: readonly ChildPolicy[], away: IkeSa | undefined): void {
  const { connection } = sa;
  sa.running--;
  if (connection) {
    const next = begin(world, connection, afresh(world, sa, connection), children, { detour: { gateway, via: sa, away } });
    if (away) away.reauth.by = next;
  }
  const reason = `redirected to ${gateway}`;
  if (sa.isEstablished) requestIkeDelete(world, sa, reason);
  else world.kill(sa, reason);
}

function setOut(world: EndpointWorld, { gateway, via, away }: Detour, sa: IkeSa): void {
  sa.redirect = { peerFollows: false, weFollow: true, from: via.remote.ip, nonce: undefined };
  if (away?.redirect) away.redirect.follower = sa.id;
  world.notice({ kind: 'redirected', ikeSa: via.id, connection: via.connection?.name, gateway, byUs: false, to: sa.id });
}

/** Behind the children that are still to be made: the old gateway is left when the new one carries them. */
function enqueueArrival(world: EndpointWorld, sa: IkeSa, { gateway, away }: Detour): void {
  world.enqueue(sa, {
    what: 'leaving the gateway that redirected us',
    key: 'arrived',
    // biome-ignore lint/correctness/useYield: it only waits for its turn
    start: function* () {
      const old = away?.heir;
      if (old?.isEstablished) requestIkeDelete(world, old, `redirected to ${gateway}`);
    },
  });
}

/** The other gateway was not reached. Where the first one has closed meanwhile, its end counts now. */
function strayed(world: EndpointWorld, { away }: Detour): void {
  if (away?.redirect === undefined) return;
  const { ended } = away.redirect;
  away.redirect.follower = undefined;
  if (ended) scheduleReconnect(world, away, ended);
}

/** @returns whether the first child was made along with the IKE SA. */
function* establish(
  world: EndpointWorld,
  sa: IkeSa,
  connection: Connection,
  policy: ChildPolicy | undefined,
  gateway: string | undefined,
  whole: boolean,
): Routine<boolean> {
  if (gateway !== undefined) yield* approachGateway(world, sa, connection, gateway);
  if (isOverTcp(sa) || connection.transport === 'tcp') yield* openFirstStream(world, sa, connection);
  const ticket = whole ? undefined : ticketFor(world, sa, connection);
  try {
    // RFC 8784 §3: a resumed IKE SA has the PPK in it already
    if (ticket === undefined) yield* choosePpk(world, sa, connection);
    const material = ticket ? yield* initiateSessionResume(world, sa, connection, ticket) : yield* initiateIkeSaInit(world, sa, connection);
    decideTransport(world, sa);
    if (world.options.logKeys) world.logKeys(sa);
    world.transition(sa, 'authenticating');
    yield* initiateIntermediates(world, sa, connection, material);
    const childless = goesChildless(sa, connection);
    return yield* initiateIkeAuth(world, sa, connection, childless ? undefined : policy, material);
  } finally {
    forgetPpk(sa);
  }
}

/** RFC 6023: the first child comes by CREATE_CHILD_SA, with a key exchange of its own. */
function goesChildless(sa: IkeSa, { name, childless }: Connection): boolean {
  if (childless === 'force' && !sa.peer.childless) {
    throw new NegotiationFailure(`the peer does not make IKE SAs without a child, which ${name} insists on`, {
      code: 'CHILDLESS_NOT_SUPPORTED',
      section: 'RFC 6023 §3',
      hint: 'Set childless: prefer.',
    });
  }
  return sa.peer.childless && (childless === 'prefer' || childless === 'force');
}

/** An IKE SA without the traffic it was made for is of no use; one that stands is deleted so that the peer frees it as well. */
function abandon(world: EndpointWorld, sa: IkeSa, error: unknown): void {
  sa.running--;
  if (!sa.isEstablished) return world.kill(sa, error instanceof Error ? error.message : 'failed', error);
  sa.failure = error instanceof TunnelwrightError ? error : undefined;
  requestIkeDelete(world, sa, error instanceof Error ? error.message : 'failed');
  // its Delete may have been waiting already
  world.pump(sa);
  if (!(error instanceof TunnelwrightError)) throw error;
}

/** `up` without a child's name brings up what is meant to be up; with nothing marked so, everything. */
export function wanted({ children }: Connection): readonly ChildPolicy[] {
  const marked = children.filter((c) => c.startAction === 'start');
  return marked.length > 0 ? marked : children;
}

const MOST_INCOMPLETE = 3;

/** A round trip or two. */
const SETTLES: Millis = 500;
/** A CREATE_CHILD_SA exchange, with what of it is lost, and the installing of what it makes. */
const REMADE: Millis = 5000;
