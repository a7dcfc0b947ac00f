import { concat, EMPTY } from '../../bytes/bytes.ts';
import { NegotiationFailure, PeerViolation } from '../../bytes/errors.ts';
import { formatIp, isIpv6, parseIp } from '../../bytes/ip-address.ts';
import { ConfigAttributeType, ConfigType, type ConfigurationAttribute, NotifyType, type Payload } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { find } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { ask, type Routine } from '../routine.ts';
import { isDynamic } from '../traffic-selectors.ts';
import type { World } from '../world.ts';
import { explainFamilies, familyNotifies, servedFamilies, worthAsking } from './address-families.ts';
import { encryptedDnsRequest, takeEncryptedDns } from './encrypted-dns.ts';
import { isSomebody } from './null-authentication.ts';
import { begunAlike } from './reauthentication.ts';
import { splitDnsRequest, takeSplitDns } from './split-dns.ts';
import { twins } from './uniqueness.ts';

/**
 * RFC 7296 §2.19: the initiator asks for addresses, and for what comes with them.
 * @param before the IKE SA whose place this one takes in a new authentication: its addresses are asked for again
 */
export function configurationRequest(connection: Connection, before?: Pick<IkeSa, 'assigned' | 'servedFamilies'>): Payload[] {
  if (connection.virtualIps.length === 0) return [];
  const held = before?.assigned ?? [];
  const virtualIps = worthAsking(connection.virtualIps, before?.servedFamilies);
  const attributes: ConfigurationAttribute[] = [];
  const want = (type: number, value: Uint8Array = EMPTY) => attributes.push({ type, value });
  for (const ip of virtualIps) {
    const octets = parseIp(held.find((own) => isIpv6(own) === isIpv6(ip)) ?? ip);
    const any = octets.every((o) => o === 0);
    if (isIpv6(ip)) want(ConfigAttributeType.INTERNAL_IP6_ADDRESS, any ? EMPTY : concat(octets, new Uint8Array([128])));
    else want(ConfigAttributeType.INTERNAL_IP4_ADDRESS, any ? EMPTY : octets);
  }
  const families = new Set(virtualIps.map(familyOf));
  if (families.has(4)) want(ConfigAttributeType.INTERNAL_IP4_DNS);
  if (families.has(4)) want(ConfigAttributeType.INTERNAL_IP4_SUBNET);
  if (families.has(6)) want(ConfigAttributeType.INTERNAL_IP6_DNS);
  if (families.has(6)) want(ConfigAttributeType.INTERNAL_IP6_SUBNET);
  attributes.push(...splitDnsRequest(connection), ...encryptedDnsRequest(connection, families));
  return [{ kind: 'CP', cfgType: ConfigType.CFG_REQUEST, attributes }];
}

/**
 * The initiator takes what CFG_REPLY assigns, of the families that it asked for (RFC 7296 §3.15: nothing comes unasked). A gateway that
 * serves one family of two is lived with; `missing` of the notice says which is not there.
 * @throws NegotiationFailure `ADDRESS_NOT_ASSIGNED`: nothing was assigned (§3.15.4). Whoever called deletes the IKE SA, as §3.15.4 permits:
 *   without an address of its own an end has no traffic to select.
 */
export function takeConfiguration(world: World, sa: IkeSa, connection: Connection, payloads: readonly Payload[]): void {
  const { virtualIps } = connection;
  if (virtualIps.length === 0) return;
  const reply = find(payloads, 'CP');
  const answered = reply?.cfgType === ConfigType.CFG_REPLY;
  const attributes = answered ? reply.attributes : [];
  const asked = familiesOf(virtualIps);
  const addresses = assignedAddresses(attributes).filter((ip) => asked.includes(familyOf(ip)));
  if (addresses.length === 0) throw explainFamilies(connection, payloads, notAssigned(asked, answered));
  sa.assigned = addresses;
  sa.assignedToUs = true;
  sa.servedFamilies = servedFamilies(payloads);
  sa.splitDns = takeSplitDns(world, sa, connection, attributes, payloads);
  sa.encryptedDns = takeEncryptedDns(sa, connection, attributes);
  const missing = without(asked, addresses);
  world.notice({ kind: 'addresses', ikeSa: sa.id, attributes, addresses, missing, served: sa.servedFamilies, splitDns: sa.splitDns });
}

/**
 * The responder leases addresses and answers CFG_REPLY; without pools a request is left unanswered (§3.15.4 allows that).
 * @param childless no child is wanted yet, and so no address either
 * @throws NegotiationFailure `INTERNAL_ADDRESS_FAILURE`; `FAILED_CP_REQUIRED` to a peer that asks for no address where all
 *   its traffic would come from one (§2.19)
 */
