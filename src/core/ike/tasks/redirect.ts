import { concat, EMPTY, equalBytes, fromUtf8, utf8 } from '../../bytes/bytes.ts';
import { ApiMisuse, NegotiationFailure, PeerRefused, PeerViolation, TunnelwrightError } from '../../bytes/errors.ts';
import { formatIp, tryParseIp } from '../../bytes/ip-address.ts';
import { Reader } from '../../bytes/reader.ts';
import { ExchangeType, GatewayIdType, NotifyType, type Payload } from '../../wire/index.ts';
import type { Millis } from '../effects.ts';
import type { IkeSa } from '../ike-sa.ts';
import { find, findNotify, notify } from '../notifies.ts';
import type { Connection, RedirectPolicy } from '../policy.ts';
import { ask, exchange, type Routine } from '../routine.ts';
import type { World } from '../world.ts';

/** What an IKE SA remembers of redirect (RFC 5685). Who may redirect whom is decided by who began, and an IKE rekey does not change it. */
export interface RedirectState {
  /** The peer began and announced that it follows. */
  readonly peerFollows: boolean;
  /** We began and announced it. */
  readonly weFollow: boolean;
  /** IP address of the gateway that sent the initiator here (REDIRECTED_FROM). */
  readonly from: string | undefined;
  /** Our Ni: an unprotected redirect must repeat it. */
  readonly nonce: Uint8Array | undefined;
  /** The IKE SA with the other gateway, once we follow. */
  follower?: number | undefined;
  /** How this IKE SA ended while we were on our way. */
  ended?: TunnelwrightError | undefined;
}

/** The peer wants us elsewhere: this attempt is over, another one begins at `gateway`, an IP address or a DNS name. */
export class Redirected extends PeerRefused {
  readonly gateway: string;

  constructor(gateway: string) {
    super(`the peer sends us to ${gateway}`, {
      code: 'REDIRECTED',
      notify: NotifyType.REDIRECT,
      section: 'RFC 5685 §3',
      hint: 'Connect to that gateway, or let this connection follow: redirect: accept.',
    });
    this.gateway = gateway;
  }
}

/** RFC 5685 §7: how often each connection was redirected of late. */
export class Redirects {
  readonly #taken = new Map<string, Millis[]>();

