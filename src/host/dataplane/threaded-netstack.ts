import type { Address } from '../../core/bytes/index.ts';
import type { ChildSaChange, ChildSaSpec, Transport } from '../../core/ike/effects.ts';
import type { Native } from '../platform/linux/ffi.ts';
import { Wakeup } from '../platform/linux/poll.ts';
import type { StackDriver } from '../platform/stack-driver.ts';
import type { UdpSocket } from '../platform/udp.ts';
import { systemThreads } from '../platform/worker-threads.ts';
import type { ChildCounters, DataPlaneOptions, SequenceNumbers, ShuntPolicy, TrapPolicy } from './data-plane.ts';
import { cardRings } from './fast/card-device.ts';
import { ThreadPort } from './fast/thread-port.ts';
import { behindStack, hereStack, type NetstackPlane, tunnelMtu } from './netstack-hosts.ts';
import { OwnAddresses } from './own-addresses.ts';
import { refuseBypass } from './shunt-table.ts';
import { StackCard } from './stack-card.ts';

/**
 * The plane `netstack` where there is more than one processor: TCP/IP and its sockets are in this thread, ESP and the UDP sockets in another, the one that
 * serves `tun`. Between them is what a host has of a network card.
 */
export class ThreadedNetstack implements NetstackPlane {
  readonly backend = 'netstack';
  readonly espThread = true;
  readonly #own: OwnAddresses;
  readonly #card: StackCard;
  readonly #wakeup: Wakeup;
  readonly #port: ThreadPort;
  readonly #mtu: number | undefined;
  #closing: Promise<void> | undefined;

  constructor(native: Native, options: DataPlaneOptions) {
    const { clock, addresses = [] } = options;
    this.#own = new OwnAddresses(addresses);
    this.#mtu = options.mtu;
    const rings = cardRings();
    const wakeup = Wakeup.open(native);
    this.#wakeup = wakeup;
    const behind = options.behind === true;
    this.#card = new StackCard({
      clock,
      rings,
      wake: () => {
        if (this.#closing === undefined) wakeup.wake();
      },
      stacks: [hereStack(options, this.#own.all), ...(behind ? [behindStack(options)] : [])],
    });
    this.#port = new ThreadPort({
      threads: systemThreads,
      backend: this.backend,
      inner: { kind: 'card', rings, addresses, forward: options.forward ?? false, behind },
      wake: wakeup.fd,
      singly: options.singly === true,
      ring: () => wakeup.wake(),
      onObservation: options.onObservation,
      openPath: options.openPath,
      onCard: () => this.#card.look(),
      onMtu: (mtu) => this.#adjustMtu(mtu),
      onEnd: (error, children) => {
        options.onFailure?.(error);
        // the peers must not go on sending to nobody
        for (const child of children) options.onObservation({ kind: 'hard-expire', child });
      },
    });
  }

  get driver(): StackDriver {
    return this.#card.drivers[0]!;
  }

  get behind(): StackDriver | undefined {
    return this.#card.drivers[1];
  }

  get forwarded(): number {
    return this.#port.forwarded;
  }

  async install(spec: ChildSaSpec, resume?: SequenceNumbers): Promise<void> {
    await this.#port.install(spec, resume);
    if (this.#own.assign(spec)) this.driver.stack.setAddresses(this.#own.all);
  }

  update(child: number, change: ChildSaChange): void {
    this.#port.update(child, change);
  }

  remove(child: number): void {
    this.#port.remove(child);
  }

  counters(child: number): ChildCounters | undefined {
    return this.#port.counters(child);
  }

  sequenceNumbers(child: number): SequenceNumbers | undefined {
    return this.#port.sequenceNumbers(child);
  }

  drops(): Readonly<Record<string, number>> {
    return this.#port.drops;
  }

  setTraps(traps: readonly TrapPolicy[]): void {
    this.#port.setTraps(traps);
  }

  setShunts(shunts: readonly ShuntPolicy[]): void {
    refuseBypass(shunts, this.backend);
    this.#port.setShunts(shunts);
  }

  receive(packet: Uint8Array, local: Address, ip: string, port: number, transport?: Transport): boolean {
    this.#port.receive(packet, local, ip, port, transport);
    return true;
  }

  adopt(socket: UdpSocket): Promise<void> {
    return this.#port.adopt(socket);
  }

  disown(socket: UdpSocket): Promise<void> {
    return this.#port.disown(socket);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#card.close();
    try {
      await this.#port.close();
    } finally {
      this.#wakeup.close();
    }
  }

  #adjustMtu(mtu: number | undefined): void {
    for (const { stack } of this.#card.drivers) {
      const fitting = tunnelMtu(this.#mtu, mtu);
      if (fitting !== stack.mtu) stack.setMtu(fitting);
    }
  }
}
