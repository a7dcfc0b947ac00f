import type { EventLine, IkeSaDocument, ProgressLine, SasDocument } from '../../product/control/index.ts';
import type { SpiCount } from '../spi-ledger.ts';

/** What the processes of the demo say to the one that started them. */
export interface GatewaySetup {
  readonly config: string;
}

export interface ClientSetup {
  readonly config: string;
  readonly file: string;
  /** Octets of the file. */
  readonly size: number;
  /** Where the keys of every SA are written; undefined writes none. */
  readonly keylog: string | undefined;
  /** Parts of the file after which keys are changed, 0 to 1. */
  readonly rekeyChildAt: number;
  readonly rekeyIkeAt: number;
}

export type GatewayMessage =
  | { readonly kind: 'listening'; readonly pid: number; readonly ike: number; readonly nat: number }
  | { readonly kind: 'stored'; readonly path: string; readonly bytes: number }
  | { readonly kind: 'counted'; readonly spis: readonly SpiCount[] }
  /** How many IKE SAs still stand. */
  | { readonly kind: 'ended'; readonly ikeSas: number }
  | Failure;

export type ClientMessage =
  | { readonly kind: 'started'; readonly pid: number }
  | { readonly kind: 'event'; readonly event: EventLine }
  | { readonly kind: 'up'; readonly took: number; readonly ikeSa: IkeSaDocument }
  | { readonly kind: 'progress'; readonly progress: ProgressLine }
  | {
      readonly kind: 'sent';
      readonly bytes: number;
      readonly sha256: string;
      /** Milliseconds. */
      readonly took: number;
      readonly sas: SasDocument;
      readonly spis: readonly SpiCount[];
    }
  | Failure;

/** Told to a process: `count` asks the gateway what its SAs carried, `end` finishes either in good order. */
export interface Order {
  readonly kind: 'count' | 'end';
}

export interface Failure {
  readonly kind: 'failed';
  readonly name: string;
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
}
