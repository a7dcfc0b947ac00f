import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../../src/core/bytes/index.ts';
import { formatIdentity } from '../../../src/core/pki/identity.ts';
import { nativeLack } from '../../../src/host/platform/linux/ffi.ts';
import { openLocalUdp } from '../../../src/host/platform/local-ports.ts';
import type { UdpPort } from '../../../src/host/platform/way.ts';
import { connect, type Tunnel } from '../../../src/product/client/index.ts';
import { type CompiledConfig, compile, configFrom } from '../../../src/product/config/index.ts';
import type { Outside } from '../../../src/product/gateway/behind.ts';
import { createGateway, type Gateway } from '../../../src/product/gateway/index.ts';
import { everything, Scene } from '../reach/scene.ts';

/** A network 10.20.0.0/16 behind the gateway, of which this machine's loopback plays every host. */
const scene = new Scene();
const left: string[] = [];
const refused: string[] = [];
const outside: Outside = {
  connect: ({ host, port }) => {
    left.push(`tcp ${host}`);
    return scene.way.connect({ host: HOSTS[host] ?? host, port });
  },
  openUdp: async () => {
    const port = await openLocalUdp({ ip: '127.0.0.1', port: 0 });
    // loopback answers under its own address: the host that was asked stands in for it
    let asked = '';
    const played: UdpPort = {
      local: port.local,
      onDatagram: undefined,
      onError: undefined,
      onEnd: undefined,
      send: (data, to) => {
        left.push(`udp ${to.host}`);
        asked = to.host;
        port.send(data, { host: '127.0.0.1', port: to.port });
      },
      close: () => port.close(),
    };
    port.onDatagram = (data, from) => played.onDatagram?.(data, { ip: asked, port: from.port });
    return played;
  },
  ping: (ip, size) => {
    left.push(`ping ${ip} ${size}`);
    return Promise.resolve(ip === '10.20.0.5');
  },
};
const HOSTS: Readonly<Record<string, string | undefined>> = { '10.20.0.6': 'refused.test', '10.20.0.7': 'unreachable.test' };

let gateway: Gateway;
const tunnels: Tunnel[] = [];

const secrets = { key: { kind: 'psk', secret: 'a key that both ends know' } };
const config = (more: Record<string, unknown>): CompiledConfig => compile(configFrom({ secrets, ...more }));

async function up(id: string): Promise<Tunnel> {
  const { ike, nat } = gateway.sockets[0]!;
  const road = {
    remote_addrs: '127.0.0.1',
    remote_port: ike!.port,
    remote_nat_port: nat.port,
    vips: '0.0.0.0',
    local: [{ auth: 'psk', id }],
    remote: [{ auth: 'psk', id: 'gateway.example' }],
    children: { net: { remote_ts: '10.0.0.0/8' } },
  };
  const tunnel = await connect({ config: config({ connections: { road }, listen: { port: 0, nat_port: 0 } }) });
  tunnels.push(tunnel);
  return tunnel;
}

/** With a thread wherever one can be. */
const WITH = (await nativeLack()) === undefined ? 'yes' : 'auto';

async function open(espThread: typeof WITH | 'no'): Promise<void> {
  const clients = {
    local: [{ auth: 'psk', id: 'gateway.example' }],
    remote: [{ auth: 'psk' }],
    pools: ['lan'],
    children: { net: { local_ts: '10.0.0.0/8', remote_ts: 'dynamic' } },
  };
  gateway = await createGateway({
    outside,
    config: config({
      esp_thread: espThread,
      listen: { addresses: ['127.0.0.1'], port: 0, nat_port: 0 },
      connections: { clients, branches: { ...clients, remote: [{ auth: 'psk', id: '*@branch.example' }] } },
      pools: { lan: { addrs: '10.66.0.0/24' } },
      behind: {
        servers: { networks: '10.20.0.0/24' },
        vault: { networks: '10.20.1.0/24', ids: '*@boss.example' },
        web: { networks: '10.20.2.5[tcp/1-65534], 10.20.2.6[icmp]' },
        branch: { networks: '10.20.3.0/24', connections: 'branches' },
      },
    }),
  });
  gateway.onRefused = ({ id, to }) => refused.push(`${id && formatIdentity(id)} ${to}`);
  await gateway.listen();
}

afterAll(() => scene.end());

