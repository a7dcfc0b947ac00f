import { DataPlaneError } from '../../../../core/bytes/index.ts';
import { ERRNO } from '../ffi.ts';
import { type MessageWriter, type NetlinkMessage, NLM_F, NLMSG, parseMessages, parseOutcome } from './codec.ts';
import { kernelRefused, type Refusals } from './errors.ts';
import { HostReader, HostWriter } from './host-order.ts';
import { type Libc, loadLibc } from './libc.ts';
import { within } from './within.ts';

/** `route`: links, addresses, routes and rules. `xfrm`: SAs and policies. */
export type NetlinkProtocol = 'route' | 'xfrm';

export interface NetlinkOptions {
  /** Path of the network namespace to work in; that of this thread unless given. */
  readonly namespace?: string | undefined;
  /** Its port, which no other netlink socket of this protocol in the namespace can have; one that the kernel chooses unless given. */
  readonly port?: number | undefined;
}

/** What was asked, for the text of its failure. */
export interface Attempt {
  /** To be read behind "cannot": `add the route 10.0.0.0/8`. Never with a key in it. */
  readonly attempt: string;
  /** What an errno means for this request, where that is not what it means in general. */
  readonly refusals?: Refusals;
}

/**
 * A netlink socket for requests. The kernel answers them at once, so they are calls like others: they return or throw, in this thread.
 * Whatever was sent or received is overwritten afterwards, since SAs carry their keys.
 */
export class NetlinkSocket {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #buffer = new Uint8Array(RECEIVE_BUFFER);
  #sequence = 0;
  #open = true;

  /** @param fd of `openNetlink`; `NetlinkSocket.open` does both */
  constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
  }

  /** @throws DataPlaneError `NETLINK_UNAVAILABLE`, `KERNEL_LACKS_XFRM`, `NOT_PERMITTED` or `KERNEL_REFUSED` */
  static async open(protocol: NetlinkProtocol, options: NetlinkOptions = {}): Promise<NetlinkSocket> {
    const libc = await loadLibc();
    return new NetlinkSocket(libc, openNetlink(libc, protocol, options));
  }

  /**
   * Sends one request, waits for its ACK and gives what the kernel answered before it. The request is wiped.
   * @returns messages whose bodies are the caller's own
   * @throws DataPlaneError what the kernel said, by `attempt.refusals` and `errors.ts`; `NETLINK_TIMEOUT`, `NETLINK_CLOSED`
   */
  request(request: MessageWriter, attempt: Attempt): NetlinkMessage[] {
    try {
      return this.#exchange(request, NLM_F.ACK, attempt).messages;
    } finally {
      request.wipe();
    }
  }

  /** All entries of a table. One that changed meanwhile is read again. */
  dump(request: MessageWriter, attempt: Attempt): NetlinkMessage[] {
    try {
      for (let round = 1; ; round++) {
        const { messages, interrupted } = this.#exchange(request, NLM_F.DUMP, attempt);
        // a table that never stands still is given as it was last seen
        if (!interrupted || round === DUMP_ROUNDS) return messages;
        wipe(messages);
      }
    } finally {
      request.wipe();
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#libc.close(this.#fd);
  }

  #exchange(
    request: MessageWriter,
    flags: number,
    attempt: Attempt,
  ): { readonly messages: NetlinkMessage[]; readonly interrupted: boolean } {
    if (!this.#open)
      throw new DataPlaneError(`cannot ${attempt.attempt}: the netlink socket was closed`, {
        code: 'NETLINK_CLOSED',
        hint: 'The data plane is being shut down; nothing has to be done.',
      });
    this.#sequence = (this.#sequence % 0xffff_fffe) + 1;
    this.#send(request.finish(this.#sequence, flags), attempt);
    const messages: NetlinkMessage[] = [];
    let interrupted = false;
    try {
      for (;;) {
        for (const message of this.#receive(attempt)) {
          // an answer to what was given up is late, and of no use
          if (message.sequence !== this.#sequence || message.type === NLMSG.NOOP) continue;
          interrupted ||= (message.flags & NLM_F.DUMP_INTR) !== 0;
          if (message.type !== NLMSG.ERROR && message.type !== NLMSG.DONE) {
            messages.push({ ...message, body: message.body.slice() });
            continue;
          }
          const outcome = parseOutcome(message);
          if (outcome.errno !== 0) throw kernelRefused(attempt.attempt, outcome, attempt.refusals);
          return { messages, interrupted };
        }
      }
    } catch (error) {
      wipe(messages);
      throw error;
    } finally {
      this.#buffer.fill(0);
    }
  }

  #send(message: Uint8Array, { attempt, refusals }: Attempt): void {
    const sent = this.#libc.sendto(this.#fd, message, message.length, 0, KERNEL, KERNEL.length);
    if (sent < 0) throw kernelRefused(attempt, { errno: this.#libc.errno(), text: undefined }, refusals);
  }

  #receive({ attempt }: Attempt): NetlinkMessage[] {
    for (let round = 0; round < SIGNALS; round++) {
      const ready = this.#libc.poll(pollFd(this.#fd), 1, PATIENCE);
      if (ready === 0) break;
      if (ready < 0 && this.#libc.errno() === ERRNO.EINTR) continue;
      const received = receiveFromKernel(this.#libc, this.#fd, this.#buffer);
      if (typeof received !== 'number') return parseMessages(received);
      if (received !== ERRNO.EAGAIN && received !== ERRNO.EINTR) {
        throw kernelRefused(attempt, { errno: received, text: undefined }, LOST);
      }
    }
    throw new DataPlaneError(`cannot ${attempt}: the kernel did not answer within ${PATIENCE / 1000} s`, {
      code: 'NETLINK_TIMEOUT',
      hint: 'The machine is overloaded, or its kernel is stuck: look at `dmesg`.',
    });
  }
}

const wipe = (messages: readonly NetlinkMessage[]): void => messages.forEach(({ body }) => void body.fill(0));

/** An open, bound descriptor that is told by extended ACKs and does not see its requests repeated. */
export function openNetlink(libc: Libc, protocol: NetlinkProtocol, { namespace, port = 0 }: NetlinkOptions): number {
  const open = (): number => libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, PROTOCOLS[protocol]);
  const fd = namespace === undefined ? open() : within(libc, namespace, open);
  const attempt = `open a netlink socket for ${protocol}`;
  if (fd < 0) throw kernelRefused(attempt, { errno: libc.errno(), text: undefined }, protocol === 'xfrm' ? NO_XFRM : undefined);
  const one = new HostWriter(4).u32(1).written();
  // an ACK without the request it answers: keys are not sent back
  for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK]) libc.setsockopt(fd, SOL_NETLINK, option, one, 4);
  const own = new HostWriter(12).u16(AF_NETLINK).zero(2).u32(port).zero(4).written();
  if (libc.bind(fd, own, own.length) < 0) {
    const errno = libc.errno();
    libc.close(fd);
    throw kernelRefused(attempt, { errno, text: undefined }, PORT_TAKEN);
  }
  return fd;
}

