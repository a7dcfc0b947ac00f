import { equalBytes } from '../../bytes/bytes.ts';
import { NegotiationFailure } from '../../bytes/errors.ts';
import { isIpv6 } from '../../bytes/ip-address.ts';
import { type AddressRangeSelector, formatSelector, NotifyType, type TrafficSelector } from '../../wire/index.ts';
import type { SelectorPair } from '../child-sa.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { ChildPolicy, DynamicSelector } from '../policy.ts';
import {
  anySelector,
  asDynamic,
  containsSelector,
  covers,
  isDynamic,
  isRange,
  isSubset,
  narrow,
  resolveDynamic,
  sameSelectors,
} from '../traffic-selectors.ts';
import type { World } from '../world.ts';
import { isUnproven, speaksForItself } from './null-authentication.ts';

/** What we propose for a policy as things stand. */
export const proposedTraffic = (sa: IkeSa, policy: ChildPolicy): SelectorPair => ({
  localTs: propose(policy.localTs, ownAddresses(sa), requestedAddresses(sa)),
  remoteTs: propose(policy.remoteTs, peerAddresses(sa)),
});

/** RFC 7296 §2.9: an answer lies within what we proposed, and where the policy says `narrow: no` it is all of it. */
export function checkAnswer(sa: IkeSa, policy: ChildPolicy, proposed: SelectorPair, answer: SelectorPair): void {
  for (const side of ['localTs', 'remoteTs'] as const) {
    if (!isSubset(answer[side], proposed[side]))
      throw tsUnacceptable('the peer widened the traffic selectors', proposed[side], answer[side]);
  }
  if (policy.narrow !== false) return;
  const allowed = permittedTraffic(sa, policy);
  const localTs = narrow(proposed.localTs, allowed.localTs);
  // what there is no own address for cannot be missed
  const remoteTs = narrow(proposed.remoteTs, allowed.remoteTs).filter((ts) => localTs.some((own) => own.type === ts.type));
  if (covers(answer.localTs, localTs) && covers(answer.remoteTs, remoteTs)) return;
  throw tsUnacceptable(
    `the peer narrowed the traffic of CHILD_SA ${policy.name}, which narrow: no of this child rules out`,
    [...localTs, ...remoteTs],
    [...answer.localTs, ...answer.remoteTs],
    `Make the traffic selectors of both ends equal, or set narrow: yes for ${policy.name}.`,
  );
}

/** What one policy makes of a request. */
interface Fit {
  readonly traffic: SelectorPair;
  readonly narrowed: boolean;
  /** Other pairs would do as well, each for a CHILD_SA of its own. */
  readonly more: boolean;
}

/**
 * RFC 7296 §2.9: the responder finds the policy that takes the selectors as they are, else one that takes the first of each side (the packet
 * that is waiting at the peer), else the first that takes any of it. Throws TS_UNACCEPTABLE, or SINGLE_PAIR_REQUIRED where nothing but that
 * is in the way.
 */
export function fitTraffic<T extends { readonly policy: ChildPolicy }>(
  sa: IkeSa,
  able: readonly T[],
  asked: SelectorPair,
  permit: (sa: IkeSa, policy: ChildPolicy) => SelectorPair,
): { readonly chosen: T; readonly traffic: SelectorPair; readonly asked: SelectorPair | undefined; readonly additional: boolean } {
  const outcomes = able.map((candidate) => ({ candidate, fit: fitPolicy(sa, candidate.policy, asked, permit(sa, candidate.policy)) }));
  const fitting = outcomes.flatMap(({ candidate, fit }) => (typeof fit === 'object' ? [{ candidate, ...fit }] : []));
  const best =
    fitting.find((f) => !f.narrowed) ??
    // RFC 7296 §2.9: what is narrowed includes the initiator's first choices, where any policy takes them
    fitting.find((f) => holdsFirst(f.traffic, asked)) ??
    fitting[0];
  if (best) {
    const others = fitting.filter((f) => f !== best && !within(f.traffic, best.traffic));
    return {
      chosen: best.candidate,
      traffic: best.traffic,
      asked: best.narrowed ? asked : undefined,
      additional: best.narrowed && (best.more || others.length > 0),
    };
  }
  const permitted = able.map(({ policy }) => permit(sa, policy));
  const [wanted, here] = [[...asked.remoteTs, ...asked.localTs], permitted.flatMap((p) => [...p.remoteTs, ...p.localTs])];
  const reasons = new Set(outcomes.map(({ fit }) => fit));
  if (reasons.has('single pair')) throw singlePairRequired(wanted);
  throw reasons.has('too wide')
    ? tsUnacceptable('the peer asked for more traffic than is allowed, and narrow: no rules out to narrow it', wanted, here)
    : tsUnacceptable('no policy allows the traffic the peer asked for', wanted, here);
}

