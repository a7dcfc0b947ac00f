import { type Address, writeU32 } from '../../core/bytes/index.ts';
import type { RandomSource } from '../../core/crypto/index.ts';
import type { ChildSaChange, ChildSaSpec, Observation } from '../../core/ike/index.ts';
import type { SequenceNumbers } from '../../host/dataplane/data-plane.ts';
import { EspPlane } from '../../host/dataplane/esp-plane.ts';
import { LARGEST_DATAGRAM } from '../../host/dataplane/esp-sender.ts';
import type { Clock } from '../../host/platform/clock.ts';
import type { Packet } from '../network.ts';
import type { PeerPlane } from '../simulated-plane.ts';
import { simulatedPrimitives } from '../simulated-primitives.ts';

/** What a plane tells whoever keeps the books. */
export interface PlaneWatch {
  readonly clock: Clock;
  /** Keys are about to be used. */
  installing(spec: ChildSaSpec): void;
  /** One ESP packet leaves. @returns whether the host could send it. */
  send(local: Address, remote: Address, packet: Uint8Array): boolean;
  /** One inner packet came out. */
  delivered(packet: Uint8Array): void;
}

/** Packets and octets of every SA that a plane ever had. */
export interface PlaneTotals {
  sealed: number;
  sealedOctets: number;
  opened: number;
  openedOctets: number;
  /** Authentic, and dropped all the same. */
  refused: number;
  /** By causes that come before a packet is authentic. */
  dropped: number;
}

/** The data plane of the product, in user space, with its sockets in the simulation. */
export class WalkPlane implements PeerPlane {
  /** ESP packets that came in, ever. */
  received = 0;
  /** Inner packets that came out, ever. */
  delivered = 0;
  readonly #random: RandomSource;
  readonly #observe: (observation: Observation) => void;
  readonly #watch: PlaneWatch;
  readonly #children = new Map<number, ChildSaSpec>();
  readonly #gone: PlaneTotals = { sealed: 0, sealedOctets: 0, opened: 0, openedOctets: 0, refused: 0, dropped: 0 };
  #esp: EspPlane;
  /** Sequence numbers of a former life, by inbound SPI. */
  #resumable: ReadonlyMap<number, SequenceNumbers> = new Map();

  constructor(random: RandomSource, observe: (observation: Observation) => void, watch: PlaneWatch) {
    this.#random = random;
    this.#observe = observe;
    this.#watch = watch;
    this.#esp = this.#open();
  }

  get size(): number {
    return this.#children.size;
  }

  install(spec: ChildSaSpec): void {
    this.#watch.installing(spec);
    this.#esp.install(spec, spec.resumed ? this.#resumable.get(spec.inbound.spi) : undefined);
    this.#children.set(spec.id, spec);
  }

  update(child: number, change: ChildSaChange): void {
    this.#esp.update(child, change);
  }

  remove(child: number): void {
    this.#book(child);
    this.#children.delete(child);
    this.#esp.remove(child);
  }

