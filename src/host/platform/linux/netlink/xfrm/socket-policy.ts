import { kernelRefused } from '../errors.ts';
import { HostWriter } from '../host-order.ts';
import type { IpFamily } from '../ip.ts';
import { type Libc, loadLibc } from '../libc.ts';
import { writePolicy } from './policies.ts';

/**
 * Lets what a socket sends and receives pass in clear, whatever the policies of the machine are: IKE itself must not wait for the SAs that
 * it makes (RFC 4301 §5.2: IKE traffic has an explicit BYPASS entry).
 * @param fd of a socket of that family; one of IPv6 that also speaks IPv4 needs both
 * @throws DataPlaneError `NOT_PERMITTED`, `KERNEL_LACKS_XFRM`
 */
export async function bypassPolicies(fd: number, family: IpFamily): Promise<void> {
  const libc = await loadLibc();
  for (const direction of ['in', 'out'] as const) setBypass(libc, fd, family, direction);
}

function setBypass(libc: Libc, fd: number, family: IpFamily, direction: 'in' | 'out'): void {
  const policy = new HostWriter();
  writePolicy(policy, { direction, action: 'allow', priority: 0, selector: { family } });
  const [level, option] = family === 4 ? [IPPROTO_IP, IP_XFRM_POLICY] : [IPPROTO_IPV6, IPV6_XFRM_POLICY];
  if (libc.setsockopt(fd, level, option, policy.written(), policy.length) < 0) {
    throw kernelRefused(`let a socket of IKE pass the kernel's policies`, { errno: libc.errno(), text: undefined }, NO_XFRM);
  }
}

const NO_XFRM = {
  ENOPROTOOPT: {
    code: 'KERNEL_LACKS_XFRM',
    why: 'this kernel has no IPsec',
    hint: 'Choose a data plane of user space.',
  },
};
const IPPROTO_IP = 0;
const IPPROTO_IPV6 = 41;
const IP_XFRM_POLICY = 17;
const IPV6_XFRM_POLICY = 35;
