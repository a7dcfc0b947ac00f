import type { IdentityPattern } from '../pki/identity-pattern.ts';
import type { Identification, Proposal, TrafficSelector } from '../wire/payloads/types.ts';
import type { Millis } from './effects.ts';
import type { PacketPolicy } from './packet-policy.ts';

/**
 * What the operator wants, as plain data. `product/config` compiles YAML into it; its shape covers what swanctl.conf can say, so that
 * importers and a vici socket map onto it. All durations are milliseconds.
 */
export interface Connection {
  readonly name: string;
  /** Own addresses: IP literals, prefixes or `%any`. As initiator the first literal is the source. */
  readonly localAddresses: readonly string[];
  /** Peer addresses: IP literals, prefixes or `%any`. As initiator the first literal is dialled; names were resolved before. */
  readonly remoteAddresses: readonly string[];
  /** UDP ports; 500 and 4500 unless the operator says otherwise. `remoteNatPort` is where we float to after NAT detection. */
  readonly remotePort: number;
  readonly remoteNatPort: number;
  /** RFC 9329. As initiator: UDP alone where nothing is said; `auto` tries TCP where UDP gets no answer. As responder both are taken unless one is named. */
  readonly transport?: 'auto' | 'udp' | 'tcp' | undefined;
  /** `remoteNatPort` unless it says otherwise. */
  readonly remoteTcpPort?: number | undefined;
  /** How long UDP may stay without an answer before TCP is tried beside it. */
  readonly tcpAfter?: Millis | undefined;
  /** In order of preference; number and SPI are filled in when sent. */
  readonly proposals: readonly Proposal[];
  readonly local: readonly LocalAuth[];
  readonly remote: readonly RemoteAuth[];
  readonly children: readonly ChildPolicy[];
  /** For the data plane alone. */
  readonly shunts?: readonly ShuntPolicy[] | undefined;
  /** Names of pools from which the peer is given addresses (responder). */
  readonly pools: readonly string[];
  /** Addresses to ask for (initiator): `0.0.0.0` and `::` ask for any. */
  readonly virtualIps: readonly string[];
  readonly fragmentation: 'yes' | 'accept' | 'force' | 'no';
  /** Octets of the IP datagram that carries a fragment, IP and UDP header included. */
  readonly fragmentSize: number;
  /** Pretend a NAT is in the path, so that UDP encapsulation is used. */
  readonly encap: boolean;
  readonly sendCert: 'always' | 'ifasked' | 'never';
  readonly sendCertreq: boolean;
  /** Requests that each end may have under way at once, as far as the other allows (RFC 7296 §2.3); 1 unless it says otherwise. */
  readonly windowSize?: number | undefined;
  readonly lifetimes: IkeLifetimes;
  readonly liveness: Liveness;
  readonly retransmission: Retransmission;
  /** Interval of NAT keepalives while we are behind a NAT; 0 turns them off. */
  readonly natKeepalive: number;
  /** Up to which it grows where it was measured that the NAT keeps mappings longer; `natKeepalive` unless it says otherwise. */
  readonly natKeepaliveMost?: number;
  /**
   * What a second IKE SA between the same identities means: the old one goes, or both stay; with `never` INITIAL_CONTACT says nothing
   * either. A number: so many may stand, and one more is refused.
   */
  readonly unique: 'replace' | 'keep' | 'never' | number;
  readonly mobike: boolean;
  /** Prove that the peer receives at an address before traffic goes there (RFC 4555 §3.7); true unless it says otherwise. */
  readonly mobikeReturnRoutability?: boolean;
  /** Where the peer may be: literals, prefixes or `%any`, which it is unless it says otherwise. */
  readonly mobikeAddresses?: readonly string[];
  /** false: whoever changes addresses on the way is taken for an attacker (NO_NATS_ALLOWED, RFC 4555 §3.9). */
  readonly natsAllowed?: boolean;
  /** RFC 8598, of a client: what a gateway may say of names. Absent: nothing. */
  readonly splitDns?: SplitDnsPolicy | undefined;
  /** Of a client: ask for resolvers that speak encrypted DNS (RFC 9464). Absent: no. */
  readonly encryptedDns?: boolean | undefined;
  /** As initiator: the hardest puzzle that is solved, in zero bits (RFC 8019). Absent: none is. */
  readonly puzzles?: number | undefined;
  /** Announce how the peer may authenticate, and heed what it announces (RFC 9593). Absent: neither. */
  readonly authMethods?: boolean | undefined;
  /** Absent: none. */
  readonly ppk?: PpkPolicy | undefined;
  readonly childless: 'allow' | 'prefer' | 'force' | 'never';
  /** Whoever brings it up rekeys its children and the IKE SA at once, so that what would fail in an hour fails now. */
  readonly testRekey?: boolean | undefined;
  readonly redirect: RedirectFollowing;
  /** Make and take tokens by which a restart is noticed at once (RFC 6290); made only where there is a secret that outlives it. */
  readonly crashDetection: boolean;
  /** Agree to synchronise Message IDs and replay counters after one end took over with older ones (RFC 6311). Absent: no. */
  readonly counterSync?: boolean | undefined;
  /** Ask for tickets and use them, as initiator; give and take them, as responder (RFC 5723). */
  readonly resumption: boolean;
}

