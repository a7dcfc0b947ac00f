import type { TunnelwrightError } from '../bytes/errors.ts';
import type { Address } from '../bytes/ip-address.ts';
import type { AuthAnnouncement } from '../wire/auth-announcements.ts';
import type { CertPayload, ConfigurationAttribute, Identification, TrafficSelector } from '../wire/payloads/types.ts';
import type { ChildSaChange, ChildSaSpec } from './child-spec.ts';
import type { Notice } from './notice.ts';
import type { Transport } from './path.ts';
import type { LocalAuth, PpkPolicy, RemoteAuth } from './policy.ts';

export type { ChildSaChange, ChildSaKeys, ChildSaSpec } from './child-spec.ts';
export type { ChildSaInfo, IkeSaInfo, MobikeInfo } from './info.ts';
export type { IkeKeyLog, Notice } from './notice.ts';
export type { KernelPolicy, PacketMark, PacketPolicy } from './packet-policy.ts';
export type { Transport } from './path.ts';

/** Milliseconds of a monotonic clock that the caller owns. */
export type Millis = number;

/** What arrives from or goes to the network. The non-ESP marker (RFC 7296 §2.23) is put on and taken off by whoever owns the socket. */
export interface Datagram {
  readonly local: Address;
  readonly remote: Address;
  readonly data: Uint8Array;
  /** Through a UDP-encapsulating socket (port 4500 by role, whatever its number), or a stream. */
  readonly encap: boolean;
  /** UDP unless it says otherwise. Over TCP the two ends name the stream (RFC 9329). */
  readonly transport?: Transport | undefined;
}

/** What the core wants done, pulled by `poll()` in order. */
export type Effect =
  | { readonly kind: 'transmit'; readonly datagram: Datagram }
  | {
      readonly kind: 'ask';
      readonly id: number;
      readonly ikeSa: number;
      readonly rank: AskRank;
      readonly ask: Ask;
      readonly deadline: Millis;
    }
  /** The answer no longer matters; a late one is dropped. */
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'child-update'; readonly child: number; readonly change: ChildSaChange }
  | { readonly kind: 'child-remove'; readonly child: number; readonly reason: string }
  /** Addresses leased with the Ask `lease` go back. */
  | { readonly kind: 'lease-release'; readonly ikeSa: number }
  /** What becomes of a stream (RFC 9329 §6.1). */
  | { readonly kind: 'stream'; readonly change: StreamChange; readonly local: Address; readonly remote: Address }
  | { readonly kind: 'notice'; readonly at: Millis; readonly notice: Notice };

export type StreamChange =
  /** Somebody has authenticated on it. */
  | 'keep'
  /** Nothing of ours is on it any more: its peer gets a moment to close it. */
  | 'release'
  /** Nothing of ours is on it any more, and it is ours to close. */
  | 'close';

/**
 * Whose Ask goes first where there are more than can be worked on: a peer that is proven, or that we called ourselves; one that has shown that
 * it receives at its address; anybody.
 */
export type AskRank = 'trusted' | 'reachable' | 'stranger';

/**
 * Everything slow or outside. The exchange parks until `answer(id, …)`; a retransmitted request meanwhile is counted and dropped.
 * Each kind names its answer in `AskAnswers`. After the deadline the core goes on as if `{ ok: false }` had been answered.
 */
