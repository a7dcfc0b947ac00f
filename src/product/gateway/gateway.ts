import type { DataPlane } from '../../host/dataplane/index.ts';
import { chooseBackend } from '../../host/dataplane/index.ts';
import type { Authorise } from '../../host/engine/asks.ts';
import { CredentialStore } from '../../host/engine/credentials.ts';
import type { Destination } from '../../host/engine/inside.ts';
import { Instance, type InstanceOptions } from '../../host/engine/instance.ts';
import { loadCredentials } from '../../host/engine/load-credentials.ts';
import type { Platform } from '../../host/platform/platform.ts';
import type { StreamServer, StreamSocket } from '../../host/platform/stream-socket.ts';
import { systemLookup, systemPlatform } from '../../host/platform/system.ts';
import type { CompiledConfig, ConfigWarning, Lookup } from '../config/index.ts';
import { machineFiles, readCredentials, resolveNames } from '../config/index.ts';
import type { ControlTarget } from '../control/target.ts';

export interface GatewayOptions {
  readonly config: CompiledConfig;
  /** Tells instances on one machine apart; that of the configuration, or `gateway`. */
  readonly name?: string | undefined;
  /** Read from where the configuration says, unless given. */
  readonly credentials?: CredentialStore | undefined;
  /** The last word on who comes in, after authentication: undefined admits, a string refuses and says why. */
  readonly authorise?: Authorise | undefined;
  /** Clients reach one another through the gateway. On unless said otherwise. */
  readonly forward?: boolean | undefined;
  /** Raises `ike-keys` notices: whoever has them reads everything. */
  readonly logKeys?: boolean | undefined;
  /** Raises `message` notices. */
  readonly logMessages?: boolean | undefined;
  readonly platform?: Platform | undefined;
  readonly lookup?: Lookup | undefined;
}

/**
 * Makes a gateway: it answers IKE, gives addresses to clients and has a TCP/IP host of its own inside the tunnels.
 * @throws ConfigError, DataPlaneError
 *
 * ```ts
 * const gateway = await createGateway({ config: compile(loadConfig(text)) });
 * await gateway.listen();
 * gateway.listenTcp(80, (socket) => socket.end('hello\n'));
 * ```
 */
export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, lookup = systemLookup } = options;
  const resolved = await resolveNames(config, lookup);
  const warnings = [...config.warnings];
  let { credentials } = options;
  if (credentials === undefined) {
    const raw = await readCredentials(config.credentials, machineFiles);
    warnings.push(...raw.warnings);
    credentials = new CredentialStore();
    loadCredentials(credentials, raw);
  }
  const instance: InstanceOptions = {
    name: options.name ?? config.name ?? 'gateway',
    role: 'gateway',
    platform: options.platform ?? systemPlatform(),
    backend: await chooseBackend(config.plane),
    plane: { addresses: config.addresses, forward: options.forward ?? true, ...(config.mtu === undefined ? {} : { mtu: config.mtu }) },
    connections: resolved.connections,
    limits: config.limits,
    pools: config.pools,
    credentials,
    authorise: options.authorise,
    logKeys: options.logKeys,
    logMessages: options.logMessages,
  };
  return new Gateway(await Instance.openEngine(instance), instance, config, warnings);
}

/** A running gateway; `createGateway` makes it. */
export class Gateway extends Instance<DataPlane> implements ControlTarget {
  /** What the operator should know although nothing is wrong. */
  readonly warnings: readonly ConfigWarning[];
  readonly #config: CompiledConfig;

  constructor(
    engine: ConstructorParameters<typeof Instance>[0],
    instance: InstanceOptions,
    config: CompiledConfig,
    warnings: readonly ConfigWarning[],
  ) {
    super(engine, instance);
    this.#config = config;
    this.warnings = warnings;
  }

  /** Opens the sockets of the configuration and begins what it says to begin. @throws DataPlaneError `PORT_NEEDS_PRIVILEGE`, `ADDRESS_IN_USE`, … */
  async listen(): Promise<void> {
    const { addresses, ports, fallback = false } = this.#config.listen;
    await this.listenOn({ addresses, ports, fallback });
    this.startConnections();
  }

  /** Answers on a TCP port of the gateway’s inner addresses. @throws ApiMisuse EADDRINUSE, DataPlaneError `NO_SOCKETS` */
  listenTcp(port: number, onConnection?: (socket: StreamSocket) => void): StreamServer {
    return this.inside.listen({ port }, onConnection);
  }

  /** A TCP connection to a client, by its inner address. @throws DataPlaneError ECONNREFUSED, ETIMEDOUT, … */
  connectTcp(destination: Destination): Promise<StreamSocket> {
    return this.inside.connect(destination);
  }
}
