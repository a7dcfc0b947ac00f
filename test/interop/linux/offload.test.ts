import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Coalescer, GsoType, RUN_BUFFER, Segmenter, VNET_HEADER, VnetHeader } from '../../../src/core/packet/offload/index.ts';
import { loadNative, type Native, type NativeBuffer } from '../../../src/host/platform/linux/ffi.ts';
import { loadLibc } from '../../../src/host/platform/linux/netlink/libc.ts';
import { within } from '../../../src/host/platform/linux/netlink/within.ts';
import { SocketAddress } from '../../../src/host/platform/linux/socket-address.ts';
import { Tun } from '../../../src/host/platform/linux/tun.ts';
import { FastUdp } from '../../../src/host/platform/linux/udp.ts';
import { UdpBatch } from '../../../src/host/platform/linux/udp-batch.ts';
import { addNamespace, networkName } from '../support/network.ts';
import { must } from '../support/process.ts';
import { describeWith, NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';

const OCTETS = 48 * 2 ** 20;
/** Of the devices: segments that are, and that are not, a multiple of 4 octets. */
const MTUS = [1400, 1439] as const;

/**
 * Two kernels whose only link is this: what one hands out is cut into packets, and the other gets them merged. Each judges for itself, by
 * checksums, sequence numbers and what its processes receive.
 */
describeWith(NAMESPACES, 'segmentation and coalescing between two kernels', () => {
  const scope = new Scope();
  const [left, right] = [networkName(), networkName()];
  let native: Native;
  let inside: <T>(namespace: string, make: () => T) => T;
  let link: Link;

  beforeAll(async () => {
    native = (await loadNative())!;
    const libc = await loadLibc();
    inside = (namespace, make) => within(libc, `/run/netns/${namespace}`, make);
    for (const namespace of [left, right]) await addNamespace(scope, namespace);
    const device = (namespace: string): Tun =>
      inside(namespace, () => Tun.open(native, { name: 'tw0', header: 10, mtu: 1400, up: true, queueLength: 5000 }));
    link = new Link(native, device(left), device(right));
    scope.defer('the devices', () => link.close());
    for (const [i, namespace] of [left, right].entries()) {
      await must('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
      await must('ip', ['-n', namespace, 'address', 'add', `10.87.0.${i + 1}/24`, 'dev', 'tw0']);
      await must('ip', ['-n', namespace, '-6', 'address', 'add', `fd87::${i + 1}/64`, 'dev', 'tw0', 'nodad']);
    }
  });
  afterAll(() => scope.close());

  test.each([
    [4, '10.87.0.2', MTUS[0]],
    [4, '10.87.0.2', MTUS[1]],
    [6, 'fd87::2', MTUS[0]],
    [6, 'fd87::2', MTUS[1]],
  ] as const)('two TCP connections over IPv%i to %s at an MTU of %i, both ways', async (_version, address, mtu) => {
    for (const namespace of [left, right]) await must('ip', ['-n', namespace, 'link', 'set', 'tw0', 'mtu', String(mtu)]);
    link.forget();
    expect(await echoed(address, OCTETS, 2)).toEqual(['same', 'same']);
    expect(await counters(left)).toEqual(SOUND);
    expect(await counters(right)).toEqual(SOUND);
    expect(link.faults).toEqual([]);
    expect(link.supers).toBeGreaterThan(100);
    expect(link.packets).toBeGreaterThan((4 * OCTETS) / 1500);
    expect(link.writes).toBeLessThan(link.packets / 3);
  });

  test.for([
    [4, '10.87.0.1', '10.87.0.2'],
    [6, 'fd87::1', 'fd87::2'],
  ] as const)('datagrams over IPv%i', async ([, from, to], { skip }) => {
    if (!link.left.state.offloads.udp) skip('this kernel does not cut datagrams (Linux 6.2 does)');
    link.forget();
    const sender = inside(left, () => FastUdp.open(native, { ip: from, port: 0 }));
    const receiver = inside(right, () => FastUdp.open(native, { ip: to, port: 0, receiveBuffer: 8 << 20 }));
    try {
      const buffer = native.allocate(64_000);
      for (let i = 0; i < buffer.octets.length; i++) buffer.octets[i] = i * 13 + (i >> 8);
      const batch = new UdpBatch(native, 64);
      for (const size of [1201, 1352, 8]) {
        const length = Math.min(64_000, size * 40 + 3);
        expect(sender.sendBatch(buffer, 0, length, size, SocketAddress.of(native, to, receiver.local.port))).toBe(length);
        await link.settle();
        const got: Uint8Array[] = [];
        while (receiver.receive(batch) > 0)
          for (let i = 0; i < batch.count; i++) got.push(batch.buffer.octets.slice(batch.offset(i), batch.offset(i) + batch.length(i)));
        expect(got.map((one) => one.length)).toEqual([...new Array<number>(40).fill(size), 3]);
        expect(Buffer.compare(Buffer.concat(got), buffer.octets.subarray(0, length))).toBe(0);
      }
      expect([link.packets, link.writes]).toEqual([3 * 41, 3]);
      expect(await counters(right)).toEqual(SOUND);
      expect(link.faults).toEqual([]);
    } finally {
      sender.close();
      receiver.close();
    }
  });

  test('a packet that was altered before it came here is the kernel’s to count, and TCP’s to send again', async () => {
    link.forget();
    link.spoil = 1000;
    expect(await echoed('10.87.0.2', 8 * 2 ** 20, 1)).toEqual(['same']);
    const errors = await Promise.all([counters(left), counters(right)]);
    expect(errors.reduce((sum, each) => sum + each.TcpInCsumErrors!, 0)).toBe(1);
    expect(link.faults).toEqual([]);
  });

  /** Connections that each send so many octets, get them back, and say whether they are the same. */
  async function echoed(address: string, octets: number, connections: number): Promise<string[]> {
    const server = node(scope, right, ECHO, address);
    await once(server.stdout!, 'data');
    const said = Array.from({ length: connections }, async (_, seed) => {
      const client = node(scope, left, CLIENT, address, String(octets), String(seed + 1));
      let text = '';
      client.stdout!.on('data', (chunk: Buffer) => (text += chunk.toString()));
      await once(client, 'close');
      return text;
    });
    const answers = await link.runUntil(Promise.all(said));
    server.kill('SIGKILL');
    return answers;
  }
});

/** The kernels' own judgment; all of it zero when nothing was wrong. */
async function counters(namespace: string): Promise<Record<string, number>> {
  const seen = await must('ip', ['netns', 'exec', namespace, 'nstat', '-asz']);
  const value = (name: string): number => Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(seen)?.[1] ?? -1);
  return Object.fromEntries(Object.keys(SOUND).map((name) => [name, value(name)]));
}

const SOUND = {
  IpInHdrErrors: 0,
  TcpInErrs: 0,
  TcpExtTCPOFOQueue: 0,
  UdpInErrors: 0,
  UdpInCsumErrors: 0,
  TcpInCsumErrors: 0,
  Udp6InCsumErrors: 0,
};

/** Two devices, joined in this process. */
class Link {
  readonly left: Tun;
  readonly right: Tun;
  /** Reads that stood for several packets; packets that went over; writes that they became. */
  supers = 0;
  packets = 0;
  writes = 0;
  /** The packet of this number gets one octet wrong. */
  spoil = 0;
  readonly faults: string[] = [];
  readonly #ways: readonly Way[];
  #open = true;

  constructor(native: Native, left: Tun, right: Tun) {
    this.left = left;
    this.right = right;
    this.#ways = [new Way(native, this, left, right), new Way(native, this, right, left)];
  }

  /** Carries packets until this is settled. */
  async runUntil<T>(done: Promise<T>): Promise<T> {
    let settled = false;
    const finish = (): void => {
      settled = true;
    };
    done.then(finish, finish);
    while (!settled && this.#open) {
      this.carry();
      await turn();
    }
    return done;
  }

  async settle(): Promise<void> {
    for (let idle = 0; idle < 20; idle++) {
      if (this.carry() > 0) idle = 0;
      await turn();
    }
  }

  carry(): number {
    return this.#ways.reduce((sum, way) => sum + way.carry(), 0);
  }

  forget(): void {
    this.supers = 0;
    this.packets = 0;
    this.writes = 0;
    this.faults.length = 0;
  }

  close(): void {
    this.#open = false;
    this.left.close();
    this.right.close();
  }
}

/** From one device to the other. */
class Way {
  readonly #link: Link;
  readonly #from: Tun;
  readonly #to: Tun;
  readonly #buffer: NativeBuffer;
  readonly #header = new VnetHeader();
  readonly #segmenter = new Segmenter();
  readonly #coalescer: Coalescer<NativeBuffer>;

  constructor(native: Native, link: Link, from: Tun, to: Tun) {
    this.#link = link;
    this.#from = from;
    this.#to = to;
    this.#buffer = native.allocate(RUNS_AT + FLOWS * RUN_BUFFER);
    this.#coalescer = new Coalescer({ sink: this, flows: FLOWS, buffer: this.#buffer, at: RUNS_AT, udp: to.state.offloads.udp });
  }

  /** @returns reads */
  carry(): number {
    let reads = 0;
    for (; reads < BATCH; reads++) {
      const octets = this.#from.read(this.#buffer, READ_AT, READ_ROOM);
      if (octets <= 0) break;
      this.#cut(READ_AT + octets);
    }
    this.#coalescer.flush();
    return reads;
  }

  deliver(buffer: NativeBuffer, start: number, end: number): void {
    this.#link.writes++;
    if (!this.#to.write(buffer, start, end - start)) this.#link.faults.push(`write: ${this.#to.refusal}`);
  }

  #cut(end: number): void {
    const header = this.#header;
    header.read(this.#buffer.octets, READ_AT);
    if (header.gsoType !== GsoType.NONE) this.#link.supers++;
    const segmenter = this.#segmenter;
    const verdict = segmenter.begin(this.#buffer, READ_AT + VNET_HEADER, end, header);
    if (verdict !== 'ok') this.#link.faults.push(verdict);
    const stride = (segmenter.packetLength + HEADROOM + 3) & ~3;
    while (segmenter.remaining > 0) {
      const left = segmenter.remaining;
      const count = segmenter.write(this.#buffer, PACKETS_AT + HEADROOM, stride, 64);
      for (let i = 0; i < count; i++) {
        const at = PACKETS_AT + HEADROOM + i * stride;
        const length = left === i + 1 ? segmenter.lastLength : segmenter.packetLength;
        if (++this.#link.packets === this.#link.spoil) this.#buffer.octets[at + length - 1]! ^= 1;
        this.#coalescer.push(this.#buffer, at, at + length);
      }
    }
  }
}

/** Within a buffer: where packets are read to, cut to, and merged. */
const READ_AT = 6;
const READ_ROOM = 65_546;
const PACKETS_AT = 1 << 17;
const RUNS_AT = 3 << 17;
const FLOWS = 8;
const BATCH = 32;
/** Header and IV of ESP. */
const HEADROOM = 16;

/** A program of Node in a namespace. */
function node(scope: Scope, namespace: string, program: string, ...args: string[]): ChildProcess {
  const child = spawn('ip', ['netns', 'exec', namespace, process.execPath, '-e', program, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  scope.defer('a program', () => void child.kill('SIGKILL'));
  return child;
}

const ECHO = `
  const server = require('node:net').createServer((socket) => socket.pipe(socket).on('error', () => {}));
  server.listen(7000, process.argv[1], () => console.log('listening'));`;

const CLIENT = `
  const [, address, octets, seed] = process.argv;
  const { createHash } = require('node:crypto');
  const pattern = Buffer.alloc(1000003);
  for (let i = 0, x = Number(seed); i < pattern.length; i++) pattern[i] = (x = (x * 1103515245 + 12345) & 0x7fffffff) >> 16;
  const [sent, got] = [createHash('sha256'), createHash('sha256')];
  let [left, missing] = [Number(octets), Number(octets)];
  const socket = require('node:net').connect({ host: address, port: 7000 });
  const feed = () => {
    while (left > 0) {
      const chunk = pattern.subarray(0, Math.min(left, pattern.length));
      sent.update(chunk);
      left -= chunk.length;
      if (!socket.write(chunk)) return;
    }
  };
  socket.on('connect', feed).on('drain', feed).on('data', (chunk) => {
    got.update(chunk);
    missing -= chunk.length;
    if (missing > 0) return;
    process.stdout.write(missing === 0 && sent.digest('hex') === got.digest('hex') ? 'same' : 'different');
    socket.destroy();
  });
  socket.on('error', (error) => process.stdout.write(String(error)));`;
