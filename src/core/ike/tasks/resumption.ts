import { concat, equalBytes, fromUtf8 } from '../../bytes/bytes.ts';
import { AuthenticationFailure, NegotiationFailure, PeerRefused, type TunnelwrightError } from '../../bytes/errors.ts';
import { Reader } from '../../bytes/reader.ts';
import { Writer } from '../../bytes/writer.ts';
import { equalSecrets, zeroise } from '../../crypto/index.ts';
import { AuthMethod, ExchangeType, type Identification, IdType, NotifyType, type Payload } from '../../wire/index.ts';
import type { Millis } from '../effects.ts';
import { sameIdentity } from '../identity.ts';
import type { IkeSa } from '../ike-sa.ts';
import { type IkeSuite, prfOf } from '../keys.ts';
import { find, findNotify, need, notify } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { exchange, type Routine } from '../routine.ts';
import { type AuthMaterial, signedOctets } from '../signed-octets.ts';
import type { World } from '../world.ts';
import { policyDigest, samePolicy, type TicketState, ticketId } from './tickets.ts';

/** What an IKE SA remembers of session resumption (RFC 5723). */
export interface ResumptionState {
  /** It goes on from this one: identities and methods are those of the ticket (§5). Undefined after a whole authentication. */
  readonly session: ResumedSession | undefined;
  /** When its peer last authenticated in full; wall clock, milliseconds since 1970. */
  authenticatedAt: number | undefined;
  /** The ticket that the peer holds of us, and when it expires. */
  given?: { readonly id: string; readonly expires: number } | undefined;
  /** We hold one of the peer. */
  holds?: boolean | undefined;
}

export interface ResumedSession {
  readonly localId: Identification;
  readonly remoteId: Identification;
  readonly localAuth: string;
  readonly remoteAuth: string;
  /** The IKE SA of the ticket (§5, note 4). */
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
  /** Of a ticket of ours that is used here. */
  readonly ticket: { readonly id: string; readonly expires: number } | undefined;
}

/** What a client keeps to resume with (§4.2): the ticket, which it cannot read, and its own half of what is in it. A secret. */
export interface HeldTicket {
  /** The IKE SA it belongs to; another life of this process knows it by other numbers. */
  readonly ikeSa: number | undefined;
  readonly gateway: string;
  readonly opaque: Uint8Array;
  /** Of the clock of this endpoint. */
  readonly expires: Millis;
  readonly suite: IkeSuite;
  readonly SK_d: Uint8Array;
  readonly session: Omit<ResumedSession, 'ticket'>;
}

/** The tickets of a client, one for each connection. */
export class TicketWallet {
  readonly #held = new Map<string, HeldTicket>();

  get all(): Iterable<readonly [string, HeldTicket]> {
    return this.#held;
  }

  of(connection: string): HeldTicket | undefined {
    return this.#held.get(connection);
  }

  put(connection: string, ticket: HeldTicket): void {
    this.drop(connection);
    this.#held.set(connection, ticket);
  }

  drop(connection: string): void {
    const held = this.take(connection);
    zeroise(held?.SK_d);
  }

  /** §4.3.1: to be used once; whoever takes it overwrites it. */
  take(connection: string): HeldTicket | undefined {
    const held = this.#held.get(connection);
    this.#held.delete(connection);
    return held;
  }
}

/** §4.3.1: a ticket for this gateway that is still good, and whose IKE SA is gone. It leaves the wallet. */
export function ticketFor(world: World, sa: IkeSa, connection: Connection): HeldTicket | undefined {
  const held = world.wallet.of(connection.name);
  if (held === undefined || !connection.resumption || held.gateway !== sa.remote.ip) return undefined;
  if (held.ikeSa !== undefined && world.ikeSas.get(held.ikeSa)?.isEstablished) return undefined;
  const good = held.expires - world.now > NEARLY_OVER;
  if (!good) world.wallet.drop(connection.name);
  return good ? world.wallet.take(connection.name) : undefined;
}

/** The tickets of a client as plain data; SK_d is in them. */
export function snapshotWallet(world: World): readonly WalletSnapshot[] {
  return [...world.wallet.all].map(([connection, held]) => {
    const { gateway, opaque, expires, suite, SK_d, session } = held;
    return { connection, gateway, opaque, left: expires - world.now, suite, SK_d: SK_d.slice(), session };
  });
}

