import { unlessMissing } from '../../platform/linux/netlink/errors.ts';
import type { NewPolicy, XfrmPolicy } from '../../platform/linux/netlink/xfrm/policies.ts';
import { SHARES } from './share.ts';

/** The kernel's SPD, or what a test puts in its place. */
export interface PolicyKernel {
  addPolicy(policy: NewPolicy, replace: boolean): void;
  deletePolicy(policy: NewPolicy): void;
  listPolicies(): readonly XfrmPolicy[];
}

/** Who goes before whom where several want the same packets; of equals the one that came last. */
export const Rank = {
  /** Lets pass, where nobody asks for more. */
  PASSING: -1,
  /** Drops, so that nothing leaves in clear while there is no SA. */
  SHUNT: 0,
  /** Asks for an SA. */
  TRAP: 1,
  /** Of a CHILD_SA that only receives. */
  WAITING: 2,
  SENDING: 3,
  /** What the configuration says of packets that no SA carries: no peer has a say in it. */
  CONFIGURED: 4,
} as const;
export type Rank = (typeof Rank)[keyof typeof Rank];

/**
 * What stands in the kernel's SPD by our doing. It takes one policy for each direction and selector, but several CHILD_SAs, traps and shunts may
 * want that place: here each has its claim, the kernel has the first of them. So a rekeying changes nothing there, and what ends leaves its place
 * to whoever is next without a moment in between.
 */
export class PolicyTable {
  readonly #kernel: PolicyKernel;
  readonly #places = new Map<string, Place>();
  readonly #ofOwner = new Map<string, Set<string>>();
  /** Places that a former life has taken: what it left there holds packets back until somebody here takes its place. */
  readonly #leftBehind: Set<string>;
  #count = 0;

  /** @param isLeftBehind whether a policy that stands already is of a former life */
  constructor(kernel: PolicyKernel, isLeftBehind: (policy: XfrmPolicy) => boolean = () => false) {
    this.#kernel = kernel;
    this.#leftBehind = new Set(kernel.listPolicies().filter(isLeftBehind).map(keyOf));
  }

