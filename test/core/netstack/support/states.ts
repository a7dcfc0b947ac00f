import type { TcpState } from '../../../../src/core/netstack/index.ts';
import { Drill, type DrillOptions } from './drill.ts';

export type ConnectionState = Exclude<TcpState, 'CLOSED' | 'LISTEN'>;

export const CONNECTION_STATES: readonly ConnectionState[] = [
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'CLOSE-WAIT',
  'CLOSING',
  'LAST-ACK',
  'TIME-WAIT',
];

/** A connection in that state, brought there by the segments of RFC 9293 §3.3.2 figure 5; nothing is left in the queue. */
export function inState(state: ConnectionState, options: DrillOptions = {}): Drill {
  const t = new Drill(options);
  if (state === 'SYN-SENT') t.connect();
  else if (state === 'SYN-RECEIVED') t.connect() && t.inject('S 0:0(0) win 65535 <mss 1460>');
  else {
    t.established();
    ROADS[state](t);
  }
  if (t.connection.state !== state) throw new Error(`meant ${state}, is ${t.connection.state}`);
  t.sent();
  return t;
}

const shutdown = (t: Drill): void => t.act((c) => c.shutdown());

const ROADS: Readonly<Record<Exclude<ConnectionState, 'SYN-SENT' | 'SYN-RECEIVED'>, (t: Drill) => void>> = {
  ESTABLISHED: () => {},
  'FIN-WAIT-1': shutdown,
  'FIN-WAIT-2': (t) => {
    shutdown(t);
    t.inject('. 1:1(0) ack 2');
  },
  'CLOSE-WAIT': (t) => t.inject('F. 1:1(0) ack 1'),
  CLOSING: (t) => {
    shutdown(t);
    t.inject('F. 1:1(0) ack 1');
  },
  'LAST-ACK': (t) => {
    t.inject('F. 1:1(0) ack 1');
    shutdown(t);
  },
  'TIME-WAIT': (t) => {
    shutdown(t);
    t.inject('F. 1:1(0) ack 2');
  },
};
