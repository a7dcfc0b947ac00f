import { type Address, InternalError } from '../../bytes/index.ts';
import { Endpoint } from '../ready.ts';
import type { TcpConnection } from './connection.ts';

/** A listening port. `Ready.ACCEPT` tells that `accept` has something. */
export class TcpListener extends Endpoint {
  readonly local: Address;

  constructor(local: Address) {
    super();
    this.local = local;
  }

  /** The oldest established connection that nobody took yet. */
  accept(): TcpConnection | undefined {
    throw new InternalError('not built');
  }

  /** Stops listening; connections that were accepted live on, those in the backlog are reset. */
  close(): void {
    throw new InternalError('not built');
  }
}
