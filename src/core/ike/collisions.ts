import { compareBytes } from '../bytes/bytes.ts';
import type { ChildSa } from './child-sa.ts';
import type { IkeSa } from './ike-sa.ts';
import type { Nonces } from './keys.ts';

/**
 * What a request of the peer meets when something of ours is under way, RFC 7296 §2.8, §2.25, as data: `childMet` and `ikeMet` say which
 * row it is, the row says what is done. docs/reference/ike-states.md is printed from it.
 */
export interface Collisions {
  /** REKEY_SA names a child (§2.25.1). */
  readonly rekeyChild: Readonly<Record<ChildMet, ChildRekeyDecision>>;
  /** A Delete names a child (§1.4.1, §2.25.1). */
  readonly deleteChild: Readonly<Record<ChildMet, ChildDeleteDecision>>;
  /** CREATE_CHILD_SA for the IKE SA (§2.25.1, §2.25.2). */
  readonly rekeyIke: Readonly<Record<IkeMet, IkeRequestDecision>>;
  /** CREATE_CHILD_SA for a child, new or rekeyed (§2.25.2). */
  readonly makeChild: Readonly<Record<IkeMet, IkeRequestDecision>>;
  /** Whose of two SAs made at once is redundant: whoever made that one deletes it, the other one deletes what both replaced (§2.8.1, §2.8.2). */
  readonly redundant: Readonly<Record<RivalsMet, 'ours' | 'theirs'>>;
}

/**
 * What the child that the peer names is to us.
 *
 * - `installing`, `installed`, `rekeyed`, `deleting` as in its state
 * - `rekeying` we have asked for its successor
 * - `crossed`  so we have, and there is a rival already, or ours is past the exchange in which it could get one
 * - `undecided` requests of a window overtook one another: the peer rekeys it already, or what it replaced; it may turn out to be
 *   redundant itself; or our Delete of it waits for room
 * - `awaited`  we know none, but an answer under way to us may have made it, or it is what a former life began
 * - `unknown`  there is none, or no longer
 */
export const CHILD_MET = [
  'installing',
  'installed',
  'rekeying',
  'crossed',
  'undecided',
  'rekeyed',
  'deleting',
  'awaited',
  'unknown',
] as const;
export type ChildMet = (typeof CHILD_MET)[number];

/**
 * What the IKE SA is to us on which the peer asks.
 *
 * - `established`
 * - `busy`     a create, rekey or delete of a child of ours is under way
 * - `trailing` the one that it replaced still waits for the peer’s Delete
 * - `rekeying` we have asked for its successor
 * - `crossed`  so we have, and there is no room for a rival: one is there already, ours is too far, or it trails
 * - `replaced`, `deleting` as in its state
 */
export const IKE_MET = ['established', 'busy', 'trailing', 'rekeying', 'crossed', 'replaced', 'deleting'] as const;
export type IkeMet = (typeof IKE_MET)[number];

/** Two SAs in place of one: whose exchange held the lowest nonce, unless the peer has decided already by using its own. */
export const RIVALS_MET = ['ours is lowest', 'theirs is lowest', 'theirs is used'] as const;
export type RivalsMet = (typeof RIVALS_MET)[number];

export type ChildRekeyDecision = 'proceed' | 'TEMPORARY_FAILURE' | 'CHILD_SA_NOT_FOUND';
export type ChildDeleteDecision = 'delete-and-answer' | 'close-outbound' | 'answer-without-delete' | 'remember';
export type IkeRequestDecision = 'proceed' | 'TEMPORARY_FAILURE';

