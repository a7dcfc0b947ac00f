// node --expose-gc children-load.js COUNT      what so many CHILD_SAs take in the thread of a fast plane: octets, as JSON
import { createPacketCipher } from '../../src/core/crypto/index.ts';
import { systemRandom } from '../../src/core/crypto/system-random.ts';
import type { ChildSaSpec } from '../../src/core/ike/effects.ts';
import { VNET_HEADER } from '../../src/core/packet/offload/index.ts';
import { Arrivals, UdpDevice } from '../../src/host/dataplane/fast/devices.ts';
import { FastLoop, LOOP_BUFFERS } from '../../src/host/dataplane/fast/loop.ts';
import { CounterSlots } from '../../src/host/dataplane/fast/slots.ts';
import { systemClock } from '../../src/host/platform/clock.ts';
import { createEvpCipher } from '../../src/host/platform/linux/evp.ts';
import { type NativeBuffer, NativeMemory, needNative } from '../../src/host/platform/linux/ffi.ts';
import { FastUdp } from '../../src/host/platform/linux/udp.ts';
import { childPair } from '../host/support/esp-pair.ts';
import { packet } from '../host/support/packets.ts';

/** Octets of resident memory for each CHILD_SA. */
export interface ChildrenMemory {
  readonly resident: number;
}

/** What is there once: the first SAs make it. */
const WARM = 500;
const MOST_TURNS = 1000;
const native = await needNative('tun');
const udp = FastUdp.open(native, { ip: '0.0.0.0', port: 0 });
const gathered = Arrivals.octets(0);
const memory = new NativeMemory(NativeMemory.octets(gathered, ...LOOP_BUFFERS));
const waiting: Uint8Array[] = [];
let delivered = 0;
const loop = new FastLoop<NativeBuffer>({
  clock: systemClock,
  random: systemRandom(),
  createPacketCipher: (keys) => createEvpCipher(native, keys) ?? createPacketCipher(keys),
  tun: {
    read: (into, at) => {
      const packet = waiting.shift();
      if (packet === undefined) return 0;
      into.octets.fill(0, at, at + VNET_HEADER);
      into.octets.set(packet, at + VNET_HEADER);
      return VNET_HEADER + packet.length;
    },
    write: () => true,
  },
  sink: { push: () => void delivered++, flush: () => {} },
  counters: new CounterSlots(),
  allocate: (length) => memory.take(length),
  openSocket: () => new UdpDevice(native, udp, new Arrivals(native, memory.take(gathered))),
  post: () => {},
});
loop.tell({ kind: 'socket', fd: udp.fd, local: udp.local });

const count = Number(process.argv[2]);
// made beforehand, so that they and what is dropped on the way count on both sides
const orders = Array.from({ length: WARM + count }, (_, i) => ({
  install: { kind: 'install', token: i, slot: i, spec: child(i), resume: undefined } as const,
  packet: packet(inside(i), inside(i)),
}));
use(0, WARM);
const before = resident();
use(WARM, WARM + count);
process.stdout.write(JSON.stringify({ resident: (resident() - before) / count } satisfies ChildrenMemory));

/** Installs SAs, each with a peer of its own that is this socket again, and has every one of them seal and open a packet. */
function use(from: number, to: number): void {
  for (const { install, packet } of orders.slice(from, to)) {
    // as it comes from the other thread
    loop.tell(structuredClone(install));
    waiting.push(packet);
    loop.turn({ tun: true, sockets: false });
    const expected = install.token + 1;
    for (let turns = 0; delivered < expected && turns < MOST_TURNS; turns++) loop.turn({ tun: false, sockets: true });
    if (delivered !== expected) throw new Error(`the packet of child ${install.token} did not come back`);
  }
}

/** Both directions have one SPI and one key, so that what is sealed can be opened here. */
function child(i: number): ChildSaSpec {
  const { a } = childPair({ id: i + 1, localTs: [`${inside(i)}/32`], remoteTs: [`${inside(i)}/32`], more: { replayWindow: 1024 } });
  const remote = { ip: `127.${1 + (i >> 14)}.${(i >> 7) & 127}.${1 + (i & 127)}`, port: udp.local.port };
  return { ...a, outbound: structuredClone(a.inbound), local: udp.local, remote };
}

function inside(i: number): string {
  return `10.${1 + (i >> 14)}.${(i >> 7) & 127}.${1 + (i & 127)}`;
}

function resident(): number {
  for (let i = 0; i < 3; i++) globalThis.gc?.();
  return process.memoryUsage().rss;
}
