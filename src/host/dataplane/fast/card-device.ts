import { type PacketBuffer, VNET_HEADER } from '../../../core/packet/offload/index.ts';
import { type RingMemory, RingReader, RingWriter, ringMemory } from './packet-ring.ts';
import type { TunPort } from './ports.ts';

/** What a host in this process and the thread that moves its packets have between them: a ring for each direction. */
export interface CardRings {
  readonly outbound: RingMemory;
  readonly inbound: RingMemory;
}

export const cardRings = (): CardRings => ({ outbound: ringMemory(OUTBOUND), inbound: ringMemory(INBOUND) });

/** The thread's end of a network card whose host is the in-process stack of another thread: to the loop it is a device like that of `tun`. */
export class CardDevice<B extends PacketBuffer = PacketBuffer> implements TunPort<B> {
  /** Packets for which there was no room: the host was at something else for too long. */
  dropped = 0;
  readonly #in: RingReader;
  readonly #out: RingWriter;
  readonly #wakeHost: () => void;

  /** @param wakeHost has the other thread look at its rings */
  constructor({ outbound, inbound }: CardRings, wakeHost: () => void) {
    this.#in = new RingReader(outbound);
    this.#out = new RingWriter(inbound);
    this.#wakeHost = wakeHost;
  }

  /** `MOST_IN_CARD` octets of room must be there. */
  read(into: B, at: number): number {
    const ring = this.#in;
    if (!ring.next()) {
      if (ring.mustTellRoom()) this.#wakeHost();
      return 0;
    }
    copy(ring.octets, ring.start, ring.end, into.octets, at);
    ring.release();
    if (ring.mustTellRoom()) this.#wakeHost();
    return ring.end - ring.start;
  }

  write(from: B, at: number, length: number): boolean {
    return this.writeTo(0, from, at, length);
  }

  /** To one of several hosts. */
  writeTo(host: number, from: B, at: number, length: number): boolean {
    const place = this.#out.reserve(length);
    if (place < 0) {
      this.dropped++;
      return false;
    }
    copy(from.octets, at, at + length, this.#out.octets, place);
    this.#out.commit(length, host);
    return true;
  }

  /** What was written is told of: after many packets rather than each. */
  announce(): void {
    if (this.#out.mustWake()) this.#wakeHost();
  }

  /** No more is to be read from the network until the host has caught up: there it waits in the sockets, and is not lost. */
  get crowded(): boolean {
    return !this.#out.hasRoom(ROOM_FOR_A_TURN);
  }

  /** @returns whether the host will wake this thread when there is room again; else there is */
  waitForRoom(): boolean {
    return this.crowded && this.#out.waitForRoom(ROOM_FOR_A_TURN);
  }

  get isEmpty(): boolean {
    return this.#in.isEmpty;
  }

  /** Before the thread waits. @returns false when there are packets: then it does not */
  rest(): boolean {
    return this.#in.rest();
  }

  stir(): void {
    this.#in.stir();
  }
}

/** A view costs more than a few words. */
function copy(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void {
  if (end - start > FEW) to.set(from.subarray(start, end), at);
  else for (let i = start; i < end; i++) to[at + i - start] = from[i]!;
}

/** What a super-packet takes at the most, its virtio header included. */
export const MOST_IN_CARD = VNET_HEADER + 65_535;
const FEW = 128;
/** Octets. What waits here TCP holds for sent: no more than the thread seals in a few milliseconds. */
const OUTBOUND = 2 * 1024 * 1024;
const INBOUND = 4 * 1024 * 1024;
/** What one call takes in from a socket, and what was taken in before and is being put together. */
const ROOM_FOR_A_TURN = INBOUND / 2;
