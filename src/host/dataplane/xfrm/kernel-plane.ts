import { DataPlaneError } from '../../../core/bytes/index.ts';
import type { ChildSaChange, ChildSaSpec, Millis, Observation } from '../../../core/ike/effects.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import type { XfrmEvent } from '../../platform/linux/netlink/xfrm/events.ts';
import type { NewPolicy } from '../../platform/linux/netlink/xfrm/policies.ts';
import type { XfrmState } from '../../platform/linux/netlink/xfrm/states.ts';
import type { ChildCounters, SequenceNumbers, ShuntPolicy, TrapPolicy } from '../data-plane.ts';
import { formersOf } from '../line.ts';
import { ChildStates, type Ends, halved, idOf, refuseUnsupported, sweepStates, type Way } from './child-states.ts';
import type { XfrmKernel } from './kernel.ts';
import { Passing } from './passing.ts';
import { type Claimant, PolicyClaims } from './policy-claims.ts';
import { PolicyTable, Reqids, shareOfPolicy } from './policy-table.ts';
import { matchesOf, type PolicyMatch, packetOf } from './selectors.ts';
import type { Share } from './share.ts';
import { Usage } from './usage.ts';

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
  readonly #claims: PolicyClaims;
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
    this.#claims = new PolicyClaims(this.#policies, share.number);
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
    const child: Child = { spec, states, matches, line, sends: false, told: new Set(), inbound: new Usage(), outbound: new Usage() };
    line.children++;
    this.#children.set(spec.id, child);
    try {
      states.add('inbound');
      this.#claims.inward(child);
      if (spec.outboundActive) this.#startSending(child);
      else this.#claims.outward(child, false);
      this.#claims.closeBehind(child);
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
      else if (change.kind === 'skip') this.#skip(child, change.direction, change.by);
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
    this.#claims.release(child);
    child.states.destroy();
    if (--child.line.children === 0) this.#reqids.give(child.line.reqid);
  }

  counters(id: number): ChildCounters | undefined {
    const child = this.#children.get(id);
    if (child === undefined) return undefined;
    const inbound = this.#look(child, 'inbound');
    this.#look(child, 'outbound');
    return {
      inbound: child.inbound.told(),
      outbound: child.outbound.told(),
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
        this.#passing.beside(matchesOf(trap.localTs, trap.remoteTs));
        this.#claims.trap(reqid, trap);
      }
    } catch (error) {
      for (const reqid of made) this.#untrap(reqid);
      throw error;
    }
    for (const reqid of former) this.#untrap(reqid);
  }

  /** @throws DataPlaneError; the former ones stand then */
  setShunts(shunts: readonly ShuntPolicy[]): void {
    this.#claims.shunts(shunts);
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

  /** Of the CHILD_SA that it takes over from, or of one that is for the same packets of the same child. */
  #lineOf(spec: ChildSaSpec, matches: readonly PolicyMatch[]): Line {
    const former = spec.replaces === undefined ? undefined : this.#children.get(spec.replaces)?.line;
    if (former !== undefined) return former;
    const { connection, name, protocol, mode } = spec;
    const key = JSON.stringify([connection, name, protocol, mode, matches]);
    for (const { line } of this.#children.values()) if (line.key === key) return line;
    return { key, reqid: this.#reqids.take(), children: 0 };
  }

  #untrap(reqid: number): void {
    this.#claims.untrap(reqid);
    this.#traps.delete(reqid);
    this.#reqids.give(reqid);
  }

  #startSending(child: Child): void {
    child.states.add('outbound');
    child.sends = true;
    this.#claims.outward(child, true);
    for (const former of formersOf(child, this.#children, ({ spec }) => spec.replaces)) {
      if (!former.sends) continue;
      former.sends = false;
      this.#claims.outward(former, false);
    }
  }

  #stopSending(child: Child): void {
    this.#look(child, 'outbound');
    this.#handOver(child);
    this.#claims.releaseOutward(child);
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
    refuseUnsupported({ ...child.spec, ...to });
    this.#unindex(child);
    for (const way of ['inbound', 'outbound'] as const) this.#look(child, way);
    const anew = child.states.move(to, () => {
      this.#claims.outward(child, child.sends);
      this.#claims.inward(child);
    });
    if (anew) for (const usage of [child.inbound, child.outbound]) usage.anew();
    this.#index(child);
  }

  #skip(child: Child, way: 'inbound' | 'outbound', by: bigint): void {
    const stood = child.states.has(way);
    this.#look(child, way);
    child.states.skip(way, by);
    if (stood) child[way].anew();
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
    if (state !== undefined) child[way].read(state.use, this.#clock.now());
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

interface Child extends Claimant {
  readonly line: Line;
  /** false: receives only. */
  sends: boolean;
  readonly told: Set<'soft-expire' | 'hard-expire'>;
  readonly inbound: Usage;
  readonly outbound: Usage;
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

const ACTIVATE: ChildSaChange = { kind: 'activate-outbound' };
const POLL: Millis = 1000;
const POLLED_AT_ONCE = 128;
const ONLY = { number: 0, abandoned: (): ReadonlySet<number> => new Set() };
