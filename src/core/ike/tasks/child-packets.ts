import { PeerViolation } from '../../bytes/errors.ts';
import { IpcompTransformId, NotifyType, type Payload } from '../../wire/index.ts';
import { findNotify, notify } from '../notifies.ts';
import type { PacketAgreement, PacketPolicy } from '../packet-policy.ts';

/**
 * What the two ends agree on about the packets of a CHILD_SA beside suite, mode and selectors: compression (RFC 7296 §2.22) and fragments behind
 * the first on SAs for certain ports (§1.3.1). Each end asks or agrees only where its policy says so; the other may decline, and the
 * CHILD_SA stands without.
 */
export function offerPackets(policy: PacketPolicy | undefined, inboundSpi: number): Payload[] {
  return [
    ...(policy?.ipcomp === true ? [ipcompSupported(cpiOf(inboundSpi))] : []),
    ...(policy?.laterFragments === true ? [notify(NotifyType.NON_FIRST_FRAGMENTS_ALSO)] : []),
  ];
}

/** The initiator reads the answer. @throws PeerViolation for what we did not ask for */
export function takePacketsAnswer(policy: PacketPolicy | undefined, inboundSpi: number, payloads: readonly Payload[]): PacketAgreement {
  const [answer, ...others] = allIpcomp(payloads);
  if (answer !== undefined && policy?.ipcomp !== true) throw wrongCompression('compression (IPComp), which we did not ask for');
  if (answer !== undefined && answer.transform !== IpcompTransformId.IPCOMP_DEFLATE)
    throw wrongCompression('another compression (IPComp) than the one we offered');
  if (others.length > 0) throw wrongCompression('several compressions (IPComp), of which it may accept one');
  return {
    ...(answer && { ipcomp: { inboundCpi: cpiOf(inboundSpi), outboundCpi: answer.cpi } }),
    // RFC 7296 §1.3.1: it counts only where both messages have it
    ...(policy?.laterFragments === true && says(payloads, NotifyType.NON_FIRST_FRAGMENTS_ALSO) && { laterFragments: true }),
  };
}

const wrongCompression = (what: string) =>
  new PeerViolation(`the peer answered with ${what}`, { code: 'IPCOMP_UNASKED', section: 'RFC 7296 §2.22' });

/** The responder takes of what the initiator offers what the policy allows. */
export function takePacketsRequest(policy: PacketPolicy | undefined, inboundSpi: number, payloads: readonly Payload[]): PacketAgreement {
  const offered = policy?.ipcomp === true && allIpcomp(payloads).find(({ transform }) => transform === IpcompTransformId.IPCOMP_DEFLATE);
  return {
    ...(offered && { ipcomp: { inboundCpi: cpiOf(inboundSpi), outboundCpi: offered.cpi } }),
    ...(policy?.laterFragments === true && says(payloads, NotifyType.NON_FIRST_FRAGMENTS_ALSO) && { laterFragments: true }),
  };
}

export const answerPackets = ({ ipcomp, laterFragments }: PacketAgreement): Payload[] => [
  ...(ipcomp ? [ipcompSupported(ipcomp.inboundCpi)] : []),
  ...(laterFragments === true ? [notify(NotifyType.NON_FIRST_FRAGMENTS_ALSO)] : []),
];

const ipcompSupported = (cpi: number): Payload =>
  notify(NotifyType.IPCOMP_SUPPORTED, Uint8Array.of(cpi >>> 8, cpi & 0xff, IpcompTransformId.IPCOMP_DEFLATE));

/** Those that are whole; the attributes that some transforms have are theirs. A CPI of 0 to 255 is not for negotiation (RFC 3173 §3.3). */
function allIpcomp(payloads: readonly Payload[]): readonly { readonly cpi: number; readonly transform: number }[] {
  return payloads.flatMap((payload) => {
    if (payload.kind !== 'N' || payload.notify !== NotifyType.IPCOMP_SUPPORTED || payload.data.length < 3) return [];
    const cpi = (payload.data[0]! << 8) | payload.data[1]!;
    return cpi > 255 || cpi === IpcompTransformId.IPCOMP_DEFLATE ? [{ cpi, transform: payload.data[2]! }] : [];
  });
}

const says = (payloads: readonly Payload[], type: number): boolean => findNotify(payloads, type) !== undefined;

/** RFC 3173 §3.3: 256 to 61439 are negotiated. It has no life outside of its SA, and follows from the SPI. */
const cpiOf = (inboundSpi: number): number => FIRST_CPI + (inboundSpi % (LAST_CPI - FIRST_CPI + 1));

const FIRST_CPI = 256;
const LAST_CPI = 61_439;
