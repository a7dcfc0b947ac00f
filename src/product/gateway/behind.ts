import type { Duplex } from 'node:stream';
import { type Address, formatAddress, TunnelwrightError } from '../../core/bytes/index.ts';
import type { EchoRequest, FailureCode } from '../../core/netstack/index.ts';
import { join } from '../../host/platform/join.ts';
import { connectFromHere, openLocalUdp } from '../../host/platform/local-ports.ts';
import type { Doorbell, StackDriver } from '../../host/platform/stack-driver.ts';
import { systemPing } from '../../host/platform/system-ping.ts';
import type { UdpPort, WayTo } from '../../host/platform/way.ts';
import type { AllowList } from './allow-list.ts';

/** This machine, as far as the networks behind it are concerned. */
export interface Outside {
  connect(to: WayTo): Promise<Duplex>;
  openUdp(local: Address): Promise<UdpPort>;
  /** @param size octets of data @param timeout milliseconds @returns whether it was answered */
  ping(ip: string, size: number, timeout: number): Promise<boolean>;
}

export const SYSTEM: Outside = { connect: connectFromHere, openUdp: openLocalUdp, ping: systemPing };

export interface BehindOptions {
  /** Of the data plane: it takes packets to any destination. */
  readonly driver: StackDriver;
  readonly allowList: AllowList;
  readonly outside?: Outside | undefined;
}

/**
 * What clients send to the networks behind the gateway leaves through its ordinary sockets: TCP, UDP, and echo requests. The peer of a connection
 * hears whether the host behind took it before it is told that it stands. Nothing comes in from there by itself.
 */
export class Behind {
  readonly #options: BehindOptions;
  readonly #outside: Outside;
  readonly #stop: () => void;
  readonly #streams = new Set<Duplex>();
  readonly #udp: UdpNat;
  #pings = 0;

  constructor(options: BehindOptions) {
    this.#options = options;
    const { driver } = options;
    this.#stop = driver.answerForAll(BACKLOG, (bell) => void this.#knocked(bell));
    this.#outside = options.outside ?? SYSTEM;
    this.#udp = new UdpNat(driver, this.#outside, (from, to) => options.allowList.allows('udp', from, to));
    driver.stack.onEcho = (request) => void this.#echo(request);
  }

