import { equalBytes } from '../../bytes/bytes.ts';
import { NegotiationFailure } from '../../bytes/errors.ts';
import { parseIp } from '../../bytes/ip-address.ts';
import { type AddressRangeSelector, formatSelector, NotifyType, type TrafficSelector, TsType } from '../../wire/index.ts';
import type { ChildSa, SelectorPair } from '../child-sa.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { ChildPolicy } from '../policy.ts';
import { isRange, narrow, resolveDynamic } from '../traffic-selectors.ts';
import type { World } from '../world.ts';

/**
 * RFC 7296 §2.23.1: transport mode stands between the two ends of the IKE SA as each of them sees them, so behind NATs they name different
 * addresses. Each end puts its own view in place of what the other one wrote, before anything else is done with it.
 */
export function asSeenHere(sa: IkeSa, told: SelectorPair): SelectorPair {
  const { nat, local, remote } = sa;
  return {
    localTs: nat.ours ? withAddress(told.localTs, local.ip) : told.localTs,
    remoteTs: nat.theirs ? withAddress(told.remoteTs, remote.ip) : told.remoteTs,
  };
}

/** What a policy allows in transport mode: protocols and ports between the ends of the IKE SA, and no other address. */
export const endToEnd = (sa: IkeSa, policy: ChildPolicy): SelectorPair => ({
  localTs: between(policy.localTs, sa.local.ip),
  remoteTs: between(policy.remoteTs, sa.remote.ip),
});

/**
 * What we propose for it: exactly one address at each end, those of the IKE SA (§2.23.1).
 * @throws NegotiationFailure `TRANSPORT_SELECTORS`
 */
export function proposeEndToEnd(sa: IkeSa, policy: ChildPolicy): SelectorPair {
  const traffic = endToEnd(sa, policy);
  if (traffic.localTs.length > 0 && traffic.remoteTs.length > 0) return traffic;
  throw new NegotiationFailure(
    `CHILD_SA ${policy.name} is in transport mode, which carries traffic between ${sa.local.ip} and ${sa.remote.ip} alone, and its selectors leave one of them out`,
    {
      code: 'TRANSPORT_SELECTORS',
      section: 'RFC 7296 §2.23.1',
      hint: `Leave local_ts and remote_ts of ${policy.name} as dynamic, or set mode: tunnel.`,
    },
  );
}

/** The selectors of a child with the addresses that the ends have by now: a NAT may have chosen others since. */
export const retarget = (sa: IkeSa, { localTs, remoteTs }: SelectorPair): SelectorPair => ({
  localTs: withAddress(localTs, sa.local.ip),
  remoteTs: withAddress(remoteTs, sa.remote.ip),
});

/**
 * RFC 3948 §5.2: two clients behind one NAT look like one host, and in transport mode nothing but protocol and ports tells their traffic
 * apart. What would take over the traffic of another peer is refused.
 */
export function refuseAmbiguous(world: World, sa: IkeSa, traffic: SelectorPair): void {
  if (!sa.nat.theirs) return;
  for (const child of world.childrenTowards(traffic.remoteTs)) {
    const other = world.ikeSas.get(child.ikeSa);
    if (other === undefined || child.spec.mode !== 'transport' || !child.usable || isOfTheSamePeer(sa, other)) continue;
    if (overlap(child, traffic))
      throw new NegotiationFailure(
        `another client behind ${sa.remote.ip} has a CHILD_SA in transport mode for the same traffic: ${traffic.remoteTs.map(formatSelector).join(', ')}`,
        {
          code: 'TRANSPORT_AMBIGUOUS',
          notify: NotifyType.TS_UNACCEPTABLE,
          section: 'RFC 3948 §5.2',
          hint: 'Use tunnel mode with an address for each client, or other ports for each.',
        },
      );
  }
}

const overlap = (child: ChildSa, { localTs, remoteTs }: SelectorPair): boolean =>
  narrow(child.localTs, localTs).length > 0 && narrow(child.remoteTs, remoteTs).length > 0;

const isOfTheSamePeer = ({ remoteId: a }: IkeSa, { remoteId: b }: IkeSa): boolean =>
  a !== undefined && b !== undefined && a.idType === b.idType && equalBytes(a.data, b.data);

const between = (selectors: ChildPolicy['localTs'], ip: string): TrafficSelector[] =>
  narrow(resolveDynamic(selectors, [ip]), resolveDynamic(['dynamic'], [ip]));

/** Where they name one address and no other; what else there is was no proposal for transport mode, and stays as it is. */
function withAddress(selectors: readonly TrafficSelector[], ip: string): readonly TrafficSelector[] {
  const octets = parseIp(ip);
  const first = selectors.find(isRange)?.start;
  const isOne = (ts: TrafficSelector): ts is AddressRangeSelector =>
    isRange(ts) && first !== undefined && equalBytes(ts.start, first) && equalBytes(ts.end, first);
  if (!selectors.every(isOne)) return selectors;
  const type = octets.length === 4 ? TsType.TS_IPV4_ADDR_RANGE : TsType.TS_IPV6_ADDR_RANGE;
  return selectors.map((ts) => ({ ...ts, type, start: octets, end: octets }));
}
