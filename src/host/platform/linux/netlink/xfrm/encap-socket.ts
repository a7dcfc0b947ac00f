import { kernelRefused } from '../errors.ts';
import { HostWriter } from '../host-order.ts';
import { loadLibc } from '../libc.ts';

/**
 * From now on the kernel takes ESP out of what comes in on a UDP socket (RFC 3948 §2.2), and drops keepalives; what begins with a non-ESP marker
 * is left for whoever reads it. SAs without UDP are not affected.
 * @throws DataPlaneError `KERNEL_LACKS_ENCAPSULATION`
 */
export async function takeEsp(fd: number): Promise<void> {
  const libc = await loadLibc();
  const kind = new HostWriter(4).u32(UDP_ENCAP_ESPINUDP).written();
  if (libc.setsockopt(fd, SOL_UDP, UDP_ENCAP, kind, kind.length) < 0)
    throw kernelRefused('have the kernel take ESP out of UDP', { errno: libc.errno(), text: undefined }, REFUSALS);
}

const NO_ENCAPSULATION = {
  code: 'KERNEL_LACKS_ENCAPSULATION',
  why: 'this kernel cannot carry ESP in UDP on such a socket (over IPv6 it can from 5.8 on)',
  hint: 'Choose a data plane of user space.',
};
const REFUSALS = { ENOPROTOOPT: NO_ENCAPSULATION, EAFNOSUPPORT: NO_ENCAPSULATION };
const SOL_UDP = 17;
const UDP_ENCAP = 100;
const UDP_ENCAP_ESPINUDP = 2;
