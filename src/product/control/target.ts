import type { IkeSaInfo, Millis, Notice } from '../../core/ike/effects.ts';
import type { Connection } from '../../core/ike/policy.ts';
import type { EngineLoad, IkeSaStatus } from '../../host/engine/engine.ts';
import type { InstanceFacts } from '../../host/engine/engine-types.ts';
import type { Way } from '../../host/platform/way.ts';

/**
 * What a running instance must be able to do so that the control socket can speak for it. Gateway and client implement it; the server
 * knows nothing else of them. Failures are rejections with a `TunnelwrightError`.
 */
export interface ControlTarget {
  /** Tells instances on one machine apart. */
  readonly name: string;
  readonly role: 'gateway' | 'client';
  facts(): InstanceFacts;
  /** The configured connections, in the order of the configuration. */
  connections(): readonly Connection[];
  ikeSas(): readonly IkeSaStatus[];
  load(): EngineLoad;
  /** The clock that the times in `ikeSas` were taken from, and the wall clock in milliseconds since 1970. */
  now(): { readonly monotonic: Millis; readonly wall: number };
  /** Every notice from now on; `at` is wall clock time. */
  onNotice(listener: (event: { readonly at: number; readonly notice: Notice }) => void): () => void;
  /** Resolves when the connection (and the child, if one is named) stands; at once when it already does. */
  up(request: UpRequest, signal: AbortSignal): Promise<UpResult>;
  /** Closes with a Delete and resolves when it was answered or given up. A closed connection is not started again by itself. */
  down(request: SaSelection, signal: AbortSignal): Promise<{ readonly ikeSas: number; readonly children: number }>;
  /** Fresh keys for what is selected; an IKE SA alone unless `children`. With `reauth` both ends authenticate anew, beside what stands. */
  rekey(
    request: SaSelection & { readonly children?: boolean | undefined; readonly reauth?: boolean | undefined },
    signal: AbortSignal,
  ): Promise<{ readonly ikeSas: number; readonly children: number }>;
  /** Sends peers to another gateway; resolves when they were told. Of several, those that do not follow redirects are passed over. */
  redirect(
    request: Pick<SaSelection, 'connection' | 'ikeSa' | 'all'> & { readonly to: string },
    signal: AbortSignal,
  ): Promise<{ readonly ikeSas: number; readonly children: number }>;
  /** What other processes of this user reach through the tunnels. */
  readonly way?: Way | undefined;
  /** Absent where no files can be moved. */
  readonly transfer?: TransferTarget | undefined;
}

export interface UpRequest {
  readonly connection: string;
  readonly child?: string | undefined;
  readonly testRekey?: boolean | undefined;
}

export interface UpResult {
  readonly ikeSa: IkeSaInfo;
  /** Milliseconds from the first message. */
  readonly took: Millis;
}

/** Which SAs are meant. Exactly one of the first four. */
export interface SaSelection {
  readonly connection?: string | undefined;
  readonly ikeSa?: number | undefined;
  readonly child?: number | undefined;
  readonly all?: boolean | undefined;
  /** Without a word to the peer. */
  readonly force?: boolean | undefined;
}

/** File transfer with a peer of a connection that stands. */
export interface TransferTarget {
  send(request: SendRequest, progress: (event: TransferProgress) => void, signal: AbortSignal): Promise<Transferred>;
  get(request: GetRequest, progress: (event: TransferProgress) => void, signal: AbortSignal): Promise<Transferred>;
  list(request: ListRequest, signal: AbortSignal): Promise<readonly Listed[]>;
}

export interface PingRequest {
  /** A literal, or a name. */
  readonly host: string;
  /** Octets of the echo request's data. */
  readonly size?: number | undefined;
  /** Milliseconds. */
  readonly timeout?: number | undefined;
}

/** How fast. */
export interface TransferShape {
  /** Connections at once. */
  readonly parallel?: number | undefined;
  /** Octets a second at most, over all of them. */
  readonly limit?: number | undefined;
}