/** RFC 9329 §5: whether a responder lets the peer come over this transport. */
export const takesTransport = ({ transport = 'auto' }: Connection, over: { readonly transport?: 'udp' | 'tcp' | undefined }): boolean =>
  transport === 'auto' || transport === (over.transport ?? 'udp');

/** Domains in lower case, without a dot at the end; each stands for those in it as well. */
export interface SplitDnsPolicy {
  readonly accept: 'any' | readonly string[];
  /** For which the gateway may bring trust anchors of DNSSEC: as good as an authority for all certificates there (RFC 8598 §6). */
  readonly trustAnchors: readonly string[];
}

/** The exchange that mixes a PPK in: RFC 8784 in IKE_AUTH, RFC 9867 before that, so that identities are protected by it as well. */
export type PpkExchange = 'IKE_AUTH' | 'IKE_INTERMEDIATE';

/** RFC 8784: a post-quantum pre-shared key, which is somewhere else and has an id that both ends name. */
export interface PpkPolicy {
  /** As initiator the first PPK that it fits is used; as responder every one that it fits is taken. */
  readonly id: IdentityPattern;
  /** Nobody is let in without. */
  readonly required: boolean;
  /** Absent: IKE_INTERMEDIATE where the peer can, else IKE_AUTH. */
  readonly exchange?: PpkExchange | undefined;
}

export type AuthKind = 'psk' | 'pubkey' | 'eap' | 'null' | 'any';

export interface LocalAuth {
  readonly auth: AuthKind;
  readonly id: Identification | undefined;
  /** Which credential of the keystore: a handle that the core passes through in its Ask. */
  readonly credential?: string | undefined;
  /** Restricts the signature scheme, e.g. `rsa-pss`, `sha384`. Empty: whatever the key and the peer can. */
  readonly schemes?: readonly string[] | undefined;
}

export interface RemoteAuth {
  readonly auth: AuthKind;
  readonly id: IdentityPattern;
  /** Handles of the authorities that may have issued the peer's certificate; empty means all that are loaded. */
  readonly authorities?: readonly string[] | undefined;
  /** Handles of public keys that the peer may have (RFC 7670). Where there are some, no authorities means that no certificate counts. */
  readonly publicKeys?: readonly string[] | undefined;
  /** `id` is about what the certificate says, which the peer is then, whatever it calls itself. */
  readonly idFromCertificate?: boolean | undefined;
  readonly schemes?: readonly string[] | undefined;
}

/** Stands for the own address or the address that was assigned by configuration payload; with a protocol and ports, for those alone. */
export type DynamicSelector =
  | 'dynamic'
  | { readonly dynamic: true; readonly protocol: number; readonly startPort: number; readonly endPort: number };

export interface ChildPolicy {
  readonly name: string;
  readonly mode: 'tunnel' | 'transport';
  readonly proposals: readonly Proposal[];
  readonly localTs: readonly (TrafficSelector | DynamicSelector)[];
  readonly remoteTs: readonly (TrafficSelector | DynamicSelector)[];
  /** false: traffic that the two ends do not allow alike is no CHILD_SA, as initiator and as responder (RFC 7296 §2.9); true unless it says otherwise. */
  readonly narrow?: boolean | undefined;
  /** As responder: one pair of addresses for each CHILD_SA (SINGLE_PAIR_REQUIRED). */
  readonly singlePair?: boolean | undefined;
  /** How a key exchange in CREATE_CHILD_SA is treated. */
  readonly pfs: 'require' | 'prefer' | 'off';
  readonly lifetimes: ChildLifetimes;
  /** So long without traffic either way, and the child is deleted; 0 is never. */
  readonly inactivity?: number | undefined;
  /** The peer cuts what it negotiates as AUTH_HMAC_SHA2_256_128 to 96 bits, as was done before RFC 4868; we do so for it. */
  readonly sha256_96?: boolean | undefined;
  /** Entries; 0 turns the check off. */
  readonly replayWindow: number;
  readonly packets?: PacketPolicy | undefined;
  readonly startAction: 'none' | 'start' | 'trap';
  readonly closeAction: 'none' | 'start' | 'trap';
  readonly dpdAction: 'clear' | 'start' | 'trap';
}

