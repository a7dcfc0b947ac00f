import { formatIp, NegotiationFailure, parseIp, toHex, tryParseIp, utf8 } from '../../core/bytes/index.ts';
import type { Ask, AskAnswers } from '../../core/ike/effects.ts';
import { formatIdentity } from '../../core/pki/identity.ts';
import { type EncryptedResolver, parseDigestRequest, writeEncryptedResolver, writeResolverDigest } from '../../core/wire/encrypted-dns.ts';
import { ConfigAttributeType, HashId, NotifyType } from '../../core/wire/iana.ts';
import type { ConfigurationAttribute, Identification } from '../../core/wire/payloads/types.ts';
import { type TrustAnchor, writeTrustAnchor } from '../../core/wire/split-dns.ts';
import { AddressPool } from './address-pool.ts';

/** What a pool gives to a client, besides an address. */
export interface PoolPolicy {
  readonly name: string;
  /** Prefixes or first-last, IPv4 and IPv6 mixed: a client gets one address of each family it asks for. */
  readonly ranges: readonly string[];
  /** Never handed out: the gateway's own addresses. */
  readonly reserved?: readonly string[];
  /** Our own addresses inside the tunnel, where clients find what the gateway serves (INTERNAL_IP4_SERVER, INTERNAL_IP6_SERVER). */
  readonly servers?: readonly string[];
  readonly dns?: readonly string[];
  /** Names that are to be resolved by `dns`, when not everything is (RFC 8598). */
  readonly domains?: readonly string[];
  /** For clients that ask for some (RFC 9464). */
  readonly encryptedDns?: readonly ResolverPolicy[];
  /** DS records of these domains, for clients that ask for some. */
  readonly trustAnchors?: Readonly<Record<string, readonly TrustAnchor[]>>;
  /** Prefixes reachable behind us; informs clients that honour INTERNAL_IP4_SUBNET and INTERNAL_IP6_SUBNET. */
  readonly subnets?: readonly string[];
}

/** A resolver that speaks encrypted DNS, with addresses of both families. */
export interface ResolverPolicy extends EncryptedResolver {
  /** SHA2-256 of the SubjectPublicKeyInfo of its certificate. */
  readonly key?: Uint8Array | undefined;
}

export interface Lease {
  readonly pool: string;
  readonly ip: string;
  readonly identity: Identification;
  /** Undefined when nobody holds it now: remembered for the identity. */
  readonly ikeSa: number | undefined;
}

/** What is known of a client that asks for an address. */
export interface AddressRequest {
  readonly connection: string;
  readonly remoteId: Identification;
  /** Pools of its connection. */
  readonly pools: readonly string[];
  readonly families: readonly (4 | 6)[];
  /** Addresses that it asks for by name: those that it had before, as a rule. */
  readonly wanted: readonly string[];
}

export function addressRequestOf({ connection, remoteId, pools, requested }: LeaseAsk): AddressRequest {
  const wanted = wantedFamilies(requested);
  const families = wanted.map(({ family }) => family);
  return { connection, remoteId, pools, families, wanted: wanted.flatMap(({ ip }) => ip ?? []) };
}

type LeaseAsk = Extract<Ask, { kind: 'lease' }>;

/**
 * Addresses for remote clients (RFC 7296 §2.19). An identity gets the address back that it had last, as long as no pool had to give it
 * to somebody else; a second device with the same identity gets another one.
 */
export class LeaseTable {
  readonly #pools = new Map<string, Pool>();
  readonly #held = new Map<number, Held[]>();
  /** Addresses that more than one IKE SA holds, while a peer authenticates anew: how many more. */
  readonly #shared = new Map<string, number>();
  /** The address an identity had last, by pool and family; oldest first, bounded. */
  readonly #remembered = new Map<string, { readonly pool: string; readonly ip: string; readonly identity: Identification }>();

  /** @throws ConfigError `POOL_RANGE` */
  constructor(pools: readonly PoolPolicy[] = []) {
    this.setPools(pools);
  }

