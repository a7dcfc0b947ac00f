import type { Notice } from '../../../src/core/ike/effects.ts';
import memory, { type MemoryPlane } from '../../../src/host/dataplane/backends/memory.ts';
import type { Backend, DataPlane, DataPlaneOptions } from '../../../src/host/dataplane/data-plane.ts';
import { CredentialStore } from '../../../src/host/engine/credentials/credentials.ts';
import { loadCredentials } from '../../../src/host/engine/credentials/load.ts';
import { Instance, type InstanceOptions } from '../../../src/host/engine/instance.ts';
import type { Threads } from '../../../src/host/platform/worker-threads.ts';
import { type CompiledConfig, compile, configFrom, machineFiles, readCredentials } from '../../../src/product/config/index.ts';
import type { Host } from '../../../src/testing/host.ts';
import { Internet } from '../../../src/testing/internet.ts';
import type { Nat } from '../../../src/testing/nat.ts';
import { breathe, pass, settle, virtualPlatform } from './virtual-platform.ts';

export const GATEWAY = '203.0.113.7';
export const CLIENT = '198.51.100.2';

/** Overrides of one connection's settings, and of its only child’s. */
export interface ConnectionSettings {
  readonly connection?: Record<string, unknown>;
  readonly child?: Record<string, unknown>;
}

/** A gateway that gives addresses to whoever has the key. */
export function gatewayConfig(
  { connection = {}, child = {} }: ConnectionSettings = {},
  more: Record<string, unknown> = {},
): CompiledConfig {
  return compile(
    configFrom({
      connections: {
        clients: {
          local: [{ auth: 'psk', id: 'gateway.example' }],
          remote: [{ auth: 'psk' }],
          pools: ['lan'],
          children: { net: { local_ts: '0.0.0.0/0', remote_ts: 'dynamic', ...child } },
          ...connection,
        },
      },
      pools: { lan: { addrs: '10.66.0.0/24', dns: '10.66.0.1' } },
      secrets: PSK,
      ...more,
    }),
  );
}

export function clientConfig({ connection = {}, child = {} }: ConnectionSettings = {}, more: Record<string, unknown> = {}): CompiledConfig {
  return compile(
    configFrom({
      connections: {
        road: {
          remote_addrs: GATEWAY,
          local: [{ auth: 'psk', id: 'alice@example.com' }],
          remote: [{ auth: 'psk', id: 'gateway.example' }],
          vips: '0.0.0.0',
          children: { net: { remote_ts: '0.0.0.0/0', ...child } },
          ...connection,
        },
      },
      secrets: PSK,
      ...more,
    }),
  );
}

const PSK = { key: { kind: 'psk', secret: 'a key that both ends know' } };

async function credentialsOf(config: CompiledConfig): Promise<CredentialStore> {
  const store = new CredentialStore();
  loadCredentials(store, await readCredentials(config.credentials, machineFiles));
  return store;
}

interface Running<Plane extends DataPlane> {
  readonly instance: Instance<Plane>;
  readonly notices: Notice[];
  readonly host: Host;
}

export interface Pair<Plane extends DataPlane> {
  readonly internet: Internet;
  readonly nat: Nat | undefined;
  readonly gateway: Running<Plane>;
  readonly client: Running<Plane>;
  /** One more client in the same world. */
  addClient(ip: string, config: CompiledConfig): Promise<Running<Plane>>;
  /** One more gateway, with the configuration of the first. */
  addGateway(ip: string, more?: Partial<InstanceOptions<Plane>>): Promise<Running<Plane>>;
  /** The gateway’s process dies, and another one starts in its place. */
  restartGateway(): Promise<Running<Plane>>;
  /** Lets virtual time pass until the promise settles. */
  finish<T>(promise: Promise<T>, within?: number): Promise<T>;
  pass(span: number): Promise<void>;
}

export interface PairOptions<Plane extends DataPlane> {
  readonly gateway?: CompiledConfig;
  readonly client?: CompiledConfig;
  readonly backend?: Backend<Plane>;
  readonly gatewayPlane?: Pick<DataPlaneOptions, 'addresses' | 'forward'>;
  readonly clientPlane?: Pick<DataPlaneOptions, 'addresses' | 'forward'>;
  /** The client sits behind a NAT that forgets after 30 s, or after so many milliseconds. */
  readonly behindNat?: boolean | number;
  readonly more?: Partial<InstanceOptions<Plane>>;
  readonly clientMore?: Partial<InstanceOptions<Plane>>;
  /** Of the gateway; with `more: { workers }` it uses them. */
  readonly threads?: (internet: Internet) => Threads;
}

