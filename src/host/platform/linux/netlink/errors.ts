import { DataPlaneError } from '../../../../core/bytes/index.ts';
import { errnoName } from '../ffi.ts';
import type { Outcome } from './codec.ts';

/** What an errno means to whoever has to act. */
export interface Refusal {
  readonly code: string;
  readonly why: string;
  readonly hint: string;
  readonly privilege?: string;
}

/** By the name of an errno: what it means for one kind of request, where that is not what it means in general. */
export type Refusals = Readonly<Record<string, Refusal | undefined>>;

/** @param attempt what was asked for, to be read behind "cannot": `add the route 10.0.0.0/8`. It never holds a key. */
export function kernelRefused(attempt: string, outcome: Pick<Outcome, 'errno' | 'text'> & Partial<Outcome>, special: Refusals = {}) {
  const errno = errnoName(outcome.errno);
  const known = special[errno] ?? REFUSALS[errno];
  const said = outcome.text === undefined ? '' : `, "${outcome.text}"`;
  const missing = outcome.missing === undefined ? '' : `, attribute ${outcome.missing} is missing`;
  return new DataPlaneError(`cannot ${attempt}: ${known?.why ?? 'the kernel refuses'} (${errno}${said}${missing})`, {
    errno,
    code: known?.code ?? 'KERNEL_REFUSED',
    ...(known ? { hint: known.hint } : {}),
    ...(known?.privilege === undefined ? {} : { privilege: known.privilege }),
  });
}

/** Is this the error of a thing that is not there (any more)? Who removes is content with that. */
export const isMissing = (error: unknown): boolean => error instanceof DataPlaneError && error.code === 'KERNEL_ENTRY_MISSING';
export const isThere = (error: unknown): boolean => error instanceof DataPlaneError && error.code === 'KERNEL_ENTRY_EXISTS';

/** Removes something; that it is not there any more is as good. */
export function unlessMissing(remove: () => void): void {
  try {
    remove();
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** Makes something; that it is there already is as good. */
export function unlessThere(make: () => void): void {
  try {
    make();
  } catch (error) {
    if (!isThere(error)) throw error;
  }
}

const NEEDS_NET_ADMIN: Refusal = {
  code: 'NOT_PERMITTED',
  why: 'this process may not change the network of this machine (it lacks CAP_NET_ADMIN)',
  hint: 'Run as root, or grant the capability (systemd: AmbientCapabilities=CAP_NET_ADMIN).',
  privilege: 'CAP_NET_ADMIN',
};

const MISSING: Refusal = {
  code: 'KERNEL_ENTRY_MISSING',
  why: 'the kernel has no such thing',
  hint: 'Something else removed it, or the interface it stood on: compare `ip address`, `ip route show table all` and `ip xfrm state`.',
};

const UNABLE: Refusal = {
  code: 'KERNEL_LACKS_FEATURE',
  why: 'this kernel cannot do that',
  hint: 'It was built without it, or the module is not loaded: look with `modprobe`, or choose another data plane.',
};

const NO_ROUTE: Refusal = {
  code: 'NO_ROUTE',
  why: 'this machine has no route there',
  hint: 'Compare `ip route get` with the address; an interface may be down.',
};

const REFUSALS: Refusals = {
  EPERM: NEEDS_NET_ADMIN,
  EACCES: NEEDS_NET_ADMIN,
  ESRCH: MISSING,
  ENOENT: MISSING,
  ENODEV: MISSING,
  EADDRNOTAVAIL: MISSING,
  EOPNOTSUPP: UNABLE,
  EPROTONOSUPPORT: UNABLE,
  ENOPROTOOPT: UNABLE,
  EAFNOSUPPORT: UNABLE,
  ENOSYS: UNABLE,
  EEXIST: {
    code: 'KERNEL_ENTRY_EXISTS',
    why: 'the kernel has one like it already',
    hint: 'Another program or a former run made it: look for it with `ip link`, `ip address`, `ip route show table all`, `ip rule` or `ip xfrm state`.',
  },
  ENETUNREACH: NO_ROUTE,
  EHOSTUNREACH: NO_ROUTE,
};
