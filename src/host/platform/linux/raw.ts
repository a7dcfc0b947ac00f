import { ApiMisuse, type DataPlaneError, isIpv6, parseIp } from '../../../core/bytes/index.ts';
import { IPV6_HEADER, writeIpv6 } from '../../../core/packet/index.ts';
import { ERRNO, type Native, type NativeBuffer, systemError } from './ffi.ts';
import { AddressTexts, AF_INET, AF_INET6, SocketAddress } from './socket-address.ts';
import { UdpBatch } from './udp-batch.ts';
import { IOVEC, MESSAGE } from './udp-segments.ts';

export interface RawIpOptions {
  /** An own address, a literal: what comes in to another one is not taken. */
  readonly ip: string;
  /** IP protocol: 50 or 51. */
  readonly protocol: number;
  /** Of every packet that leaves, for routing rules to know it by. Needs CAP_NET_ADMIN. */
  readonly mark?: number | undefined;
}

/**
 * A socket for whole IP packets of one protocol (raw(7)): what leaves has a header of its sender's, what comes in is whole again where it came
 * in pieces. Of IPv6 the kernel hands on no header; it is made anew from what the kernel tells of it, and extension headers are not told.
 * Needs CAP_NET_RAW. Nothing that comes from the network makes it throw.
 */
export class RawIp {
  readonly fd: number;
  readonly ip: string;
  readonly isV6: boolean;
  readonly protocol: number;
  readonly counters = { received: 0, sent: 0, refused: 0, truncated: 0, errors: 0 };
  readonly #native: Native;
  readonly #functions: Receive;
  readonly #texts = new AddressTexts();
  readonly #own: Uint8Array;
  readonly #message: NativeBuffer;
  readonly #vector: NativeBuffer;

