import { type Address, formatAddress } from '../core/bytes/index.ts';
import type { Clock, Timer } from '../host/platform/clock.ts';
import type { UdpNetwork, UdpSocket } from '../host/platform/udp.ts';

/** What happens to every datagram on its way through; change it while the relay runs. */
export interface RelayConditions {
  /** Probability of being dropped, each direction. */
  loss: number;
  /** Milliseconds, each direction. */
  delay: number;
  /** The cable is out. */
  paused: boolean;
}

export interface UdpRelayOptions {
  readonly udp: UdpNetwork;
  readonly clock: Clock;
  /** Where clients find the relay. */
  readonly ip: string;
  /** Real ports behind it, e.g. IKE and NAT-T of one gateway. */
  readonly targets: readonly Address[];
  /** Uniform in [0, 1), for losses; seeded in tests. Without it nothing is lost. */
  readonly random?: () => number;
  /** Sees every datagram that is passed on, with the addresses it has on the targets' side. The octets are valid during the call. */
  readonly onDatagram?: (source: Address, destination: Address, data: Uint8Array) => void;
}

export interface RelayCounters {
  passed: number;
  lost: number;
}

/**
 * A NAT between real UDP sockets, in user space: each client endpoint gets a port of its own towards the targets, and hears only what
 * answers there (endpoint-independent mapping, address-and-port-dependent filtering, RFC 4787 §4.1, §5). `rebind` forgets the mappings, as
 * a NAT does that restarts.
 */
export class UdpRelay {
  readonly conditions: RelayConditions = { loss: 0, delay: 0, paused: false };
  readonly counters: RelayCounters = { passed: 0, lost: 0 };
  readonly #options: UdpRelayOptions;
  readonly #fronts: UdpSocket[] = [];
  readonly #mappings = new Map<string, Promise<UdpSocket | undefined>>();
  readonly #timers = new Set<Timer>();
  #closed = false;

  /** @throws DataPlaneError when a port cannot be had */
  static async open(options: UdpRelayOptions): Promise<UdpRelay> {
    const relay = new UdpRelay(options);
    for (const target of options.targets) {
      const front = await options.udp.bind({
        ip: options.ip,
        port: 0,
        onDatagram: (data, ip, port) => relay.#outward(target, data, { ip, port }),
      });
      relay.#fronts.push(front);
    }
    return relay;
  }

  private constructor(options: UdpRelayOptions) {
    this.#options = options;
  }

  /** Where clients send to, in the order of the targets. */
  get fronts(): readonly Address[] {
    return this.#fronts.map((front) => front.local);
  }

  /** New ports for everybody; answers to the old ones are lost. */
  async rebind(): Promise<void> {
    const old = [...this.#mappings.values()];
    this.#mappings.clear();
    for (const mapping of old) await (await mapping)?.close();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) timer.cancel();
    await this.rebind();
    for (const front of this.#fronts) await front.close();
  }

  #outward(target: Address, data: Uint8Array, client: Address): void {
    const key = formatAddress(client);
    const known = this.#mappings.get(key);
    if (known === undefined && this.#mappings.size >= MOST_MAPPINGS) {
      this.counters.lost++;
      return;
    }
    const mapping = known ?? this.#map(client);
    if (known === undefined) this.#mappings.set(key, mapping);
    void mapping.then((socket) => {
      if (socket !== undefined) this.#pass(socket, target, data, { source: socket.local, destination: target });
    });
  }

  #map(client: Address): Promise<UdpSocket | undefined> {
    let own: Address = client;
    const onDatagram = (data: Uint8Array, ip: string, port: number): void => {
      const index = this.#options.targets.findIndex((target) => target.ip === ip && target.port === port);
      const front = this.#fronts[index];
      if (front !== undefined) this.#pass(front, client, data, { source: { ip, port }, destination: own });
    };
    const bound = this.#options.udp.bind({ ip: this.#options.ip, port: 0, onDatagram }).then((socket) => {
      own = socket.local;
      return socket;
    });
    // without a port left the client's datagrams are lost, as behind any NAT that is full
    return bound.catch(() => undefined);
  }

  #pass(from: UdpSocket, to: Address, data: Uint8Array, leg: Leg): void {
    const { loss, delay, paused } = this.conditions;
    if (paused || (loss > 0 && (this.#options.random?.() ?? 1) < loss)) {
      this.counters.lost++;
      return;
    }
    if (delay === 0) return this.#send(from, to, data, leg);
    const kept = data.slice();
    const timer = this.#options.clock.after(delay, () => {
      this.#timers.delete(timer);
      this.#send(from, to, kept, leg);
    });
    this.#timers.add(timer);
  }

  #send(from: UdpSocket, to: Address, data: Uint8Array, leg: Leg): void {
    if (this.#closed) return;
    this.counters.passed++;
    this.#options.onDatagram?.(leg.source, leg.destination, data);
    from.send(data, to.ip, to.port);
  }
}

interface Leg {
  readonly source: Address;
  readonly destination: Address;
}

/** More client endpoints than any test has; a flood must not take every port of the machine. */
const MOST_MAPPINGS = 256;
