import { type Address, formatAddress, utf8 } from '../core/bytes/index.ts';
import type { RandomSource } from '../core/crypto/index.ts';
import {
  type Ask,
  type AskResult,
  type ChildSaInfo,
  type Command,
  type Connection,
  type Datagram,
  type Effect,
  Endpoint,
  type EndpointLimits,
  type EndpointOptions,
  type IkeSaInfo,
  type Notice,
  type Observation,
} from '../core/ike/index.ts';
import { ScenarioFailure } from './failure.ts';
import type { Host } from './host.ts';
import type { Packet } from './network.ts';
import { DEFAULT_LIMITS, fqdn } from './policies.ts';
import { type RandomScript, scriptedRandom } from './seeded.ts';
import { type KeyDirectory, SimulatedAnswers, type SimulatedIdentity, SimulatedPool } from './simulated-answers.ts';
import { SimulatedPlane } from './simulated-plane.ts';
import type { Transcript } from './transcript.ts';
import type { VirtualClock, VirtualTimer } from './virtual-clock.ts';

/** One Ask that goes wrong, or takes its time. */
export interface Fault {
  readonly ask: Ask['kind'];
  /** `late` answers after `delay`, `never` not at all, `fail` with an error. */
  readonly outcome: 'late' | 'never' | 'fail';
  /** Milliseconds. */
  readonly delay?: number;
  /** How many Asks of the kind; 1 unless said otherwise. */
  readonly times?: number;
}

export interface PeerOptions {
  readonly connections: readonly Connection[];
  readonly limits?: Partial<EndpointLimits>;
  readonly identity?: Partial<SimulatedIdentity>;
  /** Addresses to lend to peers. */
  readonly pool?: readonly string[];
  readonly script?: RandomScript;
  /** DNS names that this machine can resolve. */
  readonly names?: Readonly<Record<string, string>>;
  /** Milliseconds that every answer takes. */
  readonly answerDelay?: number;
  readonly endpoint?: Partial<
    Pick<
      EndpointOptions,
      'hashes' | 'forceEncap' | 'certificateAuthorities' | 'ports' | 'redirect' | 'secret' | 'credentialsDigest' | 'epoch'
    >
  >;
}

export interface PeerSurroundings {
  readonly clock: VirtualClock;
  readonly transcript: Transcript;
  readonly directory: KeyDirectory;
  readonly seed: number | string;
  /** Something of substance happened: a new message, an Ask, a change of the data plane. */
  readonly touch: () => void;
  readonly nameOf: (ip: string) => string;
}

/** A machine of the simulation: a real Endpoint, its sockets on a simulated host, a data plane in memory, and answers to what the core asks. */
export class Peer {
  readonly name: string;
  readonly host: Host;
  readonly plane: SimulatedPlane;
  readonly pool: SimulatedPool;
  readonly notices: { readonly at: number; readonly notice: Notice }[] = [];
  /** Every datagram the core wanted sent, in order. */
  readonly sent: Datagram[] = [];
  /** Every ESP packet that `sendTraffic` sent. */
  readonly espSent: Uint8Array[] = [];
  readonly options: PeerOptions;
  endpoint: Endpoint;
  readonly #around: PeerSurroundings;
  readonly #random: RandomSource;
  readonly #answers: SimulatedAnswers;
  readonly #faults: { readonly fault: Fault; left: number }[] = [];
  readonly #open = new Map<number, VirtualTimer | undefined>();
  #timer: VirtualTimer | undefined;