/** Behind the IKE SAs: a ticket belongs to the one that has its SPIs. */
export function restoreWallet(world: World, saved: readonly WalletSnapshot[]): void {
  for (const { connection, left, session, SK_d, ...rest } of saved) {
    const owner = [...world.ikeSas.values()].find((sa) => equalBytes(sa.spiI, session.spiI) && equalBytes(sa.spiR, session.spiR));
    if (left > 0) world.wallet.put(connection, { ...rest, SK_d: SK_d.slice(), session, ikeSa: owner?.id, expires: world.now + left });
  }
}

export interface WalletSnapshot extends Omit<HeldTicket, 'ikeSa' | 'expires'> {
  readonly connection: string;
  /** Milliseconds. */
  readonly left: Millis;
}

/** §4.1: in the first request of IKE_AUTH. */
export const ticketRequest = (connection: Connection): Payload[] => (connection.resumption ? [notify(NotifyType.TICKET_REQUEST)] : []);

/** §4.2: what the gateway answered to it. A ticket replaces the one before; one that comes unasked is left alone. */
export function acceptTicket(world: World, sa: IkeSa, payloads: readonly Payload[]): void {
  const { connection, localId, remoteId, localAuth, remoteAuth, spiI, spiR } = sa;
  if (connection === undefined || !connection.resumption || localId === undefined || remoteId === undefined) return;
  world.wallet.drop(connection.name);
  const later = findNotify(payloads, NotifyType.TICKET_ACK);
  if (later) return askForTicket(world, sa);
  const data = findNotify(payloads, NotifyType.TICKET_LT_OPAQUE)?.data;
  if (data === undefined || data.length <= LIFETIME || data.length > LARGEST) return;
  const seconds = new Reader(data).u32('Lifetime');
  const session = { localId, remoteId, localAuth, remoteAuth, spiI, spiR };
  const { suite, SK_d } = sa.keys;
  world.wallet.put(connection.name, {
    ikeSa: sa.id,
    gateway: sa.remote.ip,
    opaque: data.slice(LIFETIME),
    expires: world.now + Math.min(seconds * 1000, LONGEST),
    suite,
    SK_d: SK_d.slice(),
    session,
  });
  sa.resumption = { session: sa.resumption?.session, authenticatedAt: sa.resumption?.authenticatedAt, holds: true };
}

/** §4.1: in an exchange of its own, after an IKE rekey, or when the gateway said "later". */
function askForTicket(world: World, sa: IkeSa): void {
  world.enqueue(sa, { what: 'a ticket for session resumption', key: 'ticket', start: (owner) => requestTicket(world, owner) });
}

function* requestTicket(world: World, sa: IkeSa): Routine<void> {
  const { payloads } = yield* exchange(ExchangeType.INFORMATIONAL, [notify(NotifyType.TICKET_REQUEST)]);
  // "later" for a second time is no
  if (findNotify(payloads, NotifyType.TICKET_ACK) === undefined) acceptTicket(world, sa, payloads);
}

/** §4.1: the answer to TICKET_REQUEST, wherever it came; nothing where none came. */
export function grantTicket(world: World, sa: IkeSa, payloads: readonly Payload[]): Payload[] {
  if (findNotify(payloads, NotifyType.TICKET_REQUEST) === undefined) return [];
  const { connection, localId, remoteId } = sa;
  if (!connection?.resumption || localId === undefined || remoteId === undefined) return [notify(NotifyType.TICKET_NACK)];
  const wall = world.wall();
  const authenticatedAt = sa.resumption?.authenticatedAt ?? wall;
  const lifetime = ticketLifetime(connection, wall - authenticatedAt);
  if (lifetime < NEARLY_OVER) return [notify(NotifyType.TICKET_NACK)];
  revokeTicket(world, sa);
  const state: TicketState = {
    connection: connection.name,
    policy: policyDigest(connection),
    suite: sa.keys.suite,
    SK_d: sa.keys.SK_d,
    takerId: remoteId,
    giverId: localId,
    takerAuth: sa.remoteAuth,
    giverAuth: sa.localAuth,
    spiI: sa.spiI,
    spiR: sa.spiR,
    authenticatedAt,
    expires: wall + lifetime,
  };
  const ticket = world.tickets.seal(state, wall);
  sa.resumption = { session: sa.resumption?.session, authenticatedAt, given: { id: ticketId(ticket), expires: state.expires } };
  return [notify(NotifyType.TICKET_LT_OPAQUE, concat(new Writer(LIFETIME).u32(Math.floor(lifetime / 1000)).finish(), ticket))];
}

