import { ApiMisuse } from '../../bytes/errors.ts';
import { InnerPacket, Kind } from './inner-packet.ts';
import type { PacketBuffer } from './packet-buffer.ts';
import { RUN_BUFFER, Run } from './run.ts';
import { VNET_HEADER, writeNoOffload } from './vnet-header.ts';

/** Where packets go: the one write to a TUN device with IFF_VNET_HDR. */
export interface OffloadSink<B extends PacketBuffer> {
  /** A virtio header and the packet behind it stand in `[start, end)`; they are overwritten once this returns. */
  deliver(buffer: B, start: number, end: number): void;
}

export interface CoalescerOptions<B extends PacketBuffer> {
  readonly sink: OffloadSink<B>;
  /** Flows that are held at a time; eight are enough for a batch. */
  readonly flows: number;
  /** Where they are gathered: from `at` on `RUN_BUFFER` octets for each. Best part of the memory that packets are pushed from. */
  readonly buffer: B;
  readonly at: number;
  /** The device takes UDP_L4 (TUN_F_USO4, TUN_F_USO6). */
  readonly udp: boolean;
}

/**
 * Gathers packets that came out of ESP into few large ones for a TUN device: the reverse of `Segmenter`. What a receiver sees is what came,
 * octet by octet; packets of one flow keep their order, those of different flows may pass each other. A packet whose checksum is wrong goes
 * by itself and as it came, so that the kernel judges and counts it.
 *
 * `push` each packet of a batch, then `flush`. Nothing is allocated on the way. `coalesce-plain.ts` says the same in the plainest form.
 */
export class Coalescer<B extends PacketBuffer> {
  /** Packets that were pushed, and writes that they became. */
  packets = 0;
  deliveries = 0;
  readonly #sink: OffloadSink<B>;
  readonly #udp: boolean;
  /** The first `#held` are runs, by age, the oldest first; the others are free. */
  readonly #runs: Run<B>[];
  #held = 0;
  readonly #packet = new InnerPacket();

  constructor({ sink, flows, buffer, at, udp }: CoalescerOptions<B>) {
    if (flows < 1 || at < 0 || at + flows * RUN_BUFFER > buffer.octets.length)
      throw new ApiMisuse(`${flows} flows of ${RUN_BUFFER} octets from ${at} on do not lie in a buffer of ${buffer.octets.length}`);
    this.#sink = sink;
    this.#udp = udp;
    this.#runs = Array.from({ length: flows }, (_, i) => new Run(buffer, at + i * RUN_BUFFER));
  }

  /**
   * Takes the packet in `[start, end)`. The `VNET_HEADER` octets before it are overwritten; the packet itself is done with once this returns.
   */
  push(from: B, start: number, end: number): void {
    if (start < VNET_HEADER) throw new ApiMisuse(`a packet at ${start} leaves no room for the ${VNET_HEADER} octets before it`);
    this.packets++;
    const packet = this.#packet;
    const kind = packet.read(from.octets, start, end);
    if (kind === Kind.FLOW && (packet.tcp || this.#udp)) return this.#pushToFlow(from, start, end);
    if (kind === Kind.ADDRESSED) this.#flushBetween(from);
    this.#deliverAlone(from, start, end);
  }

  /** Hands on what is held: a packet never waits for the next batch. */
  flush(): void {
    while (this.#held > 0) this.#deliverRun(0);
  }

  #pushToFlow(from: B, start: number, end: number): void {
    const packet = this.#packet;
    const index = this.#find(from);
    const continues = index >= 0 && packet.mergeable && this.#runs[index]!.isContinuedBy(packet, from, start);
    // Summed last, and only where something comes of it.
    const right =
      packet.mergeable && (continues ? this.#runs[index]!.verify(packet, from, start) : this.#mayBegin() && packet.verify(from, start));
    if (continues && right) return this.#append(index);
    if (index >= 0) this.#deliverRun(index);
    if (right) this.#begin(from, start);
    else this.#deliverAlone(from, start, end);
  }

  #append(index: number): void {
    const run = this.#runs[index]!;
    run.append(this.#packet);
    if (run.endsWith(this.#packet)) this.#deliverRun(index);
  }

  /** RFC 9293 §3.9.1: nothing is appended to what is pushed. */
  #mayBegin(): boolean {
    const { push, size, tcp } = this.#packet;
    return !push && (!tcp || size >= TCP_MIN_GSO_SIZE);
  }

  #begin(from: B, start: number): void {
    if (this.#held === this.#runs.length) this.#deliverRun(0);
    const run = this.#runs[this.#held++]!;
    run.begin(this.#packet, from, start);
  }

  #find(from: B): number {
    const runs = this.#runs;
    for (let i = 0; i < this.#held; i++) if (runs[i]!.isOfFlow(this.#packet, from)) return i;
    return -1;
  }

  /** A packet that does not say which flow it belongs to may belong to any between its addresses, and must not pass it. */
  #flushBetween(from: B): void {
    for (let i = 0; i < this.#held; ) {
      if (this.#runs[i]!.hasAddressesOf(this.#packet, from)) this.#deliverRun(i);
      else i++;
    }
  }

  #deliverRun(index: number): void {
    const runs = this.#runs;
    const run = runs[index]!;
    const end = run.finish();
    // Its place goes behind those that are held; the others keep their order.
    for (let i = index + 1; i < this.#held; i++) runs[i - 1] = runs[i]!;
    this.#held--;
    runs[this.#held] = run;
    this.deliveries++;
    this.#sink.deliver(run.buffer, run.start, end);
  }

  #deliverAlone(from: B, start: number, end: number): void {
    writeNoOffload(from.octets, start - VNET_HEADER);
    this.deliveries++;
    this.#sink.deliver(from, start - VNET_HEADER, end);
  }
}

/** TCP_MIN_GSO_SIZE of Linux: smaller segments are refused, or make it count more of them than it can. */
const TCP_MIN_GSO_SIZE = 8;
