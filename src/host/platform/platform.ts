import type { RandomSource } from '../../core/crypto/random.ts';
import type { Clock } from './clock.ts';
import type { TcpNetwork } from './tcp.ts';
import type { UdpNetwork } from './udp.ts';
import type { Threads } from './worker-threads.ts';

/** All that the engine takes from the machine. The simulator hands it another one: virtual time, a network in memory, seeded luck. */
export interface Platform {
  readonly clock: Clock;
  readonly udp: UdpNetwork;
  /** Absent: IKE and ESP go over UDP alone. */
  readonly tcp?: TcpNetwork | undefined;
  readonly random: RandomSource;
  /** Absent: everything is computed in this thread. */
  readonly threads?: Threads | undefined;
}
