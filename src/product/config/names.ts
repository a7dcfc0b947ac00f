import { ConfigError, tryParseIp } from '../../core/bytes/index.ts';
import type { Lookup } from '../../host/engine/gateway-names.ts';
import type { CompiledConfig, CompiledConnection } from './compiled.ts';

export type { Lookup };

/**
 * Puts addresses in the place of DNS names, as the core wants them. A name of a connection that is `needed` must resolve; the others are
 * left without it, since a peer that cannot be found may still call.
 * @throws ConfigError `NAME_NOT_FOUND`
 */
export async function resolveNames(
  config: CompiledConfig,
  lookup: Lookup,
  needed: (connection: CompiledConnection) => boolean = () => false,
): Promise<CompiledConfig> {
  const connections = await Promise.all(
    config.connections.map(async (connection) => ({
      ...connection,
      localAddresses: await resolveAll(connection.localAddresses, lookup, undefined),
      remoteAddresses: await resolveAll(connection.remoteAddresses, lookup, needed(connection) ? connection.name : undefined),
    })),
  );
  const { knownPeers } = config.limits;
  if (knownPeers === undefined) return { ...config, connections };
  const addresses = await resolveAll(knownPeers.addresses, lookup, 'limits.known_peers');
  return { ...config, connections, limits: { ...config.limits, knownPeers: { ...knownPeers, addresses } } };
}

export const isName = (address: string): boolean =>
  !address.startsWith('%any') && !address.includes('/') && tryParseIp(address) === undefined;

async function resolveAll(addresses: readonly string[], lookup: Lookup, neededBy: string | undefined): Promise<string[]> {
  const resolved: string[] = [];
  for (const address of addresses) {
    if (!isName(address)) resolved.push(address);
    else resolved.push(...(await resolveOne(address, lookup, neededBy)));
  }
  return [...new Set(resolved)];
}

async function resolveOne(name: string, lookup: Lookup, neededBy: string | undefined): Promise<readonly string[]> {
  let cause: unknown;
  try {
    const found = await lookup(name);
    if (found.length > 0) return found;
  } catch (error) {
    cause = error;
  }
  if (neededBy === undefined) return [];
  const why = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
  throw new ConfigError(`${neededBy}: the name ${name} has no address${why}`, {
    code: 'NAME_NOT_FOUND',
    hint: 'Check its spelling and that this machine can ask a DNS server, or give the address itself.',
    ...(cause === undefined ? {} : { cause }),
  });
}
