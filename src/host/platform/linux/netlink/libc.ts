import { DataPlaneError } from '../../../../core/bytes/index.ts';
import { loadNative, type Native, nativeLack } from '../ffi.ts';
import { Wakeup } from '../poll.ts';

/** The few functions of libc that netlink needs, with buffers as they are: each is used for this one call. -1 is failure, `errno` its reason. */
export interface Libc extends Functions {
  /** Waits outside of this thread; `fds` has to live until then. */
  pollAside(fds: Uint8Array, count: number, milliseconds: number): Promise<number>;
  /** What another thread can wait on together with its sockets. */
  wakeup(): Wakeup;
  /** Of the call straight before. */
  errno(): number;
}

interface Functions {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  setsockopt(fd: number, level: number, option: number, value: Uint8Array, length: number): number;
  sendto(fd: number, data: Uint8Array, length: number, flags: number, to: Uint8Array, toLength: number): number;
  recvfrom(fd: number, data: Uint8Array, length: number, flags: number, from: Uint8Array, fromLength: Uint8Array): number;
  poll(fds: Uint8Array, count: number, milliseconds: number): number;
  open(path: string, flags: number): number;
  setns(fd: number, kind: number): number;
  close(fd: number): number;
}

/** @throws DataPlaneError `NETLINK_UNAVAILABLE` where native calls cannot be made */
export async function loadLibc(): Promise<Libc> {
  const native = await loadNative();
  if (native === undefined)
    throw new DataPlaneError('netlink needs native calls, which this process cannot make', {
      code: 'NETLINK_UNAVAILABLE',
      hint: (await nativeLack()) ?? 'Choose a data plane of user space.',
    });
  loaded ??= bindAll(native);
  return loaded;
}

let loaded: Libc | undefined;

function bindAll(native: Native): Libc {
  const functions = native.functions<Functions>({
    socket: 'int socket(int domain, int type, int protocol)',
    bind: 'int bind(int fd, void *address, uint32_t length)',
    setsockopt: 'int setsockopt(int fd, int level, int option, void *value, uint32_t length)',
    sendto: 'int64_t sendto(int fd, void *data, size_t length, int flags, void *to, uint32_t toLength)',
    recvfrom: 'int64_t recvfrom(int fd, void *data, size_t length, int flags, void *from, void *fromLength)',
    poll: 'int poll(void *fds, unsigned long count, int timeout)',
    open: 'int open(const char *path, int flags)',
    setns: 'int setns(int fd, int kind)',
    close: 'int close(int fd)',
  });
  return {
    ...functions,
    pollAside: (fds, count, milliseconds) => native.callAside(functions.poll, fds, count, milliseconds),
    wakeup: () => Wakeup.open(native),
    errno: () => native.errno(),
  };
}
