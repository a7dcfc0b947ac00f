import type { IpView } from './ip.ts';
import { IpProtocol } from './ip-protocol.ts';
import { getU16, getU32, putU16, putU32 } from './octets.ts';

export const IPV6_HEADER = 40;
export const IPV6_FRAGMENT_HEADER = 8;
/** RFC 8200 §5: every link carries packets of this size whole. */
export const IPV6_MINIMUM_MTU = 1280;
const MAXIMUM_PAYLOAD = 65535;

/** RFC 8200 §3 and §4. */
export function parseIpv6(view: IpView, limit: number): boolean {
  const { data, start } = view;
  if (limit - start < IPV6_HEADER) return view.fail('truncated');
  const end = start + IPV6_HEADER + getU16(data, start + 4);
  if (end > limit) return view.fail('total-length');
  view.version = 6;
  view.end = end;
  view.trafficClass = ((data[start]! & 0x0f) << 4) | (data[start + 1]! >>> 4);
  view.hopLimit = data[start + 7]!;
  view.sourceAt = start + 8;
  view.destinationAt = start + 24;
  view.addressLength = 16;
  view.dontFragment = true;
  return walk(view);
}

export interface Ipv6Fields {
  /** Octets behind the fixed header. */
  readonly payloadLength: number;
  readonly nextHeader: number;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly hopLimit: number;
  readonly trafficClass: number;
  readonly flowLabel: number;
}

/** Writes 40 octets at `at`. */
export function writeIpv6(data: Uint8Array, at: number, fields: Ipv6Fields): void {
  putU32(data, at, 0x60000000 | (fields.trafficClass << 20) | fields.flowLabel);
  putU16(data, at + 4, fields.payloadLength);
  data[at + 6] = fields.nextHeader;
  data[at + 7] = fields.hopLimit;
  for (let i = 0; i < 16; i++) {
    data[at + 8 + i] = fields.source[i]!;
    data[at + 24 + i] = fields.destination[i]!;
  }
}

/** Writes the 8 octets of a Fragment header (RFC 8200 §4.5). @param offset octets, a multiple of 8. */
export function writeIpv6Fragment(
  data: Uint8Array,
  at: number,
  nextHeader: number,
  offset: number,
  more: boolean,
  identification: number,
): void {
  data[at] = nextHeader;
  data[at + 1] = 0;
  putU16(data, at + 2, offset | (more ? 1 : 0));
  putU32(data, at + 4, identification);
}

/** Follows the chain of extension headers up to the upper layer, a fragment's data, or something this host does not know. */
function walk(view: IpView): boolean {
  const { data, start, end } = view;
  let nextAt = start + 6;
  let at = start + IPV6_HEADER;
  for (let count = 0; count <= MAX_EXTENSION_HEADERS; count++) {
    const next = data[nextAt]!;
    view.protocol = next;
    view.nextHeaderAt = nextAt;
    view.payload = at;
    if (next === IpProtocol.IPV6_FRAG) {
      if (end - at < IPV6_FRAGMENT_HEADER) return view.fail('extension-headers');
      if (!enterFragment(view, nextAt, at)) return false;
      if (view.fragment) return true;
      // RFC 8200 §4.5, RFC 6946: a fragment that is the whole packet is taken by itself.
      nextAt = at;
      at += IPV6_FRAGMENT_HEADER;
      continue;
    }
    if (next !== IpProtocol.HOPOPT && next !== IpProtocol.IPV6_OPTS && next !== IpProtocol.IPV6_ROUTE) return true;
    // RFC 8200 §4.1: Hop-by-Hop Options only directly behind the IPv6 header.
    if (next === IpProtocol.HOPOPT && nextAt !== start + 6) return problem(view, 'extension-headers', UNRECOGNIZED_NEXT_HEADER, nextAt);
    if (end - at < 8) return view.fail('extension-headers');
    const length = (data[at + 1]! + 1) * 8;
    if (end - at < length) return view.fail('extension-headers');
    if (next === IpProtocol.IPV6_ROUTE ? !routingDone(view, at) : !optionsHarmless(view, at, at + length)) return false;
    nextAt = at;
    at += length;
  }
  return view.fail('extension-headers');
}

function enterFragment(view: IpView, nextAt: number, at: number): boolean {
  const { data, end } = view;
  const word = getU16(data, at + 2);
  const length = end - at - IPV6_FRAGMENT_HEADER;
  view.fragmentOffset = word & 0xfff8;
  view.moreFragments = (word & 1) !== 0;
  view.identification = getU32(data, at + 4);
  view.fragment = view.moreFragments || view.fragmentOffset > 0;
  view.fragmentNextHeaderAt = nextAt;
  view.fragmentHeaderAt = at;
  if (!view.fragment) return true;
  view.protocol = data[at]!;
  view.nextHeaderAt = at;
  view.payload = at + IPV6_FRAGMENT_HEADER;
  // RFC 8200 §4.5: both are answered with a Parameter Problem.
  if (view.moreFragments && length % 8 !== 0) return problem(view, 'total-length', ERRONEOUS_FIELD, view.start + 4);
  if (view.fragmentOffset + length > MAXIMUM_PAYLOAD) return problem(view, 'total-length', ERRONEOUS_FIELD, at + 2);
  return length > 0 ? true : view.fail('total-length');
}

/** RFC 8200 §4.4: a Routing header of unknown type is ignored when no segment is left, and is an error otherwise. */
function routingDone(view: IpView, at: number): boolean {
  return view.data[at + 3] === 0 ? true : problem(view, 'routing', ERRONEOUS_FIELD, at + 2);
}

/** RFC 8200 §4.2: the two high bits of an unknown option's type say what to do with the packet. */
function optionsHarmless(view: IpView, headerAt: number, headerEnd: number): boolean {
  const { data } = view;
  for (let at = headerAt + 2; at < headerEnd; ) {
    const type = data[at]!;
    if (type === OPTION_PAD1) {
      at++;
      continue;
    }
    const next = at + 2 + (data[at + 1] ?? 0);
    if (at + 2 > headerEnd || next > headerEnd) return view.fail('extension-headers');
    if (type >>> 6 === 1) return view.fail('option');
    if (type >>> 6 === 2) return problem(view, 'option', UNRECOGNIZED_OPTION, at);
    if (type >>> 6 === 3)
      return data[view.destinationAt] === MULTICAST ? view.fail('option') : problem(view, 'option', UNRECOGNIZED_OPTION, at);
    at = next;
  }
  return true;
}

function problem(view: IpView, fault: 'extension-headers' | 'option' | 'routing' | 'total-length', code: number, at: number): false {
  view.problemCode = code;
  view.problemPointer = at - view.start;
  return view.fail(fault);
}

/** RFC 4443 §3.4. */
const ERRONEOUS_FIELD = 0;
const UNRECOGNIZED_NEXT_HEADER = 1;
const UNRECOGNIZED_OPTION = 2;
const OPTION_PAD1 = 0;
const MULTICAST = 0xff;

/** Ours: RFC 8504 §5.3 lets a host limit the chain. */
const MAX_EXTENSION_HEADERS = 8;
