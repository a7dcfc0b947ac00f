import { EXHAUSTED, outerClass } from '../../../core/esp/index.ts';
import { IpView } from '../../../core/packet/index.ts';
import { type PacketBuffer, Segmenter, VNET_HEADER, VnetHeader } from '../../../core/packet/offload/index.ts';
import type { ChildEntry } from '../child-entry.ts';
import type { EspPlane } from '../esp-plane.ts';
import { protocolOf } from '../esp-sender.ts';
import { mustClamp } from '../oversize.ts';
import { type BatchPath, type BatchTarget, MOST_OCTETS, MOST_SEGMENTS, type TunPort } from './ports.ts';

export interface OutboundPumpOptions<B extends PacketBuffer> {
  readonly esp: EspPlane;
  readonly tun: Pick<TunPort<B>, 'read'>;
  /** Octets whose address the ciphers and the sockets know, parts of one memory: one of each of `OUTBOUND_BUFFERS`. */
  readonly allocate: (length: number) => B;
}

/** What became of packets that did not become ESP, by cause. */
export interface OutboundDrops {
  /** A virtio header that does not fit its packet. */
  offload: number;
}

/**
 * From the TUN device to the sockets: a super-packet is looked up once, cut into its packets where each of them will be sealed, and what is
 * for one peer and of one size leaves in one call. Sequence numbers, limits and counters are those of `EspPlane`, packet by packet.
 */
export class OutboundPump<B extends PacketBuffer = PacketBuffer> {
  readonly drops: OutboundDrops = { offload: 0 };
  readonly #esp: EspPlane;
  readonly #tun: Pick<TunPort<B>, 'read'>;
  readonly #in: B;
  readonly #out: B;
  readonly #header = new VnetHeader();
  readonly #segmenter = new Segmenter();
  readonly #view = new IpView();
  /** The batch under way: whose packets, how long each is, and how far it reaches. */
  readonly #owners: (ChildEntry | undefined)[] = new Array<ChildEntry | undefined>(MOST_SEGMENTS).fill(undefined);
  #target: BatchTarget<B> | undefined;
  #segment = 0;
  #trafficClass = 0;
  #fill = 0;
  #count = 0;
  /** A shorter packet ended it. */
  #closed = false;

  constructor({ esp, tun, allocate }: OutboundPumpOptions<B>) {
    this.#esp = esp;
    this.#tun = tun;
    this.#in = allocate(IN_LENGTH);
    this.#out = allocate(OUT_LENGTH);
  }

  /** Reads what waits, at most so many super-packets, and sends it. @returns false when nothing waited */
  pump(budget: number): boolean {
    let taken = 0;
    for (; taken < budget; taken++) {
      const length = this.#tun.read(this.#in, HEADER_AT, IN_LENGTH - HEADER_AT);
      if (length <= 0) break;
      if (length > VNET_HEADER) this.#take(HEADER_AT + length);
    }
    this.#flush();
    return taken > 0;
  }

  #take(end: number): void {
    const source = this.#in;
    this.#header.read(source.octets, HEADER_AT);
    const entry = this.#esp.lookup(source.octets, PACKET_AT, end, this.#view);
    if (this.#segmenter.begin(source, PACKET_AT, entry === undefined ? end : this.#view.end, this.#header) !== 'ok') {
      this.drops.offload++;
      return;
    }
    const path = entry?.path as BatchPath<B> | undefined;
    if (entry === undefined || path?.batch === undefined || this.#needsMore(entry)) this.#oneByOne();
    else this.#seal(entry, path.batch);
  }

