import { type Address, ApiMisuse, InternalError, TunnelwrightError } from '../../core/bytes/index.ts';
import type {
  Ask,
  AskResult,
  Command,
  Datagram,
  Effect,
  IkeSaInfo,
  Millis,
  Notice,
  Observation,
  PacketSelectors,
} from '../../core/ike/effects.ts';
import type { Connection } from '../../core/ike/policy.ts';
import { isSomebody } from '../../core/ike/tasks/null-authentication.ts';
import type { DataPlane, SequenceNumbers } from '../dataplane/data-plane.ts';
import type { Platform } from '../platform/platform.ts';
import { Books, earliest, isBeginning, isGone, isUp } from './books.ts';
import type { IkeCore } from './core.ts';
import type { Counters } from './counters.ts';
import { Desk, hires } from './desk.ts';
import type { EngineEvents, EngineOptions, EngineSockets } from './engine-types.ts';
import type { Emitter } from './events.ts';
import { addressesOf, type Lookup } from './gateway-names.ts';
import type { PoolPolicy } from './lease-pool.ts';
import { LeaseTable } from './leases.ts';
import { type ListenOptions, LocalSide, type OwnAddresses } from './local-side.ts';
import { Loop } from './loop.ts';
import { Reports } from './reports.ts';
import type { LocalSockets } from './sockets.ts';
import type { EngineLoad, EngineSnapshot, IkeSaStatus } from './status.ts';
import { tellPolicies } from './traps.ts';

export type { EngineEvents, EngineOptions, EngineSockets } from './engine-types.ts';
export type { EngineLoad, EngineSnapshot, IkeSaStatus } from './status.ts';

/**
 * The core at work: hands it datagrams, time and answers, and does what it wishes, by sockets, data plane and desk. Nothing that comes from
 * the network makes it throw.
 */
export class Engine<Plane extends DataPlane = DataPlane> {
  readonly #reports: Reports;
  readonly leases: LeaseTable;
  readonly #platform: Platform;
  readonly #core: IkeCore;
  readonly #loop: Loop;
  readonly #lookup: Lookup | undefined;
  readonly #local: LocalSide;
  readonly #books: Books;
  /** Sequence numbers of a former life, by inbound SPI. */
  #resumable = new Map<number, SequenceNumbers | undefined>();
  #plane: Plane | undefined;
  #connections = new Map<string, Connection>();
  /** Asks under way, so that an install that was cancelled is undone. */
  readonly #desk: Desk;
  /** Datagrams that the core dropped. */
  #drops = 0;

