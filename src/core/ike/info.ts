import type { Address } from '../bytes/ip-address.ts';
import type { Identification, TrafficSelector } from '../wire/payloads/types.ts';
import type { Millis } from './effects.ts';
import type { Transport } from './path.ts';
import type { EncryptedDns } from './tasks/encrypted-dns.ts';
import type { SplitDns } from './tasks/split-dns.ts';

/** What `status` and `sas` show of an IKE SA. */
export interface IkeSaInfo {
  readonly id: number;
  readonly connection: string | undefined;
  readonly state: string;
  readonly role: 'initiator' | 'responder';
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
  readonly local: Address;
  readonly remote: Address;
  readonly localId: Identification | undefined;
  readonly remoteId: Identification | undefined;
  readonly localAuth: string;
  readonly remoteAuth: string;
  readonly natOurs: boolean;
  readonly natTheirs: boolean;
  /** UDP unless it says otherwise. */
  readonly transport?: Transport | undefined;
  /** Why it is TCP, in a few words. */
  readonly transportReason?: string | undefined;
  /** Keywords, `aes256gcm16/prfsha384/x25519`. */
  readonly suite: string;
  readonly fragmentation: boolean;
  /** RFC 6290: whether the peer would hear at once that we crashed, and we that it did. */
  readonly crashTokens: { readonly made: boolean; readonly held: boolean };
  /** It goes on from an earlier IKE SA, by a ticket (RFC 5723). */
  readonly resumed: boolean;
  /** A ticket for it is out, by which it can go on should it be lost. */
  readonly resumable: boolean;
  /** The id of the post-quantum pre-shared key that is in its keys (RFC 8784). */
  readonly ppk?: string | undefined;
  /** How we may authenticate, as the peer announced (RFC 9593). */
  readonly authMethods?: readonly string[] | undefined;
  /** The peer follows redirects (RFC 5685). */
  readonly redirectable: boolean;
  /** The gateway that sent the initiator here. */
  readonly redirectedFrom: string | undefined;
  /** Undefined where addresses cannot change (RFC 4555). */
  readonly mobike?: MobikeInfo | undefined;
  /** Requests that may be under way at once, ours and the peer's (RFC 7296 §2.3); absent while both are 1. */
  readonly window?: { readonly ours: number; readonly theirs: number } | undefined;
  /** RFC 6311: which counters both ends bring into step again after one of them took over with older ones; absent where neither. */
  readonly counterSync?: { readonly messageIds: boolean; readonly replayCounters: boolean } | undefined;
  readonly establishedAt: Millis | undefined;
  readonly rekeyAt: Millis | undefined;
  /** When the initiator authenticates anew; for a responder, when it ends the IKE SA unless that has happened. */
  readonly reauthAt?: Millis | undefined;
  readonly lastInbound: Millis | undefined;
  /** Inner addresses that were assigned, by the peer to us or by us to the peer; who began the IKE SA does not tell, since either end rekeys. */
  readonly assigned: readonly string[];
  readonly assignedToUs: boolean;
  /** RFC 8598: names that are resolved behind the tunnel, as the gateway told. */
  readonly splitDns?: SplitDns | undefined;
  /** RFC 9464: resolvers that speak encrypted DNS, as the gateway told. */
  readonly encryptedDns?: EncryptedDns | undefined;
  /** Products and extensions that the peer announced by Vendor IDs, as far as they are known. */
  readonly vendors?: readonly string[];
  readonly children: readonly ChildSaInfo[];
}

export interface MobikeInfo {
  /** We choose the addresses: we began the first IKE SA of the line. */
  readonly decides: boolean;
  /** Addresses that the peer has besides the one in use, as it told. */
  readonly peerAddresses: readonly string[];
  /** It helps to measure how long a NAT keeps its mappings. */
  readonly echoes: boolean;
}

export interface ChildSaInfo {
  readonly id: number;
  readonly name: string;
  readonly state: string;
  readonly protocol: 'ESP' | 'AH';
  readonly mode: 'tunnel' | 'transport';
  readonly inboundSpi: number;
  readonly outboundSpi: number;
  readonly suite: string;
  readonly localTs: readonly TrafficSelector[];
  readonly remoteTs: readonly TrafficSelector[];
  /** What besides was agreed on or is done with its packets, in a few words each; absent where there is nothing. */
  readonly packets?: readonly string[] | undefined;
  readonly establishedAt: Millis;
  readonly rekeyAt: Millis | undefined;
}
