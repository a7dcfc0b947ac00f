import type { Address } from '../bytes/ip-address.ts';
import type { Identification } from '../wire/index.ts';
import type { ChildSa } from './child-sa.ts';
import type { ChildSaSpec, Millis } from './effects.ts';
import type { EndpointWorld } from './endpoint-world.ts';
import type { IkeSa, PeerAbilities } from './ike-sa.ts';
import type { ChildSuite, IkeKeys } from './keys.ts';
import type { AuthMethodsState } from './tasks/auth-methods.ts';
import type { CrashState } from './tasks/crash-detection.ts';
import type { EncryptedDns } from './tasks/encrypted-dns.ts';
import type { CounterSync } from './tasks/message-id-sync.ts';
import { type MobikeSnapshot, snapshotMobike } from './tasks/mobike-state.ts';
import type { RedirectState } from './tasks/redirect.ts';
import { type ResumptionState, snapshotWallet, type WalletSnapshot } from './tasks/resumption.ts';
import type { SplitDns } from './tasks/split-dns.ts';
import type { TcpSnapshot } from './tasks/tcp-state.ts';

/** Everything an endpoint needs to go on after a restart, as plain data. It holds keys: whoever stores it protects it. */
export interface EndpointSnapshot {
  readonly version: 1;
  readonly ikeSas: readonly IkeSaSnapshot[];
  /** Tickets to resume with (RFC 5723). */
  readonly tickets?: readonly WalletSnapshot[] | undefined;
  /** Tickets of ours that may not be used again, with when they expire (wall clock). */
  readonly spent?: readonly (readonly [id: string, expires: number])[] | undefined;
}

export interface IkeSaSnapshot {
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
  /** RFC 6311 §5: cluster members share it. */
  readonly sync?: CounterSync | undefined;
  readonly authMethods?: AuthMethodsState | undefined;
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
  readonly encryptedDns?: EncryptedDns | undefined;
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

export interface ChildSaSnapshot {
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
    sync: sa.sync,
    authMethods: sa.authMethods,
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
    encryptedDns: sa.encryptedDns,
    age: world.now - (sa.establishedAt ?? world.now),
    authentication: {
      age: world.now - (sa.reauth.at ?? world.now),
      byUs: sa.reauth.byUs,
      endsIn: sa.reauth.endsAt === undefined ? undefined : sa.reauth.endsAt - world.now,
    },
    unwanted: sa.unwanted,
    rival: spiOf(sa.peerSuccessor),
    of: spiOf(sa.reauth.of?.heir),
    children: sa.children.filter(isKept).map((c) => snapshotChild(world, c)),
    unfinished: unfinishedOf(sa),
  };
}

const spiOf = (sa: IkeSa | undefined): Uint8Array | undefined => (sa?.isEstablished ? sa.ownSpi.slice() : undefined);

function unfinishedOf(sa: IkeSa): IkeSaSnapshot['unfinished'] {
  const owed = [...sa.jobs, ...sa.deferred, ...sa.active].flatMap(({ owes }) => owes ?? []);
  const offered = sa.offeredSpis;
  // one that came with IKE_AUTH stands at the peer already
  const given = (c: ChildSa): boolean => c.is('installing') && c.createdByUs && !offered.some(({ spi }) => spi === c.inboundSpi);
  const ending = sa.children.filter((c) => c.is('rekeyed', 'deleting') || (c.usable && !isKept(c)) || given(c));
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
    lowestNonce: child.lowestNonce.slice(),
    createdByUs: child.createdByUs,
    age: world.now - child.establishedAt,
    restarts: child.restarts,
  };
}

export function copyKeys(keys: IkeSaSnapshot['keys']): IkeSaSnapshot['keys'] {
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
