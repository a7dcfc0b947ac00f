import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Address, DataPlaneError, TimedOut } from '../../core/bytes/index.ts';
import { systemClock } from '../../host/platform/clock.ts';
import { systemUdp } from '../../host/platform/udp.ts';
import { startWorker, type WorkerProcess } from '../../host/platform/worker-process.ts';
import type { EventLine, IkeSaDocument, ProgressLine } from '../../product/control/index.ts';
import { UdpCapture } from '../../product/explain/udp-capture.ts';
import { UdpRelay } from '../../testing/udp-relay.ts';
import type { ClientMessage, ClientSetup, Failure, GatewayMessage, GatewaySetup, Order } from './messages.ts';
import { makeWorkspace, sha256OfFile, type Workspace } from './workspace.ts';

export interface DemoOptions {
  /** The user's own file instead of 64 MiB of noise. */
  readonly file?: string | undefined;
  /** Folder for the capture and the key tables. */
  readonly keylog?: string | undefined;
  readonly onEvent: (event: DemoEvent) => void;
  readonly signal?: AbortSignal | undefined;
}

export type DemoEvent =
  | { readonly kind: 'workspace'; readonly file: Workspace['file'] }
  | { readonly kind: 'gateway'; readonly pid: number; readonly ike: number; readonly nat: number }
  | { readonly kind: 'nat'; readonly fronts: readonly Address[] }
  | { readonly kind: 'client'; readonly pid: number }
  | { readonly kind: 'event'; readonly event: EventLine }
  | { readonly kind: 'up'; readonly took: number; readonly ikeSa: IkeSaDocument }
  | { readonly kind: 'progress'; readonly progress: ProgressLine };

type Sent = Extract<ClientMessage, { kind: 'sent' }>;
type Ended = Extract<GatewayMessage, { kind: 'ended' }>;

export interface DemoResult {
  readonly client: Sent;
  readonly gateway: Ended;
  /** Computed here, from the files themselves, by neither of the two. */
  readonly sha256: { readonly sent: string; readonly received: string };
  readonly childRekeys: number;
  readonly ikeRekeys: number;
  /** What held and what did not; the demo is good when all did. */
  readonly checks: readonly { readonly what: string; readonly held: boolean }[];
  readonly relayed: number;
  /** UDP ports of the gateway. */
  readonly ports: { readonly ike: number; readonly nat: number };
}

/**
 * A gateway and a client in two processes, a NAT between them, one file through ESP, both kinds of rekeying on the way.
 * @throws TunnelwrightError: what one of the processes failed with
 */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const workspace = await makeWorkspace(options.file, systemClock.wall());
  const stage = new Stage(options, workspace);
  try {
    options.onEvent({ kind: 'workspace', file: workspace.file });
    return await Promise.race([stage.play(), aborted(options.signal)]);
  } finally {
    await stage.clear();
    await workspace.remove();
  }
}

class Stage {
  readonly #options: DemoOptions;
  readonly #workspace: Workspace;
  readonly #workers: WorkerProcess[] = [];
  readonly #rekeys = { child: 0, ike: 0 };
  #relay: UdpRelay | undefined;
  #capture: UdpCapture | undefined;

  constructor(options: DemoOptions, workspace: Workspace) {
    this.#options = options;
    this.#workspace = workspace;
  }

