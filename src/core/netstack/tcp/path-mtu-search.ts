import type { Millis } from '../ready.ts';
import { sizeSegments, TIMESTAMPS_LENGTH } from './options.ts';
import { seqAdd, seqDiff, seqGe } from './seq.ts';
import type { Tcb } from './tcb.ts';

/**
 * Packetization layer path MTU discovery (RFC 8899) by a connection's own text (RFC 4821 §7): after a path has swallowed large packets in
 * silence, larger ones are tried again, one at a time, until it is known what passes.
 */
export interface PathMtuSearch {
  /** Passes. */
  low: number;
  /** A packet that was larger than the first guess has passed, or too large a one has not. */
  proven: boolean;
  /** Does not, as far as known. */
  high: number;
  /** Losses of packets of the size that is tried. */
  losses: number;
  /** Where the probe under way stands; `size` is 0 when there is none. */
  size: number;
  start: number;
  end: number;
}

/**
 * Large segments vanish and nobody says why (RFC 2923 §2.1, RFC 8899 §4.3): smaller ones may pass. One timeout is proof enough as long as
 * nothing so large ever arrived, since nothing but its size may be wrong with it.
 */
export function suspectBlackHole(tcb: Tcb): void {
  const { board, host } = tcb;
  // What comes to a closed window is thrown away whatever its size.
  if (tcb.sndWnd === 0) return;
  const oldest = seqDiff(board.endOf(0), board.startOf(0));
  if (tcb.timeouts < (oldest > board.largestArrived ? 1 : TIMEOUTS)) return;
  const smaller = (tcb.ipHeader === 20 ? BASE_V4 : BASE_V6).find((mtu) => mtu < tcb.pathMtu);
  if (smaller === undefined || oldest <= smaller - tcb.ipHeader - 20) return;
  host.counters.tcpBlackHoles++;
  makeSmaller(tcb, smaller);
}

/** Octets of text with which a tail loss probe passes where large segments may be swallowed: then its acknowledgment tells. */
export const tailProbeText = (tcb: Tcb): number => BASE - overhead(tcb);

/**
 * Fast recovery begins. Of a flight of large segments nothing arrived but the small one that probed for them (RFC 8985 §7): an outage that was
 * just over, or a path that swallows what is large. To think the second costs some octets of headers until the search has ended; not to think
 * it, two timeouts.
 */
export function suspectSwallowed(tcb: Tcb): void {
  const { board, tlpEnd } = tcb;
  const large = board.count - 1;
  const small = tailProbeText(tcb);
  if (tlpEnd === undefined || tcb.tlpAgain || large < SWALLOWED || board.sackedCount !== 1 || tcb.pathMtu <= BASE) return;
  if (!board.isSacked(seqAdd(tlpEnd, -1)) || board.sacked > small || board.flight - board.sacked <= large * small) return;
  tcb.host.counters.tcpBlackHoles++;
  makeSmaller(tcb, BASE);
}

function makeSmaller(tcb: Tcb, smaller: number): void {
  tcb.pathMtuSearch = { low: smaller, proven: false, high: tcb.pathMtu, losses: 0, size: 0, start: 0, end: 0 };
  tcb.pathMtu = smaller;
  tcb.pathMtuExpires = Number.POSITIVE_INFINITY;
  sizeSegments(tcb);
}

/** What vanished was only late: it passes after all. */
export function withdrawSuspicion(tcb: Tcb): void {
  const search = tcb.pathMtuSearch;
  if (search === undefined || search.proven) return;
  tcb.pathMtu = search.high;
  tcb.pathMtuSearch = undefined;
  sizeSegments(tcb);
}

/** What routers and the own interface say of the path. What was found out is not believed less for it, and what they say bounds the search. */
export function believePathMtu(tcb: Tcb, mtu: number, expires: Millis): void {
  const search = tcb.pathMtuSearch;
  if (search === undefined || mtu <= search.low) {
    tcb.pathMtuSearch = undefined;
    tcb.pathMtu = mtu;
    tcb.pathMtuExpires = expires;
    return;
  }
  const again = tcb.host.now >= tcb.pathMtuExpires;
  search.high = again ? mtu + 1 : Math.min(search.high, mtu + 1);
  if (again) tcb.pathMtuExpires = Number.POSITIVE_INFINITY;
}