/** A gateway and a client in virtual time, with the real core between them. */
export async function instancePair<Plane extends DataPlane = MemoryPlane>(options: PairOptions<Plane> = {}): Promise<Pair<Plane>> {
  const { gateway = gatewayConfig(), client = clientConfig(), backend = memory as unknown as Backend<Plane> } = options;
  const internet = new Internet(1);
  const there = internet.host('gateway', { addresses: [GATEWAY], link: { delay: 10 } });
  const nat = options.behindNat
    ? internet.nat('nat', {
        outside: ['192.0.2.99'],
        timeout: typeof options.behindNat === 'number' ? options.behindNat : 30_000,
        filtering: 'address-and-port-dependent',
      })
    : undefined;
  const here = internet.host('client', { addresses: [CLIENT], link: { delay: 10 }, ...(nat ? { network: nat.inside } : {}) });
  const start = async (
    role: 'gateway' | 'client',
    host: Host,
    config: CompiledConfig,
    more = role === 'gateway' ? options.more : options.clientMore,
  ): Promise<Running<Plane>> => {
    const instanceOptions: InstanceOptions<Plane> = {
      name: role,
      role,
      platform: { ...virtualPlatform(internet, host, host.name), threads: role === 'gateway' ? options.threads?.(internet) : undefined },
      backend,
      connections: config.connections,
      limits: config.limits,
      pools: config.pools,
      credentials: await credentialsOf(config),
      plane: (role === 'gateway' ? options.gatewayPlane : options.clientPlane) ?? {},
      ...more,
    };
    const instance = new Instance(await Instance.openEngine(instanceOptions), instanceOptions);
    const notices: Notice[] = [];
    instance.onNotice(({ notice }) => notices.push(notice));
    return { instance, notices, host };
  };
  const pair = { gateway: await start('gateway', there, gateway), client: await start('client', here, client) };
  await pair.gateway.instance.listenOn({ addresses: ['%any'], ports: { ike: 500, nat: 4500 } });
  await pair.client.instance.listenOn({ addresses: [], ports: { ike: 500, nat: 4500 } });
  const finish = async <T>(promise: Promise<T>, within = 600_000): Promise<T> => {
    let settled = false;
    promise.then(
      () => (settled = true),
      () => (settled = true),
    );
    const until = internet.clock.now + within;
    await breathe();
    while (!settled && internet.clock.now < until) {
      const next = internet.clock.next;
      if (next === undefined) break;
      internet.clock.run(next);
      await breathe();
    }
    if (!settled) throw new Error(`still waiting at ${internet.clock.now} ms`);
    return promise;
  };
  const addClient = async (ip: string, config: CompiledConfig): Promise<Running<Plane>> => {
    const another = await start('client', internet.host(`client ${ip}`, { addresses: [ip], link: { delay: 10 } }), config);
    await another.instance.listenOn({ addresses: [], ports: { ike: 500, nat: 4500 } });
    return another;
  };
  const addGateway = async (ip: string, more: Partial<InstanceOptions<Plane>> = {}): Promise<Running<Plane>> => {
    const another = await start('gateway', internet.host(`gateway ${ip}`, { addresses: [ip], link: { delay: 10 } }), gateway, more);
    await another.instance.listenOn({ addresses: ['%any'], ports: { ike: 500, nat: 4500 } });
    return another;
  };
  const restartGateway = async (): Promise<Running<Plane>> => {
    there.setLink({ loss: 1 }); // its last words are lost
    await pair.gateway.instance.close(0);
    there.setLink({ loss: 0 });
    const again = await start('gateway', there, gateway);
    await again.instance.listenOn({ addresses: ['%any'], ports: { ike: 500, nat: 4500 } });
    return again;
  };
  await settle(internet.clock);
  return { internet, nat, ...pair, addClient, addGateway, restartGateway, finish, pass: (span) => pass(internet.clock, span) };
}
