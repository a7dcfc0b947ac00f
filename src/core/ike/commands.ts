import { ApiMisuse, ConfigError, NegotiationFailure, TunnelwrightError } from '../bytes/errors.ts';
import type { Address } from '../bytes/ip-address.ts';
import type { ChildSa } from './child-sa.ts';
import type { Command } from './effects.ts';
import type { EndpointWorld } from './endpoint-world.ts';
import { enqueueCreate, rekeyChild } from './exchanges/create-child-sa.ts';
import { initiateIkeAuth } from './exchanges/ike-auth.ts';
import { initiateIntermediates } from './exchanges/ike-intermediate.ts';
import { initiateIkeSaInit } from './exchanges/ike-sa-init.ts';
import { initiateSessionResume } from './exchanges/ike-session-resume.ts';
import { IkeSa } from './ike-sa.ts';
import type { ChildPolicy, Connection } from './policy.ts';
import { scheduleReconnect } from './reconnect.ts';
import type { Routine } from './routine.ts';
import { deleteHalf, endChild, protocolOf } from './tasks/child-delete.ts';
import { deleteIkeSa } from './tasks/ike-delete.ts';
import { rekeyIke } from './tasks/ike-rekey.ts';
import { checkLiveness } from './tasks/mobike-update.ts';
import { requestEcho } from './tasks/nat-echo.ts';
import { choosePpk, forgetPpk } from './tasks/ppk.ts';
import { demandAuthentication, nextAuthentication, takePlace } from './tasks/reauthentication.ts';
import { approachGateway, assertRedirectable, Redirected, redirectPeer } from './tasks/redirect.ts';
import { ticketFor } from './tasks/resumption.ts';

/** What an operator, or a timer on the operator's behalf, wants of an endpoint. */
export function execute(world: EndpointWorld, command: Command): number | undefined {
  switch (command.kind) {
    case 'initiate':
      return initiate(world, command);
    case 'create-child': {
      const sa = needIkeSa(world, command.ikeSa);
      const policy = childPolicy(needConnection(sa), command.child);
      enqueueCreate(world, sa, policy);
      return undefined;
    }
    case 'rekey-child':
      requestChildRekey(world, needChild(world, command.child));
      return undefined;
    case 'rekey-ike':
      requestIkeRekey(world, needIkeSa(world, command.ikeSa));
      return undefined;
    case 'reauthenticate': {
      const sa = needIkeSa(world, command.ikeSa);
      if (!sa.isEstablished) throw new ApiMisuse(`IKE SA ${sa.id} is not established`, { code: 'NOT_ESTABLISHED' });
      if (sa.reauth.byUs) reauthenticate(world, sa);
      else
        world.enqueue(sa, {
          what: 'demanding a new authentication',
          key: 'auth-lifetime',
          start: (owner) => demandAuthentication(world, owner),
        });
      return undefined;
    }
    case 'delete-child':
      requestChildDelete(world, needChild(world, command.child), 'deleted by the operator');
      return undefined;
    case 'delete-ike': {
      const sa = needIkeSa(world, command.ikeSa);
      // a Delete that is under way is waited for; `forget-ike` is for who cannot wait
      if (sa.is('replaced', 'deleting', 'lingering')) return undefined;
      sa.unwanted = true;
      if (!sa.isEstablished) giveUp(world, sa);
      else requestIkeDelete(world, sa, 'deleted by the operator');
      return undefined;
    }
    case 'terminate': {
      const waiting = world.reconnects.settled(command.connection);
      if (waiting) world.clear(waiting);
      for (const sa of [...world.ikeSas.values()]) {
        if (sa.connection?.name === command.connection) execute(world, { kind: 'delete-ike', ikeSa: sa.id });
      }
      return undefined;
    }
    case 'forget-ike':
      world.kill(needIkeSa(world, command.ikeSa), 'forgotten by the operator');
      return undefined;
    case 'ask-echo': {
      // it may be gone by the time the port is open
      const sa = world.ikeSas.get(command.ikeSa);
      if (sa) requestEcho(world, sa, command.local, command.seconds);
      return undefined;
    }
    case 'check-liveness':
      requestLivenessCheck(world, needIkeSa(world, command.ikeSa));
      return undefined;
    case 'redirect': {
      const sa = needIkeSa(world, command.ikeSa);
      const { gateway } = command;
      assertRedirectable(sa, gateway);
      world.enqueue(sa, {
        what: `redirecting the peer to ${gateway}`,
        key: 'redirect',
        start: (owner) => redirectPeer(world, owner, gateway),
      });
      return undefined;
    }
  }
}

/** The operator ends what has not come up yet: nobody tries again. */
function giveUp(world: EndpointWorld, sa: IkeSa): void {
  const waiting = sa.connection && world.reconnects.settled(sa.connection.name);
  if (waiting) world.clear(waiting);
  world.kill(sa, 'given up by the operator');
}

