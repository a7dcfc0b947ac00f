import { TimedOut, tryParseIp } from '../../core/bytes/index.ts';

/** The addresses of a DNS name, in order of preference; rejects or gives none when there are none. */
export type Lookup = (name: string) => Promise<readonly string[]>;

/** @throws TimedOut `GATEWAY_NOT_FOUND`: there may be an address later */
export async function addressesOf(gateway: string, lookup: Lookup | undefined): Promise<readonly string[]> {
  if (tryParseIp(gateway) !== undefined) return [gateway];
  let cause: unknown;
  try {
    const found = (await lookup?.(gateway)) ?? [];
    if (found.length > 0) return found;
  } catch (error) {
    cause = error;
  }
  throw new TimedOut(`the gateway ${gateway} has no address that this machine could find`, {
    code: 'GATEWAY_NOT_FOUND',
    hint: 'Can this machine ask a DNS server? The name was given by the peer, which may have it wrong.',
    ...(cause === undefined ? {} : { cause }),
  });
}
