import type { DataPlane } from '../../host/dataplane/index.ts';
import type { Authorise } from '../../host/engine/asks.ts';
import type { Destination } from '../../host/engine/inside.ts';
import { Instance, type InstanceOptions } from '../../host/engine/instance.ts';
import { StackDriver } from '../../host/platform/stack-driver.ts';
import type { StreamServer, StreamSocket } from '../../host/platform/stream-socket.ts';
import { type CompiledConfig, type ConfigWarning, type InstanceRequest, prepareInstance } from '../config/index.ts';
import type { ControlTarget } from '../control/target.ts';
import { Behind, type BehindOptions, type Outside } from './behind.ts';

export interface GatewayOptions extends InstanceRequest {
  /** The last word on who comes in, after authentication: undefined admits, a string refuses and says why. */
  readonly authorise?: Authorise | undefined;
  /** Clients reach one another through the gateway. On unless said otherwise. */
  readonly forward?: boolean | undefined;
  /** Where the networks of `behind` are reached from; this machine unless given. */
  readonly outside?: Outside | undefined;
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
  const { options: common, warnings } = await prepareInstance(options, 'gateway');
  const { authorise, forward = true } = options;
  const behind = options.config.behind.length > 0;
  const instance: InstanceOptions = { ...common, authorise, plane: { ...common.plane, forward, behind } };
  return new Gateway(await Instance.openEngine(instance), instance, options, warnings);
}

/** A running gateway; `createGateway` makes it. */
export class Gateway extends Instance<DataPlane> implements ControlTarget {
  /** What the operator should know although nothing is wrong. */
  readonly warnings: readonly ConfigWarning[];
  /** A client was kept from a network behind us. */
  onRefused: BehindOptions['onRefused'];
  readonly #config: CompiledConfig;
  readonly #behind: Behind | undefined;

  constructor(
    engine: ConstructorParameters<typeof Instance>[0],
    instance: InstanceOptions,
    { config, outside }: Pick<GatewayOptions, 'config' | 'outside'>,
    warnings: readonly ConfigWarning[],
  ) {
    super(engine, instance);
    this.#config = config;
    const { plane } = engine;
    if (config.behind.length > 0 && 'behind' in plane && plane.behind instanceof StackDriver) {
      const identify = (ip: string) => this.ikeSas().find(({ assigned, assignedToUs }) => !assignedToUs && assigned.includes(ip))?.remoteId;
      this.#behind = new Behind({
        driver: plane.behind,
        rules: config.behind,
        outside,
        identify,
        onRefused: (what) => this.onRefused?.(what),
      });
    }
    this.warnings = warnings;
  }

  /** Opens the sockets of the configuration and begins what it says to begin. @throws DataPlaneError `PORT_NEEDS_PRIVILEGE`, `ADDRESS_IN_USE`, … */
  async listen(): Promise<void> {
    const { addresses, ports, fallback = false } = this.#config.listen;
    await this.listenOn({ addresses, ports, fallback });
    this.startConnections();
  }

  override async close(grace?: number): Promise<void> {
    this.#behind?.close();
    await super.close(grace);
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
