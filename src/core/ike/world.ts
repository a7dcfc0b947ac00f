import type { KeyExchangeMethod, Primitives, RandomSource } from '../crypto/index.ts';
import type { Identification, IkeHeader, Payload, TrafficSelector } from '../wire/index.ts';
import type { ChildSa } from './child-sa.ts';
import type { ChildSaState } from './child-sa-state.ts';
import type { Collisions } from './collisions.ts';
import type { Effect, Millis, Notice, Observation } from './effects.ts';
import type { IkeSa, Job } from './ike-sa.ts';
import type { IkeSaState } from './ike-sa-state.ts';
import type { Outstanding } from './message-window.ts';
import type { Path } from './path.ts';
import type { Connection, EndpointLimits, RedirectPolicy } from './policy.ts';
import type { Reconnects } from './reconnect.ts';
import type { Routine } from './routine.ts';
import type { Strangers } from './strangers.ts';
import type { TokenMaker } from './tasks/crash-detection.ts';
import type { Redirects } from './tasks/redirect.ts';
import type { TicketWallet } from './tasks/resumption.ts';
import type { TicketOffice } from './tasks/tickets.ts';
import type { Timer, TimerSet } from './timers.ts';
import type { TokenBucket } from './token-bucket.ts';

/** What an endpoint is built with. */
export interface EndpointOptions {
  readonly connections: readonly Connection[];
  readonly limits: EndpointLimits;
  readonly random: RandomSource;
  /** Own UDP ports as the world sees them, for NAT detection before a datagram has shown them. */
  readonly ports?: { readonly ike: number; readonly nat: number };
  /** SHA-1 of the SubjectPublicKeyInfo of every authority we trust, for CERTREQ (RFC 7296 §3.7). */
  readonly certificateAuthorities?: readonly Uint8Array[];
  /** Certificates that peers name by hash and URL are fetched (RFC 7296 §3.6). */
  readonly looksUpCertificates?: boolean | undefined;
  /** RFC 7427 hash ids we can verify. */
  readonly hashes?: readonly number[];
  /** The data plane can carry ESP only inside UDP: pretend a NAT to every peer (RFC 7296 §2.23). */
  readonly forceEncap?: boolean;
  /** Sends clients to other gateways (RFC 5685). */
  readonly redirect?: RedirectPolicy | undefined;
  /** 32 octets that this machine keeps across restarts: tickets and crash tokens of the life before stay good. */
  readonly secret?: Uint8Array | undefined;
  /** Of the credentials: tickets that were given under others are void (RFC 5723 §6.2). */
  readonly credentialsDigest?: Uint8Array | undefined;
  /** Wall clock at time 0, milliseconds since 1970. */
  readonly epoch?: number | undefined;
  /** Who computes key exchanges in place of `core/crypto`: a simulation, whose own are quick and replay from a seed. Undefined for a method leaves it there. */
  readonly keyExchange?: (method: number) => KeyExchangeMethod | undefined;
  /** Who computes ciphers and PRFs in place of `core/crypto`, likewise. */
  readonly primitives?: Primitives | undefined;
  /** The responder's half of key exchanges is an Ask: somebody computes it beside us. */
  readonly asksKeyExchange?: boolean;
  /** Raises `ike-keys` notices. Off unless the operator asks for a key log by an explicit command. */
  readonly logKeys?: boolean;
  /** Raises `message` notices. */
  readonly logMessages?: boolean;
}

/** What exchanges and tasks may touch: the endpoint, seen from inside. Worlds are built and passed, never reached for. */
export interface World {
  readonly now: Millis;
  readonly random: RandomSource;
  readonly limits: EndpointLimits;
  readonly options: EndpointOptions;
  readonly connections: readonly Connection[];
  readonly ikeSas: ReadonlyMap<number, IkeSa>;
  readonly collisions: Collisions;

