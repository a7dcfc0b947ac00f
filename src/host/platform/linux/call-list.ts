import { InternalError } from '../../../core/bytes/index.ts';
import type { Native, NativeBuffer } from './ffi.ts';

/**
 * Native calls that are written down in memory and made one behind the other: one call from JavaScript for all of them, since each takes some
 * 50 to 100 ns to get there and back. What makes them is `LISTING`, a few dozen octets of machine code in a page of its own, which can be
 * written or run, never both (W^X). It calls nothing but what a list says, and nothing from the network gets into its page.
 *
 * A list is run until a call returns something else than it should.
 */
export class CallList {
  /** Calls that it has room for. */
  readonly length: number;
  /** All of it, in words of 32 bits: `ARGUMENT` says where arguments stand, the lower half of each first. */
  readonly words: Uint32Array;
  readonly #memory: NativeBuffer;
  readonly #run: RunCalls['run'];

  constructor(native: Native, runner: RunCalls, length: number) {
    this.length = length;
    this.#memory = native.allocate(length * CALL.size);
    this.words = this.#memory.u32;
    this.#run = runner.run;
  }

  /** Which function, and what it should return: the bits of `mask` in its lower 32 are those of `expected`. Arguments are 0. */
  prepare(call: number, address: number, mask: number, expected: number): void {
    const at = call * CALL.size;
    this.#memory.octets.fill(0, at, at + CALL.size);
    this.#memory.writeWord(at, address);
    this.words[(at + CALL.mask) >> 2] = mask;
    this.words[(at + CALL.expected) >> 2] = expected;
  }

  /** A pointer or an integer that is not negative. @param which of eight, from 0 on */
  argue(call: number, which: number, value: number): void {
    this.#memory.writeWord(call * CALL.size + CALL.arguments + 8 * which, value);
  }

  /** Makes calls `from` to `behind`, the latter not. @returns which one did not return what it should, and was the last; `behind` if all did */
  run(from: number, behind: number): number {
    if (!(from >= 0 && from <= behind && behind <= this.length))
      throw new InternalError(`calls ${from} to ${behind} are not on a list of ${this.length}`, { code: 'CALLS_BEYOND' });
    const { address } = this.#memory;
    return (this.#run(address + from * CALL.size, address + behind * CALL.size) - address) / CALL.size;
  }
}

/** What runs lists. */
export interface RunCalls {
  /** Makes the calls that stand from one address to the other. @returns the address of that which was the last, or `behind` */
  run(from: number, behind: number): number;
}

/** Where the machine code stands that runs lists: made once for each thread, and there for as long as the process is. */
export class CallRunner implements RunCalls {
  readonly run: RunCalls['run'];

  /** Undefined on other processors, and where no memory may be made to run: whoever asks makes its calls singly. */
  static find(native: Native, arch: string = process.arch): CallRunner | undefined {
    if (arch !== 'x64') return undefined;
    try {
      const memory = native.functions<MemoryFunctions>(PROTOTYPES);
      const code = native.allocate(PAGE);
      code.octets.set(LISTING.flatMap(({ octets }) => octets));
      const page = memory.mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      // a failure is -1, which is no address
      if (!(page > 0 && page < HIGHEST)) return undefined;
      memory.memcpy(page, code.address, PAGE);
      if (memory.mprotect(page, PAGE, PROT_READ | PROT_EXEC) !== 0) {
        memory.munmap(page, PAGE);
        return undefined;
      }
      return new CallRunner(native.functionAt(page, 'uintptr_t (uintptr_t from, uintptr_t behind)'));
    } catch {
      // a function of the list is missing
      return undefined;
    }
  }

