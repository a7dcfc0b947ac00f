import type { Address } from '../../bytes/index.ts';
import type { FailureCode } from '../ready.ts';
import type { TcpConnection } from './connection.ts';
import type { Tcb } from './tcb.ts';

/**
 * A SYN that was not answered yet: whoever listens asks elsewhere first whether the connection can be made (userspace NAT), and the peer hears
 * the truth. Copies of the SYN that come meanwhile are passed over.
 */
export class Knock {
  readonly #tcb: Tcb;

  constructor(tcb: Tcb) {
    this.#tcb = tcb;
  }

  /** What the peer wants to reach. */
  get local(): Address {
    return this.#tcb.local;
  }

  get remote(): Address {
    return this.#tcb.remote;
  }

  /** What `accept` of the listener gives once it was let in and the handshake is done. */
  get connection(): TcpConnection {
    return this.#tcb.connection;
  }

  /** The peer gave up, or waited too long. */
  get gone(): boolean {
    return this.#tcb.state === 'CLOSED';
  }

  /** SYN,ACK goes out. */
  admit(): void {
    if (this.gone || !this.#tcb.held) return;
    this.#tcb.held = false;
    this.#tcb.host.wantOutput(this.#tcb);
  }

  /** The peer hears why: RST for a refusal, ICMP where the host or its network cannot be reached, nothing where nobody answered. */
  refuse(code: FailureCode): void {
    if (!this.gone && this.#tcb.held) this.#tcb.host.turnAway(this.#tcb, code);
  }
}
