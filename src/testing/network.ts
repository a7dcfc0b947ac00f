import { type Address, ApiMisuse, formatAddress, formatIp, isIpv6, parseIp } from '../core/bytes/index.ts';
import type { Fate, PacketCapture } from './capture.ts';
import { Link, type LinkConditions } from './link.ts';
import type { SeededRandom } from './seeded.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** An IP packet: UDP, a piece of a stream (`streams.ts`), or ESP straight on IP (ports are 0 then). */
export interface Packet {
  readonly protocol: 'udp' | 'tcp' | 'esp';
  readonly source: Address;
  readonly destination: Address;
  /** Behind the UDP header, or behind the IP header for ESP. */
  readonly data: Uint8Array;
}

/** What every part of one simulated world shares. */
export interface Fabric {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly capture: PacketCapture;
}

/** Whatever has an address: a host, or one side of a NAT. */
export interface Station {
  readonly name: string;
  receive(packet: Packet, on: Attachment): Fate;
  /** An ICMP error about a packet that came from here: it was larger than `mtu`. */
  tooBig(packet: Packet, mtu: number): void;
}

/** A station's place on a network: its addresses there, and its two one-way links. */
export class Attachment {
  readonly station: Station;
  readonly network: Network;
  readonly up: Link;
  readonly down: Link;
  readonly addresses = new Set<string>();

  constructor(station: Station, network: Network, link: Partial<LinkConditions>, random: SeededRandom) {
    this.station = station;
    this.network = network;
    this.up = new Link(link, random.stream(`${station.name} up on ${network.name}`));
    this.down = new Link(link, random.stream(`${station.name} down on ${network.name}`));
  }

  /** Changes both directions. */
  setLink(conditions: Partial<LinkConditions>): void {
    Object.assign(this.up.conditions, conditions);
    Object.assign(this.down.conditions, conditions);
  }
}

/** Sees every packet as it is sent on a network and decides what becomes of it: undefined passes it, a list replaces it (empty drops it). */
export type Interceptor = (packet: Packet) => readonly Packet[] | undefined;

/**
 * An address space within which every address reaches every other: the internet, or the inside of a NAT. What it does not know goes to
 * its gateway.
 */
export class Network {
  readonly name: string;
  readonly #fabric: Fabric;
  readonly #owners = new Map<string, Attachment>();
  readonly #partitions: { readonly a: Station; readonly b: Station }[] = [];
  readonly #interceptors: Interceptor[] = [];
  #gateway: Attachment | undefined;

  constructor(name: string, fabric: Fabric) {
    this.name = name;
    this.#fabric = fabric;
  }

  attach(station: Station, addresses: readonly string[], link: Partial<LinkConditions> = {}): Attachment {
    const attachment = new Attachment(station, this, link, this.#fabric.random);
    for (const address of addresses) this.addAddress(attachment, address);
    return attachment;
  }

  detach(attachment: Attachment): void {
    for (const address of [...attachment.addresses]) this.removeAddress(attachment, address);
  }

  addAddress(attachment: Attachment, address: string): void {
    const ip = formatIp(parseIp(address));
    if (this.#owners.has(ip)) throw new ApiMisuse(`${ip} is taken on ${this.name} by ${this.#owners.get(ip)!.station.name}`);
    this.#owners.set(ip, attachment);
    attachment.addresses.add(ip);
  }

  removeAddress(attachment: Attachment, address: string): void {
    const ip = formatIp(parseIp(address));
    if (this.#owners.get(ip) === attachment) this.#owners.delete(ip);
    attachment.addresses.delete(ip);
  }

  /** Where packets to addresses outside of this network go. */
  setGateway(attachment: Attachment): void {
    this.#gateway = attachment;
  }

  /** Delivers an ICMP error about a packet that a station of this network sent. */
  tellTooBig(packet: Packet, mtu: number): void {
    this.#owners.get(packet.source.ip)?.station.tooBig(packet, mtu);
  }

  /** Nothing passes between the two stations until `heal`. */
  partition(a: Station, b: Station): void {
    this.#partitions.push({ a, b });
  }

  heal(): void {
    this.#partitions.length = 0;
  }

  /** @returns how to take it away again. */
  intercept(interceptor: Interceptor): () => void {
    this.#interceptors.push(interceptor);
    return () => {
      const at = this.#interceptors.indexOf(interceptor);
      if (at >= 0) this.#interceptors.splice(at, 1);
    };
  }

  /** Sends a packet into the network from a station attached to it. */
  send(from: Attachment, packet: Packet): void {
    if (this.#interceptors.length === 0) return this.#up(from, packet);
    let packets: readonly Packet[] = [packet];
    for (const interceptor of [...this.#interceptors]) packets = packets.flatMap((p) => interceptor(p) ?? [p]);
    if (packets.length === 0) this.#fabric.capture.record(this.#fabric.clock.now, this.name, packet).settle('intercepted');
    for (const one of packets) this.#up(from, one);
  }

  #up(from: Attachment, packet: Packet): void {
    const { clock, capture } = this.#fabric;
    const entry = capture.record(clock.now, this.name, packet);
    const passage = from.up.pass(octetsOf(packet), headerOf(packet), clock.now);
    if (passage.kind === 'drop') {
      entry.settle(passage.why);
      if (passage.why === 'too big' && from.up.conditions.oversize === 'too-big') from.station.tooBig(packet, from.up.conditions.mtu);
      return;
    }
    for (const delay of passage.arrivals) clock.after(delay, () => this.#down(from, packet, entry));
  }

  #down(from: Attachment, packet: Packet, entry: ReturnType<PacketCapture['record']>): void {
    const { clock } = this.#fabric;
    // what comes in through the gateway and finds nobody does not go out by it again
    const to = this.#owners.get(packet.destination.ip) ?? (this.#gateway === from ? undefined : this.#gateway);
    if (to === undefined || this.#partitioned(from.station, to.station)) {
      entry.settle(to === undefined ? 'no such host' : 'partitioned');
      return;
    }
    const passage = to.down.pass(octetsOf(packet), headerOf(packet), clock.now);
    if (passage.kind === 'drop') {
      entry.settle(passage.why);
      if (passage.why === 'too big' && to.down.conditions.oversize === 'too-big') {
        const mtu = to.down.conditions.mtu;
        clock.after(from.down.conditions.delay, () => from.station.tooBig(packet, mtu));
      }
      return;
    }
    for (const delay of passage.arrivals) clock.after(delay, () => entry.settle(to.station.receive(packet, to), clock.now));
  }

  #partitioned(one: Station, other: Station): boolean {
    return this.#partitions.some(({ a, b }) => (a === one && b === other) || (b === one && a === other));
  }
}

/** Octets of the IP header. */
const headerOf = ({ source }: Packet): number => (isIpv6(source.ip) ? 40 : 20);

/** Octets of the IP packet. */
const octetsOf = (packet: Packet): number => headerOf(packet) + TRANSPORT_HEADER[packet.protocol] + packet.data.length;

/** `192.0.2.1:500 → 198.51.100.7:500 udp 412`, for failure messages. */
export function describePacket(packet: Packet): string {
  return `${formatAddress(packet.source)} → ${formatAddress(packet.destination)} ${packet.protocol} ${packet.data.length}`;
}

const TRANSPORT_HEADER: Readonly<Record<Packet['protocol'], number>> = { udp: 8, tcp: 20, esp: 0 };