  /** @throws DataPlaneError when the backend cannot be opened, ConfigError for a pool that is none. */
  static async open<Plane extends DataPlane>(options: EngineOptions<Plane>): Promise<Engine<Plane>> {
    const engine = new Engine<Plane>(options);
    engine.#plane = await options.backend.open({
      clock: options.platform.clock,
      random: options.platform.random,
      openPath: (local, remote, _encap, transport) => engine.#local.sockets.path(local, remote, transport),
      onObservation: (observation) => engine.#onObservation(observation),
      onFailure: (error) => engine.#reports.fail(undefined, 'the data plane', error),
      ...options.plane,
    });
    tellPolicies(engine.#plane, options.connections);
    engine.#desk.hire(options, {
      onPressure: (high) => engine.#loop.enter('pressure', (now) => engine.#core.observe({ kind: 'pressure', high }, now)),
      onCrash: (error) => engine.#reports.fail(undefined, 'a worker', error),
    });
    return engine;
  }

  private constructor(options: EngineOptions<Plane>) {
    this.#platform = options.platform;
    this.#reports = new Reports(options.platform.clock);
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
      forceEncap: options.backend.bareEsp === 'asked' ? options.plane?.bareEsp !== true : !options.backend.bareEsp,
      asksKeyExchange: hires(options),
    });
    this.#loop = new Loop(options.platform.clock, {
      poll: () => this.#core.poll(),
      perform: (effect) => this.#perform(effect),
      nextDeadline: () => earliest(this.#core.nextDeadline(), this.#books.nextDeadline(), this.#local.nextDeadline()),
      expire: (now) => this.#expire(now),
      defect: (what, error) => this.#reports.defect(what, error),
    });
    this.#lookup = options.lookup;
    this.leases = new LeaseTable(options.pools);
    this.#desk = new Desk({
      context: {
        clock: options.platform.clock,
        credentials: options.credentials,
        hooks: options,
        leases: this.leases,
        counters: (child) => this.plane.counters(child),
        approach: (connection, gateway) => this.#approach(connection, gateway),
        connect: (localIp, remote, within) => this.#local.sockets.streams.connect(localIp, remote, within),
        install: (spec) => this.plane.install(spec, spec.resumed ? this.#resumable.get(spec.inbound.spi) : undefined),
      },
      onAnswer: (id, result, what) => {
        if (!this.#loop.closed) this.#loop.enter(`the answer to ${what}`, (now) => this.#core.answer(id, result, now));
      },
      onOrphan: (ask, late, ikeSa) => this.#undo(ask, late, ikeSa),
      onDefect: (what, error) => this.#reports.defect(what, error),
    });
    this.#connections = new Map(options.connections.map((connection) => [connection.name, connection]));
    this.#books = new Books(
      (ikeSa) => this.#core.infoOf(ikeSa),
      (connection) => this.#connections.get(connection),
      {
        now: () => options.platform.clock.now(),
        open: (ip, onDatagram) => this.#local.sockets.openProbe(ip, onDatagram),
        ask: (ikeSa, local, seconds) =>
          this.#loop.enter('echo', (now) => this.#core.command({ kind: 'ask-echo', ikeSa, local, seconds }, now)),
        changed: () => this.#loop.arm(),
      },
    );
    this.#local = new LocalSide(
      options.platform,
      this.counters,
      {
        onIke: (datagram) => this.#onDatagram(datagram),
        turnsAway: (datagram) => this.#turnsAway(datagram),
        onEsp: (packet, local, ip, port, transport) => this.#plane?.receive?.(packet, local, ip, port, transport) !== false,
        onBound: (socket) => this.#plane?.adopt?.(socket) ?? Promise.resolve(),
        onUnbinding: (socket) => this.#plane?.disown?.(socket) ?? Promise.resolve(),
        onFailure: (what, error) => this.#reports.fail(undefined, what, error),
        onStreamClosed: (local, remote) => this.#onObservation({ kind: 'stream-closed', local, remote }),
      },
      {
        onAddresses: (own) => this.#onAddresses(own),
        othersOf: (connection) => this.ofConnection(connection).flatMap((sa) => sa.mobike?.peerAddresses ?? []),
        onSooner: () => this.#loop.arm(),
        onFailure: (what, error) => this.#reports.fail(undefined, what, error),
      },
    );
  }

  get events(): Emitter<EngineEvents> {
    return this.#reports.events;
  }

  get counters(): Counters {
    return this.#reports.counters;
  }

  get plane(): Plane {
    if (this.#plane === undefined) throw new InternalError('the data plane is not open yet');
    return this.#plane;
  }

  /** Where we receive, with the ports that were really opened. */
  get sockets(): readonly EngineSockets[] {
    return this.#local.sockets.all.map(({ ike, nat, tcp }) => ({ ike: ike?.local, nat: nat.local, tcp: tcp?.local }));
  }

  /** Opens sockets and answers there. @throws DataPlaneError for the first address that cannot be opened */
  async listen(options: ListenOptions): Promise<void> {
    this.#assertOpen();
    await this.#local.listen(options);
    this.#loop.arm();
  }

  /**
   * Begins an IKE SA with the peer of a connection.
   * @returns the number of the IKE SA
   * @throws ApiMisuse, TimedOut or DataPlaneError when it cannot even begin: no such connection, no peer address, no route, no socket
   */
  async initiate(connection: string, child?: string, packet?: PacketSelectors): Promise<number> {
    this.#assertOpen();
    const policy = this.#connections.get(connection);
    if (policy === undefined) {
      throw new ApiMisuse(`there is no connection ${connection}`, {
        code: 'NO_SUCH_CONNECTION',
        hint: `Known: ${[...this.#connections.keys()].join(', ') || 'none'}.`,
      });
    }
    const { local, remote, learned } = await this.#local.approach(policy);
    if (learned) this.#tellConnections();
    const ikeSa = this.command({ kind: 'initiate', connection, child, local, remote, packet });
    if (ikeSa === undefined) throw new InternalError(`the core did not begin ${connection}`);
    this.#books.connected.add(connection, ikeSa);
    return ikeSa;
  }

  /** @throws ApiMisuse or ConfigError for what does not exist */
  command(command: Command): number | undefined {
    this.#assertOpen();
    let result: number | undefined;
    let refused: TunnelwrightError | undefined;
    this.#loop.enter(`command ${command.kind}`, (now) => {
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
    tellPolicies(this.plane, connections);
    this.#tellConnections();
  }

  /** What stands or is about to; not what is gone and only repeats its last answer. */
  info(): readonly IkeSaStatus[] {
    return this.#living().map((ikeSa) => this.#withCounters(ikeSa));
  }

  infoOf(ikeSa: number): IkeSaStatus | undefined {
    const found = this.#core.infoOf(ikeSa);
    return found === undefined || isGone(found) ? undefined : this.#withCounters(found);
  }

  /** The IKE SAs of one connection, without looking at the others. */
  ofConnection(connection: string): readonly IkeSaStatus[] {
    return this.#books.connected.of(connection).flatMap((id) => this.infoOf(id) ?? []);
  }

  /** The IKE SA that has a CHILD_SA. */
  ownerOf(child: number): number | undefined {
    return this.#books.children.ownerOf(child);
  }

  #withCounters(ikeSa: IkeSaInfo): IkeSaStatus {
    return {
      ...ikeSa,
      keepalive: this.#books.keepaliveOf(ikeSa.id),
      children: ikeSa.children.map((child) => ({ ...child, counters: this.#plane?.counters(child.id) })),
    };
  }

  #living(): readonly IkeSaInfo[] {
    return this.#core.info().filter((sa) => !isGone(sa));
  }

  load(): EngineLoad {
    return { ...this.#core.load(), workers: this.#desk.load() };
  }

  /** Of the engine's clock, as `IkeSaInfo` uses it. */
  now(): Millis {
    return this.#platform.clock.now();
  }

  /** Everything another life of this process needs to go on. It holds keys: whoever stores it protects it. */
  snapshot(): EngineSnapshot {
    const children = this.#core.info().flatMap((ikeSa) => ikeSa.children);
    const sequences = children.map(({ id, inboundSpi }) => ({ inboundSpi, numbers: this.plane.sequenceNumbers(id) }));
    return { core: this.#core.snapshot(this.#platform.clock.now()), sequences: sequences.filter(({ numbers }) => numbers !== undefined) };
  }

  /**
   * Goes on from a snapshot, be it of this process or of another one that this one takes over for. With peers that agreed to it Message IDs and replay
   * counters are synchronised first (RFC 6311), so that it may be some time old; for others it has to be the last word.
   * @param how exact: nothing was sent or received since it was made
   */
  restore(snapshot: EngineSnapshot, how?: { readonly exact?: boolean }): void {
    this.#resumable = new Map(snapshot.sequences.map(({ inboundSpi, numbers }) => [inboundSpi, numbers]));
    this.#loop.enter('restore', (now) => this.#core.restore(snapshot.core, now, how));
    for (const sa of this.#living()) {
      if (!sa.assignedToUs && sa.remoteId !== undefined) this.leases.restore(sa.id, sa.remoteId, sa.assigned, !isSomebody(sa));
    }
  }

  /**
   * Says goodbye to every peer, waits for their answers, then lets go of everything.
   * @param grace milliseconds to wait for answers
   */
  async close(grace: Millis = GRACE): Promise<void> {
    if (this.#loop.closed) return;
    for (const { id } of this.#living()) this.command({ kind: 'delete-ike', ikeSa: id });
    await this.#untilEmpty(grace);
    this.#loop.close();
    await this.#plane?.close();
    await this.#local.close();
    await this.#desk.close();
  }

  /** @returns false when it was dropped */
  #onDatagram(datagram: Datagram): boolean {
    if (this.#loop.closed) return true;
    const before = this.#drops;
    this.#loop.enter('a datagram', (now) => this.#core.receive(datagram, now));
    return this.#drops === before;
  }

  #turnsAway(datagram: Datagram): boolean {
    if (this.#loop.closed || this.#core.turnsAway === undefined) return this.#loop.closed;
    let done = false;
    this.#loop.enter('a first request', (now) => {
      done = this.#core.turnsAway!(datagram, now);
    });
    return done;
  }

  #onObservation(observation: Observation): void {
    if (this.#loop.closed) return;
    if (observation.kind === 'acquire') this.#onAcquire(observation);
    else this.#loop.enter(observation.kind, (now) => this.#core.observe(observation, now));
  }

  /** Sockets may have to be opened first, so an acquire goes the way of a command. */
  #onAcquire({ connection, child, packet }: Extract<Observation, { kind: 'acquire' }>): void {
    const sas = this.ofConnection(connection);
    const standing = sas.find(isUp);
    if (standing !== undefined) this.command({ kind: 'create-child', ikeSa: standing.id, child, packet });
    else if (!sas.some(isBeginning)) {
      this.initiate(connection, child, packet).catch((error: unknown) => this.#reports.fail(connection, `acquire of ${child}`, error));
    }
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'transmit':
        this.#transmit(effect.datagram);
        break;
      case 'stream':
        this.#local.sockets.streams.change(effect.change, effect.local, effect.remote);
        break;
      case 'ask':
        this.#ask(effect);
        break;
      case 'cancel':
        this.#desk.cancel(effect.id);
        break;
      case 'child-update':
        if (effect.change.kind === 'owner') this.#books.children.own(effect.child, effect.change.ikeSa);
        this.plane.update(effect.child, effect.change);
        break;
      case 'child-remove':
        this.events.emit('child-removed', { child: effect.child, counters: this.plane.counters(effect.child) });
        this.#books.children.forget(effect.child);
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

  #transmit(datagram: Datagram): void {
    const { sockets } = this.#local;
    const { local, remote, encap, transport } = datagram;
    if (sockets.transmit(datagram) && encap && transport !== 'tcp' && !sockets.isProbe(local))
      this.#books.keepalives.transmitted(local, remote, this.#platform.clock.now());
  }

  #ask(effect: Extract<Effect, { kind: 'ask' }>): void {
    const { id, ask } = effect;
    this.counters.add('asks', ask.kind);
    if (ask.kind === 'install') this.#books.children.own(ask.spec.id, ask.spec.ikeSa);
    const result = this.#desk.ask(effect);
    if (result !== undefined) this.#core.answer(id, result, this.#platform.clock.now()); // inside a drain, which goes on
  }

  /** What came too late for whoever asked for it. */
  #undo(ask: Ask, late: AskResult, ikeSa: number): void {
    if (ask.kind === 'lease') this.leases.release(ikeSa);
    if (ask.kind === 'install') this.plane.remove(ask.spec.id);
    if (ask.kind === 'connect' && 'local' in late) this.#local.sockets.streams.change('close', late.local, ask.remote);
  }

  /** Where a connection is redirected to. */
  async #approach(connection: string, gateway: string): Promise<{ readonly local: Address; readonly remote: Address }> {
    const policy = this.#connections.get(connection);
    if (policy === undefined) throw new ApiMisuse(`there is no connection ${connection} any more`, { code: 'NO_SUCH_CONNECTION' });
    return this.#local.approachGateway(policy, await addressesOf(gateway, this.#lookup));
  }

  #onNotice(notice: Notice): void {
    if (notice.kind === 'drop') this.#drops++;
    this.#books.note(notice, this.#platform.clock.now());
    this.#reports.tell(notice);
  }

  #expire(now: Millis): void {
    this.#local.expire(now);
    this.#books.expire(
      now,
      (child) => this.plane.counters(child)?.outbound.lastUse,
      (local, remote) => this.#local.sockets.keepalive(local, remote),
    );
    const due = this.#core.nextDeadline();
    if (due !== undefined && due <= now) this.#loop.enter('a timer', (time) => this.#core.expire(time));
  }

  #tellConnections(): void {
    const connections = this.#local.localised([...this.#connections.values()]);
    this.#loop.enter('configuration', () => this.#core.setConnections(connections));
  }

  #onAddresses(own: OwnAddresses): void {
    if (this.#loop.closed) return;
    this.#tellConnections();
    this.#loop.enter('local-addresses', (now) => this.#core.observe({ kind: 'local-addresses', ...own }, now));
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

  #assertOpen(): void {
    if (this.#loop.closed) throw new ApiMisuse('the engine was closed', { code: 'ENGINE_CLOSED' });
  }
}

const GRACE: Millis = 2000;
