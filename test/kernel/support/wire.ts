import { formatIp } from '../../../src/core/bytes/index.ts';
import { HostReader, HostWriter } from '../../../src/host/platform/linux/netlink/host-order.ts';
import { type Libc, loadLibc } from '../../../src/host/platform/linux/netlink/libc.ts';
import { within } from '../../../src/host/platform/linux/netlink/within.ts';

/** A packet of IPv4 that left by an interface. */
export interface Seen {
  readonly protocol: number;
  /** Of ICMP: of a first fragment without options, as echo requests are. */
  readonly type: number | undefined;
  readonly source: string;
  readonly destination: string;
}

/** Looks at what leaves a network namespace, as it leaves. */
export class Wire {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #buffer = new Uint8Array(2048);

  /** @param namespace its name */
  static async tap(namespace: string): Promise<Wire> {
    const libc = await loadLibc();
    const protocol = new HostReader(new HostWriter(2).network16(ETH_P_ALL).written(), 'protocol').u16();
    const fd = within(libc, `/run/netns/${namespace}`, () => libc.socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, protocol));
    if (fd < 0) throw new Error(`no packet socket: ${libc.errno()}`);
    return new Wire(libc, fd);
  }

  private constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
  }

  /** All that left since it was last asked. */
  sent(): readonly Seen[] {
    const packets: Seen[] = [];
    const from = new Uint8Array(20);
    for (;;) {
      const length = this.#libc.recvfrom(
        this.#fd,
        this.#buffer,
        this.#buffer.length,
        0,
        from,
        new HostWriter(4).u32(from.length).written(),
      );
      if (length < 0) return packets;
      // what was decrypted is seen once more on the interface that it came by, and what enters an XFRM interface before it is encrypted
      if (from[PACKET_TYPE] !== PACKET_OUTGOING || from[HARDWARE_TYPE] !== ARPHRD_ETHER || this.#buffer[0]! >> 4 !== 4) continue;
      packets.push({
        protocol: this.#buffer[9]!,
        type: this.#buffer[9] === IPPROTO_ICMP ? this.#buffer[20] : undefined,
        source: formatIp(this.#buffer.subarray(12, 16)),
        destination: formatIp(this.#buffer.subarray(16, 20)),
      });
    }
  }

  close(): void {
    this.#libc.close(this.#fd);
  }
}

/** What left in clear of what the tests send: echo requests and answers. */
export const echoesIn = (wire: Wire): readonly Pick<Seen, 'source' | 'destination'>[] =>
  wire
    .sent()
    .filter(({ type }) => type === ECHO || type === ECHO_REPLY)
    .map(({ source, destination }) => ({ source, destination }));

const ECHO = 8;
const ECHO_REPLY = 0;
const AF_PACKET = 17;
const ARPHRD_ETHER = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const ETH_P_ALL = 3;
const IPPROTO_ICMP = 1;
/** Where `struct sockaddr_ll` has them. */
const HARDWARE_TYPE = 8;
const PACKET_TYPE = 10;
const PACKET_OUTGOING = 4;
