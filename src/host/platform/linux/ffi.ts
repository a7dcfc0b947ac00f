import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { DataPlaneError, InternalError } from '../../../core/bytes/index.ts';
import { openPacketMemory, type PacketArithmetic, type PacketBuffer, type PacketMemory } from '../../../core/packet/offload/index.ts';

/**
 * The C library and whatever else this process exports, called from here: everything that Node itself has no call for. It is there on 64-bit
 * Linux with koffi, an optional package; where it is not, `nativeLack` says why, and what needs it stays closed.
 *
 * Pointers are numbers, from `NativeBuffer.address` and `addressOf`. Nothing checks them: whoever passes one has checked that what is read
 * or written there lies in a buffer that is still referenced.
 */
export interface Native {
  readonly libc: Libc;
  /**
   * Binds functions to their C prototypes. Types: `int`, `unsigned long`, `size_t`, `int64_t`, `uint32_t`, `void`, `uintptr_t` for every
   * pointer, `const char*` for a text. A function that blocks is called by `callAside`.
   * @throws InternalError `NO_NATIVE_FUNCTION` when this process has none of that name
   */
  functions<T extends object>(prototypes: { readonly [Name in keyof T]: string }): T;
  /** Binds the function at an address to its C prototype, which has no name: `int (uintptr_t at)`. */
  functionAt<F extends (...args: never[]) => unknown>(address: number, prototype: string): F;
  /** Calls a function outside of this thread, so that it may block; arguments must stay valid until it is done. */
  callAside<Args extends readonly unknown[]>(what: (...args: Args) => number, ...args: Args): Promise<number>;
  /** Zeroed, and at the same address for as long as it lives. */
  allocate(length: number): NativeBuffer;
  /** Of the last call that failed, straight behind it. */
  errno(): number;
}

/** What more than one file needs of libc; those that fail return -1. */
export interface Libc {
  open(path: string, flags: number, mode: number): number;
  close(fd: number): number;
  dup(fd: number): number;
  read(fd: number, at: number, length: number): number;
  write(fd: number, at: number, length: number): number;
  /** The third argument is a pointer or a value, as the request has it. */
  ioctl(fd: number, request: number, argument: number): number;
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: number, length: number): number;
  getsockname(fd: number, address: number, lengthAt: number): number;
  setsockopt(fd: number, level: number, option: number, at: number, length: number): number;
  getsockopt(fd: number, level: number, option: number, at: number, lengthAt: number): number;
  sendmsg(fd: number, message: number, flags: number): number;
  recvmsg(fd: number, message: number, flags: number): number;
  poll(fds: number, count: number, timeout: number): number;
}

/**
 * Octets that native code may be told the address of, and that `core/packet/offload` works on. Keep it referenced for as long as the
 * address is in use; never transfer it to a thread.
 */
export class NativeBuffer implements PacketBuffer {
  readonly address: number;
  readonly octets: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly memory: ArrayBuffer;
  readonly whole: Uint8Array<ArrayBuffer>;
  readonly offset: number;
  /** The same octets, and up to seven behind them, as words in the order of this machine. */
  readonly u32: Uint32Array<ArrayBuffer>;
  readonly u16: Uint16Array<ArrayBuffer>;

  readonly arithmetic: PacketArithmetic | undefined;

  /** Buffers of one memory: packets are moved between them without making an object. */
  static together(...lengths: readonly number[]): NativeBuffer[] {
    const memory = new NativeMemory(NativeMemory.octets(...lengths));
    return lengths.map((length) => memory.take(length));
  }

  /** @param offset in `memory`, a multiple of 8 */
  constructor(length: number, memory = new ArrayBuffer(inWords(length)), offset = 0, arithmetic?: PacketArithmetic) {
    this.octets = new Uint8Array(memory, offset, length);
    this.view = new DataView(memory, offset, length);
    this.memory = memory;
    this.whole = new Uint8Array(memory);
    this.offset = offset;
    this.arithmetic = arithmetic;
    this.u32 = new Uint32Array(memory, offset, inWords(length) >> 2);
    this.u16 = new Uint16Array(memory, offset, inWords(length) >> 1);
    this.address = addressOf(this.octets);
  }

  /** Part of the same memory, for buffers that packets go between. @param offset a multiple of 8 */
  part(offset: number, length: number): NativeBuffer {
    return new NativeBuffer(length, this.memory, this.offset + offset, this.arithmetic);
  }

  /** Writes a pointer or a `size_t`. @param at offset, a multiple of 4 */
  writeWord(at: number, value: number): void {
    // Storing takes the lower 32 bits of a number.
    this.u32[at >> 2] = value;
    this.u32[(at >> 2) + 1] = value / 2 ** 32;
  }

  /** Writes a text of ASCII and the zero behind it. @returns its address */
  writeText(at: number, text: string): number {
    for (let i = 0; i < text.length; i++) this.octets[at + i] = text.charCodeAt(i);
    this.octets[at + text.length] = 0;
    return this.address + at;
  }
}