/** Octets of text that a probe is to carry now; 0 when none is due. @param room that text and window leave */
export function probeText(tcb: Tcb, room: number): number {
  const search = tcb.pathMtuSearch;
  if (search === undefined || search.size > 0 || tcb.pathMtuExpires !== Number.POSITIVE_INFINITY) return 0;
  // Losses of anything else would be mixed up with it, and without segments behind it its own would be noticed late (RFC 4821 §7.4).
  if (tcb.recovery !== 'open' || tcb.timeouts > 0 || tcb.outOfOrder.count > 0 || !tcb.sack) return 0;
  const text = candidate(tcb, search) - overhead(tcb);
  return room >= text + SEGMENTS_BEHIND * tcb.smss ? text : 0;
}

/** The probe leaves. */
export function probeLeft(tcb: Tcb, start: number, end: number): void {
  const search = tcb.pathMtuSearch!;
  search.size = candidate(tcb, search);
  search.start = start;
  search.end = end;
}

/** An acknowledgment was taken, or a timer has judged: what became of the probe. */
export function judgePathProbe(tcb: Tcb): void {
  const search = tcb.pathMtuSearch;
  if (search === undefined || search.size === 0) return;
  if (seqGe(tcb.sndUna, search.end) || tcb.board.isSacked(search.start)) {
    search.low = search.size;
    tcb.pathMtu = search.size;
    settle(tcb, search);
    return;
  }
  const { board } = tcb;
  if (!board.isLost(search.start)) return;
  // RFC 8899 §3 (7): that alone is no sign of congestion.
  if (board.lost === seqDiff(search.end, search.start)) tcb.congestion!.undo();
  board.resegment(tcb.smss);
  if (++search.losses < MAX_PROBES) search.size = 0;
  else {
    search.high = search.size;
    settle(tcb, search);
  }
}

function settle(tcb: Tcb, search: PathMtuSearch): void {
  search.proven = true;
  search.size = 0;
  search.losses = 0;
  if (ceiling(tcb, search) - search.low <= RESOLUTION) tcb.pathMtuExpires = tcb.host.now + PMTU_RAISE_TIMER;
  sizeSegments(tcb);
}

/** RFC 8899 §5.3.2: halfway between what passes and what does not. */
function candidate(tcb: Tcb, search: PathMtuSearch): number {
  return search.low + ((ceiling(tcb, search) - search.low) >> 1);
}

/** The least that need not be tried: it does not pass, or the peer does not take it. */
function ceiling(tcb: Tcb, { high }: PathMtuSearch): number {
  return Math.min(high, tcb.peerMss + tcb.ipHeader + 20 + 1);
}

const overhead = (tcb: Tcb): number => tcb.ipHeader + 20 + (tcb.timestamps ? TIMESTAMPS_LENGTH : 0);

/** Ours: timeouts in a row after which size is suspected, of segments as large as some that arrived. */
const TIMEOUTS = 2;
/** Ours: large segments, and none of them arrived. */
const SWALLOWED = 3;
/** RFC 8899 §5.1.2 BASE_PLPMTU for IPv6 is the minimum MTU; IPv4 has one step more, what every host reassembles (RFC 1122 §3.3.2). */
const BASE = 1280;
const BASE_V6 = [BASE] as const;
const BASE_V4 = [BASE, 576] as const;
/** RFC 8899 §5.1.1 */
const PMTU_RAISE_TIMER: Millis = 600_000;
/** RFC 8899 §5.1.2 */
const MAX_PROBES = 3;
/** Ours: octets that are not worth another probe. */
const RESOLUTION = 8;
const SEGMENTS_BEHIND = 3;
