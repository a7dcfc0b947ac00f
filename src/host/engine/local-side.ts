import { type Address, ApiMisuse, DataPlaneError, isIpv6, TimedOut, tryParseIp } from '../../core/bytes/index.ts';
import type { Millis, Observation } from '../../core/ike/effects.ts';
import type { Connection } from '../../core/ike/policy.ts';
import type { Platform } from '../platform/platform.ts';
import { AddressWatch } from './address-watch.ts';
import type { Counters } from './counters.ts';
import { type LocalSockets, type Ports, SocketSet, type SocketSinks } from './sockets.ts';

export interface ListenOptions {
  /** Literals; `%any` is every address of this machine, also those that appear later. None: sockets are opened where a peer is dialled. */
  readonly addresses: readonly string[];
  readonly ports: Ports;
  /** Take any free ports where these are forbidden or taken. */
  readonly fallback?: boolean;
}

export interface LocalSideEvents {
  /** From where peers can be reached now: sockets stand there. */
  onAddresses(own: OwnAddresses): void;
  /** Addresses at which the peer of a connection is besides the one that was dialled (RFC 4555 §3.4). */
  othersOf(connection: string): readonly string[];
  /** `nextDeadline` is sooner than it was. */
  onSooner(): void;
  onFailure(what: string, error: unknown): void;
}

export type OwnAddresses = Omit<Extract<Observation, { kind: 'local-addresses' }>, 'kind'>;

/** The two ends of a path to a peer. */
interface Approach {
  readonly local: Address;
  readonly remote: Address;
  /** `localised` says something else than before. */
  readonly learned: boolean;
}

/** Our end of every path: on which addresses and ports we receive, and from which we would send to a peer. It follows a machine that roams. */
export class LocalSide {
  readonly sockets: SocketSet;
  readonly #platform: Platform;
  readonly #events: LocalSideEvents;
  readonly #watch: AddressWatch;
  /** Ports of addresses that are opened on demand. */
  #ports: Ports = ANY_PORTS;
  #fallback = false;
  #anyAddress = false;
  /** Nothing but what was named to `listen`. */
  #named: readonly string[] = [];
  /** From where the peers of connections without an own address are reached, by connection. */
  readonly #sources = new Map<string, { readonly remoteIp: string; localIp: string; readonly roams: boolean }>();
  /** Addresses that are gone, and since when. */
  #lost: ReadonlyMap<string, Millis> = new Map();
  #told = '';
  /** Ends the machine's own word of changes, where it gives any. */
  #unwatch: Promise<() => Promise<void>> | undefined;