  private constructor(run: RunCalls['run']) {
    this.run = run;
  }
}

/** One instruction: what it is in the words of the manual, and as the processor reads it. */
export interface Instruction {
  readonly text: string;
  readonly octets: readonly number[];
}

/** A call in memory, in octets: the function, eight arguments of 64 bits, and which bits of what it returns should be which. */
const CALL = { arguments: 8, mask: 72, expected: 76, size: 80 } as const;

/** In `CallList.words`: from one call to the next, and from its beginning to its first argument; each argument takes two. */
export const ARGUMENT = { perCall: CALL.size >> 2, first: CALL.arguments >> 2 } as const;

const line = (text: string, ...octets: readonly number[]): Instruction => ({ text, octets });

/**
 * `uintptr_t run(uintptr_t from, uintptr_t behind)` for x86-64, with arguments and registers as System V's ABI has them (§3.2): six arguments
 * in registers and two on the stack, which is a multiple of 16 where a function is called; rbx and r12 are kept.
 */
export const LISTING: readonly Instruction[] = [
  line('endbr64', 0xf3, 0x0f, 0x1e, 0xfa),
  line('push rbx', 0x53),
  line('push r12', 0x41, 0x54),
  line('sub rsp,0x8', 0x48, 0x83, 0xec, 0x08),
  line('mov rbx,rdi', 0x48, 0x89, 0xfb),
  line('mov r12,rsi', 0x49, 0x89, 0xf4),
  // 0x11: the next call, unless it is the one behind the last
  line('cmp rbx,r12', 0x4c, 0x39, 0xe3),
  line('jae 0x4a', 0x73, 0x34),
  line('push QWORD PTR [rbx+0x40]', 0xff, 0x73, 0x40),
  line('push QWORD PTR [rbx+0x38]', 0xff, 0x73, 0x38),
  line('mov r9,QWORD PTR [rbx+0x30]', 0x4c, 0x8b, 0x4b, 0x30),
  line('mov r8,QWORD PTR [rbx+0x28]', 0x4c, 0x8b, 0x43, 0x28),
  line('mov rcx,QWORD PTR [rbx+0x20]', 0x48, 0x8b, 0x4b, 0x20),
  line('mov rdx,QWORD PTR [rbx+0x18]', 0x48, 0x8b, 0x53, 0x18),
  line('mov rsi,QWORD PTR [rbx+0x10]', 0x48, 0x8b, 0x73, 0x10),
  line('mov rdi,QWORD PTR [rbx+0x8]', 0x48, 0x8b, 0x7b, 0x08),
  // no argument is in a vector register, which functions with `...` ask for
  line('xor eax,eax', 0x31, 0xc0),
  line('call QWORD PTR [rbx]', 0xff, 0x13),
  line('add rsp,0x10', 0x48, 0x83, 0xc4, 0x10),
  line('and eax,DWORD PTR [rbx+0x48]', 0x23, 0x43, 0x48),
  line('cmp eax,DWORD PTR [rbx+0x4c]', 0x3b, 0x43, 0x4c),
  line('jne 0x4a', 0x75, 0x06),
  line('add rbx,0x50', 0x48, 0x83, 0xc3, 0x50),
  line('jmp 0x11', 0xeb, 0xc7),
  // 0x4a: how far it came
  line('mov rax,rbx', 0x48, 0x89, 0xd8),
  line('add rsp,0x8', 0x48, 0x83, 0xc4, 0x08),
  line('pop r12', 0x41, 0x5c),
  line('pop rbx', 0x5b),
  line('ret', 0xc3),
];

interface MemoryFunctions {
  mmap(at: 0, length: number, protection: number, flags: number, fd: -1, offset: 0): number;
  mprotect(at: number, length: number, protection: number): number;
  munmap(at: number, length: number): number;
  memcpy(to: number, from: number, length: number): number;
}

const PROTOTYPES: { readonly [Name in keyof MemoryFunctions]: string } = {
  mmap: 'uintptr_t mmap(uintptr_t at, size_t length, int protection, int flags, int fd, int64_t offset)',
  mprotect: 'int mprotect(uintptr_t at, size_t length, int protection)',
  munmap: 'int munmap(uintptr_t at, size_t length)',
  memcpy: 'uintptr_t memcpy(uintptr_t to, uintptr_t from, size_t length)',
};

// asm-generic/mman-common.h, linux/mman.h
const PROT_READ = 1;
const PROT_WRITE = 2;
const PROT_EXEC = 4;
const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;
const PAGE = 4096;
/** Behind what a process can have. */
const HIGHEST = 2 ** 47;
