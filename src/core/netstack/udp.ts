import { type Address, InternalError } from '../bytes/index.ts';
import { Endpoint, type FailureCode } from './ready.ts';

export interface UdpDatagram {
  readonly local: Address;
  readonly remote: Address;
  /** Owned by whoever receives it. */
  readonly data: Uint8Array;
}

export interface UdpOptions {
  /** Absent: every own address of both families. */
  readonly ip?: string | undefined;
  /** 0 or absent: one is chosen. */
  readonly port?: number | undefined;
  /** Only datagrams from there are received, and only its ICMP errors reported. */
  readonly remote?: Address | undefined;
}

export class UdpEndpoint extends Endpoint {
  readonly local: Address;

  constructor(local: Address) {
    super();
    this.local = local;
  }

  /**
   * Queues one datagram; the octets are copied.
   * @param from own source address, where several could be used.
   * @returns false when the queue is full: the datagram was not taken, `Ready.WRITABLE` follows.
   * @throws ApiMisuse when it is larger than a datagram can be, or no own address reaches `to`.
   */
  send(_data: Uint8Array, _to: Address, _from?: Address): boolean {
    throw new InternalError('not built');
  }

  /** The oldest datagram that waits. */
  receive(): UdpDatagram | undefined {
    throw new InternalError('not built');
  }

  /** The last ICMP error about something sent here, once. */
  takeError(): { readonly code: FailureCode; readonly remote: Address } | undefined {
    throw new InternalError('not built');
  }

  close(): void {
    throw new InternalError('not built');
  }
}
