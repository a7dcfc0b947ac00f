import { type Address, DataPlaneError, isIpv6 } from '../../../core/bytes/index.ts';
import type { ChildSaKeys, ChildSaSpec, KernelPolicy, PacketMark } from '../../../core/ike/effects.ts';
import { isMissing, unlessMissing } from '../../platform/linux/netlink/errors.ts';
import type { XfrmSequence } from '../../platform/linux/netlink/xfrm/replay.ts';
import type { NewState, XfrmState, XfrmStateFlags } from '../../platform/linux/netlink/xfrm/states.ts';
import type { XfrmLifetime } from '../../platform/linux/netlink/xfrm/structs.ts';
import type { SequenceNumbers } from '../data-plane.ts';
import type { StateKernel } from './kernel.ts';
import { addOffloaded, type OffloadWish, wishOf, withoutPolicies } from './offload.ts';
import { shareOfReqid } from './policy-table.ts';

/** Where a CHILD_SA's packets go outside. */
export interface Ends {
  readonly local: Address;
  readonly remote: Address;
  /** ESP in UDP (RFC 3948). */
  readonly encap: boolean;
}

export type Way = 'inbound' | 'outbound';

/**
 * The two SAs of a CHILD_SA in the kernel. The outbound one is made when it is to send, since the kernel sends on the newest that fits. Keys are
 * kept until `destroy`, because an SA that moves to other addresses is made anew.
 */
export class ChildStates {
  readonly #kernel: StateKernel;
  readonly #spec: ChildSaSpec;
  readonly #reqid: number;
  /** The sequence numbers that the SAs as they are now began with. */
  readonly #start: Record<Way, bigint>;
  /** Where a former life stopped receiving. */
  readonly #resumedAt: bigint;
  readonly #last: Partial<Record<Way, XfrmState>> = {};
  readonly #standing = new Set<Way>();
  /** What is left to ask a card for that has refused more. */
  readonly #wishes: Partial<Record<Way, OffloadWish>> = {};
  readonly #cards: Record<Way, number | undefined> = { inbound: undefined, outbound: undefined };
  #ends: Ends;

  /** @throws DataPlaneError */
  constructor(kernel: StateKernel, spec: ChildSaSpec, reqid: number, resume?: SequenceNumbers) {
    this.#kernel = kernel;
    this.#spec = { ...spec, inbound: copyKeys(spec.inbound), outbound: copyKeys(spec.outbound) };
    this.#reqid = reqid;
    this.#ends = spec;
    const outbound = joined(resume?.outbound) + (spec.resumed ? SKIPPED_AFTER_RESTART : 0n);
    this.#resumedAt = joined(resume?.inbound);
    this.#start = { inbound: this.#resumedAt, outbound: within(outbound, spec.esn) };
  }

  get ends(): Ends {
    return this.#ends;
  }

  has(way: Way): boolean {
    return this.#standing.has(way);
  }

