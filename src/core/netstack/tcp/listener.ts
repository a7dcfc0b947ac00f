import type { Address } from '../../bytes/index.ts';
import { Endpoint } from '../ready.ts';
import type { TcpConnection } from './connection.ts';
import type { Knock } from './knock.ts';
import type { Tcb } from './tcb.ts';

/** A listening port: the state LISTEN. `Ready.ACCEPT` tells that `accept` has something. */
export class TcpListener extends Endpoint {
  readonly local: Address;
  /** Every port that nothing else is bound to. */
  readonly anyPort: boolean;
  readonly backlog: number;
  /** Nobody is answered before `Knock.admit`. */
  readonly asks: boolean;
  /** Handshakes under way, the oldest first. */
  readonly #halfOpen = new Set<Tcb>();
  readonly #waiting: Tcb[] = [];
  readonly #knocks: Knock[] = [];
  #close: ((listener: TcpListener) => void) | undefined;

  /** @param local ip is `0.0.0.0` or `::` for all addresses; `::` means both families. @param close takes it out of the layer's tables. */
  constructor(local: Address, anyPort: boolean, backlog: number, asks: boolean, close: (listener: TcpListener) => void) {
    super();
    this.local = local;
    this.anyPort = anyPort;
    this.backlog = backlog;
    this.asks = asks;
    this.#close = close;
  }

  /** The oldest established connection that nobody took yet. */
  accept(): TcpConnection | undefined {
    const tcb = this.#waiting.shift();
    if (tcb === undefined) return undefined;
    tcb.listener = undefined;
    if (tcb.heldEvents !== 0) tcb.host.notify(tcb, tcb.heldEvents);
    return tcb.connection;
  }

  /** The oldest SYN that nobody judged yet; some may have gone meanwhile. */
  nextKnock(): Knock | undefined {
    return this.#knocks.shift();
  }

  /** The layer hands over a SYN. */
  hearKnock(knock: Knock): void {
    this.#knocks.push(knock);
  }

  /** Stops listening; connections that were accepted live on, those in the backlog are reset. */
  close(): void {
    const close = this.#close;
    this.#close = undefined;
    close?.(this);
    for (const tcb of this.#waiting.splice(0)) tcb.connection.abort();
  }

  get closed(): boolean {
    return this.#close === undefined;
  }

  get full(): boolean {
    return this.#halfOpen.size + this.#waiting.length >= this.backlog;
  }

  get halfOpen(): number {
    return this.#halfOpen.size;
  }

  /** A handshake begins. */
  begin(tcb: Tcb): void {
    this.#halfOpen.add(tcb);
  }

  /** It is over, whatever came of it. */
  finish(tcb: Tcb): void {
    this.#halfOpen.delete(tcb);
  }

  /**
   * RFC 4987 §3.4: the oldest handshake, if its peer has left one SYN,ACK unanswered. In a flood a place is then free again after a second, and
   * not after all repetitions; a crowd of honest peers loses nothing to one another.
   */
  get stale(): Tcb | undefined {
    for (const tcb of this.#halfOpen) if (!tcb.held) return tcb.handshakeLost ? tcb : undefined;
    return undefined;
  }

  /** The layer hands over an established connection. */
  offer(tcb: Tcb): void {
    this.#waiting.push(tcb);
  }

  /** It died before anybody took it. */
  withdraw(tcb: Tcb): void {
    const index = this.#waiting.indexOf(tcb);
    if (index >= 0) this.#waiting.splice(index, 1);
  }
}
