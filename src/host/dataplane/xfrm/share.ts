import { DataPlaneError } from '../../../core/bytes/index.ts';
import { isThere } from '../../platform/linux/netlink/errors.ts';
import { type Libc, loadLibc } from '../../platform/linux/netlink/libc.ts';
import { NetlinkSocket, openNetlink } from '../../platform/linux/netlink/socket.ts';

/**
 * Several planes may work in one network namespace. Each has a number, by which it knows what in the kernel's tables is its own: its reqids,
 * its priorities, its routing tables. The number is the port of a netlink socket, so two cannot have the same, and that of a process that
 * was killed is free again at once.
 */
export interface Share {
  readonly number: number;
  /** With the port that says the number. Closing it gives the number up. */
  readonly socket: NetlinkSocket;
  /** Numbers that nobody has: what is marked with them was left behind. */
  abandoned(): ReadonlySet<number>;
}

/** @throws DataPlaneError `PLANES_EXHAUSTED`, or as `NetlinkSocket.open` does */
export async function takeShare(): Promise<Share> {
  const libc = await loadLibc();
  for (let number = 0; number < SHARES; number++) {
    const socket = claim(libc, number);
    if (socket !== undefined) return { number, socket, abandoned: () => abandoned(libc, number) };
  }
  throw new DataPlaneError(`${SHARES} processes use the kernel's IPsec in this network namespace, and there can be no more`, {
    code: 'PLANES_EXHAUSTED',
    backend: 'xfrm',
    hint: 'Put several connections into one process, or choose another network namespace or data plane.',
  });
}

function abandoned(libc: Libc, own: number): ReadonlySet<number> {
  const found = new Set<number>();
  for (let number = 0; number < SHARES; number++) {
    const socket = number === own ? undefined : claim(libc, number);
    if (socket === undefined) continue;
    socket.close();
    found.add(number);
  }
  return found;
}

function claim(libc: Libc, number: number): NetlinkSocket | undefined {
  try {
    return new NetlinkSocket(libc, openNetlink(libc, 'xfrm', { port: FIRST_PORT + number }));
  } catch (error) {
    if (isThere(error)) return undefined;
    throw error;
  }
}

export const SHARES = 8;
/** "TW". The kernel chooses process ids, or negative numbers where one is taken. */
const FIRST_PORT = 0x5457_0000;
