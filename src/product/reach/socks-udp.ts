import { type Address, tryParseIp } from '../../core/bytes/index.ts';
import { openLocalUdp } from '../../host/platform/local-ports.ts';
import type { Way } from '../../host/platform/way.ts';
import { parseUdp, writeUdp } from './socks-messages.ts';

export interface Association {
  /** Where the client sends its datagrams. */
  readonly local: Address;
  /** The way is gone. */
  onEnd: (() => void) | undefined;
  close(): void;
}

export interface AssociationOptions {
  readonly way: Way;
  readonly localIp: string;
  readonly clientIp: string;
}

/** Relays datagrams of one client (RFC 1928 §7): the first that comes from its address decides its port. */
export async function associate({ way, localIp, clientIp }: AssociationOptions): Promise<Association> {
  const far = await way.openUdp();
  const near = await openLocalUdp({ ip: localIp, port: 0 }).catch((error: unknown) => {
    far.close();
    throw error;
  });
  let client: Address | undefined;
  near.onDatagram = (data, from) => {
    if (!isSame(from.ip, clientIp)) return;
    client ??= from;
    if (from.port !== client.port) return;
    const datagram = parseUdp(data);
    if (datagram !== undefined) far.send(datagram.payload, datagram.target);
  };
  far.onDatagram = (data, from) => {
    if (client === undefined) return;
    near.send(writeUdp({ host: from.ip, port: from.port }, data), { host: client.ip, port: client.port });
  };
  const association: Association = {
    local: near.local,
    onEnd: undefined,
    close: () => {
      near.close();
      far.close();
    },
  };
  far.onEnd = () => association.onEnd?.();
  return association;
}

/** A client over IPv4 on a port that takes both families is `::ffff:192.0.2.1`. */
const isSame = (one: string, other: string): boolean => plain(one) === plain(other);

function plain(ip: string): string {
  const bare = ip.startsWith('::ffff:') ? ip.slice(7) : ip;
  return tryParseIp(bare)?.length === 4 ? bare : ip;
}
