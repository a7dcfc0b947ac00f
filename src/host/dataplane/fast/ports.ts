import type { Address } from '../../../core/bytes/index.ts';
import type { PacketBuffer } from '../../../core/packet/offload/index.ts';
import type { EspPath } from '../data-plane.ts';

/** A TUN device with IFF_VNET_HDR: every packet has its virtio header in front, `VNET_HEADER` octets. */
export interface TunPort<B extends PacketBuffer = PacketBuffer> {
  /** One packet to `at`. @returns octets, the virtio header included; 0 when there is none now, -1 when there will be none */
  read(into: B, at: number, length: number): number;
  /** @returns false when the kernel did not take it */
  write(from: B, at: number, length: number): boolean;
}

/** The way of one SA's packets out of a plane that sends many at once. */
export interface BatchPath<B extends PacketBuffer = PacketBuffer> extends EspPath {
  /** Packets of two SAs go out in one batch when these are the same: socket and peer. Undefined where only `send` is there. */
  readonly batch: BatchTarget<B> | undefined;
}

export interface BatchTarget<B extends PacketBuffer = PacketBuffer> {
  /** Octets of an outer IP packet that pass, as far as is known; undefined where nothing is. */
  readonly mtu?: number | undefined;
  /**
   * Sends datagrams of `segment` octets each, the last one maybe shorter, that stand one behind the other from `at`: at most
   * `MOST_SEGMENTS` of them and `MOST_OCTETS` in all.
   * @param trafficClass DSCP and ECN of the outer headers
   * @returns octets that were taken: whole datagrams from the front; the others were dropped here
   */
  sendBatch(from: B, at: number, length: number, segment: number, trafficClass: number): number;
}

/** A UDP socket that the plane reads. */
export interface UdpPort<B extends PacketBuffer = PacketBuffer> {
  readonly local: Address;
  /** Takes in what waits, `MOST_MESSAGES` at most. @returns how many there were: as many as that, and there may be more */
  receive(take: TakeDatagrams<B>): number;
  /** Takes in what was said about packets that were too large, a bounded part of it. */
  readonly receiveErrors?: (take: TakeTooLarge) => void;
  /** The way to a peer; found once, used for every packet. */
  towards(remote: Address): BatchTarget<B> & Pick<EspPath, 'send'>;
  close(): void;
}

/** Datagrams of one sender that stand in `[start, end)`, one every `step` octets, each of `length` octets but the last. `trafficClass` is -1 where nobody tells. */
export type TakeDatagrams<B extends PacketBuffer = PacketBuffer> = (
  from: B,
  start: number,
  end: number,
  step: number,
  length: number,
  local: Address,
  ip: string,
  port: number,
  trafficClass: number,
) => void;

/** A raw socket that the plane reads: whole IP packets of one protocol. */
export interface RawPort {
  readonly ip: string;
  readonly protocol: number;
  /** Takes in what waits, a bounded part of it. @returns false when nothing waited */
  receive(take: TakeWhole): boolean;
  receiveErrors(take: TakeTooLarge): void;
  towards(remote: Address): { readonly mtu: number | undefined; send(packet: Uint8Array): boolean };
  close(): void;
}

/** A packet, from its IP header at `start`; it may be worked on in place. */
export type TakeWhole = (packet: Uint8Array, start: number, end: number) => void;

/** @param mtu octets of an outer packet; @param quoted ESP from its SPI, undefined where it is not a stranger who says so */
export type TakeTooLarge = (ip: string, mtu: number, quoted: Uint8Array | undefined) => void;

/** Where packets that were opened go; several in a row are put together where the device takes that. */
export interface InnerSink<B extends PacketBuffer = PacketBuffer> {
  /** The packet in `[start, end)`; the `VNET_HEADER` octets before it may be overwritten. */
  push(from: B, start: number, end: number): void;
  /** Nothing more comes for now. */
  flush(): void;
  /** Nothing more is to be read from the network for now: it would only have to be dropped. */
  readonly crowded?: boolean;
}

/** Datagrams, or what the kernel has joined of several, that one call takes in. */
export const MOST_MESSAGES = 16;
/** UDP_SEGMENT: what the kernel takes in one call. */
export const MOST_SEGMENTS = 64;
/** What one UDP datagram over IPv4 holds; a batch is one before the kernel cuts it. */
export const MOST_OCTETS = 65_507;
/**
 * Octets that a socket is asked to hold: the windows of several TCP streams may come while the thread waits for a processor, and each packet
 * takes the kernel more than it carries.
 */
export const RECEIVE_BUFFER = 16 * 1024 * 1024;
