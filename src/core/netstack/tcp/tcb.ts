import type { Address } from '../../bytes/index.ts';
import type { VnetHeader } from '../../packet/offload/index.ts';
import type { BlockPool } from '../block-pool.ts';
import type { Counters } from '../counters.ts';
import type { FailureCode, Millis } from '../ready.ts';
import { NOT_QUEUED, type Timed } from '../timer-queue.ts';
import type { TcpConfig } from './config.ts';
import type { CongestionControl } from './congestion/control.ts';
import { TcpConnection } from './connection.ts';
import type { TcpListener } from './listener.ts';
import { OutOfOrder } from './out-of-order.ts';
import type { PathMtuSearch } from './path-mtu-search.ts';
import type { ProportionalRateReduction } from './prr.ts';
import { ReceiveBuffer } from './receive-buffer.ts';
import { RttEstimator } from './rtt.ts';
import { SackScoreboard } from './sack-scoreboard.ts';
import { SendBuffer } from './send-buffer.ts';
import { seqDiff } from './seq.ts';
import type { TcpState } from './state.ts';
import { Timers } from './timers.ts';

/** What a connection needs of the layer around it. */
export interface TcpHost {
  readonly config: TcpConfig;
  readonly counters: Counters;
  readonly pool: BlockPool;
  /** The time of the call that is running, or of the last one. */
  readonly now: Millis;
  /** Filled in for an interface that cuts and sums what is being written; undefined where that is done here. */
  readonly offload: VnetHeader | undefined;
  /** The connection has something to send: it is asked soon. */
  wantOutput(tcb: Tcb): void;
  /** Its earliest timer may have moved forward. */
  timersChanged(tcb: Tcb): void;
  notify(tcb: Tcb, events: number): void;
  /** It reached CLOSED: out of all tables. */
  closed(tcb: Tcb): void;
  /** It reached TIME-WAIT. */
  lingers(tcb: Tcb): void;
  /** It is established: if it came from a listener, it can be accepted. */
  established(tcb: Tcb): void;
  /** A write was refused because memory is short, not because the buffer is full: it hears when that changes. */
  starved(tcb: Tcb): void;
  sendReset(tcb: Tcb, seq: number): void;
  /** Nobody lets it in: see `Knock.refuse`. */
  turnAway(tcb: Tcb, code: FailureCode): void;
}

/** How recovery from loss stands: none, after three duplicate acknowledgments, after a timeout. */
export type Recovery = 'open' | 'fast' | 'loss';

/**
 * Transmission Control Block (RFC 9293 §3.3.1): everything about one connection. The names are those of the standard: `sndUna` is
 * SND.UNA. The functions in `receive.ts`, `acknowledge.ts`, `send.ts` and `expire.ts` work on it.
 */
export class Tcb implements Timed {
  readonly host: TcpHost;
  readonly connection: TcpConnection;
  state: TcpState = 'CLOSED';
  error: FailureCode | undefined = undefined;
  /** The listener it came from, until it is accepted. */
  listener: TcpListener | undefined = undefined;
  /** Its SYN is not answered before somebody said so (`Knock`). */
  held = false;
  /** What the application will hear once it accepts. */
  heldEvents = 0;
  /** Opened by `connect`. */
  readonly active: boolean;

  readonly local: Address;
  readonly remote: Address;
  readonly localIp: Uint8Array;
  readonly remoteIp: Uint8Array;

  // Send sequence space.
  iss = 0;
  sndUna = 0;
  sndNxt = 0;
  sndWnd = 0;
  sndWl1 = 0;
  sndWl2 = 0;
  /** The largest window that the peer ever offered. */
  maxSndWnd = 0;
  readonly sendBuffer: SendBuffer;
  readonly board = new SackScoreboard();
  /** The application writes no more: FIN follows the last octet. */
  finQueued = false;
  finSent = false;
  /** SYN or SYN,ACK has to be sent (again). */
  synDue = false;
  synSentAt: Millis = 0;
  synAcknowledged = false;

  // Receive sequence space.
  irs = 0;
  rcvNxt = 0;
  /** Right edge of the window that was advertised; never moves back. */
  rcvAdv = 0;
  readonly receiveBuffer: ReceiveBuffer;
  readonly outOfOrder = new OutOfOrder();
  /** The peer's FIN arrived; where it stands. */
  finAt: number | undefined = undefined;
  /** The FIN is in order: nothing more will come. */
  finReceived = false;
  /** The application reads no more: text that arrives resets the connection. */
  readClosed = false;
  /** Octets that the receive buffer may hold, and what of them was read in this round trip. */
  receiveLimit: number;
  readInRound = 0;
  roundStart: Millis = 0;
  /** Round-trip time as the receiver sees it; 0 while unknown. */
  receiverRtt: Millis = 0;

  // Acknowledging.
  ackNow = false;
  /** Text that came twice, to be told once (RFC 2883). */
  dsackDue = false;
  dsackLeft = 0;
  dsackRight = 0;
  /** One pure ACK each for segments out of order. */
  duplicateAcksOwed = 0;
  /** Segments that are still acknowledged at once: while the peer's window opens, each acknowledgment is worth a segment. */
  quickAcks = 0;
  /** Octets received since an ACK was sent. */
  unackedText = 0;
  lastAckSent = 0;
  /** The largest segment received: what counts as full-sized. */
  receivedMss = 0;