  /** @throws DataPlaneError `NOT_PERMITTED`, `ADDRESS_NOT_OURS`, `SYSTEM_CALL_FAILED` */
  static open(native: Native, { ip, protocol, mark }: RawIpOptions): RawIp {
    const v6 = isIpv6(ip);
    const { libc } = native;
    const address = SocketAddress.of(native, ip, 0);
    const fd = libc.socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0) throw systemError(`opening a raw socket for IP protocol ${protocol}`, native.errno(), { EPERM: NOT_PERMITTED });
    const fail = (what: string): DataPlaneError => {
      const errno = native.errno();
      libc.close(fd);
      return systemError(what, errno, { EADDRNOTAVAIL: NOT_OURS });
    };
    const set = (level: number, option: number, value: number): boolean => {
      const place = native.allocate(8);
      place.u32[0] = value;
      return libc.setsockopt(fd, level, option, place.address, 4) === 0;
    };
    set(SOL_SOCKET, SO_RCVBUFFORCE, BUFFER);
    set(SOL_SOCKET, SO_SNDBUFFORCE, BUFFER);
    if (mark !== undefined && !set(SOL_SOCKET, SO_MARK, mark)) throw fail('marking the packets of a raw socket');
    if (!set(v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_HDRINCL : IP_HDRINCL, 1)) throw fail('sending whole packets by a raw socket');
    if (v6 && !set(IPPROTO_IPV6, IPV6_RECVTCLASS, 1)) throw fail('asking for traffic classes');
    if (libc.bind(fd, address.pointer, address.length) < 0) throw fail(`binding a raw socket to ${ip}`);
    return new RawIp(native, fd, ip, protocol);
  }

  /** Over a socket that is open already. */
  static adopt(native: Native, fd: number, ip: string, protocol: number): RawIp {
    return new RawIp(native, fd, ip, protocol);
  }

  private constructor(native: Native, fd: number, ip: string, protocol: number) {
    this.#native = native;
    this.#functions = native.functions<Receive>(RECEIVE);
    this.fd = fd;
    this.ip = ip;
    this.isV6 = isIpv6(ip);
    this.protocol = protocol;
    this.#own = octetsOf(ip);
    this.#message = native.allocate(MESSAGE.size);
    this.#vector = native.allocate(IOVEC);
    this.#message.writeWord(MESSAGE.vectors, this.#vector.address);
    this.#message.writeWord(MESSAGE.vectorCount, 1);
  }

  /** What `receive` fills, with room for headers that the kernel keeps to itself. */
  static batch(native: Native, capacity: number): UdpBatch {
    return new UdpBatch(native, capacity, HEADROOM);
  }

  /** One whole packet, its header included. @returns false when the kernel did not take it */
  send(buffer: NativeBuffer, offset: number, length: number, peer: SocketAddress): boolean {
    if (offset < 0 || length < 1 || offset + length > buffer.octets.length)
      throw new ApiMisuse(`${length} octets from ${offset} on do not lie in a buffer of ${buffer.octets.length}`, {
        code: 'BUFFER_TOO_SHORT',
      });
    this.#message.writeWord(MESSAGE.name, peer.pointer);
    this.#message.u32[MESSAGE.nameLength >> 2] = peer.length;
    this.#vector.writeWord(0, buffer.address + offset);
    this.#vector.writeWord(8, length);
    const { libc } = this.#native;
    // a pending error is about something sent before, and passes with being told
    for (let attempt = 0; attempt < 2; attempt++) {
      if (libc.sendmsg(this.fd, this.#message.address, MESSAGE.MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        this.counters.sent++;
        return true;
      }
      if (![ERRNO.ECONNREFUSED, ERRNO.EHOSTUNREACH, ERRNO.EPROTO].includes(this.#native.errno())) break;
    }
    this.counters.refused++;
    return false;
  }

  /**
   * Takes in what waits. @param take gets each packet, from its IP header at `start`
   * @returns how many there were, 0 for none
   */
  receive(batch: UdpBatch, take: (packet: NativeBuffer, start: number, end: number) => void): number {
    batch.reset();
    const count = this.#functions.recvmmsg(this.fd, batch.headers.address, batch.capacity, MESSAGE.MSG_DONTWAIT, 0);
    if (count < 0) {
      if (this.#native.errno() !== ERRNO.EAGAIN) this.counters.errors++;
      return 0;
    }
    this.counters.truncated += batch.read(count, this.#texts);
    for (let i = 0; i < count; i++) {
      const length = batch.length(i);
      if (length === 0) continue;
      this.counters.received++;
      const at = batch.offset(i);
      take(batch.buffer, this.isV6 ? this.#writeHeader(batch, i, length) : at, at + length);
    }
    return count;
  }

  close(): void {
    this.#native.libc.close(this.fd);
  }

  #writeHeader(batch: UdpBatch, i: number, payloadLength: number): number {
    const at = batch.offset(i) - IPV6_HEADER;
    writeIpv6(batch.buffer.octets, at, {
      payloadLength,
      nextHeader: this.protocol,
      source: octetsOf(batch.ip(i)),
      destination: this.#own,
      hopLimit: 64,
      trafficClass: Math.max(0, batch.trafficClass(i)),
      flowLabel: 0,
    });
    return at;
  }
}

interface Receive {
  recvmmsg(fd: number, messages: number, count: number, flags: number, timeout: 0): number;
}

const RECEIVE: { readonly [Name in keyof Receive]: string } = {
  recvmmsg: 'int recvmmsg(int fd, uintptr_t messages, uint32_t count, int flags, uintptr_t timeout)',
};

const NOT_PERMITTED = {
  code: 'NOT_PERMITTED',
  why: 'this process lacks a privilege (CAP_NET_RAW)',
  hint: 'Run as root, grant the capability (systemd: AmbientCapabilities=CAP_NET_RAW), or leave ESP inside UDP (bare_esp: no).',
  privilege: 'CAP_NET_RAW',
};
const NOT_OURS = { code: 'ADDRESS_NOT_OURS', why: 'this machine does not have the address', hint: 'Choose one of its own.' };

/** A multiple of 8, and room for the header of IPv6. */
const HEADROOM = 64;
const BUFFER = 4 * 1024 * 1024;
const MSG_NOSIGNAL = 0x4000;
// asm-generic/socket.h, linux/in.h, linux/in6.h
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2_000_000;
const SOL_SOCKET = 1;
const SO_MARK = 36;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const IPPROTO_IP = 0;
const IP_HDRINCL = 3;
const IPPROTO_IPV6 = 41;
const IPV6_HDRINCL = 36;
const IPV6_RECVTCLASS = 66;

/** Without the zone of a link-local address. */
const octetsOf = (ip: string): Uint8Array => parseIp(ip.split('%')[0]!);