  /** @throws NegotiationFailure `REDIRECT_LOOP` when there were too many already */
  take({ name, redirect: { most, within } }: Connection, now: Millis): void {
    const recent = (this.#taken.get(name) ?? []).filter((at) => now - at < within);
    if (recent.length >= most) {
      throw new NegotiationFailure(`${name} was redirected ${recent.length} times in ${Math.round(within / 1000)} s already`, {
        code: 'REDIRECT_LOOP',
        section: 'RFC 5685 §7',
        hint: 'Do gateways redirect to one another? max_redirects and redirect_period set how much of it is followed.',
      });
    }
    this.#taken.set(name, [...recent, now]);
  }
}

/** §3: the initiator says that it follows; after a redirect REDIRECTED_FROM says it, too. */
export function announceRedirect(sa: IkeSa, connection: Connection, nonce: Uint8Array): Payload[] {
  if (!connection.redirect.follow) return [];
  const from = sa.redirect?.from;
  sa.redirect = { peerFollows: false, weFollow: true, from, nonce };
  return [from === undefined ? notify(NotifyType.REDIRECT_SUPPORTED) : notify(NotifyType.REDIRECTED_FROM, gatewayIdentity(from))];
}

/** What the responder keeps of it. */
export function noteRedirectSupport(sa: IkeSa, payloads: readonly Payload[]): void {
  const peerFollows = followsRedirects(payloads);
  sa.redirect = peerFollows ? { peerFollows, weFollow: false, from: redirectedFrom(payloads), nonce: undefined } : undefined;
}

/** §3: the answer to an IKE_SA_INIT request that takes no state here, or undefined where the initiator may stay. */
export function redirectInit(world: World, payloads: readonly Payload[], Ni: Uint8Array, ikeSas: number): Payload | undefined {
  const policy = world.options.redirect;
  if (policy?.exchange !== 'init' || !followsRedirects(payloads)) return undefined;
  const gateway = chosen(world, policy, redirectedFrom(payloads), ikeSas);
  return gateway === undefined ? undefined : notify(NotifyType.REDIRECT, concat(gatewayIdentity(gateway), Ni));
}

/**
 * §6: instead of a CHILD_SA, once both ends are proven.
 * @param wanted by whoever authorised the peer; else the policy decides
 */
export function redirectAuthenticated(world: World, sa: IkeSa, wanted: string | undefined): Payload[] {
  if (sa.redirect?.peerFollows !== true) return [];
  const policy = world.options.redirect;
  const others = world.ikeSas.size - 1;
  const gateway = wanted ?? (policy?.exchange === 'auth' ? chosen(world, policy, sa.redirect.from, others) : undefined);
  if (gateway === undefined) return [];
  sentAway(world, sa, gateway);
  return [notify(NotifyType.REDIRECT, gatewayIdentity(gateway))];
}

/** §5: in the middle of a session. The peer has time to go, then the IKE SA is deleted (`timeouts.ts`). */
export function* redirectPeer(world: World, sa: IkeSa, gateway: string): Routine<void> {
  yield* exchange(ExchangeType.INFORMATIONAL, [notify(NotifyType.REDIRECT, gatewayIdentity(gateway))]);
  sentAway(world, sa, gateway);
}

/** @throws ApiMisuse when the peer cannot be redirected (§3, §10: only the original responder may, and only whom announced it) */
export function assertRedirectable(sa: IkeSa, gateway: string): void {
  if (sa.redirect?.peerFollows !== true) {
    throw new ApiMisuse(`the peer of IKE SA ${sa.id} did not say that it follows redirects`, {
      code: 'REDIRECT_NOT_SUPPORTED',
      section: 'RFC 5685 §3',
      hint: 'Only a client that announced it when it connected can be redirected; close its IKE SA instead.',
    });
  }
  if (!isGateway(gateway))
    throw new ApiMisuse(`${gateway.slice(0, 64)} is no gateway`, { code: 'NOT_A_GATEWAY', hint: 'Name an IP address or a DNS name.' });
}

/** §3: what an initiator may believe of an unprotected redirect. Throws for what is dropped in silence. */
export function checkInitRedirect(sa: IkeSa, payloads: readonly Payload[]): void {
  const redirect = initRedirect(payloads);
  if (redirect === undefined) return;
  const nonce = sa.redirect?.weFollow ? sa.redirect.nonce : undefined;
  if (nonce === undefined) throw unasked();
  if (!equalBytes(parseRedirect(redirect.data).nonce, nonce)) throw malformed('its nonce is not ours', '§3');
}

/** The answer to IKE_SA_INIT, checked by `checkInitRedirect` before. @throws Redirected, NegotiationFailure */
export function heedInitRedirect(world: World, connection: Connection, payloads: readonly Payload[]): void {
  const redirect = initRedirect(payloads);
  if (redirect === undefined) return;
  const { gateway } = parseRedirect(redirect.data);
  world.redirects.take(connection, world.now);
  throw new Redirected(gateway);
}

/** §6: the first or the last answer of IKE_AUTH, once the gateway is proven. @throws Redirected, NegotiationFailure, PeerViolation */
export function heedAuthRedirect(world: World, sa: IkeSa, connection: Connection, payloads: readonly Payload[]): void {
  const redirect = findNotify(payloads, NotifyType.REDIRECT);
  if (redirect === undefined) return;
  if (sa.redirect?.weFollow !== true) throw unasked();
  const { gateway } = parseRedirect(redirect.data, 'no nonce');
  world.redirects.take(connection, world.now);
  throw new Redirected(gateway);
}

/** §5: goes where the gateway of an IKE SA that stands sends us; what cannot be followed is noticed, and the IKE SA stays. */
export function heedSessionRedirect(world: World, sa: IkeSa, payloads: readonly Payload[]): void {
  const redirect = findNotify(payloads, NotifyType.REDIRECT);
  const { connection } = sa;
  if (redirect === undefined || connection === undefined || isFollowed(world, sa)) return;
  try {
    if (sa.redirect?.weFollow !== true) throw unasked();
    const { gateway } = parseRedirect(redirect.data, 'no nonce');
    world.redirects.take(connection, world.now);
    world.follow(sa, gateway);
  } catch (error) {
    if (!(error instanceof TunnelwrightError)) throw error;
    world.notice({ kind: 'failed', ikeSa: sa.id, connection: connection.name, what: 'following a redirect', error });
  }
}

/** An IKE SA whose place another gateway is about to take ends: that is no reason to connect anew, unless the other is not reached. */
export function putOffReconnect(world: World, sa: IkeSa, error: TunnelwrightError): boolean {
  if (sa.redirect === undefined || !isFollowed(world, sa)) return false;
  sa.redirect.ended = error;
  return true;
}

const isFollowed = (world: World, { redirect }: IkeSa): boolean => redirect?.follower !== undefined && world.ikeSas.has(redirect.follower);

/** The address of a gateway, and from where it is reached: only the world knows. */
export function* approachGateway(world: World, sa: IkeSa, connection: Connection, gateway: string): Routine<void> {
  const found = yield* ask({ kind: 'approach', connection: connection.name, gateway });
  if (!found.ok) throw found.error;
  if (!isDialable(found.remote.ip)) throw malformed(`${gateway} is ${found.remote.ip}, which is nobody's address`, '§9.2');
  world.moved(sa, { local: found.local, remote: found.remote, encap: connection.remotePort === connection.remoteNatPort });
}

/** RFC 5685 §9.2: type, length, identity; what may be sent to a peer as its new gateway. */
export const isGateway = (text: string): boolean => {
  const ip = tryParseIp(text);
  return ip === undefined ? HOST_NAME.test(text) : isDialable(text);
};

function sentAway(world: World, sa: IkeSa, gateway: string): void {
  world.arm(sa.timers.redirect, world.now + (world.options.redirect?.grace ?? GRACE));
  world.notice({ kind: 'redirected', ikeSa: sa.id, connection: sa.connection?.name, gateway, byUs: true, to: undefined });
}

/** @param from who sent the peer here is not where it is sent because of load: two full gateways would play ball with it */
function chosen(world: World, { to, when }: RedirectPolicy, from: string | undefined, ikeSas: number): string | undefined {
  if (when.kind === 'over' && ikeSas < when.ikeSas) return undefined;
  const others = when.kind === 'over' ? to.filter((gateway) => gateway !== from) : to;
  return others[Math.floor(world.random.jitter() * others.length)];
}

const followsRedirects = (payloads: readonly Payload[]): boolean =>
  findNotify(payloads, NotifyType.REDIRECT_SUPPORTED) !== undefined || findNotify(payloads, NotifyType.REDIRECTED_FROM) !== undefined;

/** A hint, and not worth a refusal when it makes no sense. */
function redirectedFrom(payloads: readonly Payload[]): string | undefined {
  const data = findNotify(payloads, NotifyType.REDIRECTED_FROM)?.data ?? EMPTY;
  const ip = data.subarray(2);
  const fits = (data[0] === GatewayIdType.IPV4 && ip.length === 4) || (data[0] === GatewayIdType.IPV6 && ip.length === 16);
  return fits && data[1] === ip.length ? formatIp(ip) : undefined;
}

/** A redirect in IKE_SA_INIT, or what takes its place, comes alone (§3); beside Nr it means nothing. */
const initRedirect = (payloads: readonly Payload[]) =>
  find(payloads, 'Nonce') === undefined ? findNotify(payloads, NotifyType.REDIRECT) : undefined;

function gatewayIdentity(gateway: string): Uint8Array {
  const ip = tryParseIp(gateway);
  const type = ip === undefined ? GatewayIdType.FQDN : ip.length === 4 ? GatewayIdType.IPV4 : GatewayIdType.IPV6;
  const identity = ip ?? utf8(gateway);
  return concat(Uint8Array.of(type, identity.length), identity);
}

/** §9.2: only an answer to IKE_SA_INIT carries a nonce. */
function parseRedirect(data: Uint8Array, nonces?: 'no nonce'): { readonly gateway: string; readonly nonce: Uint8Array } {
  const r = new Reader(data);
  if (r.remaining < 2 || r.remaining < 2 + data[1]!) throw malformed('it ends in the middle of the identity', '§9.2');
  const type = r.u8('GW Ident Type');
  const identity = r.bytes(r.u8('GW Ident Len'), 'New Responder GW Identity');
  const nonce = r.rest();
  if (nonces === 'no nonce' && nonce.length > 0) throw malformed('it carries a nonce where none may be', '§9.2');
  const gateway = gatewayText(type, identity);
  if (gateway === undefined || !isGateway(gateway)) throw malformed('it names no gateway that could be reached', '§9.2');
  return { gateway, nonce };
}

function gatewayText(type: number, identity: Uint8Array): string | undefined {
  if (type === GatewayIdType.FQDN) return fromUtf8(identity);
  const fits = (type === GatewayIdType.IPV4 && identity.length === 4) || (type === GatewayIdType.IPV6 && identity.length === 16);
  return fits ? formatIp(identity) : undefined;
}

/** Not the unspecified address, not everybody's. */
function isDialable(ip: string): boolean {
  const octets = tryParseIp(ip);
  if (octets === undefined || octets.every((octet) => octet === 0)) return false;
  return octets.length === 4 ? octets[0]! !== 0 && octets[0]! < 224 : octets[0] !== 0xff;
}

const malformed = (what: string, section: string): PeerViolation =>
  new PeerViolation(`a redirect of the peer cannot be followed: ${what}`, { code: 'BAD_REDIRECT', section: `RFC 5685 ${section}` });

const unasked = (): PeerViolation =>
  new PeerViolation('the peer redirects us although we did not offer to follow', {
    code: 'REDIRECT_UNASKED',
    section: 'RFC 5685 §3',
    hint: 'Set redirect: accept for this connection if it should go where its gateway sends it.',
  });

const HOST_NAME = /^(?=.{1,253}$)(?=.*[a-z])[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_][a-z0-9_-]{0,62})*\.?$/i;
/** Time for the peer to settle at the other gateway (§5). */
const GRACE: Millis = 30_000;
