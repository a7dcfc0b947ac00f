import { ApiMisuse, formatAddress } from '../../core/bytes/index.ts';
import type { ChildSaInfo, IkeSaInfo, Millis, Notice } from '../../core/ike/effects.ts';
import { Endpoint } from '../../core/ike/endpoint.ts';
import type { Connection, EndpointLimits, RedirectPolicy } from '../../core/ike/policy.ts';
import type { PlaneDecision } from '../dataplane/backends/choice.ts';
import type { Backend, DataPlane, DataPlaneOptions } from '../dataplane/data-plane.ts';
import type { Platform } from '../platform/platform.ts';
import type { Credentials, Hooks } from './asks.ts';
import { isInstalled, isUp } from './books.ts';
import { Connecting, type UpRequest } from './connecting.ts';
import { Engine, type EngineLoad, type EngineSockets, type IkeSaStatus } from './engine.ts';
import type { InstanceFacts } from './engine-types.ts';
import type { Unsubscribe } from './events.ts';
import type { Lookup } from './gateway-names.ts';
import { InnerNames } from './inner-names.ts';
import { Inside } from './inside.ts';
import type { PoolPolicy } from './lease-pool.ts';
import type { ListenOptions } from './local-side.ts';
import { rekeyOne } from './rekey-one.ts';
import { until } from './until.ts';

export interface InstanceOptions<Plane extends DataPlane = DataPlane> extends Hooks {
  readonly name: string;
  readonly role: 'gateway' | 'client';
  readonly platform: Platform;
  readonly backend: Backend<Plane>;
  /** Why that one, for who asks. */
  readonly decision?: PlaneDecision | undefined;
  readonly plane?: Pick<
    DataPlaneOptions,
    'addresses' | 'mtu' | 'congestion' | 'bareEsp' | 'forward' | 'promiscuous' | 'behind' | 'espThread'
  >;
  /** DNS names resolved. */
  readonly connections: readonly Connection[];
  readonly limits: EndpointLimits;
  readonly pools?: readonly PoolPolicy[];
  readonly credentials: InstanceCredentials;
  /** Resolves the names of gateways to which peers redirect us. */
  readonly lookup?: Lookup | undefined;
  /** 32 octets that this machine keeps across restarts, for tickets (RFC 5723) and crash tokens (RFC 6290). */
  readonly secret?: Uint8Array | undefined;
  /** Of the credentials: tickets that were given under others are void. */
  readonly credentialsDigest?: Uint8Array | undefined;
  /** Sends clients to other gateways (RFC 5685). */
  readonly redirect?: RedirectPolicy | undefined;
  /** Threads that compute key exchanges and signatures; `auto`: one fewer than processors. 0 unless given: all is computed here. */
  readonly workers?: number | 'auto' | undefined;
  /** What runs in them, for a test. */
  readonly workerModule?: URL | undefined;
  /** Raises `ike-keys` notices: whoever has them reads everything. */
  readonly logKeys?: boolean | undefined;
  /** Raises `message` notices. */
  readonly logMessages?: boolean | undefined;
}

interface InstanceCredentials extends Credentials {
  /** SHA-1 of the SubjectPublicKeyInfo of every trusted authority, for CERTREQ. */
  authorityHashes(): readonly Uint8Array[];
  /** Hash and URL of a certificate do as well as the certificate. */
  readonly looksUpCertificates?: boolean | undefined;
}

/** Which SAs are meant: exactly one of the first four. */
export interface Selection {
  readonly connection?: string | undefined;
  readonly ikeSa?: number | undefined;
  readonly child?: number | undefined;
  readonly all?: boolean | undefined;
  /** Without a word to the peer. */
  readonly force?: boolean | undefined;
}

export interface Affected {
  readonly ikeSas: number;
  readonly children: number;
}

