import { type Address, DataPlaneError, formatAddress } from '../../../core/bytes/index.ts';
import type { ChildSaChange, ChildSaKeys, ChildSaSpec, Observation, Transport } from '../../../core/ike/effects.ts';
import type { UdpSocket } from '../../platform/udp.ts';
import type { Thread, Threads } from '../../platform/worker-threads.ts';
import type { ChildCounters, EspPath, SequenceNumbers, ShuntPolicy, TrapPolicy } from '../data-plane.ts';
import { type FromLoop, type InnerSide, MOST_SOCKETS, type ToLoop } from './messages.ts';
import { CounterSlots, SLOTS } from './slots.ts';

export interface ThreadPortOptions {
  readonly threads: Threads;
  /** The file that runs in the thread; that of this folder unless given. */
  readonly module?: URL | undefined;
  /** Name of the data plane. */
  readonly backend: string;
  readonly inner: InnerSide;
  /** Descriptor of the eventfd that the thread waits on. */
  readonly wake: number;
  /** As `DataPlaneOptions` has it. */
  readonly singly: boolean;
  /** Makes the thread look for messages: it does not see them while it waits. */
  readonly ring: () => void;
  readonly onObservation: (observation: Observation) => void;
  /** The ways that the thread has no socket for. */
  readonly openPath: (local: Address, remote: Address, encap: boolean, transport?: Transport) => EspPath;
  /** Of hosts in this process: there is something in their rings, or room in them. */
  readonly onCard?: () => void;
  /** Of hosts in this process: the largest inner packet that no SA has to split; undefined without SAs. */
  readonly onMtu?: (mtu: number | undefined) => void;
  /** The thread ended by itself: nothing passes any more on these CHILD_SAs. */
  readonly onEnd: (error: DataPlaneError, children: readonly number[]) => void;
}

/** The main thread's end of a fast plane: what is said to the thread that moves packets, and what it says back. */
export class ThreadPort {
  readonly #options: ThreadPortOptions;
  readonly #thread: Thread;
  readonly #slots = new CounterSlots();
  readonly #underWay = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  /** Those that were given back, and the first that nobody has had. */
  readonly #free: number[] = [];
  #fresh = 0;
  readonly #slotOf = new Map<number, number>();
  readonly #waiting = new Map<number, { resolve(): void; reject(error: DataPlaneError): void }>();
  readonly #sockets = new Map<string, UdpSocket>();
  #drops: Readonly<Record<string, number>> = {};
  #forwarded = 0;
  #lastToken = 0;
  #ended: DataPlaneError | undefined;

