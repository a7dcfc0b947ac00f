import type { Address, DataPlaneError } from '../../core/bytes/index.ts';
import type { RandomSource } from '../../core/crypto/random.ts';
import type { ChildSaChange, ChildSaSpec, KernelPolicy, Millis, Observation, Transport } from '../../core/ike/effects.ts';
import type { CongestionName } from '../../core/netstack/index.ts';
import type { TrafficSelector } from '../../core/wire/payloads/types.ts';
import type { Clock } from '../platform/clock.ts';
import type { NamespaceEntry } from '../platform/linux/namespace.ts';
import type { UdpNetwork, UdpSocket } from '../platform/udp.ts';

/**
 * Where CHILD_SAs live and packets pass (RFC 4301 §4.4: the SAD and the outbound part of the SPD). One interface for every kind of
 * plane; `backends/` holds them. A packet that fits no SA is dropped and counted: nothing ever leaves in clear.
 */
export interface DataPlane {
  /** Name of the backend. */
  readonly backend: string;
  /**
   * Makes the inbound SA accept, and the outbound SA send where `spec.outboundActive` says so. The peer hears of the CHILD_SA only after
   * this returned or resolved. Keys are copied; the caller may overwrite its own afterwards.
   * @param resume where the SAs stood in a former life of this process (`spec.resumed`)
   * @throws DataPlaneError when this plane cannot do what the spec asks for; nothing is left behind then
   */
  install(spec: ChildSaSpec, resume?: SequenceNumbers): void | Promise<void>;
  /** An unknown child is ignored: it may have gone a moment ago. */
  update(child: number, change: ChildSaChange): void;
  /** Both directions go, keys are overwritten. An unknown child is ignored. */
  remove(child: number): void;
  /** Undefined for an unknown child. */
  counters(child: number): ChildCounters | undefined;
  /** For a snapshot; undefined for an unknown child, and where nothing is counted. */
  sequenceNumbers(child: number): SequenceNumbers | undefined;
  /** Packets dropped because they belong to no SA, by cause. */
  drops(): Readonly<Record<string, number>>;
  /** Policies whose first packet asks for an SA (`acquire` in `onObservation`), or is dropped; replaces the former list. */
  setTraps(traps: readonly TrapPolicy[]): void;
  /**
   * What no SA carries (RFC 4301 §4.4.1), even where one would; of several the narrower goes first. Replaces the former list.
   * @throws DataPlaneError `BYPASS_UNSUPPORTED` where there is no way past the tunnels, and for what the machine cannot express
   */
  setShunts(shunts: readonly ShuntPolicy[]): void;
  /**
   * One ESP packet, SPI first, as the reader of the socket found it; the plane may work on it in place. Planes with sockets or a kernel
   * of their own have none. @returns false for what belongs to no SA or is not authentic
   */
  readonly receive?: (packet: Uint8Array, local: Address, ip: string, port: number, transport?: Transport) => boolean;
  /** The plane reads this socket from now on, where it can be lent; IKE comes back to whoever bound it. */
  readonly adopt?: (socket: UdpSocket) => Promise<void>;
  /** Done with it, before it is closed. */
  readonly disown?: (socket: UdpSocket) => Promise<void>;
  /** The way in for programs, where they have the tunnel as their only network: `runInside`, `commandInside`. */
  readonly entry?: NamespaceEntry;
  /** DNS servers behind the tunnels (RFC 7296 §3.15.1), for programs that are run inside; called when they change. */
  setResolver?(servers: readonly string[]): void;
  /** ESP has a thread of its own here. Absent where it never or always has. */
  readonly espThread?: boolean;
  /** Removes every SA. */
  close(): Promise<void>;
}

/** What a backend is opened with. */
export interface DataPlaneOptions {
  readonly clock: Clock;
  /** CBC needs unpredictable IVs. */
  readonly random: RandomSource;
  /** The way to a peer, through the UDP socket or the stream that the engine owns. */
  readonly openPath: (local: Address, remote: Address, encap: boolean, transport?: Transport) => EspPath;
  readonly onObservation: (observation: Observation) => void;
  /** Something broke that concerns more than one call. */
  readonly onFailure?: (error: DataPlaneError) => void;
  /** Inner addresses of our own, besides those a peer assigns to us; prefixes (`10.66.0.1/24`) are allowed. */
  readonly addresses?: readonly string[];
  /** Upper bound of the inner MTU; the path may force a smaller one. 1400 unless given. */
  readonly mtu?: number;
  /** What governs the TCP of a plane that has one of its own. */
  readonly congestion?: CongestionName;
  /** Send ESP without UDP around it where no NAT is in between, if it can. Off unless given. */
  readonly bareEsp?: boolean;
  /** Pass packets on from one CHILD_SA to another: clients of a gateway reach each other. Off unless given. */
  readonly forward?: boolean;
  /** Hand packets to networks that no CHILD_SA reaches to a host of its own (`NetstackPlane.behind`). Off unless given. */
  readonly behind?: boolean;
  /** Move ESP of `netstack` and its sockets to a thread of their own; `auto`: where there are three processors or more. Off unless given. */
  readonly espThread?: boolean | 'auto';
  /** Never leave datagrams to the kernel to cut: a capture on this machine would show many as one. Off unless given. */
  readonly singly?: boolean;
  /** Take packets to every address, not only to our own: listeners answer in the name of the network behind us. Off unless given. */
  readonly promiscuous?: boolean;
}

