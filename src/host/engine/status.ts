import type { ChildSaInfo, IkeSaInfo, Millis } from '../../core/ike/effects.ts';
import type { EndpointLoad } from '../../core/ike/load.ts';
import type { ChildCounters, SequenceNumbers } from '../dataplane/data-plane.ts';
import type { PoolLoad } from './workers/pool.ts';

export interface EngineSnapshot {
  readonly core: unknown;
  readonly sequences: readonly { readonly inboundSpi: number; readonly numbers: SequenceNumbers | undefined }[];
}

/** How much there is to do, and what became of those who had no claim to it. */
export interface EngineLoad extends EndpointLoad {
  /** Undefined: all is computed in this thread. */
  readonly workers: PoolLoad | undefined;
}

/** An IKE SA with what its data plane counted. */
export interface IkeSaStatus extends IkeSaInfo {
  /** Of the NAT in front of us, where there is one. */
  readonly keepalive?: { readonly interval: Millis; readonly measured: boolean } | undefined;
  readonly children: readonly (ChildSaInfo & { readonly counters: ChildCounters | undefined })[];
}
