import { Stack, type StackOptions } from '../../../../src/core/netstack/index.ts';
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
  readonly #wire = new VirtualClock();

  constructor(options: PairOptions = {}) {
    const random = new SeededRandom(options.seed ?? 1, 'stacks');
    const secret = (length: number): Uint8Array => random.bytes(length);
    this.a = new Stack({ addresses: [A4, A6], mtu: 1500, random: { secret }, ...options.a });
    this.b = new Stack({ addresses: [B4, B6], mtu: 1500, random: { secret }, ...options.b });
    this.fate = options.fate ?? (() => [1]);
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
    for (let packet = from.poll(this.now); packet !== undefined; packet = from.poll(this.now)) {
      sent = true;
      this.packets++;
      const copy = packet.slice();
      for (const delay of this.fate(copy, name, this.now)) this.#wire.at(this.now + delay, () => to.receive(copy, this.now));
    }
    return sent;
  }

  #next(): number | undefined {
    const times = [this.#wire.next, this.a.nextDeadline(), this.b.nextDeadline(), this.wake()].filter((t) => t !== undefined);
    return times.length === 0 ? undefined : Math.min(...times);
  }
}
