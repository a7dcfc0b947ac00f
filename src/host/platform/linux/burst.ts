import type { Triage } from '../udp.ts';
import type { Native } from './ffi.ts';
import type { FastUdp } from './udp.ts';
import { UdpBatch } from './udp-batch.ts';

/** Takes datagrams where they stand, before they are offered to anybody else. */
export interface DirectReader {
  /** What they are read into. */
  readonly batch: UdpBatch;
  /** Message `i` of the batch, to be worked on in place. @returns false when it is for somebody else */
  take(i: number): boolean;
  /** Nothing more comes for now, or much has come. */
  done(): void;
}

/** What waits at a socket, read many datagrams at a time between two turns of the event loop. */
export class Burst {
  /** Whose batch is read into, if there is such a reader. */
  direct: DirectReader | undefined;
  /** In what was read last something was that must not wait (`Triage.patient`). */
  pressing = false;
  readonly #udp: FastUdp;
  readonly #ownBatch: UdpBatch;
  readonly #triage: Triage | undefined;
  readonly #mostWaiting: number;
  readonly #betweenPauses: number;
  /** Places in the batch of those that wait. */
  readonly #waiting = new Int32Array(MOST_AT_ONCE);

  /**
   * @param mostWaiting so many of those that wait are worked on in one turn, and the others dropped: some fifteen milliseconds of answers
   * @param betweenPauses after so many a direct reader hears of a pause: acknowledgments wait for it
   */
  constructor(native: Native, udp: FastUdp, triage: Triage | undefined, mostWaiting = 2048, betweenPauses = 8 * MOST_AT_ONCE) {
    this.#mostWaiting = mostWaiting;
    this.#betweenPauses = betweenPauses;
    this.#udp = udp;
    this.#ownBatch = batchOf(native);
    this.#triage = triage;
  }

  /**
   * Reads until nothing is left, or so much has been read that others must have their turn.
   * @param goesOn asked before each call: whether this thread is still the one that reads
   * @returns how many datagrams there were
   */
  take(goesOn: () => boolean, deliver: (data: Uint8Array, ip: string, port: number) => void): number {
    let received = 0;
    let shed = 0;
    this.pressing = false;
    let budget = this.#mostWaiting;
    let pause = this.#betweenPauses;
    const { direct } = this;
    const batch = direct?.batch ?? this.#ownBatch;
    const most = direct === undefined ? MOST_DATAGRAMS : MOST_DIRECT;
    while (received < most && goesOn() && this.direct === direct) {
      const count = this.#udp.receive(batch);
      received += count;
      const waiting = this.#work(batch, count, direct, deliver);
      const taken = Math.min(waiting, budget);
      for (let i = 0; i < taken && goesOn(); i++) this.#takeWaiting(batch, this.#waiting[i]!);
      budget -= taken;
      shed += waiting - taken;
      if (count < batch.capacity) break;
      if (received < pause) continue;
      pause += this.#betweenPauses;
      direct?.done();
    }
    direct?.done();
    if (shed > 0) this.#triage?.onShed(shed);
    return received;
  }

  /** Those that do not wait. @returns how many do */
  #work(
    batch: UdpBatch,
    count: number,
    direct: DirectReader | undefined,
    deliver: (data: Uint8Array, ip: string, port: number) => void,
  ): number {
    let waiting = 0;
    for (let i = 0; i < count; i++) {
      const at = batch.offset(i);
      const end = at + batch.length(i);
      // One that did not fit its place tells nothing; an empty one is as good as none to whoever reads IKE and ESP.
      if (end === at) continue;
      if (direct?.take(i)) {
        this.pressing = true;
        continue;
      }
      if (this.#triage?.waits(batch.buffer.octets.subarray(at, end))) this.#waiting[waiting++] = i;
      else {
        const data = batch.buffer.octets.slice(at, end);
        this.pressing ||= !isPatient(this.#triage, data);
        deliver(data, batch.ip(i), batch.port(i));
      }
    }
    return waiting;
  }

  #takeWaiting(batch: UdpBatch, i: number): void {
    const at = batch.offset(i);
    this.#triage!.onWaiting(batch.buffer.octets.subarray(at, at + batch.length(i)), batch.ip(i), batch.port(i));
  }
}

export const isPatient = (triage: Triage | undefined, data: Uint8Array): boolean => triage?.patient?.(data) ?? false;

/** One for each thread: nobody reads in between, and what is handed out as it stands is done with when the handler returns. */
function batchOf(native: Native): UdpBatch {
  let batch = BATCHES.get(native);
  if (batch === undefined) {
    batch = new UdpBatch(native, MOST_AT_ONCE);
    BATCHES.set(native, batch);
  }
  return batch;
}

const BATCHES = new WeakMap<Native, UdpBatch>();
/** Messages of one call, at most: what a `DirectReader` reads into has no more. */
export const MOST_AT_ONCE = 64;
/** In one turn: a few milliseconds of reading. */
const MOST_DATAGRAMS = 64 * MOST_AT_ONCE;
/** The same, with ESP and TCP for each: some ten milliseconds. What Node reads singly behind that costs twice as much. */
const MOST_DIRECT = 32 * MOST_AT_ONCE;
