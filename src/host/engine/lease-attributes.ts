import { formatIp, parseIp, tryParseIp, utf8 } from '../../core/bytes/index.ts';
import { parseDigestRequest, writeEncryptedResolver, writeResolverDigest } from '../../core/wire/encrypted-dns.ts';
import { ConfigAttributeType, HashId } from '../../core/wire/iana.ts';
import type { ConfigurationAttribute } from '../../core/wire/payloads/types.ts';
import { writeTrustAnchor } from '../../core/wire/split-dns.ts';
import type { Pool } from './lease-pool.ts';

/** An address that a client asks for. */
export interface Wanted {
  readonly family: 4 | 6;
  /** Undefined: any. */
  readonly ip: string | undefined;
}

/** An address that a client gets. */
export interface Given {
  readonly pool: string;
  readonly ip: string;
  readonly family: 4 | 6;
}

/** RFC 7296 §3.15.1: an empty or all-zero value asks for any address; an INTERNAL_IP6_ADDRESS has a prefix length behind it. */
export function wantedFamilies(requested: readonly ConfigurationAttribute[]): Wanted[] {
  const wanted: Wanted[] = [];
  for (const { type, value } of requested) {
    const family =
      type === ConfigAttributeType.INTERNAL_IP4_ADDRESS ? 4 : type === ConfigAttributeType.INTERNAL_IP6_ADDRESS ? 6 : undefined;
    if (family === undefined || wanted.some((w) => w.family === family)) continue;
    const octets = value.subarray(0, family === 4 ? 4 : 16);
    const specific = octets.length === (family === 4 ? 4 : 16) && octets.some((octet) => octet !== 0);
    wanted.push({ family, ip: specific ? formatIp(octets) : undefined });
  }
  return wanted;
}

/** CFG_REPLY: the addresses, and what goes with them (RFC 7296 §3.15.1). */
export function replyAttributes(
  held: readonly Given[],
  pools: readonly Pool[],
  requested: readonly ConfigurationAttribute[],
): ConfigurationAttribute[] {
  const attributes: ConfigurationAttribute[] = [];
  for (const { ip, family, pool } of held) {
    if (family === 4) attributes.push({ type: ConfigAttributeType.INTERNAL_IP4_ADDRESS, value: parseIp(ip) });
    else {
      const prefixLength = pools.find((p) => p.policy.name === pool)?.prefixLength(ip) ?? 128;
      attributes.push({ type: ConfigAttributeType.INTERNAL_IP6_ADDRESS, value: Uint8Array.of(...parseIp(ip), prefixLength) });
    }
  }
  const families = new Set(held.map((h) => h.family));
  const fits = (octets: Uint8Array): boolean => families.size === 0 || families.has(octets.length === 4 ? 4 : 6);
  for (const ip of unique(pools.flatMap((p) => p.policy.dns ?? []))) {
    const value = parseIp(ip);
    if (fits(value))
      attributes.push({ type: value.length === 4 ? ConfigAttributeType.INTERNAL_IP4_DNS : ConfigAttributeType.INTERNAL_IP6_DNS, value });
  }
  for (const ip of unique(pools.flatMap((p) => p.policy.servers ?? []))) {
    const value = parseIp(ip);
    const type = value.length === 4 ? ConfigAttributeType.INTERNAL_IP4_SERVER : ConfigAttributeType.INTERNAL_IP6_SERVER;
    if (fits(value)) attributes.push({ type, value });
  }
  const { INTERNAL_IP4_DNS, INTERNAL_IP6_DNS } = ConfigAttributeType;
  // RFC 8598 §3.2: domains go with the servers that know them
  if (attributes.some(({ type }) => type === INTERNAL_IP4_DNS || type === INTERNAL_IP6_DNS))
    attributes.push(...splitDnsAttributes(pools, requested));
  attributes.push(...encryptedDnsAttributes(pools, families, requested));
  for (const subnet of unique(pools.flatMap((p) => p.policy.subnets ?? []))) {
    const attribute = subnetAttribute(subnet);
    if (attribute !== undefined && families.has(attribute.type === ConfigAttributeType.INTERNAL_IP4_SUBNET ? 4 : 6))
      attributes.push(attribute);
  }
  return attributes;
}

/** RFC 8598 §3.2: trust anchors stand right behind their domain, and go to those alone that asked for some. */
function splitDnsAttributes(pools: readonly Pool[], requested: readonly ConfigurationAttribute[]): ConfigurationAttribute[] {
  const wanted = requested.some(({ type }) => type === ConfigAttributeType.INTERNAL_DNSSEC_TA);
  return unique(pools.flatMap((p) => p.policy.domains ?? [])).flatMap((domain) => [
    { type: ConfigAttributeType.INTERNAL_DNS_DOMAIN, value: utf8(domain) },
    ...pools
      .flatMap((p) => (wanted ? (p.policy.trustAnchors?.[domain] ?? []) : []))
      .map((anchor) => ({ type: ConfigAttributeType.INTERNAL_DNSSEC_TA, value: writeTrustAnchor(anchor) })),
  ]);
}

/** RFC 9464 §3.1, §3.2: resolvers by the family that was asked for and given, digests to whom can compare them. */
function encryptedDnsAttributes(
  pools: readonly Pool[],
  families: ReadonlySet<4 | 6>,
  requested: readonly ConfigurationAttribute[],
): ConfigurationAttribute[] {
  const { ENCDNS_IP4, ENCDNS_IP6, ENCDNS_DIGEST_INFO } = ConfigAttributeType;
  const resolvers = pools.flatMap((p) => p.policy.encryptedDns ?? []);
  const named = ([4, 6] as const).flatMap((family) => {
    const type = family === 4 ? ENCDNS_IP4 : ENCDNS_IP6;
    if (!families.has(family) || !requested.some((each) => each.type === type)) return [];
    return resolvers.flatMap((resolver) => {
      const addresses = resolver.addresses.filter((ip) => ip.includes(':') === (family === 6));
      return addresses.length === 0 ? [] : [{ resolver, type, value: writeEncryptedResolver({ ...resolver, addresses }) }];
    });
  });
  const told = new Set(named.map(({ resolver }) => resolver));
  const several = new Set(Array.from(told, ({ name }) => name)).size > 1;
  const compares = requested.some(({ type, value }) => type === ENCDNS_DIGEST_INFO && parseDigestRequest(value).includes(HashId.SHA2_256));
  const digests = Array.from(told).flatMap(({ name, key }) =>
    compares && key !== undefined
      ? [{ type: ENCDNS_DIGEST_INFO, value: writeResolverDigest({ name: several ? name : '', hash: HashId.SHA2_256, digest: key }) }]
      : [],
  );
  return [...named.map(({ type, value }) => ({ type, value })), ...digests];
}

/** RFC 7296 §3.15.1: IPv4 with a mask, IPv6 with a prefix length. */
function subnetAttribute(prefix: string): ConfigurationAttribute | undefined {
  const [ip = '', length] = prefix.split('/');
  const octets = tryParseIp(ip);
  if (octets === undefined) return undefined;
  const bits = length === undefined ? octets.length * 8 : Number(length);
  if (octets.length === 16) return { type: ConfigAttributeType.INTERNAL_IP6_SUBNET, value: Uint8Array.of(...octets, bits) };
  const mask = bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
  return {
    type: ConfigAttributeType.INTERNAL_IP4_SUBNET,
    value: Uint8Array.of(...octets, mask >>> 24, (mask >>> 16) & 0xff, (mask >>> 8) & 0xff, mask & 0xff),
  };
}

const unique = (texts: readonly string[]): readonly string[] => [...new Set(texts)];
