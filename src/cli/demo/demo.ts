import { join } from 'node:path';
import { type Address, DataPlaneError } from '../../core/bytes/index.ts';
import { systemClock } from '../../host/platform/clock.ts';
import { systemUdp } from '../../host/platform/udp.ts';
import { startWorker, type WorkerExit, type WorkerProcess } from '../../host/platform/worker-process.ts';
import type { EventLine, IkeSaDocument, ProgressLine } from '../../product/control/index.ts';
import { UdpCapture } from '../../product/explain/udp-capture.ts';
import { writeWiresharkProfile } from '../../product/explain/wireshark-profile.ts';
import { UdpRelay } from '../../testing/udp-relay.ts';
import { makeFolder } from '../make-folder.ts';
import type { SpiCount } from '../spi-ledger.ts';
import { aborted } from './aborted.ts';
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

export interface DemoResult {
  readonly client: Sent;
  readonly gateway: { readonly spis: readonly SpiCount[]; readonly ikeSas: number };
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
 * @throws TunnelwrightError: what one of the processes failed with; the signal's reason when it fires
 */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { file, keylog, signal, onEvent } = options;
  if (keylog !== undefined) await makeFolder(keylog);
  const workspace = await makeWorkspace(file, systemClock.wall());
  const stage = new Stage(options, workspace);
  const interrupt = (): void => stage.stop(signal?.reason);
  signal?.addEventListener('abort', interrupt);
  try {
    signal?.throwIfAborted();
    onEvent({ kind: 'workspace', file: workspace.file });
    return await stage.play();
  } finally {
    signal?.removeEventListener('abort', interrupt);
    await stage.clear();
    await workspace.remove();
  }
}

class Stage {
  readonly #options: DemoOptions;
  readonly #workspace: Workspace;
  readonly #workers: WorkerProcess[] = [];
  readonly #rekeys = { child: 0, ike: 0 };
  /** Aborted with the reason why the play cannot go on. */
  readonly #over = new AbortController();
  #relay: UdpRelay | undefined;
  #capture: UdpCapture | undefined;

  constructor(options: DemoOptions, workspace: Workspace) {
    this.#options = options;
    this.#workspace = workspace;
  }

