import type { Address } from '../../bytes/index.ts';
import { Endpoint, type FailureCode, type Millis } from '../ready.ts';
import { abortCall, closeCall, keepAliveCall, noDelayCall, readCall, sendLimit, shutdownCall, writeCall } from './calls.ts';
import type { TcpState } from './state.ts';
import type { Tcb } from './tcb.ts';

/**
 * The application's side of one TCP connection. Nothing here needs the time: what a call causes to be sent leaves with the
 * next `Stack.poll`.
 */
export class TcpConnection extends Endpoint {
  readonly #tcb: Tcb;

  constructor(tcb: Tcb) {
    super();
    this.#tcb = tcb;
  }

  get local(): Address {
    return this.#tcb.local;
  }

  get remote(): Address {
    return this.#tcb.remote;
  }

  get state(): TcpState {
    return this.#tcb.state;
  }

  /** Why the connection ended, once it is CLOSED; undefined after an orderly close. */
  get error(): FailureCode | undefined {
    return this.#tcb.error;
  }

  /**
   * Queues octets to be sent; they are copied. Legal from SYN-SENT on (RFC 9293 §3.10.2).
   * @returns how many were taken, from the front. When fewer than offered, `Ready.WRITABLE` follows once there is room. 0 once
   *   `shutdown` was called or the connection is gone.
   */
  write(data: Uint8Array): number {
    return writeCall(this.#tcb, data);
  }

  /** Octets that `write` would take now. */
  get writable(): number {
    return sendLimit(this.#tcb);
  }

  /** Octets written but not yet acknowledged by the peer. */
  get unacknowledged(): number {
    return this.#tcb.sendBuffer.length;
  }

  /** Octets in order, waiting to be read. */
  get readable(): number {
    return this.#tcb.receiveBuffer.readable;
  }

  /** Copies octets out. @returns how many, 0 when there are none. */
  read(into: Uint8Array): number {
    return readCall(this.#tcb, into);
  }

  /** A fresh array of up to `max` octets, owned by the caller; undefined when there are none. */
  readChunk(max = 65536): Uint8Array | undefined {
    const { readable } = this;
    if (readable === 0) return undefined;
    const chunk = new Uint8Array(Math.min(readable, max));
    this.read(chunk);
    return chunk;
  }

  /** The peer's FIN came and everything before it was read. */
  get ended(): boolean {
    return this.#tcb.finReceived && this.readable === 0;
  }

  /** No more will be written: FIN follows what is queued (half-close). */
  shutdown(): void {
    shutdownCall(this.#tcb);
  }

  /** Neither reads nor writes any more. What was queued is still delivered; unread octets turn the close into a reset (RFC 9293 §3.6.1). */
  close(): void {
    closeCall(this.#tcb);
  }

  /** Sends RST and forgets everything. */
  abort(): void {
    abortCall(this.#tcb, 'ECONNABORTED');
  }

  /** Turns the Nagle algorithm off or on (RFC 9293 §3.7.4). */
  setNoDelay(noDelay: boolean): void {
    noDelayCall(this.#tcb, noDelay);
  }

  /** RFC 9293 §3.8.4; off by default. @param idle milliseconds of silence before the first probe. */
  setKeepAlive(enabled: boolean, idle?: Millis): void {
    keepAliveCall(this.#tcb, enabled, idle);
  }

  /** How the connection does, for status displays. */
  get info(): TcpInfo {
    const { rtt, smss, congestion, board, sndWnd, rcvWnd, receiveLimit } = this.#tcb;
    return {
      state: this.state,
      srtt: rtt.srtt,
      rto: rtt.rto,
      mss: smss,
      congestion: congestion?.name,
      cwnd: Math.floor(congestion?.window ?? 0),
      pacingRate: 1000 * (congestion?.pacingRate(rtt.srtt) ?? 0),
      ssthresh: congestion?.threshold ?? 0,
      inFlight: board.flight,
      sendWindow: sndWnd,
      receiveWindow: rcvWnd,
      receiveBuffer: receiveLimit,
    };
  }
}

/** Durations in milliseconds, sizes in octets. */
export interface TcpInfo {
  readonly state: TcpState;
  readonly srtt: Millis | undefined;
  readonly rto: Millis;
  readonly mss: number;
  readonly congestion: string | undefined;
  readonly cwnd: number;
  /** Octets a second; Infinity where nothing is held back. */
  readonly pacingRate: number;
  readonly ssthresh: number;
  readonly inFlight: number;
  readonly sendWindow: number;
  readonly receiveWindow: number;
  readonly receiveBuffer: number;
}
