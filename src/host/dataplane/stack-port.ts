import type { Stack } from '../../core/netstack/index.ts';
import { Coalescer, type PacketBuffer, RUN_BUFFER, VNET_HEADER, VnetHeader } from '../../core/packet/offload/index.ts';
import type { Clock, Timer } from '../platform/clock.ts';
import { StackDriver } from '../platform/stack-driver.ts';
import type { EspPlane } from './esp-plane.ts';
import { OutboundPump } from './fast/outbound.ts';
import type { InnerSink } from './fast/ports.ts';

export interface StackPortOptions<B extends PacketBuffer> {
  readonly stack: Stack;
  readonly esp: EspPlane;
  readonly clock: Clock;
  /** Octets whose address the ciphers and the sockets know, parts of one memory where that is to be had. */
  readonly allocate: (length: number) => B;
}

/**
 * An in-process host behind ESP, with an interface that has the offloads of a network card: segments of TCP leave and come in as packets of up
 * to 64 KiB, which are cut where each piece will be sealed and put together where it was opened.
 */
export class StackPort<B extends PacketBuffer> implements InnerSink<B> {
  readonly driver: StackDriver;
  readonly #allocate: (length: number) => B;
  readonly #offload = new VnetHeader();
  /** Made when packets first come many at a time. */
  #coalescer: Coalescer<B> | undefined;

  constructor({ stack, esp, clock, allocate }: StackPortOptions<B>) {
    this.#allocate = allocate;
    let now = clock.now();
    const offload = new VnetHeader();
    const outbound = new OutboundPump<B>({
      esp,
      tun: {
        read: (into, at) => {
          const length = stack.pollInto(into.octets, at + VNET_HEADER, now, offload);
          if (length === 0) return 0;
          offload.write(into.octets, at);
          return VNET_HEADER + length;
        },
      },
      allocate,
    });
    this.driver = new StackDriver({
      stack,
      transmit: {
        // what is dropped there was counted, and TCP sends it again: the stack never stops for it
        pump: (time) => {
          now = time;
          return outbound.pump(PACKETS_PER_TURN);
        },
      },
      now: clock.now,
      setTimer: (callback, delay) => clock.after(delay, callback),
      clearTimer: (timer) => (timer as Timer).cancel(),
      defer: clock.soon,
    });
  }

  /** A packet that came alone. */
  receive(packet: Uint8Array): void {
    this.driver.receive(packet);
  }

  /** One of several, until `flush`. */
  push(from: B, start: number, end: number): void {
    this.#coalescer ??= this.#makeCoalescer();
    this.#coalescer.push(from, start, end);
  }

  /** What was put together is the stack's now, and what it has to say to that leaves. */
  flush(): void {
    this.#coalescer?.flush();
    this.driver.flush();
  }

  #makeCoalescer(): Coalescer<B> {
    return new Coalescer<B>({
      sink: {
        deliver: (buffer, start, end) => {
          this.#offload.read(buffer.octets, start);
          this.driver.receive(buffer.octets.subarray(start + VNET_HEADER, end), this.#offload);
        },
      },
      flows: FLOWS,
      buffer: this.#allocate(FLOWS * RUN_BUFFER),
      at: 0,
      udp: false,
    });
  }
}

/** Super-packets, before callbacks have their turn. */
const PACKETS_PER_TURN = 16;
/** TCP connections whose segments are gathered side by side. */
export const FLOWS = 8;
