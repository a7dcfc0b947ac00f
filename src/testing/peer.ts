import { type Address, isIpv6, utf8 } from '../core/bytes/index.ts';
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
  type EndpointSnapshot,
  type IkeSaInfo,
  type Notice,
  type Observation,
} from '../core/ike/index.ts';
import { Counters } from '../host/engine/counters.ts';
import { Streams } from '../host/engine/streams.ts';
import { ScenarioFailure } from './failure.ts';
import type { Host } from './host.ts';
import type { Packet } from './network.ts';
import { plainCopy } from './plain-copy.ts';
import { DEFAULT_LIMITS, fqdn } from './policies.ts';
import { type RandomScript, scriptedRandom } from './seeded.ts';
import { type KeyDirectory, SimulatedAnswers, type SimulatedIdentity, type SimulatedPaths, SimulatedPool } from './simulated-answers.ts';
import type { PeerPlane, SimulatedPlane } from './simulated-plane.ts';
import { SimulatedTcp } from './streams.ts';
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
  readonly endpoint?: Partial<EndpointOptions>;
  /** What runs in place of the endpoint itself: one with a fault that an invariant must notice. */
  readonly makeEndpoint?: ((options: EndpointOptions) => Endpoint) | undefined;
}

export interface PeerSurroundings {
  readonly clock: VirtualClock;
  /** Who keeps what happened; nothing is kept for those who only watch. */
  readonly transcript: Transcript | undefined;
  readonly directory: KeyDirectory;
  readonly seed: number | string;
  /** Something of substance happened: a new message, an Ask, a change of the data plane. */
  readonly touch: () => void;
  readonly nameOf: (ip: string) => string;
  /** Sees every effect before it is performed. */
  readonly watch?: (effect: Effect) => void;
}

/** A data plane of one's own, for `Peer`. */
export type MakePlane<P extends PeerPlane> = (random: RandomSource, observe: (observation: Observation) => void) => P;

/** A machine of the simulation: a real Endpoint, its sockets on a simulated host, a data plane in memory, and answers to what the core asks. */
export class Peer<P extends PeerPlane = SimulatedPlane> {
  readonly name: string;
  readonly host: Host;
  readonly plane: P;
  readonly tcp: SimulatedTcp;
  readonly pool: SimulatedPool;
  readonly notices: { readonly at: number; readonly notice: Notice }[] = [];
  /** Every datagram the core wanted sent, in order. */
  readonly sent: Datagram[] = [];
  /** Every ESP packet that `sendTraffic` sent. */
  readonly espSent: Uint8Array[] = [];
  readonly options: PeerOptions;
  endpoint: Endpoint;
  /** How often its core was called: what that keeps is what it was while this is. */
  turns = 0;
  readonly #around: PeerSurroundings;
  readonly #random: RandomSource;
  readonly #answers: SimulatedAnswers;
  readonly #faults: { readonly fault: Fault; left: number }[] = [];
  readonly #open = new Map<number, VirtualTimer | undefined>();
  #streams: Streams;
  #connections: readonly Connection[];
  #timer: VirtualTimer | undefined;
  /** Its IKE SAs as they were in the turn in which somebody last looked. */
  #shown: { readonly turn: number; readonly ikeSas: readonly IkeSaInfo[] } | undefined;
  /** How far its monotonic clock is ahead of the world's. */
  #ahead = 0;

  constructor(name: string, host: Host, options: PeerOptions, around: PeerSurroundings, makePlane: MakePlane<P>) {
    this.name = name;
    this.host = host;
    this.options = options;
    this.#connections = options.connections;
    this.#around = around;
    this.#random = scriptedRandom(`${around.seed} ${name}`, options.script);
    this.plane = makePlane(this.#random, (observation) => this.observe(observation));
    this.pool = new SimulatedPool(options.pool ?? []);
    const identity = { id: fqdn(`${name}.example`), psk: utf8('the simulated pre-shared key'), ...options.identity };
    const paths: SimulatedPaths = {
      lookup: (gateway) => options.names?.[gateway],
      from: (remoteIp) => this.host.addresses.find((ip) => isIpv6(ip) === isIpv6(remoteIp)),
    };
    this.#answers = new SimulatedAnswers(identity, around.directory, this.pool, this.plane, paths, options.endpoint?.primitives);
    this.endpoint = this.#newEndpoint();
    this.tcp = new SimulatedTcp(host, around.clock);
    this.#streams = this.#newStreams();
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
    if (this.#shown?.turn !== this.turns) this.#shown = { turn: this.turns, ikeSas: this.endpoint.info() };
    return this.#shown.ikeSas;
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

  /** What its own clock says: the time of every call into the core. */
  get now(): number {
    return this.#around.clock.now + this.#ahead;
  }

  /** Datagrams dropped, by cause. */
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
    const result = this.endpoint.command(command, this.now);
    this.#around.touch();
    this.drain();
    return result;
  }

  observe(observation: Observation): void {
    this.endpoint.observe(observation, this.now);
    this.drain();
  }

  /** The next Asks of a kind go wrong like this. */
  fault(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times ?? 1 });
  }

