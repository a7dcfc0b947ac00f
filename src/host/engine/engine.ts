import { type Address, ApiMisuse, InternalError, TunnelwrightError } from '../../core/bytes/index.ts';
import type {
  AskResult,
  ChildSaInfo,
  ChildSaSpec,
  Command,
  Datagram,
  Effect,
  IkeSaInfo,
  Millis,
  Notice,
  Observation,
} from '../../core/ike/effects.ts';
import type { Connection } from '../../core/ike/policy.ts';
import type { Backend, ChildCounters, DataPlane, DataPlaneOptions, SequenceNumbers } from '../dataplane/data-plane.ts';
import type { Timer } from '../platform/clock.ts';
import type { Platform } from '../platform/platform.ts';

import { type Authorise, answerAsk, type Credentials } from './asks.ts';
import { ChildOwners } from './child-owners.ts';
import type { IkeCore } from './core.ts';
import { Counters } from './counters.ts';
import { Emitter } from './events.ts';
import { Keepalives } from './keepalives.ts';
import { LeaseTable, type PoolPolicy } from './leases.ts';
import { type ListenOptions, LocalSide } from './local-side.ts';
import type { LocalSockets } from './sockets.ts';
import { Throttle } from './throttle.ts';
import { trapsOf } from './traps.ts';

export interface EngineOptions<Plane extends DataPlane = DataPlane> {
  readonly platform: Platform;
  /** Makes the core, once its surroundings are known. */
  readonly core: (hints: CoreHints) => IkeCore;
  readonly credentials: Credentials;
  readonly backend: Backend<Plane>;
  readonly plane?: Pick<DataPlaneOptions, 'addresses' | 'mtu' | 'forward' | 'promiscuous'>;
  /** The same that the core was made with. */
  readonly connections: readonly Connection[];
  readonly pools?: readonly PoolPolicy[];
  readonly authorise?: Authorise | undefined;
}

/** What the core wants to know of where it runs (`EndpointOptions`). */
interface CoreHints {
  /** Own UDP ports; read anew at every use, since sockets may be opened later. */
  readonly ports: { readonly ike: number; readonly nat: number };
  /** The data plane can carry ESP only inside UDP. */
  readonly forceEncap: boolean;
}

export interface EngineEvents {
  /** Everything the core reports, in order. `at` is wall clock time, milliseconds since 1970. Floods of `drop` are thinned, never counters. */
  notice: { readonly at: number; readonly notice: Notice };
}

export interface EngineSnapshot {
  readonly core: unknown;
  readonly sequences: readonly { readonly inboundSpi: number; readonly numbers: SequenceNumbers | undefined }[];
}

/** An IKE SA with what its data plane counted. */
export interface IkeSaStatus extends IkeSaInfo {
  readonly children: readonly (ChildSaInfo & { readonly counters: ChildCounters | undefined })[];
}

/**
 * The only loop: hands datagrams, time and answers to the core, does what the core wishes, keeps one timer. Nothing that comes from the
 * network makes it throw.
 */
