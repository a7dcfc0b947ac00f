import { type Address, ApiMisuse, isIpv6 } from '../../../core/bytes/index.ts';
import { udpBindError } from '../udp.ts';
import { ERRNO, errnoName, type Native, type NativeBuffer, systemError } from './ffi.ts';
import { AddressTexts, AF_INET, AF_INET6, SOCKADDR, SocketAddress } from './socket-address.ts';
import type { UdpBatch } from './udp-batch.ts';
import { MESSAGE, SegmentSender } from './udp-segments.ts';

export interface FastUdpOptions {
  /** An IP literal. */
  readonly ip: string;
  /** 0 lets the machine choose. */
  readonly port: number;
  /** Octets to ask for; a process with CAP_NET_ADMIN gets them whatever the limits of the machine. */
  readonly receiveBuffer?: number;
  readonly sendBuffer?: number;
  /** Of every packet that leaves, for routing rules to know it by. Needs CAP_NET_ADMIN. */
  readonly mark?: number | undefined;
}

/** Why the kernel did not take a datagram. Nobody can be relied on to have sent the ICMP message behind it. */
export type SendRefusal =
  /** The socket's buffer or the interface's queue: there is room again when poll says `out`, or a moment later. */
  | 'full'
  /** Larger than the path takes, and not to be fragmented. */
  | 'too-big'
  /** No route, an interface that is down, a packet filter. */
  | 'unreachable'
  | 'failed';

/**
 * A UDP socket by its descriptor, for whoever reads and writes many datagrams at a time. Every thread that has the number may use one of
 * these over it; one of them reads. Nothing that comes from the network makes it throw.
 */
export class FastUdp {
  readonly fd: number;
  readonly local: Address;
  readonly isV6: boolean;
  readonly counters = { received: 0, sent: 0, refused: 0, truncated: 0, errors: 0 };
  /** Of the last `send` or `sendBatch`; undefined when all of it went. */
  refusal: SendRefusal | undefined;
  readonly #native: Native;
  readonly #recvmmsg: Batches['recvmmsg'];
  readonly #segments: SegmentSender;
  readonly #texts = new AddressTexts();

  /** @throws DataPlaneError `ADDRESS_IN_USE`, `ADDRESS_NOT_OURS`, `PORT_NEEDS_PRIVILEGE` or `SOCKET_FAILED` */
  static open(native: Native, options: FastUdpOptions): FastUdp {
    const v6 = isIpv6(options.ip);
    const { libc } = native;
    const address = SocketAddress.of(native, options.ip, options.port);
    const fd = libc.socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) throw systemError('opening a UDP socket', native.errno());
    if (v6) setOption(native, fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    askForBuffer(native, fd, SO_RCVBUFFORCE, SO_RCVBUF, options.receiveBuffer ?? RECEIVE_BUFFER);
    askForBuffer(native, fd, SO_SNDBUFFORCE, SO_SNDBUF, options.sendBuffer ?? SEND_BUFFER);
    if (options.mark !== undefined && !setOption(native, fd, SOL_SOCKET, SO_MARK, options.mark)) {
      const errno = native.errno();
      libc.close(fd);
      throw systemError('marking the packets of a UDP socket', errno);
    }
    if (libc.bind(fd, address.pointer, address.length) === 0) return FastUdp.adopt(native, fd);
    const errno = native.errno();
    libc.close(fd);
    throw udpBindError(errnoName(errno), options);
  }

  /** Over a socket that is open already. */
  static adopt(native: Native, fd: number): FastUdp {
    return new FastUdp(native, fd, localAddress(native, fd));
  }

  private constructor(native: Native, fd: number, local: Address) {
    const { sendmmsg, recvmmsg } = native.functions<Batches>(BATCHES);
    this.fd = fd;
    this.local = local;
    this.isV6 = isIpv6(local.ip);
    this.#native = native;
    this.#recvmmsg = recvmmsg;
    this.#segments = new SegmentSender(native, sendmmsg, fd, this.isV6, getOption(native, fd, SOL_UDP, UDP_SEGMENT) !== undefined);
  }

