// node end.js
// One host of the in-process stack behind ESP and a UDP socket on loopback, that does what it is asked for.
import { readFileSync } from 'node:fs';
import { isIpv6 } from '../../../src/core/bytes/index.ts';
import { systemRandom } from '../../../src/core/crypto/system-random.ts';
import { type CongestionName, Ready, type TcpConnection } from '../../../src/core/netstack/index.ts';
import backend from '../../../src/host/dataplane/backends/netstack.ts';
import { PATH_MTU, UDP_ENCAPSULATION } from '../../../src/host/dataplane/path-mtu.ts';
import { systemClock } from '../../../src/host/platform/clock.ts';
import type { StackDriver } from '../../../src/host/platform/stack-driver.ts';
import type { UdpSocket } from '../../../src/host/platform/udp.ts';
import { childPair } from '../../host/support/esp-pair.ts';
import { answering } from '../../interop/support/dialogue.ts';
import type { Answers, Question } from './questions.ts';

const INNER = { a: '10.1.0.1', b: '10.2.0.1' } as const;
const MTU = 1400;
const PORT = 9;

let driver: StackDriver;
let received = 0;
const kept: TcpConnection[] = [];
let remote = { ip: '127.0.0.1', port: 0 };
/** The inner address of the other end. */
let opposite: string;
/** Tells whoever sends that the other end has moved. */
let onMove: () => void = () => {};
let onPacket: (packet: Uint8Array, ip: string, port: number) => void = () => {};

answering((question: Question): Promise<unknown> => answers[question.ask](question as never));

const answers: { readonly [Ask in Question['ask']]: (question: Extract<Question, { ask: Ask }>) => Promise<Answers[Ask]> } = {
  open: async ({ end, congestion, espThread }) => {
    const udp = await backend.udp!();
    const socket = await udp.bind({
      ip: '127.0.0.1',
      port: 0,
      onDatagram: (data, ip, port) => onPacket(data, ip, port),
    });
    opposite = INNER[end === 'a' ? 'b' : 'a'];
    await openTunnel(end, socket, congestion, espThread);
    driver.listen({ port: PORT, backlog: 4096 }, (socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk: Uint8Array) => {
        received += chunk.length;
      });
    });
    return { port: socket.local.port };
  },
  peer: ({ port }) => {
    follow({ ip: remote.ip, port });
    return Promise.resolve({});
  },
  send: ({ seconds, octets }) => carry(seconds * 1000, octets),
  setUp: ({ count }) => setUp(count),
  hold: ({ count }) => hold(count),
  state: () => {
    const { user, system } = process.cpuUsage();
    globalThis.gc?.();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    const { connectionCount, counters } = driver.stack;
    const { tcpRetransmits, tcpTimeouts } = counters;
    return Promise.resolve({
      received,
      processorSeconds: (user + system) / 1e6,
      mainSeconds: mainThreadSeconds(),
      memory: heapUsed + arrayBuffers,
      connections: connectionCount,
      retransmits: tcpRetransmits,
      timeouts: tcpTimeouts,
    });
  },
};

/** What the thread has taken that leads the process: user and system, in ticks (proc(5)). */
function mainThreadSeconds(): number {
  const fields = readFileSync(`/proc/self/task/${process.pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

function follow(address: typeof remote): void {
  remote = address;
  onMove();
}

async function openTunnel(end: 'a' | 'b', socket: UdpSocket, congestion: CongestionName, espThread: boolean): Promise<void> {
  const plane = await backend.open({
    clock: systemClock,
    random: systemRandom(),
    openPath: (_, { ip, port }) => ({
      send: (packet) => socket.send(packet, ip, port),
      socket,
      mtu: PATH_MTU,
      overhead: UDP_ENCAPSULATION[isIpv6(ip) ? 6 : 4],
    }),
    // Whoever is behind a relay does not know what it is seen as.
    onObservation: (observation) => {
      if (observation.kind === 'mapping-changed') follow(observation.remote);
    },
    addresses: [INNER[end]],
    mtu: MTU,
    congestion,
    espThread,
  });
  const ends = { localTs: [`${INNER.a}/32`], remoteTs: [`${INNER.b}/32`] };
  const spec = { ...childPair(ends)[end], local: socket.local };
  await plane.adopt(socket);
  await plane.install(spec);
  onMove = () => plane.update(spec.id, { kind: 'addresses', local: spec.local, remote, encap: true });
  driver = plane.driver;
  onPacket = (packet, ip, port) => void plane.receive(packet, spec.local, ip, port);
}

/** One connection that is never idle, until so much time or so many octets have gone. @returns what the peer has acknowledged */
async function carry(duration: number, octets: number): Promise<Answers['send']> {
  const connection = await connected();
  const began = performance.now();
  const block = new Uint8Array(65_536).fill(7);
  let written = 0;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => finish(), duration);
    const finish = (): void => {
      clearTimeout(timer);
      connection.onReady = undefined;
      resolve();
    };
    const fill = (): void => {
      while (written < octets) {
        const taken = connection.write(octets - written < block.length ? block.subarray(0, octets - written) : block);
        written += taken;
        if (taken < block.length) break;
      }
      if (written === octets) connection.shutdown();
    };
    connection.onReady = (events) => {
      if ((events & Ready.WRITABLE) !== 0) fill();
      if ((events & Ready.ENDED) !== 0) finish();
      if ((events & Ready.CLOSED) !== 0 && connection.error !== undefined) reject(new Error(`the connection ended: ${connection.error}`));
    };
    fill();
  });
  const seconds = (performance.now() - began) / 1000;
  const info = connection.info;
  const acknowledged = written - connection.unacknowledged;
  connection.abort();
  return { octets: acknowledged, seconds, congestion: info.congestion ?? '' };
}

/** Opens and resets so many connections, some at a time. */
async function setUp(count: number): Promise<Answers['setUp']> {
  const began = performance.now();
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) (await connected()).abort();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return { seconds: (performance.now() - began) / 1000 };
}

async function hold(count: number): Promise<Answers['hold']> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const connection = await connected();
      connection.onReady = undefined;
      kept.push(connection);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return { held: kept.length };
}

function connected(): Promise<TcpConnection> {
  const connection = driver.stack.connect({ ip: opposite, port: PORT }, systemClock.now());
  driver.wake();
  return new Promise((resolve, reject) => {
    connection.onReady = (events) => {
      if ((events & Ready.CONNECTED) !== 0) resolve(connection);
      else if ((events & Ready.CLOSED) !== 0) reject(new Error(`no connection: ${connection.error}`));
    };
  });
}

const AT_ONCE = 64;
/** USER_HZ. */
const TICKS = 100;
