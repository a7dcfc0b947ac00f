import { DataPlaneError, isIpv6, MalformedMessage } from '../../core/bytes/index.ts';
import type { RandomSource } from '../../core/crypto/random.ts';
import type { Millis } from '../../core/ike/effects.ts';
import { Ready } from '../../core/netstack/index.ts';
import type { Clock } from '../platform/clock.ts';
import type { StackDriver } from '../platform/stack-driver.ts';
import { type DnsAnswer, DnsType, parseDnsAnswer, writeDnsQuery } from './dns-message.ts';

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
