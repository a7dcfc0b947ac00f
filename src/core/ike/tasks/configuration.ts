import { concat, EMPTY } from '../../bytes/bytes.ts';
import { NegotiationFailure, PeerViolation } from '../../bytes/errors.ts';
import { formatIp, isIpv6, parseIp } from '../../bytes/ip-address.ts';
import {
  ConfigAttributeType,
  ConfigType,
  type ConfigurationAttribute,
  type CpPayload,
  NotifyType,
  type Payload,
} from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { find } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { ask, type Routine } from '../routine.ts';
import type { World } from '../world.ts';

/** RFC 7296 §2.19: the initiator asks for addresses, and for what comes with them. */
export function configurationRequest(connection: Connection): Payload[] {
  if (connection.virtualIps.length === 0) return [];
  const attributes: ConfigurationAttribute[] = [];
  const want = (type: number, value: Uint8Array = EMPTY) => attributes.push({ type, value });
  for (const ip of connection.virtualIps) {
    const octets = parseIp(ip);
    const any = octets.every((o) => o === 0);
    if (isIpv6(ip)) want(ConfigAttributeType.INTERNAL_IP6_ADDRESS, any ? EMPTY : concat(octets, new Uint8Array([128])));
    else want(ConfigAttributeType.INTERNAL_IP4_ADDRESS, any ? EMPTY : octets);
  }
  const families = new Set(connection.virtualIps.map((ip) => (isIpv6(ip) ? 6 : 4)));
  if (families.has(4)) want(ConfigAttributeType.INTERNAL_IP4_DNS);
  if (families.has(4)) want(ConfigAttributeType.INTERNAL_IP4_SUBNET);
  if (families.has(6)) want(ConfigAttributeType.INTERNAL_IP6_DNS);
  if (families.has(6)) want(ConfigAttributeType.INTERNAL_IP6_SUBNET);
  return [{ kind: 'CP', cfgType: ConfigType.CFG_REQUEST, attributes }];
}

/** The initiator takes what CFG_REPLY assigns, of the families that it asked for (RFC 7296 §3.15: nothing comes unasked). */
export function takeConfiguration(world: World, sa: IkeSa, { virtualIps }: Connection, payloads: readonly Payload[]): void {
  const reply = find(payloads, 'CP');
  if (reply === undefined || reply.cfgType !== ConfigType.CFG_REPLY || virtualIps.length === 0) return;
  sa.assigned = assignedAddresses(reply.attributes).filter((ip) => virtualIps.some((asked) => isIpv6(asked) === isIpv6(ip)));
  sa.assignedToUs = true;
  world.notice({ kind: 'addresses', ikeSa: sa.id, attributes: reply.attributes, addresses: sa.assigned });
}

/** The responder leases addresses and answers CFG_REPLY; without pools a request is left unanswered (§3.15.4 allows that). */
export function* leaseAddresses(world: World, sa: IkeSa, connection: Connection, payloads: readonly Payload[]): Routine<CpPayload[]> {
  const request = find(payloads, 'CP');
  if (request === undefined || request.cfgType !== ConfigType.CFG_REQUEST || connection.pools.length === 0 || sa.remoteId === undefined)
    return [];
  sa.leased = true;
  const answer = yield* ask({
    kind: 'lease',
    connection: connection.name,
    pools: connection.pools,
    remoteId: sa.remoteId,
    requested: request.attributes,
  });
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
  world.notice({ kind: 'addresses', ikeSa: sa.id, attributes: answer.attributes, addresses: answer.addresses });
  return [{ kind: 'CP', cfgType: ConfigType.CFG_REPLY, attributes: answer.attributes }];
}

function assignedAddresses(attributes: readonly ConfigurationAttribute[]): string[] {
  return attributes.flatMap(({ type, value }) => {
    if (type === ConfigAttributeType.INTERNAL_IP4_ADDRESS && value.length === 4) return [formatIp(value)];
    // RFC 7296 §3.15.1: 16 octets of address and one of prefix length
    if (type === ConfigAttributeType.INTERNAL_IP6_ADDRESS && value.length === 17) return [formatIp(value.subarray(0, 16))];
    if ((type === ConfigAttributeType.INTERNAL_IP4_ADDRESS || type === ConfigAttributeType.INTERNAL_IP6_ADDRESS) && value.length > 0) {
      throw new PeerViolation(`an assigned address has ${value.length} octets`, {
        code: 'INVALID_SYNTAX',
        notify: NotifyType.INVALID_SYNTAX,
        section: 'RFC 7296 §3.15.1',
      });
    }
    return [];
  });
}
