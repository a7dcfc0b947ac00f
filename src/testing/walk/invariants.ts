/** What holds at every step of every walk. */
export const INVARIANTS = {
  calm: 'no exception leaves a core, and no timer fires without end',
  usable: 'while the path works and nobody asked for down, traffic passes: the old SA serves until the new one does (RFC 7296 §2.8)',
  agreed: 'a bounded time after quiet both ends hold the same SAs, one IKE SA and one CHILD_SA per policy unless the operator made more',
  answered: 'requests that cross are answered as they should be, and Message IDs count on (RFC 7296 §2.2, §2.25)',
  fresh: 'no key, SPI or IV is used twice, across restarts, too (RFC 4303 §3.3.3, RFC 5282 §3.1)',
  sealed: 'nothing that policy protects is sent in clear',
  proven: 'no established IKE SA dies without proof from its peer: neither forged nor repeated messages end it (RFC 7296 §2.4)',
  once: 'no inner packet is delivered twice or to somebody else (RFC 4303 §3.4.3)',
  bounded: 'what is kept stays within bounds, and is nothing when nothing stands',
  counted: 'counters add up: what was sent is received, lost or dropped by a cause',
} as const;

export type InvariantName = keyof typeof INVARIANTS;