  /** More than to be sealed: a look at each packet by itself. */
  #needsMore(entry: ChildEntry): boolean {
    if (entry.transport !== undefined || entry.ipcomp !== undefined) return true;
    return this.#segmenter.packetLength > entry.mtu || mustClamp(entry, this.#view);
  }

  /** All packets of the segmenter, into batches. */
  #seal(entry: ChildEntry, target: BatchTarget<B>): void {
    const segmenter = this.#segmenter;
    const { outbound } = entry;
    if (outbound.protocol !== 'ESP') return this.#oneByOne();
    const { payloadOffset } = outbound;
    const { tfcLength } = entry;
    const nextHeader = protocolOf(this.#view);
    const trafficClass = outerClass(this.#view.trafficClass, entry.outer);
    const full = outbound.sealedLength(Math.max(segmenter.packetLength, tfcLength));
    if (full > MOST_OCTETS) return this.#oneByOne();
    while (segmenter.remaining > 0) {
      const next = segmenter.remaining === 1 ? outbound.sealedLength(Math.max(segmenter.lastLength, tfcLength)) : full;
      if (!this.#hasRoom(target, next, trafficClass, segmenter.remaining)) this.#flush();
      if (this.#count === 0) this.#begin(target, next, trafficClass);
      const room = Math.min(MOST_SEGMENTS - this.#count, Math.max(1, Math.floor((MOST_OCTETS - this.#fill) / full)));
      // only the last packet of a super-packet may be shorter: those before it go first
      const wanted =
        segmenter.remaining === 1 || segmenter.lastLength === segmenter.packetLength ? room : Math.min(room, segmenter.remaining - 1);
      const { lastLength, packetLength } = segmenter;
      const before = segmenter.remaining;
      const written = segmenter.write(this.#out, this.#fill + payloadOffset, full, wanted);
      const last = written === before ? lastLength : packetLength;
      const { octets } = this.#out;
      const sealed =
        written === 0 ? EXHAUSTED : this.#esp.sealing.sealBurst(entry, octets, this.#fill, written, packetLength, last, nextHeader);
      if (sealed !== EXHAUSTED) {
        for (let i = 0; i < written; i++) this.#owners[this.#count++] = entry;
        this.#fill += sealed;
        if (sealed < written * this.#segment) this.#closed = true;
        continue;
      }
      for (let i = 1; i <= written; i++) {
        const length = this.#esp.sealing.sealInPlace(entry, octets, this.#fill, i === written ? last : packetLength, nextHeader);
        if (length === EXHAUSTED) return this.#flush();
        this.#fill += length;
        this.#owners[this.#count++] = entry;
        if (length < this.#segment) this.#closed = true;
      }
    }
  }

  /** @param more packets that are to follow, of this length all but the last */
  #hasRoom(target: BatchTarget<B>, length: number, trafficClass: number, more: number): boolean {
    if (this.#count === 0) return true;
    // a shorter packet ends a batch, so that several of them are one of their own
    if (length < this.#segment && more > 1) return false;
    return (
      !this.#closed &&
      this.#target === target &&
      this.#trafficClass === trafficClass &&
      length <= this.#segment &&
      this.#count < MOST_SEGMENTS &&
      this.#fill + length <= MOST_OCTETS
    );
  }

  #begin(target: BatchTarget<B>, segment: number, trafficClass: number): void {
    this.#target = target;
    this.#segment = segment;
    this.#trafficClass = trafficClass;
  }

  #flush(): void {
    if (this.#count === 0) return;
    const taken = this.#target!.sendBatch(this.#out, 0, this.#fill, this.#segment, this.#trafficClass);
    // Each packet that stayed behind is counted where it belongs.
    if (taken < this.#fill) for (let i = Math.ceil(taken / this.#segment); i < this.#count; i++) this.#owners[i]!.drops.send++;
    this.#count = 0;
    this.#fill = 0;
    this.#closed = false;
  }

  /** What has no SA yet, or one that takes packets singly: each is made whole first, for it may have to wait. */
  #oneByOne(): void {
    this.#flush();
    const segmenter = this.#segmenter;
    while (segmenter.remaining > 0) {
      const length = segmenter.remaining === 1 ? segmenter.lastLength : segmenter.packetLength;
      if (segmenter.write(this.#out, 0, segmenter.packetLength, 1) === 0) return;
      this.#esp.send(this.#out.octets.subarray(0, length));
    }
  }
}

/** The IP header stands at a multiple of 64, behind its virtio header. */
const PACKET_AT = 64;
const HEADER_AT = PACKET_AT - VNET_HEADER;
const IN_LENGTH = PACKET_AT + 65_536;
/** A batch, and what the ciphers and the last packet write behind it. */
const OUT_LENGTH = 2 * 65_536;
export const OUTBOUND_BUFFERS: readonly number[] = [IN_LENGTH, OUT_LENGTH];
