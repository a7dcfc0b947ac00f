import { type Address, DataPlaneError } from '../../../src/core/bytes/index.ts';
import type { Clock } from '../../../src/host/platform/clock.ts';
import type { Platform } from '../../../src/host/platform/platform.ts';
import type { UdpNetwork, UdpSocket } from '../../../src/host/platform/udp.ts';
import type { Host } from '../../../src/testing/host.ts';
import type { Internet } from '../../../src/testing/internet.ts';
import type { Packet } from '../../../src/testing/network.ts';
import { scriptedRandom } from '../../../src/testing/seeded.ts';
import { SimulatedTcp } from '../../../src/testing/streams.ts';
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';

/** A machine for the engine inside the simulated internet: its time, its sockets, its luck. */
export function virtualPlatform(internet: Internet, host: Host, seed: number | string = 1): Platform {
  return {
    clock: engineClock(internet.clock),
    udp: hostUdp(host),
    tcp: new SimulatedTcp(host, internet.clock).asNetwork(),
    random: scriptedRandom(seed),
  };
}

export function engineClock(clock: VirtualClock): Clock {
  return {
    now: () => clock.now,
    wall: () => WALL_CLOCK_START + clock.now,
    after: (delay, run) => clock.after(Math.max(0, delay), run),
    soon: (run) => void clock.after(0, run),
  };
}

/** Lets everything run that waits for no time: promises and streams. */
export async function breathe(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets promises settle, then time pass, until nothing happens within `quiet` milliseconds. */
export async function settle(clock: VirtualClock, quiet = 0): Promise<void> {
  for (let round = 0; round < 100; round++) {
    await breathe();
    const next = clock.next;
    if (next === undefined || next > clock.now + quiet) return;
    clock.run(next);
  }
  throw new Error('the simulated world never comes to rest');
}

/** Lets `span` milliseconds pass, promises settling in between. */
export async function pass(clock: VirtualClock, span: number): Promise<void> {
  const until = clock.now + span;
  await breathe();
  for (let next = clock.next; next !== undefined && next <= until; next = clock.next) {
    clock.run(next);
    await breathe();
  }
  clock.run(until);
}

function hostUdp(host: Host): UdpNetwork {
  /** One handler per port sees all addresses of the host. */
  const ports = new Map<number, Map<string, (packet: Packet) => void>>();
  let nextPort = 49_152;
  return {
    bind({ ip, port: wanted, onDatagram }) {
      if (!host.addresses.includes(ip)) return Promise.reject(new DataPlaneError(`${ip} is not here`, { code: 'ADDRESS_NOT_OURS' }));
      const port = wanted === 0 ? nextPort++ : wanted;
      let sockets = ports.get(port);
      if (sockets === undefined) {
        const fresh = new Map<string, (packet: Packet) => void>();
        sockets = fresh;
        ports.set(port, fresh);
        host.bind(port, (packet) => fresh.get(packet.destination.ip)?.(packet));
      }
      if (sockets.has(ip)) return Promise.reject(new DataPlaneError(`${ip} ${port} is taken`, { code: 'ADDRESS_IN_USE' }));
      sockets.set(ip, ({ data, source }) => onDatagram(data, source.ip, source.port));
      return Promise.resolve(
        socketOn(host, { ip, port }, () => {
          sockets.delete(ip);
          if (sockets.size > 0) return;
          ports.delete(port);
          host.unbind(port);
        }),
      );
    },
    sourceFor: (remote) => Promise.resolve(host.addresses.find((ip) => ip.includes(':') === remote.includes(':'))),
    addresses: () => host.addresses,
  };
}

function socketOn(host: Host, local: Address, close: () => void): UdpSocket {
  const counters = { received: 0, sent: 0, queueDrops: 0, errors: 0 };
  let open = true;
  return {
    local,
    receiveBuffer: 0,
    counters,
    send(data, ip, port) {
      if (!open) return false;
      counters.sent++;
      host.send({ protocol: 'udp', source: local, destination: { ip, port }, data: data.slice() });
      return true;
    },
    close() {
      open = false;
      close();
      return Promise.resolve();
    },
  };
}

/** 2026-01-01T00:00:00Z. */
const WALL_CLOCK_START = 1_767_225_600_000;
