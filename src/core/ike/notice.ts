import type { TunnelwrightError } from '../bytes/errors.ts';
import type { Address } from '../bytes/ip-address.ts';
import type { ConfigurationAttribute, Identification } from '../wire/payloads/types.ts';
import type { ChildSaKeys } from './child-spec.ts';
import type { Millis } from './effects.ts';
import type { IkeSaInfo } from './info.ts';
import type { Transport } from './path.ts';
import type { TryingAddress } from './tasks/address-pairs.ts';
import type { SplitDns } from './tasks/split-dns.ts';

/** What happened, for logs, the CLI, the dashboard and counters. Never holds a secret. */
export type Notice =
  | {
      readonly kind: 'ike-state';
      readonly ikeSa: number;
      readonly connection: string | undefined;
      readonly from: string;
      readonly to: string;
    }
  | {
      readonly kind: 'child-state';
      readonly child: number;
      readonly ikeSa: number;
      readonly name: string;
      readonly from: string;
      readonly to: string;
    }
  /** One exchange that we began is over; sizes in octets of IKE, both fragments and copies counted once. */
  | {
      readonly kind: 'exchange';
      readonly ikeSa: number;
      readonly exchange: number;
      readonly messageId: number;
      readonly initiator: boolean;
      readonly remote: Address;
      readonly requestOctets: number;
      readonly responseOctets: number;
      /** From the first transmission to the answer. */
      readonly took: Millis;
      readonly retransmissions: number;
      /** What it brought about, in a few words; may be empty. */
      readonly summary: string;
    }
  | { readonly kind: 'ike-up'; readonly ikeSa: number; readonly info: IkeSaInfo }
  | { readonly kind: 'ike-rekeyed'; readonly from: number; readonly to: number; readonly byUs: boolean }
  /** A new IKE SA with a new authentication stands beside the old one, which is going to be deleted. */
  | { readonly kind: 'ike-reauthenticated'; readonly from: number; readonly to: number; readonly byUs: boolean }
  | {
      readonly kind: 'ike-down';
      readonly ikeSa: number;
      readonly connection: string | undefined;
      readonly reason: string;
      readonly error: TunnelwrightError | undefined;
    }
  | { readonly kind: 'child-up'; readonly child: number; readonly ikeSa: number; readonly name: string; readonly suite: string }
  | { readonly kind: 'child-rekeyed'; readonly from: number; readonly to: number; readonly byUs: boolean }
  | { readonly kind: 'child-down'; readonly child: number; readonly ikeSa: number; readonly name: string; readonly reason: string }
  /** A command or an exchange failed while its IKE SA may live on. */
  | {
      readonly kind: 'failed';
      readonly ikeSa: number | undefined;
      readonly connection: string | undefined;
      readonly what: string;
      readonly error: TunnelwrightError;
    }
  | {
      readonly kind: 'nat';
      readonly ikeSa: number;
      readonly ours: boolean;
      readonly theirs: boolean;
      readonly forced: boolean;
      /** UDP unless it says otherwise. */
      readonly transport?: Transport;
      /** The NAT in front of us gave us another mapping than before (RFC 4555 §3.8). */
      readonly remapped?: boolean;
    }
  /** RFC 6311: one end took over with older counters, and both have agreed on where they go on. */
  | { readonly kind: 'synchronised'; readonly ikeSa: number; readonly connection: string | undefined; readonly byUs: boolean }
  /** The IKE SA and its CHILD_SAs have other addresses (RFC 4555 §3.5). */
  | {
      readonly kind: 'moved';
      readonly ikeSa: number;
      readonly connection: string | undefined;
      readonly local: Address;
      readonly remote: Address;
      readonly why: string;
    }
  | {
      readonly kind: 'addresses';
      readonly ikeSa: number;
      readonly attributes: readonly ConfigurationAttribute[];
      readonly addresses: readonly string[];
      /** Families that were asked for and not given. */
      readonly missing: readonly (4 | 6)[];
      /** Families that the gateway has addresses of, where it told (RFC 8983). */
      readonly served?: readonly (4 | 6)[] | undefined;
      readonly splitDns?: SplitDns | undefined;
    }
  | { readonly kind: 'peer'; readonly ikeSa: number; readonly id: Identification; readonly method: number; readonly description: string }
  /** The gateway did not take our ticket (RFC 5723); the IKE SA `to` makes the whole handshake instead. */
  | {
      readonly kind: 'not-resumed';
      readonly ikeSa: number;
      readonly connection: string | undefined;
      readonly reason: string;
      readonly to: number;
    }
  /** A rekeying that was only to show whether rekeyings will work; `what` is `CHILD_SA net` or `the IKE SA`. */
  | {
      readonly kind: 'rekey-tested';
      readonly ikeSa: number | undefined;
      readonly connection: string;
      readonly what: string;
      readonly suite: string | undefined;
      readonly error: TunnelwrightError | undefined;
    }
  /** RFC 5685: we sent the peer to another gateway, or it sent us there and the IKE SA `to` is on its way. */
  | {
      readonly kind: 'redirected';
      readonly ikeSa: number;
      readonly connection: string | undefined;
      readonly gateway: string;
      readonly byUs: boolean;
      readonly to: number | undefined;
    }
  | { readonly kind: 'retransmit'; readonly ikeSa: number; readonly exchange: number; readonly messageId: number; readonly attempt: number }
  | TryingAddress
  /** UDP got no answer, so the same is tried over TCP: the IKE SA `to` is on its way, beside the one that still asks over UDP (RFC 9329 §5.1). */
  | {
      readonly kind: 'trying-tcp';
      readonly ikeSa: number;
      readonly connection: string | undefined;
      readonly remote: Address;
      readonly to: number;
    }
  /** One of the two was answered, or is the only one that may still be; the other one ends. */
  | {
      readonly kind: 'transport-chosen';
      readonly ikeSa: number;
      readonly connection: string | undefined;
      readonly transport: Transport;
      /** Undefined: it was answered. Else why the other one is given up, while this one is not answered yet. */
      readonly failure: string | undefined;
      readonly to: number;
    }
  /** The stream of an IKE SA that stands is gone; `opened`: there is a new one. */
  | {
      readonly kind: 'stream';
      readonly ikeSa: number;
      readonly connection: string | undefined;
      readonly remote: Address;
      readonly change: 'lost' | 'opened';
    }
  /** A datagram was dropped; `cause` is a stable word, and is counted. */
  | { readonly kind: 'drop'; readonly cause: string; readonly remote: Address; readonly detail: string }
  /** Only after `logKeys` was asked for: the one place where keys leave. */
  | { readonly kind: 'ike-keys'; readonly ikeSa: number; readonly keys: IkeKeyLog }
  | {
      readonly kind: 'child-keys';
      readonly child: number;
      readonly local: Address;
      readonly remote: Address;
      readonly inbound: ChildSaKeys;
      readonly outbound: ChildSaKeys;
    }
  /** A message before protection or after it was opened, for captures and verbose logs. */
  | { readonly kind: 'message'; readonly ikeSa: number | undefined; readonly direction: 'in' | 'out'; readonly text: string };

export interface IkeKeyLog {
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
  readonly encryption: number;
  readonly keyLength: number | undefined;
  readonly integrity: number;
  readonly SK_ei: Uint8Array;
  readonly SK_er: Uint8Array;
  readonly SK_ai: Uint8Array;
  readonly SK_ar: Uint8Array;
}
