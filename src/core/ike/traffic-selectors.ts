import { compareBytes, equalBytes } from '../bytes/bytes.ts';
import { parseIp } from '../bytes/ip-address.ts';
import { type AddressRangeSelector, type TrafficSelector, TsType } from '../wire/index.ts';
import type { DynamicSelector } from './policy.ts';

/**
 * RFC 7296 §2.9: the responder may narrow what the initiator proposed, never widen it. Every pair of a proposed and a permitted
 * selector contributes its intersection; what lies inside another result is left out.
 */
export function narrow(proposed: readonly TrafficSelector[], permitted: readonly TrafficSelector[]): AddressRangeSelector[] {
  const result: AddressRangeSelector[] = [];
  for (const mine of permitted.filter(isRange)) {
    for (const theirs of proposed.filter(isRange)) {
      const both = intersectSelectors(theirs, mine);
      if (both === undefined || result.some((r) => containsSelector(r, both))) continue;
      const rest = result.filter((r) => !containsSelector(both, r));
      result.splice(0, result.length, ...rest, both);
      if (result.length >= MAX_SELECTORS) return result;
    }
  }
  return result;
}

/** What the responder answered must lie within what we proposed. */
export function isSubset(answer: readonly TrafficSelector[], proposed: readonly TrafficSelector[]): boolean {
  const offered = proposed.filter(isRange);
  return answer.length > 0 && answer.every((a) => isRange(a) && offered.some((o) => containsSelector(o, a)));
}

export const sameSelectors = (a: readonly TrafficSelector[], b: readonly TrafficSelector[]): boolean => isSubset(a, b) && isSubset(b, a);

export function containsSelector(outer: AddressRangeSelector, inner: AddressRangeSelector): boolean {
  const both = intersectSelectors(outer, inner);
  return (
    both !== undefined &&
    both.protocol === inner.protocol &&
    both.startPort === inner.startPort &&
    both.endPort === inner.endPort &&
    equalBytes(both.start, inner.start) &&
    equalBytes(both.end, inner.end)
  );
}

/** One address, any protocol and port. */
function hostSelector(ip: string): AddressRangeSelector {
  const octets = parseIp(ip);
  return {
    type: octets.length === 4 ? TsType.TS_IPV4_ADDR_RANGE : TsType.TS_IPV6_ADDR_RANGE,
    protocol: 0,
    startPort: 0,
    endPort: 65535,
    start: octets,
    end: octets,
  };
}

/** 0.0.0.0/0 or ::/0. */
export function anySelector(family: 4 | 6): AddressRangeSelector {
  const octets = family === 4 ? 4 : 16;
  return {
    type: family === 4 ? TsType.TS_IPV4_ADDR_RANGE : TsType.TS_IPV6_ADDR_RANGE,
    protocol: 0,
    startPort: 0,
    endPort: 65535,
    start: new Uint8Array(octets),
    end: new Uint8Array(octets).fill(0xff),
  };
}

/** Puts addresses where the policy says `dynamic`; with none, the selector stands for nothing. */
export function resolveDynamic(selectors: readonly (TrafficSelector | DynamicSelector)[], addresses: readonly string[]): TrafficSelector[] {
  return selectors.flatMap((ts) => (isDynamic(ts) ? addresses.map((ip) => asDynamic(ts, hostSelector(ip))) : [ts]));
}

export const isDynamic = (ts: TrafficSelector | DynamicSelector): ts is DynamicSelector => ts === 'dynamic' || 'dynamic' in ts;

/** The addresses of `selector` with the protocol and ports of a `dynamic`. */
export function asDynamic(ts: DynamicSelector, selector: AddressRangeSelector): AddressRangeSelector {
  return ts === 'dynamic' ? selector : { ...selector, protocol: ts.protocol, startPort: ts.startPort, endPort: ts.endPort };
}

function intersectSelectors(a: AddressRangeSelector, b: AddressRangeSelector): AddressRangeSelector | undefined {
  if (a.type !== b.type) return undefined;
  if (a.protocol !== 0 && b.protocol !== 0 && a.protocol !== b.protocol) return undefined;
  const ports = intersectPorts(a, b);
  const start = compareBytes(a.start, b.start) >= 0 ? a.start : b.start;
  const end = compareBytes(a.end, b.end) <= 0 ? a.end : b.end;
  if (ports === undefined || compareBytes(start, end) > 0) return undefined;
  return { type: a.type, protocol: a.protocol || b.protocol, ...ports, start, end };
}

/** RFC 7296 §3.13.1: 65535–0 is OPAQUE, which only `any` and OPAQUE itself contain. */
function intersectPorts(a: AddressRangeSelector, b: AddressRangeSelector): { startPort: number; endPort: number } | undefined {
  const opaque = { startPort: 65535, endPort: 0 };
  const isOpaque = (s: AddressRangeSelector) => s.startPort === 65535 && s.endPort === 0;
  const isAny = (s: AddressRangeSelector) => s.startPort === 0 && s.endPort === 65535;
  if (isOpaque(a)) return isOpaque(b) || isAny(b) ? opaque : undefined;
  if (isOpaque(b)) return isAny(a) ? opaque : undefined;
  const startPort = Math.max(a.startPort, b.startPort);
  const endPort = Math.min(a.endPort, b.endPort);
  return startPort <= endPort ? { startPort, endPort } : undefined;
}

const isRange = (ts: TrafficSelector): ts is AddressRangeSelector => 'start' in ts;

/** More would not fit what peers accept, and bounds the work on what a peer proposes. */
const MAX_SELECTORS = 255;
