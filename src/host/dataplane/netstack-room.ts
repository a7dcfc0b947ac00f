import type { Address } from '../../core/bytes/index.ts';
import type { Primitives } from '../../core/crypto/primitives.ts';
import { type PacketBuffer, packetBuffer, RUN_BUFFER } from '../../core/packet/offload/index.ts';
import { packetCiphers } from '../platform/linux/evp.ts';
import { type Native, type NativeBuffer, NativeMemory } from '../platform/linux/ffi.ts';
import type { UdpSocket } from '../platform/udp.ts';
import { BatchSockets } from './batch-sockets.ts';
import type { EspPath } from './data-plane.ts';
import { OUTBOUND_BUFFERS } from './fast/outbound.ts';
import type { BatchPath } from './fast/ports.ts';
import { FLOWS } from './stack-port.ts';

/** What the in-process plane finds on its machine: memory for packets, ciphers, and ways in and out for many packets at a time. */
export interface NetstackRoom<B extends PacketBuffer> {
  readonly allocate: (length: number) => B;
  /** Those of `core/crypto` unless given. */
  readonly createPacketCipher?: Primitives['createPacketCipher'];
  /** Absent where every packet is read and sent by itself. */
  readonly openSockets?: (sinks: BatchSinks<B>) => ManyAtATime<B>;
}

/** What becomes of ESP that came many packets at a time. */
export interface BatchSinks<B extends PacketBuffer> {
  /** One packet in `[start, end)`, to be worked on in place. */
  onEsp(from: B, start: number, end: number, local: Address, ip: string, port: number): void;
  /** Nothing more comes for now. */
  onPause(): void;
}

/** The engine's sockets, in batches. */
export interface ManyAtATime<B extends PacketBuffer> {
  /** The same way, for batches too while it leads through a socket that takes them. */
  path(path: EspPath, remote: Address): BatchPath<B>;
  /** Reads a socket, where that can be. */
  adopt(socket: UdpSocket): void;
  disown(socket: UdpSocket): void;
}

/** Every machine has as much. */
export const PLAIN_ROOM: NetstackRoom<PacketBuffer> = { allocate: (length) => packetBuffer(new Uint8Array(length)) };

/** With native calls. @param stacks how many hosts the plane has @param singly as `DataPlaneOptions` has it */
export function nativeRoom(native: Native, stacks: number, singly: boolean): NetstackRoom<NativeBuffer> {
  const each = [...OUTBOUND_BUFFERS, FLOWS * RUN_BUFFER];
  const memory = new NativeMemory(NativeMemory.octets(BatchSockets.octets(), ...Array.from({ length: stacks }, () => each).flat()));
  const allocate = (length: number): NativeBuffer => memory.take(length);
  return {
    allocate,
    createPacketCipher: packetCiphers(native),
    openSockets: (sinks) => new BatchSockets(native, allocate(BatchSockets.octets()), sinks, singly),
  };
}
