import { NegotiationFailure, type PeerRefused } from '../../bytes/errors.ts';
import { isIpv6 } from '../../bytes/ip-address.ts';
import { NotifyType, type Payload } from '../../wire/index.ts';
import { findNotify, notify } from '../notifies.ts';
import type { Connection } from '../policy.ts';

export type Family = 4 | 6;

/** RFC 8983 §5, table 1: the families that addresses are given of, in every answer to a request for one. */
export const familyNotifies = (served: readonly Family[] | undefined): Payload[] =>
  FAMILIES.flatMap((family) => (served?.includes(family) ? [notify(TYPES[family])] : []));

/** What the responder serves; undefined where it does not say. The notifies carry no data, and what they carry is not looked at. */
export function servedFamilies(payloads: readonly Payload[]): readonly Family[] | undefined {
  const served = FAMILIES.filter((family) => findNotify(payloads, TYPES[family]) !== undefined);
  return served.length === 0 ? undefined : served;
}

/** RFC 8983 §5: what is not served is not asked for again; if that is all, the policy stands and the answer says why it fails. */
export function worthAsking(virtualIps: readonly string[], served: readonly Family[] | undefined): readonly string[] {
  const left = served === undefined ? virtualIps : virtualIps.filter((ip) => served.includes(isIpv6(ip) ? 6 : 4));
  return left.length > 0 ? left : virtualIps;
}

/** Why there is no address, where the responder told: in the place of the bare INTERNAL_ADDRESS_FAILURE. */
export function explainFamilies<E extends Error>(
  { virtualIps }: Connection,
  payloads: readonly Payload[],
  error: E | PeerRefused,
): E | PeerRefused | NegotiationFailure {
  const served = servedFamilies(payloads);
  if (served === undefined || !('notify' in error) || error.notify !== NotifyType.INTERNAL_ADDRESS_FAILURE) return error;
  const asked = FAMILIES.filter((family) => virtualIps.some((ip) => isIpv6(ip) === (family === 6)));
  if (asked.length === 0 || asked.some((family) => served.includes(family))) return error;
  return new NegotiationFailure(`the peer gives ${listed(served)} addresses and no others, and we asked for ${listed(asked)}`, {
    code: 'ADDRESS_FAMILY_NOT_SERVED',
    notify: NotifyType.INTERNAL_ADDRESS_FAILURE,
    section: 'RFC 8983 §5',
    cause: error,
    hint: `Ask for the other family: vips: "${served[0] === 6 ? '::' : '0.0.0.0'}".`,
  });
}

const listed = (families: readonly Family[]): string => families.map((family) => `IPv${family}`).join(' and ');

const FAMILIES: readonly Family[] = [4, 6];
const TYPES: Readonly<Record<Family, number>> = { 4: NotifyType.IP4_ALLOWED, 6: NotifyType.IP6_ALLOWED };
