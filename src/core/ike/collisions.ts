import { compareBytes } from '../bytes/bytes.ts';
import type { ChildSaState } from './child-sa-state.ts';
import type { IkeSaState } from './ike-sa-state.ts';
import type { Nonces } from './keys.ts';

/**
 * What a request of the peer meets when something of ours is under way, RFC 7296 §2.25, as pure decisions over tables: what the table
 * does not say does not happen. docs/reference/ike-states.md is printed from them.
 */
export type ChildRekeyDecision = 'proceed' | 'proceed-and-compare' | 'TEMPORARY_FAILURE' | 'CHILD_SA_NOT_FOUND';
export type ChildDeleteDecision = 'delete-and-answer' | 'answer-without-delete';
export type IkeRequestDecision = 'proceed' | 'proceed-and-compare' | 'TEMPORARY_FAILURE';

/** §2.25.1: the peer asks to rekey a child that is in this state here; undefined means that we know no such child. */
export const ON_CHILD_REKEY: Readonly<Record<ChildSaState, ChildRekeyDecision>> = {
  installing: 'TEMPORARY_FAILURE',
  installed: 'proceed',
  rekeying: 'proceed-and-compare',
  rekeyed: 'CHILD_SA_NOT_FOUND',
  deleting: 'TEMPORARY_FAILURE',
  retired: 'CHILD_SA_NOT_FOUND',
  dead: 'CHILD_SA_NOT_FOUND',
};

/** §1.4.1, §2.25.1: the peer deletes a child that is in this state here. */
export const ON_CHILD_DELETE: Readonly<Record<ChildSaState, ChildDeleteDecision>> = {
  installing: 'delete-and-answer',
  installed: 'delete-and-answer',
  rekeying: 'delete-and-answer',
  rekeyed: 'delete-and-answer',
  deleting: 'answer-without-delete',
  retired: 'answer-without-delete',
  dead: 'answer-without-delete',
};

/** §2.25.2: the peer asks to rekey the IKE SA. `childBusy`: a create, rekey or delete of a child of ours is under way. */
export function onIkeRekey(state: IkeSaState, childBusy: boolean): IkeRequestDecision {
  if (state === 'rekeying') return 'proceed-and-compare';
  if (state !== 'established' || childBusy) return 'TEMPORARY_FAILURE';
  return 'proceed';
}

/** §2.25.2: the peer asks to create or rekey a child. */
export const onChildRequest = (state: IkeSaState): IkeRequestDecision => (state === 'established' ? 'proceed' : 'TEMPORARY_FAILURE');

/** Of the two nonces of one exchange. */
export const lowestOf = ({ Ni, Nr }: Nonces): Uint8Array => (compareBytes(Ni, Nr) < 0 ? Ni : Nr);

/**
 * §2.8.1, §2.8.2: of two SAs made at once the one with the lowest of the four nonces is redundant, and whoever created it deletes it.
 * The survivor's creator deletes the SA that both replaced.
 */
export function redundantOf(ours: { readonly lowestNonce: Uint8Array }, theirs: { readonly lowestNonce: Uint8Array }): 'ours' | 'theirs' {
  return compareBytes(ours.lowestNonce, theirs.lowestNonce) < 0 ? 'ours' : 'theirs';
}
