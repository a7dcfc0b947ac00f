import { DataPlaneError } from '../../../core/bytes/index.ts';
import type { ChildSaChange, ChildSaSpec, KernelPolicy, Millis, Observation } from '../../../core/ike/effects.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { isThere } from '../../platform/linux/netlink/errors.ts';
import type { XfrmEvent } from '../../platform/linux/netlink/xfrm/events.ts';
import type { NewPolicy, XfrmTemplate } from '../../platform/linux/netlink/xfrm/policies.ts';
import type { XfrmState } from '../../platform/linux/netlink/xfrm/states.ts';
import type { XfrmDirection } from '../../platform/linux/netlink/xfrm/structs.ts';
import type { ChildCounters, DirectionCounters, SequenceNumbers, ShuntPolicy, TrapPolicy } from '../data-plane.ts';
import { formersOf } from '../line.ts';
import { ChildStates, type Ends, halved, idOf, refuseUnsupported, sweepStates, type Way } from './child-states.ts';
import type { XfrmKernel } from './kernel.ts';
import { EVERY_WAY, Passing, policyFor } from './passing.ts';
import { PolicyTable, Rank, Reqids, shareOfPolicy } from './policy-table.ts';
import { matchesOf, type PolicyMatch, packetOf } from './selectors.ts';
import type { Share } from './share.ts';

export interface KernelPlaneOptions {
  readonly kernel: XfrmKernel;
  /** Which of several planes in this network namespace it is; the only one unless given. */
  readonly share?: Pick<Share, 'number' | 'abandoned'>;
  /** Networks that this machine is on, as prefixes: what goes there stays out of a tunnel that takes everything. None unless given. */
  readonly neighbours?: () => readonly string[];
  readonly clock: Clock;
  readonly onObservation: (observation: Observation) => void;
  readonly onFailure?: (error: DataPlaneError) => void;
}

/**
 * CHILD_SAs in the kernel: which SAs and policies stand when, and what the kernel's events mean. All that it says goes through `XfrmKernel`.
 *
 * CHILD_SAs that follow one another form a line with one reqid, by which policies find whatever SAs there are.
 */
export class KernelPlane {
  readonly #kernel: XfrmKernel;
  readonly #clock: Clock;
  readonly #onObservation: KernelPlaneOptions['onObservation'];
  readonly #onFailure: (error: DataPlaneError) => void;
  readonly #share: Pick<Share, 'number' | 'abandoned'>;
  readonly #passing: Passing;
  readonly #policies: PolicyTable;
  readonly #reqids: Reqids;
  readonly #children = new Map<number, Child>();
  readonly #byInbound = new Map<string, Child>();
  readonly #byOutbound = new Map<string, Child>();
  readonly #traps = new Map<number, TrapPolicy>();
  #timer: Timer | undefined;
  #polled = 0;

  /**
   * Removes the SAs that a former life left behind. Its policies hold packets back until `sweep`: who comes back takes their places.
   * @throws DataPlaneError
   */
  constructor({ kernel, share = ONLY, neighbours = () => [], clock, onObservation, onFailure = () => undefined }: KernelPlaneOptions) {
    this.#onFailure = onFailure;
    this.#kernel = kernel;
    this.#share = share;
    this.#clock = clock;
    this.#onObservation = onObservation;
    this.#reqids = new Reqids(share.number);
    const leftBehind = this.#isLeftBehind();
    sweepStates(kernel, leftBehind);
    this.#policies = new PolicyTable(kernel, (policy) => leftBehind(shareOfPolicy(policy)));
    this.#passing = new Passing(this.#policies, share.number, neighbours);
  }

