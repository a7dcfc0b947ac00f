import { networkInterfaces } from 'node:os';
import type { Duplex } from 'node:stream';
import { type Address, compareBytes, DataPlaneError, formatAddress, tryParseIp } from '../../core/bytes/index.ts';
import { isRange } from '../../core/ike/traffic-selectors.ts';
import type { AddressRangeSelector, TrafficSelector } from '../../core/wire/payloads/types.ts';
import type { Instance } from '../../host/engine/instance.ts';
import type { MachineSockets, MachineStream } from '../../host/platform/machine-sockets.ts';
import type { Way, WayListener, WayTo } from '../../host/platform/way.ts';

export interface MachineWayOptions {
  readonly instance: Pick<Instance, 'ikeSas' | 'onNotice' | 'facts'>;
  readonly sockets: MachineSockets;
  /** Inner addresses that the configuration gives us; a prefix length behind them is ignored. */
  readonly addresses: readonly string[];
}

/**
 * TCP through tunnels that belong to the machine, or to a namespace, by its ordinary sockets: from an inner address of ours to one that a
 * CHILD_SA covers, and nowhere else. A connection whose CHILD_SA goes without another in its place is reset, so that nothing of it is
 * sent past the tunnel.
 */
export class MachineWay implements Pick<Way, 'connect' | 'listenTcp'> {
  readonly #options: MachineWayOptions;
  readonly #streams = new Set<MachineStream>();
  readonly #listeners = new Set<Listener>();
  readonly #unsubscribe: () => void;

  constructor(options: MachineWayOptions) {
    this.#options = options;
    this.#unsubscribe = options.instance.onNotice(({ notice }) => {
      // when everybody has taken note of it
      if (CHANGES.has(notice.kind)) setImmediate(() => this.#look());
    });
  }

  /** @throws DataPlaneError `OUTSIDE_TUNNEL`, `NAME_OUTSIDE`, and the codes of `node:net` */
  async connect({ host, port, timeout = DIAL_TIMEOUT, signal }: WayTo): Promise<Duplex> {
    if (tryParseIp(host) === undefined) throw this.#nameless(host);
    const to = { ip: host, port };
    const from = this.#sourceFor(to);
    if (from === undefined) throw outside(to);
    const stream = await this.#options.sockets.connect({ from, to, timeout, signal });
    if (!this.#keep(stream)) throw outside(to);
    return stream;
  }

  /** At every inner address of ours, also those that come later. @throws DataPlaneError for the first one that cannot be had */
  async listenTcp(port: number, onConnection: (stream: Duplex, from: Address) => void): Promise<WayListener> {
    const listener = new Listener(this.#options.sockets, port, (stream) => {
      if (this.#keep(stream)) onConnection(stream, { ip: stream.remoteAddress!, port: stream.remotePort! });
    });
    const inner = this.#inner;
    await listener.follow(inner).catch((error: unknown) => {
      listener.close();
      throw error;
    });
    this.#listeners.add(listener);
    const close = (): void => {
      this.#listeners.delete(listener);
      listener.close();
    };
    return { address: { ip: inner[0] ?? '', port }, onEnd: undefined, close };
  }

  close(): void {
    this.#unsubscribe();
    for (const listener of this.#listeners) listener.close();
    for (const stream of this.#streams) stream.destroy();
    this.#options.sockets.close();
  }

  #look(): void {
    for (const stream of this.#streams) if (!this.#isCovered(stream)) stream.resetAndDestroy();
    // an address that another program listens at, or that is gone already: there is nobody to tell
    for (const listener of this.#listeners) listener.follow(this.#inner).catch(() => undefined);
  }

  /** @returns whether a CHILD_SA covers it; else it is gone */
  #keep(stream: MachineStream): boolean {
    stream.on('error', () => undefined);
    if (!this.#isCovered(stream)) {
      stream.resetAndDestroy();
      return false;
    }
    this.#streams.add(stream);
    stream.once('close', () => this.#streams.delete(stream));
    return true;
  }

  #isCovered({ localAddress, localPort, remoteAddress, remotePort }: MachineStream): boolean {
    if (localAddress === undefined || remoteAddress === undefined) return false;
    return this.#covers({ ip: localAddress, port: localPort! }, { ip: remoteAddress, port: remotePort! });
  }

  /** One of our addresses from which a CHILD_SA takes what goes there; whatever port it will have. */
  #sourceFor(to: Address): string | undefined {
    return [...this.#inner, ...ownAddresses()].find((ip) => [0, 65_535].every((port) => this.#covers({ ip, port }, to)));
  }

  #covers(local: Address, remote: Address): boolean {
    return this.#standing.some(({ children }) =>
      children.some(
        ({ state, localTs, remoteTs }) =>
          CARRYING.has(state) && localTs.some((ts) => contains(ts, local)) && remoteTs.some((ts) => contains(ts, remote)),
      ),
    );
  }

  /** What was configured or assigned; else what the machine has of the networks that it protects. */
  get #inner(): readonly string[] {
    const standing = this.#standing;
    const configured = this.#options.addresses.map((address) => address.split('/')[0]!);
    const assigned = standing.flatMap((sa) => (sa.assignedToUs ? sa.assigned : []));
    if (configured.length + assigned.length > 0) return [...new Set([...configured, ...assigned])];
    const outer = new Set(standing.map(({ local }) => local.ip));
    const protectedTs = standing.flatMap(({ children }) => children.flatMap(({ localTs }) => localTs.filter(isRange)));
    return ownAddresses().filter((ip) => {
      const octets = tryParseIp(ip);
      return octets !== undefined && !outer.has(ip) && protectedTs.some((ts) => !isEverything(ts) && isWithin(ts, octets));
    });
  }

  get #standing() {
    return this.#options.instance.ikeSas().filter(({ state }) => state === 'established' || state === 'rekeying');
  }

  #nameless(host: string): DataPlaneError {
    return new DataPlaneError(
      `${host} is a name, and on the plane ${this.#options.instance.facts().plane} it would be asked for outside of the tunnel`,
      {
        code: 'NAME_OUTSIDE',
        hint: 'Give the inner address, or the name of the peer as tunnelwright status shows it.',
      },
    );
  }
}

