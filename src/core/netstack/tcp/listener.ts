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
  /** Handshakes under way. */
  halfOpen = 0;
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
    return this.halfOpen + this.#waiting.length >= this.backlog;
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
