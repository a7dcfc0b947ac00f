import type { Address } from '../../../core/bytes/index.ts';
import type { ChildSaChange, ChildSaSpec, Transport } from '../../../core/ike/effects.ts';
import { CONGESTION_CONTROLS, Stack } from '../../../core/netstack/index.ts';
import { IpView } from '../../../core/packet/index.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { zlibDeflate } from '../../platform/deflate.ts';
import { StackDriver } from '../../platform/stack-driver.ts';
import {
  type ChildCounters,
  type DataPlane,
  type DataPlaneOptions,
  DEFAULT_MTU,
  defineBackend,
  type SequenceNumbers,
  type ShuntPolicy,
  type TrapPolicy,
} from '../data-plane.ts';
import { EspPlane } from '../esp-plane.ts';
import { mayPassOn, takeHop, timeExceeded } from '../forwarding.ts';
import { OwnAddresses } from '../own-addresses.ts';
import { refuseBypass } from '../shunt-table.ts';

/**
 * The data plane that runs everywhere and needs no privilege: TCP/IP and ESP in this process, packets through the engine's UDP sockets.
 * Applications reach the tunnel through `driver`, whose sockets look like those of `node:net`.
 */
export class NetstackPlane implements DataPlane {
  readonly backend = 'netstack';
  readonly driver: StackDriver;
  /** A host that answers in the name of the networks behind us, for packets that no CHILD_SA takes; absent unless asked for. */
  readonly behind: StackDriver | undefined;
  readonly #esp: EspPlane;
  readonly #own: OwnAddresses;
  readonly #mtu: number;
  readonly #forwards: boolean;
  readonly #clock: Clock;
  #due: Timer | undefined;
  readonly #packet = new IpView();
  #forwarded = 0;
  #hopsRanOut = 0;

  constructor(options: DataPlaneOptions) {
    const { clock } = options;
    this.#clock = clock;
    this.#mtu = options.mtu ?? DEFAULT_MTU;
    this.#forwards = options.forward ?? false;
    this.#own = new OwnAddresses(options.addresses ?? []);
    this.#esp = new EspPlane({
      backend: this.backend,
      clock,
      random: options.random,
      openPath: options.openPath,
      deflate: zlibDeflate,
      onObservation: options.onObservation,
      deliver: (buffer, start, end) => this.#deliver(buffer.subarray(start, end)),
      ownAddress: (addressLength) => this.#own.ofFamily(addressLength),
    });
    const drive = (stack: Stack): StackDriver =>
      new StackDriver({
        stack,
        // What is dropped here was counted, and TCP sends it again: the stack never stops for it.
        transmit: (packet) => void this.#esp.send(packet),
        now: clock.now,
        setTimer: (callback, delay) => clock.after(delay, callback),
        clearTimer: (timer) => (timer as Timer).cancel(),
        defer: clock.soon,
      });
    const { promiscuous, random, congestion } = options;
    const tcp = congestion === undefined ? undefined : { congestion: CONGESTION_CONTROLS[congestion] };
    this.driver = drive(new Stack({ addresses: this.#own.all, mtu: this.#mtu, random, promiscuous, tcp }));
    if (options.behind === true) this.behind = drive(new Stack({ addresses: [], mtu: this.#mtu, random, promiscuous: true, tcp }));
  }

  install(spec: ChildSaSpec, resume?: SequenceNumbers): void {
    this.#esp.install(spec, resume);
    this.#armDummies();
    this.#adjustMtu();
    if (this.#own.assign(spec)) this.driver.stack.setAddresses(this.#own.all);
  }

  update(child: number, change: ChildSaChange): void {
    this.#esp.update(child, change);
    if (change.kind === 'addresses') this.#adjustMtu();
  }

  remove(child: number): void {
    this.#esp.remove(child);
    this.#armDummies();
    this.#adjustMtu();
  }

  counters(child: number): ChildCounters | undefined {
    return this.#esp.counters(child);
  }

  sequenceNumbers(child: number): SequenceNumbers | undefined {
    return this.#esp.sequenceNumbers(child);
  }

  drops(): Readonly<Record<string, number>> {
    return { ...this.#esp.drops(), 'hop limit': this.#hopsRanOut };
  }

  setTraps(traps: readonly TrapPolicy[]): void {
    this.#esp.setTraps(traps);
  }

  setShunts(shunts: readonly ShuntPolicy[]): void {
    refuseBypass(shunts, this.backend);
    this.#esp.setShunts(shunts);
  }

  receive(packet: Uint8Array, local: Address, ip: string, port: number, transport?: Transport): boolean {
    return this.#esp.receive(packet, ip, port, local, transport);
  }

  close(): Promise<void> {
    this.#due?.cancel();
    this.driver.close();
    this.behind?.close();
    this.#esp.close();
    return Promise.resolve();
  }

  /** Inner packets passed from one CHILD_SA to another. */
  get forwarded(): number {
    return this.#forwarded;
  }

  #deliver(packet: Uint8Array): void {
    if ((this.#forwards || this.behind !== undefined) && this.#isTransit(packet)) this.#forward(packet);
    else this.driver.receive(packet);
  }

  /** What is not for us, and may leave again. The rest is the stack's business: it knows best what to make of it. */
  #isTransit(packet: Uint8Array): boolean {
    return this.#packet.parse(packet) && !this.#own.isDestination(this.#packet) && mayPassOn(this.#packet);
  }

  #forward(packet: Uint8Array): void {
    const view = this.#packet;
    if (!takeHop(view)) {
      this.#hopsRanOut++;
      const from = this.#own.ofFamily(view.addressLength);
      const answer = from === undefined ? undefined : timeExceeded(view, from);
      if (answer !== undefined) this.#esp.send(answer);
    } else if (this.behind !== undefined && this.#esp.lookup(packet, 0, packet.length, view) === undefined) this.behind.receive(packet);
    else if (this.#forwards && this.#esp.send(packet)) this.#forwarded++;
  }

  #armDummies(): void {
    const { due } = this.#esp;
    this.#due?.cancel();
    this.#due =
      due === Number.POSITIVE_INFINITY
        ? undefined
        : this.#clock.after(Math.max(0, due - this.#clock.now()), () => {
            this.#esp.runDue();
            this.#armDummies();
          });
  }

  #adjustMtu(): void {
    const mtu = Math.max(LEAST_MTU, Math.min(this.#mtu, this.#esp.mtu ?? this.#mtu));
    if (mtu === this.driver.stack.mtu) return;
    this.driver.stack.setMtu(mtu);
    this.behind?.stack.setMtu(mtu);
  }
}

export default defineBackend<NetstackPlane>({
  name: 'netstack',
  bareEsp: false,
  probe: () => Promise.resolve({ ok: true, detail: 'TCP/IP in this process; needs no privilege' }),
  open: (options) => new NetstackPlane(options),
});

/** RFC 8200 §5. */
const LEAST_MTU = 1280;
