import { fromUtf8, printable } from '../../bytes/bytes.ts';
import { formatIp } from '../../bytes/ip-address.ts';
import { formatEncryptedResolver, parseDigestRequest, parseEncryptedResolver, parseResolverDigest, readOrWhy } from '../encrypted-dns.ts';
import { ConfigAttributeType as A, HashId, nameOf } from '../iana.ts';
import type { ConfigurationAttribute } from '../payloads/types.ts';
import { parseTrustAnchor } from '../split-dns.ts';
import { shortHex } from './octets.ts';

/** `INTERNAL_IP4_ADDRESS 10.66.0.5`; an empty value, which asks for one, stands without. */
export function describeAttribute({ type, value }: ConfigurationAttribute): string {
  const name = nameOf(A, type);
  return value.length === 0 ? name : `${name} ${formatValue(type, value)}`;
}

function formatValue(type: number, value: Uint8Array): string {
  const format = FORMATS[type];
  return format?.(value) ?? shortHex(value);
}

type Format = (value: Uint8Array) => string | undefined;

const ip4: Format = (v) => (v.length === 4 ? formatIp(v) : undefined);
const ip6: Format = (v) => (v.length === 16 ? formatIp(v) : undefined);
/** RFC 7296 §3.15.1: an IPv6 address is followed by its prefix length, though RFC 4306 peers leave it out. */
const ip6Prefix: Format = (v) => (v.length === 17 ? `${formatIp(v.subarray(0, 16))}/${v[16]}` : ip6(v));
const ip4Subnet: Format = (v) => {
  if (v.length !== 8) return undefined;
  const mask = [...v.subarray(4)].map((octet) => octet.toString(2).padStart(8, '0')).join('');
  const network = formatIp(v.subarray(0, 4));
  return /^1*0*$/.test(mask) ? `${network}/${mask.indexOf('0') < 0 ? 32 : mask.indexOf('0')}` : `${network}/${formatIp(v.subarray(4))}`;
};
const text: Format = (v) => printable(fromUtf8(v.subarray(0, 255)));
const attributes: Format = (v) => {
  if (v.length % 2 !== 0) return undefined;
  const names: string[] = [];
  for (let i = 0; i < v.length && i < 64; i += 2) names.push(nameOf(A, ((v[i]! << 8) | v[i + 1]!) & 0x7fff));
  return names.join(', ');
};
/** RFC 8598 §4.2: the fields of a DS record. */
const trustAnchor: Format = (v) => {
  if (v.length < 4) return undefined;
  const digest = parseTrustAnchor(v)?.digest ?? v.subarray(4);
  return `key tag ${u16(v, 0)}, algorithm ${v[2]}, digest type ${v[3]}, ${shortHex(digest)}`;
};
const encryptedDns =
  (octets: 4 | 16): Format =>
  (v) => {
    const read = readOrWhy(() => parseEncryptedResolver(v, octets));
    return 'why' in read ? undefined : `priority ${read.value.priority}, ${printable(formatEncryptedResolver(read.value))}`;
  };
/** RFC 9464 §3.2: hashes that are known, or the digest that one of them made. */
const digestInfo: Format = (v) => {
  const hashes = parseDigestRequest(v);
  if (hashes.length > 0) return hashes.map((hash) => nameOf(HashId, hash)).join(', ');
  const read = readOrWhy(() => parseResolverDigest(v));
  if ('why' in read) return undefined;
  const { name, hash, digest } = read.value;
  return printable(`${nameOf(HashId, hash)} ${shortHex(digest)}${name === '' ? '' : ` of ${name}`}`);
};
const u16 = (v: Uint8Array, at: number): number => (v[at]! << 8) | v[at + 1]!;
const seconds: Format = (v) => (v.length === 4 ? `${new DataView(v.buffer, v.byteOffset, 4).getUint32(0)} s` : undefined);

const FORMATS: Readonly<Record<number, Format>> = {
  [A.INTERNAL_IP4_ADDRESS]: ip4,
  [A.INTERNAL_IP4_NETMASK]: ip4,
  [A.INTERNAL_IP4_DNS]: ip4,
  [A.INTERNAL_IP4_NBNS]: ip4,
  [A.INTERNAL_ADDRESS_EXPIRY]: seconds,
  [A.INTERNAL_IP4_DHCP]: ip4,
  [A.APPLICATION_VERSION]: text,
  [A.INTERNAL_IP6_ADDRESS]: ip6Prefix,
  [A.INTERNAL_IP6_DNS]: ip6,
  [A.INTERNAL_IP6_DHCP]: ip6,
  [A.INTERNAL_IP4_SUBNET]: ip4Subnet,
  [A.SUPPORTED_ATTRIBUTES]: attributes,
  [A.INTERNAL_IP6_SUBNET]: ip6Prefix,
  [A.P_CSCF_IP4_ADDRESS]: ip4,
  [A.P_CSCF_IP6_ADDRESS]: ip6,
  [A.TIMEOUT_PERIOD_FOR_LIVENESS_CHECK]: seconds,
  [A.INTERNAL_IP6_PREFIX]: ip6Prefix,
  [A.INTERNAL_DNS_DOMAIN]: text,
  [A.INTERNAL_DNSSEC_TA]: trustAnchor,
  [A.ENCDNS_IP4]: encryptedDns(4),
  [A.ENCDNS_IP6]: encryptedDns(16),
  [A.ENCDNS_DIGEST_INFO]: digestInfo,
  [A.INTERNAL_IP4_SERVER]: ip4,
  [A.INTERNAL_IP6_SERVER]: ip6,
};
