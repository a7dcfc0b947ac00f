import { type Address, equalBytes, sameAddress } from '../../core/bytes/index.ts';
import type { Millis } from '../../core/ike/effects.ts';

/** A port of its own for one measurement. */
export interface ProbeSocket {
  readonly local: Address;
  close(): void;
}

export interface ProbeTarget {
  readonly local: Address;
  readonly remote: Address;
  /** With which keepalives begin, and which they do not exceed. */
  readonly least: Millis;
  readonly most: Millis;
}

export interface ProbeSurroundings {
  /** @param onDatagram what comes in there and is IKE; true passes it on to the core */
  open(ip: string, onDatagram: (data: Uint8Array, from: Address) => boolean): Promise<ProbeSocket>;
  /** Asks the peer for an answer now, and for the same once more after so many seconds (`core/ike/tasks/nat-echo.ts`). */
  ask(ikeSa: number, local: Address, seconds: number): void;
  now(): Millis;
  /** The socket is open: something is due at another time than before. */
  changed(): void;
}

/**
 * Finds how rarely keepalives may be sent through the NAT in front of us. Mappings are made for the purpose, from ports of their own, left alone
 * for a while and called from outside: what is learned never puts the mapping in use at risk. Each step asks for more silence than it
 * will bring; the first that fails twice ends it.
 */
export class MappingProbes {
  readonly #around: ProbeSurroundings;
  readonly #entries = new Map<number, Entry>();

  constructor(around: ProbeSurroundings) {
    this.#around = around;
  }

  /** Starts to learn, or goes on: what is known of a path stays known while the path does. */
  track(ikeSa: number, target: ProbeTarget, from?: number): void {
    const known = this.#entries.get(from ?? ikeSa);
    if (from !== undefined) this.#entries.delete(from);
    if (known !== undefined && sameAddress(known.local, target.local) && sameAddress(known.remote, target.remote)) {
      this.#entries.set(ikeSa, known);
      return;
    }
    known?.socket?.close();
    const steps = STEPS.filter((step) => step > target.least && step <= target.most);
    this.#entries.set(ikeSa, { ...target, interval: target.least, steps, failures: 0, phase: 'idle', due: this.#around.now() + SETTLING });
  }

  drop(ikeSa: number): void {
    this.#entries.get(ikeSa)?.socket?.close();
    this.#entries.delete(ikeSa);
  }

  /** The mapping in use was lost all the same: back to the beginning, and no more of this on this path. */
  distrust(ikeSa: number): void {
    const entry = this.#entries.get(ikeSa);
    if (entry === undefined) return;
    entry.interval = entry.least;
    entry.steps = [];
    this.#rest(entry);
  }

  /** Undefined where nothing is measured. */
  of(ikeSa: number): { readonly interval: Millis; readonly measured: boolean } | undefined {
    const entry = this.#entries.get(ikeSa);
    return entry && { interval: entry.interval, measured: entry.interval > entry.least };
  }

  nextDeadline(): Millis | undefined {
    let next: Millis | undefined;
    for (const { due } of this.#entries.values()) if (due !== undefined && (next === undefined || due < next)) next = due;
    return next;
  }

  expire(now: Millis): void {
    for (const [ikeSa, entry] of this.#entries) {
      if (entry.due === undefined || now < entry.due) continue;
      if (entry.phase === 'idle') this.#begin(ikeSa, entry);
      else this.#judge(entry, false);
    }
  }

  #begin(ikeSa: number, entry: Entry): void {
    const step = entry.steps[0];
    entry.due = undefined;
    if (step === undefined) return;
    const seconds = Math.ceil((step + MARGIN) / 1000);
    entry.phase = 'asked';
    entry.due = this.#around.now() + PATIENCE;
    this.#around
      .open(entry.local.ip, (data, from) => this.#onDatagram(entry, seconds * 1000, data, from))
      .then(
        (socket) => {
          if (this.#entries.get(ikeSa) !== entry || entry.phase !== 'asked') return socket.close();
          entry.socket = socket;
          this.#around.ask(ikeSa, socket.local, seconds);
          this.#around.changed();
        },
        () => this.#judge(entry, false),
      );
  }

  #onDatagram(entry: Entry, silence: Millis, data: Uint8Array, from: Address): boolean {
    if (!sameAddress(from, entry.remote)) return false;
    const now = this.#around.now();
    if (entry.phase === 'asked') {
      entry.answer = data.slice();
      entry.answeredAt = now;
      entry.phase = 'silent';
      entry.due = now + silence + PATIENCE;
      this.#around.changed();
      return true;
    }
    if (entry.phase !== 'silent' || entry.answer === undefined || !equalBytes(entry.answer, data)) return false;
    const waited = now - entry.answeredAt!;
    // a copy in between refreshes the mapping: nothing was measured then; the network may double what is just there
    if (waited >= SAME_MOMENT) this.#judge(entry, waited >= silence - EARLY);
    return false;
  }

  #judge(entry: Entry, survived: boolean): void {
    if (survived) {
      entry.interval = entry.steps[0] ?? entry.interval;
      entry.steps = entry.steps.slice(1);
      entry.failures = 0;
    } else if (++entry.failures >= FAILURES) entry.steps = [];
    this.#rest(entry, SETTLING);
    this.#around.changed();
  }

  #rest(entry: Entry, pause?: Millis): void {
    entry.socket?.close();
    entry.socket = undefined;
    entry.answer = undefined;
    entry.phase = 'idle';
    entry.due = pause === undefined || entry.steps.length === 0 ? undefined : this.#around.now() + pause;
  }
}

interface Entry extends ProbeTarget {
  interval: Millis;
  /** Intervals that are still to be tried. */
  steps: readonly Millis[];
  failures: number;
  phase: 'idle' | 'asked' | 'silent';
  due: Millis | undefined;
  socket?: ProbeSocket | undefined;
  /** The answer whose echo is waited for: authentic, because the core took it. */
  answer?: Uint8Array | undefined;
  answeredAt?: Millis;
}

const STEPS: readonly Millis[] = [40_000, 60_000, 80_000, 110_000];
/** Silence that a mapping has to survive beyond the interval that is then used. */
const MARGIN: Millis = 10_000;
const SETTLING: Millis = 5000;
const PATIENCE: Millis = 5000;
const EARLY: Millis = 500;
const SAME_MOMENT: Millis = 2000;
/** One lost packet is no sign of a lost mapping. */
const FAILURES = 2;
