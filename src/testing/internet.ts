import { PacketCapture } from './capture.ts';
import { Host, type HostOptions } from './host.ts';
import { Nat, type NatOptions } from './nat.ts';
import { type Fabric, Network } from './network.ts';
import { SeededRandom } from './seeded.ts';
import { VirtualClock } from './virtual-clock.ts';

/** Hosts, links, NATs and one clock: everything happens in virtual time, and a seed decides everything that is left to chance. */
export class Internet implements Fabric {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly capture: PacketCapture;
  /** The public internet. */
  readonly core: Network;

  constructor(seed: number | string = 1, options: { readonly clock?: VirtualClock; readonly capture?: PacketCapture } = {}) {
    this.clock = options.clock ?? new VirtualClock();
    this.random = new SeededRandom(seed, 'internet');
    this.capture = options.capture ?? new PacketCapture();
    this.core = new Network('internet', this);
  }

  host(name: string, options: HostOptions): Host {
    return new Host(name, options.network ?? this.core, options.addresses, options.link ?? {});
  }

  nat(name: string, options: NatOptions): Nat {
    return new Nat(this, name, options, options.network ?? this.core);
  }

  /** An address space of its own, empty; a NAT makes its own inside by itself. */
  network(name: string): Network {
    return new Network(name, this);
  }
}
