import type { Backend } from '../data-plane.ts';
import memory from './memory.ts';
import netns from './netns.ts';
import netstack from './netstack.ts';
import tun from './tun.ts';
import xfrm from './xfrm.ts';

/** Every kind of data plane. Which of them `auto` takes is said in `choice.ts`. */
export const backends: readonly Backend[] = [netstack, tun, netns, xfrm, memory];
