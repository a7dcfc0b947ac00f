/**
 * The states of an IKE SA and every change that may happen. `transition()` in ike-sa.ts is the only gate.
 *
 * - `connecting`    initiator: IKE_SA_INIT is under way
 * - `half-open`     responder: IKE_SA_INIT was answered, the peer is not authenticated
 * - `authenticating` initiator: keys stand, IKE_AUTH is under way
 * - `established`
 * - `rekeying`      we asked for a new IKE SA (RFC 7296 §2.18)
 * - `replaced`      another IKE SA took over; only a Delete is still expected
 * - `deleting`      our Delete is under way (RFC 7296 §1.4.1)
 * - `lingering`     dead, but its last response is repeated when asked for (RFC 7296 §2.1)
 * - `dead`
 */
export const IKE_SA_STATES = [
  'connecting',
  'half-open',
  'authenticating',
  'established',
  'rekeying',
  'replaced',
  'deleting',
  'lingering',
  'dead',
] as const;

export type IkeSaState = (typeof IKE_SA_STATES)[number];

export const IKE_SA_TRANSITIONS: Readonly<Record<IkeSaState, readonly IkeSaState[]>> = {
  connecting: ['authenticating', 'dead'],
  'half-open': ['established', 'lingering', 'dead'],
  authenticating: ['established', 'dead'],
  established: ['rekeying', 'replaced', 'deleting', 'lingering', 'dead'],
  rekeying: ['established', 'replaced', 'lingering', 'dead'],
  replaced: ['deleting', 'lingering', 'dead'],
  deleting: ['lingering', 'dead'],
  lingering: ['dead'],
  dead: [],
};
