import type { Backend } from '../data-plane.ts';
import memory from './memory.ts';
import netns from './netns.ts';
import netstack from './netstack.ts';
import tun from './tun.ts';
import xfrm from './xfrm.ts';

/** Every kind of data plane. Automatic choice goes through `automatic` in order and takes the first whose probe says yes. */
export const backends: readonly Backend[] = [netstack, tun, netns, xfrm, memory];

/** What a machine may run on its own account; `memory` moves no packets, so it is chosen by name only. */
export const automatic: readonly Backend[] = [netstack];
