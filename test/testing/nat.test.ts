import { describe, expect, test } from 'vitest';
import { type Address, formatAddress, fromUtf8, utf8 } from '../../src/core/bytes/index.ts';
import type { Host } from '../../src/testing/host.ts';
import { Internet } from '../../src/testing/internet.ts';
import type { Nat, NatBehaviour, NatOptions } from '../../src/testing/nat.ts';

const KINDS: readonly NatBehaviour[] = ['endpoint-independent', 'address-dependent', 'address-and-port-dependent'];
const X: Address = { ip: '198.51.100.7', port: 500 };
const X2: Address = { ip: '198.51.100.7', port: 4500 };
const Y: Address = { ip: '203.0.113.9', port: 500 };

class Scene {
  readonly net = new Internet(1);
  readonly nat: Nat;
  readonly client: Host;
  /** `who heard what from whom`. */
  readonly log: string[] = [];
  readonly #servers: readonly Host[];

  constructor(options: Partial<NatOptions> = {}) {
    this.nat = this.net.nat('nat', { outside: ['192.0.2.1'], ...options });
    this.client = this.insider('client', '10.0.0.2');
    this.#servers = [this.net.host('x', { addresses: [X.ip] }), this.net.host('y', { addresses: [Y.ip] })];
    for (const server of this.#servers) {
      for (const port of [500, 4500])
        server.bind(port, (p) => this.log.push(`${server.name} ${formatAddress(p.source)} ${fromUtf8(p.data)}`));
    }
  }

  insider(name: string, ip: string): Host {
    const host = this.net.host(name, { network: this.nat.inside, addresses: [ip] });
    host.bind(500, (p) => this.log.push(`${name} ${formatAddress(p.source)} ${fromUtf8(p.data)}`));
    return host;
  }

  send(host: Host, destination: Address, text: string, sourcePort = 500): void {
    host.send({ protocol: 'udp', source: { ip: host.addressFor(destination.ip), port: sourcePort }, destination, data: utf8(text) });
    this.net.clock.settle();
  }

  /** From a server's own address and port. */
  reply(from: Address, destination: Address, text: string): void {
    const host = this.#servers.find((server) => server.addresses.includes(from.ip))!;
    this.send(host, destination, text, from.port);
  }

  get lastFate(): string | undefined {
    return this.net.capture.packets.at(-1)?.fate;
  }

  /** The address outside that the client's packets to `destination` carry. */
  outsideFor(destination: Address, host: Host = this.client): Address {
    this.send(host, destination, 'probe');
    return this.net.capture.packets.at(-1)!.packet.source;
  }
}

describe('mapping (RFC 4787 §4.1)', () => {
  const expected = {
    'endpoint-independent': [true, true],
    'address-dependent': [true, false],
    'address-and-port-dependent': [false, false],
  };
  test.each(KINDS)('%s', (mapping) => {
    const scene = new Scene({ mapping });
    const [x, x2, y] = [scene.outsideFor(X), scene.outsideFor(X2), scene.outsideFor(Y)];
    expect([x.port === x2.port, x.port === y.port]).toEqual(expected[mapping]);
    expect([x.ip, x2.ip, y.ip]).toEqual(['192.0.2.1', '192.0.2.1', '192.0.2.1']);
    expect(scene.outsideFor(X)).toEqual(x);
  });
});

describe('filtering (RFC 4787 §5)', () => {
  const expected = {
    'endpoint-independent': [true, true],
    'address-dependent': [true, false],
    'address-and-port-dependent': [false, false],
  };
  test.each(KINDS)('%s', (filtering) => {
    const scene = new Scene({ filtering });
    const outside = scene.outsideFor(X);
    scene.log.length = 0;
    scene.reply(X, outside, 'answer');
    expect(scene.log).toEqual([`client ${formatAddress(X)} answer`]);
    const passes = [X2, Y].map((from) => {
      scene.log.length = 0;
      scene.reply(from, outside, 'unasked');
      return scene.log.length === 1;
    });
    expect(passes).toEqual(expected[filtering]);
  });

  test('nothing comes in where nothing went out', () => {
    const scene = new Scene({ filtering: 'endpoint-independent' });
    scene.reply(X, { ip: '192.0.2.1', port: 500 }, 'knock');
    expect([scene.log, scene.lastFate, scene.nat.counters.dropped]).toEqual([[], 'no mapping', 1]);
  });
});

describe('ports', () => {
  test('preserve keeps the port for the first, another for the second', () => {
    const scene = new Scene({ ports: 'preserve' });
    const second = scene.insider('second', '10.0.0.3');
    expect(scene.outsideFor(X).port).toBe(500);
    expect(scene.outsideFor(X, second).port).not.toBe(500);
  });

  test('random and sequential stay in the dynamic range and never give a port twice', () => {
    for (const ports of ['random', 'sequential'] as const) {
      const scene = new Scene({ ports, mapping: 'address-and-port-dependent' });
      const given = Array.from({ length: 200 }, (_, i) => scene.outsideFor({ ip: X.ip, port: 1000 + i }).port);
      expect(new Set(given).size).toBe(200);
      expect(Math.min(...given)).toBeGreaterThanOrEqual(49_152);
    }
  });

  test('a host stays under one address of the pool (REQ-2)', () => {
    const scene = new Scene({ outside: ['192.0.2.1', '192.0.2.2'], mapping: 'address-and-port-dependent' });
    const second = scene.insider('second', '10.0.0.3');
    const first = [X, X2, Y].map((d) => scene.outsideFor(d).ip);
    const other = [X, X2, Y].map((d) => scene.outsideFor(d, second).ip);
    expect([new Set(first), new Set(other)]).toEqual([new Set(['192.0.2.1']), new Set(['192.0.2.2'])]);
  });
});