  /** Addresses that are held stay with their holders where the new pools contain them. */
  setPools(pools: readonly PoolPolicy[]): void {
    const next = new Map(pools.map((policy) => [policy.name, new Pool(policy)]));
    for (const held of [...this.#held.values()].flat()) next.get(held.pool)?.takeExactly(held.ip);
    this.#pools.clear();
    for (const [name, pool] of next) this.#pools.set(name, pool);
  }

  /** An IKE SA that already holds addresses gets the same ones. Without anything asked for, nothing is given. */
  lease(ikeSa: number, ask: LeaseAsk): AskAnswers['lease'] {
    const pools = this.#named(ask);
    return this.#answer(ikeSa, ask, (wanted) => this.#share(wanted, ask.alongside ?? []) ?? this.#grant(pools, ask, wanted));
  }

  /**
   * These very addresses, of the families that are asked for, and no others. What an IKE SA of the same peer holds is lent again.
   * @throws NegotiationFailure `ADDRESS_TAKEN`, `ADDRESS_NOT_IN_POOL`
   */
  leaseThese(ikeSa: number, ask: LeaseAsk, ips: readonly string[]): AskAnswers['lease'] {
    const literals = ips.map((ip) => tryParseIp(ip) ?? ip);
    const strange = literals.find((ip) => typeof ip === 'string');
    if (strange !== undefined) throw notInPool(String(strange), ask.pools);
    const chosen = literals.map((octets) => formatIp(octets as Uint8Array));
    return this.#answer(ikeSa, ask, ({ family }) => {
      const ip = chosen.find((each) => each.includes(':') === (family === 6));
      return ip === undefined ? undefined : (this.#share({ family, ip }, ask.alongside ?? []) ?? this.#takeThis(ask, { family, ip }));
    });
  }

  #answer(ikeSa: number, ask: LeaseAsk, grant: (wanted: Wanted) => Held | undefined): AskAnswers['lease'] {
    const pools = this.#named(ask);
    const families = wantedFamilies(ask.requested);
    const before = this.#held.get(ikeSa) ?? [];
    const held = [...before];
    try {
      for (const wanted of families) {
        if (held.some((h) => h.family === wanted.family)) continue;
        const granted = grant(wanted);
        if (granted !== undefined) held.push(granted);
      }
    } catch (error) {
      for (const each of held.slice(before.length)) this.#giveBack(each);
      throw error;
    }
    const served = ([4, 6] as const).filter((family) => pools.some((pool) => pool.gives(family)));
    if (families.length > 0 && held.length === 0) return { ok: false, error: exhausted(ask.pools, pools.length), families: served };
    if (held.length > 0) this.#held.set(ikeSa, held);
    const attributes = replyAttributes(held, this.#poolsOf(held, pools), ask.requested);
    return { ok: true, attributes, addresses: held.map((h) => h.ip), families: served };
  }

  /** An IKE SA is gone; its addresses are remembered for its identity. */
  release(ikeSa: number): void {
    for (const held of this.#held.get(ikeSa) ?? []) {
      if (!this.#giveBack(held) || held.anonymous) continue;
      const key = memoryKey(held.pool, held.family, held.identity);
      this.#remembered.delete(key);
      this.#remembered.set(key, held);
    }
    this.#held.delete(ikeSa);
    for (const key of this.#remembered.keys()) {
      if (this.#remembered.size <= MOST_REMEMBERED) break;
      this.#remembered.delete(key);
    }
  }

  /** A rekey put another IKE SA in the place of the one that leased (RFC 7296 §2.8). */
  transfer(from: number, to: number): void {
    const held = this.#held.get(from);
    if (held === undefined) return;
    this.#held.delete(from);
    this.#held.set(to, held);
  }

  /** Takes addresses that an IKE SA had before a restart. Those that are not in any pool any more are left out. */
  restore(ikeSa: number, identity: Identification, addresses: readonly string[], anonymous = false): void {
    const held: Held[] = [];
    for (const ip of addresses) {
      for (const pool of this.#pools.values()) {
        if (pool.takeExactly(ip) || this.#shareWith(identity, ip)) {
          held.push({ pool: pool.policy.name, ip, family: ip.includes(':') ? 6 : 4, identity, anonymous });
          break;
        }
      }
    }
    if (held.length > 0) this.#held.set(ikeSa, held);
  }

  list(): readonly Lease[] {
    const held = [...this.#held].flatMap(([ikeSa, leases]) => leases.map(({ pool, ip, identity }) => ({ pool, ip, identity, ikeSa })));
    const taken = new Set(held.map((lease) => lease.ip));
    const remembered = [...this.#remembered.values()]
      .filter((m) => !taken.has(m.ip))
      .map(({ pool, ip, identity }) => ({ pool, ip, identity, ikeSa: undefined }));
    return [...held, ...remembered];
  }

  #named({ pools }: LeaseAsk): readonly Pool[] {
    return pools.map((name) => this.#pools.get(name)).filter((pool) => pool !== undefined);
  }

  #takeThis(ask: LeaseAsk, { family, ip }: { readonly family: 4 | 6; readonly ip: string }): Held {
    const { remoteId: identity, anonymous = false } = ask;
    const pool = this.#named(ask).find((each) => each.contains(ip));
    if (pool === undefined) throw notInPool(ip, ask.pools);
    if (!pool.takeExactly(ip)) throw taken(ip, pool.policy.name, this.#holderOf(ip));
    return { pool: pool.policy.name, ip, family, identity, anonymous };
  }

  #holderOf(ip: string): Identification | undefined {
    return [...this.#held.values()].flat().find((held) => held.ip === ip)?.identity;
  }

  /** The core says whose they are; that the very address is asked for tells a new authentication from a second device. */
  #share(wanted: Wanted, alongside: readonly number[]): Held | undefined {
    if (wanted.ip === undefined) return undefined;
    const held = alongside.flatMap((ikeSa) => this.#held.get(ikeSa) ?? []).find(({ ip }) => ip === wanted.ip);
    if (held !== undefined) this.#shared.set(held.ip, (this.#shared.get(held.ip) ?? 0) + 1);
    return held;
  }

  /** A restart in the middle of a new authentication brings both IKE SAs back. */
  #shareWith(identity: Identification, ip: string): boolean {
    const key = identityKey(identity);
    const another = [...this.#held.values()].flat().some((held) => held.ip === ip && identityKey(held.identity) === key);
    if (another) this.#shared.set(ip, (this.#shared.get(ip) ?? 0) + 1);
    return another;
  }

  /** @returns false where another IKE SA of the same peer has it, too */
  #giveBack({ pool, ip }: Held): boolean {
    if (this.#stillHeld(ip)) return false;
    this.#pools.get(pool)?.giveBack(ip);
    return true;
  }

  #stillHeld(ip: string): boolean {
    const others = this.#shared.get(ip) ?? 0;
    if (others > 1) this.#shared.set(ip, others - 1);
    else this.#shared.delete(ip);
    return others > 0;
  }

  /** RFC 7619 §2.5: who is nobody in particular takes what is free; an address that it names may be what somebody else is known by. */
  #grant(pools: readonly Pool[], { remoteId: identity, anonymous = false }: LeaseAsk, wanted: Wanted): Held | undefined {
    for (const pool of pools) {
      const name = pool.policy.name;
      const last = anonymous ? undefined : this.#remembered.get(memoryKey(name, wanted.family, identity));
      const ip =
        (last !== undefined && pool.takeExactly(last.ip) ? last.ip : undefined) ??
        (!anonymous && wanted.ip !== undefined && pool.takeExactly(wanted.ip) ? wanted.ip : undefined) ??
        pool.take(wanted.family);
      if (ip !== undefined) return { pool: name, ip, family: wanted.family, identity, anonymous };
    }
    return undefined;
  }

  /** DNS and subnets come from the pools an address was taken from; without an address, from all that were named. */
  #poolsOf(held: readonly Held[], named: readonly Pool[]): readonly Pool[] {
    const used = new Set(held.map((h) => h.pool));
    return used.size === 0 ? named : [...used].map((name) => this.#pools.get(name)).filter((pool) => pool !== undefined);
  }
}

interface Held {
  readonly pool: string;
  readonly ip: string;
  readonly family: 4 | 6;
  readonly identity: Identification;
  readonly anonymous?: boolean;
}

interface Wanted {
  readonly family: 4 | 6;
  /** Undefined: any. */
  readonly ip: string | undefined;
}

class Pool {
  readonly policy: PoolPolicy;
  readonly #ranges: readonly AddressPool[];

  constructor(policy: PoolPolicy) {
    this.policy = policy;
    this.#ranges = policy.ranges.map((range) => new AddressPool(range, policy.reserved));
  }

  /** Addresses of that family are its to give, free ones or not. */
  gives(family: 4 | 6): boolean {
    return this.#ranges.some((range) => range.family === family);
  }

  take(family: 4 | 6): string | undefined {
    for (const range of this.#ranges) {
      const ip = range.family === family ? range.take() : undefined;
      if (ip !== undefined) return ip;
    }
    return undefined;
  }

  contains(ip: string): boolean {
    return this.#ranges.some((range) => range.contains(ip));
  }

  takeExactly(ip: string): boolean {
    return this.#ranges.some((range) => range.takeExactly(ip));
  }

  giveBack(ip: string): void {
    for (const range of this.#ranges) range.giveBack(ip);
  }

  prefixLength(ip: string): number {
    return this.#ranges.find((range) => range.contains(ip))?.prefixLength ?? 128;
  }
}

/** RFC 7296 §3.15.1: an empty or all-zero value asks for any address; an INTERNAL_IP6_ADDRESS has a prefix length behind it. */
function wantedFamilies(requested: readonly ConfigurationAttribute[]): Wanted[] {
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

function replyAttributes(
  held: readonly Held[],
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

function exhausted(names: readonly string[], known: number): NegotiationFailure {
  if (known === 0) {
    return new NegotiationFailure(
      `the client asks for an address, but there is no pool ${names.length > 0 ? names.join(', ') : 'for its connection'}`,
      {
        code: 'POOL_UNKNOWN',
        section: 'RFC 7296 §3.15.4',
        notify: NotifyType.INTERNAL_ADDRESS_FAILURE,
        hint: 'Name a pool in the connection and define it under pools.',
      },
    );
  }
  return new NegotiationFailure(`no address of the wanted kind is free in ${names.join(', ')}`, {
    code: 'POOL_EXHAUSTED',
    section: 'RFC 7296 §3.15.4',
    notify: NotifyType.INTERNAL_ADDRESS_FAILURE,
    hint: 'Make the pool larger, or end IKE SAs that nobody uses (`tunnelwright sas` lists them).',
  });
}

function notInPool(ip: string, pools: readonly string[]): NegotiationFailure {
  return new NegotiationFailure(`the address ${ip.slice(0, 64)} that was chosen is in no pool of the connection`, {
    code: 'ADDRESS_NOT_IN_POOL',
    section: 'RFC 7296 §3.15.4',
    notify: NotifyType.INTERNAL_ADDRESS_FAILURE,
    hint: `Choose one of ${pools.join(', ') || 'a pool that the connection names'}, or make the pool larger.`,
  });
}

function taken(ip: string, pool: string, holder: Identification | undefined): NegotiationFailure {
  const who = holder === undefined ? 'it is the gateway’s own, or the first or last of its network' : `${formatIdentity(holder)} has it`;
  return new NegotiationFailure(`the address ${ip} that was chosen cannot be given from ${pool}: ${who}`, {
    code: 'ADDRESS_TAKEN',
    section: 'RFC 7296 §3.15.4',
    notify: NotifyType.INTERNAL_ADDRESS_FAILURE,
    hint: 'Choose another, or end the IKE SA that holds it (`tunnelwright sas` lists them).',
  });
}

const identityKey = ({ idType, data }: Identification): string => `${idType} ${toHex(data)}`;
const memoryKey = (pool: string, family: 4 | 6, identity: Identification): string => `${pool} ${family} ${identityKey(identity)}`;
const unique = (texts: readonly string[]): readonly string[] => [...new Set(texts)];

const MOST_REMEMBERED = 65_536;
