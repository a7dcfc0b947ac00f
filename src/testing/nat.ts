import { type Address, ApiMisuse, formatAddress, formatIp, isIpv6, parseIp } from '../core/bytes/index.ts';
import type { Fate } from './capture.ts';
import type { LinkConditions } from './link.ts';
import { type Attachment, type Fabric, Network, type Packet, type Station } from './network.ts';
import type { SeededRandom } from './seeded.ts';

/** RFC 4787 §4.1 and §5: on what a mapping, or the permission to come in, depends. */
export type NatBehaviour = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

export interface NatOptions {
  /** Addresses outside. A host inside always appears under the same one (paired pooling, RFC 4787 REQ-2). */
  readonly outside: readonly string[];
  /** The network outside; the internet unless said otherwise. */
  readonly network?: Network;
  readonly mapping?: NatBehaviour;
  readonly filtering?: NatBehaviour;
  /** `preserve` gives the port inside where it is free (RFC 4787 §4.2.1). */
  readonly ports?: 'preserve' | 'sequential' | 'random';
  /** Hosts inside reach one another through the address outside (RFC 4787 §6). */
  readonly hairpinning?: boolean;
  /** A mapping without traffic is forgotten after so many milliseconds (RFC 4787 REQ-5: not below two minutes; many boxes take 30 s). */
  readonly timeout?: number;
  /** Traffic from outside keeps a mapping as well (RFC 4787 REQ-6 allows both). */
  readonly inboundRefresh?: boolean;
  /** Of the link between the NAT and the network outside. */
  readonly link?: Partial<LinkConditions>;
}

export interface NatMapping {
  readonly inside: Address;
  readonly outside: Address;
  /** Whom the mapping serves; undefined when it serves all (endpoint-independent). */
  readonly remote: string | undefined;
  readonly lastUsed: number;
}

export interface NatCounters {
  readonly translatedOut: number;
  readonly translatedIn: number;
  readonly hairpinned: number;
  readonly dropped: number;
}

/** A NAT as RFC 4787 names its kinds: UDP and TCP, as a box without an ESP helper (RFC 3715 §2). */
export class Nat {
  readonly name: string;
  /** Attach the hosts behind it here. */
  readonly inside: Network;
  readonly #fabric: Fabric;
  readonly #random: SeededRandom;
  readonly #options: Required<Omit<NatOptions, 'network' | 'link'>>;
  readonly #outsideNetwork: Network;
  readonly #outside: Attachment;
  readonly #insideSide: Attachment;
  readonly #byInside = new Map<string, Mapping>();
  readonly #byOutside = new Map<string, Mapping>();
  readonly #paired = new Map<string, string>();
  readonly #counters = { translatedOut: 0, translatedIn: 0, hairpinned: 0, dropped: 0 };
  /** Ports that a rebinding must not give out again at once. */
  readonly #avoid = new Set<number>();
  #nextPort = FIRST_DYNAMIC_PORT;
  #addresses: string[];

