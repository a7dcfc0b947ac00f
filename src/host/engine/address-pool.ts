import { ConfigError, formatIp, isIpv6, tryParseIp } from '../../core/bytes/index.ts';

/** A set of addresses that are handed out one by one: IPv4 or IPv6, never both. */
export class AddressPool {
  readonly family: 4 | 6;
  /** Of the prefix it was written as; 32 or 128 for a plain range. Goes into INTERNAL_IP6_ADDRESS. */
  readonly prefixLength: number;
  readonly #first: bigint;
  readonly #last: bigint;
  readonly #reserved: ReadonlySet<bigint>;
  /** Addresses from here on were never handed out. */
  #fresh: bigint;
  /** Handed back, oldest first. */
  readonly #returned = new Set<bigint>();
  readonly #taken = new Set<bigint>();

  /**
   * @param range `10.66.0.0/24`, `fd5a:1c9e::/64` or `10.66.0.10-10.66.0.99`. Of a prefix, network and broadcast address of IPv4 and the
   *   subnet-router anycast address of IPv6 (RFC 4291 §2.6.1) are left out.
   * @param reserved literals that are never handed out: the gateway's own.
   * @throws ConfigError `POOL_RANGE`
   */
  constructor(range: string, reserved: readonly string[] = []) {
    const parsed = parseRange(range);
    this.family = parsed.family;
    this.prefixLength = parsed.prefixLength;
    this.#first = parsed.first;
    this.#last = parsed.last;
    this.#fresh = parsed.first;
    this.#reserved = new Set(reserved.filter((ip) => isIpv6(ip) === (parsed.family === 6)).map((ip) => toNumber(ip)));
  }

  /** How many addresses there are in all; more than 2^53 is `Infinity`. */
  get size(): number {
    const size = this.#last - this.#first + 1n - BigInt([...this.#reserved].filter((n) => this.#holds(n)).length);
    return size > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(size);
  }

  get taken(): number {
    return this.#taken.size;
  }

  /** @returns an address nobody has: one never used, else the one that was given back longest ago; undefined when all are taken. */
  take(): string | undefined {
    const [oldest] = this.#returned;
    if (oldest !== undefined && this.#returned.size >= MOST_RETURNED) return this.#hand(oldest);
    while (this.#fresh <= this.#last) {
      const number = this.#fresh++;
      if (this.#free(number)) return this.#hand(number);
    }
    return oldest === undefined ? undefined : this.#hand(oldest);
  }

  /** Takes this very address. @returns false when it is not in the pool, reserved or taken. */
  takeExactly(ip: string): boolean {
    const octets = tryParseIp(ip);
    if (octets === undefined || isIpv6(ip) !== (this.family === 6)) return false;
    const number = fromOctets(octets);
    if (!this.#holds(number) || !this.#free(number)) return false;
    this.#hand(number);
    return true;
  }

  contains(ip: string): boolean {
    const octets = tryParseIp(ip);
    return octets !== undefined && isIpv6(ip) === (this.family === 6) && this.#holds(fromOctets(octets));
  }

  giveBack(ip: string): void {
    if (!this.contains(ip)) return;
    const number = toNumber(ip);
    if (this.#taken.delete(number)) this.#returned.add(number);
  }

  #holds(number: bigint): boolean {
    return number >= this.#first && number <= this.#last;
  }

  #free(number: bigint): boolean {
    return !this.#taken.has(number) && !this.#reserved.has(number);
  }

  #hand(number: bigint): string {
    this.#returned.delete(number);
    this.#taken.add(number);
    return formatIp(toOctets(number, this.family));
  }
}

interface Range {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
  readonly prefixLength: number;
}

function parseRange(text: string): Range {
  const dash = text.indexOf('-');
  const range = dash >= 0 ? between(text.slice(0, dash).trim(), text.slice(dash + 1).trim()) : prefix(text.trim());
  if (range === undefined || range.first > range.last) {
    throw new ConfigError(`not a pool of addresses: ${text.slice(0, 100)}`, {
      code: 'POOL_RANGE',
      hint: 'Write a prefix (10.66.0.0/24, fd5a:1c9e::/64) or first-last (10.66.0.10-10.66.0.99).',
    });
  }
  return range;
}

function between(from: string, to: string): Range | undefined {
  const first = tryParseIp(from);
  const last = tryParseIp(to);
  if (first === undefined || last === undefined || first.length !== last.length) return undefined;
  const family = first.length === 4 ? 4 : 6;
  return { family, first: fromOctets(first), last: fromOctets(last), prefixLength: family === 4 ? 32 : 128 };
}

function prefix(text: string): Range | undefined {
  const [ip = '', length, ...rest] = text.split('/');
  const octets = tryParseIp(ip);
  if (octets === undefined || rest.length > 0) return undefined;
  const bits = octets.length * 8;
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return undefined;
  const prefixLength = length === undefined ? bits : Number(length);
  if (prefixLength > bits) return undefined;
  const span = 1n << BigInt(bits - prefixLength);
  const network = (fromOctets(octets) / span) * span;
  const whole = { family: octets.length === 4 ? 4 : 6, first: network, last: network + span - 1n, prefixLength } as const;
  if (whole.family === 4) return prefixLength <= 30 ? { ...whole, first: whole.first + 1n, last: whole.last - 1n } : whole;
  return prefixLength <= 126 ? { ...whole, first: whole.first + 1n } : whole;
}

function fromOctets(octets: Uint8Array): bigint {
  let number = 0n;
  for (const octet of octets) number = (number << 8n) | BigInt(octet);
  return number;
}

function toOctets(number: bigint, family: 4 | 6): Uint8Array {
  const octets = new Uint8Array(family === 4 ? 4 : 16);
  for (let i = octets.length - 1, rest = number; i >= 0; i--, rest >>= 8n) octets[i] = Number(rest & 0xffn);
  return octets;
}

function toNumber(ip: string): bigint {
  return fromOctets(tryParseIp(ip) ?? new Uint8Array(0));
}

/** Bounds what is remembered of a /64, where fresh addresses never run out. */
const MOST_RETURNED = 65_536;