function initiate(world: EndpointWorld, command: Extract<Command, { kind: 'initiate' }>): number {
  const connection = world.connections.find((c) => c.name === command.connection);
  if (connection === undefined) throw new ApiMisuse(`there is no connection named ${command.connection}`, { code: 'NO_SUCH_CONNECTION' });
  const remote = command.remote ?? { ip: literal(connection, 'remote', connection.remoteAddresses), port: connection.remotePort };
  // one port for both roles: there is no port 500 to begin with, so everything goes through the encapsulating socket (RFC 7296 §2.23)
  const encap = connection.remotePort === connection.remoteNatPort;
  const local: Address = command.local ?? { ip: literal(connection, 'local', connection.localAddresses), port: world.ownPort(encap) };
  const policies = command.child === undefined ? wanted(connection) : [childPolicy(connection, command.child)];
  return begin(world, connection, { local, remote, encap }, policies).id;
}

/** Where a gateway sends us (RFC 5685). */
interface Detour {
  readonly gateway: string;
  /** The IKE SA on which we were told. */
  readonly via: IkeSa;
  /** The one that carries the traffic until the new one does. */
  readonly away: IkeSa | undefined;
}

/** @param of the IKE SA whose place the new one is to take */
function begin(
  world: EndpointWorld,
  connection: Connection,
  path: { readonly local: Address; readonly remote: Address; readonly encap: boolean },
  policies: readonly ChildPolicy[],
  {
    detour,
    of,
    whole = of !== undefined,
  }: { readonly detour?: Detour | undefined; readonly of?: IkeSa | undefined; readonly whole?: boolean } = {},
): IkeSa {
  const sa = new IkeSa({
    id: world.nextIkeSaId(),
    originalRole: 'initiator',
    spiI: world.random.ikeSpi(),
    spiR: new Uint8Array(8),
    ...path,
    connection,
    state: 'connecting',
    bornAt: world.now,
  });
  sa.reauth.of = of;
  world.add(sa);
  if (detour) setOut(world, detour, sa);
  const [first, ...others] = policies;
  sa.firstChild = first?.name;
  sa.running++;
  world.run(
    sa,
    establish(world, sa, connection, first, detour?.gateway, whole),
    (made) => {
      sa.running--;
      sa.firstChild = undefined;
      for (const policy of first && !made ? [first, ...others] : others) enqueueCreate(world, sa, policy);
      if (detour) enqueueArrival(world, sa, detour);
      // behind its children: what was asked for first runs first
      if (of) world.enqueue(sa, { what: 'taking over', key: 'take-place', start: (owner) => doneAtOnce(() => takePlace(world, owner)) });
      world.pump(sa);
    },
    (error) => {
      if (notResumed(sa, error)) return startWhole(world, sa, error, policies, detour);
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
  if (connection === undefined || !old.isEstablished) return;
  world.arm(old.timers.reauthenticate, nextAuthentication(world, old));
  // what is under way is waited for: an earlier attempt, or a rekeying that is about to put another IKE SA into this place
  if (old.is('rekeying') || (reauth.by !== undefined && !reauth.by.is('deleting', 'lingering', 'dead'))) return;
  const { local, remote, encap } = old;
  const standing = new Set([...old.children.values()].filter((child) => child.usable).map((child) => child.policy));
  reauth.by = begin(world, connection, { local, remote, encap }, standing.size > 0 ? [...standing] : wanted(connection), { of: old });
}

// biome-ignore lint/correctness/useYield: a routine that needs nobody else
function* doneAtOnce(act: () => void): Routine<void> {
  act();
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
    const encap = connection.remotePort === connection.remoteNatPort;
    const remote = { ip: sa.remote.ip, port: connection.remotePort };
    const to = begin(world, connection, { local: { ip: sa.local.ip, port: world.ownPort(encap) }, remote, encap }, children, {
      detour,
      whole: true,
    }).id;
    world.notice({ kind: 'not-resumed', ikeSa: sa.id, connection: connection.name, reason, to });
  }
  world.kill(sa, reason);
}

/** RFC 5685 §5: the same connection with another gateway, and the children that stand. The new IKE SA comes first, then the old one goes. */
export function follow(world: EndpointWorld, sa: IkeSa, gateway: string): void {
  const { connection, local, remote, encap } = sa;
  if (connection === undefined) return;
  const standing = [...new Set([...sa.children.values()].filter((child) => child.usable).map((child) => child.policy))];
  begin(world, connection, { local, remote, encap }, standing, { detour: { gateway, via: sa, away: sa } });
}

/** RFC 5685 §3, §6: sent away before there was a child. */
function redirected(world: EndpointWorld, sa: IkeSa, gateway: string, children: readonly ChildPolicy[], away: IkeSa | undefined): void {
  const { connection, local, remote, encap } = sa;
  sa.running--;
  if (connection) {
    const next = begin(world, connection, { local, remote, encap }, children, { detour: { gateway, via: sa, away } });
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
  const ticket = whole ? undefined : ticketFor(world, sa, connection);
  try {
    // RFC 8784 §3: a resumed IKE SA has the PPK in it already
    if (ticket === undefined) yield* choosePpk(world, sa, connection);
    const material = ticket ? yield* initiateSessionResume(world, sa, connection, ticket) : yield* initiateIkeSaInit(world, sa, connection);
    if (world.options.logKeys) world.logKeys(sa);
    world.transition(sa, 'authenticating');
    yield* initiateIntermediates(world, sa, material);
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
  if (!(error instanceof TunnelwrightError)) throw error;
}

export function requestChildRekey(world: EndpointWorld, child: ChildSa): void {
  const sa = world.ikeSas.get(child.ikeSa);
  if (sa)
    enqueueChildJob(world, sa, child, 'rekey-child', `rekeying CHILD_SA ${child.spec.name}`, (owner) => rekeyChild(world, owner, child));
}

export function requestChildDelete(world: EndpointWorld, child: ChildSa, reason: string): void {
  const sa = world.ikeSas.get(child.ikeSa);
  if (sa) enqueueChildJob(world, sa, child, 'delete-child', `deleting CHILD_SA ${child.spec.name}`, () => endChild(world, child, reason));
}

/**
 * The hard lifetime of a child is over. It carries nothing from now on, whatever is under way; the Delete follows when the window has
 * room. What is meant to be up always is made anew, unless a successor is being made already.
 */
export function endOfLife(world: EndpointWorld, child: ChildSa): void {
  const sa = world.ikeSas.get(child.ikeSa);
  if (sa === undefined || child.is('installing', 'deleting', 'retired', 'dead')) return;
  const { policy, spec } = child;
  child.wantedBack = child.usable && (policy.startAction === 'start' || policy.dpdAction === 'start');
  const rekeying = child.is('rekeying');
  const protocol = protocolOf(child);
  world.removeChild(child, 'its hard lifetime is over');
  world.enqueue(sa, {
    what: `deleting CHILD_SA ${spec.name}`,
    key: `delete-child ${child.id}`,
    ofChild: true,
    owes: { protocol: spec.protocol, spi: spec.inbound.spi },
    start: () => deleteHalf(protocol, spec.inbound.spi),
  });
  if (child.wantedBack && !rekeying) enqueueCreate(world, sa, policy);
}

export function requestIkeRekey(world: EndpointWorld, sa: IkeSa): void {
  world.enqueue(sa, { what: 'rekeying the IKE SA', key: 'rekey-ike', start: (owner) => rekeyIke(world, owner) });
}

export function requestIkeDelete(world: EndpointWorld, sa: IkeSa, reason: string): void {
  world.enqueue(sa, { what: 'deleting the IKE SA', key: 'delete-ike', start: (owner) => deleteIkeSa(world, owner, reason) });
}

export function requestLivenessCheck(world: EndpointWorld, sa: IkeSa): void {
  world.enqueue(sa, { what: 'liveness check', key: 'liveness', start: (owner) => checkLiveness(world, owner) });
}

function enqueueChildJob(
  world: EndpointWorld,
  sa: IkeSa,
  child: ChildSa,
  kind: string,
  what: string,
  start: (owner: IkeSa) => Routine<void>,
): void {
  world.enqueue(sa, { what, key: `${kind} ${child.id}`, ofChild: true, start });
}

/** `up` without a child's name brings up what is meant to be up; with nothing marked so, everything. */
function wanted({ children }: Connection): readonly ChildPolicy[] {
  const marked = children.filter((c) => c.startAction === 'start');
  return marked.length > 0 ? marked : children;
}

function childPolicy(connection: Connection, name: string): ChildPolicy {
  const policy = connection.children.find((c) => c.name === name);
  if (policy === undefined) throw new ApiMisuse(`connection ${connection.name} has no child named ${name}`, { code: 'NO_SUCH_CHILD' });
  return policy;
}

function needIkeSa(world: EndpointWorld, id: number): IkeSa {
  const sa = world.ikeSas.get(id);
  if (sa === undefined) throw new ApiMisuse(`there is no IKE SA ${id}`, { code: 'NO_SUCH_SA' });
  return sa;
}

function needChild(world: EndpointWorld, id: number): ChildSa {
  const child = world.child(id);
  if (child === undefined) throw new ApiMisuse(`there is no CHILD_SA ${id}`, { code: 'NO_SUCH_SA' });
  return child;
}

function needConnection(sa: IkeSa): Connection {
  if (sa.connection === undefined) throw new ApiMisuse(`IKE SA ${sa.id} is not established`, { code: 'NOT_ESTABLISHED' });
  return sa.connection;
}

function literal(connection: Connection, side: 'local' | 'remote', addresses: readonly string[]): string {
  const found = addresses.find((a) => a !== '%any' && !a.includes('/'));
  if (found !== undefined) return found;
  throw new ConfigError(`connection ${connection.name} names no ${side} address to ${side === 'remote' ? 'dial' : 'send from'}`, {
    code: 'NO_ADDRESS',
    path: `connections.${connection.name}.${side}_addrs`,
    hint: `Name one address in ${side}_addrs.`,
  });
}
