import { NegotiationFailure, PeerViolation } from '../../bytes/errors.ts';
import { NotifyType, type Payload, type Proposal, type TrafficSelector } from '../../wire/index.ts';
import { MOST_SELECTORS } from '../../wire/payloads/ts.ts';
import type { ChildSa, SelectorPair } from '../child-sa.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { ChildSuite } from '../keys.ts';
import { findNotify, need, notify } from '../notifies.ts';
import type { PacketAgreement } from '../packet-policy.ts';
import type { ChildPolicy, Connection } from '../policy.ts';
import {
  acceptChild,
  keMethods,
  noProposalChosen,
  offer,
  onlyMethod,
  type SelectedChild,
  selectChild,
  withoutKe,
  withPfs,
} from '../proposals.ts';
import { covers, isSubset, narrow, sameSelectors } from '../traffic-selectors.ts';
import type { World } from '../world.ts';
import { answerPackets, offerPackets, takePacketsAnswer, takePacketsRequest } from './child-packets.ts';
import { checkAnswer, fitTraffic, permittedLike, proposedTraffic, refuseTaken, tsUnacceptable } from './child-selectors.ts';
import { pfsDeclined, pfsMismatch } from './pfs.ts';
import { asSeenHere, endToEnd, proposeEndToEnd, refuseAmbiguous, retarget } from './transport-mode.ts';

/** A CHILD_SA we proposed, RFC 7296 §1.2 and §1.3.1. */
export interface ChildOffer {
  readonly policy: ChildPolicy;
  readonly spi: number;
  readonly proposals: readonly Proposal[];
  readonly tsi: readonly TrafficSelector[];
  readonly tsr: readonly TrafficSelector[];
  readonly withKe: boolean;
}

/** SA, TSi, TSr and what belongs to them. `like` repeats the selectors of the child that is rekeyed (§2.8: at least its traffic). */
export function offerChild(
  world: World,
  sa: IkeSa,
  policy: ChildPolicy,
  withKe: boolean,
  like?: SelectorPair,
): { offer: ChildOffer; payloads: Payload[] } {
  const spi = world.allocateChildSpi();
  const proposals = offer(withKe ? withPfs(policy.proposals, policy.pfs) : withoutKe(policy.proposals), spiOctets(spi));
  const { localTs: tsi, remoteTs: tsr } = traffic(sa, policy, like);
  const mode: Payload[] = policy.mode === 'transport' ? [notify(NotifyType.USE_TRANSPORT_MODE)] : [];
  const packets = offerPackets(policy.packets, spi);
  return {
    offer: { policy, spi, proposals, tsi, tsr, withKe },
    payloads: [...mode, ...packets, { kind: 'SA', proposals }, { kind: 'TSi', selectors: tsi }, { kind: 'TSr', selectors: tsr }],
  };
}

function traffic(sa: IkeSa, policy: ChildPolicy, like: SelectorPair | undefined): SelectorPair {
  const transport = policy.mode === 'transport';
  if (like) return transport ? retarget(sa, like) : like;
  return packetFirst(sa, policy, transport ? proposeEndToEnd(sa, policy) : proposedTraffic(sa, policy));
}

/** RFC 7296 §2.9: the packet that asked for the child stands in front, so that whoever narrows keeps it. It is told once. */
function packetFirst(sa: IkeSa, policy: ChildPolicy, proposed: SelectorPair): SelectorPair {
  const { packet } = sa;
  if (packet?.child !== policy.name) return proposed;
  sa.packet = undefined;
  const { local, remote } = packet;
  if (!isSubset([local], proposed.localTs) || !isSubset([remote], proposed.remoteTs)) return proposed;
  const traffic = { localTs: inFront(local, proposed.localTs), remoteTs: inFront(remote, proposed.remoteTs) };
  // what the policy allows goes before what one packet wants
  return Math.max(traffic.localTs.length, traffic.remoteTs.length) > MOST_SELECTORS ? proposed : traffic;
}

const inFront = (first: TrafficSelector, others: readonly TrafficSelector[]): TrafficSelector[] => [
  first,
  ...others.filter((ts) => !sameSelectors([ts], [first])),
];

export const offeredTraffic = ({ tsi, tsr }: ChildOffer): SelectorPair => ({ localTs: tsi, remoteTs: tsr });

