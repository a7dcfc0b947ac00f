import { readFileSync } from 'node:fs';

/** The kernel's counters of packets that IPsec dropped, by its own names (`XfrmInNoStates`), for the whole network namespace. */
export type XfrmStatistics = Readonly<Record<string, number>>;

/** Undefined where the kernel does not count (CONFIG_XFRM_STATISTICS). @param path of another namespace: `/proc/PID/net/xfrm_stat` */
export function readXfrmStatistics(path = '/proc/thread-self/net/xfrm_stat'): XfrmStatistics | undefined {
  try {
    return parseXfrmStatistics(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

export function parseXfrmStatistics(text: string): XfrmStatistics {
  return Object.fromEntries([...text.matchAll(/^(Xfrm\w+)\s+(\d+)$/gm)].map(([, name, count]) => [name!, Number(count)]));
}

/** What a counter means, for those that somebody can do something about. */
export const XFRM_STATISTICS: Readonly<Record<string, string>> = {
  XfrmInNoStates: 'came for an SA that is not there: the peer still uses one that was deleted, or somebody guesses',
  XfrmInStateProtoError: 'could not be decrypted or was not authentic',
  XfrmInStateSeqError: 'came twice or too late for the replay window',
  XfrmInStateExpired: 'came for an SA whose lifetime was over',
  XfrmInStateMismatch: 'did not fit the encapsulation or selector of its SA',
  XfrmInStateInvalid: 'came for an SA that is being deleted',
  XfrmInTmplMismatch: 'came through an SA of another policy, or in clear where a policy demands protection',
  XfrmInNoPols: 'came through an SA and fit no policy',
  XfrmInPolBlock: 'were dropped by a policy on their way in',
  XfrmOutNoStates: 'found no SA on their way out and had no time to wait for one',
  XfrmOutStateSeqError: 'were not sent, since the sequence numbers of their SA are used up',
  XfrmOutStateExpired: 'were not sent, since the lifetime of their SA was over',
  XfrmOutPolBlock: 'were dropped by a policy on their way out',
  XfrmAcquireError: 'found nobody to ask for an SA',
};
