import { type Native, systemError } from './ffi.ts';

/**
 * Duplicates of descriptors of another process (pidfd_getfd(2), Linux 5.6), each ours to close. They go on working when that process is gone.
 * Whoever may trace a process may do this: our own user, for a process that it started.
 * @throws DataPlaneError; then none is left open
 */
export function takeDescriptors(native: Native, pid: number, wanted: readonly number[]): number[] {
  const { libc } = native;
  const { syscall } = native.functions<Calls>({ syscall: 'int64_t syscall(int64_t number, int64_t a, int64_t b, int64_t c)' });
  const process = syscall(PIDFD_OPEN, pid, 0, 0);
  if (process < 0) throw systemError('looking at a process (pidfd_open)', native.errno(), TOO_OLD);
  const taken: number[] = [];
  try {
    for (const fd of wanted) {
      const own = syscall(PIDFD_GETFD, process, fd, 0);
      if (own < 0) throw systemError('taking over a descriptor (pidfd_getfd)', native.errno(), TOO_OLD);
      taken.push(own);
    }
    return taken;
  } catch (error) {
    for (const fd of taken) libc.close(fd);
    throw error;
  } finally {
    libc.close(process);
  }
}

interface Calls {
  syscall(number: number, a: number, b: number, c: number): number;
}

const TOO_OLD = {
  ENOSYS: {
    code: 'KERNEL_LACKS_FEATURE',
    why: 'this kernel is older than 5.6',
    hint: 'Use a newer kernel, or --plane netstack.',
  },
  EPERM: {
    code: 'NOT_PERMITTED',
    why: 'this machine forbids a process to look at those that it started (kernel.yama.ptrace_scope, or a filter of this container)',
    hint: 'Set kernel.yama.ptrace_scope to 1 or 2, or use --plane netstack.',
  },
} as const;

/** The same number on every architecture. */
const PIDFD_OPEN = 434;
const PIDFD_GETFD = 438;
