import type { Duplex } from 'node:stream';
import { type Address, formatAddress } from '../../core/bytes/index.ts';
import { join } from '../../host/platform/join.ts';
import { connectFromHere, listenLocally, openLocalUdp } from '../../host/platform/local-ports.ts';
import type { UdpPort, Way, WayListener } from '../../host/platform/way.ts';
import type { ForwardSpec } from './forward-spec.ts';
import { Lasting, type LastingOptions } from './lasting.ts';

export interface ForwardOptions {
  readonly way: Way;
  readonly spec: ForwardSpec;
  readonly onFailure?: ((target: string, error: unknown) => void) | undefined;
  /** The port of a `remote` one went with the process that holds the tunnel, or is there again. */
  readonly onPresence?: ((there: boolean) => void) | undefined;
}

export interface Forward {
  /** Where it is taken: on this machine (`local`), or at our address in the tunnel (`remote`). */
  readonly address: Address;
  close(): Promise<void>;
}

/**
 * A port here that leads to a host behind the tunnel (`local`), or a port of ours in the tunnel that leads to a host which this machine
 * reaches (`remote`). Where the tunnel is another process's, which ends and is started again, the port in it is opened again.
 * @throws DataPlaneError, ApiMisuse where the port cannot be had
 */
export async function openForward(options: ForwardOptions): Promise<Forward> {
  const { spec } = options;
  if (spec.protocol === 'udp') return forwardUdp(options);
  return spec.side === 'local' ? forwardLocalTcp(options) : forwardRemoteTcp(options);
}

async function forwardLocalTcp({ way, spec, onFailure }: ForwardOptions): Promise<Forward> {
  const { address, close } = await listenLocally({
    ip: spec.ip,
    port: spec.port,
    onConnection: (socket) => void carry(socket, () => way.connect(spec.to), spec, onFailure),
  });
  return { address, close };
}

async function forwardRemoteTcp(options: ForwardOptions): Promise<Forward> {
  const { way, spec, onFailure } = options;
  const streams = new Set<Duplex>();
  const onConnection = (stream: Duplex): void => {
    if (streams.size >= MOST_STREAMS) return void stream.destroy();
    streams.add(stream);
    stream.once('close', () => streams.delete(stream));
    void carry(stream, () => connectFromHere(spec.to), spec, onFailure);
  };
  const open = (last: WayListener | undefined): Promise<WayListener> => way.listenTcp(last?.address.port ?? spec.port, onConnection);
  const listener = await Lasting.open({ open, ...inTunnel(options) });
  return {
    get address() {
      return listener.current.address;
    },
    close: () => {
      listener.close();
      for (const stream of streams) stream.destroy();
      return Promise.resolve();
    },
  };
}

/** What is told of a port in the tunnel. */
const inTunnel = ({ spec, onFailure, onPresence }: ForwardOptions): Pick<LastingOptions<never>, 'onFailure' | 'onPresence'> => ({
  onFailure: (error) => onFailure?.(`tunnel port ${spec.port}`, error),
  onPresence,
});

async function carry(
  near: Duplex,
  dial: () => Promise<Duplex>,
  { to }: ForwardSpec,
  onFailure: ForwardOptions['onFailure'],
): Promise<void> {
  near.on('error', () => undefined);
  try {
    const far = await dial();
    if (near.destroyed) far.destroy();
    else await join(near, far);
  } catch (error) {
    onFailure?.(formatTo(to), error);
    near.destroy();
  }
}

/** Each sender gets a port of its own at the other end, so that answers find back. */
async function forwardUdp(options: ForwardOptions): Promise<Forward> {
  const { way, spec, onFailure } = options;
  const here = (): Promise<UdpPort> => openLocalUdp({ ip: spec.to.host.includes(':') ? '::' : '0.0.0.0', port: 0 });
  const flows = new Flows(spec, () => (spec.side === 'local' ? way.openUdp() : here()), onFailure);
  const open = async (last: UdpPort | undefined): Promise<UdpPort> => {
    const port = last?.local.port ?? spec.port;
    const opened = spec.side === 'local' ? await openLocalUdp({ ip: spec.ip, port }) : await way.openUdp(port);
    opened.onDatagram = (data, from) => flows.take(data, from, opened);
    return opened;
  };
  const near = await Lasting.open({ open, ...inTunnel(options) });
  return {
    get address() {
      return near.current.local;
    },
    close: () => {
      near.close();
      flows.close();
      return Promise.resolve();
    },
  };
}

interface Flow {
  readonly from: Address;
  /** Where it came in, and its answers go out. */
  near: UdpPort;
  far: UdpPort | undefined;
  /** Until the far port is open. */
  waiting: Uint8Array[];
  /** Milliseconds, of the last datagram either way. */
  usedAt: number;
}

class Flows {
  readonly #spec: ForwardSpec;
  readonly #open: () => Promise<UdpPort>;
  readonly #onFailure: ForwardOptions['onFailure'];
  readonly #flows = new Map<string, Flow>();
  readonly #sweep: NodeJS.Timeout;

  constructor(spec: ForwardSpec, open: () => Promise<UdpPort>, onFailure: ForwardOptions['onFailure']) {
    this.#spec = spec;
    this.#open = open;
    this.#onFailure = onFailure;
    this.#sweep = setInterval(() => this.#dropIdle(), IDLE / 4);
    this.#sweep.unref();
  }

  take(data: Uint8Array, from: Address, near: UdpPort): void {
    const key = formatAddress(from);
    let flow = this.#flows.get(key);
    if (flow === undefined) {
      if (this.#flows.size >= MOST_FLOWS)
        this.#drop([...this.#flows].reduce((oldest, each) => (each[1].usedAt < oldest[1].usedAt ? each : oldest))[0]);
      flow = { from, near, far: undefined, waiting: [], usedAt: performance.now() };
      this.#flows.set(key, flow);
      void this.#begin(key, flow);
    }
    flow.near = near;
    flow.usedAt = performance.now();
    if (flow.far !== undefined) flow.far.send(data, this.#spec.to);
    else if (flow.waiting.length < MOST_WAITING) flow.waiting.push(data);
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const key of [...this.#flows.keys()]) this.#drop(key);
  }

  async #begin(key: string, flow: Flow): Promise<void> {
    try {
      const far = await this.#open();
      if (this.#flows.get(key) !== flow) return far.close();
      flow.far = far;
      far.onDatagram = (data) => {
        flow.usedAt = performance.now();
        flow.near.send(data, { host: flow.from.ip, port: flow.from.port });
      };
      far.onEnd = () => this.#drop(key);
      far.onError = (error) => this.#onFailure?.(formatTo(this.#spec.to), error);
      for (const data of flow.waiting.splice(0)) far.send(data, this.#spec.to);
    } catch (error) {
      this.#flows.delete(key);
      this.#onFailure?.(formatTo(this.#spec.to), error);
    }
  }

  #dropIdle(): void {
    const now = performance.now();
    for (const [key, { usedAt }] of [...this.#flows]) if (now - usedAt > IDLE) this.#drop(key);
  }

  #drop(key: string): void {
    this.#flows.get(key)?.far?.close();
    this.#flows.delete(key);
  }
}

const formatTo = ({ host, port }: ForwardSpec['to']): string => `${host} port ${port}`;

const MOST_STREAMS = 4096;
const MOST_FLOWS = 1024;
const MOST_WAITING = 16;
/** Milliseconds; RFC 4787 §4.3 asks a NAT for two minutes at least. */
const IDLE = 120_000;
