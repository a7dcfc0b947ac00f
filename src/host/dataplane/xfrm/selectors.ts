import { DataPlaneError, formatIp, parseIp, rangeToPrefixes } from '../../../core/bytes/index.ts';
import type { PacketSelectors } from '../../../core/ike/effects.ts';
import { IpProtocol } from '../../../core/packet/index.ts';
import type { AddressRangeSelector, TrafficSelector } from '../../../core/wire/payloads/types.ts';
import type { PortMatch, XfrmSelector } from '../../platform/linux/netlink/xfrm/structs.ts';

/** What one policy of the kernel's takes, seen from this machine: its own side and the peer's. */
export interface PolicyMatch {
  readonly family: 4 | 6;
  /** Prefixes. */
  readonly local: string;
  readonly remote: string;
  /** 0 is all. */
  readonly protocol: number;
  readonly localPort: PortMatch | undefined;
  readonly remotePort: PortMatch | undefined;
  /** The narrower, the smaller: bits that the remote side leaves open, then those of the local side, then protocol and ports. */
  readonly breadth: number;
}

/**
 * Traffic selectors in the words of the kernel, which knows prefixes and masks where RFC 7296 §3.13.1 has ranges: one pair may become several.
 * @throws DataPlaneError `SELECTORS_UNSUPPORTED` when nothing is left or it would be too much
 */
export function matchesOf(localTs: readonly TrafficSelector[], remoteTs: readonly TrafficSelector[]): readonly PolicyMatch[] {
  const matches = new Map<string, PolicyMatch>();
  for (const local of localTs) {
    for (const remote of remoteTs) {
      if (!isRange(local) || !isRange(remote) || local.type !== remote.type) continue;
      for (const match of pairs(local, remote)) {
        matches.set(JSON.stringify(match), match);
        if (matches.size > MOST_POLICIES) throw unsupported(`they need more than ${MOST_POLICIES} policies`);
      }
    }
  }
  if (matches.size === 0) throw unsupported('none of them is of addresses, protocols and ports that the kernel can tell apart');
  return [...matches.values()];
}

/** The same packets as the kernel sees them in one direction. */
export function selectorOf(match: PolicyMatch, direction: 'in' | 'out' | 'fwd'): XfrmSelector {
  const { family, protocol } = match;
  const [source, destination] = direction === 'out' ? [match.local, match.remote] : [match.remote, match.local];
  // type and code of ICMP have their places whichever way the packet goes
  const forwards = direction === 'out' || isIcmp(protocol);
  const [sourcePort, destinationPort] = forwards ? [match.localPort, match.remotePort] : [match.remotePort, match.localPort];
  return { family, source, destination, protocol, sourcePort, destinationPort };
}

/** RFC 7296 §2.9: the packet that asks for an SA, as selectors. */
export function packetOf({
  family,
  source,
  destination,
  protocol = 0,
  sourcePort,
  destinationPort,
}: XfrmSelector): PacketSelectors | undefined {
  if (source === undefined || destination === undefined) return undefined;
  const message = ((sourcePort?.port ?? 0) << 8) | (destinationPort?.port ?? 0);
  const one = (prefix: string, match: PortMatch | undefined): AddressRangeSelector => {
    const start = parseIp(prefix.split('/')[0]!);
    const [startPort, endPort] = isIcmp(protocol) ? [message, message] : match === undefined ? [0, 0xffff] : [match.port, match.port];
    return { type: family === 4 ? 7 : 8, protocol, startPort, endPort, start, end: start };
  };
  return { local: one(source, sourcePort), remote: one(destination, destinationPort) };
}

function* pairs(local: AddressRangeSelector, remote: AddressRangeSelector): Generator<PolicyMatch> {
  const protocol = local.protocol || remote.protocol;
  if (remote.protocol !== 0 && remote.protocol !== protocol) return;
  const ports = portPairs(local, remote, protocol);
  for (const { text: to, open: remoteOpen } of prefixes(remote)) {
    for (const { text: from, open: localOpen } of prefixes(local)) {
      for (const [localPort, remotePort] of ports) {
        const breadth = remoteOpen * 1024 + localOpen * 4 + (protocol === 0 ? 2 : 0) + (localPort || remotePort ? 0 : 1);
        yield { family: local.type === TS_IPV4 ? 4 : 6, local: from, remote: to, protocol, localPort, remotePort, breadth };
      }
    }
  }
}

type Ports = readonly [local: PortMatch | undefined, remote: PortMatch | undefined];

function portPairs(local: AddressRangeSelector, remote: AddressRangeSelector, protocol: number): readonly Ports[] {
  if (isIcmp(protocol)) return icmpPairs(isAny(local) ? remote : local);
  return portMatches(local.startPort, local.endPort, 16).flatMap((own) =>
    portMatches(remote.startPort, remote.endPort, 16).map((other): Ports => [own, other]),
  );
}

/** RFC 7296 §3.13.1: the type is in the upper octet of the port, the code in the lower; the kernel takes the type for the source port. */
function icmpPairs({ startPort, endPort }: AddressRangeSelector): readonly Ports[] {
  const [first, last] = [startPort >> 8, endPort >> 8];
  const [low, high] = [startPort & 0xff, endPort & 0xff];
  if (startPort > endPort) return [];
  if (first === last) return portMatches(low, high, 8).map((code): Ports => [{ port: first }, code]);
  const whole = portMatches(low === 0 ? first : first + 1, high === 0xff ? last : last - 1, 8).map((type): Ports => [type, undefined]);
  const begin = low === 0 ? [] : portMatches(low, 0xff, 8).map((code): Ports => [{ port: first }, code]);
  const end = high === 0xff ? [] : portMatches(0, high, 8).map((code): Ports => [{ port: last }, code]);
  return [...begin, ...whole, ...end];
}

/** A range as values under masks; undefined stands for all of them. OPAQUE (start behind end) is nothing that the kernel could match. */
function portMatches(start: number, end: number, bits: number): readonly (PortMatch | undefined)[] {
  const all = 2 ** bits - 1;
  if (start === 0 && end === all) return [undefined];
  const matches: PortMatch[] = [];
  for (let next = start; next <= end; ) {
    let span = 1;
    while (next % (2 * span) === 0 && next + 2 * span - 1 <= end) span *= 2;
    matches.push({ port: next, mask: 0x1_0000 - span });
    next += span;
  }
  return matches;
}

function prefixes(ts: AddressRangeSelector): readonly { readonly text: string; readonly open: number }[] {
  return rangeToPrefixes(ts).map(({ start, prefix }) => ({ text: `${formatIp(start)}/${prefix}`, open: 8 * start.length - prefix }));
}

const unsupported = (why: string): DataPlaneError =>
  new DataPlaneError(`the kernel's policies cannot express the traffic selectors that were negotiated: ${why}`, {
    code: 'SELECTORS_UNSUPPORTED',
    backend: 'xfrm',
    hint: 'Name prefixes and few ports in local_ts and remote_ts, or choose a data plane of user space.',
  });

const isRange = (ts: TrafficSelector): ts is AddressRangeSelector => 'start' in ts;
const isAny = ({ startPort, endPort }: AddressRangeSelector): boolean => startPort === 0 && endPort === 0xffff;
const isIcmp = (protocol: number): boolean => protocol === IpProtocol.ICMP || protocol === IpProtocol.IPV6_ICMP;

const TS_IPV4 = 7;
/** Of one CHILD_SA in one direction. Each costs memory of the kernel's, which the peer must not decide on. */
const MOST_POLICIES = 512;