  constructor(name: string, host: Host, options: PeerOptions, around: PeerSurroundings) {
    this.name = name;
    this.host = host;
    this.options = options;
    this.#around = around;
    this.#random = scriptedRandom(`${around.seed} ${name}`, options.script);
    this.plane = new SimulatedPlane(this.#random, () => around.clock.now);
    this.pool = new SimulatedPool(options.pool ?? []);
    const identity = { id: fqdn(`${name}.example`), psk: utf8('the simulated pre-shared key'), ...options.identity };
    this.#answers = new SimulatedAnswers(identity, around.directory, this.pool, this.plane, {
      lookup: (gateway) => options.names?.[gateway],
      from: (remoteIp) => this.host.addressFor(remoteIp),
    });
    this.endpoint = this.#newEndpoint();
    host.bind(IKE_PORT, (packet) => this.#onIkePort(packet));
    host.bind(NAT_PORT, (packet) => this.#onNatPort(packet));
    host.onEsp((packet) => this.#onEsp(packet));
    host.onTooBig((remote, mtu) => this.observe({ kind: 'path-mtu', remote, mtu }));
    host.onAddresses(() => this.#tellAddresses());
    this.#tellAddresses();
  }

  /** Asks that were put and are not answered yet. */
  get openAsks(): number {
    return this.#open.size;
  }

  get ikeSas(): readonly IkeSaInfo[] {
    return this.endpoint.info();
  }

  get established(): readonly IkeSaInfo[] {
    return this.ikeSas.filter((sa) => sa.establishedAt !== undefined);
  }

  get children(): readonly ChildSaInfo[] {
    return this.ikeSas.flatMap((sa) => sa.children);
  }

  /** Notices of one kind, oldest first. */
  heard<K extends Notice['kind']>(kind: K): readonly Extract<Notice, { kind: K }>[] {
    return this.notices.flatMap(({ notice }) => (notice.kind === kind ? [notice as Extract<Notice, { kind: K }>] : []));
  }

  /** Octet counts of drops by cause. */
  get drops(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { cause } of this.heard('drop')) counts[cause] = (counts[cause] ?? 0) + 1;
    return counts;
  }

  initiate(connection?: string, child?: string): number {
    const name = connection ?? this.options.connections[0]!.name;
    return this.command({ kind: 'initiate', connection: name, child }) ?? 0;
  }

  createChild(child: string, ikeSa = this.#onlyIkeSa()): void {
    this.command({ kind: 'create-child', ikeSa, child });
  }

  rekeyChild(child = this.#onlyChild()): void {
    this.command({ kind: 'rekey-child', child });
  }

  rekeyIke(ikeSa = this.#onlyIkeSa()): void {
    this.command({ kind: 'rekey-ike', ikeSa });
  }

  reauthenticate(ikeSa = this.#onlyIkeSa()): void {
    this.command({ kind: 'reauthenticate', ikeSa });
  }

  deleteChild(child = this.#onlyChild()): void {
    this.command({ kind: 'delete-child', child });
  }

  deleteIke(ikeSa = this.#onlyIkeSa()): void {
    this.command({ kind: 'delete-ike', ikeSa });
  }

  forgetIke(ikeSa = this.#onlyIkeSa()): void {
    this.command({ kind: 'forget-ike', ikeSa });
  }

  checkLiveness(ikeSa = this.#onlyIkeSa()): void {
    this.command({ kind: 'check-liveness', ikeSa });
  }

  command(command: Command): number | undefined {
    const result = this.endpoint.command(command, this.#around.clock.now);
    this.#around.touch();
    this.drain();
    return result;
  }

  observe(observation: Observation): void {
    this.endpoint.observe(observation, this.#around.clock.now);
    this.drain();
  }

  /** The next Asks of a kind go wrong like this. */
  fault(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times ?? 1 });
  }

  /** Hands a datagram to the core as if it had come in on port 500 or 4500. */
  inject(data: Uint8Array, remote: Address, encap = false): void {
    this.#receive({ local: { ip: this.host.addressFor(remote.ip), port: encap ? NAT_PORT : IKE_PORT }, remote, data, encap });
  }

  /** The process dies and comes back: with what it knew, or with nothing. */
  restart(memory: 'snapshot' | 'nothing'): void {
    const snapshot = memory === 'snapshot' ? structuredClone(this.endpoint.snapshot(this.#around.clock.now)) : undefined;
    for (const timer of this.#open.values()) timer?.cancel();
    this.#open.clear();
    this.plane.clear();
    this.endpoint = this.#newEndpoint();
    this.#tellAddresses();
    if (snapshot !== undefined) this.endpoint.restore(snapshot, this.#around.clock.now);
    this.#around.touch();
    this.drain();
  }

  /** Sends one ESP packet with this payload on the SA that traffic leaves on. @returns false when there is none. */
  sendTraffic(payload: Uint8Array, childName?: string): boolean {
    const child = this.plane.sendingChild(childName);
    if (child === undefined) return false;
    const data = this.plane.seal(child.id, payload);
    this.espSent.push(data);
    this.#watchLimit(child.id);
    if (child.encap)
      return this.host.send({ protocol: 'udp', source: { ip: child.local.ip, port: NAT_PORT }, destination: child.remote, data });
    const [source, destination] = [child.local, child.remote].map(({ ip }) => ({ ip, port: 0 }));
    return this.host.send({ protocol: 'esp', source: source!, destination: destination!, data });
  }

  /** Performs every effect that waits and sets the one timer. */
  drain(): void {
    const { clock } = this.#around;
    let count = 0;
    for (let effect = this.endpoint.poll(); effect !== undefined; effect = this.endpoint.poll()) {
      if (++count > MOST_EFFECTS) throw new ScenarioFailure(`${this.name} wants more than ${MOST_EFFECTS} things done at one instant`);
      this.#perform(effect);
    }
    this.#timer?.cancel();
    const deadline = this.endpoint.nextDeadline();
    this.#timer = deadline === undefined ? undefined : clock.at(deadline, () => this.#expire());
  }

  #tellAddresses(): void {
    this.observe({ kind: 'local-addresses', addresses: this.host.addresses });
  }

  #newEndpoint(): Endpoint {
    const { connections, limits, endpoint } = this.options;
    return new Endpoint({
      connections,
      limits: { ...DEFAULT_LIMITS, ...limits },
      random: this.#random,
      logKeys: true,
      logMessages: true,
      ...endpoint,
    });
  }

  #expire(): void {
    this.endpoint.expire(this.#around.clock.now);
    this.drain();
  }

  #perform(effect: Effect): void {
    const { clock, transcript, touch, nameOf } = this.#around;
    switch (effect.kind) {
      case 'transmit':
        this.sent.push(effect.datagram);
        transcript.sent(clock.now, this.name, nameOf(effect.datagram.remote.ip), effect.datagram.data);
        touch();
        this.#transmit(effect.datagram);
        return;
      case 'ask':
        touch();
        this.#ask(effect);
        return;
      case 'cancel':
        this.#open.get(effect.id)?.cancel();
        this.#open.delete(effect.id);
        return;
      case 'child-update':
        this.plane.update(effect.child, effect.change);
        return;
      case 'child-remove':
        this.plane.remove(effect.child);
        return;
      case 'lease-release':
        this.pool.release(effect.ikeSa);
        return;
      case 'notice':
        if (effect.notice.kind === 'message' && effect.notice.direction === 'out') transcript.announce(this.name, effect.notice.text);
        this.notices.push({ at: effect.at, notice: effect.notice });
        return;
    }
  }

  #transmit({ local, remote, data, encap }: Datagram): void {
    // RFC 7296 §2.23: four zero octets tell IKE from ESP.
    const marked = encap && data.length > 1 ? Uint8Array.of(0, 0, 0, 0, ...data) : data.slice();
    this.host.send({ protocol: 'udp', source: { ip: local.ip, port: encap ? NAT_PORT : IKE_PORT }, destination: remote, data: marked });
  }

  #ask(effect: Extract<Effect, { kind: 'ask' }>): void {
    const { clock } = this.#around;
    const planned = this.#faults.find((one) => one.left > 0 && one.fault.ask === effect.ask.kind);
    if (planned !== undefined) planned.left--;
    const { outcome, delay = 0 } = planned?.fault ?? { outcome: undefined };
    if (outcome === 'never') {
      this.#open.set(effect.id, undefined);
      return;
    }
    const wait = (this.options.answerDelay ?? 0) + delay;
    const answer = (): void => {
      this.#open.delete(effect.id);
      const result: AskResult =
        outcome === 'fail'
          ? { ok: false, error: new ScenarioFailure(`${effect.ask.kind} was made to fail`) }
          : this.#answers.answer(effect.ask, effect.ikeSa);
      this.#around.touch();
      this.endpoint.answer(effect.id, result, clock.now);
      this.drain();
    };
    this.#open.set(effect.id, clock.after(wait, answer));
  }

  #onIkePort({ source, destination, data }: Packet): void {
    this.#receive({ local: destination, remote: source, data, encap: false });
  }

