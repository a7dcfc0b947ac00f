import type { Address } from '../../core/bytes/index.ts';
import { DROP, decapsulatedClass } from '../../core/esp/index.ts';
import { type IpView, sameOctets, setTrafficClass } from '../../core/packet/index.ts';
import type { ChildEntry } from './child-entry.ts';

/** RFC 4555 §3.12: between other addresses than those that the SA should use. */
export const isElsewhere = (
  { local, remote, overTcp }: ChildEntry,
  ip: string,
  port: number,
  at: Address | undefined,
  tcp: boolean,
): boolean => overTcp !== tcp || remote.ip !== ip || remote.port !== port || (at !== undefined && at.ip !== local.ip);

export const comesFrom = ({ data, sourceAt, destinationAt, addressLength }: IpView, { localOctets, remoteOctets }: ChildEntry): boolean =>
  remoteOctets.length === addressLength &&
  sameOctets(data, sourceAt, remoteOctets, 0, addressLength) &&
  sameOctets(data, destinationAt, localOctets, 0, addressLength);

/** @returns false for a packet that is dropped for it */
export function heedOuterClass(entry: ChildEntry, view: IpView, outer: number): boolean {
  const trafficClass = decapsulatedClass(view.trafficClass, outer, entry.outer);
  if (trafficClass === DROP) entry.drops.ecn++;
  else if (trafficClass !== view.trafficClass) setTrafficClass(view, trafficClass);
  return trafficClass !== DROP;
}
