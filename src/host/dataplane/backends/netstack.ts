import type { Address } from '../../../core/bytes/index.ts';
import type { ChildSaChange, ChildSaSpec, Transport } from '../../../core/ike/effects.ts';
import { CONGESTION_CONTROLS, Stack } from '../../../core/netstack/index.ts';
import { IpView } from '../../../core/packet/index.ts';
import { type PacketBuffer, VNET_HEADER } from '../../../core/packet/offload/index.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { zlibDeflate } from '../../platform/deflate.ts';
import { loadNative } from '../../platform/linux/ffi.ts';
import { descriptorUdp } from '../../platform/linux/udp-network.ts';
import type { StackDriver } from '../../platform/stack-driver.ts';
import { systemUdp, type UdpSocket } from '../../platform/udp.ts';
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
import { type ManyAtATime, type NetstackRoom, nativeRoom, PLAIN_ROOM } from '../netstack-room.ts';
import { OwnAddresses } from '../own-addresses.ts';
import { refuseBypass } from '../shunt-table.ts';
import { StackPort } from '../stack-port.ts';

/**
 * The data plane that runs everywhere and needs no privilege: TCP/IP and ESP in this process, packets through the engine's UDP sockets.
 * Applications reach the tunnel through `driver`, whose sockets look like those of `node:net`.
 */
export class NetstackPlane<B extends PacketBuffer = PacketBuffer> implements DataPlane {
  readonly backend = 'netstack';
  readonly #here: StackPort<B>;
  readonly #behind: StackPort<B> | undefined;
  readonly #sockets: ManyAtATime<B> | undefined;
  /** What the packet at hand was read into, if it is one of many. */
  #from: B | undefined;
  readonly #esp: EspPlane;
  readonly #own: OwnAddresses;
  readonly #mtu: number;
  readonly #forwards: boolean;
  readonly #clock: Clock;
  #due: Timer | undefined;
  readonly #packet = new IpView();
  #forwarded = 0;
  #hopsRanOut = 0;

  constructor(options: DataPlaneOptions, room: NetstackRoom<B>) {
    const { clock, openPath } = options;
    this.#clock = clock;
    this.#mtu = options.mtu ?? DEFAULT_MTU;
    this.#forwards = options.forward ?? false;
    this.#own = new OwnAddresses(options.addresses ?? []);
    const sockets = room.openSockets?.({
      onEsp: (from, start, end, local, ip, port) => {
        this.#from = from;
        this.#esp.receiveAt(from.octets, start, end, ip, port, local);
      },
      onPause: () => {
        this.#here.flush();
        this.#behind?.flush();
      },
    });
    this.#sockets = sockets;
    this.#esp = new EspPlane({
      backend: this.backend,
      clock,
      random: options.random,
      createPacketCipher: room.createPacketCipher,
      openPath:
        sockets === undefined
          ? openPath
          : (local, remote, encap, transport) => sockets.path(openPath(local, remote, encap, transport), remote),
      deflate: zlibDeflate,
      onObservation: options.onObservation,
      deliver: (buffer, start, end) => this.#deliver(buffer, start, end),
      ownAddress: (addressLength) => this.#own.ofFamily(addressLength),
    });
    const { promiscuous, random, congestion } = options;
    const tcp = congestion === undefined ? undefined : { congestion: CONGESTION_CONTROLS[congestion] };
    const port = (addresses: readonly string[], promiscuous: boolean | undefined): StackPort<B> =>
      new StackPort({
        stack: new Stack({ addresses, mtu: this.#mtu, random, promiscuous, tcp }),
        esp: this.#esp,
        clock,
        allocate: room.allocate,
      });
    this.#here = port(this.#own.all, promiscuous);
    if (options.behind === true) this.#behind = port([], true);
  }

  get driver(): StackDriver {
    return this.#here.driver;
  }

  /** A host that answers in the name of the networks behind us, for packets that no CHILD_SA takes; absent unless asked for. */
  get behind(): StackDriver | undefined {
    return this.#behind?.driver;
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

  adopt(socket: UdpSocket): Promise<void> {
    this.#sockets?.adopt(socket);
    return Promise.resolve();
  }

  disown(socket: UdpSocket): Promise<void> {
    this.#sockets?.disown(socket);
    return Promise.resolve();
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

  #deliver(buffer: Uint8Array, start: number, end: number): void {
    if ((this.#forwards || this.#behind !== undefined) && this.#isTransit(buffer, start, end)) this.#forward(buffer, start, end);
    else this.#handTo(this.#here, buffer, start, end);
  }

  /** Of many packets that came together some may be put together; what was made elsewhere goes by itself. */
  #handTo(port: StackPort<B>, buffer: Uint8Array, start: number, end: number): void {
    const from = this.#from;
    if (from?.octets === buffer && start >= VNET_HEADER) port.push(from, start, end);
    else port.receive(buffer.subarray(start, end));
  }

  /** What is not for us, and may leave again. The rest is the stack's business: it knows best what to make of it. */
  #isTransit(buffer: Uint8Array, start: number, end: number): boolean {
    return this.#packet.parse(buffer, start, end) && !this.#own.isDestination(this.#packet) && mayPassOn(this.#packet);
  }

  #forward(buffer: Uint8Array, start: number, end: number): void {
    const view = this.#packet;
    if (!takeHop(view)) {
      this.#hopsRanOut++;
      const from = this.#own.ofFamily(view.addressLength);
      const answer = from === undefined ? undefined : timeExceeded(view, from);
      if (answer !== undefined) this.#esp.send(answer);
    } else if (this.#behind !== undefined && this.#esp.lookup(buffer, start, end, view) === undefined)
      this.#handTo(this.#behind, buffer, start, end);
    else if (this.#forwards && this.#esp.send(buffer.subarray(start, end))) this.#forwarded++;
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
  udp: async () => {
    const native = await loadNative();
    return native === undefined ? systemUdp : descriptorUdp(native);
  },
  open: async (options) => {
    const native = await loadNative();
    return native === undefined
      ? new NetstackPlane(options, PLAIN_ROOM)
      : new NetstackPlane(options, nativeRoom(native, options.behind === true ? 2 : 1, options.singly === true));
  },
});

/** RFC 8200 §5. */
const LEAST_MTU = 1280;