  /**
   * These policies and no others for `owner` from now on.
   * @throws DataPlaneError, among them `KERNEL_ENTRY_EXISTS` where another program has such a policy; the former claims stand then
   */
  claim(owner: string, rank: Rank, policies: readonly NewPolicy[]): void {
    const before = this.#ofOwner.get(owner) ?? new Set<string>();
    const [taken, former] = [new Set<string>(), new Map<string, Claim | undefined>()];
    try {
      for (const policy of policies) {
        const key = keyOf(policy);
        const place = this.#places.get(key) ?? { claims: [], standing: undefined };
        this.#places.set(key, place);
        if (!former.has(key)) former.set(key, withdraw(place, owner));
        else withdraw(place, owner);
        place.claims.push({ owner, rank, order: this.#count++, policy });
        taken.add(key);
        this.#settle(key, place);
      }
    } catch (error) {
      for (const [key, claim] of former) this.#restore(key, owner, claim);
      throw error;
    }
    this.#ofOwner.set(owner, taken);
    for (const key of before) if (!taken.has(key)) this.#withdraw(key, owner);
  }

  release(owner: string): void {
    for (const key of this.#ofOwner.get(owner) ?? []) this.#withdraw(key, owner);
    this.#ofOwner.delete(owner);
  }

  /**
   * Puts back what another program removed.
   * @param removed what was, as the kernel told; our own removals are told as well, and of some we have a policy again by then
   * @returns how many they were
   * @throws DataPlaneError
   */
  mend(removed?: NewPolicy): number {
    if (removed !== undefined && this.#places.get(keyOf(removed))?.standing === undefined) return 0;
    const there = new Set(this.#kernel.listPolicies().map(keyOf));
    const missing = [...this.#places].flatMap(([key, { standing }]) => (standing === undefined || there.has(key) ? [] : [standing]));
    for (const policy of missing) this.#kernel.addPolicy(policy, true);
    return missing.length;
  }

  /** Removes what a former life left behind, but for the places that are taken again. */
  sweep(isLeftBehind: (policy: XfrmPolicy) => boolean): void {
    this.#leftBehind.clear();
    for (const policy of this.#kernel.listPolicies())
      if (isLeftBehind(policy) && this.#places.get(keyOf(policy))?.standing === undefined)
        unlessMissing(() => this.#kernel.deletePolicy(policy));
  }

  close(): void {
    for (const [key, place] of this.#places) {
      place.claims.length = 0;
      this.#settle(key, place);
    }
    this.#ofOwner.clear();
  }

  #withdraw(key: string, owner: string): void {
    const place = this.#places.get(key);
    if (place === undefined) return;
    withdraw(place, owner);
    this.#settle(key, place);
  }

  #restore(key: string, owner: string, claim: Claim | undefined): void {
    const place = this.#places.get(key);
    if (place === undefined) return;
    withdraw(place, owner);
    if (claim) place.claims.push(claim);
    this.#settle(key, place);
  }

  /** The kernel has what the claims say. */
  #settle(key: string, place: Place): void {
    const first = place.claims.reduce<Claim | undefined>((best, claim) => (best && isBefore(best, claim) ? best : claim), undefined);
    const { standing } = place;
    if (first === undefined) {
      this.#places.delete(key);
      if (standing) unlessMissing(() => this.#kernel.deletePolicy(standing));
      return;
    }
    if (standing !== undefined && JSON.stringify(standing) === JSON.stringify(first.policy)) return;
    this.#kernel.addPolicy(first.policy, standing !== undefined || this.#leftBehind.has(key));
    this.#leftBehind.delete(key);
    place.standing = first.policy;
  }
}

/**
 * Behind those of other programs: what an administrator said by hand goes first.
 * @param breadth of `PolicyMatch`
 * @param first before all that is not, however narrow that is
 */
export const priorityOf = (breadth: number, share: number, first = false): number =>
  FIRST_PRIORITY + (first ? 0 : PRIORITIES) + breadth * SHARES + share;

/** Which share of planes made it; undefined for those of other programs. */
export function shareOfPolicy({ priority, action, templates }: XfrmPolicy): number | undefined {
  if (priority < FIRST_PRIORITY || priority >= FIRST_PRIORITY + 2 * PRIORITIES) return undefined;
  const share = (priority - FIRST_PRIORITY) % SHARES;
  return action === 'block' || templates.every(({ reqid }) => shareOfReqid(reqid) === share) ? share : undefined;
}

/** Which share of planes it is of; undefined for those of other programs. */
export function shareOfReqid(reqid: number): number | undefined {
  const share = Math.floor((reqid - FIRST_REQID) / REQIDS);
  return share >= 0 && share < SHARES && reqid !== FIRST_REQID + share * REQIDS ? share : undefined;
}

/** Numbers by which policies find their SAs; of a range that tells ours from those of others. */
export class Reqids {
  readonly #first: number;
  readonly #used = new Set<number>();
  #last = 0;

  constructor(share: number) {
    this.#first = FIRST_REQID + share * REQIDS;
  }

  take(): number {
    do this.#last = (this.#last % (REQIDS - 1)) + 1;
    while (this.#used.has(this.#last));
    this.#used.add(this.#last);
    return this.#first + this.#last;
  }

  give(reqid: number): void {
    this.#used.delete(reqid - this.#first);
  }
}

interface Place {
  readonly claims: Claim[];
  standing: NewPolicy | undefined;
}

interface Claim {
  readonly owner: string;
  readonly rank: Rank;
  readonly order: number;
  readonly policy: NewPolicy;
}

const isBefore = (one: Claim, other: Claim): boolean => one.rank > other.rank || (one.rank === other.rank && one.order > other.order);

/** By what the kernel tells policies apart, whether we say it or it does. */
function keyOf({ direction, selector, mark, ifId = 0 }: NewPolicy): string {
  const { family, protocol = 0, sourcePort, destinationPort } = selector;
  const any = family === 4 ? '0.0.0.0/0' : '::/0';
  const ports = [sourcePort, destinationPort].map((match) => match && [match.port, match.mask ?? 0xffff]);
  const marks = mark === undefined ? [0, 0] : [mark.value, mark.mask ?? 0xffff_ffff];
  return JSON.stringify([direction, selector.source ?? any, selector.destination ?? any, protocol, ...ports, ...marks, ifId]);
}

function withdraw({ claims }: Place, owner: string): Claim | undefined {
  const at = claims.findIndex((claim) => claim.owner === owner);
  return at < 0 ? undefined : claims.splice(at, 1)[0];
}

/** "TW". */
const FIRST_PRIORITY = 0x5457_0000;
/** More than the breadth of everything in IPv6, for each share. */
const PRIORITIES = 0x4_0000 * SHARES;
const FIRST_REQID = 0x5450_0000;
const REQIDS = 2 ** 20;
