import type { Millis } from '../../core/ike/effects.ts';
import type { DataPlane } from '../../host/dataplane/index.ts';
import type { Authorise, ChooseAddress } from '../../host/engine/asks.ts';
import type { Destination } from '../../host/engine/inside.ts';
import { Instance, type InstanceOptions } from '../../host/engine/instance.ts';
import { StackDriver } from '../../host/platform/stack-driver.ts';
import type { StreamServer, StreamSocket } from '../../host/platform/stream-socket.ts';
import { type CompiledConfig, type ConfigWarning, type InstanceRequest, prepareInstance } from '../config/index.ts';
import type { ControlTarget } from '../control/target.ts';
import { type Account, Accounting } from './accounting.ts';
import { AllowList, type AllowListOptions, type Inhabitant } from './allow-list.ts';
import { Behind, type Outside } from './behind.ts';

export interface GatewayOptions extends InstanceRequest {
  /** The last word on who comes in, after authentication: undefined admits, a string refuses and says why. */
  readonly authorise?: Authorise | undefined;
  /** Which address a client gets; the pools of its connection decide unless given. */
  readonly chooseAddress?: ChooseAddress | undefined;
  /** Hears when a client comes, every `accountEvery`, and when it has gone, with what each of its children carried. */
  readonly account?: Account | undefined;
  /** Milliseconds between two interim accounts, 0 for none; 5 minutes unless given. */
  readonly accountEvery?: Millis | undefined;
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
  const { authorise, chooseAddress, forward = true } = options;
  const behind = options.config.behind.length > 0;
  const instance: InstanceOptions = { ...common, authorise, chooseAddress, plane: { ...common.plane, forward, behind } };
  return new Gateway(await Instance.openEngine(instance), instance, options, warnings);
}

/** A running gateway; `createGateway` makes it. */
export class Gateway extends Instance<DataPlane> implements ControlTarget {
  /** What the operator should know although nothing is wrong. */
  readonly warnings: readonly ConfigWarning[];
  /** A client was kept from a network behind us. */
  onRefused: AllowListOptions['onRefused'];
  readonly #config: CompiledConfig;
  readonly #behind: Behind | undefined;
  readonly #accounting: Accounting | undefined;

  constructor(
    engine: ConstructorParameters<typeof Instance>[0],
    instance: InstanceOptions,
    {
      config,
      outside,
      account,
      accountEvery = ACCOUNT_EVERY,
    }: Omit<GatewayOptions, keyof InstanceRequest> & Pick<GatewayOptions, 'config'>,
    warnings: readonly ConfigWarning[],
  ) {
    super(engine, instance);
    this.#config = config;
    const { plane } = engine;
    if (config.behind.length > 0 && 'behind' in plane && plane.behind instanceof StackDriver) {
      const identify = (ip: string): Inhabitant | undefined => {
        const sa = this.ikeSas().find(({ assigned, assignedToUs }) => !assignedToUs && assigned.includes(ip));
        return sa && { id: sa.remoteId, connection: sa.connection };
      };
      const allowList = new AllowList({ rules: config.behind, identify, onRefused: (what) => this.onRefused?.(what) });
      this.#behind = new Behind({ driver: plane.behind, allowList, outside });
    }
    if (account !== undefined)
      this.#accounting = new Accounting({ engine, account, interim: accountEvery, wall: () => instance.platform.clock.wall() });
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
    this.#accounting?.close();
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

const ACCOUNT_EVERY: Millis = 300_000;