  /** Whatever was to go wrong goes right from now on. */
  clearFaults(): void {
    this.#faults.length = 0;
  }

  /** Hands a datagram to the core as if it had come in on port 500 or 4500. */
  inject(data: Uint8Array, remote: Address, encap = false): void {
    this.#receive({ local: { ip: this.host.addressFor(remote.ip), port: encap ? NAT_PORT : IKE_PORT }, remote, data, encap });
  }

  /** The machine slept, or its clock was set forward: everything that was due meanwhile is due now. */
  leap(milliseconds: number): void {
    this.#ahead += milliseconds;
    this.#expire();
  }

  /** From now on, and after every restart. */
  setConnections(connections: readonly Connection[]): void {
    this.#connections = connections;
    this.endpoint.setConnections(connections);
  }

  /** What this process would leave to its next life. */
  snapshot(): EndpointSnapshot {
    return plainCopy(this.endpoint.snapshot(this.now));
  }

  /** The process dies and comes back: with what it knows now or knew then, or with nothing. */
  restart(memory: 'snapshot' | 'nothing' | EndpointSnapshot, how?: { readonly exact: boolean }): void {
    const snapshot = memory === 'nothing' ? undefined : memory === 'snapshot' ? this.snapshot() : memory;
    for (const timer of this.#open.values()) timer?.cancel();
    this.#open.clear();
    this.#streams.close();
    this.tcp.abortAll();
    this.#streams = this.#newStreams();
    this.plane.clear();
    this.endpoint = this.#newEndpoint();
    this.#tellAddresses();
    if (snapshot !== undefined) this.endpoint.restore(snapshot, this.now, how);
    this.#around.touch();
    this.drain();
  }

  /** Sends one ESP packet with this payload on the SA that traffic leaves on. @returns false when there is none. */
  sendTraffic(this: Peer, payload: Uint8Array, childName?: string): boolean {
    const child = this.plane.sendingChild(childName);
    if (child === undefined) return false;
    const data = this.plane.seal(child.id, payload);
    this.espSent.push(data);
    if (child.transport === 'tcp') return this.#streams.path(child.local, child.remote).send(data);
    if (child.encap)
      return this.host.send({ protocol: 'udp', source: { ip: child.local.ip, port: NAT_PORT }, destination: child.remote, data });
    const [source, destination] = [child.local, child.remote].map(({ ip }) => ({ ip, port: 0 }));
    return this.host.send({ protocol: 'esp', source: source!, destination: destination!, data });
  }

  /** Performs every effect that waits and sets the one timer. */
  drain(): void {
    this.turns++;
    const { clock } = this.#around;
    let count = 0;
    for (let effect = this.endpoint.poll(); effect !== undefined; effect = this.endpoint.poll()) {
      if (++count > MOST_EFFECTS) throw new ScenarioFailure(`${this.name} wants more than ${MOST_EFFECTS} things done at one instant`);
      this.#perform(effect);
    }
    const deadline = this.endpoint.nextDeadline();
    const at = deadline === undefined ? undefined : deadline - this.#ahead;
    if (this.#timer !== undefined && this.#timer.at === at) return;
    this.#timer?.cancel();
    this.#timer = at === undefined ? undefined : clock.at(at, () => this.#expire());
  }

  #tellAddresses(): void {
    this.observe({ kind: 'local-addresses', addresses: this.host.addresses });
  }

  #newEndpoint(): Endpoint {
    const { limits, endpoint, makeEndpoint } = this.options;
    const options: EndpointOptions = {
      connections: this.#connections,
      limits: { ...DEFAULT_LIMITS, ...limits },
      random: this.#random,
      logKeys: true,
      logMessages: this.#around.transcript !== undefined,
      ...endpoint,
    };
    return makeEndpoint?.(options) ?? new Endpoint(options);
  }

