import { DataPlaneError, isIpv6, MalformedMessage } from '../../core/bytes/index.ts';
import type { RandomSource } from '../../core/crypto/random.ts';
import type { Millis } from '../../core/ike/effects.ts';
import { Ready } from '../../core/netstack/index.ts';
import { isInDomain } from '../../core/wire/split-dns.ts';
import type { Clock } from '../platform/clock.ts';
import type { StackDriver } from '../platform/stack-driver.ts';
import { type DnsAnswer, DnsType, parseDnsAnswer, writeDnsQuery } from './dns-message.ts';
import type { Lookup } from './gateway-names.ts';

export interface InnerDnsOptions {
  readonly driver: StackDriver;
  readonly clock: Clock;
  readonly random: Pick<RandomSource, 'secret'>;
  /** Literals, the preferred one first. */
  readonly servers: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks the DNS servers behind the tunnel, through the tunnel, so that no name leaks outside of it.
 * @returns an address of a family that we have inside, IPv6 preferred
 * @throws DataPlaneError `ENOTFOUND` when the name has none, `ETIMEDOUT` when no server answers
 */
export async function resolveInside(name: string, options: InnerDnsOptions): Promise<string> {
  const { driver, servers } = options;
  const own = driver.stack.addresses;
  const types = [...(own.some(isIpv6) ? [DnsType.AAAA] : []), ...(own.every(isIpv6) ? [] : [DnsType.A])];
  let answered = false;
  for (const server of servers) {
    for (const type of types) {
      const answer = await ask(server, name, type, options);
      answered ||= answer !== undefined;
      const [address] = answer?.addresses ?? [];
      if (address !== undefined) return address;
      if (answer === undefined) break; // a server that is silent about one is silent about the other
    }
    if (answered) break;
  }
  throw answered
    ? new DataPlaneError(`${name} has no address`, {
        code: 'ENOTFOUND',
        hint: `The DNS server behind the tunnel (${servers.join(', ')}) was asked; check the spelling.`,
      })
    : new DataPlaneError(`no DNS server answers behind the tunnel: ${servers.join(', ')}`, {
        code: 'ETIMEDOUT',
        hint: 'Give the address itself, or check that the server may be reached through the tunnel.',
      });
}

/** What a gateway told of names, as far as it is heeded. */
export interface InnerDns {
  readonly servers: readonly string[];
  /** Names in these are resolved by those servers alone; none: all names are (RFC 8598 §5). */
  readonly domains: readonly string[];
}

/**
 * Who resolves a name: the servers of the gateway with the longest domain that holds it, and nobody else; where it lies in none, servers that
 * came without domains; else nobody inside.
 * @returns no servers and `outside` where it is the machine's own resolver's business
 */
export function placeOf(host: string, told: readonly InnerDns[]): { readonly servers: readonly string[]; readonly outside: boolean } {
  const name = host.toLowerCase().replace(/\.$/, '');
  const longest = ({ domains }: InnerDns) =>
    Math.max(0, ...domains.filter((domain) => isInDomain(name, domain)).map(({ length }) => length));
  const length = Math.max(0, ...told.map(longest));
  const chosen = told.filter((each) => (length > 0 ? longest(each) === length : each.domains.length === 0));
  const servers = [...new Set(chosen.flatMap((each) => each.servers))];
  return { servers, outside: servers.length === 0 && told.some(({ domains }) => domains.length > 0) };
}

/** A name that no gateway claims, asked of the machine's own resolver (RFC 8598 §5). @throws DataPlaneError `ENOTFOUND` */
export async function resolveOutside(
  name: string,
  { lookup, own }: { readonly lookup: Lookup | undefined; readonly own: readonly string[] },
): Promise<string> {
  const found = await lookup?.(name).catch(() => []);
  const address = found?.find((ip) => own.some((each) => isIpv6(each) === isIpv6(ip)));
  if (address !== undefined) return address;
  throw new DataPlaneError(`${name} has no address`, {
    code: 'ENOTFOUND',
    hint: 'It lies in none of the domains that the gateway resolves, so the resolver of this machine was asked; check the spelling.',
  });
}

async function ask(server: string, name: string, type: number, options: InnerDnsOptions): Promise<DnsAnswer | undefined> {
  const { driver, clock, random, signal } = options;
  const [high, low] = random.secret(2);
  const query = writeDnsQuery((high! << 8) | low!, name, type);
  const remote = { ip: server, port: DNS_PORT };
  const endpoint = driver.bindUdp({ remote });
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      signal?.throwIfAborted();
      endpoint.send(query, remote);
      driver.wake();
      const answer = await new Promise<DnsAnswer | undefined>((resolve) => {
        const timer = clock.after(PATIENCE, () => resolve(undefined));
        const finish = (found: DnsAnswer | undefined): void => {
          timer.cancel();
          resolve(found);
        };
        endpoint.onReady = (events) => {
          for (let datagram = endpoint.receive(); datagram !== undefined; datagram = endpoint.receive()) {
            const found = tryParse(datagram.data, query, type);
            if (found !== undefined) finish(found);
          }
          if ((events & Ready.ERROR) !== 0 && endpoint.takeError() !== undefined) finish(undefined);
        };
      });
      if (answer !== undefined) return answer;
    }
    return undefined;
  } finally {
    endpoint.close();
    driver.wake();
  }
}

function tryParse(data: Uint8Array, query: Uint8Array, type: number): DnsAnswer | undefined {
  try {
    return parseDnsAnswer(data, query, type);
  } catch (error) {
    if (error instanceof MalformedMessage) return undefined;
    throw error;
  }
}

const DNS_PORT = 53;
const ATTEMPTS = 3;
const PATIENCE: Millis = 2000;