export interface SendRequest extends TransferShape {
  /** Absolute paths on this machine, of files and folders. */
  readonly files: readonly string[];
  /** Name of a connection, or identity or inner address of a peer. */
  readonly peer: string;
  /** Below what the peer offers; a trailing slash names a folder. */
  readonly path: string;
}

export type GetRequest = TransferShape & {
  /** Absolute; a folder, or the name of the file to write. */
  readonly destination: string;
} & (
    | { readonly peer: string; readonly path: string }
    /** Of any HTTP server behind the tunnel; `ca`: certificates, PEM, that are trusted in the place of Node's. */
    | { readonly url: string; readonly ca?: string | undefined }
  );

export interface ListRequest {
  readonly peer: string;
  /** A folder; empty for all that is shared. */
  readonly path: string;
}

/** One entry of a folder. */
export interface Listed {
  readonly name: string;
  readonly kind: 'file' | 'folder' | 'link';
  /** Octets; 0 for all but files. */
  readonly size: number;
  /** Milliseconds since 1970; 0 for a link. */
  readonly modified: number;
  /** Permissions; 0 for a link. */
  readonly mode: number;
  /** Of a link. */
  readonly target?: string;
}

export type TransferPhase =
  /** Reading the file to know its digest before the first octet leaves, or what is there of it from before. */
  | 'hashing'
  | 'connecting'
  | 'sending'
  | 'receiving'
  /** The other end, or we, compare the digest of the whole. */
  | 'verifying'
  /** The connection was lost; the next attempt comes in `retryIn`. */
  | 'waiting'
  | 'done';

export interface TransferProgress {
  readonly phase: TransferPhase;
  readonly name: string;
  /** Octets that are across (hashing: read). Falls back to what the other end confirmed when a connection is lost. */
  readonly bytes: number;
  readonly total: number;
  /** Octets per second over the last few seconds; 0 while nothing moves. */
  readonly rate: number;
  /** Seconds left at this rate; undefined while there is no rate. */
  readonly eta: number | undefined;
  /** Where this run began, not 0 when it resumed an earlier one. */
  readonly resumedFrom: number;
  /** Connections lost so far. */
  readonly retries: number;
  /** Milliseconds until the next attempt, in phase `waiting`. */
  readonly retryIn?: number | undefined;
  /** Of a tree: files, those that were across before included. The total grows while the tree is being looked through. */
  readonly files?: { readonly done: number; readonly total: number } | undefined;
}

export interface Transferred {
  readonly files: readonly TransferResult[];
  /** What each ESP SA with the peer carried meanwhile, other traffic included. */
  readonly spis: readonly CarriedBySpi[];
  /** Octets of files that moved and that no SPI accounts for; undefined where packets are compressed, and so count less than they are. */
  readonly outside: number | undefined;
}

export interface CarriedBySpi {
  readonly spi: number;
  readonly direction: 'in' | 'out';
  readonly packets: number;
  /** Of inner packets. */
  readonly bytes: number;
}

export interface TransferResult {
  readonly name: string;
  /** Where it is now, as the end that has it calls it. */
  readonly path: string;
  readonly bytes: number;
  /** Of the whole file, hex; null for a tree. */
  readonly sha256: string | null;
  /** Milliseconds of this run. */
  readonly took: Millis;
  readonly resumedFrom: number;
  /** Of one file: what had been damaged, and was moved again alone; from the first octet to before `end`. */
  readonly mended?: readonly { readonly start: number; readonly end: number }[];
  readonly tree?: TreeCounts;
}

/** Of several files at once. */
export interface TreeCounts {
  readonly files: number;
  /** Those that were across before this run. */
  readonly known: number;
  /** What did not travel, and why: the first of them, and how many in all. */
  readonly skipped: { readonly name: string; readonly why: string }[];
  readonly skippedCount: number;
}
