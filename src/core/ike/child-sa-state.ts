/**
 * The states of a CHILD_SA and every change that may happen.
 *
 * - `installing` keys are on their way into the data plane
 * - `installed`
 * - `rekeying`   we asked for its successor (RFC 7296 §2.8)
 * - `rekeyed`    a successor stands; a Delete is expected or about to be sent. `installed` again when the peer deletes the successor instead
 * - `deleting`   our Delete is under way (RFC 7296 §1.4.1)
 * - `retired`    both ends are done with it; inbound still takes packets that were under way
 * - `dead`
 */
export const CHILD_SA_STATES = ['installing', 'installed', 'rekeying', 'rekeyed', 'deleting', 'retired', 'dead'] as const;

export type ChildSaState = (typeof CHILD_SA_STATES)[number];

export const CHILD_SA_TRANSITIONS: Readonly<Record<ChildSaState, readonly ChildSaState[]>> = {
  installing: ['installed', 'dead'],
  installed: ['rekeying', 'rekeyed', 'deleting', 'dead'],
  rekeying: ['installed', 'rekeyed', 'deleting', 'dead'],
  rekeyed: ['installed', 'deleting', 'retired', 'dead'],
  deleting: ['retired', 'dead'],
  retired: ['dead'],
  dead: [],
};