/** Where protected packets of one SA go. Found once, used for every packet. */
export interface EspPath {
  /**
   * `packet` begins with the SPI and may be reused on return.
   * @param trafficClass DSCP and ECN of the outer header, where the way can set them
   * @returns false when it was dropped here
   */
  send(packet: Uint8Array, trafficClass?: number): boolean;
  /** Sends a whole IP packet with ESP or AH, whose header is ours and final; absent where the way writes a header of its own. @returns false when it was dropped here */
  readonly sendWhole?: ((packet: Uint8Array) => boolean) | undefined;
  /** What packets leave by now, for planes that hand it many at a time. */
  readonly socket?: UdpSocket | undefined;
  /** Octets of an outer IP packet that pass; from the interface or from path MTU discovery. */
  readonly mtu: number;
  /** Octets in front of the ESP header: the outer IP header, and the UDP header with encapsulation. */
  readonly overhead: number;
}

/** The newest sequence number sent and received, in halves of 32 bits. */
export interface SequenceNumbers {
  readonly outbound: { readonly sequenceHigh: number; readonly sequenceLow: number };
  readonly inbound: { readonly sequenceHigh: number; readonly sequenceLow: number };
}

export interface ChildCounters {
  readonly inbound: DirectionCounters;
  readonly outbound: DirectionCounters;
  /** What came for this SA and was dropped, by cause: `replay`, `integrity`, `selectors`, … */
  readonly drops: Readonly<Record<string, number>>;
}

export interface DirectionCounters {
  readonly packets: number;
  /** Octets of the inner packets. */
  readonly bytes: number;
  /** Of the data plane's clock; undefined before the first packet. */
  readonly lastUse: Millis | undefined;
}

/** What becomes of a child's packets before it has an SA. */
export interface TrapPolicy {
  /** Unless given, the first of them asks for the child; else they are dropped, as whoever set it up has called already. */
  readonly action?: 'drop';
  readonly connection: string;
  readonly child: string;
  readonly localTs: readonly TrafficSelector[];
  readonly remoteTs: readonly TrafficSelector[];
  readonly kernel?: KernelPolicy;
}

/** Packets that go past the tunnels in clear, or that are dropped. */
export interface ShuntPolicy {
  readonly action: 'bypass' | 'discard';
  readonly connection: string;
  readonly child: string;
  readonly localTs: readonly TrafficSelector[];
  readonly remoteTs: readonly TrafficSelector[];
}

/** One kind of data plane: a file in `backends/` and a line in its index. */
export interface Backend<Plane extends DataPlane = DataPlane> {
  readonly name: string;
  /** Its planes change the machine beyond this process: interfaces, routes, policies. */
  readonly changesMachine?: true;
  /** What not every plane can; nothing unless given. */
  readonly features?: readonly PlaneFeature[];
  /**
   * Can it send ESP without UDP around it, or can it where its options ask for that? If not, every peer is made to believe in a NAT
   * (RFC 7296 §2.23).
   */
  readonly bareEsp: boolean | 'asked';
  /** Sockets that its planes can read by themselves; those of the machine unless given. */
  readonly udp?: () => Promise<UdpNetwork>;
  /** Can it run here? If not, the sentence to show to the user. */
  probe(): Promise<ProbeResult>;
  /** @throws DataPlaneError */
  open(options: DataPlaneOptions): Plane | Promise<Plane>;
}

export type PlaneFeature =
  /** `KernelPolicy`. */
  | 'kernel'
  /** A way past the tunnels. */
  | 'bypass';

export type ProbeResult =
  | { readonly ok: true; readonly detail: string }
  | { readonly ok: false; readonly reason: string; readonly hint: string; readonly privilege?: string | undefined };

export const defineBackend = <Plane extends DataPlane>(backend: Backend<Plane>): Backend<Plane> => backend;

/** What passes every path that carries 1500 octets, whatever cipher and encapsulation. */
export const DEFAULT_MTU = 1400;
