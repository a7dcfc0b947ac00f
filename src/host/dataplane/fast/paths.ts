import { type Address, formatAddress, isIpv6 } from '../../../core/bytes/index.ts';
import type { Transport } from '../../../core/ike/effects.ts';
import type { PacketBuffer } from '../../../core/packet/offload/index.ts';
import { PATH_MTU, UDP_ENCAPSULATION } from '../path-mtu.ts';
import type { BatchPath, UdpPort } from './ports.ts';

/** Sends what no socket of this thread carries. */
export type SendElsewhere = (packet: Uint8Array, local: Address, remote: Address, transport: Transport | undefined) => void;

/** The sockets of the loop, and the ways to peers through them. A way outlives its socket: one that is opened again for the same address serves it. */
export class PathTable<B extends PacketBuffer = PacketBuffer> {
  readonly #elsewhere: SendElsewhere;
  readonly #sockets = new Map<string, UdpPort<B>>();
  #all: readonly UdpPort<B>[] = [];
  #epoch = 0;

  constructor(elsewhere: SendElsewhere) {
    this.#elsewhere = elsewhere;
  }

  get sockets(): readonly UdpPort<B>[] {
    return this.#all;
  }

  add(socket: UdpPort<B>): void {
    this.#sockets.get(socket.local.ip)?.close();
    this.#sockets.set(socket.local.ip, socket);
    this.#changed();
  }

  /** By its port, too: a later one of the same address stays. */
  remove(local: Address): void {
    const socket = this.#sockets.get(local.ip);
    if (socket === undefined || formatAddress(socket.local) !== formatAddress(local)) return;
    this.#sockets.delete(local.ip);
    socket.close();
    this.#changed();
  }

  /** @param transport of the packets; a stream belongs to the main thread */
  path(local: Address, remote: Address, transport: Transport | undefined): BatchPath<B> {
    return new SocketPath(this, local, remote, transport);
  }

  /** Counts up whenever a socket comes or goes: what was found before is looked up again. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Undefined where no socket of this thread has the address. */
  find({ ip }: Address): UdpPort<B> | undefined {
    return this.#sockets.get(ip);
  }

  sendElsewhere(packet: Uint8Array, local: Address, remote: Address, transport: Transport | undefined): void {
    this.#elsewhere(packet, local, remote, transport);
  }

  closeAll(): void {
    for (const socket of this.#sockets.values()) socket.close();
    this.#sockets.clear();
    this.#changed();
  }

  #changed(): void {
    this.#all = [...this.#sockets.values()];
    this.#epoch++;
  }
}

/** One for each SA, so it keeps little. */
class SocketPath<B extends PacketBuffer> implements BatchPath<B> {
  readonly #table: PathTable<B>;
  readonly #local: Address;
  readonly #remote: Address;
  readonly #transport: Transport | undefined;
  #found: ReturnType<UdpPort<B>['towards']> | undefined;
  #epoch = -1;

  constructor(table: PathTable<B>, local: Address, remote: Address, transport: Transport | undefined) {
    this.#table = table;
    this.#local = local;
    this.#remote = remote;
    this.#transport = transport;
  }

  get mtu(): number {
    return this.batch?.mtu ?? PATH_MTU;
  }

  get overhead(): number {
    return UDP_ENCAPSULATION[isIpv6(this.#remote.ip) ? 6 : 4];
  }

  get batch(): ReturnType<UdpPort<B>['towards']> | undefined {
    const { epoch } = this.#table;
    if (this.#epoch !== epoch) {
      this.#found = this.#transport === 'tcp' ? undefined : this.#table.find(this.#local)?.towards(this.#remote);
      this.#epoch = epoch;
    }
    return this.#found;
  }

  send(packet: Uint8Array, trafficClass?: number): boolean {
    const way = this.batch;
    if (way !== undefined) return way.send(packet, trafficClass);
    this.#table.sendElsewhere(packet, this.#local, this.#remote, this.#transport);
    return true;
  }
}
