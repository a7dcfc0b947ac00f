import type { CongestionName } from '../../../src/core/netstack/index.ts';

/** What the bench asks a host of. */
export type Question =
  | { readonly ask: 'open'; readonly end: 'a' | 'b'; readonly congestion: CongestionName; readonly espThread: boolean }
  /** Where its packets go, on loopback. */
  | { readonly ask: 'peer'; readonly port: number }
  | { readonly ask: 'send'; readonly seconds: number; readonly octets: number }
  | { readonly ask: 'setUp'; readonly count: number }
  /** Keeps so many connections open that carry nothing. */
  | { readonly ask: 'hold'; readonly count: number }
  | { readonly ask: 'state' };

export interface Answers {
  readonly open: { readonly port: number };
  readonly peer: object;
  readonly send: { readonly octets: number; readonly seconds: number; readonly congestion: string };
  readonly setUp: { readonly seconds: number };
  readonly hold: { readonly held: number };
  readonly state: {
    readonly received: number;
    readonly processorSeconds: number;
    /** Of them, those of the thread that TCP and the application are in. */
    readonly mainSeconds: number;
    /** Octets of the heap and of buffers, after a collection. */
    readonly memory: number;
    readonly connections: number;
    readonly retransmits: number;
    readonly timeouts: number;
  };
}
