import { fromUtf8, printable } from '../../bytes/bytes.ts';
import { formatIp } from '../../bytes/ip-address.ts';
import {
  ConfigAttributeType,
  type ConfigurationAttribute,
  formatTrustAnchor,
  isInDomain,
  type Payload,
  parseDomain,
  parseTrustAnchor,
  type TrafficSelector,
} from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { find } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { anySelector, covers } from '../traffic-selectors.ts';
import type { World } from '../world.ts';
import { isUnproven } from './null-authentication.ts';

/** What a gateway said of names (RFC 8598), as far as it is heeded. */
export interface SplitDns {
  /** DNS servers behind the tunnel: the only ones that are asked for names in these domains. */
  readonly servers: readonly string[];
  /** Lower case, without a dot at the end. */
  readonly domains: readonly SplitDomain[];
  /** What it said besides, and why nothing is done about it. */
  readonly ignored: readonly { readonly what: string; readonly why: string }[];
}

export interface SplitDomain {
  readonly name: string;
  /** DS records, `43547 8 2 F78CF334…`. */
  readonly trustAnchors: readonly string[];
}

/** RFC 8598 §3.1: that we heed domains; and trust anchors where the policy names domains for which they may come (§6). */
export function splitDnsRequest({ splitDns }: Connection): ConfigurationAttribute[] {
  if (splitDns === undefined) return [];
  const none = new Uint8Array(0);
  const domain = { type: ConfigAttributeType.INTERNAL_DNS_DOMAIN, value: none };
  return splitDns.trustAnchors.length === 0 ? [domain] : [domain, { type: ConfigAttributeType.INTERNAL_DNSSEC_TA, value: none }];
}

/** RFC 8598 §5, §6, §8: what of a CFG_REPLY is heeded. Undefined where it says nothing of domains. */
export function takeSplitDns(
  world: World,
  sa: IkeSa,
  connection: Connection,
  attributes: readonly ConfigurationAttribute[],
  payloads: readonly Payload[],
): SplitDns | undefined {
  const said = claims(attributes);
  if (said.length === 0) return undefined;
  const servers = dnsServers(attributes);
  const whole = refusedAltogether(sa, connection, servers, payloads);
  const ignored: SplitDns['ignored'][number][] = [];
  const domains = new Map<string, string[]>();
  for (const { domain, anchors } of said.slice(0, MOST_DOMAINS)) {
    const name = parseDomain(domain);
    const why = whole ?? (name === undefined ? 'it is no name of a domain' : refused(world, sa, connection, name));
    if (why !== undefined || name === undefined) ignored.push({ what: name ?? shown(domain), why: why ?? '' });
    else domains.set(name, [...(domains.get(name) ?? []), ...takeAnchors(connection, name, anchors, ignored)]);
  }
  if (said.length > MOST_DOMAINS)
    ignored.push({ what: `${said.length - MOST_DOMAINS} more domains`, why: `no more than ${MOST_DOMAINS} are taken` });
  return {
    servers: whole === undefined ? servers : [],
    domains: [...domains].map(([name, anchors]) => ({ name, trustAnchors: [...new Set(anchors)].slice(0, MOST_ANCHORS) })),
    ignored: ignored.slice(0, MOST_IGNORED),
  };
}

interface Claim {
  readonly domain: Uint8Array;
  readonly anchors: Uint8Array[];
}

/** §4.2: a trust anchor belongs to the domain right before it, and to none where something else stands between. */
function claims(attributes: readonly ConfigurationAttribute[]): readonly Claim[] {
  const found: Claim[] = [];
  let current: Claim | undefined;
  for (const { type, value } of attributes) {
    if (type === ConfigAttributeType.INTERNAL_DNS_DOMAIN) {
      current = value.length === 0 ? undefined : { domain: value, anchors: [] };
      if (current) found.push(current);
    } else if (type === ConfigAttributeType.INTERNAL_DNSSEC_TA) current?.anchors.push(value);
    else current = undefined;
  }
  return found;
}

function refusedAltogether(
  sa: IkeSa,
  { splitDns, children }: Connection,
  servers: readonly string[],
  payloads: readonly Payload[],
): string | undefined {
  if (splitDns === undefined) return 'this connection does not take any';
  // §8: "MUST ignore"
  if (isUnproven(sa)) return 'it comes from a gateway that did not prove who it is';
  if (servers.length === 0) return 'no DNS server came along with it';
  const traffic =
    find(payloads, 'TSr')?.selectors ?? children.flatMap(({ remoteTs }) => remoteTs.filter((ts) => typeof ts !== 'string' && 'type' in ts));
  return isEverything(traffic as readonly TrafficSelector[]) ? 'everything goes through the tunnel, names included' : undefined;
}

/** §5 and §8: the policy, and domains that another gateway was first to claim. */
function refused(world: World, sa: IkeSa, { name: connection, splitDns }: Connection, name: string): string | undefined {
  const accept = splitDns?.accept ?? [];
  if (accept !== 'any' && !accept.some((domain) => isInDomain(name, domain))) return 'dns_domains of this connection does not name it';
  for (const other of world.ikeSas.values()) {
    if (other.connection === undefined || other.connection.name === connection || !other.isEstablished || other === sa) continue;
    const taken = other.splitDns?.domains.find((domain) => isInDomain(name, domain.name) || isInDomain(domain.name, name));
    if (taken !== undefined) return `${taken.name} is resolved by the gateway of ${other.connection.name}`;
  }
  return undefined;
}

/** §6: a trust anchor is as good as an authority of certificates, so the policy has to name where it may come from. */
function takeAnchors(
  { splitDns }: Connection,
  name: string,
  anchors: readonly Uint8Array[],
  ignored: { readonly what: string; readonly why: string }[],
): string[] {
  if (anchors.length === 0) return [];
  const what = `trust anchor of ${name}`;
  if (!splitDns?.trustAnchors.some((domain) => isInDomain(name, domain))) {
    ignored.push({ what, why: 'trust_anchors of this connection does not name it' });
    return [];
  }
  return anchors.slice(0, MOST_ANCHORS).flatMap((value) => {
    const anchor = parseTrustAnchor(value);
    if (anchor === undefined) ignored.push({ what, why: 'it is no DS record of a known digest' });
    return anchor === undefined ? [] : [formatTrustAnchor(anchor)];
  });
}

function dnsServers(attributes: readonly ConfigurationAttribute[]): string[] {
  const { INTERNAL_IP4_DNS, INTERNAL_IP6_DNS } = ConfigAttributeType;
  const found = attributes.flatMap(({ type, value }) =>
    (type === INTERNAL_IP4_DNS && value.length === 4) || (type === INTERNAL_IP6_DNS && value.length === 16) ? [formatIp(value)] : [],
  );
  return [...new Set(found)].slice(0, MOST_SERVERS);
}

const isEverything = (selectors: readonly TrafficSelector[]): boolean =>
  [anySelector(4), anySelector(6)].some((whole) => covers(selectors, [whole]));

const shown = (octets: Uint8Array): string => JSON.stringify(printable(fromUtf8(octets.subarray(0, 64))));

/** Ours: what one gateway may have us keep. */
const MOST_DOMAINS = 64;
const MOST_ANCHORS = 8;
const MOST_SERVERS = 8;
const MOST_IGNORED = 32;
