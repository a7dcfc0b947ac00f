import { type Address, formatAddress, tryParseIp } from '../../core/bytes/index.ts';
import { openLocalUdp } from '../../host/platform/local-ports.ts';
import type { Way } from '../../host/platform/way.ts';
import { parseUdp, type SocksTarget, writeUdp } from './socks-messages.ts';

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
  const names = new AskedNames(way);
  let client: Address | undefined;
  near.onDatagram = (data, from) => {
    if (!isSame(from.ip, clientIp)) return;
    client ??= from;
    if (from.port !== client.port) return;
    const datagram = parseUdp(data);
    if (datagram === undefined) return;
    // one whose name nobody knows is lost, as UDP's are
    names.find(datagram.target).then(
      ({ ip, port }) => far.send(datagram.payload, { host: ip, port }),
      () => undefined,
    );
  };
  far.onDatagram = (data, from) => {
    if (client === undefined) return;
    near.send(writeUdp({ host: names.of(from), port: from.port }, data), { host: client.ip, port: client.port });
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

/** Who asked for a name hears from that name: it knows no address to expect answers from. */
class AskedNames {
  readonly #way: Way;
  readonly #found = new Map<string, Promise<string>>();
  /** By address and port, how the client wrote it last. */
  readonly #asked = new Map<string, string>();

  constructor(way: Way) {
    this.#way = way;
  }

  async find({ host, port }: SocksTarget): Promise<Address> {
    const address = { ip: tryParseIp(host) === undefined ? await this.#resolve(host) : host, port };
    if (this.#asked.size >= MOST_NAMES) this.#asked.clear();
    this.#asked.set(formatAddress(address), host);
    return address;
  }

  of(from: Address): string {
    return this.#asked.get(formatAddress(from)) ?? from.ip;
  }

  #resolve(name: string): Promise<string> {
    const known = this.#found.get(name);
    if (known !== undefined) return known;
    if (this.#found.size >= MOST_NAMES) this.#found.clear();
    const found = this.#way.resolve(name);
    this.#found.set(name, found);
    // the next datagram asks again
    found.catch(() => this.#found.delete(name));
    return found;
  }
}

/** A client over IPv4 on a port that takes both families is `::ffff:192.0.2.1`. */
const isSame = (one: string, other: string): boolean => plain(one) === plain(other);

function plain(ip: string): string {
  const bare = ip.startsWith('::ffff:') ? ip.slice(7) : ip;
  return tryParseIp(bare)?.length === 4 ? bare : ip;
}

const MOST_NAMES = 256;
