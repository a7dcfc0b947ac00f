import type { WalkAction } from './action.ts';
import { ATTACKS } from './attacks.ts';
import { NETWORK } from './network-actions.ts';
import { OPERATOR } from './operator-actions.ts';

/** What every walk draws from. Their order is part of what a seed means. */
export const ACTIONS: readonly WalkAction[] = [...OPERATOR, ...NETWORK, ...ATTACKS];
