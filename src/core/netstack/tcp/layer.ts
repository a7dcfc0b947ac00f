import { type IpView, TcpView } from '../../packet/index.ts';
import type { VnetHeader } from '../../packet/offload/index.ts';
import type { Addresses } from '../addresses.ts';
import { BlockPool, Share } from '../block-pool.ts';
import type { Counters } from '../counters.ts';
import type { IcmpMeaning } from '../icmp-errors.ts';
import type { IpOutput } from '../ip-output.ts';
import { KeyedHash } from '../keyed-hash.ts';
import type { PathMtuCache } from '../path-mtu.ts';
import { type FailureCode, type Millis, Ready, type ReadyQueue } from '../ready.ts';
import { TimerQueue } from '../timer-queue.ts';
import { offerRoom } from './calls.ts';
import type { TcpConfig } from './config.ts';
import { expireTimers } from './expire.ts';
import { type FlowKey, FlowTable } from './flow-table.ts';
import { Openings } from './openings.ts';
import { sizeSegments } from './options.ts';
import { believePathMtu } from './path-mtu-search.ts';
import { segmentArrives } from './receive.ts';
import { resetFor, resetSyn, synOf } from './reset.ts';
import { nextSegment } from './send.ts';
import { seqGe, seqLe } from './seq.ts';
import type { Tcb, TcpHost } from './tcb.ts';
import { fail, transition } from './transition.ts';

/** What TCP shares with the rest of the stack. */
export interface TcpSurroundings {
  readonly addresses: Addresses;
  readonly counters: Counters;
  readonly output: IpOutput;
  readonly pathMtu: PathMtuCache;
  readonly ready: ReadyQueue;
  /** There is something to send. */
  readonly onWork: () => void;
  /** MTU of the own interface. */
  readonly mtu: number;
  /** Tells the sender of a packet that its destination cannot be reached. */
  hostUnreachable(packet: Uint8Array, code: FailureCode): void;
}

/** All connections: finds the one a segment belongs to, and lets them take turns in sending. */
export class TcpLayer implements TcpHost {
  readonly config: TcpConfig;
  readonly counters: Counters;
  readonly pool: BlockPool;
  readonly openings: Openings;
  now: Millis = 0;
  offload: VnetHeader | undefined;
  readonly #around: TcpSurroundings;
  readonly #flows: FlowTable;
  readonly #timers = new TimerQueue<Tcb>();
  readonly #segment = new TcpView();
  readonly #key: FlowKey = { data: new Uint8Array(0), length: 4, localAt: 0, localPort: 0, remoteAt: 0, remotePort: 0 };
  /** Connections that may have something to send, and how many segments in a row the first one sent. */
  readonly #output: Tcb[] = [];
  #burst = 0;
  readonly #timeWait = new Set<Tcb>();
  readonly #starved = new Set<Tcb>();

