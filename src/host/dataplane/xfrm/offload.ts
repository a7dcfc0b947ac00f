import { DataPlaneError } from '../../../core/bytes/index.ts';
import type { KernelPolicy } from '../../../core/ike/effects.ts';
import { isThere } from '../../platform/linux/netlink/errors.ts';
import type { NewState } from '../../platform/linux/netlink/xfrm/states.ts';
import type { StateKernel } from './kernel.ts';

/**
 * An SA whose packets the network card encrypts, or decrypts.
 * @param wish `auto`: in software where the card cannot
 * @param own address of this machine that the SA ends at
 * @throws DataPlaneError, `OFFLOAD_UNSUPPORTED` where it was to be the card; there is no SA then
 */
export function addOffloaded(
  kernel: StateKernel,
  state: NewState,
  wish: NonNullable<KernelPolicy['offload']>,
  own: string,
  inbound: boolean,
): void {
  const link = kernel.linkWith(own);
  if (link === undefined) {
    if (wish === 'auto') return kernel.addState(state);
    throw unsupported(`no interface has the address ${own}`);
  }
  try {
    kernel.addState({ ...state, offload: { link, inbound } });
  } catch (error) {
    if (!(error instanceof DataPlaneError) || isThere(error)) throw error;
    if (wish === 'auto') return kernel.addState(state);
    throw unsupported(error.message);
  }
  // a kernel takes the wish, and encrypts by itself, where the driver knows nothing of it
  if (wish === 'auto' || kernel.getState(state).offload !== undefined) return;
  kernel.deleteState(state);
  throw unsupported(`the interface with the address ${own} has a driver without it`);
}

const unsupported = (why: string): DataPlaneError =>
  new DataPlaneError(`the network card does not encrypt here: ${why}`, {
    code: 'OFFLOAD_UNSUPPORTED',
    backend: 'xfrm',
    hint: 'Set hw_offload: auto, which uses the card where it can; `ethtool -k DEVICE` shows esp-hw-offload.',
  });
