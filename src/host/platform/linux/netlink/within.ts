import { InternalError } from '../../../../core/bytes/index.ts';
import { kernelRefused, type Refusals } from './errors.ts';
import type { Libc } from './libc.ts';

/**
 * Runs `make` in another network namespace, of this thread alone, and comes back. A socket stays in the namespace that it was made in,
 * so this is all that is needed to work in several.
 * @param namespace a path: `/run/netns/NAME`, `/proc/PID/ns/net`
 * @throws DataPlaneError `NO_NAMESPACE`, `NOT_PERMITTED`, `KERNEL_REFUSED`
 */
export function within<T>(libc: Libc, namespace: string, make: () => T): T {
  const home = openNamespace(libc, '/proc/thread-self/ns/net');
  try {
    const there = openNamespace(libc, namespace);
    try {
      enter(libc, there, namespace);
    } finally {
      libc.close(there);
    }
    const made = attempt(make);
    if (libc.setns(home, CLONE_NEWNET) < 0) throw new InternalError('this thread cannot return to its network namespace');
    if ('failure' in made) throw made.failure;
    return made.value;
  } finally {
    libc.close(home);
  }
}

function attempt<T>(make: () => T): { readonly value: T } | { readonly failure: unknown } {
  try {
    return { value: make() };
  } catch (failure) {
    return { failure };
  }
}

function openNamespace(libc: Libc, path: string): number {
  const fd = libc.open(path, O_CLOEXEC);
  if (fd < 0) throw kernelRefused(`open the network namespace ${path}`, { errno: libc.errno(), text: undefined }, REFUSALS);
  return fd;
}

function enter(libc: Libc, fd: number, path: string): void {
  if (libc.setns(fd, CLONE_NEWNET) < 0)
    throw kernelRefused(`enter the network namespace ${path}`, { errno: libc.errno(), text: undefined });
}

const REFUSALS: Refusals = {
  ENOENT: {
    code: 'NO_NAMESPACE',
    why: 'there is none',
    hint: 'List them with `ip netns`; one that no process is in any more, and that has no name, is gone.',
  },
};
const CLONE_NEWNET = 0x4000_0000;
const O_CLOEXEC = 0o2_000_000;