  /** Begins to receive, or to send. @throws DataPlaneError */
  add(way: Way): void {
    if (this.#standing.has(way)) return;
    this.#make(way, this.#ends, this.#state(way, this.#ends, this.#start[way]));
    this.#standing.add(way);
  }

  /**
   * Takes both SAs to other addresses, with their numbers. `between` runs when the outbound SA stands at its new ends: policies follow there.
   * @returns whether they were made anew for it, so that the kernel counts from the beginning
   * @throws DataPlaneError; what stood may be gone then
   */
  move(to: Ends, between: () => void): boolean {
    const from = this.#ends;
    if (from.encap && to.encap && from.local.ip === to.local.ip && from.remote.ip === to.remote.ip) {
      this.#ends = to;
      for (const way of this.#standing) this.#kernel.updateState(this.#state(way, to, this.#start[way]));
      return false;
    }
    const leave: (() => void)[] = [];
    for (const way of this.#standing) {
      const state = this.#continued(way, to);
      // the kernel tells SAs apart by destination and SPI: with another destination the old one goes on until the new one stands
      if (state.destination !== this.#id(way).destination) leave.push(() => this.#unmake(way, from));
      else this.#unmake(way, from);
      this.#make(way, to, state);
    }
    this.#ends = to;
    between();
    for (const take of leave) take();
    return true;
  }

  /**
   * RFC 6311 §5.2: the SA is made anew with later numbers.
   * @param way inbound: from where a former life stopped
   * @throws DataPlaneError; what stood may be gone then
   */
  skip(way: Way, by: bigint): void {
    if (!this.#standing.has(way)) {
      this.#start[way] = within(this.#start[way] + by, this.#spec.esn);
      return;
    }
    const former = this.#read(way);
    const { inbound, outbound } = former.sequence;
    const wanted = way === 'outbound' ? outbound + by + SKIPPED_BY_MOVE : this.#resumedAt + by;
    // what has come in since may be newer
    this.#start[way] = within(way === 'inbound' && wanted < inbound ? inbound : wanted, this.#spec.esn);
    const state = this.#state(way, this.#ends, this.#start[way], former);
    this.#unmake(way, this.#ends);
    this.#make(way, this.#ends, state);
  }

  /** Index of the interface whose card takes the packets of this direction whole. */
  card(way: Way): number | undefined {
    return this.#cards[way];
  }

  /**
   * The card has refused the policies that an SA needs there: where nobody insists on it, the SA is made anew without.
   * @returns whether it was; false where the card has not taken it whole
   * @throws DataPlaneError, among them `OFFLOAD_UNSUPPORTED`
   */
  leaveCard(way: Way, refusal: DataPlaneError): boolean {
    const wish = this.#wish(way);
    if (wish === undefined || this.#cards[way] === undefined) return false;
    this.#wishes[way] = withoutPolicies(wish, refusal.message);
    const state = this.#continued(way, this.#ends);
    this.#unmake(way, this.#ends);
    this.#make(way, this.#ends, state);
    return true;
  }

  /** As the kernel has it, or had it when it was last seen. Undefined before there was one. */
  read(way: Way): XfrmState | undefined {
    if (!this.#standing.has(way)) return undefined;
    try {
      return this.#read(way);
    } catch (error) {
      if (!isMissing(error)) throw error;
      return this.#last[way];
    }
  }

  /** Is it still there? The kernel deletes what has reached its hard limit, and others can delete it, too. */
  isWhole(): boolean {
    try {
      for (const way of this.#standing) this.#read(way);
      return true;
    } catch (error) {
      if (!isMissing(error)) throw error;
      return false;
    }
  }

  /** By which events name it. */
  id(way: Way): string {
    return idOf(this.#id(way));
  }

  /** The other direction goes on. */
  remove(way: Way): void {
    if (this.#standing.delete(way)) this.#unmake(way, this.#ends);
  }

  destroy(): void {
    for (const way of this.#standing) this.#unmake(way, this.#ends);
    this.#standing.clear();
    for (const { encryptionKey, integrityKey } of [this.#spec.inbound, this.#spec.outbound]) {
      encryptionKey.fill(0);
      integrityKey.fill(0);
    }
  }

  #make(way: Way, ends: Ends, state: NewState): void {
    const compression = this.#compression(way, ends);
    const wish = this.#wish(way);
    if (compression !== undefined) this.#kernel.addState(compression);
    try {
      if (wish === undefined) this.#kernel.addState(state);
      else this.#cards[way] = addOffloaded(this.#kernel, state, wish, ends.local.ip, way === 'inbound');
    } catch (error) {
      if (compression !== undefined) unlessMissing(() => this.#kernel.deleteState(compression));
      throw error;
    }
  }

  #wish(way: Way): OffloadWish | undefined {
    return this.#wishes[way] ?? wishOf(this.#spec);
  }

  #unmake(way: Way, ends: Ends): void {
    unlessMissing(() => this.#kernel.deleteState(this.#id(way, ends)));
    const compression = this.#compression(way, ends);
    if (compression !== undefined) unlessMissing(() => this.#kernel.deleteState(compression));
  }

  /** RFC 3173 §4: to the kernel an SA of its own, with the CPI for its SPI. It makes the tunnel, and ESP carries that. */
  #compression(way: Way, { local, remote }: Ends): NewState | undefined {
    const { ipcomp, mode } = this.#spec;
    if (ipcomp === undefined) return undefined;
    const inbound = way === 'inbound';
    const [source, destination, spi] = inbound ? [remote.ip, local.ip, ipcomp.inboundCpi] : [local.ip, remote.ip, ipcomp.outboundCpi];
    return { source, destination, spi, protocol: 'comp', mode, reqid: this.#reqid, ...tagsOf(this.#spec.packets?.kernel, way) };
  }

  #read(way: Way): XfrmState {
    const state = this.#kernel.getState(this.#id(way));
    this.#last[way] = state;
    return state;
  }

  #id(way: Way, { local, remote }: Ends = this.#ends) {
    const tags = tagsOf(this.#spec.packets?.kernel, way);
    return { destination: (way === 'inbound' ? local : remote).ip, spi: this.#spec[way].spi, protocol: this.#protocol, ...tags };
  }

  get #protocol(): 'esp' | 'ah' {
    return this.#spec.protocol === 'AH' ? 'ah' : 'esp';
  }

  /** As it goes on when it is made anew: what was sent meanwhile must not be sent again under the same number (RFC 4303 §3.3.3). */
  #continued(way: Way, to: Ends): NewState {
    const former = this.#read(way);
    const { inbound, outbound } = former.sequence;
    this.#start[way] = way === 'inbound' ? inbound : within(outbound + SKIPPED_BY_MOVE, this.#spec.esn);
    return this.#state(way, to, this.#start[way], former);
  }

  #state(way: Way, { local, remote, encap }: Ends, start: bigint, former?: XfrmState): NewState {
    const { [way]: keys, mode, ipcomp, esn, replayWindow, packets } = this.#spec;
    const setMark = way === 'inbound' ? packets?.kernel?.setMarkIn : packets?.kernel?.setMarkOut;
    const [from, to] = way === 'inbound' ? [remote, local] : [local, remote];
    const sequence: XfrmSequence = way === 'inbound' ? { inbound: start, outbound: 0n } : { inbound: 0n, outbound: start };
    return {
      source: from.ip,
      destination: to.ip,
      spi: keys.spi,
      protocol: this.#protocol,
      mode: ipcomp === undefined ? mode : 'transport',
      reqid: this.#reqid,
      keys: this.#protocol === 'ah' ? { integrity: keys.integrity, integrityKey: keys.integrityKey } : keys,
      esn,
      flags: flagsOf(this.#spec, way, isIpv6(to.ip)),
      replayWindow: way === 'inbound' ? Math.min(replayWindow, LARGEST_WINDOW) : 0,
      ...(way === 'outbound' ? paddingOf(this.#spec) : {}),
      ...tagsOf(packets?.kernel, way),
      ...(setMark && { setMark }),
      lifetime: lifetimeOf(this.#spec, way === 'outbound' ? start : 0n, former),
      ...(start > 0n ? { sequence } : {}),
      ...(encap ? { encap: { sourcePort: from.port, destinationPort: to.port } } : {}),
      ...(encap && way === 'inbound' ? { mappingSeconds: 1 } : {}),
    };
  }
}

/** By what besides SPI and address it is for a packet. */
const tagsOf = (
  { ifIdIn, ifIdOut, markIn, markInSa }: KernelPolicy = {},
  way: Way,
): { readonly ifId?: number | undefined; readonly mark?: PacketMark | undefined } =>
  way === 'inbound' ? { ifId: ifIdIn, ...(markInSa === true ? { mark: markIn } : {}) } : { ifId: ifIdOut };

/** RFC 4303 §2.7: the kernel pads no further than the path takes. */
const paddingOf = ({ packets, unpadded, mode }: ChildSaSpec): Pick<NewState, 'tfcPad'> =>
  packets?.tfc === undefined || unpadded === true || mode === 'transport' ? {} : { tfcPad: packets.tfc === 'mtu' ? 0xffff : packets.tfc };

/** What the kernel does not do by itself. It knows no DSCP of its own choosing but 0, and no DF that is set whatever the inner packet says. */
function flagsOf({ protocol, packets: { copyDscp = 'out', copyEcn = true, df } = {} }: ChildSaSpec, way: Way, v6: boolean): XfrmStateFlags {
  return {
    // RFC 4302 §2.6: over IPv4 AH is a multiple of 32 bits; the kernel makes it one of 64 unless told
    ...(protocol === 'AH' && !v6 ? { align4: true } : {}),
    ...(copyEcn ? {} : { noEcn: true }),
    // RFC 4301 §5.1.2.1
    ...(way === 'outbound' && (copyDscp === 'no' || copyDscp === 'in') ? { dontEncapDscp: true } : {}),
    ...(way === 'inbound' && (copyDscp === 'yes' || copyDscp === 'in') ? { decapDscp: true } : {}),
    ...(way === 'outbound' && df === 'clear' ? { noPmtuDisc: true } : {}),
  };
}

/** Removes what a former life left behind. @param isLeftBehind whether nobody has that share of planes any more */
export function sweepStates(kernel: StateKernel, isLeftBehind: (share: number | undefined) => boolean): void {
  for (const state of kernel.listStates()) if (isLeftBehind(shareOfReqid(state.reqid))) unlessMissing(() => kernel.deleteState(state));
}

export const idOf = ({
  destination,
  spi,
  protocol,
}: {
  readonly destination: string;
  readonly spi: number;
  readonly protocol: string;
}): string => `${protocol} ${spi} ${destination}`;

/**
 * What is left of the limits. Without ESN the numbers end at 2^32 (RFC 4303 §3.3.3): there is a successor before, with room for one more restart.
 */
function lifetimeOf({ limits, esn, resumed }: ChildSaSpec, start: bigint, former: XfrmState | undefined): XfrmLifetime {
  const used = former?.use ?? { bytes: 0n, packets: 0n };
  const left = (limit: number, spent: bigint): bigint => (limit === 0 ? 0n : atLeastOne(BigInt(limit) - spent));
  const lifetime = {
    softBytes: left(limits.softBytes, used.bytes),
    hardBytes: left(limits.hardBytes, used.bytes),
    softPackets: left(limits.softPackets, used.packets),
    hardPackets: left(limits.hardPackets, used.packets),
  };
  if (esn) return lifetime;
  const room = atLeastOne(LAST_SEQUENCE - start);
  const early = atLeastOne(room - (resumed ? SKIPPED_AFTER_RESTART : SKIPPED_BY_MOVE));
  return { ...lifetime, softPackets: lesser(lifetime.softPackets, early), hardPackets: lesser(lifetime.hardPackets, room) };
}

const lesser = (limit: bigint, other: bigint): bigint => (limit === 0n || other < limit ? other : limit);
const atLeastOne = (count: bigint): bigint => (count < 1n ? 1n : count);
const within = (sequence: bigint, esn: boolean): bigint => (esn || sequence <= LAST_SEQUENCE ? sequence : LAST_SEQUENCE);

const joined = (halves: SequenceNumbers['inbound'] | undefined): bigint =>
  halves === undefined ? 0n : (BigInt(halves.sequenceHigh) << 32n) | BigInt(halves.sequenceLow);

/** In halves, as a snapshot has them. */
export const halved = (sequence: bigint): SequenceNumbers['inbound'] => ({
  sequenceHigh: Number(sequence >> 32n),
  sequenceLow: Number(sequence & 0xffff_ffffn),
});

/** @throws DataPlaneError for what the kernel's IPsec has not */
export function refuseUnsupported(
  spec: Pick<ChildSaSpec, 'transport' | 'protocol' | 'encap' | 'packets' | 'ipcomp' | 'mode' | 'localTs' | 'remote'>,
): void {
  const { transport, protocol, encap, packets } = spec;
  if (compressesOtherFamily(spec))
    throw new DataPlaneError('the kernel compresses packets in a tunnel only where they are of the family that the tunnel’s ends have', {
      code: 'IPCOMP_UNSUPPORTED',
      backend: 'xfrm',
      hint: 'Set ipcomp: no for this child, give it selectors of that family, or choose a data plane of user space.',
    });
  if (packets?.dummies !== undefined)
    throw new DataPlaneError('the kernel sends no dummy packets', {
      code: 'DUMMIES_UNSUPPORTED',
      backend: 'xfrm',
      hint: 'Leave dummy_packets out, or choose a data plane of user space.',
    });
  if (transport === 'tcp')
    throw new DataPlaneError('this data plane does not carry ESP in TCP', {
      code: 'TRANSPORT_UNSUPPORTED',
      backend: 'xfrm',
      hint: 'Leave tcp off for the connection, or choose a data plane of user space.',
    });
  // RFC 7296 §2.23: AH does not pass a NAT
  if (protocol === 'AH' && encap)
    throw new DataPlaneError('AH cannot be sent inside UDP, and there is a NAT between the peers or encapsulation was asked for', {
      code: 'AH_UNSUPPORTED',
      backend: 'xfrm',
      hint: 'Use esp_proposals instead of ah_proposals.',
    });
}

/** IPComp makes the tunnel, and the ESP or AH behind it, in transport mode, is found for packets of its own family alone. */
const compressesOtherFamily = ({ ipcomp, mode, localTs, remote }: Pick<ChildSaSpec, 'ipcomp' | 'mode' | 'localTs' | 'remote'>): boolean =>
  ipcomp !== undefined && mode === 'tunnel' && localTs.some((ts) => 'start' in ts && (ts.start.length === 16) !== isIpv6(remote.ip));

const copyKeys = (keys: ChildSaKeys): ChildSaKeys => ({
  ...keys,
  encryptionKey: keys.encryptionKey.slice(),
  integrityKey: keys.integrityKey.slice(),
});

/** Packets, XFRMA_REPLAY_ESN_MAX. */
const LARGEST_WINDOW = 4096;
const LAST_SEQUENCE = 0xffff_ffffn;
/** More than a life sends between its last snapshot and its end; less than the 2^32 that a receiver with ESN can follow. */
const SKIPPED_AFTER_RESTART = 2n ** 30n;
/** More than a kernel sends between two requests. */
const SKIPPED_BY_MOVE = 2n ** 20n;
