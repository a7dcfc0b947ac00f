import type { Address } from '../bytes/ip-address.ts';
import type { TrafficSelector } from '../wire/payloads/types.ts';
import type { PacketAgreement, PacketPolicy } from './packet-policy.ts';
import type { Transport } from './path.ts';

/** Everything that a data plane is told of a CHILD_SA. */
export interface ChildSaSpec extends PacketAgreement {
  /** Unique in this endpoint's life; never reused. */
  readonly id: number;
  readonly ikeSa: number;
  readonly connection: string;
  readonly name: string;
  readonly protocol: 'ESP' | 'AH';
  readonly mode: 'tunnel' | 'transport';
  /** The SPI we chose and the peer writes. */
  readonly inbound: ChildSaKeys;
  readonly outbound: ChildSaKeys;
  readonly esn: boolean;
  /** Entries; 0 is off. */
  readonly replayWindow: number;
  readonly localTs: readonly TrafficSelector[];
  readonly remoteTs: readonly TrafficSelector[];
  readonly local: Address;
  readonly remote: Address;
  /** ESP in UDP (RFC 3948), or in a stream. */
  readonly encap: boolean;
  /** true: the peer takes no TFC padding (ESP_TFC_PADDING_NOT_SUPPORTED, RFC 7296 §1.3.1); whoever would pad leaves it. */
  readonly unpadded?: boolean;
  /** Defaults unless it says otherwise. */
  readonly packets?: PacketPolicy | undefined;
  /** UDP or nothing around ESP unless it says otherwise. */
  readonly transport?: Transport | undefined;
  /** false: accept on the inbound SA, but keep sending on the SA it replaces until an update says so. */
  readonly outboundActive: boolean;
  /** The child this one takes over from, by a rekeying or by a new authentication: traffic moves over, counters are kept apart. */
  readonly replaces: number | undefined;
  /** 0 is never. Reaching one raises `soft-expire` or `hard-expire` in `observe`. */
  readonly limits: { readonly softBytes: number; readonly hardBytes: number; readonly softPackets: number; readonly hardPackets: number };
  /** From a snapshot: sequence numbers and IV counters must skip far ahead, and the replay window begins anew. */
  readonly resumed?: boolean;
  /** Addresses that were assigned to us (initiator) or by us (responder), for the data plane to configure. */
  readonly assigned: readonly string[];
}

export interface ChildSaKeys {
  readonly spi: number;
  readonly encryption: number;
  /** Bits. */
  readonly keyLength: number | undefined;
  /** Key and salt. */
  readonly encryptionKey: Uint8Array;
  /** 0 for AEAD. */
  readonly integrity: number;
  readonly integrityKey: Uint8Array;
}

export type ChildSaChange =
  /** Start sending on this SA; what it replaces, and whatever that stood in for, only receives from now on. */
  | { readonly kind: 'activate-outbound' }
  /** The peer receives on it no longer; we still do (RFC 7296 §1.4.1). */
  | { readonly kind: 'stop-outbound' }
  | {
      readonly kind: 'addresses';
      readonly local: Address;
      readonly remote: Address;
      readonly encap: boolean;
      readonly transport?: Transport | undefined;
    }
  /**
   * RFC 6311 §5.2: what we send goes on so many sequence numbers later; or what comes in does, counted from where a former life left it, and
   * nothing is taken any more that is older.
   */
  | { readonly kind: 'skip'; readonly direction: 'outbound' | 'inbound'; readonly by: bigint }
  /** An IKE rekey handed the child to another IKE SA. */
  | { readonly kind: 'owner'; readonly ikeSa: number };
