/** How much an endpoint keeps: every number is bounded by its limits and by what stands. */
export interface EndpointLoad {
  readonly ikeSas: number;
  readonly halfOpen: number;
  readonly children: number;
  readonly timers: number;
  /** Asks that are not answered yet. */
  readonly asks: number;
  /** Requests of ours that are not answered yet. */
  readonly requests: number;
  /** Exchanges of ours that are under way or wait for their turn. */
  readonly jobs: number;
  /** Octets of messages of which fragments are still missing. */
  readonly fragmentOctets: number;
  readonly strangers: StrangerCounts;
}

/** What became of datagrams that belong to no IKE SA, since the start. */
export interface StrangerCounts {
  /** Cookies that were demanded. */
  readonly cookies: number;
  /** Puzzles that were set (RFC 8019). */
  readonly puzzles: number;
  /** Other answers that leave nothing behind. */
  readonly refusals: number;
  /** Answers that were not sent, because there were too many. */
  readonly silenced: number;
  /** From sources that are not among the known peers. */
  readonly unknown: number;
}