  /** @param secret 64 octets. */
  constructor(config: TcpConfig, around: TcpSurroundings, secret: Uint8Array) {
    this.config = config;
    this.counters = around.counters;
    this.pool = new BlockPool(config.memory);
    this.#around = around;
    this.#flows = new FlowTable(new KeyedHash(secret.subarray(48, 64)).hash(new Uint8Array(0)));
    const { output, ready } = around;
    this.openings = new Openings({ host: this, flows: this.#flows, output, ready, sizePath: (tcb) => this.#sizePath(tcb), secret });
  }

  get deadline(): Millis | undefined {
    return this.#timers.next;
  }

  get connectionCount(): number {
    return this.#flows.size;
  }

  /** A segment for one of our addresses. @param unit as `TcpView.parse` has it */
  receive(ip: IpView, unit: number): void {
    const segment = this.#segment;
    if (!segment.parse(ip, unit)) {
      this.counters.tcpMalformed++;
      return;
    }
    this.counters.tcpSegmentsIn += unit === 0 ? 1 : Math.ceil((segment.end - segment.start) / unit);
    const key = this.#key;
    key.data = ip.data;
    key.length = ip.addressLength;
    key.localAt = ip.destinationAt;
    key.localPort = segment.destinationPort;
    key.remoteAt = ip.sourceAt;
    key.remotePort = segment.sourcePort;
    const tcb = this.#flows.find(key);
    if (tcb === undefined) this.openings.arriveInListen(ip, segment);
    else if (tcb.state !== 'TIME-WAIT' || !this.openings.replace(tcb, ip, segment)) segmentArrives(tcb, segment, ip.data);
  }

  /**
   * The next segment of whoever's turn it is, written to `out`.
   * @param offload filled in for an interface that cuts and sums: what is written may then stand for many segments
   * @returns its length, 0 when nobody has anything to send
   */
  nextSegment(out: Uint8Array, at: number, offload?: VnetHeader): number {
    this.offload = offload;
    if (this.#starved.size > 0) this.#feedStarved();
    const queue = this.#output;
    for (let tcb = queue[0]; tcb !== undefined; tcb = queue[0]) {
      if (this.now >= tcb.pathMtuExpires) this.#sizePath(tcb);
      const before = this.counters.tcpSegmentsOut;
      const length = nextSegment(tcb, out, at);
      if (length === 0) {
        queue.shift();
        tcb.outputQueued = false;
        this.#burst = 0;
        continue;
      }
      this.#burst += this.counters.tcpSegmentsOut - before;
      if (this.#burst >= TURN && queue.length > 1) {
        queue.push(queue.shift()!);
        this.#burst = 0;
      }
      return length;
    }
    return 0;
  }

  expire(): void {
    for (let tcb = this.#timers.due(this.now); tcb !== undefined; tcb = this.#timers.due(this.now)) {
      expireTimers(tcb);
      this.#timers.soon(tcb);
    }
  }

  /**
   * An ICMP error quoted a segment between these ends. Only one about a number that is under way counts (RFC 5927 §4.1).
   * @returns false when nothing here can have caused it.
   */
  icmpError(key: FlowKey, seq: number, meaning: IcmpMeaning): boolean {
    const { kind, code } = meaning;
    const tcb = this.#flows.find(key);
    if (tcb === undefined || !(seqGe(seq, tcb.sndUna) && seqLe(seq, tcb.sndNxt))) return false;
    if (kind === 'too-big') return true;
    if (!tcb.synchronized && kind === 'hard') fail(tcb, code);
    // RFC 9293 MUST-56: a soft error aborts nothing. Exception: a second one during the handshake does (RFC 5461 §4.2), since nobody
    // wants to wait three minutes to hear what the router said in the first second. RFC 5927 §5.2: established connections take hard
    // errors as soft ones.
    else if (tcb.state === 'SYN-SENT' && tcb.handshakeLost) fail(tcb, code);
    else tcb.softError = code;
    return true;
  }

  /** The path to a destination got narrower. */
  pathMtuLearned(destination: Uint8Array): void {
    for (const tcb of this.#flows.all()) {
      if (tcb.remoteIp.length !== destination.length || !destination.every((octet, i) => octet === tcb.remoteIp[i])) continue;
      this.#sizePath(tcb);
      this.wantOutput(tcb);
    }
  }

  mtuChanged(): void {
    for (const tcb of this.#flows.all()) {
      this.#sizePath(tcb);
      this.wantOutput(tcb);
    }
  }

  addressesChanged(): void {
    const { addresses } = this.#around;
    for (const tcb of this.#flows.all()) {
      if (addresses.promiscuous || addresses.holds(tcb.localIp, 0, tcb.localIp.length)) continue;
      fail(tcb, 'EADDRNOTAVAIL');
    }
  }

  abandon(): void {
    for (const tcb of this.#flows.all()) fail(tcb, 'ENETDOWN');
    this.#output.length = 0;
  }

  // What connections ask for.

  wantOutput(tcb: Tcb): void {
    if (tcb.outputQueued) return;
    tcb.outputQueued = true;
    this.#output.push(tcb);
    this.#around.onWork();
  }

  timersChanged(tcb: Tcb): void {
    const before = this.#timers.next ?? Number.POSITIVE_INFINITY;
    this.#timers.soon(tcb);
    // Whoever arms the timer for all has to hear when it must fire earlier.
    if ((this.#timers.next ?? before) < before) this.#around.onWork();
  }

  notify(tcb: Tcb, events: number): void {
    if (tcb.listener !== undefined) tcb.heldEvents |= events;
    else this.#around.ready.mark(tcb.connection, events);
  }

  established(tcb: Tcb): void {
    const { listener } = tcb;
    if (listener === undefined) return;
    listener.finish(tcb);
    this.counters.tcpPassiveOpens++;
    listener.offer(tcb);
    this.#around.ready.mark(listener, Ready.ACCEPT);
  }

  lingers(tcb: Tcb): void {
    this.#timeWait.add(tcb);
    if (this.#timeWait.size <= this.config.maxTimeWait) return;
    for (const oldest of this.#timeWait) {
      transition(oldest, 'CLOSED');
      return;
    }
  }

  closed(tcb: Tcb): void {
    this.#flows.remove(tcb);
    this.#timers.remove(tcb);
    this.#timeWait.delete(tcb);
    this.#starved.delete(tcb);
    if (tcb.listener === undefined) return;
    if (tcb.synAcknowledged) tcb.listener.withdraw(tcb);
    else tcb.listener.finish(tcb);
  }

  starved(tcb: Tcb): void {
    this.#starved.add(tcb);
  }

  sendReset(tcb: Tcb, seq: number): void {
    resetFor(tcb, seq, this.#around.output);
    this.counters.tcpResetsOut++;
  }

  turnAway(tcb: Tcb, code: FailureCode): void {
    if (UNREACHABLE.has(code)) this.#around.hostUnreachable(synOf(tcb), code);
    else if (code !== 'ETIMEDOUT') {
      resetSyn(tcb, this.#around.output);
      this.counters.tcpResetsOut++;
    }
    fail(tcb, 'ECONNABORTED');
  }

  /** Takes over what is known of the path. */
  #sizePath(tcb: Tcb): void {
    const { mtu, pathMtu } = this.#around;
    const known = pathMtu.get(tcb.remoteIp, this.now);
    tcb.linkMtu = mtu;
    believePathMtu(tcb, Math.min(mtu, known?.mtu ?? mtu), known?.expires ?? Number.POSITIVE_INFINITY);
    if (tcb.peerMss > 0) sizeSegments(tcb);
  }

  #feedStarved(): void {
    if (this.pool.used > this.config.memory * Share.WRITTEN * 0.9) return;
    for (const tcb of this.#starved) offerRoom(tcb);
    this.#starved.clear();
  }
}

/** Segments in a row before another connection has its turn. */
const TURN = 32;

const UNREACHABLE: ReadonlySet<FailureCode> = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'EACCES']);