/** Traffic that no CHILD_SA carries (RFC 4301 §4.4.1). The two ends do not speak of it. */
export interface ShuntPolicy {
  readonly name: string;
  /** In clear, past the tunnels; or not at all. */
  readonly action: 'bypass' | 'discard';
  /** Empty: every address. */
  readonly localTs: readonly TrafficSelector[];
  readonly remoteTs: readonly TrafficSelector[];
}

/** RFC 7296 §2.8: lifetimes are local. Rekeying starts between `rekey - jitter` and `rekey`; `hard` ends the SA. 0 is never. */
export interface IkeLifetimes {
  readonly rekey: number;
  readonly jitter: number;
  readonly hard: number;
  /** The initiator authenticates anew between `reauth - jitter` and `reauth`; the responder tells it to (RFC 4478). */
  readonly reauth: number;
  /** So long after `reauth` a responder ends an IKE SA whose initiator did not; a tenth of it where nothing is said. */
  readonly reauthGrace?: number | undefined;
}

export interface ChildLifetimes {
  readonly rekey: number;
  readonly jitter: number;
  readonly hard: number;
  readonly rekeyBytes: number;
  readonly hardBytes: number;
  readonly rekeyPackets: number;
  readonly hardPackets: number;
  /** As `jitter` for time: rekeying begins up to so much earlier. */
  readonly jitterBytes?: number | undefined;
  readonly jitterPackets?: number | undefined;
}

/** A liveness check goes out after `delay` without inbound traffic; 0 turns it off (RFC 7296 §2.4). */
export interface Liveness {
  readonly delay: number;
}

/** RFC 5685, as the client: whether a gateway may send us to another one, and how often in how much time (§7). */
export interface RedirectFollowing {
  readonly follow: boolean;
  readonly most: number;
  readonly within: Millis;
}

/** RFC 5685, as the gateway: where clients that can be redirected are sent, and when. */
export interface RedirectPolicy {
  /** IP addresses and DNS names; one of them by chance for each client. */
  readonly to: readonly string[];
  /** `over`: from so many IKE SAs on. */
  readonly when: { readonly kind: 'always' } | { readonly kind: 'over'; readonly ikeSas: number };
  /** `init` costs us nothing; `auth` sends away only whom both ends know by then. */
  readonly exchange: 'init' | 'auth';
  /** How long a client that was sent away may keep its IKE SA (§5). */
  readonly grace: Millis;
}

/** The n-th copy follows `initial * base^n` after the one before; the peer is dead when `giveUp` has passed since the first. */
export interface Retransmission {
  readonly initial: number;
  readonly base: number;
  readonly giveUp: number;
  /** Instead of it while the peer is the one that finds new paths (RFC 4555 §3.11). */
  readonly responderGiveUp?: number;
}

export interface EndpointLimits {
  /** Half-open IKE SAs from which on a COOKIE is demanded (RFC 7296 §2.6). */
  readonly cookieThreshold: number;
  /** From how many on a puzzle has to be solved as well, and how hard it is: zero bits (RFC 8019). Absent: none is. */
  readonly puzzles?: PuzzlePolicy | undefined;
  readonly halfOpenPerAddress: number;
  readonly halfOpen: number;
  /** How long an IKE SA may stay unauthenticated. */
  readonly halfOpenLife: number;
  readonly ikeSas: number;
  /** Who may begin an IKE SA; whoever else does is not answered, and costs nothing but the look at its address. Absent: anybody. */
  readonly knownPeers?: KnownPeers | undefined;
  /** Answers to strangers that leave nothing behind: refusals, INVALID_IKE_SPI, INVALID_MAJOR_VERSION, crash tokens. */
  readonly refusals?: AnswerRates | undefined;
  /** Demands for a cookie. */
  readonly cookies?: AnswerRates | undefined;
}

export interface PuzzlePolicy {
  readonly threshold: number;
  readonly difficulty: number;
  /** How hard one is that has to be solved in IKE_AUTH as well, while of many half-open IKE SAs that cannot be opened (RFC 8019 §7.2). Absent: none is. */
  readonly inAuth?: number | undefined;
}

export interface KnownPeers {
  /** Literals and prefixes. */
  readonly addresses: readonly string[];
  /** And whoever a connection names as its peer. */
  readonly connections: boolean;
}

/** Each second; twice as many at once. */
export interface AnswerRates {
  /** To one IPv4 address, or one IPv6 /64. */
  readonly perSource: number;
  readonly inAll: number;
}