describe.each([WITH, 'no'] as const)('networks behind a gateway without an interface (esp_thread: %s)', (espThread) => {
  beforeAll(() => open(espThread));
  afterAll(async () => {
    for (const tunnel of tunnels.splice(0)) await tunnel.close(0);
    await gateway.close(0);
  });

  test('are reached over TCP, and a client hears what became of its connection', async () => {
    const tunnel = await up('alice@example.com');
    const port = await scene.echo();
    const sockets = await Promise.all([1, 2, 3].map(() => tunnel.connect({ host: '10.20.0.5', port, allowHalfOpen: true })));
    for (const socket of sockets) socket.end('x'.repeat(100_000));
    expect((await Promise.all(sockets.map(everything))).map(({ length }) => length)).toEqual([100_000, 100_000, 100_000]);
    await expect(tunnel.connect({ host: '10.20.0.6', port })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(tunnel.connect({ host: '10.20.0.7', port, timeout: 20_000 })).rejects.toMatchObject({ code: 'ENETUNREACH' });
  });

  test('over UDP, and by echo requests', async () => {
    const tunnel = await up('bob@example.com');
    const server = scene.keep(await openLocalUdp({ ip: '127.0.0.1', port: 0 }));
    server.onDatagram = (data, from) => server.send(data, { host: from.ip, port: from.port });
    const socket = tunnel.dgram();
    const answer = new Promise<unknown>((resolve) =>
      socket.once('message', (data: Uint8Array, from) => resolve([String.fromCharCode(...data), from.address])),
    );
    socket.send('hello', server.local.port, '10.20.0.5');
    expect(await answer).toEqual(['hello', '10.20.0.5']);
    socket.close();
    expect(await tunnel.ping('10.20.0.5', { size: 20 })).toMatchObject({ from: '10.20.0.5' });
    await expect(tunnel.ping('10.20.0.8', { timeout: 200 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(left).toContain('ping 10.20.0.5 20');
  });

  test('but only those that the gateway names, and only by whom it names', async () => {
    const port = await scene.echo();
    const [alice, boss] = [await up('carol@example.com'), await up('ann@boss.example')];
    left.length = 0;
    await expect(alice.connect({ host: '10.20.1.5', port })).rejects.toMatchObject({ code: 'EACCES' });
    await expect(alice.connect({ host: '10.30.0.5', port })).rejects.toMatchObject({ code: 'EACCES' });
    alice.dgram().send(utf8('x'), port, '10.20.1.5');
    await expect(alice.ping('10.20.1.5', { timeout: 200 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(left).toEqual([]);
    expect(refused).toContain(`carol@example.com 10.20.1.5:${port}`);
    const socket = await boss.connect({ host: '10.20.1.5', port, allowHalfOpen: true });
    socket.end('mine');
    expect(await everything(socket)).toBe('mine');
    expect(left).toEqual(['tcp 10.20.1.5']);
  });

  test('and there only by what it names, and for the connection that it names', async () => {
    const port = await scene.echo();
    const [alice, branch] = [await up('frank@example.com'), await up('till@branch.example')];
    const answers = async (tunnel: Tunnel, host: string): Promise<string> => {
      const socket = await tunnel.connect({ host, port, allowHalfOpen: true });
      socket.end('yes');
      return everything(socket);
    };
    left.length = 0;
    expect(await answers(alice, '10.20.2.5')).toBe('yes');
    await expect(alice.ping('10.20.2.5', { timeout: 200 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    await expect(alice.ping('10.20.2.6', { timeout: 200 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    await expect(alice.connect({ host: '10.20.2.6', port })).rejects.toMatchObject({ code: 'EACCES' });
    await expect(alice.connect({ host: '10.20.2.5', port: 65_535 })).rejects.toMatchObject({ code: 'EACCES' });
    await expect(alice.connect({ host: '10.20.3.5', port })).rejects.toMatchObject({ code: 'EACCES' });
    expect(await answers(branch, '10.20.3.5')).toBe('yes');
    // the host that was pinged is one that this outside has not
    expect(left).toEqual(['tcp 10.20.2.5', 'ping 10.20.2.6 56', 'tcp 10.20.3.5']);
  });

  test('while clients and the gateway itself are reached as before', async () => {
    const [one, two] = [await up('dan@example.com'), await up('eve@example.com')];
    left.length = 0;
    two.listen(80, (socket) => socket.on('error', () => undefined).end('from a client'));
    expect(await everything(await one.connect({ host: two.addresses[0]!, port: 80 }))).toBe('from a client');
    gateway.listenTcp(81, (socket) => socket.on('error', () => undefined).end('from the gateway'));
    expect(await everything(await one.connect({ host: '10.66.0.1', port: 81 }))).toBe('from the gateway');
    const [there, here] = [two.dgram(7), one.dgram()];
    there.on('message', (data: Uint8Array, { address, port }) => there.send(data, port, address));
    const answer = new Promise<unknown>((resolve) =>
      here.once('message', (data: Uint8Array, from) => resolve([String.fromCharCode(...data), from.address, from.port])),
    );
    here.send('between clients', 7, two.addresses[0]!);
    expect(await answer).toEqual(['between clients', two.addresses[0], 7]);
    expect(await one.ping(two.addresses[0]!)).toMatchObject({ from: two.addresses[0] });
    expect(left).toEqual([]);
  });
});
