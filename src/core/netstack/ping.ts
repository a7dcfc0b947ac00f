import { type Address, InternalError } from '../bytes/index.ts';
import { Endpoint, type FailureCode, type Millis } from './ready.ts';

export interface PingOptions {
  readonly ip: string;
  /** Octets of data behind the ICMP header; 56. */
  readonly size?: number | undefined;
  /** TTL or hop limit; 64. */
  readonly hopLimit?: number | undefined;
  /** Milliseconds after which it fails with ETIMEDOUT; 5000. */
  readonly timeout?: Millis | undefined;
  /** Never fragment: with a large `size` this measures the path MTU. Off by default. */
  readonly dontFragment?: boolean | undefined;
}

/** One echo request under way. `Ready.DONE` tells that `rtt` or `error` is known. */
export class Ping extends Endpoint {
  readonly local: Address;
  readonly remote: string;

  constructor(local: Address, remote: string) {
    super();
    this.local = local;
    this.remote = remote;
  }

  /** Milliseconds until the answer, once it came. */
  get rtt(): Millis | undefined {
    throw new InternalError('not built');
  }

  get error(): FailureCode | undefined {
    throw new InternalError('not built');
  }

  /** Who sent the answer or the ICMP error. */
  get from(): string | undefined {
    throw new InternalError('not built');
  }
}
