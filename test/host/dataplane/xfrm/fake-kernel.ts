import { DataPlaneError } from '../../../../src/core/bytes/index.ts';
import type { XfrmKernel } from '../../../../src/host/dataplane/xfrm/kernel.ts';
import type { NewPolicy, XfrmPolicy } from '../../../../src/host/platform/linux/netlink/xfrm/policies.ts';
import type { NewState, XfrmState } from '../../../../src/host/platform/linux/netlink/xfrm/states.ts';
import type { XfrmStateId } from '../../../../src/host/platform/linux/netlink/xfrm/structs.ts';

/** The kernel's tables, by the rules that it has for them: one SA for each destination and SPI, one policy for each direction and selector. */
export class FakeKernel implements XfrmKernel {
  readonly states = new Map<string, NewState & { packets: bigint; bytes: bigint }>();
  readonly policies = new Map<string, NewPolicy>();
  /** What was changed, in order. */
  readonly log: string[] = [];
  /** The call of that name fails when it comes to this one. */
  failAt: { readonly call: string; readonly error: DataPlaneError } | undefined;

  addState(state: NewState): void {
    this.#enter('addState', `+${state.spi.toString(16)} ${state.source}>${state.destination}`);
    if (this.states.has(keyOf(state))) throw refusal('KERNEL_ENTRY_EXISTS');
    const keys = state.keys && { ...state.keys, encryptionKey: state.keys.encryptionKey?.slice() };
    const { offload, ...others } = state;
    if (offload?.packet && this.card === 'no') throw refusal('KERNEL_REFUSED');
    const card =
      offload === undefined || this.card === 'no' ? {} : { offload: this.card === 'ciphers' ? { ...offload, packet: false } : offload };
    this.states.set(keyOf(state), { ...others, ...card, ...(keys ? { keys } : {}), packets: 0n, bytes: 0n });
  }

  updateState(state: NewState): void {
    this.#enter('updateState', `=${state.spi.toString(16)} ${state.source}>${state.destination}`);
    const former = this.#need(state);
    this.states.set(keyOf(state), { ...state, packets: former.packets, bytes: former.bytes });
  }

  deleteState(id: XfrmStateId): void {
    this.#enter('deleteState', `-${id.spi.toString(16)}`);
    this.#need(id);
    this.states.delete(keyOf(id));
  }

  getState(id: XfrmStateId): XfrmState {
    const state = this.#need(id);
    const { packets, bytes, sequence = { outbound: 0n, inbound: 0n } } = state;
    return {
      ...(state as unknown as XfrmState),
      use: { packets, bytes, addedAt: 0, usedAt: 0 },
      sequence: { outbound: sequence.outbound + packets, inbound: sequence.inbound + packets },
      replayed: 0,
      notAuthentic: 0,
    };
  }

  listStates(): XfrmState[] {
    return [...this.states.values()].map((state) => this.getState(state));
  }

  /** Of the card; there is none unless given. */
  link: number | undefined;
  /**
   * What its driver can: policies, whole packets without them, ciphers alone, where the kernel is so old that it does not know of more, or
   * nothing, of which the kernel says nothing when it is asked for ciphers.
   */
  card: 'policies' | 'packets' | 'ciphers' | 'no' = 'policies';

  linkWith(): number | undefined {
    return this.link;
  }

  addPolicy(policy: NewPolicy, replace: boolean): void {
    this.#enter('addPolicy', `${replace ? '=' : '+'}${name(policy)} ${policy.action}`);
    if (policy.offload !== undefined && (this.card !== 'policies' || policy.direction === 'fwd')) throw refusal('KERNEL_REFUSED');
    if (!replace && this.policies.has(name(policy))) throw refusal('KERNEL_ENTRY_EXISTS');
    this.policies.set(name(policy), policy);
  }

  deletePolicy(policy: NewPolicy): void {
    this.#enter('deletePolicy', `-${name(policy)}`);
    if (!this.policies.delete(name(policy))) throw refusal('KERNEL_ENTRY_MISSING');
  }

  listPolicies(): XfrmPolicy[] {
    return [...this.policies.values()].map((policy) => ({ templates: [], ...policy }) as unknown as XfrmPolicy);
  }

  /** So many packets of 100 octets pass. */
  pass(spi: number, packets: bigint): void {
    for (const state of this.states.values())
      if (state.spi === spi) {
        state.packets += packets;
        state.bytes += 100n * packets;
      }
  }

  /** `direction source > destination: what`. */
  shown(): string[] {
    return [...this.policies.values()].map((policy) => `${name(policy)}: ${policy.action} ${policy.templates?.[0]?.reqid ?? ''}`.trim());
  }

  spis(): string[] {
    return [...this.states.values()].map(({ spi }) => spi.toString(16)).sort();
  }

  #enter(call: string, line: string): void {
    this.log.push(line);
    if (this.failAt?.call === call) throw this.failAt.error;
  }

  #need(id: XfrmStateId): NewState & { packets: bigint; bytes: bigint } {
    const state = this.states.get(keyOf(id));
    if (state === undefined) throw refusal('KERNEL_ENTRY_MISSING');
    return state;
  }
}

export const refusal = (code: string): DataPlaneError => new DataPlaneError(code, { code });
const keyOf = ({ destination, spi, protocol }: XfrmStateId): string => `${protocol} ${spi} ${destination}`;
const name = ({ direction, selector }: Pick<NewPolicy, 'direction' | 'selector'>): string => {
  const { source, destination, protocol, sourcePort, destinationPort } = selector;
  const ports = sourcePort || destinationPort ? ` ${JSON.stringify([sourcePort?.port, destinationPort?.port])}` : '';
  return `${direction} ${source} > ${destination}${protocol ? ` proto ${protocol}` : ''}${ports}`;
};
