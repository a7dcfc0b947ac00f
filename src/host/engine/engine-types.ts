import type { Address } from '../../core/bytes/index.ts';
import type { Notice } from '../../core/ike/effects.ts';
import type { Connection } from '../../core/ike/policy.ts';
import type { PlaneDecision } from '../dataplane/backends/choice.ts';
import type { Backend, ChildCounters, DataPlane, DataPlaneOptions } from '../dataplane/data-plane.ts';
import type { Platform } from '../platform/platform.ts';
import type { Credentials, Hooks } from './asks.ts';
import type { IkeCore } from './core.ts';
import type { Lookup } from './gateway-names.ts';
import type { PoolPolicy } from './lease-pool.ts';

export interface EngineOptions<Plane extends DataPlane = DataPlane> extends Hooks {
  readonly platform: Platform;
  /** Makes the core, once its surroundings are known. */
  readonly core: (hints: CoreHints) => IkeCore;
  readonly credentials: Credentials;
  readonly backend: Backend<Plane>;
  readonly plane?: Pick<
    DataPlaneOptions,
    'addresses' | 'mtu' | 'congestion' | 'bareEsp' | 'forward' | 'promiscuous' | 'behind' | 'singly' | 'espThread'
  >;
  /** The same that the core was made with. */
  readonly connections: readonly Connection[];
  readonly pools?: readonly PoolPolicy[];
  /** For gateways that are named, to which a peer redirects us (RFC 5685). */
  readonly lookup?: Lookup | undefined;
  /** Threads that compute key exchanges and signatures; 0, unless given, computes them here, which is least work in all. */
  readonly workers?: number | undefined;
  /** What runs in them, for a test. */
  readonly workerModule?: URL | undefined;
}

/** What the core wants to know of where it runs (`EndpointOptions`). */
export interface CoreHints {
  /** Own UDP ports; read anew at every use, since sockets may be opened later. */
  readonly ports: { readonly ike: number; readonly nat: number };
  /** The data plane can carry ESP only inside UDP. */
  readonly forceEncap: boolean;
  /** There are threads beside us to compute them. */
  readonly asksKeyExchange: boolean;
}

export interface EngineEvents {
  /** Everything the core reports, in order. `at` is wall clock time, milliseconds since 1970. Floods of `drop` are thinned, never counters. */
  notice: { readonly at: number; readonly notice: Notice };
  /** A CHILD_SA leaves the data plane, and what it has carried until now. */
  'child-removed': { readonly child: number; readonly counters: ChildCounters | undefined };
}

export interface InstanceFacts extends Pick<DataPlane, 'entry' | 'espThread'> {
  /** Name of the data plane backend. */
  readonly plane: string;
  /** Why that one; undefined where nobody chose. */
  readonly decision?: PlaneDecision | undefined;
  /** Where IKE is listened for: `203.0.113.7:500`. */
  readonly listen: readonly string[];
  /** Milliseconds since 1970. */
  readonly startedAt: number;
}

/** Where one own address is heard; `tcp` undefined: no streams are taken there. */
export interface EngineSockets {
  readonly ike: Address | undefined;
  readonly nat: Address;
  readonly tcp: Address | undefined;
}
