import type { Stack } from '../../core/netstack/index.ts';
import { VNET_HEADER, VnetHeader } from '../../core/packet/offload/index.ts';
import type { Clock, Timer } from '../platform/clock.ts';
import { StackDriver } from '../platform/stack-driver.ts';
import { type CardRings, MOST_IN_CARD } from './fast/card-device.ts';
import { RingReader, RingWriter } from './fast/packet-ring.ts';

export interface StackCardOptions {
  readonly clock: Clock;
  readonly rings: CardRings;
  /** Makes the other thread look at the rings. */
  readonly wake: () => void;
  /** By number, as packets are marked with theirs. */
  readonly stacks: readonly Stack[];
}

/**
 * The hosts' end of a network card that another thread serves: packets of up to 64 KiB are written where that thread reads them, and read where it
 * has put them. Where the way out is full the stack keeps what it has, as before any card.
 */
export class StackCard {
  readonly drivers: readonly StackDriver[];
  readonly #clock: Clock;
  readonly #in: RingReader;
  readonly #out: RingWriter;
  readonly #wake: () => void;
  readonly #offload = new VnetHeader();
  /** More is read by and by already. */
  #goesOn = false;
  #full = false;
  #closed = false;

  constructor({ clock, rings, wake, stacks }: StackCardOptions) {
    this.#clock = clock;
    this.#in = new RingReader(rings.inbound);
    this.#out = new RingWriter(rings.outbound);
    this.#wake = wake;
    this.drivers = stacks.map(
      (stack) =>
        new StackDriver({
          stack,
          transmit: { pump: (now) => this.#pump(stack, now) },
          now: clock.now,
          setTimer: (callback, delay) => clock.after(delay, callback),
          clearTimer: (timer) => (timer as Timer).cancel(),
          defer: clock.soon,
        }),
    );
    this.#in.rest();
  }

  /** The other thread says that there are packets, or room. */
  look(): void {
    if (!this.#goesOn) this.#take();
  }

  close(): void {
    this.#closed = true;
    for (const driver of this.drivers) driver.close();
  }

  #take(): void {
    if (this.#closed) return;
    this.#goesOn = !this.#receive();
    // the rest behind whatever else is ready
    if (this.#goesOn) this.#clock.soon(() => this.#take());
    if (this.#full && this.#out.hasRoom(ENOUGH)) {
      this.#full = false;
      for (const driver of this.drivers) driver.resume();
    }
    for (const driver of this.drivers) driver.flush();
  }

  /** @returns whether that was all: the next packet is told of */
  #receive(): boolean {
    const ring = this.#in;
    ring.stir();
    let taken = 0;
    do {
      for (; ring.next(); taken++) {
        if (taken === AT_ONCE) return false;
        this.#offload.read(ring.octets, ring.start);
        this.drivers[ring.tag]?.receive(ring.octets.subarray(ring.start + VNET_HEADER, ring.end), this.#offload);
        ring.release();
        if (ring.mustTellRoom()) this.#wake();
      }
    } while (!ring.rest());
    return true;
  }

  /** @returns whether anything left */
  #pump(stack: Stack, now: number): boolean {
    const ring = this.#out;
    const offload = this.#offload;
    let sent = 0;
    for (; sent < PACKETS_PER_TURN && !this.#full; sent++) {
      const at = ring.reserve(MOST_IN_CARD);
      if (at < 0) {
        this.#full = ring.waitForRoom(ENOUGH);
        continue;
      }
      const length = stack.pollInto(ring.octets, at + VNET_HEADER, now, offload);
      if (length === 0) break;
      offload.write(ring.octets, at);
      ring.commit(VNET_HEADER + length, 0);
    }
    if (ring.mustWake()) this.#wake();
    return sent > 0;
  }
}

/** Packets, or super-packets, before callbacks have their turn. */
const PACKETS_PER_TURN = 16;
/** Packets before others have their turn, and before what is to be said to them leaves. */
const AT_ONCE = 256;
/** Octets of room to go on with. */
const ENOUGH = 8 * MOST_IN_CARD;
