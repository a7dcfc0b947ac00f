import type { Address } from '../../core/bytes/index.ts';
import type { ChildSaChange, ChildSaSpec, Transport } from '../../core/ike/effects.ts';
import type { Stack } from '../../core/netstack/index.ts';
import { type PacketBuffer, VNET_HEADER } from '../../core/packet/offload/index.ts';
import type { Clock, Timer } from '../platform/clock.ts';
import { zlibDeflate } from '../platform/deflate.ts';
import type { StackDriver } from '../platform/stack-driver.ts';
import type { UdpSocket } from '../platform/udp.ts';
import type { ChildCounters, DataPlaneOptions, SequenceNumbers, ShuntPolicy, TrapPolicy } from './data-plane.ts';
import { EspPlane } from './esp-plane.ts';
import { behindStack, hereStack, type NetstackPlane, tunnelMtu } from './netstack-hosts.ts';
import type { ManyAtATime, NetstackRoom } from './netstack-room.ts';
import { OwnAddresses } from './own-addresses.ts';
import { refuseBypass } from './shunt-table.ts';
import { StackPort } from './stack-port.ts';
import { BEHIND, Transit } from './transit.ts';

/** The plane `netstack` in one thread: ESP, TCP/IP and the reading of the sockets. */
export class InlineNetstack<B extends PacketBuffer = PacketBuffer> implements NetstackPlane {
  readonly backend = 'netstack';
  readonly espThread = false;
  readonly #here: StackPort<B>;
  readonly #behind: StackPort<B> | undefined;
  readonly #sockets: ManyAtATime<B> | undefined;
  /** What the packet at hand was read into, if it is one of many. */
  #from: B | undefined;
  readonly #esp: EspPlane;
  readonly #own: OwnAddresses;
  readonly #transit: Transit;
  readonly #mtu: number | undefined;
  readonly #clock: Clock;
  #due: Timer | undefined;

  constructor(options: DataPlaneOptions, room: NetstackRoom<B>) {
    const { clock, openPath } = options;
    this.#clock = clock;
    this.#mtu = options.mtu;
    this.#own = new OwnAddresses(options.addresses ?? []);
    const sockets = room.openSockets?.({
      onEsp: (from, start, end, local, ip, port) => {
        this.#from = from;
        this.#esp.receiving.receiveAt(from.octets, start, end, ip, port, local);
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
    const behind = options.behind === true;
    this.#transit = new Transit({ esp: this.#esp, own: this.#own, forwards: options.forward ?? false, behind });
    const port = (stack: Stack): StackPort<B> => new StackPort({ stack, esp: this.#esp, clock, allocate: room.allocate });
    this.#here = port(hereStack(options, this.#own.all));
    if (behind) this.#behind = port(behindStack(options));
  }

  get driver(): StackDriver {
    return this.#here.driver;
  }

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
    return { ...this.#esp.drops(), 'hop limit': this.#transit.hopsRanOut };
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

  get forwarded(): number {
    return this.#transit.forwarded;
  }

  #deliver(buffer: Uint8Array, start: number, end: number): void {
    const host = this.#transit.hostOf(buffer, start, end);
    if (host !== undefined) this.#handTo((host === BEHIND ? this.#behind : undefined) ?? this.#here, buffer, start, end);
  }

  /** Of many packets that came together some may be put together; what was made elsewhere goes by itself. */
  #handTo(port: StackPort<B>, buffer: Uint8Array, start: number, end: number): void {
    const from = this.#from;
    if (from?.octets === buffer && start >= VNET_HEADER) port.push(from, start, end);
    else port.receive(buffer.subarray(start, end));
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
    const mtu = tunnelMtu(this.#mtu, this.#esp.mtu);
    if (mtu === this.driver.stack.mtu) return;
    this.driver.stack.setMtu(mtu);
    this.behind?.stack.setMtu(mtu);
  }
}