  async play(): Promise<DemoResult> {
    const { onEvent, keylog } = this.#options;
    const { file } = this.#workspace;
    const gateway = this.#start<GatewayMessage>('gateway', { config: this.#workspace.gatewayConfig } satisfies GatewaySetup);
    const { pid, ike, nat } = await gateway.until('listening');
    onEvent({ kind: 'gateway', pid, ike, nat });
    const [frontIke, frontNat] = await this.#openRelay({ ike, nat });
    const client = this.#start<ClientMessage>(
      'client',
      {
        config: await this.#workspace.clientConfig({ ike: frontIke, nat: frontNat }),
        file: file.path,
        size: file.size,
        keylog,
        rekeyChildAt: 0.25,
        rekeyIkeAt: 0.55,
      } satisfies ClientSetup,
      (message) => this.#hear(message),
    );
    const stored = await gateway.until('stored');
    const rekeys = { ...this.#rekeys };
    const sent = await client.until('sent');
    const { spis } = await gateway.ask('count', 'counted');
    await client.end();
    const { ikeSas } = await gateway.ask('end', 'ended');
    await gateway.end();
    await this.#capture?.close();
    const sha256 = { sent: await sha256OfFile(file.path), received: await sha256OfFile(stored.path) };
    const result = { client: sent, gateway: { spis, ikeSas }, sha256, childRekeys: rekeys.child, ikeRekeys: rekeys.ike };
    return { ...result, relayed: this.#relay?.counters.passed ?? 0, ports: { ike, nat }, checks: judge(result) };
  }

  /** Whatever is waited for rejects with this error. */
  stop(error: unknown): void {
    this.#over.abort(error);
  }

  /** Ends whatever still runs; the processes go before the folder they work in. */
  async clear(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
    await this.#relay?.close();
    // whether it could be written has been said where the demo went to its end
    await this.#capture?.close().catch(() => undefined);
  }

  async #openRelay(ports: { readonly ike: number; readonly nat: number }): Promise<[number, number]> {
    const { keylog, onEvent } = this.#options;
    if (keylog !== undefined) {
      await writeWiresharkProfile(keylog, ports);
      this.#capture = new UdpCapture(join(keylog, CAPTURE));
    }
    this.#relay = await UdpRelay.open({
      udp: systemUdp,
      clock: systemClock,
      ip: LOOPBACK,
      targets: [ports.ike, ports.nat].map((port) => ({ ip: LOOPBACK, port })),
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

  #start<M extends GatewayMessage | ClientMessage>(role: Role, setup: unknown, hear?: (message: M) => void): Actor<M> {
    this.#over.signal.throwIfAborted();
    const actor = new Actor<M>(role, setup, { hear, over: this.#over });
    this.#workers.push(actor.worker);
    return actor;
  }
}

function judge({
  client,
  gateway,
  sha256,
  childRekeys,
  ikeRekeys,
}: Omit<DemoResult, 'checks' | 'relayed' | 'ports'>): DemoResult['checks'] {
  const carried = gateway.spis.filter(({ direction }) => direction === 'in').reduce((sum, { bytes }) => sum + bytes, 0);
  const used = gateway.spis.filter(({ direction, packets }) => direction === 'in' && packets > 0).length;
  return [
    {
      what: 'the file arrived whole: SHA-256 equal at both ends',
      held: sha256.sent === sha256.received && sha256.sent === client.sha256,
    },
    {
      what: 'the CHILD_SA was rekeyed while it was under way, and traffic moved to the new SPIs',
      held: childRekeys > 0 && used > 1,
    },
    { what: 'the IKE SA was rekeyed while it was under way', held: ikeRekeys > 0 },
    { what: 'every octet of the file went through ESP', held: carried >= client.bytes },
    { what: 'the client said goodbye and the gateway freed its SAs', held: gateway.ikeSas === 0 },
  ];
}

type Role = 'gateway' | 'client';

/** One of the two processes, and what it has said. */
class Actor<M extends { readonly kind: string }> {
  readonly worker: WorkerProcess;
  readonly #heard: M[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #over: AbortController;
  #ending = false;

  constructor(role: Role, setup: unknown, stage: { readonly hear: ((message: M) => void) | undefined; readonly over: AbortController }) {
    this.#over = stage.over;
    this.worker = startWorker(new URL(`./${role}-process.js`, import.meta.url), setup, (line) => {
      const message = line as M | Failure;
      if (isFailure(message)) return stage.over.abort(new DemoFailure(message));
      this.#heard.push(message);
      stage.hear?.(message);
      for (const look of this.#waiting) look();
    });
    void this.worker.exited.then((exit) => {
      if (!this.#ending || exit.code !== 0) stage.over.abort(died(role, exit));
    });
  }

  /** Gives an order and waits for its answer. */
  async ask<K extends M['kind']>(order: Order['kind'], answer: K): Promise<Extract<M, { kind: K }>> {
    if (order === 'end') this.#ending = true;
    this.worker.send({ kind: order } satisfies Order);
    return this.until(answer);
  }

  /** Asks the process to finish, and resolves when it has. */
  async end(): Promise<void> {
    this.#ending = true;
    this.worker.send({ kind: 'end' } satisfies Order);
    await unless(this.#over.signal, this.worker.exited);
  }

  /** The first message of this kind, which may be here already. @throws why the play cannot go on */
  until<K extends M['kind']>(kind: K): Promise<Extract<M, { kind: K }>> {
    const said = new Promise<Extract<M, { kind: K }>>((resolve) => {
      const look = (): void => {
        const found = this.#heard.find((m): m is Extract<M, { kind: K }> => m.kind === kind);
        if (found === undefined) return;
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
    return unless(this.#over.signal, said);
  }
}

/** What one of the processes failed with, as it said it. */
class DemoFailure extends DataPlaneError {
  constructor(failure: Failure) {
    super(failure.message, { code: failure.code, ...(failure.hint === undefined ? {} : { hint: failure.hint }) });
  }
}

const isFailure = (message: { readonly kind: string }): message is Failure => message.kind === 'failed';

const died = (role: Role, { code, signal, errors }: WorkerExit): DataPlaneError =>
  new DataPlaneError(`the ${role} of the demo ended all of a sudden (${signal ?? `exit code ${code}`})`, {
    code: 'WORKER_DIED',
    ...(errors === '' ? {} : { hint: `Its last words: ${errors}` }),
  });

/** @throws the signal's reason when it fires first */
const unless = <T>(signal: AbortSignal, promise: Promise<T>): Promise<T> =>
  Promise.race([
    promise,
    aborted(signal).then(() => {
      throw signal.reason;
    }),
  ]);

const LOOPBACK = '127.0.0.1';
export const CAPTURE = 'demo.pcapng';
