import type { Millis } from '../ready.ts';
import type { CongestionControlFactory } from './congestion/control.ts';
import { CONGESTION_CONTROLS } from './congestion/controls.ts';

/** What can be set about TCP. Durations are milliseconds, sizes octets. */
export interface TcpConfig {
  /** RFC 7323 §3. */
  readonly timestamps: boolean;
  /** RFC 2018. */
  readonly sack: boolean;
  /** RFC 7323 §2. */
  readonly windowScaling: boolean;
  /** A connection starts with `receiveBuffer` and grows to `maxReceiveBuffer` while the application keeps up. */
  readonly receiveBuffer: number;
  readonly maxReceiveBuffer: number;
  /** Grows with the congestion window. */
  readonly sendBuffer: number;
  readonly maxSendBuffer: number;
  /** All buffers of all connections. */
  readonly memory: number;
  readonly initialRto: Millis;
  /**
   * What the retransmission timeout is beyond the smoothed round trip, at the least. RFC 6298 (2.4) wants a second in all. Exception: 200 ms, as
   * Linux has it; delayed acknowledgments stay below that, however long the path is.
   */
  readonly rtoPatience: Millis;
  readonly maxRto: Millis;
  /** RFC 9293 §3.8.6.3: below half a second. */
  readonly delayedAck: Millis;
  /** 2 MSL (RFC 9293 §3.4.2). MSL is 30 s here, as Linux has it, not two minutes. */
  readonly timeWait: Millis;
  /** How long FIN-WAIT-2 waits for the peer once the application closed. */
  readonly finWait2: Millis;
  /** Nothing acknowledged for so long: ETIMEDOUT (R2 of RFC 9293 §3.8.3). */
  readonly userTimeout: Millis;
  /** RFC 9293 §3.8.3: at least three minutes for a SYN. */
  readonly connectTimeout: Millis;
  /** RFC 9293 §3.8.4: not less than two hours by default. */
  readonly keepAliveIdle: Millis;
  readonly keepAliveInterval: Millis;
  readonly keepAliveProbes: number;
  readonly congestion: CongestionControlFactory;
  /** Segments leave at the rate of the congestion control, and not as soon as its window allows. */
  readonly pacing: boolean;
  /** Further ones are refused: SYNs are dropped, `connect` fails. */
  readonly maxConnections: number;
  /** The oldest is forgotten when there are more in TIME-WAIT. */
  readonly maxTimeWait: number;
}

export const DEFAULT_TCP_CONFIG: TcpConfig = {
  timestamps: true,
  sack: true,
  windowScaling: true,
  receiveBuffer: 256 * 1024,
  maxReceiveBuffer: 16 * 1024 * 1024,
  sendBuffer: 256 * 1024,
  maxSendBuffer: 16 * 1024 * 1024,
  memory: 256 * 1024 * 1024,
  initialRto: 1000,
  rtoPatience: 200,
  maxRto: 60_000,
  delayedAck: 40,
  timeWait: 60_000,
  finWait2: 60_000,
  userTimeout: 300_000,
  connectTimeout: 180_000,
  keepAliveIdle: 7_200_000,
  keepAliveInterval: 75_000,
  keepAliveProbes: 9,
  congestion: CONGESTION_CONTROLS.bbr,
  pacing: true,
  maxConnections: 65_536,
  maxTimeWait: 4096,
};
