import type { Strongswan } from './strongswan.ts';

/** Fragments (RFC 7383) of messages of an exchange that strongSwan sent and received so far, by its log. */
export function fragmentsOf(peer: Strongswan, exchange: 'IKE_INTERMEDIATE' | 'IKE_AUTH' | 'IKE_FOLLOWUP_KE'): Fragments {
  const count = (did: string): number => [...peer.wholeLog().matchAll(new RegExp(`${did} ${exchange} re\\w+ \\d+ \\[ EF\\(`, 'g'))].length;
  return { sent: count('generating'), received: count('parsed') };
}

interface Fragments {
  readonly sent: number;
  readonly received: number;
}