export type Ask =
  /** Make our AUTH payload: sign with a private key, or compute the PSK's MAC. */
  | {
      readonly kind: 'authenticate';
      readonly connection: string;
      readonly auth: LocalAuth;
      readonly localId: Identification | undefined;
      readonly remoteId: Identification | undefined;
      /** RFC 7296 §2.15: what AUTH covers, still open at the end: the identity's MAC is in it, so the identity must be known before. */
      readonly octets: (id: Identification) => Uint8Array;
      /** IANA PRF id, for a PSK: prf(prf(PSK, "Key Pad for IKEv2"), octets). */
      readonly prf: number;
      /** RFC 7427 hash ids the peer announced; undefined when it sent no SIGNATURE_HASH_ALGORITHMS. */
      readonly peerHashes: readonly number[] | undefined;
      /** What it announced that it takes (RFC 9593); undefined where it did not. */
      readonly peerMethods?: readonly AuthAnnouncement[] | undefined;
      /** CERTREQ authorities of the peer (20-octet hashes), to choose among several certificates. */
      readonly certificateAuthorities: readonly Uint8Array[];
      readonly sendCertificates: boolean;
      /** Hash and URL may stand for each of them (RFC 7296 §3.6). */
      readonly looksUp?: boolean | undefined;
      /** Likewise the public key, where it goes without certificate (RFC 7670). */
      readonly sendRawKey?: boolean | undefined;
    }
  /** Is the peer who it says, and is that one of these connections' peers? Path validation happens here. */
  | {
      readonly kind: 'verify';
      /** Candidates in order of preference; the answer names the one that fits. */
      readonly candidates: readonly { readonly connection: string; readonly remote: RemoteAuth }[];
      readonly id: Identification;
      readonly localId: Identification | undefined;
      readonly method: number;
      readonly data: Uint8Array;
      readonly octets: Uint8Array;
      readonly prf: number;
      readonly certificates: readonly CertPayload[];
      readonly ourHashes: readonly number[];
    }
  /** Where is this gateway (an IP address or a DNS name), and from where is it reached? For a connection that was redirected (RFC 5685). */
  | { readonly kind: 'approach'; readonly connection: string; readonly gateway: string }
  /** Open a TCP stream from an own address (RFC 9329 §6.1); the prefix is sent by whoever opens it. */
  | { readonly kind: 'connect'; readonly localIp: string; readonly remote: Address; readonly within: Millis }
  /** A post-quantum pre-shared key (RFC 8784). The core overwrites the secret that it is given. */
  | {
      readonly kind: 'ppk';
      readonly candidates: readonly { readonly connection: string; readonly ppk: PpkPolicy }[];
      /** PPK_ID as the peer sent it, its type in front (RFC 8784 §5.1); undefined where we are to name one. */
      readonly id: Uint8Array | undefined;
      /** Whose it is to be, as far as that is known; nobody has proven anything yet. */
      readonly remoteId: Identification | undefined;
    }
  /** The responder's half of a key exchange; asked only where `asksKeyExchange` says so. The core overwrites the secret that it is given. */
  | {
      readonly kind: 'key-exchange';
      readonly method: number;
      readonly peerPublic: Uint8Array;
      /** For simulations alone (`RandomSource.keySeed`). */
      readonly seed: Uint8Array | undefined;
      /** Nothing has been promised yet: refused with code `OVERLOADED`, it costs the peer another try. */
      readonly refusable: boolean;
    }
  /** The puzzle that a busy responder has set us (RFC 8019 §7.1.3): keys for this PRF under which `octets` become so many zero bits at the end. */
  | { readonly kind: 'solve-puzzle'; readonly prf: number; readonly difficulty: number; readonly octets: Uint8Array }
  /** May this authenticated peer come in? The operator's hook. */
  | {
      readonly kind: 'authorise';
      readonly connection: string;
      readonly remoteId: Identification;
      readonly remote: Address;
      /** It proved no identity (RFC 7619): `remoteId` is what it calls itself. */
      readonly anonymous?: boolean | undefined;
      /** It proved itself by a ticket (RFC 5723), in an earlier IKE SA by what this connection wants. */
      readonly resumed: boolean;
    }
  /** Addresses and the rest of CFG_REPLY for an authenticated peer. */
  | {
      readonly kind: 'lease';
      readonly connection: string;
      readonly pools: readonly string[];
      readonly remoteId: Identification;
      readonly requested: readonly ConfigurationAttribute[];
      /** It proved no identity: nothing is remembered of it, and it does not choose. */
      readonly anonymous?: boolean | undefined;
      /** IKE SAs of the same peer: an address that one of them holds is lent again to whoever asks for that very one (it authenticates anew). */
      readonly alongside?: readonly number[] | undefined;
    }
  /** Put a CHILD_SA into the data plane. The peer hears about it only once this stood. */
  | { readonly kind: 'install'; readonly spec: ChildSaSpec }
  /** When did a CHILD_SA last carry a packet, either way? */
  | { readonly kind: 'last-use'; readonly child: number };

export interface AskAnswers {
  readonly authenticate: Answer<{
    readonly id: Identification;
    readonly method: number;
    readonly data: Uint8Array;
    readonly certificates: readonly { readonly encoding: number; readonly data: Uint8Array }[];
  }>;
  readonly verify: Answer<{
    readonly connection: string;
    /** Who it is proven to be, where that is not what it calls itself: the holder of a raw public key (RFC 7670 §1). */
    readonly id?: Identification | undefined;
    /** What to show: certificate subject, issuer, days left; or `psk`. */
    readonly description: string;
  }>;
  readonly 'key-exchange': Answer<{ readonly publicValue: Uint8Array; readonly sharedSecret: Uint8Array }>;
  readonly 'solve-puzzle': Answer<{ readonly solution: Uint8Array }>;
  readonly approach: Answer<{ readonly local: Address; readonly remote: Address }>;
  readonly connect: Answer<{ readonly local: Address }>;
  readonly ppk: Answer<{
    /** PPK_ID, its type in front. */
    readonly id: Uint8Array;
    readonly secret: Uint8Array;
    /** The candidates for which it may be used. */
    readonly connections: readonly string[];
  }>;
  readonly authorise: Answer<{
    /** Send the peer to this gateway, if it follows redirects (RFC 5685 §6). */
    readonly redirect?: string | undefined;
  }>;
  readonly lease: Answer<{
    /** Goes into CFG_REPLY as is. */
    readonly attributes: readonly ConfigurationAttribute[];
    /** The addresses among them, for the selectors. */
    readonly addresses: readonly string[];
  }> & {
    /** Families that there are addresses of at all (RFC 8983); nothing is said where it is not known. */
    readonly families?: readonly (4 | 6)[] | undefined;
  };
  readonly install: Answer<Record<never, never>>;
  readonly 'last-use': Answer<{ readonly at: Millis | undefined }>;
}