export function* leaseAddresses(
  world: World,
  sa: IkeSa,
  connection: Connection,
  payloads: readonly Payload[],
  childless: boolean,
): Routine<Payload[]> {
  const request = find(payloads, 'CP');
  if (connection.pools.length === 0 || sa.remoteId === undefined) return [];
  if (request === undefined || request.cfgType !== ConfigType.CFG_REQUEST) {
    // a network of its own behind the peer needs no address from us
    if (childless || connection.children.some(({ remoteTs }) => !remoteTs.every(isDynamic))) return [];
    throw addressRequired();
  }
  sa.leased = true;
  const answer = yield* ask({
    kind: 'lease',
    connection: connection.name,
    pools: connection.pools,
    remoteId: sa.remoteId,
    requested: request.attributes,
    anonymous: !isSomebody(sa),
    alongside: twins(world, sa).flatMap((other) => (begunAlike(sa, other) && other.leased ? [other.leasedAs] : [])),
  });
  const asked = requestedFamilies(request.attributes);
  if (asked.length > 0) sa.servedFamilies = answer.families;
  if (!answer.ok) {
    throw new NegotiationFailure(`no address for the peer: ${answer.error.message}`, {
      code: 'INTERNAL_ADDRESS_FAILURE',
      notify: NotifyType.INTERNAL_ADDRESS_FAILURE,
      section: 'RFC 7296 §3.15.4',
      cause: answer.error,
      ...(answer.error.hint ? { hint: answer.error.hint } : {}),
    });
  }
  sa.assigned = answer.addresses;
  sa.assignedToUs = false;
  const missing = without(asked, answer.addresses);
  world.notice({ kind: 'addresses', ikeSa: sa.id, attributes: answer.attributes, addresses: answer.addresses, missing });
  return [
    { kind: 'CP', cfgType: ConfigType.CFG_REPLY, attributes: [...answer.attributes, ...nameless(request.attributes)] },
    ...familyNotifies(sa.servedFamilies),
  ];
}

/** RFC 7296 §2.20: whoever asks for our version by INFORMATIONAL gets an answer, which does not tell it. */
export function declineVersion(payloads: readonly Payload[]): Payload[] {
  const request = find(payloads, 'CP');
  const attributes = request?.cfgType === ConfigType.CFG_REQUEST ? nameless(request.attributes) : [];
  return attributes.length === 0 ? [] : [{ kind: 'CP', cfgType: ConfigType.CFG_REPLY, attributes }];
}

/** An empty string for APPLICATION_VERSION, where it was asked for: what runs here is nobody's business (RFC 7296 §2.20). */
const nameless = (asked: readonly ConfigurationAttribute[]): ConfigurationAttribute[] =>
  asked.some(({ type }) => type === ConfigAttributeType.APPLICATION_VERSION)
    ? [{ type: ConfigAttributeType.APPLICATION_VERSION, value: EMPTY }]
    : [];

/** Each address once; the unspecified one is none. */
function assignedAddresses(attributes: readonly ConfigurationAttribute[]): string[] {
  const addresses = attributes.flatMap(({ type, value }) => {
    if (type === ConfigAttributeType.INTERNAL_IP4_ADDRESS && value.length === 4) return [value];
    // RFC 7296 §3.15.1: 16 octets of address and one of prefix length
    if (type === ConfigAttributeType.INTERNAL_IP6_ADDRESS && value.length === 17) return [value.subarray(0, 16)];
    if ((type === ConfigAttributeType.INTERNAL_IP4_ADDRESS || type === ConfigAttributeType.INTERNAL_IP6_ADDRESS) && value.length > 0) {
      throw new PeerViolation(`an assigned address has ${value.length} octets`, {
        code: 'INVALID_SYNTAX',
        notify: NotifyType.INVALID_SYNTAX,
        section: 'RFC 7296 §3.15.1',
      });
    }
    return [];
  });
  return [...new Set(addresses.filter((octets) => octets.some((o) => o !== 0)).map(formatIp))];
}

const familyOf = (ip: string): 4 | 6 => (isIpv6(ip) ? 6 : 4);
const familiesOf = (addresses: readonly string[]): (4 | 6)[] => [...new Set(addresses.map(familyOf))];
const without = (asked: readonly (4 | 6)[], given: readonly string[]): (4 | 6)[] =>
  asked.filter((family) => !given.some((ip) => familyOf(ip) === family));

function requestedFamilies(attributes: readonly ConfigurationAttribute[]): (4 | 6)[] {
  const asks = (type: number) => attributes.some((attribute) => attribute.type === type);
  const v4 = asks(ConfigAttributeType.INTERNAL_IP4_ADDRESS);
  const v6 = asks(ConfigAttributeType.INTERNAL_IP6_ADDRESS);
  return [...(v4 ? [4 as const] : []), ...(v6 ? [6 as const] : [])];
}

function notAssigned(asked: readonly (4 | 6)[], answered: boolean): NegotiationFailure {
  const wanted = asked.map((family) => `IPv${family}`).join(' or ');
  const why = answered ? `its CFG_REPLY holds no ${wanted} address` : `it left our request for an ${wanted} address unanswered`;
  return new NegotiationFailure(`the peer assigned no address inside the tunnel: ${why}`, {
    code: 'ADDRESS_NOT_ASSIGNED',
    notify: NotifyType.INTERNAL_ADDRESS_FAILURE,
    section: 'RFC 7296 §3.15.4',
    hint: 'Give the connection an address pool on the peer; where its network needs none, configure this connection without vips.',
  });
}

const addressRequired = (): NegotiationFailure =>
  new NegotiationFailure('the peer asked for no address, and this connection assigns one to everybody', {
    code: 'FAILED_CP_REQUIRED',
    notify: NotifyType.FAILED_CP_REQUIRED,
    section: 'RFC 7296 §2.19',
    hint: 'Let the peer ask for a virtual address, or give it a connection without pools.',
  });