  /** Octets that wait in the kernel at most, as granted. */
  get receiveBuffer(): number {
    return getOption(this.#native, this.fd, SOL_SOCKET, SO_RCVBUF) ?? 0;
  }

  /** Asks for so many octets; what is granted may be less. */
  enlargeReceiveBuffer(octets: number): void {
    if (octets > this.receiveBuffer) askForBuffer(this.#native, this.fd, SO_RCVBUFFORCE, SO_RCVBUF, octets);
  }

  /** From here on none are cut by the kernel: whoever captures on this machine sees each as it goes over the wire. */
  sendSingly(): void {
    this.#segments.usable = false;
  }

  /** Whether many datagrams to one peer pass the kernel as one. False from the moment an interface refused it. */
  get segmentation(): boolean {
    return this.#segments.usable;
  }

  /**
   * Whether datagrams of one peer may come in together, `UdpBatch.segment` octets each but for the last. Who reads without looking at that
   * must turn it off, and what was queued together before comes together still.
   * @returns false where the kernel (before 5.0) cannot
   */
  joinReceived(on: boolean): boolean {
    return setOption(this.#native, this.fd, SOL_UDP, UDP_GRO, on ? 1 : 0);
  }

  /** Makes `UdpBatch.destination` known, which a socket bound to one address knows anyway. */
  tellDestinations(on: boolean): boolean {
    const [level, option] = this.isV6 ? [IPPROTO_IPV6, IPV6_RECVPKTINFO] : [IPPROTO_IP, IP_PKTINFO];
    return setOption(this.#native, this.fd, level, option, on ? 1 : 0);
  }

  /** Makes `UdpBatch.trafficClass` known: DSCP and ECN of the outer header (RFC 6040). */
  tellTrafficClass(on: boolean): boolean {
    const [level, option] = this.isV6 ? [IPPROTO_IPV6, IPV6_RECVTCLASS] : [IPPROTO_IP, IP_RECVTOS];
    return setOption(this.#native, this.fd, level, option, on ? 1 : 0);
  }

  /**
   * What becomes of datagrams that are larger than the path takes: `fragment` lets any router cut them; `kernel` cuts by what the kernel
   * knows of the path and sets DF on what fits; `refuse` sets DF and never cuts (`too-big`); `probe` sets DF and does not heed what the
   * kernel knows of the path.
   */
  setMtuDiscovery(how: 'fragment' | 'kernel' | 'refuse' | 'probe'): boolean {
    const [level, option] = this.isV6 ? [IPPROTO_IPV6, IPV6_MTU_DISCOVER] : [IPPROTO_IP, IP_MTU_DISCOVER];
    return setOption(this.#native, this.fd, level, option, ['fragment', 'kernel', 'refuse', 'probe'].indexOf(how));
  }

  /**
   * One datagram.
   * @param trafficClass DSCP and ECN of its header; -1 for those of the socket
   * @returns false when the kernel did not take it: `refusal` says why
   */
  send(buffer: NativeBuffer, offset: number, length: number, peer: SocketAddress, trafficClass = -1): boolean {
    requireWithin(buffer, offset, length);
    const errno = this.#segments.one(buffer.address + offset, length, peer, trafficClass);
    this.refusal = errno === 0 ? undefined : refusalOf(errno);
    if (errno === 0) this.counters.sent++;
    else this.counters.refused++;
    return errno === 0;
  }

  /**
   * Many datagrams to one peer that stand one behind the other, of `segmentSize` octets each; the last may be shorter.
   * @returns octets that the kernel took: whole datagrams, from the front. When those are not all, `refusal` says why
   */
  sendBatch(buffer: NativeBuffer, offset: number, length: number, segmentSize: number, peer: SocketAddress, trafficClass = -1): number {
    requireWithin(buffer, offset, length);
    if (!(segmentSize >= 1)) throw new ApiMisuse(`segments have at least one octet, not ${segmentSize}`);
    this.refusal = undefined;
    let taken = 0;
    while (taken < length) {
      const octets = this.#segments.many(buffer.address + offset + taken, length - taken, segmentSize, peer, trafficClass);
      if (octets < 0) {
        this.refusal = refusalOf(-octets);
        this.counters.refused += Math.ceil((length - taken) / segmentSize);
        break;
      }
      taken += octets;
    }
    this.counters.sent += Math.ceil(taken / segmentSize);
    return taken;
  }

  /** Fills `batch` with what waits, and does not wait itself. @returns how many messages there are now; 0 for none */
  receive(batch: UdpBatch): number {
    batch.reset();
    const count = this.#recvmmsg(this.fd, batch.headers.address, batch.capacity, MSG_DONTWAIT, 0);
    if (count < 0) {
      // An ICMP message about something sent before is told here; it is anybody's word, and passes with being told.
      if (this.#native.errno() !== ERRNO.EAGAIN) this.counters.errors++;
      return 0;
    }
    this.counters.truncated += batch.read(count, this.#texts);
    for (let i = 0; i < count; i++) this.counters.received += batch.datagrams(i);
    return count;
  }

  close(): void {
    this.#native.libc.close(this.fd);
  }
}

interface Batches {
  sendmmsg(fd: number, messages: number, count: number, flags: number): number;
  recvmmsg(fd: number, messages: number, count: number, flags: number, timeout: 0): number;
}

const BATCHES: { readonly [Name in keyof Batches]: string } = {
  sendmmsg: 'int sendmmsg(int fd, uintptr_t messages, uint32_t count, int flags)',
  recvmmsg: 'int recvmmsg(int fd, uintptr_t messages, uint32_t count, int flags, uintptr_t timeout)',
};

function refusalOf(errno: number): SendRefusal {
  switch (errno) {
    case ERRNO.EAGAIN:
    case ERRNO.ENOBUFS:
    case ERRNO.ENOMEM:
      return 'full';
    case ERRNO.EMSGSIZE:
      return 'too-big';
    case ERRNO.ENETUNREACH:
    case ERRNO.EHOSTUNREACH:
    case ERRNO.ENETDOWN:
    case ERRNO.ECONNREFUSED:
    case ERRNO.EPERM:
    case ERRNO.EACCES:
    case ERRNO.EADDRNOTAVAIL:
      return 'unreachable';
    default:
      return 'failed';
  }
}

function requireWithin(buffer: NativeBuffer, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= buffer.octets.length) return;
  throw new ApiMisuse(`${length} octets from ${offset} on do not lie in a buffer of ${buffer.octets.length}`, { code: 'BUFFER_TOO_SHORT' });
}

function localAddress(native: Native, fd: number): Address {
  const place = native.allocate(SOCKADDR + 8);
  place.u32[SOCKADDR >> 2] = SOCKADDR;
  if (native.libc.getsockname(fd, place.address, place.address + SOCKADDR) < 0)
    throw systemError('asking a UDP socket for its address', native.errno());
  const v6 = place.u16[0] === AF_INET6;
  const ip = new AddressTexts().text(place, v6 ? 8 : 4, v6 ? 16 : 4);
  return { ip, port: (place.octets[2]! << 8) | place.octets[3]! };
}

function askForBuffer(native: Native, fd: number, force: number, ask: number, octets: number): void {
  if (!setOption(native, fd, SOL_SOCKET, force, octets)) setOption(native, fd, SOL_SOCKET, ask, octets);
}

function setOption(native: Native, fd: number, level: number, option: number, value: number): boolean {
  const place = native.allocate(8);
  place.u32[0] = value;
  return native.libc.setsockopt(fd, level, option, place.address, 4) === 0;
}

function getOption(native: Native, fd: number, level: number, option: number): number | undefined {
  const place = native.allocate(8);
  place.u32[1] = 4;
  return native.libc.getsockopt(fd, level, option, place.address, place.address + 4) === 0 ? place.u32[0] : undefined;
}

const RECEIVE_BUFFER = 4 * 1024 * 1024;
const SEND_BUFFER = 4 * 1024 * 1024;

// asm-generic/socket.h, linux/in.h, linux/in6.h, linux/udp.h
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2_000_000;
const { MSG_DONTWAIT } = MESSAGE;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_MARK = 36;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;
const IPPROTO_IP = 0;
const IP_PKTINFO = 8;
const IP_MTU_DISCOVER = 10;
const IP_RECVTOS = 13;
const IPPROTO_IPV6 = 41;
const IPV6_MTU_DISCOVER = 23;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
const IPV6_RECVTCLASS = 66;
