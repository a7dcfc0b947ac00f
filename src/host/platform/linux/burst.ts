import type { Triage } from '../udp.ts';
import type { Native } from './ffi.ts';
import type { FastUdp } from './udp.ts';
import { UdpBatch } from './udp-batch.ts';

/** What waits at a socket, read many datagrams at a time between two turns of the event loop. */
export class Burst {
  readonly #udp: FastUdp;
  readonly #batch: UdpBatch;
  readonly #triage: Triage | undefined;
  readonly #mostWaiting: number;
  /** Places in the batch of those that wait. */
  readonly #waiting = new Int32Array(AT_ONCE);

  /** @param mostWaiting so many of those that wait are worked on in one turn, and the others dropped: some fifteen milliseconds of answers */
  constructor(native: Native, udp: FastUdp, triage: Triage | undefined, mostWaiting = 2048) {
    this.#mostWaiting = mostWaiting;
    this.#udp = udp;
    this.#batch = batchOf(native);
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
    let budget = this.#mostWaiting;
    for (let calls = 0; calls < MOST_CALLS && goesOn(); calls++) {
      const count = this.#udp.receive(this.#batch);
      received += count;
      const waiting = this.#work(count, deliver);
      const taken = Math.min(waiting, budget);
      for (let i = 0; i < taken && goesOn(); i++) this.#takeWaiting(this.#waiting[i]!);
      budget -= taken;
      shed += waiting - taken;
      if (count < AT_ONCE) break;
    }
    if (shed > 0) this.#triage?.onShed(shed);
    return received;
  }

  /** Those that do not wait. @returns how many do */
  #work(count: number, deliver: (data: Uint8Array, ip: string, port: number) => void): number {
    const batch = this.#batch;
    let waiting = 0;
    for (let i = 0; i < count; i++) {
      const at = batch.offset(i);
      const end = at + batch.length(i);
      // One that did not fit its place tells nothing; an empty one is as good as none to whoever reads IKE and ESP.
      if (end === at) continue;
      if (this.#triage?.waits(batch.buffer.octets.subarray(at, end))) this.#waiting[waiting++] = i;
      else deliver(batch.buffer.octets.slice(at, end), batch.ip(i), batch.port(i));
    }
    return waiting;
  }

  #takeWaiting(i: number): void {
    const batch = this.#batch;
    const at = batch.offset(i);
    this.#triage!.onWaiting(batch.buffer.octets.subarray(at, at + batch.length(i)), batch.ip(i), batch.port(i));
  }
}

/** One for each thread: nobody reads in between, and what is handed out as it stands is done with when the handler returns. */
function batchOf(native: Native): UdpBatch {
  let batch = BATCHES.get(native);
  if (batch === undefined) {
    batch = new UdpBatch(native, AT_ONCE);
    BATCHES.set(native, batch);
  }
  return batch;
}

const BATCHES = new WeakMap<Native, UdpBatch>();
const AT_ONCE = 64;
/** In one turn: a few milliseconds of reading. */
const MOST_CALLS = 64;
