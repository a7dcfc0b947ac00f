import type { Address } from '../bytes/index.ts';
import { Endpoint, type FailureCode, type Millis } from './ready.ts';
import { NOT_QUEUED, type Timed } from './timer-queue.ts';

export interface PingOptions {
  readonly ip: string;
  /** Own address to send from, where several could be used. */
  readonly localIp?: string | undefined;
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
export class Ping extends Endpoint implements Timed {
  readonly local: Address;
  readonly remote: string;
  /** Milliseconds until the answer, once it came. */
  rtt: Millis | undefined = undefined;
  error: FailureCode | undefined = undefined;
  /** Who sent the answer or the ICMP error. */
  from: string | undefined = undefined;
  /** With EMSGSIZE: what the path carries, if a router said so. */
  mtu: number | undefined = undefined;
  readonly sentAt: Millis;
  deadline: Millis;
  heapIndex = NOT_QUEUED;
  heapTime: Millis = 0;

  /** @param local the port is the echo identifier. */
  constructor(local: Address, remote: string, sentAt: Millis, deadline: Millis) {
    super();
    this.local = local;
    this.remote = remote;
    this.sentAt = sentAt;
    this.deadline = deadline;
  }

  get identifier(): number {
    return this.local.port;
  }

  get done(): boolean {
    return this.rtt !== undefined || this.error !== undefined;
  }
}