/** §4.1: in an IKE rekey; the IKE SA that a ticket would be for is not made yet, so it is to be asked for on that one. */
export const promiseTicket = (payloads: readonly Payload[]): Payload[] =>
  findNotify(payloads, NotifyType.TICKET_REQUEST) ? [notify(NotifyType.TICKET_ACK)] : [];

/** §6.2: no longer than the IKE SA would live, nor than the peer may go without authenticating anew. */
function ticketLifetime({ lifetimes: { hard, reauth } }: Connection, since: Millis): Millis {
  return Math.min(LONGEST, hard > 0 ? hard : LONGEST, reauth > 0 ? reauth - since : LONGEST);
}

/** The state of a ticket that was presented, and the connection it is for. @throws NegotiationFailure TICKET_NACK (§4.3.2) */
export function openTicket(
  world: World,
  connections: readonly Connection[],
  payloads: readonly Payload[],
): { readonly connection: Connection; readonly state: TicketState; readonly id: string } {
  const opaque = findNotify(payloads, NotifyType.TICKET_OPAQUE)?.data;
  const state = opaque && world.tickets.open(opaque, world.wall());
  if (state === undefined || opaque === undefined) throw refused('it is not ours, expired, or was used before');
  const connection = connections.find(({ name }) => name === state.connection);
  if (connection?.resumption && samePolicy(state, connection)) return { connection, state, id: ticketId(opaque) };
  zeroise(state.SK_d);
  throw refused(
    connection === undefined
      ? `there is no connection ${state.connection} for this peer any more`
      : `connection ${connection.name} is another one by now`,
  );
}

/** §4.3.3: AUTH = prf(SK_px, octets); identities are those of the ticket, and no certificate goes along. */
export function proveResumed(sa: IkeSa, session: ResumedSession, material: AuthMaterial): Payload[] {
  const { originalRole: role, keys } = sa;
  const id = session.localId;
  sa.localId = id;
  sa.localAuth = session.localAuth;
  const key = role === 'initiator' ? keys.SK_pi : keys.SK_pr;
  const data = prfOf(keys).compute(key, signedOctets(role, keys, material, id));
  return [
    { kind: role === 'initiator' ? 'IDi' : 'IDr', ...id },
    { kind: 'AUTH', method: AuthMethod.SHARED_KEY_MIC, data },
  ];
}

/** §4.3.3, from the other side. @throws AuthenticationFailure */
export function verifyResumed(
  world: World,
  sa: IkeSa,
  session: ResumedSession,
  candidates: readonly Connection[],
  material: AuthMaterial,
  payloads: readonly Payload[],
): Connection {
  const role = sa.originalRole === 'initiator' ? 'responder' : 'initiator';
  const id = need(payloads, role === 'initiator' ? 'IDi' : 'IDr');
  const auth = need(payloads, 'AUTH');
  const { keys } = sa;
  const expected = prfOf(keys).compute(role === 'initiator' ? keys.SK_pi : keys.SK_pr, signedOctets(role, keys, material, id));
  const [connection] = candidates;
  const proven = auth.method === AuthMethod.SHARED_KEY_MIC && equalSecrets(auth.data, expected);
  if (!proven || connection === undefined || !isWhoItWas(id, session.remoteId, connection) || find(payloads, 'CERT') !== undefined)
    throw unproven();
  sa.remoteId = session.remoteId;
  sa.remoteAuth = session.remoteAuth;
  world.notice({ kind: 'peer', ikeSa: sa.id, id: session.remoteId, method: auth.method, description: `resumed, ${session.remoteAuth}` });
  return connection;
}

