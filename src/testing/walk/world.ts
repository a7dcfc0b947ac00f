import type { TunnelwrightError } from '../../core/bytes/index.ts';
import { type Effect, Endpoint, type EndpointOptions, type EndpointSnapshot, type Notice } from '../../core/ike/index.ts';
import type { SequenceNumbers } from '../../host/dataplane/data-plane.ts';
import { Internet } from '../internet.ts';
import type { Nat } from '../nat.ts';
import type { Attachment } from '../network.ts';
import { Peer } from '../peer.ts';
import { SeededRandom } from '../seeded.ts';
import { KeyDirectory } from '../simulated-answers.ts';
import { simulatedKeyExchange } from '../simulated-key-exchange.ts';
import { simulatedPrimitives } from '../simulated-primitives.ts';
import { Transcript } from '../transcript.ts';
import { extend, PPKS } from './extensions.ts';
import { Ledger } from './ledger.ts';
import { innerPacket, numberOf, type PlaneWatch, WalkPlane } from './plane.ts';
import { type Judge, RefereedWorld } from './referee.ts';
import { type ClientSetting, drawSetting, type Setting } from './setting.ts';
import { drawTemper, type Temper } from './temper.ts';

/** One machine of the walk. */
export interface Side {
  readonly name: string;
  readonly peer: Peer<WalkPlane>;
  readonly nat: Nat | undefined;
  /** What it would come back with, should it die later. */
  saved: Saved | undefined;
  /** Turns of its core when its bounds were last checked. */
  checked: number;
}

export interface Saved {
  readonly at: number;
  readonly core: EndpointSnapshot;
  readonly sequences: ReadonlyMap<number, SequenceNumbers>;
}

/** A client, the hub, and what the operator expects of the two. */
export interface Line {
  readonly setting: ClientSetting;
  readonly client: Side;
  readonly hub: Side;
  /** Somebody asked for it and nobody for its end. */
  wanted: boolean;
  /** Why nothing is expected of it until the next time of quiet. */
  excuse: string | undefined;
  /** Initiator SPIs of IKE SAs with which an end came back from a memory that is older than they are. */
  outdated: ReadonlySet<string>;
  /** Messages get lost, so a peer may seem silent; else SAs must outlive everything. */
  lossy: boolean;
  /** When of the IKE SAs before and after a new authentication one last ended that had not been given up by its owner. */
  partedAt: number;
  /** When the clock of the hub last leapt: what it gives the client time for is over sooner. */
  leaptAt: number;
  /** When the client last came back with an older memory, without what the hub may have demanded since. */
  forgotAt: number;
  /** Until then single packets may go astray. */
  leakyUntil: number;
  /** Packets sent before are not asked for. */
  trustedFrom: number;
  /** Before that it is not known what still works. */
  doubtfulUntil: number;
  /** CHILD_SAs at the last time of quiet, and those asked for since, by policy. */
  readonly children: Map<string, { stood: number; asked: number }>;
  /** IKE SAs that stand or stood, by side. */
  readonly established: Record<'client' | 'hub', Set<number>>;
}

/** An inner packet under way. */
interface Traffic {
  readonly line: Line;
  readonly from: 'client' | 'hub';
  readonly policy: string;
  readonly at: number;
  deliveries: number;
  deliveredAt: number;
}

export interface WorldOptions {
  readonly seed: number | string;
  /** In place of the one that the seed draws. */
  readonly temper?: Temper | undefined;
  /** Keep what the chart of a failure needs. */
  readonly record?: boolean | undefined;
  /** @param judge told what the endpoint does that it must not */
  readonly makeEndpoint?: ((name: string, options: EndpointOptions, judge: Judge) => Endpoint) | undefined;
}

