import { ApiMisuse } from '../../../core/bytes/index.ts';
import { ERRNO, type Native, type NativeBuffer, systemError } from './ffi.ts';

/** The few descriptors that a thread waits on, in an array that the kernel reads and writes as it is. */
export class PollSet {
  readonly #native: Native;
  readonly #entries: NativeBuffer;
  #count = 0;

  /** @param capacity how many there can be at the same time */
  constructor(native: Native, capacity = 16) {
    this.#native = native;
    this.#entries = native.allocate(capacity * POLLFD);
    for (let i = 0; i < capacity; i++) this.#entries.u32[i * 2] = NOBODY;
  }

  /** @returns the place at which `ready` tells about it */
  add(fd: number, events: number = POLL.in): number {
    const { u32, u16 } = this.#entries;
    let place = 0;
    while (place * 2 < u32.length && u32[place * 2] !== NOBODY) place++;
    if (place * 2 >= u32.length) throw new ApiMisuse(`no more than ${place} descriptors can be waited on here`);
    u32[place * 2] = fd;
    u16[place * 4 + 2] = events;
    u16[place * 4 + 3] = 0;
    this.#count = Math.max(this.#count, place + 1);
    return place;
  }

  watch(place: number, events: number): void {
    this.#entries.u16[place * 4 + 2] = events;
  }

  /** Nothing is told about this place until it is given to another one. */
  remove(place: number): void {
    this.#entries.u32[place * 2] = NOBODY;
    this.#entries.u16[place * 4 + 3] = 0;
  }

  /**
   * Blocks this thread until something is ready.
   * @param timeout milliseconds; 0 looks and goes on, -1 waits for ever
   * @returns how many are ready; 0 also when a signal came in between
   */
  wait(timeout: number): number {
    const ready = this.#native.libc.poll(this.#entries.address, this.#count, timeout);
    if (ready >= 0) return ready;
    const errno = this.#native.errno();
    for (let place = 0; place < this.#count; place++) this.#entries.u16[place * 4 + 3] = 0;
    if (errno === ERRNO.EINTR || errno === ERRNO.EAGAIN) return 0;
    throw systemError('waiting for packets with poll', errno);
  }

  /** Bits of `POLL`. An error of a socket stays until it is received from; a descriptor that was closed is `invalid`. */
  ready(place: number): number {
    return this.#entries.u16[place * 4 + 3]!;
  }
}

/** poll(2); the last three are told without being asked for. */
export const POLL = { in: 0x1, out: 0x4, error: 0x8, hangUp: 0x10, invalid: 0x20 } as const;

/** An eventfd: what one thread waits on together with its sockets, and any other thread of the process wakes it by. */
export class Wakeup {
  readonly fd: number;
  readonly #native: Native;
  readonly #eight: NativeBuffer;

  private constructor(native: Native, fd: number) {
    this.#native = native;
    this.#eight = native.allocate(8);
    this.fd = fd;
  }

  static open(native: Native): Wakeup {
    const { eventfd } = native.functions<{ eventfd(initial: number, flags: number): number }>({
      eventfd: 'int eventfd(uint32_t initial, int flags)',
    });
    const fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) throw systemError('making an eventfd', native.errno());
    return new Wakeup(native, fd);
  }

  /** The same one, for another thread; who opened it closes it. */
  static adopt(native: Native, fd: number): Wakeup {
    return new Wakeup(native, fd);
  }

  /** Whoever waits goes on, now or the next time it waits; once, however often this is called in between. */
  wake(): void {
    this.#eight.u32[0] = 1;
    this.#eight.u32[1] = 0;
    this.#native.libc.write(this.fd, this.#eight.address, 8);
  }

  /** For the one who was woken. @returns whether it was */
  clear(): boolean {
    return this.#native.libc.read(this.fd, this.#eight.address, 8) === 8;
  }

  close(): void {
    this.#native.libc.close(this.fd);
  }
}

/** struct pollfd: int fd, short events, short revents. */
const POLLFD = 8;
/** A negative descriptor, which poll passes over. */
const NOBODY = 0xffffffff;
const EFD_CLOEXEC = 0o2_000_000;
const EFD_NONBLOCK = 0o4000;