export class Engine<Plane extends DataPlane = DataPlane> {
  readonly events = new Emitter<EngineEvents>((error) => this.#onListenerError(error));
  readonly counters = new Counters();
  readonly leases: LeaseTable;
  readonly #platform: Platform;
  readonly #core: IkeCore;
  readonly #credentials: Credentials;
  readonly #authorise: Authorise | undefined;
  readonly #local: LocalSide;
  readonly #keepalives = new Keepalives();
  /** IKE SAs that stand: asking the core for all it has, at every handshake, would cost more than the handshake. */
  readonly #up = new Set<number>();
  readonly #children = new ChildOwners();
  /** Sequence numbers of a former life, by inbound SPI. */
  #resumable = new Map<number, SequenceNumbers | undefined>();
  #plane: Plane | undefined;
  #connections = new Map<string, Connection>();
  /** Asks under way, so that an install that was cancelled is undone. */
  readonly #asked = new Map<number, { cancelled: boolean }>();
  #timer: Timer | undefined;
  #timerAt: Millis = Number.POSITIVE_INFINITY;
  #draining = false;
  #closed = false;
  readonly #shownDrops = new Throttle(DROPS_SHOWN_AT_ONCE, DROPS_SHOWN_PER_SECOND);
  #blamingListener = false;

  /** @throws DataPlaneError when the backend cannot be opened, ConfigError for a pool that is none. */
  static async open<Plane extends DataPlane>(options: EngineOptions<Plane>): Promise<Engine<Plane>> {
    const engine = new Engine<Plane>(options);
    engine.#plane = await options.backend.open({
      clock: options.platform.clock,
      random: options.platform.random,
      openPath: (local, remote) => engine.#local.sockets.path(local, remote),
      onObservation: (observation) => engine.#onObservation(observation),
      ...options.plane,
    });
    engine.#plane.setTraps(trapsOf(options.connections));
    return engine;
  }

  private constructor(options: EngineOptions<Plane>) {
    this.#platform = options.platform;
    const sockets = (): LocalSockets | undefined => this.#local.sockets.all[0];
    this.#core = options.core({
      ports: {
        get ike() {
          return (sockets()?.ike ?? sockets()?.nat)?.local.port ?? 0;
        },
        get nat() {
          return sockets()?.nat.local.port ?? 0;
        },
      },
      forceEncap: !options.backend.bareEsp,
    });
    this.#credentials = options.credentials;
    this.#authorise = options.authorise;
    this.leases = new LeaseTable(options.pools);
    this.#connections = new Map(options.connections.map((connection) => [connection.name, connection]));
    this.#local = new LocalSide(
      options.platform,
      this.counters,
      {
        onIke: (datagram) => this.#onDatagram(datagram),
        onEsp: (packet, local, ip, port) => this.#plane?.receive?.(packet, local, ip, port),
      },
      {
        onAddresses: (addresses) => this.#onAddresses(addresses),
        onFailure: (what, error) => this.#fail(undefined, what, error),
      },
    );
  }

  get plane(): Plane {
    if (this.#plane === undefined) throw new InternalError('the data plane is not open yet');
    return this.#plane;
  }

  /** Where we receive, with the ports that were really opened. */
  get sockets(): readonly { readonly ike: Address | undefined; readonly nat: Address }[] {
    return this.#local.sockets.all.map(({ ike, nat }) => ({ ike: ike?.local, nat: nat.local }));
  }

  /** Opens sockets and answers there. @throws DataPlaneError for the first address that cannot be opened */
  async listen(options: ListenOptions): Promise<void> {
    this.#assertOpen();
    await this.#local.listen(options);
    this.#arm();
  }

  /**
   * Begins an IKE SA with the peer of a connection.
   * @returns the number of the IKE SA
   * @throws ApiMisuse, TimedOut or DataPlaneError when it cannot even begin: no such connection, no peer address, no route, no socket
   */
  async initiate(connection: string, child?: string): Promise<number> {
    this.#assertOpen();
    const policy = this.#connections.get(connection);
    if (policy === undefined) {
      throw new ApiMisuse(`there is no connection ${connection}`, {
        code: 'NO_SUCH_CONNECTION',
        hint: `Known: ${[...this.#connections.keys()].join(', ') || 'none'}.`,
      });
    }
    const path = await this.#local.approach(policy);
    this.#tellConnections();
    const ikeSa = this.command({ kind: 'initiate', connection, child, ...path });
    if (ikeSa === undefined) throw new InternalError(`the core did not begin ${connection}`);
    return ikeSa;
  }

  /** @throws ApiMisuse or ConfigError for what does not exist */
  command(command: Command): number | undefined {
    this.#assertOpen();
    let result: number | undefined;
    let refused: TunnelwrightError | undefined;
    this.#enter(`command ${command.kind}`, (now) => {
      try {
        result = this.#core.command(command, now);
      } catch (error) {
        if (!(error instanceof TunnelwrightError) || error instanceof InternalError) throw error;
        refused = error;
      }
    });
    if (refused !== undefined) throw refused;
    return result;
  }

  setConnections(connections: readonly Connection[], pools?: readonly PoolPolicy[]): void {
    if (pools !== undefined) this.leases.setPools(pools);
    this.#connections = new Map(connections.map((connection) => [connection.name, connection]));
    this.plane.setTraps(trapsOf(connections));
    this.#tellConnections();
  }

  /** What stands or is about to; not what is gone and only repeats its last answer. */
  info(): readonly IkeSaStatus[] {
    return this.#living().map((ikeSa) => ({
      ...ikeSa,
      children: ikeSa.children.map((child) => ({ ...child, counters: this.#plane?.counters(child.id) })),
    }));
  }

  #living(): readonly IkeSaInfo[] {
    return this.#core.info().filter((sa) => sa.state !== 'lingering');
  }

  /** Of the engine's clock, as `IkeSaInfo` uses it. */
  now(): Millis {
    return this.#platform.clock.now();
  }

  /** Everything another life of this process needs to go on. It holds keys: whoever stores it protects it. */
  snapshot(): EngineSnapshot {
    const children = this.#core.info().flatMap((ikeSa) => ikeSa.children);
    const sequences = children.map(({ id, inboundSpi }) => ({ inboundSpi, numbers: this.plane.sequenceNumbers(id) }));
    return { core: this.#core.snapshot(), sequences: sequences.filter(({ numbers }) => numbers !== undefined) };
  }

  restore(snapshot: EngineSnapshot): void {
    this.#resumable = new Map(snapshot.sequences.map(({ inboundSpi, numbers }) => [inboundSpi, numbers]));
    this.#enter('restore', (now) => this.#core.restore(snapshot.core, now));
    for (const { id, remoteId, assigned, role } of this.#core.info()) {
      if (role === 'responder' && remoteId !== undefined) this.leases.restore(id, remoteId, assigned);
    }
  }

  /**
   * Says goodbye to every peer, waits for their answers, then lets go of everything.
   * @param grace milliseconds to wait for answers
   */
  async close(grace: Millis = GRACE): Promise<void> {
    if (this.#closed) return;
    for (const { id } of this.#living()) this.command({ kind: 'delete-ike', ikeSa: id });
    await this.#untilEmpty(grace);
    this.#closed = true;
    this.#timer?.cancel();
    await this.#plane?.close();
    await this.#local.sockets.close();
  }

  #onDatagram(datagram: Datagram): void {
    if (this.#closed) return;
    this.#enter('a datagram', (now) => this.#core.receive(datagram, now));
  }

  #onObservation(observation: Observation): void {
    if (this.#closed) return;
    if (observation.kind === 'acquire') this.#onAcquire(observation.connection, observation.child);
    else this.#enter(observation.kind, (now) => this.#core.observe(observation, now));
  }

  /** Sockets may have to be opened first, so an acquire goes the way of a command. */
  #onAcquire(connection: string, child: string): void {
    const sas = this.#core.info().filter((sa) => sa.connection === connection);
    const standing = sas.find(isUp);
    if (standing !== undefined) this.command({ kind: 'create-child', ikeSa: standing.id, child });
    else if (!sas.some(isBeginning)) {
      this.initiate(connection, child).catch((error: unknown) => this.#fail(connection, `acquire of ${child}`, error));
    }
  }

  /** Every entrance into the core: time is read once, what it throws is our defect and ends there, then its wishes are done. */
  #enter(what: string, act: (now: Millis) => void): void {
    try {
      act(this.#platform.clock.now());
    } catch (error) {
      this.#defect(what, error);
    }
    this.#drain();
  }

  #drain(): void {
    if (this.#draining || this.#closed) return; // whoever drains goes on until nothing is left
    this.#draining = true;
    try {
      let budget = MOST_EFFECTS;
      for (let effect = this.#core.poll(); effect !== undefined; effect = this.#core.poll()) {
        this.#perform(effect);
        if (--budget === 0) {
          this.#platform.clock.soon(() => this.#drain());
          break;
        }
      }
    } catch (error) {
      this.#defect('an effect', error);
      this.#platform.clock.soon(() => this.#drain());
    } finally {
      this.#draining = false;
    }
    this.#arm();
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'transmit':
        if (this.#local.sockets.transmit(effect.datagram) && effect.datagram.encap) {
          this.#keepalives.transmitted(effect.datagram.local, effect.datagram.remote, this.#platform.clock.now());
        }
        break;
      case 'ask':
        this.#ask(effect);
        break;
      case 'cancel': {
        const asked = this.#asked.get(effect.id);
        if (asked !== undefined) asked.cancelled = true;
        break;
      }
      case 'child-update':
        if (effect.change.kind === 'owner') this.#children.own(effect.child, effect.change.ikeSa);
        this.plane.update(effect.child, effect.change);
        break;
      case 'child-remove':
        this.#children.forget(effect.child);
        this.plane.remove(effect.child);
        break;
      case 'lease-release':
        this.leases.release(effect.ikeSa);
        break;
      case 'notice':
        this.#onNotice(effect.notice);
        break;
    }
  }

  #ask({ id, ikeSa, ask }: Extract<Effect, { kind: 'ask' }>): void {
    this.counters.add('asks', ask.kind);
    if (ask.kind === 'install') this.#children.own(ask.spec.id, ask.spec.ikeSa);
    const context = {
      clock: this.#platform.clock,
      credentials: this.#credentials,
      authorise: this.#authorise,
      leases: this.leases,
      install: (spec: ChildSaSpec) => this.plane.install(spec, spec.resumed ? this.#resumable.get(spec.inbound.spi) : undefined),
    };
    const result = answerAsk(ask, ikeSa, context);
    if (!(result instanceof Promise)) {
      this.#core.answer(id, result, this.#platform.clock.now()); // inside a drain, which goes on
      return;
    }
    const asked = { cancelled: false };
    this.#asked.set(id, asked);
    result
      .then((late: AskResult) => {
        this.#asked.delete(id);
        if (asked.cancelled && ask.kind === 'install' && late.ok) this.plane.remove(ask.spec.id);
        if (asked.cancelled || this.#closed) return;
        this.#enter(`the answer to ${ask.kind}`, (now) => this.#core.answer(id, late, now));
      })
      .catch((error: unknown) => this.#defect(`the answer to ${ask.kind}`, error));
  }

  #onNotice(notice: Notice): void {
    switch (notice.kind) {
      case 'ike-up':
        this.#up.add(notice.ikeSa);
        this.#keepAlive(notice.info);
        break;
      case 'ike-rekeyed':
        this.#up.delete(notice.from);
        this.#up.add(notice.to);
        this.#keepalives.drop(notice.from);
        this.#keepAlive(this.#core.info().find((sa) => sa.id === notice.to));
        break;
      case 'nat':
        // Before an IKE SA stands there is nothing to keep alive; afterwards its addresses have changed (MOBIKE).
        if (this.#up.has(notice.ikeSa)) this.#keepAlive(this.#core.info().find((sa) => sa.id === notice.ikeSa));
        break;
      case 'ike-down':
        this.#up.delete(notice.ikeSa);
        this.#keepalives.drop(notice.ikeSa);
        break;
      default:
    }
    this.#report(notice);
  }

  #report(notice: Notice): void {
    this.counters.count(notice);
    // Anybody can make us drop datagrams; logs must not grow at their pace.
    if (notice.kind === 'drop' && !this.#shownDrops.take(this.#platform.clock.now())) this.counters.add('notices', 'drop, not shown');
    else this.events.emit('notice', { at: this.#platform.clock.wall(), notice });
  }

  #keepAlive(info: IkeSaInfo | undefined): void {
    if (info === undefined) return;
    const interval = this.#connections.get(info.connection ?? '')?.natKeepalive ?? 0;
    if (info.natOurs) this.#keepalives.track(info.id, { local: info.local, remote: info.remote, interval }, this.#platform.clock.now());
    else this.#keepalives.drop(info.id);
  }

  #arm(): void {
    if (this.#closed) return;
    const next = earliest(this.#core.nextDeadline(), this.#keepalives.nextDeadline(), this.#local.nextDeadline());
    if (next === undefined || next >= this.#timerAt) return; // a timer that fires early looks again
    this.#timer?.cancel();
    this.#timerAt = next;
    this.#timer = this.#platform.clock.after(next - this.#platform.clock.now(), () => this.#onTimer());
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    if (this.#closed) return;
    const now = this.#platform.clock.now();
    this.#local.expire(now);
    this.#keepalives.expire(
      now,
      (ikeSa) => this.#children.lastSent(ikeSa, (child) => this.plane.counters(child)?.outbound.lastUse),
      (local, remote) => this.#local.sockets.keepalive(local, remote),
    );
    const due = this.#core.nextDeadline();
    if (due !== undefined && due <= now) this.#enter('a timer', (time) => this.#core.expire(time));
    else this.#arm();
  }

  #tellConnections(): void {
    const connections = this.#local.localised([...this.#connections.values()]);
    this.#enter('configuration', () => this.#core.setConnections(connections));
  }

  #onAddresses(addresses: readonly string[]): void {
    if (this.#closed) return;
    this.#tellConnections();
    this.#enter('local-addresses', (now) => this.#core.observe({ kind: 'local-addresses', addresses }, now));
  }

  #untilEmpty(grace: Millis): Promise<void> {
    return new Promise((resolve) => {
      if (grace <= 0 || this.#living().length === 0) return resolve();
      const finish = (): void => {
        off();
        timer.cancel();
        resolve();
      };
      const timer = this.#platform.clock.after(grace, finish);
      const off = this.events.on('notice', ({ notice }) => {
        if (notice.kind === 'ike-down' && this.#living().length === 0) finish();
      });
    });
  }

  /** Told to all listeners once; one that fails at that too is only counted. */
  #onListenerError(error: unknown): void {
    this.counters.add('errors', 'LISTENER_FAILED');
    if (this.#blamingListener) return;
    this.#blamingListener = true;
    this.#defect('a listener', error);
    this.#blamingListener = false;
  }

  #defect(what: string, error: unknown): void {
    const wrapped = error instanceof InternalError ? error : new InternalError(`${what}: ${textOf(error)}`, { cause: error });
    this.#report({ kind: 'failed', ikeSa: undefined, connection: undefined, what, error: wrapped });
  }

  #fail(connection: string | undefined, what: string, error: unknown): void {
    if (!(error instanceof TunnelwrightError)) this.#defect(what, error);
    else this.#report({ kind: 'failed', ikeSa: undefined, connection, what, error });
  }

  #assertOpen(): void {
    if (this.#closed) throw new ApiMisuse('the engine was closed', { code: 'ENGINE_CLOSED' });
  }
}

/** States of an IKE SA (`core/ike/ike-sa-state.ts`) by what they mean for us. */
const isUp = ({ state }: IkeSaInfo): boolean => state === 'established' || state === 'rekeying';
const isBeginning = ({ state }: IkeSaInfo): boolean => state === 'connecting' || state === 'authenticating';

function earliest(...times: readonly (Millis | undefined)[]): Millis | undefined {
  let first: Millis | undefined;
  for (const time of times) if (time !== undefined && (first === undefined || time < first)) first = time;
  return first;
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const GRACE: Millis = 2000;
/** A turn of the event loop is not spent on wishes alone. */
const MOST_EFFECTS = 10_000;
const DROPS_SHOWN_AT_ONCE = 100;
const DROPS_SHOWN_PER_SECOND = 10;
