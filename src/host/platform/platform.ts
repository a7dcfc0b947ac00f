import type { KeyExchangeMethod } from '../../core/crypto/key-exchange.ts';
import type { Primitives } from '../../core/crypto/primitives.ts';
import type { RandomSource } from '../../core/crypto/random.ts';
import type { Clock } from './clock.ts';
import type { HttpGet } from './http.ts';
import type { TcpNetwork } from './tcp.ts';
import type { UdpNetwork } from './udp.ts';
import type { Threads } from './worker-threads.ts';

/** All that the engine takes from the machine. The simulator hands it another one: virtual time, a network in memory, seeded luck. */
export interface Platform {
  readonly clock: Clock;
  readonly udp: UdpNetwork;
  /** Absent: IKE and ESP go over UDP alone. */
  readonly tcp?: TcpNetwork | undefined;
  /** Absent: nothing is fetched. */
  readonly httpGet?: HttpGet | undefined;
  readonly random: RandomSource;
  /** Absent: everything is computed in this thread. */
  readonly threads?: Threads | undefined;
  /** Absent: `core/crypto` computes. */
  readonly computing?: Computing | undefined;
}

/** Who computes for IKE SAs in place of `core/crypto`, with the same results. */
export interface Computing {
  readonly primitives: Primitives;
  /** Undefined for a method leaves it to `core/crypto`. */
  readonly keyExchange: (method: number) => KeyExchangeMethod | undefined;
}
