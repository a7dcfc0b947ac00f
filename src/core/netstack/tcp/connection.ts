import { type Address, InternalError } from '../../bytes/index.ts';
import { Endpoint, type FailureCode } from '../ready.ts';
import type { TcpState } from './state.ts';

/**
 * The application's side of one TCP connection. Nothing here needs the time: what a call causes to be sent leaves with the
 * next `Stack.poll`.
 */
export class TcpConnection extends Endpoint {
  readonly local: Address;
  readonly remote: Address;

  constructor(local: Address, remote: Address) {
    super();
    this.local = local;
    this.remote = remote;
  }

  get state(): TcpState {
    throw new InternalError('not built');
  }

  /** Why the connection ended, once it is CLOSED; undefined after an orderly close. */
  get error(): FailureCode | undefined {
    throw new InternalError('not built');
  }

  /**
   * Queues octets to be sent; they are copied. Legal from SYN-SENT on (RFC 9293 §3.10.2).
   * @returns how many were taken, from the front. When fewer than offered, `Ready.WRITABLE` follows once there is room.
   */
  write(_data: Uint8Array): number {
    throw new InternalError('not built');
  }

  /** Octets that `write` would take now. */
  get writable(): number {
    throw new InternalError('not built');
  }

  /** Octets written but not yet acknowledged by the peer. */
  get unacknowledged(): number {
    throw new InternalError('not built');
  }

  /** Octets in order, waiting to be read. */
  get readable(): number {
    throw new InternalError('not built');
  }

  /** Copies octets out. @returns how many, 0 when there are none. */
  read(_into: Uint8Array): number {
    throw new InternalError('not built');
  }

  /** A fresh array of up to `max` octets, owned by the caller; undefined when there are none. */
  readChunk(_max = 65536): Uint8Array | undefined {
    throw new InternalError('not built');
  }

  /** The peer's FIN came and everything before it was read. */
  get ended(): boolean {
    throw new InternalError('not built');
  }

  /** No more will be written: FIN follows what is queued (half-close). */
  shutdown(): void {
    throw new InternalError('not built');
  }

  /** Neither reads nor writes any more. What was queued is still delivered; unread octets turn the close into a reset (RFC 9293 §3.6.1). */
  close(): void {
    throw new InternalError('not built');
  }

  /** Sends RST and forgets everything. */
  abort(): void {
    throw new InternalError('not built');
  }

  /** Turns the Nagle algorithm off or on (RFC 9293 §3.7.4). */
  setNoDelay(_noDelay: boolean): void {
    throw new InternalError('not built');
  }

  /** RFC 9293 §3.8.4; off by default. @param idle milliseconds of silence before the first probe. */
  setKeepAlive(_enabled: boolean, _idle?: number): void {
    throw new InternalError('not built');
  }
}
