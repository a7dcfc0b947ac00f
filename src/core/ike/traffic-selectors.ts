import { compareBytes, equalBytes } from '../bytes/bytes.ts';
import { parseIp } from '../bytes/ip-address.ts';
import { type AddressRangeSelector, type TrafficSelector, TsType } from '../wire/index.ts';
import { MOST_SELECTORS } from '../wire/payloads/ts.ts';
import type { DynamicSelector } from './policy.ts';

/**
 * RFC 7296 §2.9: the responder may narrow what the initiator proposed, never widen it. Every pair of a proposed and a permitted
 * selector contributes its intersection; what lies inside another result is left out. As many as fit the payload bound the work, too.
 */
export function narrow(proposed: readonly TrafficSelector[], permitted: readonly TrafficSelector[]): AddressRangeSelector[] {
  let result: AddressRangeSelector[] = [];
  for (const mine of permitted) {
    if (!isRange(mine)) continue;
    for (const theirs of proposed) {
      if (!isRange(theirs)) continue;
      const both = intersectSelectors(theirs, mine);
      if (both === undefined || result.some((r) => containsSelector(r, both))) continue;
      result = result.length === 0 ? [both] : [...result.filter((r) => !containsSelector(both, r)), both];
      if (result.length >= MOST_SELECTORS) return result;
    }
  }
  return result;
}

/** What the responder answered must lie within what we proposed. */
export function isSubset(answer: readonly TrafficSelector[], proposed: readonly TrafficSelector[]): boolean {
  return answer.length > 0 && answer.every((a) => isRange(a) && isWithinOne(a, proposed));
}

/** As they are kept with a CHILD_SA: those of a peer are part of its message, which would be kept along; those of the policy are there anyway. */
export const detached = (
  selectors: readonly TrafficSelector[],
  policy: readonly (TrafficSelector | DynamicSelector)[],
): readonly TrafficSelector[] =>
  selectors.map((ts) => {
    if (!isRange(ts) || policy.includes(ts)) return ts;
    const start = ts.start.slice();
    return { ...ts, start, end: equalBytes(ts.start, ts.end) ? start : ts.end.slice() };
  });

export const sameSelectors = (a: readonly TrafficSelector[], b: readonly TrafficSelector[]): boolean => isSubset(a, b) && isSubset(b, a);

export function containsSelector(outer: AddressRangeSelector, inner: AddressRangeSelector): boolean {
  const both = intersectSelectors(outer, inner);
  return both !== undefined && sameTraffic(both, inner) && equalBytes(both.start, inner.start) && equalBytes(both.end, inner.end);
}

/** Whatever the addresses. */
const sameTraffic = (a: AddressRangeSelector, b: AddressRangeSelector): boolean =>
  a.protocol === b.protocol && a.startPort === b.startPort && a.endPort === b.endPort;

/** Whether everything in `inner` is in `outer`, if need be in several ranges of it that lie side by side. */
export function covers(outer: readonly TrafficSelector[], inner: readonly TrafficSelector[]): boolean {
  return inner.every((ts) => isRange(ts) && (isWithinOne(ts, outer) || isCovered(ts, outer.filter(isRange))));
}

function isWithinOne(inner: AddressRangeSelector, outer: readonly TrafficSelector[]): boolean {
  for (const ts of outer) if (isRange(ts) && containsSelector(ts, inner)) return true;
  return false;
}

function isCovered(inner: AddressRangeSelector, outer: readonly AddressRangeSelector[]): boolean {
  const holding = outer.filter((ts) => {
    const both = intersectSelectors(ts, inner);
    return both !== undefined && sameTraffic(both, inner);
  });
  let missing: Uint8Array | undefined = inner.start;
  for (const ts of holding.sort((a, b) => compareBytes(a.start, b.start))) {
    if (compareBytes(ts.start, missing) > 0) return false;
    if (compareBytes(ts.end, missing) < 0) continue;
    missing = compareBytes(ts.end, inner.end) >= 0 ? undefined : nextAddress(ts.end);
    if (missing === undefined) return true;
  }
  return false;
}

/** Undefined behind the last one. */
function nextAddress(address: Uint8Array): Uint8Array | undefined {
  const next = address.slice();
  for (let i = next.length - 1; i >= 0; i--) {
    next[i] = (next[i]! + 1) & 0xff;
    if (next[i] !== 0) return next;
  }
  return undefined;
}

/** One address, any protocol and port. */
function hostSelector(ip: string): AddressRangeSelector {
  const octets = parseIp(ip);
  return {
    type: octets.length === 4 ? TsType.TS_IPV4_ADDR_RANGE : TsType.TS_IPV6_ADDR_RANGE,
    protocol: 0,
    ...ANY_PORTS,
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
    ...ANY_PORTS,
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
  const start = compareBytes(a.start, b.start) > 0 ? a.start : b.start;
  const end = compareBytes(a.end, b.end) < 0 ? a.end : b.end;
  if (ports === undefined) return undefined;
  const order = compareBytes(start, end);
  if (order > 0) return undefined;
  const protocol = a.protocol || b.protocol;
  // mostly it is all of one of the two: then no other object is kept for thousands of children
  for (const whole of [b, a])
    if (whole.start === start && whole.end === end && whole.protocol === protocol && samePorts(whole, ports)) return whole;
  const { startPort, endPort } = ports;
  return { type: a.type, protocol, startPort, endPort, start, end: order === 0 ? start : end };
}

/** RFC 7296 §3.13.1: 65535–0 is OPAQUE, which only `any` and OPAQUE itself contain. */
function intersectPorts(a: Ports, b: Ports): Ports | undefined {
  // mostly both have the same
  if (samePorts(a, b)) return isOpaque(a) || a.startPort <= a.endPort ? a : undefined;
  if (isOpaque(a)) return isAny(b) ? a : undefined;
  if (isOpaque(b)) return isAny(a) ? b : undefined;
  const startPort = Math.max(a.startPort, b.startPort);
  const endPort = Math.min(a.endPort, b.endPort);
  return startPort <= endPort ? { startPort, endPort } : undefined;
}

const isOpaque = (s: Ports): boolean => s.startPort === 65535 && s.endPort === 0;
const isAny = (s: Ports): boolean => s.startPort === 0 && s.endPort === 65535;

const samePorts = (a: Ports, b: Ports): boolean => a.startPort === b.startPort && a.endPort === b.endPort;

type Ports = Pick<AddressRangeSelector, 'startPort' | 'endPort'>;

export const isRange = (ts: TrafficSelector): ts is AddressRangeSelector => 'start' in ts;

/** RFC 7296 §3.13.1: all ports, and what a protocol without ports has in their place. */
const ANY_PORTS = {
  startPort: 0,
  endPort: 65535,
};
