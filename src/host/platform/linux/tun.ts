import { ApiMisuse } from '../../../core/bytes/index.ts';
import { ERRNO, type KnownFailure, type Native, type NativeBuffer, systemError } from './ffi.ts';
import { AF_INET } from './socket-address.ts';

export interface TunOptions {
  /** Up to 15 octets; `%d` in it is the first number that is free. `tun%d` unless given. */
  readonly name?: string;
  readonly mtu?: number;
  /** Brings it up at once, before it has addresses or routes. */
  readonly up?: boolean;
  /** Packets that wait to be read; the kernel's 500 unless given. */
  readonly queueLength?: number;
  /**
   * Octets of the virtio header before every packet, with which the kernel leaves checksums and segmentation to the reader, and takes packets
   * that are yet to be cut; 0 for neither.
   */
  readonly header?: 0 | 10 | 12;
}

/** What another thread needs to know to use the same device. */
export interface TunState {
  readonly fd: number;
  readonly name: string;
  readonly header: 0 | 10 | 12;
  readonly offloads: TunOffloads;
}

/** What comes in may be left undone; what is written may always be, with a header. */
export interface TunOffloads {
  /** Checksums. */
  readonly checksum: boolean;
  /** TCP over either IP in super-packets. */
  readonly tcp: boolean;
  /** UDP over either IP in super-packets (Linux 6.2). */
  readonly udp: boolean;
}

/** Why the kernel did not take a packet. */
export type TunRefusal =
  /** The device has not been brought up. */
  | 'down'
  /** No IP packet, or its header does not fit it. */
  | 'invalid'
  | 'full'
  /** The device is not there any more. */
  | 'gone'
  | 'failed';

/** A TUN device: the kernel's packets, read and written one at a time, each of up to 64 KiB with `header`. Nothing in a packet makes it throw. */
export class Tun {
  readonly state: TunState;
  /** Of the last `read` or `write`. */
  refusal: TunRefusal | undefined;
  readonly #native: Native;

