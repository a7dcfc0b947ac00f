import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { Notice } from '../../src/core/ike/effects.ts';
import type { Tunnel } from '../../src/product/client/index.ts';
import { CliProcess, runCli } from '../support/cli.ts';
import { eventually, exchangeBothWays, INNER, Loopback, type Setting, socketPair } from './support/loopback.ts';

let open: Loopback | undefined;
afterEach(async () => {
  await open?.close();
  open = undefined;
});

/** A gateway whose UDP is behind a relay, and whose TCP is not. */
async function loopback(setting: Setting = {}): Promise<Loopback> {
  open = await Loopback.open(setting);
  return open;
}

/** A way to a TCP port that can be cut while it is in use. No UDP passes it. */
class Wire {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  static async to(port: number): Promise<Wire> {
    const wire = new Wire(port);
    await new Promise<void>((resolve) => wire.#server.listen(0, '127.0.0.1', resolve));
    return wire;
  }

  private constructor(port: number) {
    this.#server = createServer((near) => {
      const far = createConnection({ host: '127.0.0.1', port });
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => undefined);
        one.on('close', () => other.destroy());
        one.pipe(other);
      }
    });
  }

  get port(): number {
    return (this.#server.address() as { readonly port: number }).port;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

const tcpPort = ({ gateway }: Loopback): number => gateway.sockets[0]!.tcp!.port;
const QUICK = { dpd_delay: '1s', tcp_after: '600ms', retransmission: { initial: '200ms', base: 1.5, give_up: '20s' } };

const transports = ({ gateway }: Loopback, tunnel: Tunnel) =>
  [tunnel.status, gateway.ikeSas()[0]].map((sa) => sa?.transport ?? 'udp').join(' ');

describe('over TCP, with real sockets', () => {
  test('UDP blocked from the start: the tunnel comes up over TCP, and carries what a tunnel carries', async () => {
    const world = await loopback();
    world.relay.conditions.paused = true;
    const tunnel = await world.connect({ ...QUICK, remote_tcp_port: tcpPort(world) });
    expect(transports(world, tunnel)).toBe('tcp tcp');
    expect(tunnel.status).toMatchObject({ transportReason: 'UDP got no answer', natOurs: false });
    expect(world.gateway.ikeSas()[0]!.remote.port).toBe(tunnel.status!.local.port);
    expect((await tunnel.ping(INNER)).from).toBe(INNER);
    const { here, there } = await socketPair(world, tunnel);
    await exchangeBothWays(here, there, 2);
    expect(world.relay.counters.passed).toBe(0);
  });

  test('UDP blocked under a running transfer: TCP takes over, and the transfer ends whole', async () => {
    const world = await loopback();
    const notices: Notice[] = [];
    const tunnel = await world.connect({ ...QUICK, remote_tcp_port: tcpPort(world) });
    tunnel.client.onNotice(({ notice }) => notices.push(notice));
    expect(transports(world, tunnel)).toBe('udp udp');
    const { here, there } = await socketPair(world, tunnel);
    world.relay.conditions.paused = true;
    await exchangeBothWays(here, there, 1);
    await eventually('both ends on TCP', () => transports(world, tunnel) === 'tcp tcp', 20_000);
    expect(notices.find(({ kind }) => kind === 'moved')).toMatchObject({ why: 'UDP got no answer, TCP did' });
    expect(world.gateway.ikeSas().length).toBe(1);
  });

  test('transport: tcp, and a stream that breaks is opened again under the tunnel', async () => {
    const world = await loopback();
    const wire = await Wire.to(tcpPort(world));
    const tunnel = await world.connect({ ...QUICK, transport: 'tcp', remote_tcp_port: wire.port });
    const { id, local } = tunnel.status!;
    const { here, there } = await socketPair(world, tunnel);
    const whole = exchangeBothWays(here, there, 1);
    wire.cut();
    await eventually('another stream', () => tunnel.status?.local.port !== local.port);
    await whole;
    expect([tunnel.status!.id, transports(world, tunnel)]).toEqual([id, 'tcp tcp']);
    wire.close();
  });

  test('listen: {tcp: no} takes no streams, and the error says what both transports said', async () => {
    const world = await loopback({ gateway: { listen: { addresses: ['127.0.0.1'], port: 0, nat_port: 0, tcp: 'no' } } });
    expect(world.gateway.sockets[0]!.tcp).toBeUndefined();
    world.relay.conditions.paused = true;
    const retransmission = { initial: '100ms', base: 1.5, give_up: '800ms' };
    await expect(world.connect({ retransmission, remote_tcp_port: 9 })).rejects.toMatchObject({
      code: 'PEER_SILENT',
      message: expect.stringMatching(/did not answer IKE_SA_INIT.*over TCP: 127\.0\.0\.1:9 does not take TCP connections/),
    });
  });
});

test('two processes, and nothing but TCP between them: up --tcp, and status says so', async () => {
  const place = mkdtempSync(join(tmpdir(), 'tunnelwright-tcp-'));
  const environment = { cwd: place, env: { HOME: place, XDG_RUNTIME_DIR: place } };
  writeFileSync(join(place, 'psk'), 'a secret of this test alone', { mode: 0o600 });
  const flags = ['--psk-file', 'psk', '--name'];
  const serve = ['serve', '--id', 'gw.example', '--address', '127.0.0.1', '--port', '0', ...flags, `gw-tcp-${process.pid}`];
  const gateway = new CliProcess(serve, environment);
  const [, port] = await gateway.until(/:(\d+)\/tcp/);
  const wire = await Wire.to(Number(port));
  const client = new CliProcess(['up', `ike://alice@127.0.0.1:${wire.port}`, '--tcp', ...flags, `road-tcp-${process.pid}`], environment);
  try {
    await client.until(/✓ up in/);
    const { stdout } = await runCli(['status'], environment);
    expect(stdout).toMatch(/over TCP/);
    const { stdout: sas } = await runCli(['sas'], environment);
    expect(sas).toMatch(/over TCP: the configuration says so/);
  } finally {
    client.interrupt();
    await client.ended;
    wire.close();
    gateway.interrupt();
    await gateway.ended;
    rmSync(place, { recursive: true, force: true });
  }
});
