import { type CongestionControlFactory, Stack, type StackOptions } from '../../../../src/core/netstack/index.ts';
import { coalescePlain, segmentPlain, VnetHeader } from '../../../../src/core/packet/offload/index.ts';
import { SeededRandom } from '../../../../src/testing/seeded.ts';
import { VirtualClock } from '../../../../src/testing/virtual-clock.ts';

export const A4 = '10.0.0.1';
export const B4 = '10.0.0.2';
export const A6 = 'fd00::1';
export const B6 = 'fd00::2';

/** What becomes of a packet: arrival times in milliseconds from now, none when it is lost. */
export type Fate = (packet: Uint8Array, from: 'a' | 'b', now: number) => readonly number[];

export interface PairOptions {
  readonly a?: Partial<StackOptions>;
  readonly b?: Partial<StackOptions>;
  readonly seed?: number | string;
  /** Delivered after a millisecond by default. */
  readonly fate?: Fate;
  /** Interfaces with the offloads of a network card: they cut what leaves, and put together what arrives at one time. */
  readonly cuts?: boolean;
  readonly joins?: boolean;
}

/** Two stacks and the wire between them, in virtual time. */
export class Pair {
  readonly a: Stack;
  readonly b: Stack;
  now = 0;
  fate: Fate;
  /** Called after anything happened, for applications that read and write. */
  onStep: () => void = () => {};
  /** When an application wants `onStep` without anything having happened. */
  wake: () => number | undefined = () => undefined;
  packets = 0;
  /** What the stacks handed out and took in, where the interfaces made more packets or fewer of it. */
  handedOut = 0;
  takenIn = 0;
  /** Octets of the largest packet that a stack handed out. */
  largest = 0;
  readonly #wire = new VirtualClock();
  readonly #cuts: boolean;
  readonly #joins: boolean;
  readonly #arriving = new Map<Stack, Uint8Array[]>();
  readonly #buffer = new Uint8Array(65_535);
  readonly #offload = new VnetHeader();

  constructor(options: PairOptions = {}) {
    const random = new SeededRandom(options.seed ?? 1, 'stacks');
    const secret = (length: number): Uint8Array => random.bytes(length);
    this.a = new Stack({ addresses: [A4, A6], mtu: 1500, random: { secret }, ...options.a });
    this.b = new Stack({ addresses: [B4, B6], mtu: 1500, random: { secret }, ...options.b });
    this.fate = options.fate ?? (() => [1]);
    this.#cuts = options.cuts ?? false;
    this.#joins = options.joins ?? false;
  }

  /** Runs until nothing is under way and no timer is due before `until`, or `done` says so. @returns whether it did. */
  run(until: number, done: () => boolean = () => false, maxSteps = 2_000_000): boolean {
    for (let steps = 0; steps < maxSteps; steps++) {
      this.#settle();
      if (done()) return true;
      const next = this.#next();
      if (next === undefined || next > until) {
        this.now = Math.max(this.now, until);
        return done();
      }
      this.now = Math.max(this.now, next);
      this.#wire.run(this.now);
      this.#takeIn();
      for (const stack of [this.a, this.b]) {
        const deadline = stack.nextDeadline();
        if (deadline !== undefined && deadline <= this.now) stack.expire(this.now);
      }
    }
    throw new Error(`more than ${maxSteps} steps: something never ends`);
  }

  /** Everything that can happen without time passing. */
  #settle(): void {
    for (let again = true; again; ) {
      again = false;
      this.a.dispatch();
      this.b.dispatch();
      this.onStep();
      if (this.#drain(this.a, this.b, 'a')) again = true;
      if (this.#drain(this.b, this.a, 'b')) again = true;
    }
  }

  #drain(from: Stack, to: Stack, name: 'a' | 'b'): boolean {
    let sent = false;
    for (let packets = this.#poll(from); packets.length > 0; packets = this.#poll(from)) {
      sent = true;
      this.handedOut++;
      for (const packet of packets) {
        this.packets++;
        for (const delay of this.fate(packet, name, this.now)) this.#wire.at(this.now + delay, () => this.#arrive(to, packet));
      }
    }
    return sent;
  }

  /** What goes over the wire of the next packet that a stack hands out. */
  #poll(from: Stack): readonly Uint8Array[] {
    if (!this.#cuts) {
      const packet = from.poll(this.now);
      return packet === undefined ? [] : [packet.slice()];
    }
    const length = from.pollInto(this.#buffer, 0, this.now, this.#offload);
    if (length === 0) return [];
    this.largest = Math.max(this.largest, length);
    const pieces = segmentPlain(this.#buffer.subarray(0, length), this.#offload);
    if (typeof pieces === 'string') throw new Error(`what was handed out cannot be cut: ${pieces}`);
    return pieces.map((piece) => piece.slice());
  }

  #arrive(to: Stack, packet: Uint8Array): void {
    if (this.#joins) this.#arriving.set(to, [...(this.#arriving.get(to) ?? []), packet]);
    else to.receive(packet, this.now);
  }

  #takeIn(): void {
    for (const [to, packets] of this.#arriving) {
      this.#arriving.delete(to);
      for (const { packet, header } of coalescePlain(packets, { flows: 8, udp: false })) {
        this.takenIn++;
        to.receive(packet, this.now, header);
      }
    }
  }

  #next(): number | undefined {
    const times = [this.#wire.next, this.a.nextDeadline(), this.b.nextDeadline(), this.wake()].filter((t) => t !== undefined);
    return times.length === 0 ? undefined : Math.min(...times);
  }
}

/** So many octets a millisecond, however much the window allows. */
export const steady =
  (rate: number): CongestionControlFactory =>
  () => ({
    name: 'steady',
    window: 1e9,
    threshold: 1e9,
    pacingRate: () => rate,
    acknowledged: () => {},
    lost: () => {},
    recovered: () => {},
    timedOut: () => {},
    undo: () => {},
    repaired: () => {},
    idle: () => {},
    resized: () => {},
  });
