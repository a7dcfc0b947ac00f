/** IKEv2 without IO: RFC 7296 chapters 1 and 2. */

export { CHILD_SA_STATES, CHILD_SA_TRANSITIONS, type ChildSaState } from './child-sa-state.ts';
export { CHILD_MET, COLLISIONS, type Collisions, IKE_MET, RIVALS_MET } from './collisions.ts';
export type * from './effects.ts';
export { Endpoint } from './endpoint.ts';
export { EndpointWorld } from './endpoint-world.ts';
export { sameIdentity } from './identity.ts';
export { IKE_SA_STATES, IKE_SA_TRANSITIONS, type IkeSaState } from './ike-sa-state.ts';
export type { ChildSuite, IkeKeys, IkeSuite } from './keys.ts';
export type * from './load.ts';
export type * from './policy.ts';
export type { EndpointSnapshot } from './snapshot.ts';
export { printTables } from './tables.ts';
export type { EndpointOptions } from './world.ts';