  clear(): void {
    for (const child of this.#children.keys()) this.#book(child);
    this.#children.clear();
    const { 'unknown SPI': unknown } = this.#esp.drops();
    this.#gone.dropped += unknown ?? 0;
    this.#esp.close();
    this.#esp = this.#open();
  }

  lastUse(child: number): number | undefined {
    const counters = this.#esp.counters(child);
    const uses = [counters?.inbound.lastUse, counters?.outbound.lastUse].filter((at) => at !== undefined);
    return uses.length === 0 ? undefined : Math.max(...uses);
  }

  receive({ source, destination, data }: Packet): void {
    this.received++;
    this.#esp.receive(data, source.ip, source.port, destination);
  }

  /** @returns false when no SA took the packet. */
  send(packet: Uint8Array): boolean {
    return this.#esp.send(packet);
  }

  sequences(): ReadonlyMap<number, SequenceNumbers> {
    return new Map([...this.#children.values()].map(({ id, inbound }) => [inbound.spi, this.#esp.sequenceNumbers(id)!]));
  }

  /** Upper half of the newest sequence number that was sent under this SPI; 0 without ESN. */
  sequenceHigh(outboundSpi: number): number {
    const spec = [...this.#children.values()].find(({ outbound }) => outbound.spi === outboundSpi);
    return (spec && this.#esp.sequenceNumbers(spec.id)?.outbound.sequenceHigh) ?? 0;
  }

  /** An SA without ESN that was restored so often that one more time takes its last sequence numbers. */
  get wornOut(): boolean {
    return [...this.#children.values()].some(({ id, esn }) => {
      const { outbound } = this.#esp.sequenceNumbers(id) ?? {};
      return !esn && outbound !== undefined && outbound.sequenceLow >= 2 ** 32 - 2 ** 30;
    });
  }

  /** What the SAs of a snapshot go on with. */
  resume(sequences: ReadonlyMap<number, SequenceNumbers>): void {
    this.#resumable = sequences;
  }

  totals(): PlaneTotals {
    const totals = { ...this.#gone };
    for (const child of this.#children.keys()) this.#add(totals, child);
    totals.dropped += this.#esp.drops()['unknown SPI'] ?? 0;
    return totals;
  }

  #book(child: number): void {
    this.#add(this.#gone, child);
  }

  #add(totals: PlaneTotals, child: number): void {
    const counters = this.#esp.counters(child);
    if (counters === undefined) return;
    const { inbound, outbound, drops } = counters;
    totals.sealed += outbound.packets;
    totals.sealedOctets += outbound.bytes;
    totals.opened += inbound.packets;
    totals.openedOctets += inbound.bytes;
    for (const cause of BEFORE_AUTHENTIC) totals.dropped += drops[cause] ?? 0;
    for (const cause of AFTER_AUTHENTIC) totals.refused += drops[cause] ?? 0;
  }

  #open(): EspPlane {
    const watch = this.#watch;
    return new EspPlane({
      backend: 'simulated',
      scratch: SCRATCH,
      clock: watch.clock,
      random: this.#random,
      createPacketCipher: simulatedPrimitives.createPacketCipher,
      openPath: (local, remote) => ({ mtu: 1500, overhead: 28, send: (packet) => watch.send(local, remote, packet) }),
      onObservation: this.#observe,
      deliver: (buffer, start, end) => {
        this.delivered++;
        watch.delivered(buffer.subarray(start, end));
      },
    });
  }
}

/** Every packet of the walk's own traffic says so in clear: where this shows on a wire, something leaked. */
export const CLEAR_MARK: Uint8Array = Uint8Array.from('IN CLEAR', (letter) => letter.charCodeAt(0));

export function isMarkAt(data: Uint8Array, at: number): boolean {
  for (let i = 0; i < CLEAR_MARK.length; i++) if (data[at + i] !== CLEAR_MARK[i]) return false;
  return true;
}

/** An inner packet of ours: IPv4 and UDP headers, the mark, its number. */
export function innerPacket(source: readonly number[], destination: readonly number[], number: number, filler: number): Uint8Array {
  const packet = new Uint8Array(HEADERS + CLEAR_MARK.length + 4 + filler);
  packet[0] = 0x45;
  packet[2] = packet.length >>> 8;
  packet[3] = packet.length;
  packet[8] = 64;
  packet[9] = 17;
  for (let i = 0; i < 4; i++) {
    packet[12 + i] = source[i]!;
    packet[16 + i] = destination[i]!;
  }
  packet[25] = packet.length - 20;
  packet.set(CLEAR_MARK, HEADERS);
  writeU32(packet, HEADERS + CLEAR_MARK.length, number);
  return packet;
}

export function numberOf(packet: Uint8Array): number {
  const at = HEADERS + CLEAR_MARK.length;
  if (packet.length < at + 4) return -1;
  return ((packet[at]! << 24) | (packet[at + 1]! << 16) | (packet[at + 2]! << 8) | packet[at + 3]!) >>> 0;
}

/** A packet leaves it before the next one is put together, whosever it is. */
const SCRATCH = new Uint8Array(LARGEST_DATAGRAM);
const HEADERS = 28;
const BEFORE_AUTHENTIC = ['malformed', 'replay', 'icv'] as const;
/** `send` is about the other direction. */
const AFTER_AUTHENTIC = ['padding', 'dummy', 'inner', 'selectors', 'expired'] as const;
