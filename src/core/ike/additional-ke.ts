import { keyExchange } from '../crypto/index.ts';
import { type Proposal, type Transform, TransformType } from '../wire/index.ts';
import type { AdditionalKe } from './keys.ts';

/** Transform types 6 to 12 (RFC 9370 §2.2.1): further key exchanges, made one after the other in this order. */
export const ADDITIONAL_KE_TYPES: readonly number[] = [
  TransformType.ADDKE1,
  TransformType.ADDKE2,
  TransformType.ADDKE3,
  TransformType.ADDKE4,
  TransformType.ADDKE5,
  TransformType.ADDKE6,
  TransformType.ADDKE7,
];

export const isAdditionalKe = (type: number): boolean => type >= TransformType.ADDKE1 && type <= TransformType.ADDKE7;

/** Of transforms that were chosen, one per type: the key exchanges that follow the first. Undefined for a method that we cannot compute. */
export function additionalOf(chosen: readonly Transform[]): readonly AdditionalKe[] | undefined {
  if (!chosen.some((t) => isAdditionalKe(t.type))) return NONE_CHOSEN;
  const additional = chosen
    .filter((t) => isAdditionalKe(t.type) && t.id !== NONE)
    .map(({ type, id }) => ({ type, method: id }))
    .sort((a, b) => a.type - b.type);
  return additional.every(({ method }) => keyExchange(method) !== undefined) ? additional : undefined;
}

/**
 * One method per type, such that none but NONE is chosen twice (RFC 9370 §2.2.1); what stands first in a list is preferred, the lists in
 * front more than those behind.
 * @returns undefined where the lists leave no such choice
 */
export function chooseDistinct(lists: readonly (readonly number[])[]): number[] | undefined {
  if (lists.length === 1) return lists[0]!.length === 0 ? undefined : lists[0]!.slice(0, 1);
  if (!canBeDistinct(lists)) return undefined;
  let left = lists;
  return lists.map((_, i) => {
    const without = (method: number) => left.map((list) => (method === NONE ? list : list.filter((m) => m !== method)));
    // what leaves nothing to the lists behind is no choice; that there is one was seen before the list in front chose
    const method = left[i]!.find((m) => canBeDistinct(without(m).slice(i + 1))) ?? NONE;
    left = without(method);
    return method;
  });
}

/** Proposals as a peer must read them that cannot carry out additional key exchanges; those that insist on one are left out. */
export function withoutAdditional(proposals: readonly Proposal[]): Proposal[] {
  return proposals.flatMap((proposal) => {
    const { transforms } = proposal;
    if (!transforms.some((t) => isAdditionalKe(t.type))) return [proposal];
    const optional = (type: number) => transforms.some((t) => t.type === type && t.id === NONE);
    if (transforms.some((t) => isAdditionalKe(t.type) && !optional(t.type))) return [];
    return [{ ...proposal, transforms: transforms.filter((t) => !isAdditionalKe(t.type)) }];
  });
}

/**
 * A responder that knows nothing of RFC 9370 passes over proposals with its transform types, even where NONE would do: behind each such
 * proposal goes one without them.
 */
export function withFallbacks(proposals: readonly Proposal[]): Proposal[] {
  const all = proposals.flatMap((p) => [p, ...(p.transforms.some((t) => isAdditionalKe(t.type)) ? withoutAdditional([p]) : [])]);
  return all.slice(0, MOST_PROPOSALS);
}

/** Augmenting paths (each list takes a method, whoever had it takes another); NONE serves any number of lists. */
function canBeDistinct(lists: readonly (readonly number[])[]): boolean {
  const ownerOf = new Map<number, number>();
  const serve = (list: number, tried: Set<number>): boolean => {
    if (lists[list]!.includes(NONE)) return true;
    return lists[list]!.some((method) => {
      if (tried.has(method)) return false;
      tried.add(method);
      const owner = ownerOf.get(method);
      if (owner !== undefined && !serve(owner, tried)) return false;
      ownerOf.set(method, list);
      return true;
    });
  };
  return lists.every((_, list) => serve(list, new Set()));
}

const NONE = 0;
const NONE_CHOSEN: readonly AdditionalKe[] = [];
/** RFC 7296 §3.3.1: proposals are numbered with one octet. */
const MOST_PROPOSALS = 255;
