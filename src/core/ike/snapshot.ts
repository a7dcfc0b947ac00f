import type { Address } from '../bytes/ip-address.ts';
import { EncryptionId, ExchangeType, type Identification } from '../wire/index.ts';
import { ChildSa } from './child-sa.ts';
import type { ChildSaSpec, Millis } from './effects.ts';
import type { EndpointWorld } from './endpoint-world.ts';
import { IkeSa, type PeerAbilities } from './ike-sa.ts';
import { resumeTakingOver } from './initiation.ts';
import type { ChildSuite, IkeKeys } from './keys.ts';
import { armChildTimers, armIkeTimers } from './lifetimes.ts';
import { MessageWindow } from './message-window.ts';
import { exchange, type Routine } from './routine.ts';
import { deleteHalves } from './tasks/child-delete.ts';
import { notInstalled } from './tasks/child-install.ts';
import type { CrashState } from './tasks/crash-detection.ts';
import { deleteIkeSa } from './tasks/ike-delete.ts';
import { awaitDecision } from './tasks/ike-rekey.ts';
import { catchUp, trafficPath } from './tasks/mobike-line.ts';
import { resumeMobike } from './tasks/mobike-roam.ts';
import { type MobikeSnapshot, restoreMobike, snapshotMobike } from './tasks/mobike-state.ts';
import { settleRestored } from './tasks/reauthentication.ts';
import type { RedirectState } from './tasks/redirect.ts';
import { type ResumptionState, restoreWallet, snapshotWallet, type WalletSnapshot } from './tasks/resumption.ts';
import type { SplitDns } from './tasks/split-dns.ts';
import { newTcpLine, type TcpSnapshot } from './tasks/tcp-state.ts';
import { openAgain } from './tasks/tcp-streams.ts';
import { resumeUniqueness } from './tasks/uniqueness.ts';
import { openWindow, widen } from './tasks/window-size.ts';

/** Everything an endpoint needs to go on after a restart, as plain data. It holds keys: whoever stores it protects it. */
export interface EndpointSnapshot {
  readonly version: 1;
  readonly ikeSas: readonly IkeSaSnapshot[];
  /** Tickets to resume with (RFC 5723). */
  readonly tickets?: readonly WalletSnapshot[] | undefined;
  /** Tickets of ours that may not be used again, with when they expire (wall clock). */
  readonly spent?: readonly (readonly [id: string, expires: number])[] | undefined;
}

interface IkeSaSnapshot {
  readonly connection: string;
  readonly originalRole: 'initiator' | 'responder';
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
  readonly local: Address;
  readonly remote: Address;
  readonly encap: boolean;
  readonly transport?: 'udp' | 'tcp' | undefined;
  readonly tcp?: TcpSnapshot | undefined;
  readonly keys: Omit<IkeKeys, 'primitives'>;
  readonly nextRequest: number;
  /** Requests from `nextRequest` on that were under way, or are answered behind one that was. */
  readonly underWay?: number;
  readonly nextExpected: number;
  /** §2.1: the peer may not have heard the last one; without it its request would go unanswered for ever. */
  readonly answers: readonly (readonly [number, readonly Uint8Array[]])[];
  readonly sendWindow: number;
  readonly receiveWindow?: number;
  readonly peer: PeerAbilities;
  readonly floated?: boolean;
  readonly mobike?: MobikeSnapshot | undefined;
  /** The id of the post-quantum pre-shared key that is in the keys. */
  readonly ppk?: string | undefined;
  readonly nat: { readonly ours: boolean; readonly theirs: boolean; readonly forced: boolean };
  readonly crash?: Pick<CrashState, 'made' | 'held'> | undefined;
  readonly resumption?: ResumptionState | undefined;
  readonly redirect?: Pick<RedirectState, 'peerFollows' | 'weFollow' | 'from'> | undefined;
  readonly localId: Identification | undefined;
  readonly remoteId: Identification | undefined;
  readonly localAuth: string;
  readonly remoteAuth: string;
  readonly assigned: readonly string[];
  readonly assignedToUs: boolean;
  readonly servedFamilies?: readonly (4 | 6)[] | undefined;
  readonly splitDns?: SplitDns | undefined;
  /** Milliseconds since the SA was established: clocks differ between two lives of a process. */
  readonly age: Millis;
  /** The last authentication, which is older than an SA that was rekeyed. */
  readonly authentication?: { readonly age: Millis; readonly byUs: boolean; readonly endsIn: Millis | undefined } | undefined;
  /** The operator asked for its end, which has not come yet. */
  readonly unwanted: boolean;
  /** Our SPI of the successor that the peer made while a rekeying of ours was under way: it may have decided for that one (§2.8.2). */
  readonly rival?: Uint8Array | undefined;
  /** Our SPI of the one whose place it is to take, as soon as it carries the children (§2.8.3). */
  readonly of?: Uint8Array | undefined;
  readonly children: readonly ChildSaSnapshot[];
  /** Inbound SPIs of what is in the making or on its way out: the peer may hold it, the next life will not. */
  readonly unfinished: readonly { readonly protocol: 'ESP' | 'AH'; readonly spi: number }[];
}