  /** SPIs that we chose for IKE SAs whose rekeying is not answered yet: the peer may use one before we have heard (hexadecimal). */
  readonly chosenSpis: Set<string>;
  readonly reconnects: Reconnects;
  readonly redirects: Redirects;
  /** Undefined until the world has told. */
  readonly ownAddresses: Omit<Extract<Observation, { kind: 'local-addresses' }>, 'kind'> | undefined;
  /** Tickets that we give, and those that we hold (RFC 5723). */
  readonly tickets: TicketOffice;
  readonly wallet: TicketWallet;
  /** Makes crash tokens (RFC 6290), where there is a secret that outlives us. */
  readonly tokens: TokenMaker | undefined;
  /** How often strangers may make us look for an SA. */
  readonly complaints: TokenBucket;
  readonly strangers: Strangers;
  /** Work waits longer than it should. */
  pressed: boolean;

  /** Milliseconds since 1970. */
  wall(): number;
  emit(effect: Effect): void;
  notice(notice: Notice): void;
  /** A message as it is before protection, or after it was opened: told by whoever has it in clear. */
  message(sa: IkeSa | undefined, direction: 'in' | 'out', header: IkeHeader, payloads: readonly Payload[]): void;
  arm(timer: Timer, at: Millis): void;
  clear(timer: Timer): void;
  /** For good: where one is armed again it is made again. */
  disarm<K extends string>(timers: TimerSet<K>, ...names: readonly NoInfer<K>[]): void;

  ownPort(encap: boolean): number;

  /** Runs a routine on behalf of an IKE SA; its Asks and exchanges are cancelled when the SA dies. */
  run<T>(sa: IkeSa, routine: Routine<T>, done: (value: T) => void, failed: (error: unknown) => void): void;
  /** Queues an exchange of ours for when the window has room. */
  enqueue(sa: IkeSa, job: Job): void;
  pump(sa: IkeSa): void;

  transition(sa: IkeSa, to: IkeSaState): void;
  childTransition(child: ChildSa, to: ChildSaState): void;

  nextIkeSaId(): number;
  /** An SPI of ours that no other IKE SA of this endpoint has. */
  allocateIkeSpi(): Uint8Array;
  nextChildId(): number;
  /** A fresh inbound SPI that no child of this endpoint uses. */
  allocateChildSpi(): number;
  add(sa: IkeSa): void;
  /** Raises `ike-keys`; only where the options ask for it. */
  logKeys(sa: IkeSa): void;
  /** The IKE SA that has this SPI on our side. */
  bySpi(own: Uint8Array): IkeSa | undefined;
  /** IKE SAs whose peer has proven this identity. */
  provenAs(id: Identification): Iterable<IkeSa>;
  /** The peer of this SA is proven: from now on `provenAs` finds it. */
  noteProven(sa: IkeSa): void;
  /** Something came for it that its keys do not open: of those that nobody has authenticated yet it is counted (RFC 8019 §7.2). */
  noteForged(sa: IkeSa): void;
  /** Ends an IKE SA and its children at once, without a word to the peer. */
  kill(sa: IkeSa, reason: string, error?: unknown): void;
  /** Dead for every purpose but repeating its last answer. */
  linger(sa: IkeSa, reason: string, error?: unknown): void;

  addChild(sa: IkeSa, child: ChildSa): void;
  /** Children whose remote traffic begins at the same address, of whatever IKE SA. */
  childrenTowards(remoteTs: readonly TrafficSelector[]): Iterable<ChildSa>;
  child(id: number): ChildSa | undefined;
  removeChild(child: ChildSa, reason: string): void;
  /** Puts all children under another IKE SA (RFC 7296 §2.18). */
  moveChildren(from: IkeSa, to: IkeSa): void;

  /** Begins an IKE SA of the same connection with another gateway; this one goes when that one stands (RFC 5685). */
  follow(sa: IkeSa, gateway: string): void;

  /** A new stream for an IKE SA that is on one (RFC 9329 §6.1). */
  openStream(sa: IkeSa): void;
  /** A request that UDP has not answered goes out over TCP as well, where that may be (RFC 9329 §7.1). */
  probeTcp(sa: IkeSa, request: Outstanding): void;

  /** Messages of this IKE SA take another path from now on, and so does the traffic of its children. */
  moved(sa: IkeSa, path: Path): void;
  /** The IKE SA alone. */
  moveIke(sa: IkeSa, path: Path): void;
  /** The traffic of its children alone. @param encap ESP in UDP */
  moveTraffic(sa: IkeSa, path: Path): void;
}