/** A running IKE daemon in this process: an engine around the real core, and what a person asks of it. Gateway and client are this, named. */
export class Instance<Plane extends DataPlane = DataPlane> {
  readonly name: string;
  readonly role: 'gateway' | 'client';
  readonly engine: Engine<Plane>;
  readonly #platform: Platform;
  readonly #startedAt: number;
  readonly #decision: PlaneDecision | undefined;
  readonly #lookup: Lookup | undefined;
  readonly #names: InnerNames;
  #connections: readonly Connection[];
  #inside: Inside | undefined;
  readonly #connecting: Connecting;

  /** Opens the data plane; sockets come with `listen` or with the first connection. @throws DataPlaneError, ConfigError */
  static async openEngine<Plane extends DataPlane>(options: InstanceOptions<Plane>): Promise<Engine<Plane>> {
    const { platform, credentials, connections, limits, logKeys, logMessages } = options;
    return Engine.open({
      platform,
      credentials,
      connections,
      backend: options.backend,
      core: ({ ports, forceEncap, asksKeyExchange }) =>
        new Endpoint({
          connections,
          limits,
          random: platform.random,
          ports,
          forceEncap,
          asksKeyExchange,
          certificateAuthorities: credentials.authorityHashes(),
          looksUpCertificates: credentials.looksUpCertificates,
          redirect: options.redirect,
          secret: options.secret,
          credentialsDigest: options.credentialsDigest,
          ...platform.computing,
          epoch: platform.clock.wall() - platform.clock.now(),
          logKeys: logKeys ?? false,
          logMessages: logMessages ?? false,
        }),
      // who logs keys looks at a capture
      plane: { ...options.plane, singly: logKeys ?? false },
      ...(options.pools === undefined ? {} : { pools: options.pools }),
      authorise: options.authorise,
      chooseAddress: options.chooseAddress,
      lookup: options.lookup,
      workers: options.workers === 'auto' ? Math.max(0, (platform.threads?.cores ?? 1) - 1) : options.workers,
      workerModule: options.workerModule,
    });
  }

  constructor(engine: Engine<Plane>, options: InstanceOptions<Plane>) {
    this.engine = engine;
    this.name = options.name;
    this.role = options.role;
    this.#platform = options.platform;
    this.#connections = options.connections;
    this.#lookup = options.lookup;
    this.#decision = options.decision;
    this.#startedAt = options.platform.clock.wall();
    this.#connecting = new Connecting(engine, options.platform.clock);
    this.#names = new InnerNames((ikeSa) => engine.infoOf(ikeSa));
    engine.events.on('notice', ({ notice }) => {
      if (this.#names.note(notice)) engine.plane.setResolver?.(this.dnsServers);
    });
  }

  /** Sockets on the inner side. @throws DataPlaneError `NO_SOCKETS` where the data plane has none */
  get inside(): Inside {
    this.#inside ??= new Inside(this.engine.plane, (host, signal) =>
      this.#names.resolve(host, this.#platform, this.inside.driver, this.#lookup, signal),
    );
    return this.#inside;
  }

  /** DNS servers that peers told us of (RFC 7296 §3.15.1). */
  get dnsServers(): readonly string[] {
    return this.#names.servers;
  }

  /** @throws DataPlaneError for the first address or port that cannot be had */
  listenOn(options: ListenOptions): Promise<void> {
    return this.engine.listen(options);
  }

  facts(): InstanceFacts {
    const listen = this.engine.sockets.flatMap(({ ike, nat, tcp }) => [
      ...(ike ? [formatAddress(ike)] : []),
      formatAddress(nat),
      ...(tcp ? [`${formatAddress(tcp)}/tcp`] : []),
    ]);
    const { backend, entry, espThread } = this.engine.plane;
    return {
      plane: backend,
      decision: this.#decision,
      listen,
      startedAt: this.#startedAt,
      ...(entry === undefined ? {} : { entry }),
      ...(espThread === undefined ? {} : { espThread }),
    };
  }

  connections(): readonly Connection[] {
    return this.#connections;
  }

  setConnections(connections: readonly Connection[], pools?: readonly PoolPolicy[]): void {
    this.#connections = connections;
    this.engine.setConnections(connections, pools);
  }

  ikeSas(): readonly IkeSaStatus[] {
    return this.engine.info();
  }

