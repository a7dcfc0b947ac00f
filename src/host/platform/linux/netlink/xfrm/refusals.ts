import type { Refusal, Refusals } from '../errors.ts';
import type { XfrmProtocol } from './structs.ts';

/** What an errno means for an SA. */
const NO_ALGORITHM: Refusal = {
  code: 'KERNEL_LACKS_ALGORITHM',
  why: 'the kernel lacks one of its algorithms',
  hint: 'Load the modules (`modprobe gcm ccm ctr cbc authenc echainiv chacha20poly1305`, `authencesn` for ESN), or choose a data plane of user space.',
};

const NO_ESP: Refusal = {
  code: 'KERNEL_LACKS_ESP',
  why: 'this kernel has no ESP',
  hint: 'Load it with `modprobe esp4 esp6`; where there are no such modules, choose a data plane of user space.',
};

const NO_AH: Refusal = {
  code: 'KERNEL_LACKS_AH',
  why: 'this kernel has no AH',
  hint: 'Load it with `modprobe ah4 ah6`, or use ESP, which does all that AH does but cover the outer header.',
};

const NO_IPCOMP: Refusal = {
  code: 'KERNEL_LACKS_IPCOMP',
  why: 'this kernel has no IPComp',
  hint: 'Load it with `modprobe ipcomp ipcomp6 deflate`, or leave compression off.',
};

const forType = (lacking: Refusal): Refusals => ({
  EPROTONOSUPPORT: lacking,
  ENOPROTOOPT: lacking,
  // ENOSYS: no such name, ENOENT: the name is known and its module is not there
  ENOSYS: NO_ALGORITHM,
  ENOENT: NO_ALGORITHM,
});

export const REFUSALS: Readonly<Record<XfrmProtocol, Refusals>> = {
  esp: forType(NO_ESP),
  ah: forType(NO_AH),
  comp: forType(NO_IPCOMP),
};