  // Agreed in the handshake.
  timestamps = false;
  sack = false;
  scaling = false;
  sndScale = 0;
  rcvScale = 0;
  tsRecent = 0;
  tsRecentAt: Millis = 0;
  readonly tsOffset: number;

  // Sizes.
  /** MTU of our own interface: what the MSS option is made from. */
  linkMtu = 0;
  /** MTU of the path as far as known. */
  pathMtu = 0;
  /** Until when the path MTU is believed. */
  pathMtuExpires: Millis = Number.POSITIVE_INFINITY;
  /** After the path has swallowed large packets. */
  pathMtuSearch: PathMtuSearch | undefined = undefined;
  /** The peer's MSS option. */
  peerMss = 0;
  /** SMSS: text in a segment that carries the usual options. */
  smss = 0;

  // Loss and congestion.
  readonly rtt: RttEstimator;
  congestion: CongestionControl | undefined = undefined;
  /** What may leave now, of the sending rate; as of then. */
  paceCredit = Number.POSITIVE_INFINITY;
  pacedAt: Millis = 0;
  recovery: Recovery = 'open';
  /** RecoveryPoint of RFC 6675, `recover` of RFC 6582. */
  recoveryPoint = 0;
  /** Timestamp of the first retransmission of this recovery, as long as nothing was acknowledged since; see `spurious.ts`. */
  firstRetransmitTs: number | undefined = undefined;
  spuriousPossible = false;
  /** What the window of fast recovery is, where losses reduce it and SACK tells what arrives. */
  reduction: ProportionalRateReduction | undefined = undefined;
  duplicateAcks = 0;
  /** Without SACK: octets that duplicate acknowledgments say have left the network (RFC 6582 §3.2). */
  inflation = 0;
  /** The next retransmission does not ask the window. */
  forceResend = false;
  /** RFC 6675 §4 NextSeg (4): once per recovery, and not before SND.UNA got here. */
  rescued = false;
  rescueFrom = 0;
  /** TLP.end_seq (RFC 8985 §7): a loss probe is under way. */
  tlpEnd: number | undefined = undefined;
  /** TLP.is_retrans */
  tlpAgain = false;
  tlpDue = false;
  /** A round trip was measured since the last probe. */
  tlpMeasured = true;
  /** Timeouts in a row. */
  timeouts = 0;
  handshakeLost = false;
  /** SND.UNA has not moved since, although something is under way. */
  stalledSince: Millis = 0;
  lastHeard: Millis = 0;
  lastSent: Millis = Number.NEGATIVE_INFINITY;

  // Probing.
  probeDue = false;
  persistBackoff = 0;
  /** SWS override: what there is may go although it is little. */
  overrideSws = false;
  keepAlive = false;
  keepAliveIdle: Millis;
  keepAliveProbes = 0;
  keepAliveDue = false;
  noDelay = false;
  /** Told that there is no room; wants to hear when there is. */
  writeBlocked = false;
  /** What routers said; the reason given when the connection times out. */
  softError: FailureCode | undefined = undefined;
  challengeAcks = 0;
  challengeSince: Millis = Number.NEGATIVE_INFINITY;

  readonly timers = new Timers();
  // Places in the tables of the layer.
  heapIndex = NOT_QUEUED;
  heapTime: Millis = 0;
  outputQueued = false;
  flowHash = 0;
  flowNext: Tcb | undefined = undefined;

  constructor(host: TcpHost, ends: TcpEnds, tsOffset: number) {
    this.host = host;
    this.local = ends.local;
    this.remote = ends.remote;
    this.localIp = ends.localIp;
    this.remoteIp = ends.remoteIp;
    this.active = ends.active;
    this.tsOffset = tsOffset;
    const { config } = host;
    this.sendBuffer = new SendBuffer(host.pool);
    this.receiveBuffer = new ReceiveBuffer(host.pool);
    this.receiveLimit = Math.min(config.receiveBuffer, config.maxReceiveBuffer);
    this.rtt = new RttEstimator(config.initialRto, config.rtoPatience, config.maxRto);
    this.keepAliveIdle = config.keepAliveIdle;
    this.connection = new TcpConnection(this);
  }

  get deadline(): Millis {
    return this.timers.earliest;
  }

  /** Octets of the IP header. */
  get ipHeader(): 20 | 40 {
    return this.localIp.length === 4 ? 20 : 40;
  }

  /** Sequence number of the oldest octet in the send buffer. */
  get bufferSeq(): number {
    return this.synAcknowledged ? this.sndUna : (this.iss + 1) | 0;
  }

  /** Octets written and never sent; -1 once FIN was sent. */
  get unsent(): number {
    return this.sendBuffer.length - seqDiff(this.sndNxt, this.bufferSeq);
  }

  /** RCV.WND */
  get rcvWnd(): number {
    return Math.max(0, seqDiff(this.rcvAdv, this.rcvNxt));
  }

  get synchronized(): boolean {
    return this.state !== 'CLOSED' && this.state !== 'SYN-SENT' && this.state !== 'SYN-RECEIVED';
  }

  /** Our FIN was sent and everything is acknowledged. */
  get finAcknowledged(): boolean {
    return this.finSent && this.sndUna === this.sndNxt;
  }

  get tsNow(): number {
    return (Math.floor(this.host.now) + this.tsOffset) | 0;
  }
}

export interface TcpEnds {
  readonly local: Address;
  readonly remote: Address;
  readonly localIp: Uint8Array;
  readonly remoteIp: Uint8Array;
  readonly active: boolean;
}
