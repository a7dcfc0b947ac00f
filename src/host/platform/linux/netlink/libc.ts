import { DataPlaneError } from '../../../../core/bytes/index.ts';

/** The few functions of libc that netlink needs. All take descriptors and buffers as they are; -1 is failure, `errno` its reason. */
export interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  setsockopt(fd: number, level: number, option: number, value: Uint8Array, length: number): number;
  sendto(fd: number, data: Uint8Array, length: number, flags: number, to: Uint8Array, toLength: number): number;
  recvfrom(fd: number, data: Uint8Array, length: number, flags: number, from: Uint8Array, fromLength: Uint8Array): number;
  /** Waits in this thread. */
  poll(fds: Uint8Array, count: number, milliseconds: number): number;
  /** Waits in a thread of libuv's pool; `fds` has to live until then. */
  pollAsync(fds: Uint8Array, count: number, milliseconds: number): Promise<number>;
  eventfd(initial: number, flags: number): number;
  write(fd: number, data: Uint8Array, length: number): number;
  read(fd: number, data: Uint8Array, length: number): number;
  open(path: string, flags: number): number;
  setns(fd: number, kind: number): number;
  close(fd: number): number;
  /** Of the last call, as long as nothing else was called. */
  errno(): number;
}

/** @throws DataPlaneError `FFI_MISSING` where koffi is not installed or has nothing for this machine */
export function loadLibc(): Promise<Libc> {
  loaded ??= load();
  return loaded;
}

let loaded: Promise<Libc> | undefined;

async function load(): Promise<Libc> {
  const koffi = await import('koffi').catch((error: unknown) => {
    loaded = undefined;
    throw new DataPlaneError('netlink needs the package koffi, which could not be loaded', {
      code: 'FFI_MISSING',
      cause: error,
      hint: 'Install it with `npm install koffi`: it is an optional dependency, without which packets pass inside of this process alone.',
    });
  });
  // libc is part of this process already, whichever it is
  const libc = koffi.load(null);
  const poll = libc.func('int poll(void *fds, unsigned long count, int timeout)');
  return {
    socket: libc.func('int socket(int domain, int type, int protocol)'),
    bind: libc.func('int bind(int fd, void *address, uint32_t length)'),
    setsockopt: libc.func('int setsockopt(int fd, int level, int option, void *value, uint32_t length)'),
    sendto: libc.func('intptr_t sendto(int fd, void *data, size_t length, int flags, void *to, uint32_t toLength)'),
    recvfrom: libc.func('intptr_t recvfrom(int fd, void *data, size_t length, int flags, void *from, void *fromLength)'),
    poll,
    pollAsync: (fds, count, milliseconds) =>
      new Promise((resolve, reject) => {
        poll.async(fds, count, milliseconds, (error: unknown, ready: number) => (error ? reject(error) : resolve(ready)));
      }),
    eventfd: libc.func('int eventfd(uint32_t initial, int flags)'),
    write: libc.func('intptr_t write(int fd, void *data, size_t length)'),
    read: libc.func('intptr_t read(int fd, void *data, size_t length)'),
    open: libc.func('int open(const char *path, int flags)'),
    setns: libc.func('int setns(int fd, int kind)'),
    close: libc.func('int close(int fd)'),
    errno: () => koffi.errno(),
  };
}
