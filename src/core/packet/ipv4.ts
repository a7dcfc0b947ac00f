import { checksum, sum16 } from './checksum.ts';
import type { IpView } from './ip.ts';
import { getU16, putU16 } from './octets.ts';

export const IPV4_HEADER = 20;
const MAXIMUM_PACKET = 65535;

/** RFC 791 §3.1. Options are skipped: a host that is not a gateway has no use for any of them. */
export function parseIpv4(view: IpView, limit: number): boolean {
  const { data, start } = view;
  if (limit - start < IPV4_HEADER) return view.fail('truncated');
  const header = (data[start]! & 0x0f) * 4;
  const total = getU16(data, start + 2);
  if (header < IPV4_HEADER || header > total) return view.fail('header-length');
  if (total > limit - start) return view.fail('total-length');
  const fragmentation = getU16(data, start + 6);
  view.version = 4;
  view.end = start + total;
  view.trafficClass = data[start + 1]!;
  view.identification = getU16(data, start + 4);
  view.dontFragment = (fragmentation & 0x4000) !== 0;
  view.moreFragments = (fragmentation & 0x2000) !== 0;
  view.fragmentOffset = (fragmentation & 0x1fff) * 8;
  view.fragment = view.moreFragments || view.fragmentOffset > 0;
  view.hopLimit = data[start + 8]!;
  view.protocol = data[start + 9]!;
  view.sourceAt = start + 12;
  view.destinationAt = start + 16;
  view.addressLength = 4;
  view.payload = start + header;
  if (!view.fragment) return true;
  // A piece that reaches beyond the largest packet, or a middle piece that is not whole eights, belongs to nothing.
  const length = total - header;
  if (view.fragmentOffset + length > MAXIMUM_PACKET || length === 0) return view.fail('total-length');
  if (view.moreFragments && length % 8 !== 0) return view.fail('total-length');
  return true;
}

export function ipv4HeaderValid(view: IpView): boolean {
  return sum16(view.data, view.start, view.payload) === 0xffff;
}

export interface Ipv4Fields {
  /** Octets of the whole packet. */
  readonly length: number;
  readonly protocol: number;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly hopLimit: number;
  /** RFC 6864 §4.1: any value will do for a packet that neither is nor can be fragmented. */
  readonly identification: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  /** Octets, a multiple of 8. */
  readonly fragmentOffset: number;
  readonly trafficClass: number;
}

/** Writes 20 octets at `at`, checksum included. */
export function writeIpv4(data: Uint8Array, at: number, fields: Ipv4Fields): void {
  data[at] = 0x45;
  data[at + 1] = fields.trafficClass;
  putU16(data, at + 2, fields.length);
  putU16(data, at + 4, fields.identification);
  putU16(data, at + 6, (fields.dontFragment ? 0x4000 : 0) | (fields.moreFragments ? 0x2000 : 0) | (fields.fragmentOffset >>> 3));
  data[at + 8] = fields.hopLimit;
  data[at + 9] = fields.protocol;
  putU16(data, at + 10, 0);
  for (let i = 0; i < 4; i++) {
    data[at + 12 + i] = fields.source[i]!;
    data[at + 16 + i] = fields.destination[i]!;
  }
  putU16(data, at + 10, checksum(data, at, at + IPV4_HEADER));
}