  /** How much there is to do, and what became of strangers. */
  load(): EngineLoad {
    return this.engine.load();
  }

  now(): { readonly monotonic: Millis; readonly wall: number } {
    return { monotonic: this.#platform.clock.now(), wall: this.#platform.clock.wall() };
  }

  onNotice(listener: (event: { readonly at: number; readonly notice: Notice }) => void): Unsubscribe {
    return this.engine.events.on('notice', listener);
  }

  /**
   * Brings a connection up, and waits until it stands with the child that is named, else with any; at once, and `took` 0, when it does already.
   * With `testRekey`, which else the connection says, it is rekeyed before: notices `rekey-tested` tell what came of it.
   * @throws what made it fail, as a `TunnelwrightError`; the signal's reason when that ends it, the attempt being given up
   */
  async up(request: UpRequest, signal?: AbortSignal): Promise<{ readonly ikeSa: IkeSaInfo; readonly took: Millis }> {
    return this.#connecting.up(this.#connection(request.connection), request, signal);
  }

  /** Closes with a Delete and resolves when it was answered or given up. What a connection would do to come back it no longer does. */
  async down(selection: Selection, signal?: AbortSignal): Promise<Affected> {
    const { ikeSas, children } = this.#select(selection);
    const counted = selection.child === undefined ? ikeSas.flatMap((sa) => sa.children).length : children.length;
    const gone = this.#untilGone(ikeSas, children, signal);
    gone.catch(() => undefined); // a command below may fail first
    if (selection.connection !== undefined || selection.all === true) {
      const names = selection.all === true ? this.#connections.map(({ name }) => name) : [selection.connection!];
      if (selection.force !== true) for (const connection of names) this.engine.command({ kind: 'terminate', connection });
    }
    for (const { id } of ikeSas)
      if (this.#lives(id)) this.engine.command({ kind: selection.force === true ? 'forget-ike' : 'delete-ike', ikeSa: id });
    for (const { id } of children) this.engine.command({ kind: 'delete-child', child: id });
    await gone;
    return { ikeSas: ikeSas.length, children: counted };
  }

  /**
   * Fresh keys for what is selected: of an IKE SA its own, and those of its children if wanted. With `reauth` both ends prove anew who they
   * are: a second IKE SA with its children takes the place of the first; where the peer has to begin that, it is asked to.
   */
  async rekey(
    selection: Selection & { readonly children?: boolean | undefined; readonly reauth?: boolean | undefined },
    signal?: AbortSignal,
  ): Promise<Affected> {
    const selected = this.#select(selection);
    // What was replaced already only waits for its end.
    const ikeSas = selected.ikeSas.filter(isUp);
    if (selection.reauth === true) {
      for (const { id } of ikeSas) await rekeyOne(this.engine, 'ike-reauthenticated', id, signal);
      return { ikeSas: ikeSas.length, children: ikeSas.flatMap((sa) => sa.children.filter(isInstalled)).length };
    }
    const allChildren = selection.children === true ? ikeSas.flatMap((sa) => sa.children.filter(isInstalled)) : selected.children;
    // Children first: an IKE SA that was rekeyed hands them on, and their exchanges with them.
    for (const { id } of allChildren) await rekeyOne(this.engine, 'child-rekeyed', id, signal);
    for (const { id } of ikeSas) await rekeyOne(this.engine, 'ike-rekeyed', id, signal);
    return { ikeSas: ikeSas.length, children: allChildren.length };
  }

  /**
   * Sends peers to another gateway (RFC 5685 §5), and resolves when they were told. With a connection or all, those that did not say that they
   * follow are passed over.
   * @throws ApiMisuse `REDIRECT_NOT_SUPPORTED` for one IKE SA whose peer does not follow, `NOT_A_GATEWAY`
   */
  async redirect(
    { to, ...selection }: Pick<Selection, 'connection' | 'ikeSa' | 'all'> & { readonly to: string },
    signal?: AbortSignal,
  ): Promise<Affected> {
    const standing = this.#select(selection).ikeSas.filter(isUp);
    const ikeSas = selection.ikeSa === undefined ? standing.filter(({ redirectable }) => redirectable) : standing;
    const waiting = new Set(ikeSas.map(({ id }) => id));
    const told = until<undefined>(
      this.engine.events,
      (notice) => {
        if (notice?.kind === 'failed' && waiting.has(notice.ikeSa ?? -1)) return { failed: notice.error };
        if (notice?.kind === 'redirected' || notice?.kind === 'ike-down') waiting.delete(notice.ikeSa);
        // what was asked of an IKE SA is carried out by the one that takes its place
        if (notice?.kind === 'ike-rekeyed' && waiting.delete(notice.from)) waiting.add(notice.to);
        return waiting.size === 0 ? { done: undefined } : undefined;
      },
      signal,
    );
    told.catch(() => undefined); // a command below may fail first
    for (const { id } of ikeSas) this.engine.command({ kind: 'redirect', ikeSa: id, gateway: to });
    await told;
    return { ikeSas: ikeSas.length, children: 0 };
  }

  /** Begins every connection that has a child which is to be started with us. Failures are notices. */
  startConnections(): void {
    for (const { name, children } of this.#connections) {
      if (!children.some((child) => child.startAction === 'start')) continue;
      this.up({ connection: name }).catch(() => undefined);
    }
  }

  /** Says goodbye and lets go of everything. @param grace milliseconds to wait for answers */
  close(grace?: Millis): Promise<void> {
    return this.engine.close(grace);
  }

  /** Where IKE is heard, for whoever has to be told which port was chosen. */
  get sockets(): readonly EngineSockets[] {
    return this.engine.sockets;
  }

  #select(selection: Selection): { readonly ikeSas: readonly IkeSaStatus[]; readonly children: readonly ChildSaInfo[] } {
    if (selection.child !== undefined) {
      const owner = this.engine.ownerOf(selection.child);
      const child = owner === undefined ? undefined : this.engine.infoOf(owner)?.children.find(({ id }) => id === selection.child);
      if (child === undefined) throw noSuchSa(`there is no CHILD_SA ${selection.child}`);
      return { ikeSas: [], children: [child] };
    }
    if (selection.ikeSa !== undefined) {
      const found = this.engine.infoOf(selection.ikeSa);
      if (found === undefined) throw noSuchSa(`there is no IKE SA ${selection.ikeSa}`);
      return { ikeSas: [found], children: [] };
    }
    if (selection.connection === undefined) return { ikeSas: this.ikeSas(), children: [] };
    this.#connection(selection.connection);
    return { ikeSas: this.engine.ofConnection(selection.connection), children: [] };
  }

  #untilGone(ikeSas: readonly IkeSaInfo[], children: readonly ChildSaInfo[], signal: AbortSignal | undefined): Promise<undefined> {
    const ikeIds = new Set(ikeSas.map(({ id }) => id));
    const childIds = new Set(children.map(({ id }) => id));
    return until<undefined>(
      this.engine.events,
      (notice) => {
        if (notice?.kind === 'ike-down') ikeIds.delete(notice.ikeSa);
        else if (notice?.kind === 'child-down') childIds.delete(notice.child);
        return ikeIds.size + childIds.size === 0 ? { done: undefined } : undefined;
      },
      signal,
    );
  }

  #lives(ikeSa: number): boolean {
    return this.engine.infoOf(ikeSa) !== undefined;
  }

  #connection(name: string): Connection {
    const connection = this.#connections.find((candidate) => candidate.name === name);
    if (connection !== undefined) return connection;
    const known = this.#connections.map((candidate) => candidate.name).join(', ') || 'none';
    throw new ApiMisuse(`there is no connection ${name}`, { code: 'NO_SUCH_CONNECTION', hint: `Known: ${known}.` });
  }
}

const noSuchSa = (message: string): ApiMisuse =>
  new ApiMisuse(message, { code: 'NO_SUCH_SA', hint: '`tunnelwright sas` lists what stands.' });
