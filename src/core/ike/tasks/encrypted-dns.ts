import { EMPTY, toHex } from '../../bytes/bytes.ts';
import {
  ConfigAttributeType,
  type ConfigurationAttribute,
  type EncryptedResolver,
  HashId,
  parseEncryptedResolver,
  parseResolverDigest,
  type ResolverDigest,
  readOrWhy,
  writeDigestRequest,
} from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import type { Connection } from '../policy.ts';
import type { Family } from './address-families.ts';
import { isUnproven } from './null-authentication.ts';

/** What a gateway said of resolvers that speak encrypted DNS (RFC 9464), as far as it is heeded. */
export interface EncryptedDns {
  /** The first goes first. */
  readonly resolvers: readonly NamedResolver[];
  /** What it said besides, and why nothing is done about it. */
  readonly ignored: readonly string[];
}

export interface NamedResolver extends Omit<EncryptedResolver, 'priority'> {
  /** `sha256:…` of the SubjectPublicKeyInfo that its certificate has; without any, names and authorities decide. */
  readonly keys: readonly string[];
}

/** RFC 9464 §4: whoever asks for addresses of a family asks for resolvers of it; and for the digests of their keys that it can compare. */
export function encryptedDnsRequest({ encryptedDns }: Connection, families: ReadonlySet<Family>): ConfigurationAttribute[] {
  if (encryptedDns !== true) return [];
  const { ENCDNS_IP4, ENCDNS_IP6, ENCDNS_DIGEST_INFO } = ConfigAttributeType;
  return [
    ...(families.has(4) ? [{ type: ENCDNS_IP4, value: EMPTY }] : []),
    ...(families.has(6) ? [{ type: ENCDNS_IP6, value: EMPTY }] : []),
    { type: ENCDNS_DIGEST_INFO, value: writeDigestRequest([HashId.SHA2_256]) },
  ];
}

/** What of a CFG_REPLY is heeded; undefined where it says nothing of such resolvers, or was not asked. */
export function takeEncryptedDns(
  sa: IkeSa,
  { encryptedDns }: Connection,
  attributes: readonly ConfigurationAttribute[],
): EncryptedDns | undefined {
  const told = attributes.filter(({ type }) => RESOLVERS.has(type) || type === ConfigAttributeType.ENCDNS_DIGEST_INFO);
  if (told.length === 0 || encryptedDns !== true) return undefined;
  // RFC 9464 §7: as with every other name that comes from somebody who may be anybody
  if (isUnproven(sa)) return { resolvers: [], ignored: ['resolvers of a gateway that did not prove who it is'] };
  const ignored: string[] = [];
  const found: EncryptedResolver[] = [];
  const digests: ResolverDigest[] = [];
  for (const { type, value } of told.slice(0, MOST_TOLD)) {
    const octets = RESOLVERS.get(type);
    const read = readOrWhy(() => {
      if (octets === undefined) digests.push(parseResolverDigest(value));
      else found.push(parseEncryptedResolver(value, octets));
    });
    if ('why' in read) ignored.push(`${octets === undefined ? 'a digest' : 'a resolver'}: ${read.why}`);
  }
  return { resolvers: merged(found, digests), ignored };
}

/** One for each name and way to ask, with addresses of both families, by priority (RFC 9460 §2.4.1). */
function merged(found: readonly EncryptedResolver[], digests: readonly ResolverDigest[]): NamedResolver[] {
  const resolvers = new Map<string, NamedResolver>();
  for (const { priority, addresses, ...rest } of found.toSorted((one, other) => one.priority - other.priority)) {
    const key = JSON.stringify([priority, rest]);
    const before = resolvers.get(key);
    const all = [...new Set([...(before?.addresses ?? []), ...addresses])].slice(0, MOST_ADDRESSES);
    resolvers.set(key, { ...rest, addresses: all, keys: before?.keys ?? keysOf(rest.name, digests) });
  }
  return [...resolvers.values()];
}

const keysOf = (name: string, digests: readonly ResolverDigest[]): string[] =>
  digests
    .filter((each) => each.hash === HashId.SHA2_256 && each.digest.length === SHA2_256_OCTETS && (each.name === '' || each.name === name))
    .map(({ digest }) => `sha256:${toHex(digest)}`);

/** Octets of their addresses. */
const RESOLVERS: ReadonlyMap<number, 4 | 16> = new Map([
  [ConfigAttributeType.ENCDNS_IP4, 4],
  [ConfigAttributeType.ENCDNS_IP6, 16],
]);
const SHA2_256_OCTETS = 32;
/** Ours: what one gateway may have us keep. */
const MOST_TOLD = 32;
const MOST_ADDRESSES = 8;
