import type { NetlinkSocket } from '../../platform/linux/netlink/socket.ts';
import { addPolicy, deletePolicy, listPolicies } from '../../platform/linux/netlink/xfrm/policies.ts';
import {
  addState,
  deleteState,
  getState,
  listStates,
  type NewState,
  updateState,
  type XfrmState,
} from '../../platform/linux/netlink/xfrm/states.ts';
import type { XfrmStateId } from '../../platform/linux/netlink/xfrm/structs.ts';
import type { PolicyKernel } from './policy-table.ts';

/** The kernel's SAD. */
export interface StateKernel {
  addState(state: NewState): void;
  updateState(state: NewState): void;
  deleteState(id: XfrmStateId): void;
  getState(id: XfrmStateId): XfrmState;
  listStates(): readonly XfrmState[];
  /** Index of the interface with this address. */
  linkWith(ip: string): number | undefined;
}

export type XfrmKernel = PolicyKernel & StateKernel;

/** This machine's, of the network namespace that the socket was opened in. */
export const kernelBehind = (socket: NetlinkSocket, linkWith: XfrmKernel['linkWith'] = () => undefined): XfrmKernel => ({
  addState: (state) => addState(socket, state),
  updateState: (state) => updateState(socket, state),
  deleteState: (id) => deleteState(socket, id),
  getState: (id) => getState(socket, id),
  listStates: () => listStates(socket),
  linkWith,
  addPolicy: (policy, replace) => addPolicy(socket, policy, replace),
  deletePolicy: (policy) => deletePolicy(socket, policy),
  listPolicies: () => listPolicies(socket),
});