/** One datagram of the kernel, as a view of `buffer`, or the errno for which there is none. What other programs send is dropped. */
export function receiveFromKernel(libc: Libc, fd: number, buffer: Uint8Array): Uint8Array | number {
  const from = new Uint8Array(12);
  const fromLength = new HostWriter(4).u32(from.length).written();
  const length = libc.recvfrom(fd, buffer, buffer.length, MSG_TRUNC | MSG_DONTWAIT, from, fromLength);
  if (length < 0) return libc.errno();
  const sender = new HostReader(from, 'sockaddr_nl').skip(4).u32();
  if (sender !== 0) return ERRNO.EAGAIN;
  return length > buffer.length ? ERRNO.EMSGSIZE : buffer.subarray(0, length);
}

/** `struct pollfd`s that wait for something to read. */
export const pollFd = (...fds: readonly number[]): Uint8Array =>
  fds.reduce((writer, fd) => writer.u32(fd).u16(POLLIN).u16(0), new HostWriter(8 * fds.length)).written();

/** What is to be read of each, by the same order. */
export const pollReady = (fds: Uint8Array): boolean[] =>
  Array.from({ length: fds.length / 8 }, (_, i) => new HostReader(fds.subarray(8 * i + 6), 'pollfd').u16() !== 0);

const NO_XFRM: Refusals = {
  EPROTONOSUPPORT: {
    code: 'KERNEL_LACKS_XFRM',
    why: 'this kernel has no IPsec, or its module is not loaded',
    hint: 'Load it with `modprobe xfrm_user`, or choose another data plane.',
  },
};

const PORT_TAKEN: Refusals = {
  EADDRINUSE: {
    code: 'KERNEL_ENTRY_EXISTS',
    why: 'another socket has its port',
    hint: 'Another process does the same in this network namespace: end it, or work in another namespace.',
  },
};

const LOST: Refusals = {
  ENOBUFS: {
    code: 'NETLINK_OVERRUN',
    why: 'the kernel had more to say than its buffer holds',
    hint: 'Try again; the machine is short of memory or very busy.',
  },
  EMSGSIZE: {
    code: 'NETLINK_OVERRUN',
    why: 'the kernel answered more than fits into one piece',
    hint: 'This is a defect of Tunnelwright: please report it with the output of `ip -d link`.',
  },
};

const PROTOCOLS: Readonly<Record<NetlinkProtocol, number>> = { route: 0, xfrm: 6 };
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2_000_000;
const SOCK_NONBLOCK = 0o4000;
export const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const POLLIN = 1;
/** `struct sockaddr_nl` of the kernel: port 0. */
const KERNEL = new HostWriter(12).u16(AF_NETLINK).zero(10).written();
/** Octets; a dump comes in pieces of at most 32 KiB, unless one entry alone is larger. */
const RECEIVE_BUFFER = 256 * 1024;
/** Milliseconds for an answer that normally takes some microseconds. */
const PATIENCE = 5_000;
const SIGNALS = 100;
const DUMP_ROUNDS = 4;