interface ChildSaSnapshot {
  readonly policy: string;
  readonly spec: ChildSaSpec;
  readonly suite: ChildSuite;
  readonly lowestNonce: Uint8Array;
  readonly createdByUs: boolean;
  readonly age: Millis;
  readonly restarts?: number;
}

/** Only what is established and not about to be replaced: exchanges under way are begun anew by the next life. */
export function snapshotEndpoint(world: EndpointWorld): EndpointSnapshot {
  const stable = [...world.ikeSas.values()].filter((sa) => sa.isEstablished && sa.connection !== undefined);
  return { version: 1, ikeSas: stable.map((sa) => snapshotIkeSa(world, sa)), tickets: snapshotWallet(world), spent: world.tickets.spent };
}

/**
 * Children are installed again by the Ask `install`, under new ids. A request that was under way when the snapshot was made may have
 * reached the peer: its Message ID is used again with a liveness check, which the peer either answers anew or has answered already. What
 * the peer may have made or kept on account of it is deleted then.
 */
export function restoreEndpoint(world: EndpointWorld, snapshot: EndpointSnapshot): void {
  const restored: [IkeSa, IkeSaSnapshot][] = [];
  for (const saved of snapshot.ikeSas) {
    const connection = world.connections.find((c) => c.name === saved.connection);
    if (connection === undefined) continue;
    const sa = restoreIkeSa(world, saved, connection);
    for (const child of saved.children) restoreChild(world, sa, child);
    armIkeTimers(world, sa);
    world.notice({ kind: 'ike-up', ikeSa: sa.id, info: sa.info() });
    // the first thing to know: does the peer still have it?
    world.enqueue(sa, { what: 'liveness check', key: 'restored', start: () => probe(probesOf(saved)) });
    const { unfinished, unwanted } = saved;
    sa.unwanted = unwanted;
    if (unwanted) world.enqueue(sa, { what: 'deleting the IKE SA', key: 'delete-ike', start: (owner) => deleteIkeSa(world, owner, ENDED) });
    if (unfinished.length > 0) finishWith(world, sa, unfinished);
    resumeMobike(world, sa);
    // streams end with a process
    openAgain(world, sa);
    restored.push([sa, saved]);
  }
  for (const [sa, { rival, of }] of restored) {
    const [theirs, old] = [rival, of].map((spi) => spi && world.bySpi(spi));
    if (theirs) awaitDecision(sa, theirs);
    if (old) resumeTakingOver(world, sa, old);
  }
  for (const [sa] of restored) resumeUniqueness(world, sa);
  restoreWallet(world, snapshot.tickets ?? []);
  for (const [id, expires] of snapshot.spent ?? []) world.tickets.spend(id, expires, world.wall());
}

/** Even where nothing was under way, a request may have left after the snapshot. */
const probesOf = ({ underWay = 0 }: IkeSaSnapshot): number => Math.max(1, underWay);

/** One after the other, so that every Message ID that the former life may have used has its answer before anything else is asked. */
function* probe(times: number): Routine<void> {
  for (let time = 0; time < times; time++) yield* exchange(ExchangeType.INFORMATIONAL, []);
}

/** Until the peer has heard, what it asks about a child that we do not know is about one of these: not now (§2.25.1). */
function finishWith(world: EndpointWorld, sa: IkeSa, unfinished: IkeSaSnapshot['unfinished']): void {
  world.enqueue(sa, {
    what: 'deleting what a former life began',
    key: 'delete-unfinished',
    owes: unfinished,
    ofChild: true,
    start: () => deleteHalves(unfinished),
  });
}

