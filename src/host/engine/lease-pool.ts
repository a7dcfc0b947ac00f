import type { EncryptedResolver } from '../../core/wire/encrypted-dns.ts';
import type { TrustAnchor } from '../../core/wire/split-dns.ts';
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

/** The addresses of a pool, in all of its ranges. */
export class Pool {
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
