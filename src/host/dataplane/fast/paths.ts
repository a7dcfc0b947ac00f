import { type Address, formatAddress, isIpv6 } from '../../../core/bytes/index.ts';
import type { Transport } from '../../../core/ike/effects.ts';
import type { PacketBuffer } from '../../../core/packet/offload/index.ts';
import { PATH_MTU, UDP_ENCAPSULATION } from '../path-mtu.ts';
import type { BatchPath, BatchTarget, UdpPort } from './ports.ts';

/** Sends what no socket of this thread carries. */
export type SendElsewhere = (packet: Uint8Array, local: Address, remote: Address, transport: Transport | undefined) => void;

/** The sockets of the loop, and the ways to peers through them. A way outlives its socket: one that is opened again for the same address serves it. */
export class PathTable<B extends PacketBuffer = PacketBuffer> {
  readonly #elsewhere: SendElsewhere;
  readonly #sockets = new Map<string, UdpPort<B>>();
  #all: readonly UdpPort<B>[] = [];
  /** Counts up whenever a socket comes or goes: what was found before is looked up again. */
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
    const find = (): (BatchTarget<B> & Pick<BatchPath, 'send'>) | undefined =>
      transport === 'tcp' ? undefined : this.#sockets.get(local.ip)?.towards(remote);
    const epochs = (): number => this.#epoch;
    const elsewhere = this.#elsewhere;
    let epoch = -1;
    let found: ReturnType<typeof find>;
    const target = (): typeof found => {
      if (epoch !== epochs()) {
        found = find();
        epoch = epochs();
      }
      return found;
    };
    return {
      get mtu() {
        return target()?.mtu ?? PATH_MTU;
      },
      overhead: UDP_ENCAPSULATION[isIpv6(remote.ip) ? 6 : 4],
      get batch() {
        return target();
      },
      send(packet, trafficClass) {
        const way = target();
        if (way !== undefined) return way.send(packet, trafficClass);
        elsewhere(packet, local, remote, transport);
        return true;
      },
    };
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