/** One memory, handed out in parts: packets go between them at the speed that `core/packet/offload` has for it. */
export class NativeMemory {
  readonly #memory: PacketMemory;
  #taken = 0;

  /** How many octets buffers of these lengths take. */
  static octets(...lengths: readonly number[]): number {
    return lengths.reduce((sum, length) => sum + inWords(length), 0);
  }

  constructor(octets: number) {
    this.#memory = openPacketMemory(octets);
  }

  /** The next part. It is never given back. */
  take(length: number): NativeBuffer {
    const { buffer, arithmetic } = this.#memory;
    const offset = this.#taken;
    if (offset + inWords(length) > buffer.byteLength)
      throw new InternalError(`a memory of ${buffer.byteLength} octets has none left for ${length}`, { code: 'MEMORY_TAKEN' });
    this.#taken += inWords(length);
    return new NativeBuffer(length, buffer, offset, arithmetic);
  }
}

const inWords = (length: number): number => (length + 7) & ~7;

/** Undefined where there is none: `nativeLack` says why. Each thread loads it for itself. */
export async function loadNative(): Promise<Native | undefined> {
  const found = await loadOnce();
  return typeof found === 'string' ? undefined : found;
}

/** @throws DataPlaneError `FFI_MISSING` with the reason where there is none */
export async function needNative(backend: string): Promise<Native> {
  const native = await loadNative();
  if (native !== undefined) return native;
  throw new DataPlaneError((await nativeLack()) ?? 'native calls are not there', {
    code: 'FFI_MISSING',
    backend,
    hint: 'Use --plane netstack, which needs none.',
  });
}

/** Why `loadNative` comes to nothing: a sentence for the operator, with what to do. */
export async function nativeLack(): Promise<string | undefined> {
  const found = await loadOnce();
  return typeof found === 'string' ? found : undefined;
}

/**
 * Address of the first octet of a view. Of a buffer that was not seen before it is found by a call, and remembered for as long as the
 * buffer lives.
 */
export function addressOf(view: Uint8Array): number {
  const memory = view.buffer;
  if (memory === lastMemory) return lastAddress + view.byteOffset;
  let address = ADDRESSES.get(memory);
  if (address === undefined) {
    if (locate === undefined)
      throw new InternalError('an address was asked for before native calls were loaded', { code: 'NO_NATIVE_CALLS' });
    address = locate(new Uint8Array(memory));
    ADDRESSES.set(memory, address);
  }
  lastMemory = memory;
  lastAddress = address;
  return address + view.byteOffset;
}

/** For tests: what would be found with this package on that machine. */
export async function openNative(importKoffi: () => Promise<Koffi>, platform: string, arch: string): Promise<Native | string> {
  if (platform !== 'linux') return `Native calls are for Linux; this is ${platform}.`;
  if (!ARCHITECTURES.includes(arch)) return `Native calls are made on ${ARCHITECTURES.join(', ')}; this processor is ${arch}.`;
  let koffi: Koffi;
  try {
    koffi = await importKoffi();
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
    return `The optional package koffi cannot be loaded (${why}). Install Tunnelwright without --omit=optional, or \`npm install koffi\`.`;
  }
  return bind(koffi);
}

/** The part of koffi that is used. */
export interface Koffi {
  load(path: null): { func(prototype: string): (...args: never[]) => unknown };
  errno(): number;
  proto(prototype: string): unknown;
  decode(address: number, type: unknown): unknown;
}

function bind(koffi: Koffi): Native {
  const self = koffi.load(null);
  // each binding takes memory of its own, and some are asked for with every SA
  const known = new WeakMap<object, object>();
  const functions = <T extends object>(prototypes: { readonly [Name in keyof T]: string }): T => {
    const found = known.get(prototypes);
    if (found !== undefined) return found as T;
    const bound: Record<string, unknown> = {};
    for (const [name, prototype] of Object.entries(prototypes)) {
      try {
        bound[name] = self.func(prototype as string);
      } catch (error) {
        throw new InternalError(`this process has no function «${prototype as string}»`, { code: 'NO_NATIVE_FUNCTION', cause: error });
      }
    }
    known.set(prototypes, bound);
    return bound as T;
  };
  const { memcpy } = functions<{ memcpy(to: Uint8Array, from: Uint8Array, length: 0): number }>({
    memcpy: 'uintptr_t memcpy(void *to, void *from, size_t length)',
  });
  // Copies nothing; what it returns is where the buffer is.
  locate = (view) => memcpy(view, view, 0);
  return {
    libc: functions<Libc>(LIBC),
    functions,
    functionAt: (address, prototype) => koffi.decode(address, koffi.proto(prototype)) as never,
    callAside: (what, ...args) =>
      new Promise((resolve, reject) => {
        const done = (error: Error | null, result: number): void => (error === null ? resolve(result) : reject(error));
        (what as unknown as { async(...args: unknown[]): void }).async(...args, done);
      }),
    allocate: (length) => new NativeBuffer(length),
    errno: () => koffi.errno(),
  };
}

