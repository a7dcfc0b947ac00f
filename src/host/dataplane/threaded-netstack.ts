import type { ChildSaChange, ChildSaSpec } from '../../core/ike/effects.ts';
import type { Native } from '../platform/linux/ffi.ts';
import { Wakeup } from '../platform/linux/poll.ts';
import type { StackDriver } from '../platform/stack-driver.ts';
import type { DataPlaneOptions, SequenceNumbers, ShuntPolicy, TrapPolicy } from './data-plane.ts';
import { cardRings } from './fast/card-device.ts';
import type { ThreadPort } from './fast/thread-port.ts';
import { behindStack, hereStack, type NetstackPlane, tunnelMtu } from './netstack-hosts.ts';
import { OwnAddresses } from './own-addresses.ts';
import { PlaneInThread, startThread } from './plane-in-thread.ts';
import { refuseBypass } from './shunt-table.ts';
import { StackCard } from './stack-card.ts';

/**
 * The plane `netstack` where there are processors enough: TCP/IP and its sockets are in this thread, ESP and the UDP sockets in another, the one that
 * serves `tun`. Between them is what a host has of a network card.
 */
export class ThreadedNetstack extends PlaneInThread implements NetstackPlane {
  readonly backend = 'netstack';
  readonly espThread = true;
  protected readonly port: ThreadPort;
  readonly #own: OwnAddresses;
  readonly #card: StackCard;
  readonly #wakeup: Wakeup;
  readonly #mtu: number | undefined;
  #stopped = false;

  constructor(native: Native, options: DataPlaneOptions) {
    super();
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
        if (!this.#stopped) wakeup.wake();
      },
      stacks: [hereStack(options, this.#own.all), ...(behind ? [behindStack(options)] : [])],
    });
    this.port = startThread(
      {
        backend: this.backend,
        inner: { kind: 'card', rings, addresses, forward: options.forward ?? false, behind },
        onCard: () => this.#card.look(),
        onMtu: (mtu) => this.#adjustMtu(mtu),
      },
      wakeup,
      options,
    );
  }

  get driver(): StackDriver {
    return this.#card.drivers[0]!;
  }

  get behind(): StackDriver | undefined {
    return this.#card.drivers[1];
  }

  get forwarded(): number {
    return this.port.forwarded;
  }

  async install(spec: ChildSaSpec, resume?: SequenceNumbers): Promise<void> {
    await this.port.install(spec, resume);
    if (this.#own.assign(spec)) this.driver.stack.setAddresses(this.#own.all);
  }

  update(child: number, change: ChildSaChange): void {
    this.port.update(child, change);
  }

  remove(child: number): void {
    this.port.remove(child);
  }

  setTraps(traps: readonly TrapPolicy[]): void {
    this.port.setTraps(traps);
  }

  setShunts(shunts: readonly ShuntPolicy[]): void {
    refuseBypass(shunts, this.backend);
    this.port.setShunts(shunts);
  }

  protected override stop(): void {
    this.#stopped = true;
    this.#card.close();
  }

  protected release(): void {
    this.#wakeup.close();
  }

  #adjustMtu(mtu: number | undefined): void {
    for (const { stack } of this.#card.drivers) {
      const fitting = tunnelMtu(this.#mtu, mtu);
      if (fitting !== stack.mtu) stack.setMtu(fitting);
    }
  }
}
