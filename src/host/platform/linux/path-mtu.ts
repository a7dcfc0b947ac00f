import { type Address, isIpv6 } from '../../../core/bytes/index.ts';
import type { Native, NativeBuffer } from './ffi.ts';
import { AddressTexts, AF_INET, AF_INET6, SOCKADDR, SocketAddress } from './socket-address.ts';
import { CONTROL_DATA, IOVEC, MESSAGE } from './udp-segments.ts';

/**
 * What the kernel knows of the path from a socket to a peer: the MTU of the interface, or less where routers said so. Nothing is sent.
 * @param fd of a UDP socket, whose mark decides about the route
 * @returns octets of an IP packet; undefined where there is no route
 */
export function pathMtuTowards(native: Native, fd: number, local: Address, remote: Address): number | undefined {
  const { libc } = native;
  const v6 = isIpv6(remote.ip);
  const { connect } = native.functions<Connect>(CONNECT);
  const probe = libc.socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return undefined;
  try {
    const mark = getOption(native, fd, SOL_SOCKET, SO_MARK) ?? 0;
    if (mark !== 0) setOption(native, probe, SOL_SOCKET, SO_MARK, mark);
    const source = SocketAddress.of(native, local.ip, 0);
    const destination = SocketAddress.of(native, remote.ip, remote.port);
    if (libc.bind(probe, source.pointer, source.length) < 0) return undefined;
    if (connect(probe, destination.pointer, destination.length) < 0) return undefined;
    return v6 ? getOption(native, probe, IPPROTO_IPV6, IPV6_MTU) : getOption(native, probe, IPPROTO_IP, IP_MTU);
  } finally {
    libc.close(probe);
  }
}

/** Somebody said that a packet was too large: a router, or the kernel itself. */
export interface TooLarge {
  readonly ip: string;
  /** Octets of an IP packet that pass. */
  readonly mtu: number;
  /** The UDP payload of the packet, as much as was quoted; undefined where the kernel itself refused it. Valid during the call only. */
  readonly quoted: Uint8Array | undefined;
}

/** What ICMP says about packets of a socket (IP_RECVERR, IPV6_RECVERR). While it is open nobody but it reads the errors of that socket. */
export class ErrorQueue {
  readonly #native: Native;
  readonly #fd: number;
  readonly #v6: boolean;
  readonly #message: NativeBuffer;
  readonly #vector: NativeBuffer;
  readonly #name: NativeBuffer;
  readonly #control: NativeBuffer;
  readonly #quoted: NativeBuffer;
  readonly #texts = new AddressTexts();

  constructor(native: Native, fd: number, v6: boolean) {
    this.#native = native;
    this.#fd = fd;
    this.#v6 = v6;
    this.#message = native.allocate(MESSAGE.size);
    this.#vector = native.allocate(IOVEC);
    this.#name = native.allocate(SOCKADDR);
    this.#control = native.allocate(CONTROL);
    this.#quoted = native.allocate(LARGEST_QUOTE);
    this.#vector.writeWord(0, this.#quoted.address);
    this.#vector.writeWord(8, LARGEST_QUOTE);
    this.#message.writeWord(MESSAGE.name, this.#name.address);
    this.#message.writeWord(MESSAGE.vectors, this.#vector.address);
    this.#message.writeWord(MESSAGE.vectorCount, 1);
    this.#message.writeWord(MESSAGE.control, this.#control.address);
    this.#listen(1);
  }

  /** Takes what waits, a bounded part of it. */
  drain(take: (error: TooLarge) => void): void {
    for (let i = 0; i < MOST_AT_ONCE; i++) {
      this.#message.u32[MESSAGE.nameLength >> 2] = SOCKADDR;
      this.#message.writeWord(MESSAGE.controlLength, CONTROL);
      const length = this.#native.libc.recvmsg(this.#fd, this.#message.address, MSG_ERRQUEUE | MESSAGE.MSG_DONTWAIT);
      if (length < 0) return;
      this.#read(length, take);
    }
  }

  /** The socket goes on without it. */
  close(): void {
    this.#listen(0);
    this.drain(() => undefined);
  }

  #listen(on: 0 | 1): void {
    if (this.#v6) setOption(this.#native, this.#fd, IPPROTO_IPV6, IPV6_RECVERR, on);
    else setOption(this.#native, this.#fd, IPPROTO_IP, IP_RECVERR, on);
  }

  #read(length: number, take: (error: TooLarge) => void): void {
    const { u32, octets } = this.#control;
    const end = Math.min(this.#message.u32[MESSAGE.controlLength >> 2]!, CONTROL);
    for (let at = 0; at + CONTROL_DATA + EXTENDED_ERROR <= end; ) {
      const size = u32[at >> 2]!;
      if (size < CONTROL_DATA) return;
      const kind = (u32[(at + 8) >> 2]! << 8) | u32[(at + 12) >> 2]!;
      const error = at + CONTROL_DATA;
      if ((kind === IPV4_ERROR || kind === IPV6_ERROR) && u32[error >> 2] === EMSGSIZE && u32[(error + 8) >> 2]! > 0) {
        const fromNetwork = octets[error + 4] !== ORIGIN_LOCAL;
        const v6 = this.#name.u16[0] === AF_INET6;
        take({
          ip: this.#texts.text(this.#name, v6 ? 8 : 4, v6 ? 16 : 4),
          mtu: u32[(error + 8) >> 2]!,
          quoted: fromNetwork ? this.#quoted.octets.subarray(0, length) : undefined,
        });
      }
      at += (size + 7) & ~7;
    }
  }
}

function setOption(native: Native, fd: number, level: number, option: number, value: number): void {
  const place = native.allocate(8);
  place.u32[0] = value;
  native.libc.setsockopt(fd, level, option, place.address, 4);
}

function getOption(native: Native, fd: number, level: number, option: number): number | undefined {
  const place = native.allocate(8);
  place.u32[1] = 4;
  return native.libc.getsockopt(fd, level, option, place.address, place.address + 4) === 0 ? place.u32[0] : undefined;
}

interface Connect {
  connect(fd: number, address: number, length: number): number;
}

const CONNECT: { readonly [Name in keyof Connect]: string } = {
  connect: 'int connect(int fd, uintptr_t address, uint32_t length)',
};

/** One error with the address of who told it, and whatever else the socket was asked to tell. */
const CONTROL = 256;
/** struct sock_extended_err: errno, origin, type, code, a gap, info, data. */
const EXTENDED_ERROR = 16;
const LARGEST_QUOTE = 64;
const MOST_AT_ONCE = 16;
const EMSGSIZE = 90;
const ORIGIN_LOCAL = 1;
// asm-generic/socket.h, linux/in.h, linux/in6.h, linux/socket.h
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2_000_000;
const MSG_ERRQUEUE = 0x2000;
const SOL_SOCKET = 1;
const SO_MARK = 36;
const IPPROTO_IP = 0;
const IP_RECVERR = 11;
const IP_MTU = 14;
const IPPROTO_IPV6 = 41;
const IPV6_MTU = 24;
const IPV6_RECVERR = 25;
/** Level and type of a cmsg in one number. */
const IPV4_ERROR = IP_RECVERR;
const IPV6_ERROR = (IPPROTO_IPV6 << 8) | IPV6_RECVERR;