  constructor(fabric: Fabric, name: string, options: NatOptions, outside: Network) {
    if (options.outside.length === 0) throw new ApiMisuse(`NAT ${name} needs an address outside`);
    this.name = name;
    this.#fabric = fabric;
    this.#random = fabric.random.stream(`nat ${name}`);
    this.#options = { ...NAT_DEFAULTS, ...options };
    this.#addresses = options.outside.map((ip) => formatIp(parseIp(ip)));
    this.inside = new Network(`inside ${name}`, fabric);
    this.#outsideNetwork = outside;
    const outer: Station = { name, receive: (packet) => this.#inbound(packet), tooBig: (packet, mtu) => this.#tooBig(packet, mtu) };
    const inner: Station = { name, receive: (packet) => this.#outbound(packet), tooBig: () => {} };
    this.#outside = this.#outsideNetwork.attach(outer, this.#addresses, options.link);
    this.#insideSide = this.inside.attach(inner, []);
    this.inside.setGateway(this.#insideSide);
  }

  get counters(): NatCounters {
    return { ...this.#counters };
  }

  /** Mappings that have not timed out. */
  get mappings(): readonly NatMapping[] {
    return [...this.#byOutside.values()].filter((mapping) => !this.#timedOut(mapping));
  }

  /** Of the link outside, both directions. */
  setLink(conditions: Partial<LinkConditions>): void {
    this.#outside.setLink(conditions);
  }

  /** Forgets every mapping; whoever sends next appears under another port. */
  rebind(): void {
    this.#avoid.clear();
    for (const mapping of this.#byOutside.values()) this.#avoid.add(mapping.outside.port);
    this.#forgetAll();
  }

  /** Forgets every mapping and comes back, under other addresses if given. */
  reboot(outside: readonly string[] = this.#addresses): void {
    this.#forgetAll();
    this.#avoid.clear();
    this.#paired.clear();
    this.#nextPort = FIRST_DYNAMIC_PORT;
    for (const ip of this.#addresses) this.#outsideNetwork.removeAddress(this.#outside, ip);
    this.#addresses = outside.map((ip) => formatIp(parseIp(ip)));
    for (const ip of this.#addresses) this.#outsideNetwork.addAddress(this.#outside, ip);
  }

  #outbound(packet: Packet): Fate {
    if (packet.protocol === 'esp') return this.#drop('not translatable');
    const mapping = this.#mappingFor(packet.source, packet.destination);
    if (mapping === undefined) return this.#drop('no ports left');
    mapping.lastUsed = this.#fabric.clock.now;
    mapping.permitted.add(packet.destination.ip).add(formatAddress(packet.destination));
    const translated: Packet = { ...packet, source: mapping.outside };
    if (this.#addresses.includes(packet.destination.ip)) {
      if (!this.#options.hairpinning) return this.#drop('no hairpin');
      this.#counters.hairpinned++;
      return this.#inbound(translated);
    }
    this.#counters.translatedOut++;
    this.#outsideNetwork.send(this.#outside, translated);
    return 'delivered';
  }

  #inbound(packet: Packet): Fate {
    if (packet.protocol === 'esp') return this.#drop('not translatable');
    const mapping = this.#byOutside.get(formatAddress(packet.destination));
    if (mapping === undefined || this.#timedOut(mapping)) return this.#drop('no mapping');
    if (!this.#allows(mapping, packet.source)) return this.#drop('filtered');
    if (this.#options.inboundRefresh) mapping.lastUsed = this.#fabric.clock.now;
    this.#counters.translatedIn++;
    this.inside.send(this.#insideSide, { ...packet, destination: mapping.inside });
    return 'delivered';
  }

  #drop(why: Fate): Fate {
    this.#counters.dropped++;
    return why;
  }

  #tooBig(packet: Packet, mtu: number): void {
    const mapping = this.#byOutside.get(formatAddress(packet.source));
    if (mapping === undefined) return;
    this.inside.tellTooBig({ ...packet, source: mapping.inside }, mtu);
  }

  #mappingFor(inside: Address, destination: Address): Mapping | undefined {
    const remote = dependsOn(this.#options.mapping, destination);
    const key = `${formatAddress(inside)} ${remote ?? '*'}`;
    const known = this.#byInside.get(key);
    if (known !== undefined && !this.#timedOut(known)) return known;
    if (known !== undefined) this.#forget(known);
    const outside = this.#allocate(inside);
    if (outside === undefined) return undefined;
    const mapping: Mapping = { key, inside, outside, remote, permitted: new Set(), lastUsed: this.#fabric.clock.now };
    this.#byInside.set(key, mapping);
    this.#byOutside.set(formatAddress(outside), mapping);
    return mapping;
  }

  #allocate(inside: Address): Address | undefined {
    const ip = this.#pairedAddress(inside.ip);
    if (ip === undefined) return undefined;
    const free = (port: number): boolean => {
      const taken = this.#byOutside.get(formatAddress({ ip, port }));
      if (taken !== undefined && this.#timedOut(taken)) this.#forget(taken);
      return !this.#byOutside.has(formatAddress({ ip, port })) && !this.#avoid.has(port);
    };
    if (this.#options.ports === 'preserve' && free(inside.port)) return { ip, port: inside.port };
    for (let tries = 0; tries <= 0xffff - FIRST_DYNAMIC_PORT; tries++) {
      const port = this.#options.ports === 'random' && tries < 64 ? this.#random.between(FIRST_DYNAMIC_PORT, 0xffff) : this.#nextPort++;
      if (this.#nextPort > 0xffff) this.#nextPort = FIRST_DYNAMIC_PORT;
      if (free(port)) return { ip, port };
    }
    return undefined;
  }

  #pairedAddress(inside: string): string | undefined {
    const known = this.#paired.get(inside);
    if (known !== undefined) return known;
    const family = this.#addresses.filter((ip) => isIpv6(ip) === isIpv6(inside));
    const chosen = family[this.#paired.size % Math.max(1, family.length)];
    if (chosen !== undefined) this.#paired.set(inside, chosen);
    return chosen;
  }

  #allows(mapping: Mapping, source: Address): boolean {
    const needed = dependsOn(this.#options.filtering, source);
    return needed === undefined || mapping.permitted.has(needed);
  }

  #timedOut(mapping: Mapping): boolean {
    return this.#fabric.clock.now - mapping.lastUsed > this.#options.timeout;
  }

  #forget(mapping: Mapping): void {
    this.#byInside.delete(mapping.key);
    this.#byOutside.delete(formatAddress(mapping.outside));
  }

  #forgetAll(): void {
    this.#byInside.clear();
    this.#byOutside.clear();
  }
}

interface Mapping extends NatMapping {
  readonly key: string;
  /** Addresses, and addresses with port, that were sent to through it. */
  readonly permitted: Set<string>;
  lastUsed: number;
}

function dependsOn(behaviour: NatBehaviour, remote: Address): string | undefined {
  if (behaviour === 'endpoint-independent') return undefined;
  return behaviour === 'address-dependent' ? remote.ip : formatAddress(remote);
}

const FIRST_DYNAMIC_PORT = 49_152;

const NAT_DEFAULTS = {
  mapping: 'endpoint-independent',
  filtering: 'address-and-port-dependent',
  ports: 'sequential',
  hairpinning: false,
  timeout: 120_000,
  inboundRefresh: true,
} as const;