  constructor(options: ThreadPortOptions) {
    this.#options = options;
    const module = options.module ?? THREAD;
    this.#thread = options.threads.start(module, {
      onMessage: (message) => this.#heard(message as FromLoop),
      onExit: (why) => this.#onExit(why),
    });
    const { backend, inner, wake, singly } = options;
    const { memory: counters } = this.#slots;
    this.#thread.post({
      kind: 'start',
      origin: performance.timeOrigin,
      backend,
      inner,
      wake,
      counters,
      waiting: this.#underWay.buffer,
      singly,
    } satisfies ToLoop);
  }

  /** @throws DataPlaneError, in the promise */
  async install(spec: ChildSaSpec, resume: SequenceNumbers | undefined): Promise<void> {
    const slot = this.#free.pop() ?? this.#fresh++;
    if (slot >= SLOTS)
      throw new DataPlaneError(`${SLOTS} CHILD_SAs stand already`, {
        code: 'TOO_MANY_CHILDREN',
        backend: this.#options.backend,
        hint: 'Spread the clients over several gateways.',
      });
    // the engine overwrites its keys once this resolved; what is posted is a copy that the thread overwrites
    const own = { ...spec, inbound: copyOf(spec.inbound), outbound: copyOf(spec.outbound) };
    this.#slotOf.set(spec.id, slot);
    try {
      await this.#ask((token) => ({ kind: 'install', token, slot, spec: own, resume }));
    } catch (error) {
      this.#freeSlot(spec.id);
      throw error;
    } finally {
      wipe(own.inbound);
      wipe(own.outbound);
    }
  }

  update(child: number, change: ChildSaChange): void {
    this.#tell({ kind: 'update', child, change });
  }

  remove(child: number): void {
    if (!this.#slotOf.has(child)) return;
    this.#freeSlot(child);
    this.#tell({ kind: 'remove', child });
  }

  counters(child: number): ChildCounters | undefined {
    const slot = this.#slotOf.get(child);
    return slot === undefined ? undefined : this.#slots.counters(slot);
  }

  sequenceNumbers(child: number): SequenceNumbers | undefined {
    const slot = this.#slotOf.get(child);
    return slot === undefined ? undefined : this.#slots.sequenceNumbers(slot);
  }

  get drops(): Readonly<Record<string, number>> {
    return this.#drops;
  }

  /** Inner packets passed from one CHILD_SA to another. */
  get forwarded(): number {
    return this.#forwarded;
  }

  setTraps(traps: readonly TrapPolicy[]): void {
    this.#tell({ kind: 'traps', traps });
  }

  setShunts(shunts: readonly ShuntPolicy[]): void {
    this.#tell({ kind: 'shunts', shunts });
  }

  /** ESP that came by a socket or stream of the main thread's. */
  receive(packet: Uint8Array, local: Address, ip: string, port: number, transport: Transport | undefined): void {
    this.#tell({ kind: 'esp', packet, local, ip, port, transport });
  }

  /** The thread reads this socket from now on; what is not ESP comes back to whoever bound it. */
  async adopt(socket: UdpSocket): Promise<void> {
    // the rest is read here as ever, and handed over packet by packet
    if (socket.lend === undefined || this.#sockets.size >= MOST_SOCKETS) return;
    const { local } = socket;
    this.#sockets.set(formatAddress(local), socket);
    const fd = await socket.lend();
    if (this.#sockets.get(formatAddress(local)) === socket) this.#tell({ kind: 'socket', fd, local });
  }

  /** The thread reads this raw socket from now on; it is closed when the thread has ended. */
  raw(fd: number, ip: string, protocol: number): void {
    this.#tell({ kind: 'raw', fd, ip, protocol });
  }

  /** Before the socket is closed: its descriptor must not be read when it means something else. */
  async disown({ local }: UdpSocket): Promise<void> {
    if (!this.#sockets.delete(formatAddress(local)) || this.#ended !== undefined) return;
    await this.#ask((token) => ({ kind: 'socket-gone', local, token }));
  }

  async close(): Promise<void> {
    if (this.#ended === undefined) await this.#ask((token) => ({ kind: 'close', token }));
    this.#ended ??= this.#closed('the data plane was closed');
    this.#slotOf.clear();
    await this.#thread.end();
  }

  #ask(make: (token: number) => ToLoop): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const token = ++this.#lastToken;
    return new Promise((resolve, reject) => {
      this.#waiting.set(token, { resolve, reject });
      this.#tell(make(token));
    });
  }

  #tell(message: ToLoop): void {
    if (this.#ended !== undefined) return;
    this.#thread.post(message);
    this.#options.ring();
  }

  #heard(message: FromLoop): void {
    if (message.kind === 'ike' || message.kind === 'send') Atomics.sub(this.#underWay, 0, 1);
    switch (message.kind) {
      case 'done': {
        const waiting = this.#waiting.get(message.token);
        this.#waiting.delete(message.token);
        const { refusal } = message;
        if (refusal === undefined) waiting?.resolve();
        else
          waiting?.reject(
            new DataPlaneError(refusal.message, {
              code: refusal.code,
              backend: this.#options.backend,
              ...(refusal.hint === undefined ? {} : { hint: refusal.hint }),
            }),
          );
        return;
      }
      case 'observations':
        for (const observation of message.observations) this.#options.onObservation(observation);
        return;
      case 'ike':
        return this.#sockets.get(formatAddress(message.local))?.deliver?.(message.datagram, message.ip, message.port);
      case 'send':
        this.#options.openPath(message.local, message.remote, true, message.transport).send(message.packet);
        return;
      case 'drops':
        this.#drops = message.drops;
        this.#forwarded = message.forwarded;
        return;
      case 'card':
        return this.#options.onCard?.();
      case 'mtu':
        return this.#options.onMtu?.(message.mtu);
    }
  }

  #onExit(why: string): void {
    this.#ended = this.#closed(`the thread that moves packets ended: ${why}`);
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
    this.#options.onEnd(this.#ended, [...this.#slotOf.keys()]);
  }

  #closed(message: string): DataPlaneError {
    const { backend, inner } = this.#options;
    const instead = inner.kind === 'tun' ? 'choose --plane netstack' : 'set esp_thread: no';
    return new DataPlaneError(message, {
      code: 'PLANE_ENDED',
      backend,
      hint: `Start again. If it comes back, ${instead} and report it with the text above.`,
    });
  }

  #freeSlot(child: number): void {
    const slot = this.#slotOf.get(child);
    if (slot === undefined) return;
    this.#slotOf.delete(child);
    this.#free.push(slot);
  }
}

/** Beside this file, as it is built. */
const THREAD = new URL('./thread.js', import.meta.url);

const copyOf = (keys: ChildSaKeys): ChildSaKeys => ({
  ...keys,
  encryptionKey: keys.encryptionKey.slice(),
  integrityKey: keys.integrityKey.slice(),
});

function wipe({ encryptionKey, integrityKey }: ChildSaKeys): void {
  encryptionKey.fill(0);
  integrityKey.fill(0);
}
