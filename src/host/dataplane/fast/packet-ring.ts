import { ApiMisuse } from '../../../core/bytes/index.ts';

/**
 * Packets on their way from one thread to another, in memory that both see: one writes, one reads, neither waits. Positions count octets and run
 * over at 2^32; each is stored by one thread alone. A packet stands in one piece, so that it is made and worked on where it is.
 *
 * Nobody is woken for what he will see anyway. Who goes to rest says so and then looks once more; who has put something down looks whether the
 * other rests (sequentially consistent both, so that at least one sees the other).
 */
export interface RingMemory {
  readonly control: SharedArrayBuffer;
  readonly octets: SharedArrayBuffer;
}

/** @param size octets, a power of two, at most 2^30 */
export function ringMemory(size: number): RingMemory {
  if (size < 64 || size > 2 ** 30 || (size & (size - 1)) !== 0) throw new ApiMisuse(`a ring of ${size} octets is no power of two`);
  return { control: new SharedArrayBuffer(CONTROL), octets: new SharedArrayBuffer(size) };
}

/** The end that packets are put into. */
export class RingWriter {
  readonly octets: Uint8Array<SharedArrayBuffer>;
  readonly #view: DataView<SharedArrayBuffer>;
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #size: number;
  /** As it was when last looked at: there is no less room now. */
  #read = 0;
  #written = 0;

  constructor({ control, octets }: RingMemory) {
    this.octets = new Uint8Array(octets);
    this.#view = new DataView(octets);
    this.#control = new Int32Array(control);
    this.#size = octets.byteLength;
    this.#written = Atomics.load(this.#control, WRITTEN);
    this.#read = Atomics.load(this.#control, READ);
  }

  /** Whether so many octets, with what it takes to tell packets apart, can be put down. */
  hasRoom(octets: number): boolean {
    if (octets <= this.#free) return true;
    this.#read = Atomics.load(this.#control, READ);
    return octets <= this.#free;
  }

  /** @param most octets that the packet may have @returns where in `octets` it is to stand; -1 when there is no room, and nothing has changed */
  reserve(most: number): number {
    const needed = recordLength(most);
    const at = this.#written & (this.#size - 1);
    const behind = this.#size - at;
    if (behind >= needed) return this.hasRoom(needed) ? at + HEAD : -1;
    // in one piece: the rest of the ring is passed over
    if (!this.hasRoom(behind + needed)) return -1;
    this.#view.setUint32(at, PASS_OVER, true);
    this.#advance(behind);
    return HEAD;
  }

  /** The packet stands where it was to stand, and is the reader's. @param tag told to the reader with it, 0 to 65535 */
  commit(length: number, tag: number): void {
    const at = this.#written & (this.#size - 1);
    this.#view.setUint32(at, length, true);
    this.#view.setUint16(at + TAG_AT, tag, true);
    this.#advance(recordLength(length));
  }

  /** @returns true, once, when the reader rests: whoever has written is to wake him */
  mustWake(): boolean {
    return Atomics.load(this.#control, RESTS) === 1 && Atomics.compareExchange(this.#control, RESTS, 1, 0) === 1;
  }

  /** The writer does without until there is room for so many octets. @returns false when there is: then nothing will be said */
  waitForRoom(octets: number): boolean {
    Atomics.store(this.#control, WANTED, octets);
    if (!this.hasRoom(octets)) return true;
    Atomics.store(this.#control, WANTED, 0);
    return false;
  }

  get #free(): number {
    return this.#size - ((this.#written - this.#read) >>> 0);
  }

  #advance(octets: number): void {
    this.#written = (this.#written + octets) | 0;
    Atomics.store(this.#control, WRITTEN, this.#written);
  }
}

/** The end that packets are taken from. */
export class RingReader {
  readonly octets: Uint8Array<SharedArrayBuffer>;
  /** Where the packet at hand stands, and what was told with it. */
  start = 0;
  end = 0;
  tag = 0;
  readonly #view: DataView<SharedArrayBuffer>;
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #size: number;
  #read = 0;

  constructor({ control, octets }: RingMemory) {
    this.octets = new Uint8Array(octets);
    this.#view = new DataView(octets);
    this.#control = new Int32Array(control);
    this.#size = octets.byteLength;
    this.#read = Atomics.load(this.#control, READ);
  }

  get isEmpty(): boolean {
    return Atomics.load(this.#control, WRITTEN) === this.#read;
  }

  /** Goes to the next packet; it stands until `release`. @returns false when there is none */
  next(): boolean {
    while (!this.isEmpty) {
      const at = this.#read & (this.#size - 1);
      const length = this.#view.getUint32(at, true);
      if (length === PASS_OVER) {
        this.#advance(this.#size - at);
        continue;
      }
      this.start = at + HEAD;
      this.end = this.start + length;
      this.tag = this.#view.getUint16(at + TAG_AT, true);
      return true;
    }
    return false;
  }

  /** Its place is the writer's again. */
  release(): void {
    this.#advance(recordLength(this.end - this.start));
  }

  /** @returns true, once, when the writer waits for room and there is as much as he wants: whoever has read is to tell him */
  mustTellRoom(): boolean {
    const wanted = Atomics.load(this.#control, WANTED);
    if (wanted === 0) return false;
    const used = (Atomics.load(this.#control, WRITTEN) - this.#read) >>> 0;
    return this.#size - used >= wanted && Atomics.compareExchange(this.#control, WANTED, wanted, 0) === wanted;
  }

  /** The reader is woken for the next packet. @returns false when there is one already: it stays awake */
  rest(): boolean {
    Atomics.store(this.#control, RESTS, 1);
    if (this.isEmpty) return true;
    this.stir();
    return false;
  }

  /** It looks by itself from now on. */
  stir(): void {
    Atomics.store(this.#control, RESTS, 0);
  }

  #advance(octets: number): void {
    this.#read = (this.#read + octets) | 0;
    Atomics.store(this.#control, READ, this.#read);
  }
}

const recordLength = (octets: number): number => (HEAD + octets + 7) & ~7;

/** Length, tag, and as much as puts a packet behind its virtio header on a multiple of 8. */
const HEAD = 14;
const TAG_AT = 4;
/** In the place of a length: the next packet stands where the ring begins. */
const PASS_OVER = 0xffffffff;
/** What each thread stores in lines of its own of the processor's cache. */
const LINE = 64 / Int32Array.BYTES_PER_ELEMENT;
const [WRITTEN, READ, RESTS, WANTED] = [0, LINE, 2 * LINE, 3 * LINE];
const CONTROL = 4 * 64;