  close(): void {
    this.#stop();
    this.#udp.close();
    this.#options.driver.stack.onEcho = undefined;
    for (const stream of this.#streams) stream.destroy();
  }

  async #knocked(bell: Doorbell): Promise<void> {
    if (!this.#options.allowList.allows('tcp', bell.from, bell.to)) return bell.refuse('EACCES');
    if (this.#streams.size >= MOST_STREAMS) return bell.refuse('ECONNREFUSED');
    let far: Duplex;
    try {
      far = await this.#outside.connect({ host: bell.to.ip, port: bell.to.port });
    } catch (error) {
      return bell.refuse(reasonOf(error));
    }
    if (bell.gone) return void far.destroy();
    this.#streams.add(far);
    far.once('close', () => this.#streams.delete(far));
    // one whose handshake never ends must not keep the connection behind it
    const unanswered = setTimeout(() => far.destroy(), HANDSHAKE_WITHIN);
    far.once('close', () => clearTimeout(unanswered));
    bell.admit((near) => {
      clearTimeout(unanswered);
      void join(near, far);
    });
  }

  async #echo(request: EchoRequest): Promise<void> {
    if (!this.#options.allowList.allows('icmp', { ip: request.from, port: 0 }, { ip: request.to, port: 0 })) return;
    if (this.#pings >= MOST_PINGS) return;
    this.#pings++;
    const answered = await this.#outside.ping(request.to, request.data.length, PING_WITHIN);
    this.#pings--;
    if (!answered) return;
    this.#options.driver.stack.answerEcho(request);
    this.#options.driver.wake();
  }
}

interface Mapping {
  readonly client: Address;
  near: UdpPort | undefined;
  waiting: { readonly data: Uint8Array; readonly to: Address }[];
  /** Where the client has sent to: only from there it is answered. Milliseconds of the last datagram. */
  readonly peers: Map<string, number>;
  usedAt: number;
}

/** RFC 4787: a client keeps its port towards everybody (§4.1), and hears from those alone to whom it spoke (§5). */
class UdpNat {
  readonly #driver: StackDriver;
  readonly #outside: Outside;
  readonly #endpoint: ReturnType<StackDriver['bindUdp']>;
  readonly #mayReach: (from: Address, to: Address) => boolean;
  readonly #mappings = new Map<string, Mapping>();
  readonly #sweep: NodeJS.Timeout;

  constructor(driver: StackDriver, outside: Outside, mayReach: (from: Address, to: Address) => boolean) {
    this.#driver = driver;
    this.#outside = outside;
    this.#mayReach = mayReach;
    this.#endpoint = driver.bindUdp({ port: 'any' });
    this.#endpoint.onReady = () => {
      for (let datagram = this.#endpoint.receive(); datagram !== undefined; datagram = this.#endpoint.receive())
        this.#leave(datagram.remote, datagram.local, datagram.data);
    };
    this.#sweep = setInterval(() => this.#dropIdle(), IDLE / 4);
    this.#sweep.unref();
  }

  close(): void {
    clearInterval(this.#sweep);
    this.#endpoint.close();
    for (const key of [...this.#mappings.keys()]) this.#drop(key);
  }

  #leave(client: Address, to: Address, data: Uint8Array): void {
    const key = formatAddress(client);
    let mapping = this.#mappings.get(key);
    if (!mapping?.peers.has(formatAddress(to)) && !this.#mayReach(client, to)) return;
    if (mapping === undefined) {
      if (this.#mappings.size >= MOST_MAPPINGS) return;
      mapping = { client, near: undefined, waiting: [], peers: new Map(), usedAt: performance.now() };
      this.#mappings.set(key, mapping);
      void this.#open(key, mapping, to);
    }
    mapping.usedAt = performance.now();
    if (mapping.peers.size >= MOST_PEERS) mapping.peers.delete(mapping.peers.keys().next().value!);
    mapping.peers.set(formatAddress(to), mapping.usedAt);
    if (mapping.near !== undefined) mapping.near.send(data, { host: to.ip, port: to.port });
    else if (mapping.waiting.length < MOST_WAITING) mapping.waiting.push({ data, to });
  }

  async #open(key: string, mapping: Mapping, to: Address): Promise<void> {
    try {
      const near = await this.#outside.openUdp({ ip: to.ip.includes(':') ? '::' : '0.0.0.0', port: 0 });
      if (this.#mappings.get(key) !== mapping) return near.close();
      mapping.near = near;
      near.onDatagram = (data, from) => {
        if (!mapping.peers.has(formatAddress(from))) return;
        mapping.usedAt = performance.now();
        this.#endpoint.send(data, mapping.client, from);
        this.#driver.wake();
      };
      for (const { data, to: host } of mapping.waiting.splice(0)) near.send(data, { host: host.ip, port: host.port });
    } catch {
      // no socket is left: as on a network that loses it
      this.#mappings.delete(key);
    }
  }

  #dropIdle(): void {
    const now = performance.now();
    for (const [key, { usedAt }] of [...this.#mappings]) if (now - usedAt > IDLE) this.#drop(key);
  }

  #drop(key: string): void {
    this.#mappings.get(key)?.near?.close();
    this.#mappings.delete(key);
  }
}

function reasonOf(error: unknown): FailureCode {
  const code = error instanceof TunnelwrightError ? error.code : '';
  return code === 'ECONNREFUSED' || code === 'EHOSTUNREACH' || code === 'ENETUNREACH' || code === 'ETIMEDOUT' ? code : 'EHOSTUNREACH';
}

const BACKLOG = 1024;
const MOST_STREAMS = 8192;
const MOST_PINGS = 16;
const MOST_MAPPINGS = 8192;
const MOST_PEERS = 256;
const MOST_WAITING = 16;
/** Milliseconds. */
const HANDSHAKE_WITHIN = 30_000;
const PING_WITHIN = 5000;
/** RFC 4787 §4.3: two minutes at least. */
const IDLE = 150_000;