  #expire(): void {
    this.#timer = undefined;
    this.endpoint.expire(this.now);
    this.drain();
  }

  #perform(effect: Effect): void {
    const { clock, transcript, touch, nameOf, watch } = this.#around;
    watch?.(effect);
    switch (effect.kind) {
      case 'transmit':
        if (transcript !== undefined) this.sent.push(effect.datagram);
        transcript?.sent(clock.now, this.name, nameOf(effect.datagram.remote.ip), effect.datagram.data);
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
      case 'stream':
        this.#streams.change(effect.change, effect.local, effect.remote);
        return;
      case 'lease-release':
        this.pool.release(effect.ikeSa);
        return;
      case 'notice':
        if (transcript === undefined) return;
        if (effect.notice.kind === 'message' && effect.notice.direction === 'out') transcript.announce(this.name, effect.notice.text);
        this.notices.push({ at: effect.at, notice: effect.notice });
        return;
    }
  }

  #transmit(datagram: Datagram): void {
    const { local, remote, data, encap, transport } = datagram;
    if (transport === 'tcp') {
      this.#streams.transmit(datagram);
      return;
    }
    // RFC 7296 §2.23: four zero octets tell IKE from ESP.
    const port = encap ? NAT_PORT : IKE_PORT;
    this.host.send({
      protocol: 'udp',
      source: local.port === port ? local : { ip: local.ip, port },
      destination: remote,
      data: encap && data.length > 1 ? behindMarker(data) : data,
    });
  }

  #ask(effect: Extract<Effect, { kind: 'ask' }>): void {
    const { clock } = this.#around;
    const planned = this.#faults.find((one) => one.left > 0 && one.fault.ask === effect.ask.kind);
    if (planned !== undefined) planned.left--;
    const { outcome, delay = 0 } = planned?.fault ?? { outcome: undefined };
    if (effect.ask.kind === 'connect' && outcome === undefined) return this.#connect(effect.id, effect.ask);
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
      this.endpoint.answer(effect.id, result, this.now);
      this.drain();
    };
    this.#open.set(effect.id, clock.after(wait, answer));
  }

  /** As the engine does it: what comes too late is closed. */
  #connect(id: number, { localIp, remote, within }: Extract<Ask, { kind: 'connect' }>): void {
    this.#open.set(id, undefined);
    this.tcp.open(localIp, remote, within, (result) => {
      const awaited = this.#open.delete(id);
      if (!(result instanceof Error)) {
        if (!awaited) return result.abort();
        this.#streams.adopt(result);
      }
      this.#around.touch();
      const answer: AskResult = result instanceof Error ? { ok: false, error: result } : { ok: true, local: result.local };
      this.endpoint.answer(id, answer, this.now);
      this.drain();
    });
  }

  /** The engine's own streams (`host/engine`), on this machine. */
  #newStreams(): Streams {
    const { clock } = this.#around;
    const time = {
      now: () => clock.now,
      wall: () => clock.now,
      after: (delay: number, run: () => void) => clock.after(delay, run),
      soon: (run: () => void) => void clock.after(0, run),
    };
    const streams = new Streams(this.tcp.asNetwork(), time, new Counters(), {
      onIke: (datagram) => {
        this.#receive(datagram);
        return true;
      },
      onEsp: (data, destination, ip, port) => {
        this.#onEsp({ protocol: 'tcp', source: { ip, port }, destination, data });
        return true;
      },
      onStreamClosed: (local, remote) => this.observe({ kind: 'stream-closed', local, remote }),
    });
    this.tcp.unlisten(NAT_PORT);
    void streams.listen('0.0.0.0', NAT_PORT);
    return streams;
  }

  #onIkePort({ source, destination, data }: Packet): void {
    this.#receive({ local: destination, remote: source, data, encap: false });
  }

  #onNatPort(packet: Packet): void {
    const { source, destination, data } = packet;
    // RFC 3948 §2.2, §2.3: the marker, a keepalive, or ESP.
    if (data.length === 1 && data[0] === 0xff) return;
    const isIke = data.length >= 4 && (data[0]! | data[1]! | data[2]! | data[3]!) === 0;
    if (isIke) this.#receive({ local: destination, remote: source, data: data.subarray(4), encap: true });
    else this.#onEsp(packet);
  }

  #onEsp(packet: Packet): void {
    this.plane.receive(packet);
  }

  #receive(datagram: Datagram): void {
    this.#around.touch();
    this.endpoint.receive(datagram, this.now);
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

function behindMarker(message: Uint8Array): Uint8Array {
  const marked = new Uint8Array(4 + message.length);
  marked.set(message, 4);
  return marked;
}

const IKE_PORT = 500;
const NAT_PORT = 4500;
const MOST_EFFECTS = 10_000;
