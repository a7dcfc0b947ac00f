import type { Address } from '../../../core/bytes/index.ts';
import { type PacketBuffer, packetBuffer } from '../../../core/packet/offload/index.ts';
import type { Native, NativeBuffer } from '../../platform/linux/ffi.ts';
import { SocketAddress } from '../../platform/linux/socket-address.ts';
import type { FastUdp } from '../../platform/linux/udp.ts';
import { UdpBatch } from '../../platform/linux/udp-batch.ts';
import type { BatchTarget, TakeDatagrams, TunPort, UdpPort } from './ports.ts';

/** Memory for packets whose address the kernel and the ciphers are told. */
export interface NativePackets extends PacketBuffer {
  readonly native: NativeBuffer;
}

export const nativePackets = (native: NativeBuffer): NativePackets => ({ ...packetBuffer(native.bytes), native });

/** A TUN device by its descriptor, which does not block. */
export class TunDevice implements TunPort<NativePackets> {
  readonly #native: Native;
  readonly #fd: number;

  constructor(native: Native, fd: number) {
    this.#native = native;
    this.#fd = fd;
  }

  read(into: NativePackets, at: number, length: number): number {
    return Math.max(0, this.#native.libc.read(this.#fd, into.native.address + at, length));
  }

  write(from: NativePackets, at: number, length: number): boolean {
    return this.#native.libc.write(this.#fd, from.native.address + at, length) === length;
  }
}

/** What all sockets of one thread receive into: one at a time is read, and done with before the next. */
export class Arrivals {
  readonly batch: UdpBatch;
  readonly packets: NativePackets;

  constructor(native: Native) {
    this.batch = new UdpBatch(native, MESSAGES);
    this.packets = nativePackets(this.batch.buffer);
  }
}

/** A UDP socket that many datagrams leave and enter by at a time. It was opened elsewhere, and is closed there. */
export class UdpDevice implements UdpPort<NativePackets> {
  readonly local: Address;
  readonly #native: Native;
  readonly #udp: FastUdp;
  readonly #arrivals: Arrivals;
  readonly #scratch: NativePackets;

  constructor(native: Native, udp: FastUdp, arrivals: Arrivals) {
    this.#native = native;
    this.#udp = udp;
    this.#arrivals = arrivals;
    this.#scratch = nativePackets(native.allocate(LARGEST_DATAGRAM));
    this.local = udp.local;
    udp.joinReceived(true);
  }

  receive(take: TakeDatagrams<NativePackets>): boolean {
    const { batch, packets } = this.#arrivals;
    const count = this.#udp.receive(batch);
    for (let i = 0; i < count; i++) {
      const length = batch.length(i);
      const at = batch.offset(i);
      if (length > 0) take(packets, at, at + length, batch.segment(i), this.local, batch.ip(i), batch.port(i));
    }
    return count > 0;
  }

  towards({ ip, port }: Address): BatchTarget<NativePackets> & { send(packet: Uint8Array): boolean } {
    const peer = SocketAddress.of(this.#native, ip, port);
    const udp = this.#udp;
    const scratch = this.#scratch;
    return {
      sendBatch: (from, at, length, segment) => udp.sendBatch(from.native, at, length, segment, peer) === length,
      send: (packet) => {
        scratch.octets.set(packet);
        return udp.send(scratch.native, 0, packet.length, peer);
      },
    };
  }

  close(): void {
    this.#udp.joinReceived(false);
  }
}

const MESSAGES = 16;
const LARGEST_DATAGRAM = 65_536;
