import { DataPlaneError } from '../../../core/bytes/index.ts';
import type { ChildSaSpec, KernelPolicy } from '../../../core/ike/effects.ts';
import { isThere } from '../../platform/linux/netlink/errors.ts';
import type { NewState } from '../../platform/linux/netlink/xfrm/states.ts';
import type { StateKernel } from './kernel.ts';

/** What a network card is asked for, the most first. */
export interface OffloadWish {
  readonly depths: readonly OffloadDepth[];
  /** Not in software. */
  readonly must: boolean;
}

/** `packet`: policies and headers as well, not the cipher alone. */
type OffloadDepth = 'packet' | 'crypto';

/** @throws DataPlaneError `OFFLOAD_UNSUPPORTED` */
export function wishOf({ ipcomp, packets }: Pick<ChildSaSpec, 'ipcomp' | 'packets'>): OffloadWish | undefined {
  const { offload } = packets?.kernel ?? {};
  if (offload === undefined) return undefined;
  return ipcomp === undefined
    ? WISHES[offload]
    : withoutPolicies(WISHES[offload], 'IPComp is done by the kernel, before a card has the packet');
}

/**
 * An SA whose packets the network card encrypts, or decrypts.
 * @param own address of this machine that the SA ends at
 * @returns index of the interface whose card takes packets whole: the policies of this direction have to go there, too
 * @throws DataPlaneError, `OFFLOAD_UNSUPPORTED` where it was to be the card; there is no SA then
 */
export function addOffloaded(kernel: StateKernel, state: NewState, wish: OffloadWish, own: string, inbound: boolean): number | undefined {
  const link = kernel.linkWith(own);
  let why = `no interface has the address ${own}`;
  for (const depth of link === undefined ? [] : wish.depths) {
    const refusal = refusalOf(kernel, { ...state, offload: { link: link!, inbound, packet: depth === 'packet' } });
    if (refusal === undefined) return depth === 'packet' ? link : undefined;
    why = refusal;
  }
  if (wish.must) throw offloadUnsupported(why);
  kernel.addState(state);
  return undefined;
}

/** What is left to ask for where the card cannot have the policies. @throws DataPlaneError `OFFLOAD_UNSUPPORTED` where that is nothing */
export function withoutPolicies(wish: OffloadWish, why: string): OffloadWish {
  const depths = wish.depths.filter((depth) => depth !== 'packet');
  if (depths.length === 0) throw offloadUnsupported(why);
  return { ...wish, depths };
}

/** @returns why there is no such SA */
function refusalOf(kernel: StateKernel, state: NewState & Required<Pick<NewState, 'offload'>>): string | undefined {
  try {
    kernel.addState(state);
  } catch (error) {
    if (!(error instanceof DataPlaneError) || isThere(error)) throw error;
    return error.message;
  }
  // a kernel takes the wish, and encrypts by itself, where the driver knows nothing of it; it may know of ciphers alone (before 6.2)
  if (kernel.getState(state).offload?.packet === state.offload.packet) return undefined;
  kernel.deleteState(state);
  return `the interface with the address ${state.offload.inbound ? state.destination : state.source} has a driver without it`;
}

const offloadUnsupported = (why: string): DataPlaneError =>
  new DataPlaneError(`the network card does not do what hw_offload asks for: ${why}`, {
    code: 'OFFLOAD_UNSUPPORTED',
    backend: 'xfrm',
    hint: 'Set hw_offload: auto, which uses the card where it can; `ethtool -k DEVICE` shows esp-hw-offload, and packet needs Linux 6.2.',
  });

const WISHES: Readonly<Record<NonNullable<KernelPolicy['offload']>, OffloadWish>> = {
  crypto: { depths: ['crypto'], must: true },
  packet: { depths: ['packet'], must: true },
  auto: { depths: ['packet', 'crypto'], must: false },
};