export type Answer<T> = ({ readonly ok: true } & T) | { readonly ok: false; readonly error: TunnelwrightError };
export type AskResult = AskAnswers[keyof AskAnswers];

/** What the world tells the core, besides datagrams, commands and answers. */
export type Observation =
  | { readonly kind: 'acquire'; readonly connection: string; readonly child: string; readonly packet?: PacketSelectors | undefined }
  | { readonly kind: 'soft-expire'; readonly child: number }
  | { readonly kind: 'hard-expire'; readonly child: number }
  /** ESP came with an SPI that nobody here gave out; told of a few such packets, and only of those longer than an answer. */
  | { readonly kind: 'unknown-spi'; readonly spi: number; readonly local: Address; readonly remote: Address; readonly encap: boolean }
  /** Authenticated ESP came in: spares a liveness check (RFC 7296 §2.4). */
  | {
      readonly kind: 'inbound-traffic';
      readonly child: number;
      /** Not between the addresses that the SA should use: then it does not show that the peer hears us there (RFC 4555 §3.12). */
      readonly elsewhere?: boolean;
    }
  /** Authenticated ESP came from another address or port (RFC 7296 §2.23). */
  | {
      readonly kind: 'mapping-changed';
      readonly child: number;
      readonly remote: Address;
      /** It came over another stream than the one in use: ours of its two ends. */
      readonly stream?: Address | undefined;
    }
  /** Neither end can send on it any more. */
  | { readonly kind: 'stream-closed'; readonly local: Address; readonly remote: Address }
  | {
      readonly kind: 'local-addresses';
      /** Those from which we can send, sockets included; in order of preference where nothing below says more. */
      readonly addresses: readonly string[];
      /** Port of the encapsulating socket, by address, where it is not the usual one. */
      readonly ports?: Readonly<Record<string, number>>;
      /** From which address the machine itself would send, by address of the peer. */
      readonly sources?: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'path-mtu'; readonly remote: Address; readonly mtu: number }
  /** Asks wait longer than they should: until told otherwise strangers have to show a cookie first. */
  | { readonly kind: 'pressure'; readonly high: boolean };

/** One packet as traffic selectors: two addresses, its protocol and its ports (RFC 7296 §2.9, §3.13.1). */
export interface PacketSelectors {
  readonly local: TrafficSelector;
  readonly remote: TrafficSelector;
}

export type Command =
  | {
      readonly kind: 'initiate';
      readonly connection: string;
      readonly child?: string | undefined;
      readonly local?: Address;
      readonly remote?: Address;
      /** The packet that asks for the child. */
      readonly packet?: PacketSelectors | undefined;
    }
  | { readonly kind: 'create-child'; readonly ikeSa: number; readonly child: string; readonly packet?: PacketSelectors | undefined }
  | { readonly kind: 'rekey-child'; readonly child: number }
  | { readonly kind: 'rekey-ike'; readonly ikeSa: number }
  /** As initiator: a new IKE SA takes the place of this one. As responder: the peer is asked to do so (RFC 4478). */
  | { readonly kind: 'reauthenticate'; readonly ikeSa: number }
  | { readonly kind: 'delete-child'; readonly child: number }
  /** Graceful: a Delete goes out and the SA lives until it is answered or given up. */
  | { readonly kind: 'delete-ike'; readonly ikeSa: number }
  /** Ends every IKE SA of a connection, and tries no more to bring it back. */
  | { readonly kind: 'terminate'; readonly connection: string }
  /** Without a word to the peer. */
  | { readonly kind: 'forget-ike'; readonly ikeSa: number }
  | { readonly kind: 'check-liveness'; readonly ikeSa: number }
  /** Asks the peer, from another port than that of the IKE SA, for an answer now and for the same once more later (`tasks/nat-echo.ts`). */
  | { readonly kind: 'ask-echo'; readonly ikeSa: number; readonly local: Address; readonly seconds: number }
  /** Asks the peer to go to another gateway, an IP address or a DNS name (RFC 5685 §5). */
  | { readonly kind: 'redirect'; readonly ikeSa: number; readonly gateway: string };
