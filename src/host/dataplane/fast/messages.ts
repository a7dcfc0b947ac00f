import type { Address } from '../../../core/bytes/index.ts';
import type { ChildSaChange, ChildSaSpec, Observation, Transport } from '../../../core/ike/effects.ts';
import type { TunState } from '../../platform/linux/tun.ts';
import type { SequenceNumbers, ShuntPolicy, TrapPolicy } from '../data-plane.ts';
import type { CardRings } from './card-device.ts';

/** What the thread has on its inner side. */
export type InnerSide = TunSide | CardSide;

/** A network interface. */
export interface TunSide {
  readonly kind: 'tun';
  readonly tun: TunState;
}

/** Hosts in this process. */
export interface CardSide {
  readonly kind: 'card';
  readonly rings: CardRings;
  /** Inner addresses of our own, besides those that peers assign. */
  readonly addresses: readonly string[];
  /** As `DataPlaneOptions` has them. */
  readonly forward: boolean;
  readonly behind: boolean;
}

/** What the main thread tells the thread that moves packets. */
export type ToLoop =
  /** First of all. Times are counted from `origin` (`performance.timeOrigin` of the main thread). */
  | {
      readonly kind: 'start';
      readonly origin: number;
      /** Name of the data plane. */
      readonly backend: string;
      readonly inner: InnerSide;
      /** Descriptor of the eventfd that the thread waits on. */
      readonly wake: number;
      readonly counters: SharedArrayBuffer;
      /** One 32-bit number: datagrams that were handed over and are not worked on yet. */
      readonly waiting: SharedArrayBuffer;
      /** As `DataPlaneOptions` has it. */
      readonly singly: boolean;
    }
  /** A UDP socket that is read here from now on. */
  | { readonly kind: 'socket'; readonly fd: number; readonly local: Address }
  /** A raw socket that is read here from now on, to the end. */
  | { readonly kind: 'raw'; readonly fd: number; readonly ip: string; readonly protocol: number }
  | { readonly kind: 'socket-gone'; readonly local: Address; readonly token: number }
  | {
      readonly kind: 'install';
      readonly token: number;
      readonly slot: number;
      readonly spec: ChildSaSpec;
      readonly resume: SequenceNumbers | undefined;
    }
  | { readonly kind: 'update'; readonly child: number; readonly change: ChildSaChange }
  | { readonly kind: 'remove'; readonly child: number }
  | { readonly kind: 'traps'; readonly traps: readonly TrapPolicy[] }
  | { readonly kind: 'shunts'; readonly shunts: readonly ShuntPolicy[] }
  /** ESP that came by a way of the main thread's. */
  | {
      readonly kind: 'esp';
      readonly packet: Uint8Array;
      readonly local: Address;
      readonly ip: string;
      readonly port: number;
      readonly transport: Transport | undefined;
    }
  | { readonly kind: 'close'; readonly token: number };

/** What it tells back. */
export type FromLoop =
  | { readonly kind: 'done'; readonly token: number; readonly refusal: Refusal | undefined }
  | { readonly kind: 'observations'; readonly observations: readonly Observation[] }
  /** As it came, the non-ESP marker in front. */
  | { readonly kind: 'ike'; readonly datagram: Uint8Array; readonly local: Address; readonly ip: string; readonly port: number }
  /** ESP for a way of the main thread's: a stream. */
  | {
      readonly kind: 'send';
      readonly packet: Uint8Array;
      readonly local: Address;
      readonly remote: Address;
      readonly transport: Transport | undefined;
    }
  | { readonly kind: 'drops'; readonly drops: Readonly<Record<string, number>>; readonly forwarded: number }
  /** There is something in the rings, or room in them. */
  | { readonly kind: 'card' }
  /** The largest inner packet that no SA has to split; undefined without SAs. */
  | { readonly kind: 'mtu'; readonly mtu: number | undefined };

/** A DataPlaneError on its way between threads. */
export interface Refusal {
  readonly message: string;
  readonly code: string;
  readonly hint: string | undefined;
}

/** Of `waiting`, at most: anybody can send IKE faster than it can be read, and what waits here takes memory. */
export const MOST_WAITING = 1024;
/** Of those, that first messages of strangers may take: who is known is heard all the same. */
export const MOST_STRANGERS = MOST_WAITING / 2;
/** That the thread waits on. */
export const MOST_SOCKETS = 62;