function snapshotIkeSa(world: EndpointWorld, sa: IkeSa): IkeSaSnapshot {
  const { keys } = sa;
  return {
    connection: sa.connection?.name ?? '',
    originalRole: sa.originalRole,
    spiI: sa.spiI.slice(),
    spiR: sa.spiR.slice(),
    local: sa.local,
    remote: sa.remote,
    encap: sa.encap,
    transport: sa.transport,
    tcp: sa.tcp && { originator: sa.tcp.originator, why: sa.tcp.why },
    keys: copyKeys(keys),
    nextRequest: sa.window.oldest,
    underWay: sa.window.nextRequest - sa.window.oldest,
    nextExpected: sa.window.nextExpected,
    answers: sa.window.answers,
    sendWindow: sa.window.sendSize,
    receiveWindow: sa.window.receiveSize,
    peer: { ...sa.peer },
    floated: sa.floated,
    mobike: sa.mobike && snapshotMobike(sa.mobike),
    ppk: sa.ppk?.used,
    nat: { ...sa.nat },
    crash: sa.crash && { made: sa.crash.made, held: sa.crash.held },
    resumption: sa.resumption && { ...sa.resumption },
    redirect: sa.redirect && { peerFollows: sa.redirect.peerFollows, weFollow: sa.redirect.weFollow, from: sa.redirect.from },
    localId: sa.localId,
    remoteId: sa.remoteId,
    localAuth: sa.localAuth,
    remoteAuth: sa.remoteAuth,
    assigned: sa.assigned,
    assignedToUs: sa.assignedToUs,
    servedFamilies: sa.servedFamilies,
    splitDns: sa.splitDns,
    age: world.now - (sa.establishedAt ?? world.now),
    authentication: {
      age: world.now - (sa.reauth.at ?? world.now),
      byUs: sa.reauth.byUs,
      endsIn: sa.reauth.endsAt === undefined ? undefined : sa.reauth.endsAt - world.now,
    },
    unwanted: sa.unwanted,
    rival: spiOf(sa.peerSuccessor),
    of: spiOf(sa.reauth.of?.heir),
    children: [...sa.children.values()].filter(isKept).map((c) => snapshotChild(world, c)),
    unfinished: unfinishedOf(sa),
  };
}

const spiOf = (sa: IkeSa | undefined): Uint8Array | undefined => (sa?.isEstablished ? sa.ownSpi.slice() : undefined);

function unfinishedOf(sa: IkeSa): IkeSaSnapshot['unfinished'] {
  const owed = [...sa.jobs, ...sa.deferred, ...sa.active].flatMap(({ owes }) => owes ?? []);
  const offered = sa.offeredSpis;
  // one that came with IKE_AUTH stands at the peer already
  const given = (c: ChildSa): boolean => c.is('installing') && c.createdByUs && !offered.some(({ spi }) => spi === c.inboundSpi);
  const ending = [...sa.children.values()].filter((c) => c.is('rekeyed', 'deleting') || (c.usable && !isKept(c)) || given(c));
  return [...offered, ...owed, ...ending.map((c) => ({ protocol: c.spec.protocol, spi: c.inboundSpi }))];
}

/** One that the peer replaced while a rekeying of ours was under way is not: that rekeying ends with this life. */
const isKept = (child: ChildSa): boolean => child.usable && child.rival === undefined;

function snapshotChild(world: EndpointWorld, child: ChildSa): ChildSaSnapshot {
  const half = (keys: ChildSaSpec['inbound']) => ({
    ...keys,
    encryptionKey: keys.encryptionKey.slice(),
    integrityKey: keys.integrityKey.slice(),
  });
  return {
    policy: child.policy.name,
    spec: { ...child.spec, inbound: half(child.spec.inbound), outbound: half(child.spec.outbound) },
    suite: child.suite,
    lowestNonce: child.lowestNonce,
    createdByUs: child.createdByUs,
    age: world.now - child.establishedAt,
    restarts: child.restarts,
  };
}

function restoreIkeSa(world: EndpointWorld, saved: IkeSaSnapshot, connection: NonNullable<IkeSa['connection']>): IkeSa {
  const { originalRole, spiI, spiR, local, remote, encap, transport } = saved;
  const sa = new IkeSa({
    id: world.nextIkeSaId(),
    originalRole,
    spiI,
    spiR,
    local,
    remote,
    encap,
    transport,
    connection,
    state: 'established',
    bornAt: world.now,
  });
  const { primitives } = world.options;
  sa.setKeys({ ...copyKeys(saved.keys), ...(primitives && { primitives }) }, firstIv(world));
  const { nextRequest, nextExpected, answers, receiveWindow: receiveSize } = saved;
  sa.window = new MessageWindow({ nextRequest, doubtful: probesOf(saved), nextExpected, answers, receiveSize });
  widen(sa, saved.sendWindow);
  openWindow(sa);
  Object.assign(sa.peer, saved.peer);
  Object.assign(sa.nat, saved.nat);
  if (saved.crash) sa.crash = { ...saved.crash, compared: 0, since: world.now };
  if (saved.resumption) sa.resumption = { ...saved.resumption };
  if (saved.redirect) sa.redirect = { ...saved.redirect, nonce: undefined };
  sa.floated = saved.floated ?? false;
  sa.tcp = saved.tcp && newTcpLine(saved.tcp.originator, saved.tcp.why);
  sa.ppk = saved.ppk === undefined ? undefined : { agreed: true, used: saved.ppk, offer: undefined };
  sa.mobike = saved.mobike && restoreMobike(saved.mobike, world.now);
  sa.localId = saved.localId;
  sa.remoteId = saved.remoteId;
  sa.localAuth = saved.localAuth;
  sa.remoteAuth = saved.remoteAuth;
  sa.assigned = saved.assigned;
  sa.assignedToUs = saved.assignedToUs;
  sa.servedFamilies = saved.servedFamilies;
  sa.splitDns = saved.splitDns;
  sa.leased = !saved.assignedToUs && saved.assigned.length > 0;
  sa.establishedAt = world.now - saved.age;
  const { age, byUs, endsIn } = saved.authentication ?? { age: saved.age, byUs: originalRole === 'initiator', endsIn: undefined };
  Object.assign(sa.reauth, { at: world.now - age, byUs, endsAt: endsIn === undefined ? undefined : world.now + endsIn });
  sa.lastInbound = world.now;
  world.add(sa);
  world.noteProven(sa);
  return sa;
}

