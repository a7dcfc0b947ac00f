import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type { Notice } from '../../../src/core/ike/effects.ts';
import type { StreamSocket } from '../../../src/host/platform/stream-socket.ts';
import { systemPlatform } from '../../../src/host/platform/system.ts';
import { type ConnectOptions, connect, type Tunnel } from '../../../src/product/client/index.ts';
import { compile, configFrom } from '../../../src/product/config/index.ts';
import { createGateway, type Gateway, type GatewayOptions } from '../../../src/product/gateway/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';
import { UdpRelay } from '../../../src/testing/udp-relay.ts';

export interface Setting {
  /** Settings of the gateway’s only connection, and of its child. */
  readonly clients?: Record<string, unknown>;
  readonly clientsChild?: Record<string, unknown>;
  /** The same of the client’s. */
  readonly road?: Record<string, unknown>;
  readonly roadChild?: Record<string, unknown>;
  readonly gateway?: Record<string, unknown>;
  readonly client?: Record<string, unknown>;
  readonly gatewayOptions?: Partial<GatewayOptions>;
  readonly connectOptions?: Partial<ConnectOptions>;
}

/** The gateway’s own inner address. */
export const INNER = '10.66.0.1';

/** `yes` or `no` runs all of it with, or without, a thread for ESP; else the machine decides. */
const { TUNNELWRIGHT_ESP_THREAD: forced } = process.env;
const FORCED = forced === undefined ? {} : { esp_thread: forced };

const PSK = { key: { kind: 'psk', secret: 'a key that both ends know' } };

/** A gateway and clients in this process, over real UDP on loopback, with a NAT between them. */
export class Loopback {
  readonly gateway: Gateway;
  readonly relay: UdpRelay;
  readonly notices: Notice[] = [];
  readonly #setting: Setting;
  readonly #tunnels: Tunnel[] = [];

  static async open(setting: Setting = {}): Promise<Loopback> {
    const gateway = await createGateway({
      config: compile(
        configFrom({
          listen: { addresses: ['127.0.0.1'], port: 0, nat_port: 0 },
          ...FORCED,
          connections: {
            clients: {
              local: [{ auth: 'psk', id: 'gateway.example' }],
              remote: [{ auth: 'psk' }],
              pools: ['lan'],
              children: { net: { local_ts: '0.0.0.0/0, ::/0', remote_ts: 'dynamic', ...setting.clientsChild } },
              ...setting.clients,
            },
          },
          pools: { lan: { addrs: '10.66.0.0/24, fd66::/64', dns: INNER } },
          secrets: PSK,
          ...setting.gateway,
        }),
      ),
      ...setting.gatewayOptions,
    });
    await gateway.listen();
    const [sockets] = gateway.sockets;
    const { udp, clock } = systemPlatform();
    const random = new SeededRandom(1, 'losses');
    const targets = [sockets!.ike!, sockets!.nat];
    const relay = await UdpRelay.open({ udp, clock, ip: '127.0.0.1', targets, random: () => random.fraction() });
    return new Loopback(gateway, relay, setting);
  }

  private constructor(gateway: Gateway, relay: UdpRelay, setting: Setting) {
    this.gateway = gateway;
    this.relay = relay;
    this.#setting = setting;
    gateway.onNotice(({ notice }) => this.notices.push(notice));
  }

  async connect(more: Record<string, unknown> = {}, options: Partial<ConnectOptions> = {}): Promise<Tunnel> {
    const [ike, nat] = this.relay.fronts;
    const tunnel = await connect({
      config: compile(
        configFrom({
          listen: { port: 0, nat_port: 0 },
          ...FORCED,
          connections: {
            road: {
              remote_addrs: '127.0.0.1',
              remote_port: ike!.port,
              remote_nat_port: nat!.port,
              vips: '0.0.0.0, ::',
              local: [{ auth: 'psk', id: 'alice@example.com' }],
              remote: [{ auth: 'psk', id: 'gateway.example' }],
              children: { net: { remote_ts: '0.0.0.0/0, ::/0', ...this.#setting.roadChild } },
              ...this.#setting.road,
              ...more,
            },
          },
          secrets: PSK,
          ...this.#setting.client,
        }),
      ),
      ...this.#setting.connectOptions,
      ...options,
    });
    this.#tunnels.push(tunnel);
    return tunnel;
  }

  async close(): Promise<void> {
    await Promise.all(this.#tunnels.map((tunnel) => tunnel.close(200)));
    await this.gateway.close(200);
    await this.relay.close();
  }
}

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** Everything that comes, with its hash. Not `for await`: that destroys a socket which still has something to send. */
function swallow(socket: Duplex): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  return new Promise((resolve, reject) => {
    socket.on('data', (chunk: Uint8Array) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    socket.on('end', () => resolve({ bytes, sha256: hash.digest('hex') }));
    socket.on('error', reject);
  });
}

/** Sends `mebibytes` of random octets both ways at once between two connected sockets, and compares hashes. */
export async function exchangeBothWays(here: StreamSocket, there: StreamSocket, mebibytes: number): Promise<void> {
  const up = randomBytes(mebibytes << 20);
  const down = randomBytes(mebibytes << 20);
  here.end(up);
  there.end(down);
  const [gotUp, gotDown] = await Promise.all([swallow(there), swallow(here)]);
  const expected = [up, down].map((data) => ({ bytes: data.length, sha256: sha256(data) }));
  const got = [gotUp, gotDown];
  if (JSON.stringify(got) !== JSON.stringify(expected))
    throw new Error(`${JSON.stringify(got)} arrived instead of ${JSON.stringify(expected)}`);
}

let nextPort = 2000;

/** A TCP connection through the tunnel: the client’s end, and the gateway’s. */
export async function socketPair(loopback: Loopback, tunnel: Tunnel, host = INNER): Promise<{ here: StreamSocket; there: StreamSocket }> {
  const port = nextPort++;
  const server = loopback.gateway.listenTcp(port);
  const accepted = once(server, 'connection') as Promise<[StreamSocket]>;
  const here = await tunnel.connect({ host, port });
  const [there] = await accepted;
  server.close();
  return { here, there };
}

export async function eventually(what: string, holds: () => boolean, within = 60_000): Promise<void> {
  const until = performance.now() + within;
  while (!holds()) {
    if (performance.now() > until) throw new Error(`not within ${within} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