/** A port at each of several addresses, which come and go. */
class Listener {
  readonly #sockets: MachineSockets;
  readonly #port: number;
  readonly #take: (stream: MachineStream) => void;
  /** How to stop, by address; undefined while it is being opened. */
  readonly #open = new Map<string, (() => void) | undefined>();
  #closed = false;

  constructor(sockets: MachineSockets, port: number, take: (stream: MachineStream) => void) {
    this.#sockets = sockets;
    this.#port = port;
    this.#take = take;
  }

  /** @throws DataPlaneError for the first one that cannot be had, when all were tried */
  async follow(wanted: readonly string[]): Promise<void> {
    for (const [ip, stop] of this.#open) {
      if (wanted.includes(ip) || stop === undefined) continue;
      stop();
      this.#open.delete(ip);
    }
    const missing = wanted.filter((ip) => !this.#open.has(ip));
    const opened = await Promise.allSettled(missing.map((ip) => this.#listen(ip)));
    const failed = opened.find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }

  close(): void {
    this.#closed = true;
    for (const stop of this.#open.values()) stop?.();
    this.#open.clear();
  }

  async #listen(ip: string): Promise<void> {
    this.#open.set(ip, undefined);
    try {
      const stop = await this.#sockets.listen({ ip, port: this.#port }, this.#take);
      if (this.#closed) stop();
      else this.#open.set(ip, stop);
    } catch (error) {
      this.#open.delete(ip);
      throw error;
    }
  }
}

const outside = (to: Address): DataPlaneError =>
  new DataPlaneError(
    `no CHILD_SA that stands covers TCP from an address of ours to ${formatAddress(to)}, and nothing is sent past the tunnel`,
    {
      code: 'OUTSIDE_TUNNEL',
      hint: 'Compare local_ts and remote_ts (tunnelwright sas) with the addresses of both ends.',
    },
  );

/** RFC 4301 §4.4.1.1: address, protocol and port. */
function contains(ts: TrafficSelector, { ip, port }: Address): boolean {
  const octets = tryParseIp(ip);
  if (octets === undefined || !isRange(ts)) return false;
  return (ts.protocol === 0 || ts.protocol === TCP) && ts.startPort <= port && port <= ts.endPort && isWithin(ts, octets);
}

const isWithin = ({ start, end }: AddressRangeSelector, octets: Uint8Array): boolean =>
  start.length === octets.length && compareBytes(start, octets) <= 0 && compareBytes(octets, end) <= 0;

const isEverything = ({ start, end }: AddressRangeSelector): boolean =>
  start.every((octet) => octet === 0) && end.every((octet) => octet === 255);

const ownAddresses = (): readonly string[] =>
  Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address));

const TCP = 6;
/** States of a CHILD_SA in which packets leave by it: also while another one takes its place. */
const CARRYING: ReadonlySet<string> = new Set(['installed', 'rekeying', 'rekeyed']);
/** Milliseconds. */
const DIAL_TIMEOUT = 15_000;
/** After these other addresses are ours, or others covered. */
const CHANGES: ReadonlySet<string> = new Set([
  'ike-up',
  'ike-rekeyed',
  'ike-reauthenticated',
  'ike-down',
  'child-up',
  'child-rekeyed',
  'child-down',
]);