/**
 * RFC 5282 §3.1: a counter IV must not come twice under one key, neither after what the former life sent behind its snapshot, nor where one
 * snapshot is restored twice. So each life counts in a range that it draws; the first one counts from 0.
 */
function firstIv({ random }: EndpointWorld): bigint {
  let epoch = 0n;
  while (epoch === 0n) epoch = random.secret(EPOCH).reduce((sum, octet) => (sum << 8n) | BigInt(octet), 0n);
  return epoch << MESSAGES;
}

function restoreChild(world: EndpointWorld, sa: IkeSa, saved: ChildSaSnapshot): void {
  const policy = sa.connection?.children.find((c) => c.name === saved.policy);
  if (policy === undefined) return;
  const spec: ChildSaSpec = {
    ...saved.spec,
    // where the peer is now, not where it was when the child was made
    ...trafficPath(sa),
    id: world.nextChildId(),
    ikeSa: sa.id,
    outboundActive: true,
    replaces: undefined,
    resumed: true,
  };
  const child = new ChildSa({
    spec,
    policy,
    suite: saved.suite,
    establishedAt: world.now - saved.age,
    lowestNonce: saved.lowestNonce,
    createdByUs: saved.createdByUs,
    restarts: (saved.restarts ?? 0) + 1,
  });
  world.addChild(sa, child);
  world.run(
    sa,
    (function* () {
      return yield { kind: 'ask', ask: { kind: 'install', spec }, within: INSTALL_DEADLINE } as const;
    })(),
    (answer) => {
      const { ok } = answer as { ok: boolean };
      if (!ok || !child.is('installing')) return notInstalled(world, child, 'it could not be installed again');
      world.childTransition(child, 'installed');
      catchUp(world, sa, spec);
      armChildTimers(world, child);
      settleRestored(world, child);
      renewSoon(world, child);
    },
    (error) => {
      throw error;
    },
  );
}

/**
 * A restart skips sequence numbers by the thousand million, of which there are four without ESN, and an implicit IV is nothing else (RFC 8750):
 * new keys are due, at some time of the next half minute, since a gateway restores many children at once. With ESN the second restart asks for
 * them: after four in a row without a packet between, the receiver would take the upper half for an older one (RFC 4303 §A2.1).
 */
function renewSoon(world: EndpointWorld, child: ChildSa): void {
  if (child.suite.esn && !isImplicit(child.suite.encryption) && child.restarts < 2) return;
  const { rekey } = child.timers;
  const at = world.now + RENEWAL / 2 + Math.floor((world.random.jitter() * RENEWAL) / 2);
  if (rekey.slot < 0 || rekey.at > at) world.arm(rekey, at);
}

function copyKeys(keys: IkeSaSnapshot['keys']): IkeSaSnapshot['keys'] {
  const { suite, SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr } = keys;
  return {
    suite,
    SK_d: SK_d.slice(),
    SK_ai: SK_ai.slice(),
    SK_ar: SK_ar.slice(),
    SK_ei: SK_ei.slice(),
    SK_er: SK_er.slice(),
    SK_pi: SK_pi.slice(),
    SK_pr: SK_pr.slice(),
  };
}

const isImplicit = (encryption: number): boolean =>
  [EncryptionId.ENCR_AES_CCM_8_IIV, EncryptionId.ENCR_AES_GCM_16_IIV, EncryptionId.ENCR_CHACHA20_POLY1305_IIV].some(
    (id) => id === encryption,
  );

const RENEWAL: Millis = 30_000;
const ENDED = 'deleted by the operator';
/** Of the 64 bits of a counter IV, those that count the messages of one life. */
const MESSAGES = 24n;
const EPOCH = 5;
const INSTALL_DEADLINE: Millis = 30_000;