/** RFC 7619 §3.3: nobody in particular takes over what goes to somebody. @throws NegotiationFailure TS_UNACCEPTABLE */
export function refuseTaken(world: World, sa: IkeSa, wanted: readonly TrafficSelector[]): void {
  if (!speaksForItself(sa)) return;
  for (const other of world.ikeSas.values()) {
    if (other === sa || !other.isEstablished || isUnproven(other)) continue;
    for (const child of other.children) {
      if (!child.usable || narrow(wanted, child.remoteTs).length === 0) continue;
      throw tsUnacceptable(
        'a peer that proved no identity asks for traffic that goes to one which did',
        wanted,
        child.remoteTs,
        'Give peers without authentication a pool of their own, so that each has an address that nobody else uses.',
      );
    }
  }
}

function fitPolicy(
  sa: IkeSa,
  policy: ChildPolicy,
  asked: SelectorPair,
  permitted: SelectorPair,
): Fit | 'none' | 'too wide' | 'single pair' {
  const traffic = { localTs: narrow(asked.localTs, permitted.localTs), remoteTs: narrow(asked.remoteTs, permitted.remoteTs) };
  if (traffic.localTs.length === 0 || traffic.remoteTs.length === 0) return 'none';
  if (policy.singlePair === true && !isSinglePair(traffic)) {
    const first = firstPair(traffic, asked);
    return first && policy.narrow !== false ? { traffic: first, narrowed: true, more: true } : 'single pair';
  }
  const narrowed = !sameSelectors(traffic.localTs, asked.localTs) || !sameSelectors(traffic.remoteTs, asked.remoteTs);
  // an address that we lend is what the peer's side comes down to in any case (§2.19)
  const lent = !sa.assignedToUs && sa.assigned.length > 0;
  const tooWide = !covers(traffic.localTs, asked.localTs) || !(lent || covers(traffic.remoteTs, asked.remoteTs));
  return policy.narrow === false && tooWide ? 'too wide' : { traffic, narrowed, more: false };
}

/** §2.9: answered SINGLE_PAIR_REQUIRED, we ask for one pair of addresses, where it is clear which: those of single hosts, else our own and the peer's. */
export function singlePairOf(sa: IkeSa, proposed: SelectorPair): SelectorPair | undefined {
  const one = (selectors: readonly TrafficSelector[], addresses: readonly string[]): AddressRangeSelector | undefined =>
    selectors.filter(isRange).find(isHost) ?? narrow(selectors, resolveDynamic(['dynamic'], addresses))[0];
  const [local, remote] = [one(proposed.localTs, ownAddresses(sa)), one(proposed.remoteTs, peerAddresses(sa))];
  if (local === undefined || remote === undefined || local.type !== remote.type) return undefined;
  const pair = { localTs: [local], remoteTs: [remote] };
  return within(proposed, pair) ? undefined : pair;
}

/** The first of each side, if each is one address and we take it: what the peer has a packet for. */
function firstPair(traffic: SelectorPair, asked: SelectorPair): SelectorPair | undefined {
  const [local, remote] = [asked.localTs[0], asked.remoteTs[0]];
  if (local === undefined || remote === undefined || !isRange(local) || !isRange(remote)) return undefined;
  const first = { localTs: [local], remoteTs: [remote] };
  return isSinglePair(first) && within(first, traffic) ? first : undefined;
}

function holdsFirst(traffic: SelectorPair, asked: SelectorPair): boolean {
  const holds = (selectors: readonly TrafficSelector[], first: TrafficSelector | undefined) =>
    first !== undefined && isRange(first) && selectors.some((ts) => isRange(ts) && containsSelector(ts, first));
  return holds(traffic.localTs, asked.localTs[0]) && holds(traffic.remoteTs, asked.remoteTs[0]);
}

