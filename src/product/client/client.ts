import { ApiMisuse } from '../../core/bytes/index.ts';
import { Instance, type InstanceOptions } from '../../host/engine/instance.ts';
import { type CompiledConfig, type ConfigWarning, type InstanceRequest, prepareInstance } from '../config/index.ts';
import type { ControlTarget } from '../control/target.ts';
import { Tunnel } from './tunnel.ts';

export interface ClientOptions extends InstanceRequest {
  /** Connections whose peers’ DNS names must resolve now; the others may stay unknown. All unless given. */
  readonly needed?: readonly string[] | undefined;
}

export interface ConnectOptions extends Omit<ClientOptions, 'needed'> {
  /** Which connection of the configuration; the only one unless given. */
  readonly connection?: string | undefined;
  /** Which of its children to bring up; what it says to start, or all, unless given. */
  readonly child?: string | undefined;
  /** Gives up when it fires. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Brings one connection up and gives the tunnel.
 * @throws TunnelwrightError that says what failed: authentication, proposals, no answer, …
 *
 * ```ts
 * const tunnel = await connect({ config: compile(loadConfig(text)), connection: 'office' });
 * const socket = await tunnel.connect({ host: '10.0.0.5', port: 80 });
 * ```
 */
export async function connect(options: ConnectOptions): Promise<Tunnel> {
  const connection = options.connection ?? onlyConnection(options.config);
  const client = await createClient({ ...options, needed: [connection] });
  try {
    await client.up({ connection, child: options.child }, options.signal);
    return new Tunnel(client, connection);
  } catch (error) {
    await client.close(0);
    throw error;
  }
}

/** Makes a client that has not connected yet: `up` does. @throws ConfigError, DataPlaneError */
export async function createClient(options: ClientOptions): Promise<Client> {
  const { options: instance, warnings } = await prepareInstance(options, 'client', options.needed);
  const client = new Client(await Instance.openEngine(instance), instance, warnings);
  // Sockets are opened where a peer is dialled; ports that are taken or forbidden do not matter to who begins.
  // Nobody calls a client, so it takes no streams.
  const { addresses, ports, fallback = true } = options.config.listen;
  const { ike, nat } = ports;
  await client.listenOn({ addresses: addresses.filter((address) => address !== '%any'), ports: { ike, nat }, fallback });
  return client;
}

/** A running client; `createClient` makes it. */
export class Client extends Instance implements ControlTarget {
  /** What the operator should know although nothing is wrong. */
  readonly warnings: readonly ConfigWarning[];

  constructor(engine: ConstructorParameters<typeof Instance>[0], instance: InstanceOptions, warnings: readonly ConfigWarning[]) {
    super(engine, instance);
    this.warnings = warnings;
  }
}

function onlyConnection({ connections }: CompiledConfig): string {
  const [first, ...others] = connections;
  if (first !== undefined && others.length === 0) return first.name;
  throw new ApiMisuse(first === undefined ? 'the configuration has no connection' : 'the configuration has several connections', {
    code: 'WHICH_CONNECTION',
    hint: first === undefined ? 'Add one under connections.' : `Name one of: ${connections.map(({ name }) => name).join(', ')}.`,
  });
}