/** What a failed call comes to in this place. */
export interface KnownFailure {
  readonly code: string;
  /** Goes on from «… failed: ». */
  readonly why: string;
  readonly hint: string;
  readonly privilege?: string;
}

/**
 * The error for a failed call.
 * @param what what could not be done, to go on with «: why»; names the call
 * @param known what particular errors mean here; others are told in the words of the system
 */
export function systemError(what: string, errno: number, known: Readonly<Record<string, KnownFailure | undefined>> = {}): DataPlaneError {
  const name = errnoName(errno);
  const failure = known[name] ?? COMMON_FAILURES[name];
  return new DataPlaneError(`${what}: ${failure?.why ?? getSystemErrorMap().get(-errno)?.[1] ?? 'the system refused'} (${name})`, {
    code: failure?.code ?? 'SYSTEM_CALL_FAILED',
    errno: name,
    ...(failure === undefined ? {} : { hint: failure.hint }),
    ...(failure?.privilege === undefined ? {} : { privilege: failure.privilege }),
  });
}

/** `EPERM` for 1, and so on; `errno 4711` for what has no name. */
export const errnoName = (errno: number): string => ERRNO_NAMES.get(errno) ?? `errno ${errno}`;

/** Numbers of errors on this system, by name. */
export const ERRNO = constants.errno;

const ERRNO_NAMES = new Map(
  // Where two names share a number, EAGAIN and EWOULDBLOCK, the first is meant; of EOPNOTSUPP the one that the kernel has.
  Object.entries(constants.errno)
    .filter(([name]) => name !== 'ENOTSUP')
    .reverse()
    .map(([name, value]) => [value, name]),
);

const loadOnce = (): Promise<Native | string> => {
  loaded ??= openNative(async () => (await import('koffi')) as unknown as Koffi, process.platform, process.arch);
  return loaded;
};
let loaded: Promise<Native | string> | undefined;

let locate: ((view: Uint8Array) => number) | undefined;
const ADDRESSES = new WeakMap<ArrayBufferLike, number>();
/** Packets of one batch stand in one buffer: the one asked for last is the one asked for next. Until then it cannot be collected either. */
let lastMemory: ArrayBufferLike | undefined;
let lastAddress = 0;

/** Little-endian and of 64 bits, with the same layouts and numbers of `ioctl` and socket options. */
const ARCHITECTURES = ['x64', 'arm64', 'riscv64', 'loong64'];

const LIBC: { readonly [Name in keyof Libc]: string } = {
  open: 'int open(const char *path, int flags, int mode)',
  close: 'int close(int fd)',
  dup: 'int dup(int fd)',
  read: 'int64_t read(int fd, uintptr_t at, size_t length)',
  write: 'int64_t write(int fd, uintptr_t at, size_t length)',
  ioctl: 'int ioctl(int fd, unsigned long request, uintptr_t argument)',
  socket: 'int socket(int domain, int type, int protocol)',
  bind: 'int bind(int fd, uintptr_t address, uint32_t length)',
  getsockname: 'int getsockname(int fd, uintptr_t address, uintptr_t lengthAt)',
  setsockopt: 'int setsockopt(int fd, int level, int option, uintptr_t at, uint32_t length)',
  getsockopt: 'int getsockopt(int fd, int level, int option, uintptr_t at, uintptr_t lengthAt)',
  sendmsg: 'int64_t sendmsg(int fd, uintptr_t message, int flags)',
  recvmsg: 'int64_t recvmsg(int fd, uintptr_t message, int flags)',
  poll: 'int poll(uintptr_t fds, unsigned long count, int timeout)',
};

const COMMON_FAILURES: Readonly<Record<string, KnownFailure | undefined>> = {
  EPERM: {
    code: 'NOT_PERMITTED',
    why: 'this process lacks a privilege (CAP_NET_ADMIN)',
    hint: 'Run as root, grant the capability (systemd: AmbientCapabilities=CAP_NET_ADMIN), or use the netstack backend, which needs none.',
    privilege: 'CAP_NET_ADMIN',
  },
  EACCES: {
    code: 'NOT_PERMITTED',
    why: 'this user may not open it',
    hint: 'Run as root, or give this user access; the netstack backend needs none.',
  },
  EMFILE: {
    code: 'TOO_MANY_FILES',
    why: 'this process has as many files open as it may',
    hint: 'Raise its limit (systemd: LimitNOFILE=, shell: ulimit -n).',
  },
  ENFILE: { code: 'TOO_MANY_FILES', why: 'the machine has as many files open as it may', hint: 'Raise fs.file-max by sysctl.' },
  ENOMEM: { code: 'OUT_OF_MEMORY', why: 'the kernel has no memory left for it', hint: 'Free memory, or raise the limit of this service.' },
};