/** Everything one seed makes: machines, the network between them, an attacker, and the books. */
export class WalkWorld {
  readonly seed: number | string;
  readonly setting: Setting;
  readonly internet: Internet;
  readonly ledger: Ledger;
  readonly transcript: Transcript | undefined;
  readonly sides: readonly Side[];
  readonly hub: Side;
  readonly lines: readonly Line[];
  /** An attacker's place on the internet: packets leave it with any source. */
  readonly attacker: Attachment;
  /** Packets that a plane took, and those its host sent. */
  readonly handed = { taken: 0, refused: 0 };
  /** Inner octets that came out once more, at an end whose replay windows were older than the packet. */
  openedAgain = 0;
  readonly #traffic: Traffic[] = [];
  readonly #under: number[] = [];
  readonly #addresses = new Map<Peer<WalkPlane>, Set<string>>();
  readonly #options: WorldOptions;
  readonly #linesOf: ReadonlyMap<Side, readonly Line[]>;
  /** Where clients dial. */
  #dialled: string;
  readonly #directory = new KeyDirectory();

  constructor(options: WorldOptions) {
    this.#options = options;
    this.seed = options.seed;
    this.setting = extend(drawSetting(new SeededRandom(options.seed, 'setting'), options.temper ?? drawTemper(options.seed)), options.seed);
    this.ledger = new Ledger(options.record === true);
    this.internet = new Internet(options.seed, { capture: this.ledger });
    this.transcript = options.record === true ? new Transcript() : undefined;
    const { hub, clients } = this.setting;
    this.#dialled = hub.address;
    this.hub = this.#side(
      hub.name,
      hub.address,
      clients.map(({ hubConnection }) => hubConnection),
      undefined,
    );
    this.lines = clients.map((setting) => this.#line(setting));
    this.#linesOf = new Map(this.lines.map((line) => [line.client, [line]]));
    this.sides = [this.hub, ...this.lines.map(({ client }) => client)];
    this.attacker = this.internet.core.attach({ name: 'attacker', receive: () => 'delivered', tooBig: () => {} }, []);
  }

  get now(): number {
    return this.internet.clock.now;
  }

  run(milliseconds: number): void {
    this.internet.clock.run(this.now + milliseconds, MOST_EVENTS);
  }

  /**
   * From here to the next time of quiet nothing is expected of these lines.
   * @param doubtful both ends may believe in an SA that is of no use: only silence will tell
   */
  excuse(lines: readonly Line[], why: string, doubtful = false): void {
    for (const line of lines) {
      line.excuse ??= why;
      if (doubtful) line.doubtfulUntil = this.now + SILENCE_TELLS;
    }
  }

  /** Packets of these lines get lost from now on. */
  leak(lines: readonly Line[], until = Number.POSITIVE_INFINITY): void {
    for (const line of lines) line.leakyUntil = Math.max(line.leakyUntil, until);
  }

  /** A process dies and comes back. */
  restart(side: Side, memory: Saved | 'snapshot' | 'nothing'): void {
    // ids begin anew
    for (const line of this.linesOf(side)) line.established[side === this.hub ? 'hub' : 'client'].clear();
    const { peer } = side;
    peer.clearFaults();
    peer.plane.resume(memory === 'nothing' ? new Map() : memory === 'snapshot' ? peer.plane.sequences() : memory.sequences);
    peer.restart(typeof memory === 'string' ? memory : memory.core);
    if (typeof memory !== 'string') this.#forget(side, memory.at);
    // a snapshot serves one life: what that life used nobody has written down
    side.saved = undefined;
  }

