import { type Address, ApiMisuse, isIpv6 } from '../core/bytes/index.ts';
import type { Fate } from './capture.ts';
import type { LinkConditions } from './link.ts';
import type { Attachment, Network, Packet, Station } from './network.ts';

export interface HostOptions {
  /** The internet itself unless said otherwise. */
  readonly network?: Network;
  readonly addresses: readonly string[];
  readonly link?: Partial<LinkConditions>;
}

export type SocketHandler = (packet: Packet) => void;

/** A machine with addresses and UDP sockets. */
export class Host implements Station {
  readonly name: string;
  readonly #sockets = new Map<number, SocketHandler>();
  #attachment: Attachment;
  #onEsp: SocketHandler | undefined;
  #onTcp: SocketHandler | undefined;
  #onTooBig: ((destination: Address, mtu: number) => void) | undefined;
  #onAddresses: ((addresses: readonly string[]) => void) | undefined;

  constructor(name: string, network: Network, addresses: readonly string[], link: Partial<LinkConditions>) {
    this.name = name;
    this.#attachment = network.attach(this, addresses, link);
  }

  get addresses(): readonly string[] {
    return [...this.#attachment.addresses];
  }

  get network(): Network {
    return this.#attachment.network;
  }

  /** The first address of the family of `towards`, or the first at all. */
  addressFor(towards?: string): string {
    const found = this.addresses.find((ip) => towards === undefined || isIpv6(ip) === isIpv6(towards));
    if (found === undefined) throw new ApiMisuse(`${this.name} has no address${towards === undefined ? '' : ` that reaches ${towards}`}`);
    return found;
  }

  /** A socket on every address of the host. */
  bind(port: number, handler: SocketHandler): void {
    if (this.#sockets.has(port)) throw new ApiMisuse(`port ${port} is in use on ${this.name}`);
    this.#sockets.set(port, handler);
  }

  unbind(port: number): void {
    this.#sockets.delete(port);
  }

  /** ESP that arrives straight on IP. */
  onEsp(handler: SocketHandler): void {
    this.#onEsp = handler;
  }

  /** Whatever comes for streams. */
  onTcp(handler: SocketHandler): void {
    this.#onTcp = handler;
  }

  onTooBig(handler: (destination: Address, mtu: number) => void): void {
    this.#onTooBig = handler;
  }

  onAddresses(handler: (addresses: readonly string[]) => void): void {
    this.#onAddresses = handler;
  }

  /** @returns false when the source address is not one of this host's: the packet goes nowhere. */
  send(packet: Packet): boolean {
    if (!this.#attachment.addresses.has(packet.source.ip) || isIpv6(packet.source.ip) !== isIpv6(packet.destination.ip)) return false;
    this.network.send(this.#attachment, packet);
    return true;
  }

  setLink(conditions: Partial<LinkConditions>): void {
    this.#attachment.setLink(conditions);
  }

  get up(): LinkConditions {
    return this.#attachment.up.conditions;
  }

  get down(): LinkConditions {
    return this.#attachment.down.conditions;
  }

  addAddress(address: string): void {
    this.network.addAddress(this.#attachment, address);
    this.#onAddresses?.(this.addresses);
  }

  removeAddress(address: string): void {
    this.network.removeAddress(this.#attachment, address);
    this.#onAddresses?.(this.addresses);
  }

  /** Unplugs here and plugs in there, with other addresses: roaming. The link's conditions stay what they were. */
  move(network: Network, addresses: readonly string[]): void {
    const conditions = this.#attachment.up.conditions;
    this.network.detach(this.#attachment);
    this.#attachment = network.attach(this, addresses, conditions);
    this.#onAddresses?.(this.addresses);
  }

  receive(packet: Packet): Fate {
    const handler =
      packet.protocol === 'udp' ? this.#sockets.get(packet.destination.port) : packet.protocol === 'tcp' ? this.#onTcp : this.#onEsp;
    if (handler === undefined || !this.#attachment.addresses.has(packet.destination.ip)) return 'no socket';
    const { protocol, source, destination, data } = packet;
    handler({ protocol, source, destination, data: data.slice() });
    return 'delivered';
  }

  tooBig(packet: Packet, mtu: number): void {
    this.#onTooBig?.(packet.destination, mtu);
  }
}