describe('time', () => {
  test('a mapping dies without traffic and lives with it', () => {
    const scene = new Scene({ timeout: 30_000 });
    const outside = scene.outsideFor(X);
    scene.net.clock.run(scene.net.clock.now + 25_000);
    scene.reply(X, outside, 'refreshes');
    scene.net.clock.run(scene.net.clock.now + 25_000);
    scene.log.length = 0;
    scene.reply(X, outside, 'still there');
    expect(scene.log).toHaveLength(1);
    scene.net.clock.run(scene.net.clock.now + 30_001);
    scene.reply(X, outside, 'too late');
    expect(scene.lastFate).toBe('no mapping');
    expect(scene.nat.mappings).toEqual([]);
    expect(scene.outsideFor(X).port).not.toBe(outside.port);
  });

  test('without inbound refresh only the client keeps it alive (REQ-6)', () => {
    const scene = new Scene({ timeout: 30_000, inboundRefresh: false });
    const outside = scene.outsideFor(X);
    for (let i = 0; i < 3; i++) {
      scene.net.clock.run(scene.net.clock.now + 12_000);
      scene.reply(X, outside, 'no help');
    }
    expect(scene.lastFate).toBe('no mapping');
  });
});

describe('rebinding and reboot', () => {
  test.each(['preserve', 'sequential', 'random'] as const)('rebinding gives another port (%s)', (ports) => {
    const scene = new Scene({ ports });
    const before = scene.outsideFor(X);
    scene.nat.rebind();
    scene.reply(X, before, 'to the old one');
    expect(scene.lastFate).toBe('no mapping');
    expect(scene.outsideFor(X).port).not.toBe(before.port);
  });

  test('a reboot may bring another address', () => {
    const scene = new Scene();
    scene.outsideFor(X);
    scene.nat.reboot(['192.0.2.77']);
    expect(scene.outsideFor(X).ip).toBe('192.0.2.77');
    scene.reply(X, { ip: '192.0.2.1', port: 49_152 }, 'to the old address');
    expect(scene.lastFate).toBe('no such host');
  });
});

describe('hairpinning (RFC 4787 §6)', () => {
  test('two hosts inside meet through the address outside, when the NAT does that', () => {
    const scene = new Scene({ hairpinning: true, filtering: 'endpoint-independent' });
    const second = scene.insider('second', '10.0.0.3');
    const secondOutside = scene.outsideFor(X, second);
    const firstOutside = scene.outsideFor(X);
    scene.log.length = 0;
    scene.send(scene.client, secondOutside, 'hello neighbour');
    // REQ-9: the source is the external address and port.
    expect(scene.log).toEqual([`second ${formatAddress(firstOutside)} hello neighbour`]);
  });

  test('and do not, when it does not', () => {
    const scene = new Scene({ filtering: 'endpoint-independent' });
    const second = scene.insider('second', '10.0.0.3');
    const secondOutside = scene.outsideFor(X, second);
    scene.send(scene.client, secondOutside, 'hello neighbour');
    expect(scene.lastFate).toBe('no hairpin');
  });
});

test('ESP straight on IP does not get through', () => {
  const scene = new Scene();
  scene.client.send({ protocol: 'esp', source: { ip: '10.0.0.2', port: 0 }, destination: { ip: X.ip, port: 0 }, data: new Uint8Array(40) });
  scene.net.clock.settle();
  expect(scene.lastFate).toBe('not translatable');
});

test('NATs nest: a home behind a carrier', () => {
  const net = new Internet(2);
  const carrier = net.nat('carrier', { outside: ['192.0.2.1'] });
  const home = net.nat('home', { outside: ['100.64.0.9'], network: carrier.inside });
  const client = net.host('client', { network: home.inside, addresses: ['192.168.1.2'] });
  const server = net.host('server', { addresses: [X.ip] });
  const heard: string[] = [];
  server.bind(500, (p) => {
    heard.push(`server ${p.source.ip}`);
    server.send({ protocol: 'udp', source: p.destination, destination: p.source, data: utf8('back') });
  });
  client.bind(500, (p) => heard.push(`client ${p.source.ip} ${fromUtf8(p.data)}`));
  client.send({ protocol: 'udp', source: { ip: '192.168.1.2', port: 500 }, destination: X, data: utf8('out') });
  net.clock.settle();
  expect(heard).toEqual(['server 192.0.2.1', `client ${X.ip} back`]);
});

test('an ICMP too-big comes back through the NAT to the host that sent', () => {
  const scene = new Scene({ link: { mtu: 1280, oversize: 'too-big' } });
  const told: number[] = [];
  scene.client.onTooBig((_, mtu) => told.push(mtu));
  scene.client.send({ protocol: 'udp', source: { ip: '10.0.0.2', port: 500 }, destination: X, data: new Uint8Array(1400) });
  scene.net.clock.settle();
  expect(told).toEqual([1280]);
});
