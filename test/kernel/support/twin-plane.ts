import { type Address, formatIp, isIpv6, parseIp } from '../../../src/core/bytes/index.ts';
import { createPacketCipher, systemRandom } from '../../../src/core/crypto/index.ts';
import { getU16, IpProtocol, IpView, UDP_HEADER, writeIpv4, writeIpv6, writeUdp } from '../../../src/core/packet/index.ts';
import type { EspPath } from '../../../src/host/dataplane/data-plane.ts';
import { EspPlane } from '../../../src/host/dataplane/esp-plane.ts';
import { systemClock } from '../../../src/host/platform/clock.ts';
import { zlibDeflate } from '../../../src/host/platform/deflate.ts';
import type { Native } from '../../../src/host/platform/linux/ffi.ts';
import { Tun } from '../../../src/host/platform/linux/tun.ts';

/** ESP and AH in user space whose outer network is a TUN device: at its other end is the kernel with its own. */
export class TwinPlane {
  readonly plane: EspPlane;
  /** Inner packets that came out. */
  readonly delivered: Uint8Array[] = [];
  /** Whole packets that came, and those that were sent. */
  readonly arrived: Uint8Array[] = [];
  readonly left: Uint8Array[] = [];
  /** false: both ways, packets are only written down. */
  connected = true;
  readonly #tun: Tun;
  readonly #native: Native;
  readonly #view = new IpView();

  /** Makes the device in the network namespace of this thread. */
  constructor(native: Native, device: string) {
    this.#native = native;
    this.#tun = Tun.open(native, { name: device, mtu: MTU, up: true });
    this.plane = new EspPlane({
      backend: 'test',
      createPacketCipher,
      clock: systemClock,
      random: systemRandom(),
      deflate: zlibDeflate,
      openPath: (local, remote, encap): EspPath => ({
        mtu: MTU,
        overhead: headerOf(remote.ip) + (encap ? UDP_HEADER : 0),
        sendWhole: encap ? undefined : (packet) => this.#sent(packet.slice()),
        send: (packet) => this.#sent(inUdp(packet, local, remote)),
      }),
      onObservation: () => undefined,
      deliver: (buffer, start, end) => this.delivered.push(buffer.slice(start, end)),
    });
  }

  /** Puts a packet on the wire to the kernel. */
  write(packet: Uint8Array): void {
    const buffer = this.#native.allocate(packet.length);
    buffer.octets.set(packet);
    this.#tun.write(buffer, 0, packet.length);
  }

  /** Takes what the kernel has sent: what is IPsec, and of that what is for `to`. */
  poll(to: string): void {
    const buffer = this.#native.allocate(MTU + 64);
    for (;;) {
      const length = this.#tun.read(buffer, 0, MTU + 64);
      if (length <= 0) return;
      const packet = buffer.octets.slice(0, length);
      if (!this.#isIpsec(packet, to)) continue;
      this.arrived.push(packet);
      if (this.connected) this.receive(packet);
    }
  }

  /** A whole packet, as if it had come from the wire. */
  receive(packet: Uint8Array): void {
    const view = this.#view;
    view.parse(packet);
    const from = formatIp(packet.subarray(view.sourceAt, view.sourceAt + view.addressLength));
    if (view.protocol === IpProtocol.UDP) this.plane.receive(packet.slice(view.payload + UDP_HEADER, view.end), from, NAT_PORT);
    else this.plane.receiving.receiveWhole(packet.slice());
  }

  close(): void {
    this.plane.close();
    this.#tun.close();
  }

  #sent(packet: Uint8Array): boolean {
    this.left.push(packet);
    if (this.connected) this.write(packet);
    return true;
  }

  /** Neighbours and routers are asked for, too. */
  #isIpsec(packet: Uint8Array, to: string): boolean {
    const view = this.#view;
    if (!view.parse(packet)) return false;
    const destination = formatIp(packet.subarray(view.destinationAt, view.destinationAt + view.addressLength));
    if (destination !== to || (view.protocol === IpProtocol.UDP && getU16(packet, view.payload + 2) !== NAT_PORT)) return false;
    return view.protocol === IpProtocol.UDP || view.protocol === IpProtocol.ESP || view.protocol === IpProtocol.AH;
  }
}

/** RFC 3948: an outer packet around ESP. */
function inUdp(esp: Uint8Array, local: Address, remote: Address): Uint8Array {
  const [source, destination] = [parseIp(local.ip), parseIp(remote.ip)];
  const header = headerOf(remote.ip);
  const packet = new Uint8Array(header + UDP_HEADER + esp.length);
  packet.set(esp, header + UDP_HEADER);
  writeUdp(packet, header, source, local.port, destination, remote.port, esp.length);
  const common = { source, destination, hopLimit: 64, trafficClass: 0 };
  const rarely = { identification: 0, dontFragment: true, moreFragments: false, fragmentOffset: 0 };
  if (isIpv6(remote.ip))
    writeIpv6(packet, 0, { ...common, payloadLength: packet.length - header, nextHeader: IpProtocol.UDP, flowLabel: 0 });
  else writeIpv4(packet, 0, { ...common, ...rarely, length: packet.length, protocol: IpProtocol.UDP });
  return packet;
}

/** A whole packet with another last octet, which its outer headers do not give away. */
export function changed(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  copy[copy.length - 1]! ^= 1;
  const view = new IpView();
  view.parse(copy);
  if (view.protocol !== IpProtocol.UDP) return copy;
  const address = (at: number): string => formatIp(copy.subarray(at, at + view.addressLength));
  const [from, to] = [view.sourceAt, view.destinationAt].map((at) => ({ ip: address(at), port: NAT_PORT }));
  return inUdp(copy.subarray(view.payload + UDP_HEADER, view.end), from!, to!);
}

const headerOf = (ip: string): number => (isIpv6(ip) ? 40 : 20);
const MTU = 1500;
const NAT_PORT = 4500;