export const COLLISIONS: Collisions = {
  rekeyChild: {
    installing: 'TEMPORARY_FAILURE',
    installed: 'proceed',
    rekeying: 'proceed',
    // one rival is what a crossing makes; more than one is not a crossing
    crossed: 'TEMPORARY_FAILURE',
    undecided: 'TEMPORARY_FAILURE',
    rekeyed: 'CHILD_SA_NOT_FOUND',
    deleting: 'TEMPORARY_FAILURE', // §2.25.1
    // the peer, which sent that answer, knows more than we do
    awaited: 'TEMPORARY_FAILURE',
    unknown: 'CHILD_SA_NOT_FOUND',
  },
  deleteChild: {
    installing: 'delete-and-answer',
    installed: 'delete-and-answer',
    rekeying: 'delete-and-answer',
    crossed: 'delete-and-answer',
    undecided: 'delete-and-answer',
    rekeyed: 'delete-and-answer',
    deleting: 'close-outbound', // §1.4.1: and the answer names nothing
    awaited: 'remember',
    unknown: 'answer-without-delete',
  },
  rekeyIke: {
    established: 'proceed',
    busy: 'TEMPORARY_FAILURE',
    // our own bound: whoever rekeys without end leaves no trail
    trailing: 'TEMPORARY_FAILURE',
    rekeying: 'proceed',
    crossed: 'TEMPORARY_FAILURE',
    replaced: 'TEMPORARY_FAILURE',
    deleting: 'TEMPORARY_FAILURE', // §2.25.2
  },
  makeChild: {
    established: 'proceed',
    busy: 'proceed',
    trailing: 'proceed',
    rekeying: 'TEMPORARY_FAILURE',
    crossed: 'TEMPORARY_FAILURE',
    replaced: 'TEMPORARY_FAILURE',
    deleting: 'TEMPORARY_FAILURE',
  },
  redundant: {
    'ours is lowest': 'ours',
    'theirs is lowest': 'theirs',
    'theirs is used': 'ours',
  },
};

export function childMet(sa: IkeSa, child: ChildSa | undefined): ChildMet {
  if (child === undefined) return sa.offeredSpis.length > 0 || owesDeletes(sa) ? 'awaited' : 'unknown';
  const { state } = child;
  if (state === 'retired' || state === 'dead') return 'unknown';
  if (state === 'deleting' && !child.deleteSent) return 'undecided';
  if (state === 'rekeying' && (child.peerSuccessor?.usable || sa.halfMade.following === child)) return 'crossed';
  return (state === 'installed' || state === 'rekeying') && isUndecided(sa, child) ? 'undecided' : state;
}

/** What a former life began is not deleted yet: the peer may mean that, on whichever IKE SA it is to be told. */
const owesDeletes = ({ jobs, deferred, active }: IkeSa): boolean =>
  [...jobs, ...deferred, ...active].some(({ key }) => key === 'delete-unfinished');

/** As long as both ends’ rekeyings of one child are not over, either of the two that replace it may go (§2.8.1). */
function isUndecided(sa: IkeSa, { id, line, createdByUs, spec: { replaces } }: ChildSa): boolean {
  const theirs = sa.children.some((c) => c.is('installing') && !c.createdByUs && line.includes(c.spec.replaces ?? c.id));
  if (theirs || createdByUs || replaces === undefined) return theirs;
  return sa.active.some(({ about = [] }) => about.includes(replaces) && !about.includes(id));
}

export function ikeMet(sa: IkeSa): IkeMet {
  if (sa.state === 'replaced' || sa.state === 'deleting') return sa.state;
  const full = sa.predecessor?.is('replaced') || sa.peerSuccessor !== undefined || sa.halfMade.following === 'ike';
  if (sa.state === 'rekeying') return full ? 'crossed' : 'rekeying';
  if (full) return 'trailing';
  return isBusy(sa) ? 'busy' : 'established';
}

const isBusy = (sa: IkeSa): boolean =>
  sa.halfMade.anyOfChildren ||
  sa.active.some((job) => job.ofChild) ||
  sa.children.some((child) => child.is('rekeying', 'deleting', 'installing'));

/** By the lowest nonces of the exchanges that made them. */
export const rivalsMet = (ours: Made, theirs: Made): RivalsMet =>
  compareBytes(ours.lowestNonce, theirs.lowestNonce) < 0 ? 'ours is lowest' : 'theirs is lowest';

interface Made {
  readonly lowestNonce: Uint8Array;
}

/** Of the two nonces of one exchange. */
export const lowestOf = ({ Ni, Nr }: Nonces): Uint8Array => (compareBytes(Ni, Nr) < 0 ? Ni : Nr);