/** §4.3.3: whom the client asks for in IDr has the identity of the ticket, which it does not know where a key or a certificate stood for it. */
export const resumedPeer = ({ remoteId }: ResumedSession, connection: Connection): Identification | undefined =>
  isNamedByProof(remoteId, connection) ? undefined : remoteId;

const isWhoItWas = (id: Identification, was: Identification, connection: Connection): boolean =>
  sameIdentity(id, was) || isNamedByProof(was, connection);

/** RFC 7670 §1: whoever was known by its key, or its certificate, may call itself as it likes; the ticket says which that was. */
const isNamedByProof = ({ idType, data }: Identification, { remote }: Connection): boolean =>
  remote[0]?.idFromCertificate === true || (idType === IdType.ID_KEY_ID && fromUtf8(data).startsWith('sha256:'));

/** §4.3.1, §4.3.4: the IKE SA stands, so the ticket is used up; and where the one before is still there, it goes in silence. */
export function settleResumption(world: World, sa: IkeSa): void {
  const session = sa.resumption?.session;
  if (session === undefined) {
    sa.resumption = { session: undefined, authenticatedAt: world.wall() };
    return;
  }
  if (session.ticket) world.tickets.spend(session.ticket.id, session.ticket.expires, world.wall());
  const before = (other: IkeSa) => equalBytes(other.spiI, session.spiI) && equalBytes(other.spiR, session.spiR);
  for (const other of [...world.provenAs(session.remoteId)])
    if (other !== sa && before(other)) world.kill(other, 'resumed as another IKE SA');
}

/** §6.2: the IKE SA of a ticket is rekeyed; its ticket is void on both ends, and whoever held one asks for another. */
export function renewTicket(world: World, old: IkeSa, successor: IkeSa): void {
  revokeTicket(world, old);
  const { connection } = old;
  if (connection === undefined || world.wallet.of(connection.name)?.ikeSa !== old.id) return;
  world.wallet.drop(connection.name);
  askForTicket(world, successor);
}

/**
 * §6.2, §9.8: an IKE SA that one of its ends closed takes its ticket with it. One whose peer fell silent does not: that is what tickets are
 * for.
 */
export function retireTicket(world: World, sa: IkeSa, error: TunnelwrightError | undefined): void {
  if (error !== undefined && LOST.has(error.code)) return;
  revokeTicket(world, sa);
  const name = sa.connection?.name;
  if (name !== undefined && world.wallet.of(name)?.ikeSa === sa.id) world.wallet.drop(name);
}

function revokeTicket(world: World, sa: IkeSa): void {
  const given = sa.resumption?.given;
  if (given === undefined || sa.resumption === undefined) return;
  world.tickets.spend(given.id, given.expires, world.wall());
  sa.resumption.given = undefined;
}

/** §4.3.2: it did not take our ticket. */
export const ticketRefused = (): PeerRefused =>
  new PeerRefused('the gateway does not take our ticket', {
    code: 'TICKET_REFUSED',
    notify: NotifyType.TICKET_NACK,
    section: 'RFC 5723 §4.3.2',
    hint: 'Nothing needs to be done: the whole handshake follows at once.',
  });

const refused = (why: string): NegotiationFailure =>
  new NegotiationFailure(`a ticket is not taken: ${why}`, {
    code: 'TICKET_NOT_TAKEN',
    notify: NotifyType.TICKET_NACK,
    section: 'RFC 5723 §4.3.2',
    hint: 'Nothing needs to be done: the peer connects with the whole handshake instead.',
  });

const unproven = (): AuthenticationFailure =>
  new AuthenticationFailure('the peer could not prove that the ticket is its own', {
    code: 'RESUMPTION_UNPROVEN',
    section: 'RFC 5723 §4.3.3',
    hint: 'Whoever presents a stolen ticket fails here; the owner connects with the whole handshake instead.',
  });

/** Ends that nobody wanted. */
const LOST: ReadonlySet<string> = new Set(['PEER_SILENT', 'PEER_CRASHED']);
const LIFETIME = 4;
const LARGEST = 8192;
const LONGEST: Millis = 24 * 3_600_000;
const NEARLY_OVER: Millis = 10_000;
