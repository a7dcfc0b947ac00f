import { compareBytes, formatIp, parseIp, tryParseIp } from '../../core/bytes/index.ts';
import type { ChildSaSpec } from '../../core/ike/effects.ts';
import { type IpView, sameOctets } from '../../core/packet/index.ts';
import type { AddressRangeSelector, TrafficSelector } from '../../core/wire/payloads/types.ts';
import { hashAddress } from './selectors.ts';

/**
 * The inner addresses of this host: those it was configured with, and those that peers assigned to it. An assigned one stays after its
 * CHILD_SA went, until the same connection assigns another: what is open then survives a tunnel that comes back with the same address.
 */
export class OwnAddresses {
  readonly #configured: readonly string[];
  readonly #assigned = new Map<string, readonly string[]>();
  readonly #lookup = new Map<number, Uint8Array[]>();

  /** @param configured literals, a prefix length behind them is ignored */
  constructor(configured: readonly string[]) {
    this.#configured = configured.map((address) => formatIp(parseIp(address.split('/')[0]!)));
    this.#index();
  }

  get all(): readonly string[] {
    return [...new Set([...this.#configured, ...[...this.#assigned.values()].flat()])];
  }

  /** Takes over what the peer assigned to us with this CHILD_SA, or the address that transport mode stands on. @returns whether that changed anything. */
  assign(spec: ChildSaSpec): boolean {
    const ours = spec.mode === 'transport' ? onlyLocal(spec) : spec.assigned.filter((ip) => isOurs(ip, spec));
    const before = this.#assigned.get(spec.connection) ?? [];
    if (ours.length === 0 || ours.join() === before.join()) return false;
    this.#assigned.set(spec.connection, ours);
    this.#index();
    return true;
  }

  /** Is the packet for us? */
  isDestination(packet: IpView): boolean {
    const { data, destinationAt, addressLength } = packet;
    const candidates = this.#lookup.get(hashAddress(data, destinationAt, addressLength));
    return candidates?.some((own) => own.length === addressLength && sameOctets(own, 0, data, destinationAt, addressLength)) ?? false;
  }

  /** One of ours, of the given family. */
  ofFamily(addressLength: 4 | 16): Uint8Array | undefined {
    for (const ip of this.all) {
      const octets = parseIp(ip);
      if (octets.length === addressLength) return octets;
    }
    return undefined;
  }

  #index(): void {
    this.#lookup.clear();
    for (const ip of this.all) {
      const octets = parseIp(ip);
      const key = hashAddress(octets, 0, octets.length === 4 ? 4 : 16);
      this.#lookup.set(key, [...(this.#lookup.get(key) ?? []), octets]);
    }
  }
}

/** A responder assigns too, but to the peer: then the peer's selectors are narrowed to the address (RFC 7296 §2.19). */
function isOurs(ip: string, spec: ChildSaSpec): boolean {
  const octets = tryParseIp(ip);
  if (octets === undefined) return false;
  return !spec.remoteTs.some((ts) => isExactly(ts, octets)) && spec.localTs.some((ts) => contains(ts, octets));
}

/** In transport mode the SA stands between addresses of the hosts themselves (RFC 4301 §3.2). */
const onlyLocal = ({ localTs }: ChildSaSpec): string[] => [...new Set(localTs.filter(isRange).map(({ start }) => formatIp(start)))];

const isExactly = (ts: TrafficSelector, octets: Uint8Array): boolean =>
  isRange(ts) && compareBytes(ts.start, octets) === 0 && compareBytes(ts.end, octets) === 0;

const contains = (ts: TrafficSelector, octets: Uint8Array): boolean =>
  isRange(ts) && ts.start.length === octets.length && compareBytes(ts.start, octets) <= 0 && compareBytes(ts.end, octets) >= 0;

const isRange = (ts: TrafficSelector): ts is AddressRangeSelector => 'start' in ts;
