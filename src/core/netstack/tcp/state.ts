import { InternalError } from '../../bytes/index.ts';

/** RFC 9293 §3.3.2. LISTEN is the state of a `TcpListener`, every other one that of a connection. */
export type TcpState =
  | 'CLOSED'
  | 'LISTEN'
  | 'SYN-SENT'
  | 'SYN-RECEIVED'
  | 'ESTABLISHED'
  | 'FIN-WAIT-1'
  | 'FIN-WAIT-2'
  | 'CLOSE-WAIT'
  | 'CLOSING'
  | 'LAST-ACK'
  | 'TIME-WAIT';

/**
 * RFC 9293 §3.3.2 figure 5. Every state may fall to CLOSED: reset, timeout, abort. Two arrows of the figure are walked in two steps: a close
 * in SYN-RECEIVED waits for ESTABLISHED, and a segment that both acknowledges our FIN and carries the peer's passes through FIN-WAIT-2.
 */
export const TRANSITIONS: Readonly<Record<TcpState, readonly TcpState[]>> = {
  CLOSED: ['LISTEN', 'SYN-SENT', 'SYN-RECEIVED'],
  LISTEN: ['CLOSED'],
  'SYN-SENT': ['SYN-RECEIVED', 'ESTABLISHED', 'CLOSED'],
  'SYN-RECEIVED': ['ESTABLISHED', 'CLOSED'],
  ESTABLISHED: ['FIN-WAIT-1', 'CLOSE-WAIT', 'CLOSED'],
  'FIN-WAIT-1': ['FIN-WAIT-2', 'CLOSING', 'CLOSED'],
  'FIN-WAIT-2': ['TIME-WAIT', 'CLOSED'],
  'CLOSE-WAIT': ['LAST-ACK', 'CLOSED'],
  CLOSING: ['TIME-WAIT', 'CLOSED'],
  'LAST-ACK': ['CLOSED'],
  'TIME-WAIT': ['CLOSED'],
};

export function assertTransition(from: TcpState, to: TcpState): void {
  if (!TRANSITIONS[from].includes(to)) throw new InternalError(`TCP may not go from ${from} to ${to}`);
}