/** What both ends agreed on, from our point of view. */
export interface ChildAgreement {
  readonly policy: ChildPolicy;
  readonly suite: ChildSuite;
  readonly mode: 'tunnel' | 'transport';
  readonly inboundSpi: number;
  readonly outboundSpi: number;
  readonly localTs: readonly TrafficSelector[];
  readonly remoteTs: readonly TrafficSelector[];
  readonly asked?: SelectorPair | undefined;
  /** ESP_TFC_PADDING_NOT_SUPPORTED (RFC 7296 §1.3.1). */
  readonly unpadded: boolean;
  readonly packets: PacketAgreement;
  /** More of what the peer asked for would do, in a CHILD_SA of its own (RFC 7296 §2.9). */
  readonly additional?: boolean;
  /** We began the exchange: decides whose keys come first (RFC 7296 §2.17). */
  readonly exchangeRole: 'initiator' | 'responder';
}

/** The initiator reads SA, TSi and TSr of the response. */
export function takeChildAnswer(sa: IkeSa, offered: ChildOffer, payloads: readonly Payload[]): ChildAgreement {
  const answer = need(payloads, 'SA').proposals;
  const selected = acceptChild(offered.proposals, answer, offered.withKe);
  if (selected === undefined) {
    if (offered.withKe && offered.policy.pfs === 'require' && answer.every((p) => keMethods(p).length === 0))
      throw pfsDeclined(offered.policy);
    throw new PeerViolation('the peer chose a CHILD_SA proposal that we did not offer', {
      code: 'PROPOSAL_NOT_OFFERED',
      section: 'RFC 7296 §3.3',
      notify: NotifyType.NO_PROPOSAL_CHOSEN,
    });
  }
  const transport = findNotify(payloads, NotifyType.USE_TRANSPORT_MODE) !== undefined;
  if (offered.policy.mode === 'tunnel' && transport)
    throw new PeerViolation('the peer answered with transport mode, which we did not ask for', {
      code: 'TRANSPORT_MODE_UNASKED',
      section: 'RFC 7296 §1.3.1',
    });
  if (offered.policy.mode === 'transport' && !transport) {
    // RFC 7296 §1.3.1: the responder may decline; we do not fall back to another protection than the operator asked for
    throw new NegotiationFailure('the peer declined transport mode', {
      code: 'TRANSPORT_MODE_DECLINED',
      section: 'RFC 7296 §1.3.1',
      hint: 'Set mode: tunnel on both ends.',
    });
  }
  // RFC 7296 §2.22: what we did not offer we would not unpack
  const packets = takePacketsAnswer(offered.policy.packets, offered.spi, payloads);
  const told = { localTs: need(payloads, 'TSi').selectors, remoteTs: need(payloads, 'TSr').selectors };
  const answered = transport ? asSeenHere(sa, told) : told;
  checkAnswer(sa, offered.policy, offeredTraffic(offered), answered);
  return {
    policy: offered.policy,
    suite: selected.suite,
    mode: offered.policy.mode,
    unpadded: isUnpadded(payloads),
    packets,
    inboundSpi: offered.spi,
    outboundSpi: spiNumber(selected.peerSpi),
    ...answered,
    exchangeRole: 'initiator',
  };
}

/**
 * A rekeying that had to ask for what the peer believes in (`asked` of the old child): what counts is still what was narrowed (§2.9.2).
 */
export function narrowedTo(sa: IkeSa, agreement: ChildAgreement, old: ChildSa): ChildAgreement {
  const before = agreement.mode === 'transport' ? retarget(sa, old) : old;
  const localTs = narrow(agreement.localTs, before.localTs);
  const remoteTs = narrow(agreement.remoteTs, before.remoteTs);
  // RFC 7296 §2.9.2: the successor carries no less than the old one
  if (!covers(localTs, before.localTs) || !covers(remoteTs, before.remoteTs)) {
    throw tsUnacceptable(
      'the peer answered with less traffic than the CHILD_SA had',
      [...old.localTs, ...old.remoteTs],
      [...agreement.localTs, ...agreement.remoteTs],
    );
  }
  return { ...agreement, localTs, remoteTs, asked: old.asked };
}

/**
 * The responder finds the policy whose proposals and selectors fit (§2.7, §2.9). The answer's payloads come from `childAnswer`, once the child is installed.
 * @param create in CREATE_CHILD_SA: the key exchange method that came, 0 for none, and the child that is rekeyed, whose policy alone is asked
 */
