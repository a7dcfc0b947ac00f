import { formatIp, NegotiationFailure, toHex, tryParseIp } from '../../core/bytes/index.ts';
import type { Ask, AskAnswers } from '../../core/ike/effects.ts';
import { formatIdentity } from '../../core/pki/identity.ts';
import { NotifyType } from '../../core/wire/iana.ts';
import type { Identification } from '../../core/wire/payloads/types.ts';
import { type Given, replyAttributes, type Wanted, wantedFamilies } from './lease-attributes.ts';
import { Pool, type PoolPolicy } from './lease-pool.ts';

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

interface Held extends Given {
  readonly identity: Identification;
  readonly anonymous?: boolean;
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

const MOST_REMEMBERED = 65_536;