  async play(): Promise<DemoResult> {
    const { onEvent, keylog } = this.#options;
    const gateway = this.#start<GatewayMessage>(GATEWAY, { config: this.#workspace.gatewayConfig } satisfies GatewaySetup);
    const { pid, ike, nat } = await gateway.until('listening');
    onEvent({ kind: 'gateway', pid, ike, nat });
    const [frontIke, frontNat] = await this.#openRelay([ike, nat]);
    const client = this.#start<ClientMessage>(
      CLIENT,
      {
        config: await this.#workspace.clientConfig({ ike: frontIke, nat: frontNat }),
        file: this.#workspace.file.path,
        keylog,
        rekeyChildAt: 0.25,
        rekeyIkeAt: 0.55,
      } satisfies ClientSetup,
      (message) => this.#hear(message),
    );
    const sent = await client.until('sent');
    const stored = await gateway.until('stored');
    client.tell({ kind: 'end' });
    await client.over;
    gateway.tell({ kind: 'end' });
    const ended = await gateway.until('ended');
    await this.#capture?.close();
    const sha256 = { sent: await sha256OfFile(this.#workspace.file.path), received: await sha256OfFile(stored.path) };
    return { ...this.#judge(sent, ended, sha256), ports: { ike, nat } };
  }

  /** Ends whatever still runs; the processes go before the folder they work in. */
  async clear(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
    await this.#relay?.close();
  }

  #judge(sent: Sent, ended: Ended, sha256: DemoResult['sha256']): Omit<DemoResult, 'ports'> {
    const carried = sent.spis.filter((s) => s.direction === 'out').reduce((sum, s) => sum + s.bytes, 0);
    const used = (spis: Sent['spis'], direction: 'in' | 'out') => spis.filter((s) => s.direction === direction && s.packets > 0).length;
    return {
      client: sent,
      gateway: ended,
      sha256,
      childRekeys: this.#rekeys.child,
      ikeRekeys: this.#rekeys.ike,
      relayed: this.#relay?.counters.passed ?? 0,
      checks: [
        {
          what: 'the file arrived whole: SHA-256 equal at both ends',
          held: sha256.sent === sha256.received && sha256.sent === sent.sha256,
        },
        {
          what: 'the CHILD_SA was rekeyed while it was under way, and traffic moved to the new SPIs',
          held: this.#rekeys.child > 0 && used(sent.spis, 'out') > 1,
        },
        { what: 'the IKE SA was rekeyed while it was under way', held: this.#rekeys.ike > 0 },
        { what: 'every octet of the file went through ESP', held: carried >= sent.bytes },
        { what: 'the client said goodbye and the gateway freed its SAs', held: ended.ikeSas === 0 },
      ],
    };
  }

  async #openRelay(ports: readonly [number, number]): Promise<[number, number]> {
    const { keylog, onEvent } = this.#options;
    if (keylog !== undefined) {
      await mkdir(keylog, { recursive: true, mode: 0o700 });
      this.#capture = new UdpCapture(join(keylog, CAPTURE));
    }
    this.#relay = await UdpRelay.open({
      udp: systemUdp,
      clock: systemClock,
      ip: LOOPBACK,
      targets: ports.map((port) => ({ ip: LOOPBACK, port })),
      // one side of the NAT alone: the same datagrams twice would read as retransmissions
      onDatagram: (source, destination, data) => this.#capture?.record(systemClock.wall(), source, destination, data),
    });
    onEvent({ kind: 'nat', fronts: this.#relay.fronts });
    const [ike, nat] = this.#relay.fronts;
    return [ike?.port ?? 0, nat?.port ?? 0];
  }

  #hear(message: ClientMessage): void {
    const { onEvent } = this.#options;
    if (message.kind === 'started') onEvent({ kind: 'client', pid: message.pid });
    if (message.kind === 'up') onEvent(message);
    if (message.kind === 'progress') onEvent(message);
    if (message.kind !== 'event') return;
    if (message.event.event === 'child-rekeyed') this.#rekeys.child++;
    if (message.event.event === 'ike-rekeyed') this.#rekeys.ike++;
    onEvent(message);
  }

  #start<M extends GatewayMessage | ClientMessage>(module: string, setup: unknown, hear?: (message: M) => void): Actor<M> {
    const actor = new Actor<M>(new URL(module, import.meta.url), setup, hear);
    this.#workers.push(actor.worker);
    return actor;
  }
}

/** One of the two processes, and what it has said. */
class Actor<M extends { readonly kind: string }> {
  readonly worker: WorkerProcess;
  readonly over: Promise<unknown>;
  readonly #heard: M[] = [];
  readonly #waiting = new Set<() => void>();
  #died: Error | undefined;

  constructor(module: URL, setup: unknown, hear: ((message: M) => void) | undefined) {
    this.worker = startWorker(module, setup, (message) => {
      this.#heard.push(message as M);
      hear?.(message as M);
      this.#wake();
    });
    this.over = this.worker.exited.then(({ code, signal, errors }) => {
      if (code !== 0)
        this.#died = new DataPlaneError(`a process of the demo ended with ${signal ?? code}: ${errors}`, { code: 'WORKER_DIED' });
      this.#wake();
    });
  }

  tell(order: Order): void {
    this.worker.send(order);
  }

  /** @throws what the process failed with, or that it died */
  async until<K extends M['kind']>(kind: K): Promise<Extract<M, { kind: K }>> {
    for (;;) {
      const found = this.#heard.find((m): m is Extract<M, { kind: K }> => m.kind === kind);
      if (found) return found;
      const failure = this.#heard.find((m) => m.kind === 'failed') as Failure | undefined;
      if (failure) throw new DemoFailure(failure);
      if (this.#died) throw this.#died;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

/** What one of the processes failed with, as it said it. */
class DemoFailure extends DataPlaneError {
  constructor(failure: Failure) {
    super(failure.message, { code: failure.code, ...(failure.hint === undefined ? {} : { hint: failure.hint }) });
  }
}

const aborted = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_, reject) =>
    signal?.addEventListener('abort', () => reject(new TimedOut('the demo was interrupted', { code: 'INTERRUPTED' })), { once: true }),
  );

const LOOPBACK = '127.0.0.1';
const GATEWAY = './gateway-process.js';
const CLIENT = './client-process.js';
export const CAPTURE = 'demo.pcapng';
