import { getI32, getU16, getU32, type IpView } from '../../core/packet/index.ts';
import type { AddressRangeSelector, TrafficSelector } from '../../core/wire/payloads/types.ts';

/**
 * The traffic selectors of one CHILD_SA, ready to be held against packets (RFC 4301 §4.4.1.1). A packet fits when some pair of a local and a
 * remote selector fits it.
 */
export class ChildSelectors {
  /** They look at ports, so that fragments behind the first do not fit by themselves (RFC 4301 §7). */
  readonly looksAtPorts: boolean;
  readonly #local: readonly CompiledSelector[] | undefined;
  readonly #remote: readonly CompiledSelector[] | undefined;
  /**
   * One IPv4 range at either end, whatever the protocol and the ports, as most children have it: the first address, and how many follow it. With a
   * thousand children at work each object that a packet has to be held against is a miss of the processor's cache; `compiled` says the same.
   */
  readonly #localFirst: number = 0;
  readonly #localMore: number = 0;
  readonly #remoteFirst: number = 0;
  readonly #remoteMore: number = 0;

  /** @param plain false: ranges are kept as all others are, so that a test can hold the two ways equal */
  constructor(localTs: readonly TrafficSelector[], remoteTs: readonly TrafficSelector[], plain = true) {
    const local = localTs.filter(isRange).map(compile);
    const remote = remoteTs.filter(isRange).map(compile);
    this.looksAtPorts = [...local, ...remote].some(({ startPort, endPort }) => startPort !== 0 || endPort !== 0xffff);
    if (plain && isPlain(local) && isPlain(remote)) {
      [this.#localFirst, this.#localMore] = rangeOf(local);
      [this.#remoteFirst, this.#remoteMore] = rangeOf(remote);
    } else {
      this.#local = shared(local);
      this.#remote = remote;
    }
  }

  /** From us to the peer? */
  fitsOutbound(packet: IpView, ports: PortView): boolean {
    if (this.#local === undefined || this.#remote === undefined)
      return (
        packet.addressLength === 4 &&
        isWithin(packet.data, packet.sourceAt, this.#localFirst, this.#localMore) &&
        isWithin(packet.data, packet.destinationAt, this.#remoteFirst, this.#remoteMore)
      );
    return (
      fitsSome(this.#local, packet, packet.sourceAt, ports.source) &&
      fitsSome(this.#remote, packet, packet.destinationAt, ports.destination)
    );
  }

  /** From the peer to us? */
  fitsInbound(packet: IpView, ports: PortView): boolean {
    if (this.#local === undefined || this.#remote === undefined)
      return (
        packet.addressLength === 4 &&
        isWithin(packet.data, packet.sourceAt, this.#remoteFirst, this.#remoteMore) &&
        isWithin(packet.data, packet.destinationAt, this.#localFirst, this.#localMore)
      );
    return (
      fitsSome(this.#remote, packet, packet.sourceAt, ports.source) &&
      fitsSome(this.#local, packet, packet.destinationAt, ports.destination)
    );
  }

  /** The remote addresses one by one, where each selector is a single one and there are few; else undefined. */
  get remoteHosts(): readonly number[] | undefined {
    const remote = this.#remote ?? compiled(this.#remoteFirst, this.#remoteMore);
    if (remote.length === 0 || remote.length > MOST_HOSTS) return undefined;
    const hosts: number[] = [];
    for (const { bounds } of remote) {
      const words = bounds.length >> 1;
      if (bounds.some((word, i) => i < words && word !== bounds[words + i])) return undefined;
      hosts.push(hashWords(bounds.slice(0, words)));
    }
    return hosts;
  }

  /** The narrower, the smaller: bits of freedom that the remote side leaves, then the local side; fixed ports and protocols count as narrower. */
  get breadth(): number {
    const remote = this.#remote ?? compiled(this.#remoteFirst, this.#remoteMore);
    return widest(remote) * 1000 + widest(this.#local ?? compiled(this.#localFirst, this.#localMore));
  }
}

/** Ports of a packet, or what stands in their place; read once per packet into an object that is used again. */
export class PortView {
  /** -1 where the packet does not show any: protocols without ports, and fragments behind the first. */
  source = -1;
  destination = -1;

  read(packet: IpView): void {
    const { data, payload, end, protocol } = packet;
    this.source = -1;
    this.destination = -1;
    if (packet.fragmentOffset > 0) return;
    if (hasPorts(protocol)) {
      if (end - payload < 4) return;
      this.source = getU16(data, payload);
      this.destination = getU16(data, payload + 2);
    } else if (protocol === ICMP || protocol === IPV6_ICMP) {
      // RFC 7296 §3.13.1: type in the high, code in the low octet; it stands for the port of both ends.
      if (end - payload < 2) return;
      this.source = this.destination = getU16(data, payload);
    } else if (protocol === MOBILITY) {
      if (end - payload < 3) return;
      this.source = this.destination = data[payload + 2]! << 8;
    }
  }
}

/** A number that is equal for equal addresses; that of an IPv4 address is unique. Signed, for larger ones are objects to V8. */
export function hashAddress(data: Uint8Array, at: number, length: 4 | 16): number {
  if (length === 4) return getI32(data, at);
  let hash = 0;
  for (let i = 0; i < 16; i += 4) hash = (Math.imul(hash, 0x9e3779b1) + getI32(data, at + i)) | 0;
  return hash;
}

interface CompiledSelector {
  /** 0 is any. */
  readonly protocol: number;
  readonly startPort: number;
  readonly endPort: number;
  /** The first address and the last: a word each for IPv4, four for IPv6. */
  readonly bounds: readonly number[];
}

function compile(ts: AddressRangeSelector): CompiledSelector {
  return { protocol: ts.protocol, startPort: ts.startPort, endPort: ts.endPort, bounds: words(ts.start).concat(words(ts.end)) };
}

/** A single IPv4 range, and nothing else is asked. */
const isPlain = (selectors: readonly CompiledSelector[]): boolean =>
  selectors.length === 1 &&
  selectors.every(
    ({ protocol, startPort, endPort, bounds }) =>
      protocol === 0 && startPort === 0 && endPort === 0xffff && bounds.length === 2 && bounds[0]! <= bounds[1]!,
  );

/** Of a plain selector: both as signed words. */
const rangeOf = ([selector]: readonly CompiledSelector[]): readonly [first: number, more: number] => {
  const [first = 0, last = 0] = selector!.bounds;
  return [first | 0, (last - first) | 0];
};

/** What `rangeOf` was taken from. */
const compiled = (first: number, more: number): readonly CompiledSelector[] => [
  { protocol: 0, startPort: 0, endPort: 0xffff, bounds: [first >>> 0, (first >>> 0) + (more >>> 0)] },
];

const isWithin = (data: Uint8Array, at: number, first: number, more: number): boolean => (getI32(data, at) - first) >>> 0 <= more >>> 0;

/** What many children of a gateway have in common, its own side: those that are made one after the other then have it once. */
function shared(selectors: readonly CompiledSelector[]): readonly CompiledSelector[] {
  if (!areEqual(selectors, newest)) newest = selectors;
  return newest;
}

let newest: readonly CompiledSelector[] = [];

function areEqual(some: readonly CompiledSelector[], others: readonly CompiledSelector[]): boolean {
  return (
    some.length === others.length &&
    some.every((a, i) => {
      const b = others[i]!;
      const sameWords = a.bounds.length === b.bounds.length && a.bounds.every((word, at) => word === b.bounds[at]);
      return sameWords && a.protocol === b.protocol && a.startPort === b.startPort && a.endPort === b.endPort;
    })
  );
}

function fitsSome(selectors: readonly CompiledSelector[], packet: IpView, addressAt: number, port: number): boolean {
  for (const selector of selectors) {
    if (selector.protocol !== 0 && selector.protocol !== packet.protocol) continue;
    if (fitsPort(selector, port) && fitsAddress(selector, packet, addressAt)) return true;
  }
  return false;
}

/** RFC 7296 §3.13.1: 0–65535 fits whatever the packet shows, 65535–0 (OPAQUE) only what shows nothing. */
function fitsPort({ startPort, endPort }: CompiledSelector, port: number): boolean {
  if (startPort === 0 && endPort === 65535) return true;
  if (port < 0) return startPort > endPort;
  return port >= startPort && port <= endPort;
}

function fitsAddress({ bounds }: CompiledSelector, packet: IpView, at: number): boolean {
  const { data } = packet;
  if (bounds.length === 2) {
    if (packet.addressLength !== 4) return false;
    const address = getU32(data, at);
    return address >= bounds[0]! && address <= bounds[1]!;
  }
  if (packet.addressLength !== 16) return false;
  return compareAddress(data, at, bounds, 0) >= 0 && compareAddress(data, at, bounds, 4) <= 0;
}

/** @param from of four words in `bounds` */
function compareAddress(data: Uint8Array, at: number, bounds: readonly number[], from: number): number {
  for (let i = 0; i < 4; i++) {
    const difference = getU32(data, at + 4 * i) - bounds[from + i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

const words = (address: Uint8Array): readonly number[] =>
  address.length === 4 ? [getU32(address, 0)] : [getU32(address, 0), getU32(address, 4), getU32(address, 8), getU32(address, 12)];

function hashWords(address: readonly number[]): number {
  if (address.length === 1) return address[0]! | 0;
  return address.reduce((hash, word) => (Math.imul(hash, 0x9e3779b1) + word) | 0, 0);
}

function widest(selectors: readonly CompiledSelector[]): number {
  let bits = 0;
  for (const { bounds, protocol, startPort, endPort } of selectors) {
    const words = bounds.length >> 1;
    let free = 0;
    for (let i = 0; i < words; i++) free += 32 - Math.clz32((bounds[i]! ^ bounds[words + i]!) >>> 0);
    bits = Math.max(bits, free + (protocol === 0 ? 1 : 0) + (startPort === 0 && endPort === 65535 ? 1 : 0));
  }
  return bits;
}

const isRange = (ts: TrafficSelector): ts is AddressRangeSelector =>
  'start' in ts && (ts.start.length === 4 || ts.start.length === 16) && ts.start.length === ts.end.length;

const ICMP = 1;
const IPV6_ICMP = 58;
const MOBILITY = 135;
/** TCP, UDP, DCCP, SCTP, UDP-Lite: asked for every packet. */
const hasPorts = (protocol: number): boolean =>
  protocol === 6 || protocol === 17 || protocol === 33 || protocol === 132 || protocol === 136;
const MOST_HOSTS = 16;