  /**
   * In the network namespace of this thread. The device goes with the last descriptor of it.
   * @throws DataPlaneError `TUN_MISSING`, `NOT_PERMITTED`, `TUN_BUSY`, `TUN_REFUSED` or `SYSTEM_CALL_FAILED`
   */
  static open(native: Native, options: TunOptions = {}): Tun {
    const { name = 'tun%d', header = 0 } = options;
    if (!/^[\x21-\x2e\x30-\x7e]{1,15}$/.test(name))
      throw new ApiMisuse(`not the name of a network device: ${name.slice(0, 64)}`, { code: 'TUN_NAME' });
    const { libc } = native;
    const fd = libc.open('/dev/net/tun', O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0) throw systemError('opening /dev/net/tun', native.errno(), OPEN_FAILURES);
    try {
      const given = attach(native, fd, name, header > 0);
      if (header > 0) setHeader(native, fd, header);
      const offloads = header > 0 ? askForOffloads(native, fd) : NONE;
      configure(native, given, options);
      return new Tun(native, { fd, name: given, header, offloads });
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /** Over a device that is open already. */
  static adopt(native: Native, state: TunState): Tun {
    return new Tun(native, state);
  }

  private constructor(native: Native, state: TunState) {
    this.#native = native;
    this.state = state;
  }

  /**
   * The next packet, behind its header where there is one.
   * @param length room, of which a super-packet takes up to 65,535 octets and the header
   * @returns octets; 0 when nothing waits; -1 when `refusal` says why nothing ever will
   */
  read(buffer: NativeBuffer, offset: number, length: number): number {
    requireWithin(buffer, offset, length);
    const octets = this.#native.libc.read(this.state.fd, buffer.address + offset, length);
    if (octets >= 0) return octets;
    const errno = this.#native.errno();
    if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return 0;
    this.refusal = refusalOf(errno);
    return -1;
  }

  /** Hands a packet to the kernel, its header first where there is one. @returns false when it did not take it: `refusal` says why */
  write(buffer: NativeBuffer, offset: number, length: number): boolean {
    requireWithin(buffer, offset, length);
    const taken = this.#native.libc.write(this.state.fd, buffer.address + offset, length) >= 0;
    this.refusal = taken ? undefined : refusalOf(this.#native.errno());
    return taken;
  }

  close(): void {
    this.#native.libc.close(this.state.fd);
  }
}

/** Whether this kernel's TUN knows the virtio header at all; undefined where it cannot be asked. Makes no device. */
export function tunKnowsHeader(native: Native): boolean | undefined {
  const { libc } = native;
  const fd = libc.open('/dev/net/tun', O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return undefined;
  const features = native.allocate(8);
  const asked = libc.ioctl(fd, TUNGETFEATURES, features.address) === 0;
  libc.close(fd);
  return asked ? (features.u32[0]! & IFF_VNET_HDR) !== 0 : undefined;
}

/** @returns the name that the device was given */
function attach(native: Native, fd: number, name: string, header: boolean): string {
  const request = interfaceRequest(native, name);
  request.u16[IFR_DATA >> 1] = IFF_TUN | IFF_NO_PI | (header ? IFF_VNET_HDR : 0);
  if (native.libc.ioctl(fd, TUNSETIFF, request.address) < 0)
    throw systemError(`making the device ${name} (TUNSETIFF)`, native.errno(), ATTACH_FAILURES);
  const end = request.octets.indexOf(0);
  return String.fromCharCode(...request.octets.subarray(0, end));
}

function setHeader(native: Native, fd: number, octets: number): void {
  const size = native.allocate(8);
  size.u32[0] = octets;
  if (native.libc.ioctl(fd, TUNSETVNETHDRSZ, size.address) < 0)
    throw systemError(`setting the header of a TUN device to ${octets} octets (TUNSETVNETHDRSZ)`, native.errno());
}

/** All that is spoken here, or as much of it as this kernel has. */
function askForOffloads(native: Native, fd: number): TunOffloads {
  const takes = (flags: number): boolean => native.libc.ioctl(fd, TUNSETOFFLOAD, flags) === 0;
  const tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  if (takes(tcp | TUN_F_USO4 | TUN_F_USO6)) return { checksum: true, tcp: true, udp: true };
  if (takes(tcp)) return { checksum: true, tcp: true, udp: false };
  return { ...NONE, checksum: takes(TUN_F_CSUM) };
}

/** By ioctl, which goes by name and so must come before anybody could rename the device. */
function configure(native: Native, name: string, { mtu, queueLength, up }: TunOptions): void {
  if (mtu === undefined && queueLength === undefined && !up) return;
  const { libc } = native;
  const socket = libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) throw systemError('opening a socket to set up a device by', native.errno());
  const ask = (request: number, what: string, fill: (data: NativeBuffer) => void): void => {
    const data = interfaceRequest(native, name);
    fill(data);
    if (libc.ioctl(socket, request, data.address) < 0) throw systemError(`${what} of ${name}`, native.errno());
  };
  try {
    if (mtu !== undefined)
      ask(SIOCSIFMTU, `setting the MTU to ${mtu}`, ({ u32 }) => {
        u32[IFR_DATA >> 2] = mtu;
      });
    if (queueLength !== undefined)
      ask(SIOCSIFTXQLEN, `setting the queue to ${queueLength} packets`, ({ u32 }) => {
        u32[IFR_DATA >> 2] = queueLength;
      });
    if (up)
      ask(SIOCSIFFLAGS, 'bringing up', ({ u16 }) => {
        u16[IFR_DATA >> 1] = IFF_UP | IFF_RUNNING;
      });
  } finally {
    libc.close(socket);
  }
}

function interfaceRequest(native: Native, name: string): NativeBuffer {
  const request = native.allocate(IFREQ);
  request.writeText(0, name);
  return request;
}

function refusalOf(errno: number): TunRefusal {
  switch (errno) {
    case ERRNO.EIO:
      return 'down';
    case ERRNO.EINVAL:
      return 'invalid';
    case ERRNO.EAGAIN:
    case ERRNO.ENOBUFS:
    case ERRNO.ENOMEM:
      return 'full';
    case ERRNO.EBADF:
    case EBADFD:
      return 'gone';
    default:
      return 'failed';
  }
}

function requireWithin(buffer: NativeBuffer, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= buffer.octets.length) return;
  throw new ApiMisuse(`${length} octets from ${offset} on do not lie in a buffer of ${buffer.octets.length}`, { code: 'BUFFER_TOO_SHORT' });
}

const NONE: TunOffloads = { checksum: false, tcp: false, udp: false };

const NO_DEVICE: KnownFailure = {
  code: 'TUN_MISSING',
  why: 'this kernel has no TUN devices, or this container has not been given them',
  hint: 'Load the module (`modprobe tun`), or give the container /dev/net/tun; the netstack backend needs none.',
};
const OPEN_FAILURES: Readonly<Record<string, KnownFailure | undefined>> = { ENOENT: NO_DEVICE, ENODEV: NO_DEVICE, ENXIO: NO_DEVICE };
const ATTACH_FAILURES: Readonly<Record<string, KnownFailure | undefined>> = {
  EBUSY: {
    code: 'TUN_BUSY',
    why: 'another program has a device of that name open',
    hint: 'Choose another name; `ip -details link show type tun` lists the devices there are.',
  },
  EINVAL: {
    code: 'TUN_REFUSED',
    why: 'there is a device of that name and of another kind, or the name is not allowed',
    hint: 'Choose another name; `ip link show` lists the devices there are.',
  },
};

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2_000_000;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2_000_000;
/** Of Linux alone, so that Node has no name for it. */
const EBADFD = 77;

// linux/if_tun.h
const IFF_TUN = 0x1;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUNSETIFF = 0x4004_54ca;
const TUNGETFEATURES = 0x8004_54cf;
const TUNSETOFFLOAD = 0x4004_54d0;
const TUNSETVNETHDRSZ = 0x4004_54d8;
const TUN_F_CSUM = 0x1;
const TUN_F_TSO4 = 0x2;
const TUN_F_TSO6 = 0x4;
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;

// linux/if.h, linux/sockios.h: struct ifreq is a name of 16 octets and a union behind it.
const IFREQ = 40;
const IFR_DATA = 16;
const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;
const SIOCSIFFLAGS = 0x8914;
const SIOCSIFMTU = 0x8922;
const SIOCSIFTXQLEN = 0x8943;