  /** @throws DataPlaneError; nothing is left behind then */
  install(spec: ChildSaSpec, resume?: SequenceNumbers): void {
    refuseUnsupported(spec);
    this.#refuseDuplicate(spec);
    const matches = matchesOf(spec.localTs, spec.remoteTs);
    this.#passing.beside(matches);
    const line = this.#lineOf(spec, matches);
    const states = new ChildStates(this.#kernel, spec, line.reqid, resume);
    const child: Child = { spec, states, matches, line, sends: false, told: new Set(), inbound: unused(), outbound: unused() };
    line.children++;
    this.#children.set(spec.id, child);
    try {
      states.add('inbound');
      this.#claimInward(child);
      if (spec.outboundActive) this.#startSending(child);
      else this.#claimOutward(child, Rank.WAITING);
      this.#closeBehind(child);
    } catch (error) {
      this.remove(spec.id);
      throw error;
    }
    this.#index(child);
    this.#timer ??= this.#clock.after(POLL, () => this.#poll());
  }

  update(id: number, change: ChildSaChange): void {
    const child = this.#children.get(id);
    if (child === undefined || change.kind === 'owner') return;
    try {
      if (change.kind === 'activate-outbound') this.#startSending(child);
      else if (change.kind === 'stop-outbound') this.#stopSending(child);
      else this.#move(child, change);
    } catch (error) {
      if (!(error instanceof DataPlaneError)) throw error;
      // it does not stand as it should any more: whoever owns it makes another
      this.#clock.soon(() => this.#expire(child, true));
    }
  }

  remove(id: number): void {
    const child = this.#children.get(id);
    if (child === undefined) return;
    this.#children.delete(id);
    this.#unindex(child);
    this.#handOver(child);
    this.#policies.release(out(child));
    this.#policies.release(into(child));
    child.states.destroy();
    if (--child.line.children === 0) this.#reqids.give(child.line.reqid);
  }

  counters(id: number): ChildCounters | undefined {
    const child = this.#children.get(id);
    if (child === undefined) return undefined;
    const inbound = this.#look(child, 'inbound');
    this.#look(child, 'outbound');
    return {
      inbound: counted(child.inbound),
      outbound: counted(child.outbound),
      drops: { replay: inbound?.replayed ?? 0, integrity: inbound?.notAuthentic ?? 0 },
    };
  }

  sequenceNumbers(id: number): SequenceNumbers | undefined {
    const states = this.#children.get(id)?.states;
    if (states === undefined) return undefined;
    return {
      outbound: halved(states.read('outbound')?.sequence.outbound ?? 0n),
      inbound: halved(states.read('inbound')?.sequence.inbound ?? 0n),
    };
  }

  /** @throws DataPlaneError; the former ones stay then */
  setTraps(traps: readonly TrapPolicy[]): void {
    const former = [...this.#traps.keys()];
    const made: number[] = [];
    try {
      for (const trap of traps) {
        const reqid = this.#reqids.take();
        this.#traps.set(reqid, trap);
        made.push(reqid);
        this.#trap(reqid, trap);
      }
    } catch (error) {
      for (const reqid of made) this.#untrap(reqid);
      throw error;
    }
    for (const reqid of former) this.#untrap(reqid);
  }

  /** @throws DataPlaneError; the former ones stand then */
  setShunts(shunts: readonly ShuntPolicy[]): void {
    const policies = shunts.flatMap(({ action, localTs, remoteTs }) =>
      matchesOf(localTs, remoteTs).flatMap((match) =>
        EVERY_WAY.map(
          (way): NewPolicy => ({ ...policyFor(match, way, this.#share.number, [], true), action: action === 'bypass' ? 'allow' : 'block' }),
        ),
      ),
    );
    this.#policies.claim(SHUNTS, Rank.CONFIGURED, policies);
  }

  onEvent(event: XfrmEvent): void {
    if (event.kind === 'acquire') {
      const trap = this.#traps.get(event.policy.templates[0]?.reqid ?? 0);
      if (trap === undefined) return;
      const { connection, child } = trap;
      this.#onObservation({ kind: 'acquire', connection, child, packet: packetOf(event.selector) });
    } else if (event.kind === 'expire') {
      const id = idOf(event.state);
      const child = this.#byInbound.get(id) ?? this.#byOutbound.get(id);
      if (child !== undefined) this.#expire(child, event.hard);
    } else if (event.kind === 'mapping') {
      const child = this.#byInbound.get(idOf(event.id));
      if (child === undefined) return;
      const remote = { ip: event.newSource, port: event.newPort };
      this.#onObservation({ kind: 'mapping-changed', child: child.spec.id, remote });
    } else if (event.kind === 'policy' && event.change === 'deleted') this.#mend(event.policy);
    else if (event.kind === 'policies-flushed') this.#mend();
  }

  /** Events were missed: limits are found by what is not there any more, the rest comes again. */
  onLost(): void {
    this.#mend();
    for (const child of [...this.#children.values()]) if (!child.states.isWhole()) this.#expire(child, true);
  }

  /** Removes policies that a former life left behind, where nobody took their places meanwhile. */
  sweep(): void {
    const leftBehind = this.#isLeftBehind();
    this.#policies.sweep((policy) => leftBehind(shareOfPolicy(policy)));
  }

  close(): void {
    this.#timer?.cancel();
    for (const id of [...this.#children.keys()]) this.remove(id);
    this.sweep();
    this.#policies.close();
    this.#traps.clear();
  }

  /** Our own removals come here as well, and find nothing to put back. */
  #mend(removed?: NewPolicy): void {
    try {
      const mended = this.#policies.mend(removed);
      if (mended > 0) this.#onFailure(removedByOthers(mended));
    } catch (error) {
      if (!(error instanceof DataPlaneError)) throw error;
      this.#onFailure(error);
    }
  }

  #isLeftBehind(): (share: number | undefined) => boolean {
    const abandoned = this.#share.abandoned();
    return (share) => share !== undefined && (share === this.#share.number || abandoned.has(share));
  }

  #trap(reqid: number, { action, localTs, remoteTs, kernel }: TrapPolicy): void {
    const matches = matchesOf(localTs, remoteTs);
    this.#passing.beside(matches);
    if (action === 'drop') {
      const policies = matches.flatMap((match) => EVERY_WAY.map((way) => this.#dropping(match, way, kernel)));
      this.#policies.claim(trapped(reqid), Rank.SHUNT, policies);
      return;
    }
    // where the peer is, is known only to IKE: a template of transport mode needs no ends, and no SA ever fits it
    const template: XfrmTemplate = { protocol: 'esp', mode: 'transport', reqid };
    this.#policies.claim(
      trapped(reqid),
      Rank.TRAP,
      matches.map((match) => this.#policy(match, 'out', [template], kernel)),
    );
  }

  #untrap(reqid: number): void {
    this.#policies.release(trapped(reqid));
    this.#traps.delete(reqid);
    this.#reqids.give(reqid);
  }

  /** Of the CHILD_SA that it takes over from, or of one that is for the same packets of the same child. */
  #lineOf(spec: ChildSaSpec, matches: readonly PolicyMatch[]): Line {
    const former = spec.replaces === undefined ? undefined : this.#children.get(spec.replaces)?.line;
    if (former !== undefined) return former;
    const { connection, name, protocol, mode } = spec;
    const key = JSON.stringify([connection, name, protocol, mode, matches]);
    for (const { line } of this.#children.values()) if (line.key === key) return line;
    return { key, reqid: this.#reqids.take(), children: 0 };
  }

  #startSending(child: Child): void {
    child.states.add('outbound');
    child.sends = true;
    this.#claimOutward(child, Rank.SENDING);
    for (const former of formersOf(child, this.#children, ({ spec }) => spec.replaces)) {
      if (!former.sends) continue;
      former.sends = false;
      this.#claimOutward(former, Rank.WAITING);
    }
  }

  #stopSending(child: Child): void {
    this.#look(child, 'outbound');
    this.#handOver(child);
    this.#policies.release(out(child));
    child.states.remove('outbound');
  }

  /** Whatever was to take over from it does so now, where nothing else of its line sends: an SA that only receives would leave us mute. */
  #handOver(child: Child): void {
    if (!child.sends) return;
    child.sends = false;
    const others = [...this.#children.values()];
    // the kernel takes the newest of them
    if (others.some(({ line, sends }) => line === child.line && sends)) return;
    for (const successor of others) if (successor.spec.replaces === child.spec.id) this.update(successor.spec.id, ACTIVATE);
  }

  #move(child: Child, to: Ends & Pick<ChildSaSpec, 'transport'>): void {
    refuseUnsupported({ ...to, protocol: child.spec.protocol });
    this.#unindex(child);
    for (const way of ['inbound', 'outbound'] as const) this.#look(child, way);
    const anew = child.states.move(to, () => {
      this.#claimOutward(child, child.sends ? Rank.SENDING : Rank.WAITING);
      this.#claimInward(child);
    });
    // an SA that was made anew counts from the beginning
    if (anew) for (const usage of [child.inbound, child.outbound]) usage.seen = NOTHING;
    this.#index(child);
  }

  #claimInward(child: Child): void {
    this.#withCard(child, 'inbound', () => this.#policies.claim(into(child), Rank.SENDING, this.#inward(child)));
  }

  #claimOutward(child: Child, rank: Rank): void {
    this.#withCard(child, 'outbound', () => this.#policies.claim(out(child), rank, this.#outward(child)));
  }

  /** A card that takes packets whole may refuse their policies: the SA may go on without it then, and so do they. */
  #withCard({ states }: Child, way: Way, claim: () => void): void {
    try {
      claim();
    } catch (error) {
      if (!(error instanceof DataPlaneError) || isThere(error) || !states.leaveCard(way, error)) throw error;
      claim();
    }
  }

  #outward(child: Child): readonly NewPolicy[] {
    const { local, remote } = child.states.ends;
    const { kernel } = child.spec.packets ?? {};
    const offload = child.states.card('outbound');
    return child.matches.map((match) => ({
      ...this.#policy(match, 'out', templates(child, local.ip, remote.ip), kernel),
      ...(offload === undefined ? {} : { offload }),
    }));
  }

  /** Whence a packet comes outside is its SA's business: the reqid is of one peer alone. */
  #inward(child: Child): readonly NewPolicy[] {
    const { local } = child.states.ends;
    const through = templates(child, undefined, local.ip);
    const { kernel } = child.spec.packets ?? {};
    const offload = child.states.card('inbound');
    return child.matches.flatMap((match) => {
      const policy = { ...this.#policy(match, 'in', through, kernel), ...(offload === undefined ? {} : { offload }) };
      // no card has policies for what is passed on
      return child.spec.mode === 'transport' ? [policy] : [policy, this.#policy(match, 'fwd', through, kernel)];
    });
  }

  /** What was to be protected once does not leave in clear afterwards; who was lent an address by us takes it along. */
  #closeBehind({ spec, matches }: Child): void {
    const lent = matches.every(({ remote }) => spec.assigned.includes(remote.split('/')[0]!));
    if (!lent)
      this.#policies.claim(
        shunt(spec, matches),
        Rank.SHUNT,
        matches.map((match) => this.#dropping(match, 'out', spec.packets?.kernel)),
      );
  }

  #policy(match: PolicyMatch, direction: XfrmDirection, through: readonly XfrmTemplate[], kernel: KernelPolicy = {}): NewPolicy {
    const [ifId, mark] = direction === 'out' ? [kernel.ifIdOut, kernel.markOut] : [kernel.ifIdIn, kernel.markIn];
    return {
      ...policyFor(match, direction, this.#share.number, through),
      ...(ifId === undefined ? {} : { ifId }),
      ...(mark && { mark }),
    };
  }

  #dropping(match: PolicyMatch, direction: XfrmDirection, kernel?: KernelPolicy): NewPolicy {
    return { ...this.#policy(match, direction, [], kernel), action: 'block' };
  }

  #expire({ spec, told }: Child, hard: boolean): void {
    if (!this.#children.has(spec.id)) return;
    const kind = hard ? 'hard-expire' : 'soft-expire';
    // either direction has its own limit, and the first counts
    if (told.has('hard-expire') || told.has(kind)) return;
    told.add(kind);
    this.#onObservation({ kind, child: spec.id });
  }

  /** The kernel does not tell of packets: some CHILD_SAs are looked at each time, and all in turn. */
  #poll(): void {
    this.#timer = undefined;
    this.#passing.refresh();
    const all = [...this.#children.values()];
    const count = Math.min(all.length, POLLED_AT_ONCE);
    for (let i = 0; i < count; i++) {
      const child = all[(this.#polled + i) % all.length]!;
      const before = child.inbound.packets;
      this.#look(child, 'outbound');
      this.#look(child, 'inbound');
      if (child.inbound.packets > before) this.#onObservation({ kind: 'inbound-traffic', child: child.spec.id });
      else if (!child.states.isWhole()) this.#expire(child, true);
    }
    this.#polled = all.length === 0 ? 0 : (this.#polled + count) % all.length;
    if (this.#children.size > 0) this.#timer ??= this.#clock.after(POLL, () => this.#poll());
  }

  /** Counters as the kernel has them now; when they last grew is known as exactly as one looks. */
  #look(child: Child, way: Way): XfrmState | undefined {
    const state = child.states.read(way);
    const { [way]: usage } = child;
    if (state === undefined) return undefined;
    const packets = Number(state.use.packets - usage.seen.packets);
    if (packets > 0) usage.lastUse = this.#clock.now();
    usage.packets += packets;
    usage.bytes += Number(state.use.bytes - usage.seen.bytes);
    usage.seen = state.use;
    return state;
  }

  #index(child: Child): void {
    this.#byInbound.set(child.states.id('inbound'), child);
    this.#byOutbound.set(child.states.id('outbound'), child);
  }

  #unindex(child: Child): void {
    this.#byInbound.delete(child.states.id('inbound'));
    this.#byOutbound.delete(child.states.id('outbound'));
  }

  #refuseDuplicate(spec: ChildSaSpec): void {
    for (const { spec: other } of this.#children.values()) {
      if (other.id !== spec.id && (other.inbound.spi !== spec.inbound.spi || other.protocol !== spec.protocol)) continue;
      throw new DataPlaneError(`CHILD_SA ${spec.id} has the number or the inbound SPI of one that stands`, {
        code: 'SPI_IN_USE',
        backend: 'xfrm',
        hint: 'Delete the other one first.',
      });
    }
  }
}

interface Line {
  readonly key: string;
  readonly reqid: number;
  /** How many there are of it. */
  children: number;
}

interface Child {
  readonly spec: ChildSaSpec;
  readonly states: ChildStates;
  readonly matches: readonly PolicyMatch[];
  readonly line: Line;
  /** false: receives only. */
  sends: boolean;
  readonly told: Set<'soft-expire' | 'hard-expire'>;
  readonly inbound: Usage;
  readonly outbound: Usage;
}

interface Usage {
  packets: number;
  bytes: number;
  lastUse: Millis | undefined;
  /** What the kernel said when it was last asked. */
  seen: { readonly packets: bigint; readonly bytes: bigint };
}

const unused = (): Usage => ({ packets: 0, bytes: 0, lastUse: undefined, seen: NOTHING });
const counted = ({ packets, bytes, lastUse }: Usage): DirectionCounters => ({ packets, bytes, lastUse });

const out = ({ spec }: Child): string => `out ${spec.id}`;
const into = ({ spec }: Child): string => `in ${spec.id}`;
const trapped = (reqid: number): string => `trap ${reqid}`;
const shunt = ({ connection, name }: ChildSaSpec, matches: readonly PolicyMatch[]): string =>
  `shunt ${JSON.stringify([connection, name, matches])}`;

function templates({ spec, line }: Child, source: string | undefined, destination: string): readonly XfrmTemplate[] {
  const { protocol, mode, ipcomp } = spec;
  const ends = mode === 'transport' ? {} : { source, destination };
  const secured = { protocol: protocol === 'AH' ? 'ah' : 'esp', reqid: line.reqid } as const;
  if (ipcomp === undefined) return [{ ...secured, mode, ...ends }];
  // RFC 3173 §2.2: what would not become smaller comes without
  const optional = source === undefined ? { optional: true } : {};
  return [
    { protocol: 'comp', mode, reqid: line.reqid, ...ends, ...optional },
    { ...secured, mode: 'transport' },
  ];
}

const removedByOthers = (count: number): DataPlaneError =>
  new DataPlaneError(
    `another program removed ${count} of the kernel's policies that keep packets from leaving in clear; they stand again`,
    {
      code: 'POLICIES_REMOVED',
      backend: 'xfrm',
      hint: 'Find out what else manages IPsec on this machine: `ip xfrm monitor` shows when it happens.',
    },
  );

const NOTHING = { packets: 0n, bytes: 0n } as const;
const ACTIVATE: ChildSaChange = { kind: 'activate-outbound' };
/** Owner of what the configuration says of packets that no SA carries. */
const SHUNTS = 'shunts';
const POLL: Millis = 1000;
const POLLED_AT_ONCE = 128;
const ONLY = { number: 0, abandoned: (): ReadonlySet<number> => new Set() };