  /** RFC 4303 §3.4.3: a replay window that is older than a packet takes it for a new one. */
  #forget(side: Side, since: number): void {
    for (const traffic of this.#traffic) {
      const to = traffic.from === 'client' ? traffic.line.hub : traffic.line.client;
      if (to === side && traffic.deliveredAt >= since) traffic.deliveries = 0;
    }
  }

  /** A client has another address, and dials from there. */
  moved(side: Side, ip: string): void {
    const line = this.lines.find(({ client }) => client === side)!;
    this.#addresses.get(side.peer)!.add(ip);
    this.#configure(line, ip);
  }

  /** The hub has left the address that clients dial: they are told another one. */
  hubMoved(to: string): void {
    const from = this.#dialled;
    this.#dialled = to;
    for (const line of this.lines) this.#configure(line, line.client.peer.host.addresses[0] ?? line.setting.address);
    this.hub.peer.host.removeAddress(from);
  }

  #configure({ client, setting: { connection } }: Line, ip: string): void {
    const localAddresses = [ip, ...connection.localAddresses.slice(1)];
    client.peer.setConnections([{ ...connection, localAddresses, remoteAddresses: [this.#dialled] }]);
  }

  /** A machine has one more address. */
  gains(side: Side, ip: string): void {
    this.#addresses.get(side.peer)!.add(ip);
    side.peer.host.addAddress(ip);
  }

  /** Every place that a machine ever had: its network and an address there. */
  placesOf(peer: Peer<WalkPlane>): readonly string[] {
    return [...this.#addresses.get(peer)!].map((ip) => `${peer.host.network.name} ${ip}`);
  }

  linesOf(side: Side): readonly Line[] {
    return side === this.hub ? this.lines : this.#linesOf.get(side)!;
  }

  /** Real ESP through the real data plane. */
  sendTraffic(line: Line, from: 'client' | 'hub', policy: string, filler: number): void {
    const { children, name } = line.setting;
    const i = children.indexOf(policy);
    const net = 1 + 2 * this.setting.clients.findIndex((client) => client.name === name);
    const ends = [
      [10, net, i, 7],
      [10, 100, i, 8],
    ] as const;
    const [source, destination] = from === 'client' ? ends : [ends[1], ends[0]];
    const number = this.#traffic.length;
    const expected = (line.children.get(policy)?.stood ?? 0) > 0 && line.wanted && line.excuse === undefined;
    this.#traffic.push({ line, from, policy, at: this.now, deliveries: 0, deliveredAt: 0 });
    const taken = line[from].peer.plane.send(innerPacket(source, destination, number, filler));
    if (!taken && expected) this.ledger.break('usable', `${line[from].name} has no SA for its traffic of ${policy}`);
    if (taken && expected && line.leakyUntil <= this.now) this.#under.push(number);
  }

  /** Packets that should have arrived by now and have not. */
  checkTraffic(): void {
    while (this.#under.length > 0) {
      const packet = this.#traffic[this.#under[0]!]!;
      if (packet.at + UNDER_WAY > this.now) return;
      this.#under.shift();
      const { line, from, policy, deliveries } = packet;
      if (deliveries > 0 || line.excuse !== undefined || packet.at < Math.max(line.leakyUntil, line.trustedFrom)) continue;
      this.ledger.break('usable', `a packet of ${policy} that ${line[from].name} sent at ${packet.at.toFixed(0)} ms never came out`);
    }
  }

  #delivered(side: Side, packet: Uint8Array): void {
    const number = numberOf(packet);
    const traffic = this.#traffic[number];
    if (traffic === undefined) return this.ledger.break('once', `${side.name} was given a packet that nobody sent`);
    const other = traffic.from === 'client' ? traffic.line.hub : traffic.line.client;
    if (other !== side) this.ledger.break('once', `${side.name} was given a packet that was meant for ${other.name}`);
    if (traffic.deliveredAt > 0 && traffic.deliveries === 0) this.openedAgain += packet.length;
    traffic.deliveredAt = this.now;
    if (++traffic.deliveries > 1) this.ledger.break('once', `packet ${number} came out ${traffic.deliveries} times at ${side.name}`);
  }

  #line(setting: ClientSetting): Line {
    const client = this.#side(
      setting.name,
      setting.address,
      [setting.connection],
      setting.nat && this.internet.nat(`nat ${setting.name}`, setting.nat),
    );
    return {
      setting,
      client,
      hub: this.hub,
      wanted: false,
      excuse: 'it was never up',
      outdated: new Set(),
      lossy: false,
      partedAt: Number.NEGATIVE_INFINITY,
      leaptAt: Number.NEGATIVE_INFINITY,
      forgotAt: Number.NEGATIVE_INFINITY,
      leakyUntil: 0,
      doubtfulUntil: 0,
      trustedFrom: 0,
      children: new Map(),
      established: { client: new Set(), hub: new Set() },
    };
  }

  #side(name: string, address: string, connections: Side['peer']['options']['connections'], nat: Nat | undefined): Side {
    const { clock } = this.internet;
    const host = this.internet.host(name, { addresses: [address], network: nat?.inside ?? this.internet.core, link: this.setting.link });
    const makeEndpoint = this.#options.makeEndpoint ?? refereed;
    const judge: Judge = (what) => this.ledger.break('answered', `${name}: ${what}`);
    const needsSecret = connections.some(({ crashDetection, resumption }) => crashDetection || resumption);
    const secret = needsSecret ? { secret: new SeededRandom(this.seed, `secret of ${name}`).bytes(32) } : {};
    const options = {
      connections,
      limits: LIMITS,
      identity: { ppks: PPKS },
      endpoint: { keyExchange: simulatedKeyExchange, primitives: simulatedPrimitives, forceEncap: true, ...secret },
      makeEndpoint: (given: EndpointOptions) => makeEndpoint(name, given, judge),
    };
    const around = {
      clock,
      transcript: this.transcript,
      directory: this.#directory,
      seed: this.seed,
      touch: () => {},
      nameOf: (ip: string) => this.nameOf(ip),
      watch: (effect: Effect) => {
        if (effect.kind === 'transmit') this.ledger.ike(name, effect.datagram.data);
        else if (effect.kind === 'notice') this.#noticed(side, effect.notice);
      },
    };
    const watch: PlaneWatch = {
      clock: {
        now: () => clock.now,
        wall: () => clock.now,
        after: (delay, run) => clock.after(delay, run),
        soon: (run) => void clock.after(0, run),
      },
      installing: (spec) => this.ledger.installing(name, spec),
      delivered: (packet) => this.#delivered(side, packet),
      send: (local, remote, packet) => {
        this.ledger.esp(name, packet, (spi) => peer.plane.sequenceHigh(spi));
        const sent = host.send({ protocol: 'udp', source: { ip: local.ip, port: 4500 }, destination: remote, data: packet.slice() });
        this.handed[sent ? 'taken' : 'refused']++;
        return sent;
      },
    };
    const peer = new Peer<WalkPlane>(name, host, options, around, (random, observe) => new WalkPlane(random, observe, watch));
    this.#addresses.set(peer, new Set([address]));
    const side: Side = { name, peer, nat, saved: undefined, checked: -1 };
    return side;
  }

  /** RFC 7296 §2.4, §2.21: what ends an IKE SA is its operator, its peer, or silence. */
  #noticed(side: Side, notice: Notice): void {
    if (notice.kind === 'ike-keys')
      this.ledger.ikeKeys(side.name, notice.keys, side.peer.endpoint.infoOf(notice.ikeSa)?.role === 'initiator');
    else if (notice.kind === 'ike-up') this.#stands(side, notice.info.connection, notice.ikeSa);
    else if (notice.kind === 'ike-down') {
      const line = this.#lineOf(side, notice.connection);
      if (line !== undefined && side === line.hub) this.#takeBack(line, notice.ikeSa);
      if (line === undefined || !line.established[side === this.hub ? 'hub' : 'client'].delete(notice.ikeSa)) return;
      const { error, reason } = notice;
      if (error === undefined || line.excuse !== undefined || !line.wanted) return;
      const lost = (line.lossy || line.outdated.size > 0) && error.name === 'TimedOut';
      // RFC 7296 §2.1: with it go its children, also those that a newer IKE SA does not carry yet
      if (lost) return this.excuse([line], `an IKE SA of ${side.name} was given up while packets got lost, or fell outside of the window`);
      if (this.#cameTooLate(line, error))
        return this.excuse([line], 'the hub ended an IKE SA that could not be authenticated anew in time');
      // RFC 7296 §2.8.3: of the IKE SA before and the one after a new authentication either may go while the other stands
      const another = line.established[side === this.hub ? 'hub' : 'client'].size > 0;
      if (line.setting.extensions?.has('reauth') && another) {
        line.partedAt = this.now;
        return;
      }
      // what the client cannot use it closes, and the hub what is superseded: while the one Delete gets lost the other may come
      if (line.lossy && error.code === 'CLOSED_BY_PEER' && this.now < line.partedAt + DELETE_GETS_LOST)
        return this.excuse([line], 'each end closed the IKE SA that the other one kept');
      this.ledger.break('proven', `an IKE SA of ${side.name} ended: ${reason} (${error.code})`);
    } else if (notice.kind === 'ike-rekeyed') {
      const line = this.linesOf(side).find((one) => one.established[side === this.hub ? 'hub' : 'client'].has(notice.from));
      if (line !== undefined) line.established[side === this.hub ? 'hub' : 'client'].add(notice.to);
    }
  }

  /**
   * The hub hears that the client's operator asked for the end. What it has begun by itself since, say because the client demanded a new
   * authentication before (RFC 4478 §2), its own operator takes back: RFC 7296 keeps nobody from dialling who is called again.
   */
  #takeBack({ wanted, hub, setting }: Line, ended: number): void {
    if (wanted) return;
    const begun = hub.peer.ikeSas.filter(
      ({ id, connection, role }) => id > ended && connection === setting.hubConnection.name && role === 'initiator',
    );
    for (const { id } of begun) {
      // not in the midst of what the endpoint does
      this.internet.clock.after(0, () => {
        if (hub.peer.ikeSas.some((sa) => sa.id === id)) hub.peer.deleteIke(id);
      });
    }
  }

  /**
   * RFC 4478 §2: the responder ends what is not authenticated anew in time. Nobody is to blame where packets get lost meanwhile, or where its
   * clock has leapt since that authentication, or where the client demanded of came back with a memory from before the demand.
   */
  #cameTooLate({ setting, hub, lossy, leaptAt, forgotAt }: Line, { code }: TunnelwrightError): boolean {
    const { name, lifetimes } = setting.hubConnection;
    const overdue = hub.peer.ikeSas.some(
      ({ connection, state, reauthAt = Number.POSITIVE_INFINITY }) =>
        connection === name && state === 'deleting' && reauthAt <= hub.peer.now,
    );
    if (code !== 'REAUTHENTICATION_OVERDUE' && !(code === 'CLOSED_BY_PEER' && overdue)) return false;
    if (lossy || this.now < forgotAt + DEMANDED) return true;
    return this.now < leaptAt + lifetimes.reauth + (lifetimes.reauthGrace ?? lifetimes.reauth / 10);
  }

  #stands(side: Side, connection: string | undefined, ikeSa: number): void {
    this.#lineOf(side, connection)?.established[side === this.hub ? 'hub' : 'client'].add(ikeSa);
  }

  #lineOf(side: Side, connection: string | undefined): Line | undefined {
    if (side !== this.hub) return this.lines.find(({ client }) => client === side);
    return this.lines.find(({ setting }) => setting.hubConnection.name === connection);
  }

  nameOf(ip: string): string {
    const owner = this.sides.find(({ peer }) => peer.host.addresses.includes(ip));
    return owner?.name ?? this.lines.find(({ setting }) => setting.nat?.outside.includes(ip))?.client.name ?? ip;
  }
}

const refereed = (_: string, options: EndpointOptions, judge: Judge): Endpoint => new Endpoint(options, new RefereedWorld(options, judge));

/** Tight, so that a walk can reach them. */
export const LIMITS = { halfOpen: 16, halfOpenPerAddress: 4, cookieThreshold: 6, ikeSas: 64 };

/** Milliseconds after which a packet that is not there was lost: both links at their slowest, and the copies that wander. */
const UNDER_WAY = 3000;
/** A liveness check comes and is given up. */
const SILENCE_TELLS = 110_000;
/** RFC 4478 §3: what a hub that demands a new authentication gives the client, and a round trip. */
const DEMANDED = 305_000;
/** A Delete is repeated, and given up. */
const DELETE_GETS_LOST = 60_000;
/** Of one step. */
const MOST_EVENTS = 50_000;
