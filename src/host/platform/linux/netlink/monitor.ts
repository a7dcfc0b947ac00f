import { TunnelwrightError } from '../../../../core/bytes/index.ts';
import { ERRNO } from '../ffi.ts';
import { type NetlinkMessage, parseMessages } from './codec.ts';
import { kernelRefused } from './errors.ts';
import { HostWriter } from './host-order.ts';
import { type Libc, loadLibc } from './libc.ts';
import { Readiness } from './readiness.ts';
import { type NetlinkOptions, type NetlinkProtocol, openNetlink, receiveFromKernel, SOL_NETLINK } from './socket.ts';

export interface MonitorHandlers {
  /** The body is a view that is overwritten when this returns, since it may hold keys. */
  readonly onMessage: (message: NetlinkMessage) => void;
  /** Something happened that was not told: there was more than the buffer holds. The tables have to be read anew. */
  readonly onLost: () => void;
}

/** What the kernel tells of by itself, to those who joined its multicast groups. It keeps the process alive until it is closed. */
export class NetlinkMonitor {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #handlers: MonitorHandlers;
  readonly #readiness: Readiness;
  readonly #buffer = new Uint8Array(RECEIVE_BUFFER);
  #open = true;

  private constructor(libc: Libc, fd: number, handlers: MonitorHandlers) {
    this.#libc = libc;
    this.#fd = fd;
    this.#handlers = handlers;
    this.#readiness = Readiness.of(libc);
    this.#readiness.add(fd, () => this.#read());
  }

  /** @throws DataPlaneError as `NetlinkSocket.open` does */
  static async open(
    protocol: NetlinkProtocol,
    groups: readonly number[],
    handlers: MonitorHandlers,
    options: NetlinkOptions = {},
  ): Promise<NetlinkMonitor> {
    const libc = await loadLibc();
    const fd = openNetlink(libc, protocol, options);
    const size = new HostWriter(4).u32(SOCKET_BUFFER).written();
    // the first needs CAP_NET_ADMIN, the second gives what the limits allow
    if (libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, 4) < 0) libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, size, 4);
    for (const group of groups) {
      if (libc.setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, new HostWriter(4).u32(group).written(), 4) < 0) {
        const errno = libc.errno();
        libc.close(fd);
        throw kernelRefused(`listen to group ${group} of netlink ${protocol}`, { errno, text: undefined });
      }
    }
    return new NetlinkMonitor(libc, fd, handlers);
  }

  /** Resolves when nothing comes any more and the descriptor is free. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#readiness.remove(this.#fd);
    this.#libc.close(this.#fd);
  }

  /** All that waits, up to a bound, so that others have their turn. */
  #read(): void {
    for (let i = 0; i < DATAGRAMS_PER_TURN && this.#open; i++) {
      const datagram = receiveFromKernel(this.#libc, this.#fd, this.#buffer);
      if (datagram instanceof Uint8Array) this.#deliver(datagram);
      else if (datagram === ERRNO.EAGAIN || datagram === ERRNO.EINTR) return;
      else this.#handlers.onLost();
    }
  }

  #deliver(datagram: Uint8Array): void {
    try {
      for (const message of parseMessages(datagram)) this.#handlers.onMessage(message);
    } catch (error) {
      if (!(error instanceof TunnelwrightError)) throw error;
      this.#handlers.onLost();
    } finally {
      datagram.fill(0);
    }
  }
}

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const NETLINK_ADD_MEMBERSHIP = 1;
/** Octets that may wait in the kernel: some thousand events. */
const SOCKET_BUFFER = 4 * 1024 * 1024;
const RECEIVE_BUFFER = 64 * 1024;
const DATAGRAMS_PER_TURN = 64;