  #onNatPort(packet: Packet): void {
    const { source, destination, data } = packet;
    // RFC 3948 §2.2, §2.3: the marker, a keepalive, or ESP.
    if (data.length === 1 && data[0] === 0xff) return;
    const isIke = data.length >= 4 && data.subarray(0, 4).every((octet) => octet === 0);
    if (isIke) this.#receive({ local: destination, remote: source, data: data.subarray(4), encap: true });
    else this.#onEsp(packet);
  }

  #onEsp(packet: Packet): void {
    const { source, destination, data } = packet;
    const child = this.plane.receive(data);
    if (child === undefined) {
      const [local, remote, encap] = [destination, source, packet.protocol === 'udp'];
      const spi = new DataView(data.buffer, data.byteOffset).getUint32(0);
      const known = this.plane.children.some(({ spec }) => spec.inbound.spi === spi);
      if (!known && data.length >= SHORTEST_STRAY) this.observe({ kind: 'unknown-spi', spi, local, remote, encap });
      return;
    }
    const known = this.plane.children.find((one) => one.id === child)!;
    const moved = known.encap ? formatAddress(known.remote) !== formatAddress(source) : known.remote.ip !== source.ip;
    const elsewhere = moved || known.local.ip !== destination.ip;
    this.observe({ kind: 'inbound-traffic', child, elsewhere });
    this.#watchLimit(child);
    if (known.encap && moved) this.observe({ kind: 'mapping-changed', child, remote: source });
  }

  #watchLimit(child: number): void {
    const limit = this.plane.reachedLimit(child);
    if (limit !== undefined) this.observe({ kind: limit === 'soft' ? 'soft-expire' : 'hard-expire', child });
  }

  #receive(datagram: Datagram): void {
    this.#around.touch();
    this.endpoint.receive(datagram, this.#around.clock.now);
    this.drain();
  }

  #onlyIkeSa(): number {
    const [sa, ...others] = this.established;
    if (sa === undefined || others.length > 0)
      throw new ScenarioFailure(`${this.name} has ${others.length + (sa ? 1 : 0)} IKE SAs: say which one`);
    return sa.id;
  }

  #onlyChild(): number {
    const [child, ...others] = this.children.filter(({ state }) => state === 'installed' || state === 'rekeying');
    if (child === undefined || others.length > 0)
      throw new ScenarioFailure(`${this.name} has ${others.length + (child ? 1 : 0)} CHILD_SAs: say which one`);
    return child.id;
  }
}

const IKE_PORT = 500;
const NAT_PORT = 4500;
const MOST_EFFECTS = 10_000;
/** Octets of ESP that are answered, as in the real data plane. */
const SHORTEST_STRAY = 40;
