import type { Address } from '../../core/bytes/index.ts';
import { classifyEncapsulated } from '../../core/esp/index.ts';
import { MOST_AT_ONCE } from '../platform/linux/burst.ts';
import type { Native, NativeBuffer } from '../platform/linux/ffi.ts';
import { SocketAddress } from '../platform/linux/socket-address.ts';
import { UdpBatch } from '../platform/linux/udp-batch.ts';
import { DescriptorSocket } from '../platform/linux/udp-network.ts';
import type { UdpSocket } from '../platform/udp.ts';
import type { EspPath } from './data-plane.ts';
import { type BatchPath, type BatchTarget, RECEIVE_BUFFER } from './fast/ports.ts';
import type { BatchSinks, ManyAtATime } from './netstack-room.ts';

/** The sockets of the engine, for a plane in the same thread: ESP is read from them and leaves by them many packets at a time. */
export class BatchSockets implements ManyAtATime<NativeBuffer> {
  readonly #native: Native;
  readonly #sinks: BatchSinks<NativeBuffer>;
  readonly #batch: UdpBatch;
  readonly #singly: boolean;

  /** How many octets of memory it takes. */
  static octets(): number {
    return UdpBatch.octets(MOST_AT_ONCE, APART);
  }

  /**
   * @param buffer of `BatchSockets.octets`, best part of the memory that packets are put together in
   * @param singly as `DataPlaneOptions` has it
   */
  constructor(native: Native, buffer: NativeBuffer, sinks: BatchSinks<NativeBuffer>, singly: boolean) {
    this.#singly = singly;
    this.#native = native;
    this.#sinks = sinks;
    this.#batch = new UdpBatch(native, MOST_AT_ONCE, APART, buffer);
  }

  path(path: EspPath, remote: Address): BatchPath<NativeBuffer> {
    return new BatchingPath(path, remote, this.#native);
  }

  adopt(socket: UdpSocket): void {
    if (!(socket instanceof DescriptorSocket)) return;
    const { local } = socket;
    socket.fast.enlargeReceiveBuffer(RECEIVE_BUFFER);
    if (this.#singly) socket.fast.sendSingly();
    const batch = this.#batch;
    socket.readDirectly({
      batch,
      take: (i) => {
        const at = batch.offset(i);
        const end = at + batch.length(i);
        if (classifyEncapsulated(batch.buffer.octets, at, end) !== 'esp') return false;
        this.#sinks.onEsp(batch.buffer, at, end, local, batch.ip(i), batch.port(i));
        return true;
      },
      done: () => this.#sinks.onPause(),
    });
  }

  disown(socket: UdpSocket): void {
    if (socket instanceof DescriptorSocket) socket.readDirectly(undefined);
  }
}

/** The way of one SA by whatever socket the engine has for it. */
class BatchingPath implements BatchPath<NativeBuffer>, BatchTarget<NativeBuffer> {
  readonly #path: EspPath;
  readonly #remote: Address;
  readonly #native: Native;
  /** Made with the first packets: most SAs are silent most of the time. */
  #peer: SocketAddress | undefined;
  #socket: DescriptorSocket | undefined;

  constructor(path: EspPath, remote: Address, native: Native) {
    this.#path = path;
    this.#remote = remote;
    this.#native = native;
  }

  get mtu(): number {
    return this.#path.mtu;
  }

  get overhead(): number {
    return this.#path.overhead;
  }

  get batch(): BatchTarget<NativeBuffer> | undefined {
    const { socket } = this.#path;
    this.#socket = socket instanceof DescriptorSocket ? socket : undefined;
    return this.#socket && this;
  }

  send(packet: Uint8Array, trafficClass?: number): boolean {
    return this.#path.send(packet, trafficClass);
  }

  sendBatch(from: NativeBuffer, at: number, length: number, segment: number, trafficClass: number): number {
    this.#peer ??= SocketAddress.of(this.#native, this.#remote.ip, this.#remote.port);
    return this.#socket?.sendBatch(from, at, length, segment, this.#peer, trafficClass) ?? 0;
  }
}

/** Octets: single datagrams, each at the beginning of its 64 KiB, would all want the same few lines of the processor's cache. */
const APART = 1472;
