import { setTimeout as sleep } from 'node:timers/promises';
import { loadLibc } from '../../../src/host/platform/linux/netlink/libc.ts';
import { within } from '../../../src/host/platform/linux/netlink/within.ts';
import type { ControlClient } from '../../../src/product/control/index.ts';
import type { Host, Network } from '../../interop/support/network.ts';
import { eventually, run } from '../../interop/support/process.ts';
import type { OnOff } from './report.ts';

/** What a data plane does for every packet, as it was seen to. */
export interface Checks {
  /** Packets that came once more were dropped. */
  readonly replay: OnOff;
  /** As many packets were counted as were sent. */
  readonly counters: OnOff;
  /** A packet that the selectors do not take did not enter. */
  readonly selectors: OnOff;
}

/** Tries each of them on a tunnel of ours that stands. */
export async function observedChecks({ left, right }: Network, ends: Readonly<Record<'left' | 'right', ControlClient>>): Promise<Checks> {
  const before = await counted(ends.left);
  await pings(left, left.inside, right.inside);
  const counters = await grown(async () => (await counted(ends.left)).packets - before.packets >= PINGS);
  const accepted = await counted(ends.left);
  // the address outside is not within local_ts, but the route leads into the tunnel
  await pings(left, left.address, right.inside);
  await sleep(COUNTED_WITHIN);
  const selectors = (await counted(ends.left)).packets === accepted.packets;
  const replayed = (await counted(ends.right)).replayed;
  await sendAgain(left, () => pings(left, left.inside, right.inside));
  const replay = await grown(async () => (await counted(ends.right)).replayed - replayed >= PINGS);
  return { replay: onOff(replay), counters: onOff(counters), selectors: onOff(selectors) };
}

/** Of all CHILD_SAs: packets sent, and replays that were dropped. */
async function counted(end: ControlClient): Promise<{ readonly packets: number; readonly replayed: number }> {
  const children = (await end.sas()).ikeSas.flatMap((ikeSa) => ikeSa.children);
  return {
    packets: children.reduce((sum, { out }) => sum + out.packets, 0),
    replayed: children.reduce((sum, { replay }) => sum + replay, 0),
  };
}

/** Whatever leaves the host meanwhile with ESP in UDP leaves it a second time. */
async function sendAgain({ namespace }: Host, meanwhile: () => Promise<unknown>): Promise<void> {
  const libc = await loadLibc();
  const fd = within(libc, `/run/netns/${namespace}`, () => libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, ETH_P_ALL));
  if (fd < 0) throw new Error(`no packet socket: ${libc.errno()}`);
  try {
    await meanwhile();
    const [frame, from] = [new Uint8Array(2048), new Uint8Array(SOCKADDR_LL)];
    for (;;) {
      const length = libc.recvfrom(fd, frame, frame.length, 0, from, Uint8Array.of(SOCKADDR_LL, 0, 0, 0));
      if (length < 0) return;
      if (from[PACKET_TYPE] !== PACKET_OUTGOING || !isEspInUdp(frame)) continue;
      // the device was to finish the checksum: over IPv4 none is needed
      frame.fill(0, UDP_CHECKSUM_AT, UDP_CHECKSUM_AT + 2);
      libc.sendto(fd, frame, length, 0, from, SOCKADDR_LL);
    }
  } finally {
    libc.close(fd);
  }
}

/** An Ethernet frame with IPv4, UDP to port 4500, and an SPI where IKE has four zeros. */
function isEspInUdp(frame: Uint8Array): boolean {
  const view = new DataView(frame.buffer);
  return view.getUint8(23) === UDP && view.getUint16(36) === NAT_PORT && view.getUint32(42) !== 0;
}

const pings = ({ namespace }: Host, from: string, to: string) =>
  run('ip', ['netns', 'exec', namespace, 'ping', '-q', '-c', `${PINGS}`, '-i', '0.02', '-W', '1', '-I', from, to]);

/** Counters are told now and then. */
async function grown(is: () => Promise<boolean>): Promise<boolean> {
  try {
    await eventually('counters grow', is, 20 * COUNTED_WITHIN, () => '');
    return true;
  } catch {
    return false;
  }
}

const onOff = (on: boolean): OnOff => (on ? 'on' : 'off');

const PINGS = 20;
/** Milliseconds. */
const COUNTED_WITHIN = 500;
const [AF_PACKET, SOCK_RAW, SOCK_NONBLOCK] = [17, 3, 0o4000];
/** In network order, on machines whose own it is not; of one protocol alone nothing is seen that leaves. */
const ETH_P_ALL = 0x0300;
const [UDP, NAT_PORT] = [17, 4500];
const UDP_CHECKSUM_AT = 40;
/** `struct sockaddr_ll`. */
const SOCKADDR_LL = 20;
const PACKET_TYPE = 10;
const PACKET_OUTGOING = 4;
