import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { Stack, type StackOptions } from '../../../src/core/netstack/index.ts';
import { StackDriver } from '../../../src/host/platform/stack-driver.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';

export const KERNEL4 = '10.77.0.1';
export const OURS4 = '10.77.0.2';
export const KERNEL6 = 'fd77::1';
export const OURS6 = 'fd77::2';
export const FAR4 = '10.78.0.1';
export const FAR6 = 'fd78::1';

/** What the machine lacks for these tests, in words; undefined when nothing does. */
export function missing(): string | undefined {
  if (process.platform !== 'linux') return 'Linux';
  if (spawnSync('python3', ['-c', 'import fcntl']).status !== 0) return 'python3';
  if (spawnSync('ip', ['-V']).status !== 0) return 'ip of iproute2';
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return 'access to /dev/net/tun';
  }
  if (spawnSync('unshare', ['-Urn', 'true']).status !== 0) return 'user and network namespaces (unshare -Urn)';
  return undefined;
}

export interface KernelHostOptions {
  readonly mtu?: number;
  readonly ourMtu?: number;
  /** Probability that a packet is dropped between the two, in each direction. */
  readonly loss?: number;
  readonly seed?: number;
  readonly sysctl?: Readonly<Record<string, string | number>>;
  readonly routes?: readonly (readonly string[])[];
  readonly tcp?: StackOptions['tcp'];
  /** Sees every packet on its way; false drops it. */
  readonly filter?: (packet: Uint8Array, from: 'kernel' | 'ours') => boolean;
}

/** The kernel's TCP/IP in a namespace of its own, our stack outside, and a wire between them that may lose packets. */
export class KernelHost {
  readonly driver: StackDriver;
  readonly stack: Stack;
  dropped = 0;
  carried = 0;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  readonly #random: SeededRandom;
  readonly #options: KernelHostOptions;
  #nextId = 1;
  #rest: Buffer = Buffer.alloc(0);

  static async start(options: KernelHostOptions = {}): Promise<KernelHost> {
    const host = new KernelHost(options);
    await host.#answer(0);
    return host;
  }

  private constructor(options: KernelHostOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed ?? 1, 'wire');
    const config = {
      mtu: options.mtu ?? 1500,
      addresses: [`${KERNEL4}/24`, `${KERNEL6}/64`],
      sysctl: options.sysctl ?? {},
      routes: options.routes ?? [],
    };
    this.#child = spawn('unshare', ['-Urn', 'python3', join(import.meta.dirname, 'kernel_host.py'), JSON.stringify(config)], {
      stdio: ['pipe', 'pipe', 'inherit', 'pipe', 'pipe'],
    });
    const stackRandom = new SeededRandom(options.seed ?? 1, 'stack');
    this.stack = new Stack({
      addresses: [OURS4, OURS6],
      mtu: options.ourMtu ?? options.mtu ?? 1500,
      random: { secret: (length) => stackRandom.bytes(length) },
      ...(options.tcp === undefined ? {} : { tcp: options.tcp }),
    });
    const wire = this.#child.stdin!;
    wire.on('error', () => {});
    this.driver = new StackDriver({ stack: this.stack, transmit: (packet) => this.#toKernel(wire, packet) });
    wire.on('drain', () => this.driver.resume());
    this.#child.stdout!.on('data', (data: Buffer) => this.#fromKernel(data));
    createInterface({ input: this.#child.stdio[4] as Readable }).on('line', (line) => this.#hear(line));
  }

  /** Asks for something on the kernel's side. @returns its answer. */
  ask(command: string, request: Readonly<Record<string, unknown>> = {}): Promise<Record<string, unknown>> {
    const id = this.#nextId++;
    const answer = this.#answer(id);
    (this.#child.stdio[3] as Writable).write(`${JSON.stringify({ id, command, ...request })}\n`);
    return answer as Promise<Record<string, unknown>>;
  }

  /** A listener on the kernel's side. @returns once it listens; `done` has what its one connection came to. */
  async listen(request: Readonly<Record<string, unknown>>): Promise<{ port: number; done: Promise<Record<string, unknown>> }> {
    const then = this.#nextId++;
    const done = this.#answer(then) as Promise<Record<string, unknown>>;
    done.catch(() => {});
    const { port } = await this.ask('listen', { port: 0, then, ...request });
    return { port: port as number, done };
  }

  /** A second kernel behind this one, over a link of that MTU; what is asked of it goes through `askFar`. */
  async startFar(mtu: number): Promise<void> {
    await this.ask('far-start', {
      mtu,
      near: ['10.78.0.254/24', 'fd78::fe/64'],
      addresses: [`${FAR4}/24`, `${FAR6}/64`],
      via: ['10.78.0.254', 'fd78::fe'],
    });
  }

  /** A listener on the far kernel. */
  async listenFar(request: Readonly<Record<string, unknown>>): Promise<{ port: number; done: Promise<Record<string, unknown>> }> {
    const [id, then] = [this.#nextId++, this.#nextId++];
    const done = this.#answer(then) as Promise<Record<string, unknown>>;
    done.catch(() => {});
    const listening = this.#answer(id) as Promise<Record<string, unknown>>;
    await this.ask('far', { request: { id, then, command: 'listen', port: 0, ...request } });
    return { port: (await listening).port as number, done };
  }

  async stop(): Promise<void> {
    this.driver.close();
    const gone = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.stdin!.destroy();
    this.#child.kill('SIGKILL');
    await gone;
  }

  #answer(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.once('exit', (code) => reject(new Error(`the kernel's host ended with ${code}`)));
    });
  }

  #hear(line: string): void {
    const { id, result, error } = JSON.parse(line) as { id: number; result?: unknown; error?: string };
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error !== undefined) waiting?.reject(new Error(error));
    else waiting?.resolve(result);
  }

  #toKernel(wire: Writable, packet: Uint8Array): boolean {
    if (!this.#passes(packet, 'ours')) return true;
    const framed = Buffer.allocUnsafe(4 + packet.length);
    framed.writeUInt32BE(packet.length);
    framed.set(packet, 4);
    return wire.write(framed);
  }

  #fromKernel(data: Buffer): void {
    let buffer = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    while (buffer.length >= 4) {
      const length = buffer.readUInt32BE();
      if (buffer.length < 4 + length) break;
      const packet = buffer.subarray(4, 4 + length);
      if (this.#passes(packet, 'kernel')) this.driver.receive(packet);
      buffer = buffer.subarray(4 + length);
    }
    this.#rest = buffer;
  }

  #passes(packet: Uint8Array, from: 'kernel' | 'ours'): boolean {
    const { loss = 0, filter } = this.#options;
    if ((loss > 0 && this.#random.chance(loss)) || filter?.(packet, from) === false) {
      this.dropped++;
      return false;
    }
    this.carried++;
    return true;
  }
}

/** The octets that the kernel's side sends: the same pattern over and over. */
export const PATTERN = Buffer.from(Uint8Array.from({ length: 1 << 20 }, (_, i) => (i * 31 + (i >> 8) * 7) & 0xff));

export function patternOf(octets: number): Buffer {
  const data = Buffer.allocUnsafe(octets);
  for (let at = 0; at < octets; at += PATTERN.length) PATTERN.copy(data, at, 0, Math.min(PATTERN.length, octets - at));
  return data;
}

export const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