export function takeChildRequest(
  world: World,
  sa: IkeSa,
  connection: Connection,
  payloads: readonly Payload[],
  create?: { readonly ke: number; readonly like: ChildSa | undefined },
): { agreement: ChildAgreement; proposal: Proposal } {
  const offered = need(payloads, 'SA').proposals;
  const tsi = need(payloads, 'TSi').selectors;
  const tsr = need(payloads, 'TSr').selectors;
  const transport = findNotify(payloads, NotifyType.USE_TRANSPORT_MODE) !== undefined;
  const policies = create?.like ? [create.like.policy] : connection.children;
  const acceptable = policies.flatMap((policy) => {
    const selected = selectFor(policy, offered, create?.ke);
    return selected ? [{ policy, selected }] : [];
  });
  const aboutPfs = acceptable.length === 0 && create ? pfsMismatch(policies, offered) : undefined;
  if (aboutPfs) throw aboutPfs;
  if (acceptable.length === 0)
    throw noProposalChosen(
      'CHILD_SA',
      policies.flatMap((p) => p.proposals),
      offered,
    );
  const { mode, chosen, traffic, asked, additional } = fitMode(sa, acceptable, { localTs: tsr, remoteTs: tsi }, transport, create?.like);
  refuseTaken(world, sa, traffic.remoteTs);
  if (mode === 'transport') refuseAmbiguous(world, sa, traffic);
  const { policy, selected } = chosen;
  const inboundSpi = world.allocateChildSpi();
  return {
    proposal: { ...selected.proposal, spi: spiOctets(inboundSpi) },
    agreement: {
      policy,
      suite: selected.suite,
      mode,
      unpadded: isUnpadded(payloads),
      packets: takePacketsRequest(policy.packets, inboundSpi, payloads),
      inboundSpi,
      outboundSpi: spiNumber(selected.peerSpi),
      ...traffic,
      asked,
      additional,
      exchangeRole: 'responder',
    },
  };
}

/**
 * RFC 7296 §1.3.1, §2.23.1: transport mode only when both want it, and then for the addresses as they are seen here; else the answer lacks the
 * notify, and what the peer wrote counts as it stands, for a tunnel.
 */
function fitMode(
  sa: IkeSa,
  able: readonly { readonly policy: ChildPolicy; readonly selected: SelectedChild }[],
  asked: SelectorPair,
  transport: boolean,
  like: SelectorPair | undefined,
) {
  const permit = permittedLike(like);
  const ofMode = (mode: ChildPolicy['mode']) => able.filter(({ policy }) => policy.mode === mode);
  const [inTransport, inTunnel] = [ofMode('transport'), ofMode('tunnel')];
  if (!transport || inTransport.length === 0) return { mode: 'tunnel' as const, ...fitTraffic(sa, able, asked, permit) };
  try {
    return { mode: 'transport' as const, ...fitTraffic(sa, inTransport, asSeenHere(sa, asked), endToEnd) };
  } catch (error) {
    if (!(error instanceof NegotiationFailure) || inTunnel.length === 0) throw error;
    return { mode: 'tunnel' as const, ...fitTraffic(sa, inTunnel, asked, permit) };
  }
}

/** @param ke the method whose public value came; where several proposals would do, one that fits it saves a round trip (§1.3) */
function selectFor(policy: ChildPolicy, offered: readonly Proposal[], ke: number | undefined): SelectedChild | undefined {
  if (ke === undefined) return selectChild(withoutKe(policy.proposals), offered, false);
  const ours = withPfs(policy.proposals, policy.pfs);
  const first = selectChild(ours, offered, true);
  if (first === undefined || first.suite.keyExchange === 0 || ke === 0 || first.suite.keyExchange === ke) return first;
  return (
    selectChild(
      ours.flatMap((p) => onlyMethod(p, ke)),
      offered,
      true,
    ) ?? first
  );
}

export function childAnswer(agreement: ChildAgreement, proposal: Proposal): Payload[] {
  const mode: Payload[] = agreement.mode === 'transport' ? [notify(NotifyType.USE_TRANSPORT_MODE)] : [];
  return [
    ...mode,
    ...answerPackets(agreement.packets),
    { kind: 'SA', proposals: [proposal] },
    { kind: 'TSi', selectors: agreement.remoteTs },
    { kind: 'TSr', selectors: agreement.localTs },
    ...(agreement.additional === true ? [notify(NotifyType.ADDITIONAL_TS_POSSIBLE)] : []),
  ];
}

const isUnpadded = (payloads: readonly Payload[]): boolean => findNotify(payloads, NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED) !== undefined;

export const spiOctets = (spi: number): Uint8Array => new Uint8Array([spi >>> 24, spi >>> 16, spi >>> 8, spi]);
export const spiNumber = (spi: Uint8Array): number => ((spi[0]! << 24) | (spi[1]! << 16) | (spi[2]! << 8) | spi[3]!) >>> 0;
