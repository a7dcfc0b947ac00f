import { command } from './cases.ts';

/** How many of them the kernel has counted in a namespace so far, whoever sent or received them. */
export function echoesAt(namespace: string, which: 'InEchos' | 'OutEchos' | 'InEchoReps'): number {
  const [names = '', values = ''] = command(`ip netns exec ${namespace} cat /proc/net/snmp`).match(/^Icmp: .*$/gm) ?? [];
  return Number(values.split(' ')[names.split(' ').indexOf(which)]);
}

/** What the kernel dropped there by its policies and SAs, each cause with its number. */
export const dropsAt = (namespace: string): string => command(`ip netns exec ${namespace} cat /proc/net/xfrm_stat`);