const within = (inner: SelectorPair, outer: SelectorPair): boolean =>
  isSubset(inner.localTs, outer.localTs) && isSubset(inner.remoteTs, outer.remoteTs);

/** One address at either end; protocols and ports may be several. */
function isSinglePair({ localTs, remoteTs }: SelectorPair): boolean {
  const oneAddress = (selectors: readonly TrafficSelector[]): boolean => {
    const [first, ...others] = selectors;
    if (first === undefined || !isRange(first) || !isHost(first)) return false;
    return others.every((ts) => isRange(ts) && isHost(ts) && equalBytes(ts.start, first.start));
  };
  return oneAddress(localTs) && oneAddress(remoteTs);
}

const isHost = ({ start, end }: AddressRangeSelector): boolean => equalBytes(start, end);

/** What a policy allows as things stand. */
const permittedTraffic = (sa: IkeSa, policy: ChildPolicy): SelectorPair => ({
  localTs: resolveDynamic(policy.localTs, ownAddresses(sa)),
  remoteTs: resolveDynamic(speaksForItself(sa) ? policy.remoteTs.filter(isDynamic) : policy.remoteTs, peerAddresses(sa)),
});

/** RFC 7296 §2.9.2: what the child that is rekeyed carries its successor may carry, too, whatever `dynamic` stands for by now. */
export const permittedLike =
  (old: SelectorPair | undefined) =>
  (sa: IkeSa, policy: ChildPolicy): SelectorPair => {
    const { localTs, remoteTs } = permittedTraffic(sa, policy);
    if (old) return { localTs: [...localTs, ...old.localTs], remoteTs: [...remoteTs, ...old.remoteTs] };
    return { localTs, remoteTs };
  };

/** With an address still to be assigned, the initiator proposes everything and lets the responder narrow (RFC 7296 §2.19). */
function propose(
  selectors: readonly (TrafficSelector | DynamicSelector)[],
  addresses: readonly string[],
  asked: readonly string[] = [],
): TrafficSelector[] {
  const families = addresses.length === 0 ? [...new Set(asked.map((ip) => (isIpv6(ip) ? 6 : 4)))] : [];
  const open = selectors.filter(isDynamic).flatMap((ts) => families.map((family) => asDynamic(ts, anySelector(family))));
  return [...resolveDynamic(selectors, addresses), ...open];
}

/** Where our end of the traffic sits: the address assigned to us, none yet while one is asked for, else our own. */
function ownAddresses(sa: IkeSa): readonly string[] {
  if (sa.assignedToUs) return sa.assigned;
  return requestedAddresses(sa).length > 0 ? [] : [sa.local.ip];
}

const peerAddresses = (sa: IkeSa): readonly string[] => (!sa.assignedToUs && sa.assigned.length > 0 ? sa.assigned : [sa.remote.ip]);

const requestedAddresses = (sa: IkeSa): readonly string[] =>
  sa.establishedAt === undefined && sa.originalRole === 'initiator' ? (sa.connection?.virtualIps ?? []) : [];

const listed = (selectors: readonly TrafficSelector[]) => selectors.map(formatSelector).join(', ') || 'none';

export function tsUnacceptable(
  what: string,
  wanted: readonly TrafficSelector[],
  allowed: readonly TrafficSelector[],
  hint?: string,
): NegotiationFailure {
  return new NegotiationFailure(`${what}: wanted ${listed(wanted)}; here ${listed(allowed)}`, {
    code: 'TS_UNACCEPTABLE',
    notify: NotifyType.TS_UNACCEPTABLE,
    section: 'RFC 7296 §2.9',
    hint: hint ?? 'Make local and remote traffic selectors of both ends overlap.',
  });
}

const singlePairRequired = (wanted: readonly TrafficSelector[]) =>
  new NegotiationFailure(`the peer asked for more than one pair of addresses: ${listed(wanted)}`, {
    code: 'SINGLE_PAIR_REQUIRED',
    notify: NotifyType.SINGLE_PAIR_REQUIRED,
    section: 'RFC 7296 §2.9',
    hint: 'Have the peer ask for one address at each end, or set single_pair: no.',
  });