  constructor(platform: Platform, counters: Counters, sinks: Omit<SocketSinks, 'onStir'>, events: LocalSideEvents) {
    this.#platform = platform;
    this.#events = events;
    this.sockets = new SocketSet(platform, counters, { ...sinks, onStir: () => this.#onStir() });
    this.#watch = new AddressWatch(platform.udp, (addresses, changed) => this.#look(addresses, changed));
  }

  /** @throws DataPlaneError for the first address that cannot be opened; none of the new ones stays open then. */
  async listen({ addresses, ports, fallback = false }: ListenOptions): Promise<void> {
    this.#ports = ports;
    this.#fallback = fallback;
    this.#anyAddress = addresses.includes(ANY);
    this.#named = this.#anyAddress ? [] : addresses;
    const opened: string[] = [];
    const own = this.#anyAddress ? this.#platform.udp.addresses() : addresses;
    try {
      for (const ip of own) {
        if (this.sockets.get(ip) !== undefined) continue;
        await this.#open(ip);
        opened.push(ip);
      }
    } catch (error) {
      await Promise.all(opened.map((ip) => this.sockets.shut(ip)));
      throw error;
    }
    // an interface may have come up while sockets were opened
    if (this.#anyAddress) this.#startWatch(own);
    await this.#tell();
  }

  /**
   * Both ends of the path to a connection's peer, with a socket at ours.
   * @throws ApiMisuse `NO_PEER_ADDRESS`, `ONE_PORT`, TimedOut `NO_ROUTE`, DataPlaneError when the port cannot be opened
   */
  async approach(connection: Connection): Promise<Approach> {
    const remoteIp = connection.remoteAddresses.find((address) => tryParseIp(address) !== undefined);
    if (remoteIp === undefined) {
      throw new ApiMisuse(`connection ${connection.name} names no address of the peer, so it can only be answered`, {
        code: 'NO_PEER_ADDRESS',
        hint: 'Give it a remote address.',
      });
    }
    return this.#approach(connection, remoteIp, connection.name);
  }

  /** The same for a gateway to which the connection was redirected: the first of its addresses that there is a way to. */
  async approachGateway(connection: Connection, addresses: readonly string[]): Promise<Approach> {
    let failure: unknown;
    for (const ip of addresses) {
      try {
        return await this.#approach(connection, ip, `${connection.name} redirected`);
      } catch (error) {
        failure ??= error;
      }
    }
    throw failure;
  }

  /** @param key under which the source address is remembered; a space keeps it apart from the names of connections */
  async #approach(connection: Connection, remoteIp: string, key: string): Promise<Approach> {
    const localIp = ownAddress(connection, remoteIp) ?? (await this.#platform.udp.sourceFor(remoteIp));
    if (localIp === undefined) {
      throw new TimedOut(`this machine has no route to ${remoteIp}`, {
        code: 'NO_ROUTE',
        hint: 'Check the network connection, and whether the address family (IPv4, IPv6) is available here.',
      });
    }
    const { ike, nat } = await this.#open(localIp);
    this.#startWatch();
    const learned = this.#sources.get(key)?.localIp !== localIp;
    this.#sources.set(key, { remoteIp, localIp, roams: connection.mobike && this.#named.length === 0 });
    await this.#openAll(this.#platform.udp.addresses());
    await this.#tell();
    // Whoever has one port for both roles speaks through the encapsulating socket from the first message on (RFC 7296 §2.23).
    if (connection.remotePort === connection.remoteNatPort)
      return { local: nat.local, remote: { ip: remoteIp, port: connection.remoteNatPort }, learned };
    if (ike === undefined) {
      throw new ApiMisuse(`we have one port for IKE and ESP, so connection ${connection.name} must begin on the peer’s port for both`, {
        code: 'ONE_PORT',
        hint: 'Set remote_port to the same as remote_nat_port (4500).',
      });
    }
    return { local: ike.local, remote: { ip: remoteIp, port: connection.remotePort }, learned };
  }

  /** The connections as the core can dial them again by itself: with the own address that was found for them. */
  localised(connections: readonly Connection[]): readonly Connection[] {
    return connections.map((connection) => {
      const source = this.#sources.get(connection.name);
      if (source === undefined || ownAddress(connection, source.remoteIp) !== undefined) return connection;
      return { ...connection, localAddresses: [source.localIp, ...connection.localAddresses] };
    });
  }

  nextDeadline(): Millis | undefined {
    return this.#watch.nextDeadline();
  }

  expire(now: Millis): void {
    this.#watch.expire(now);
  }

  async close(): Promise<void> {
    const unwatch = await this.#unwatch;
    await unwatch?.();
    await this.sockets.close();
  }

  #startWatch(known?: readonly string[]): void {
    this.#watch.start(this.#platform.clock.now(), known);
    this.#unwatch ??= this.#platform.udp.watch?.(() => this.#onChange()).catch(() => async () => undefined);
  }

  #onChange(): void {
    if (this.#watch.heard(this.#platform.clock.now())) this.#events.onSooner();
  }

  async #open(ip: string): Promise<LocalSockets> {
    try {
      return await this.sockets.open(ip, this.#ports);
    } catch (error) {
      const portTrouble = error instanceof DataPlaneError && (error.code === 'PORT_NEEDS_PRIVILEGE' || error.code === 'ADDRESS_IN_USE');
      if (!this.#fallback || !portTrouble) throw error;
      return this.sockets.open(ip, { ...ANY_PORTS, tcp: this.#ports.tcp === undefined ? undefined : 0 });
    }
  }

  /** Nothing says that an address went: Linux goes on sending from one whose interface is down, over another. */
  #onStir(): void {
    if (this.#sources.size > 0 && this.#watch.alert(this.#platform.clock.now())) this.#events.onSooner();
  }

  /** Routes may change while addresses stay; asking for a few of them is cheap. */
  #look(addresses: readonly string[], changed: boolean): void {
    this.sockets.rest();
    this.#shutLost(addresses);
    if (changed) this.#follow(addresses);
    else if (this.#sources.size > 0 && this.#sources.size <= MOST_ROUTES) this.#settle(this.#tell());
  }

  /** New addresses get sockets before anybody hears of them: something may be sent from there at once (RFC 4555 §3.5). */
  #follow(addresses: readonly string[]): void {
    this.#settle(this.#openAll(addresses).then(() => this.#tell()));
  }

  #settle(work: Promise<void>): void {
    work.catch((error: unknown) => this.#events.onFailure('following the addresses', error));
  }

  async #tell(): Promise<void> {
    const remotes = [...this.#sources].flatMap(([key, { remoteIp }]) => [remoteIp, ...this.#events.othersOf(key.split(' ')[0]!)]);
    const sources: Record<string, string> = {};
    for (const remote of new Set(remotes)) {
      const source = await this.#platform.udp.sourceFor(remote);
      if (source !== undefined) sources[remote] = source;
    }
    const ports = Object.fromEntries(this.sockets.all.map(({ ip, nat }) => [ip, nat.local.port]));
    // in the order of the machine, whatever was opened first
    const own = { addresses: this.#platform.udp.addresses().filter((ip) => ip in ports), ports, sources };
    const told = JSON.stringify(own);
    if (told === this.#told) return;
    this.#told = told;
    this.#events.onAddresses(own);
  }

  /** Not at once: what is under way may still be sent from there in vain, and the address may be back. */
  #shutLost(addresses: readonly string[]): void {
    const now = this.#platform.clock.now();
    const lost = new Map<string, Millis>();
    for (const { ip } of this.sockets.all) {
      if (addresses.includes(ip) || this.#named.includes(ip)) continue;
      const since = this.#lost.get(ip) ?? now;
      if (now - since < LOST) lost.set(ip, since);
      else this.#settle(this.sockets.shut(ip));
    }
    this.#lost = lost;
  }

  async #openAll(addresses: readonly string[]): Promise<void> {
    for (const source of this.#sources.values()) source.localIp = (await this.#platform.udp.sourceFor(source.remoteIp)) ?? source.localIp;
    const wanted = new Set([...this.#sources.values()].map(({ localIp }) => localIp));
    const roams = [...this.#sources.values()].some((source) => source.roams && !isLoopback(source.localIp));
    for (const ip of addresses) if (this.#anyAddress || (roams && wanted.size < MOST_ADDRESSES && !isLoopback(ip))) wanted.add(ip);
    for (const ip of wanted) {
      if (!addresses.includes(ip) || this.sockets.get(ip) !== undefined) continue;
      try {
        await this.#open(ip);
      } catch (error) {
        this.#events.onFailure(`listening on ${ip}`, error);
      }
    }
  }
}

const ownAddress = (connection: Connection, remoteIp: string): string | undefined =>
  connection.localAddresses.find((address) => tryParseIp(address) !== undefined && isIpv6(address) === isIpv6(remoteIp));

const isLoopback = (ip: string): boolean => ip === '::1' || ip.startsWith('127.');

/** Enough for every way out of a machine; a host of many containers has more addresses than ways. */
const MOST_ADDRESSES = 8;
const MOST_ROUTES = 16;
/** After which an address that is gone has no sockets any more. */
const LOST: Millis = 3000;
const ANY = '%any';
const ANY_PORTS: Ports = { ike: 0, nat: 0 };
