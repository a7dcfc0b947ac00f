import { InternalError } from '../bytes/errors.ts';
import { NONE } from '../bytes/lists.ts';
import { OctetPool } from '../bytes/octet-pool.ts';
import { zeroise } from '../crypto/index.ts';
import type { TrafficSelector } from '../wire/index.ts';
import { CHILD_SA_TRANSITIONS, type ChildSaState } from './child-sa-state.ts';
import type { ChildSaInfo, ChildSaSpec, Millis } from './effects.ts';
import type { ChildSuite } from './keys.ts';
import type { ChildPolicy } from './policy.ts';
import { childSuiteText } from './proposals.ts';
import { timerSet } from './timers.ts';

/** Traffic selectors from our point of view. */
export interface SelectorPair {
  readonly localTs: readonly TrafficSelector[];
  readonly remoteTs: readonly TrafficSelector[];
}

/** A CHILD_SA as the control plane sees it: a pair of ESP or AH SAs under one policy (RFC 7296 §1.1.2). */
export class ChildSa {
  readonly id: number;
  readonly policy: ChildPolicy;
  readonly suite: ChildSuite;
  readonly spec: ChildSaSpec;
  readonly establishedAt: Millis;
  /** Of the exchange that made it: the collision rules compare them (RFC 7296 §2.8.1). */
  readonly lowestNonce: Uint8Array;
  readonly createdByUs: boolean;
  /** What the peer had asked for, where we narrowed it: some peers go on believing in it (Windows), and take no other selectors in a rekeying. */
  readonly asked: SelectorPair | undefined;
  state: ChildSaState = 'installing';
  /** A successor serves in its place. */
  replaced = false;
  /** We may send on it: the peer has shown that it receives there, or is about to end what came before (RFC 7296 §2.8). */
  activated: boolean;
  /** Our Delete of it is on its way: until then it waits for room in the window. */
  deleteSent = false;
  /** The IKE SA it hangs on now; an IKE rekey moves it. */
  ikeSa: number;
  /** A successor that the peer made while our own rekeying was under way. */
  peerSuccessor: ChildSa | undefined;
  /** What took its place here, ours or the peer's. */
  successor: ChildSa | undefined;
  /** The child of an older authentication whose traffic this one waits for, and the other way round. */
  takesOverFrom: ChildSa | undefined;
  takenOverBy: ChildSa | undefined;
  /** The child of a newer authentication that sends in its place. */
  standIn: ChildSa | undefined;
  rekeyAt: Millis | undefined;
  /** When traffic was last known of, also on the child that this one replaced. */
  busyAt: Millis | undefined;
  /** It is gone and meant to be up always: another one is asked for, unless what a rekeying of ours brings takes its place. */
  wantedBack = false;
  /** Lives of this process that took it over from one before. */
  readonly restarts: number;
  readonly timers: InstanceType<typeof ChildSaTimers>;

  constructor(fields: {
    spec: ChildSaSpec;
    policy: ChildPolicy;
    suite: ChildSuite;
    establishedAt: Millis;
    lowestNonce: Uint8Array;
    createdByUs: boolean;
    asked?: SelectorPair | undefined;
    restarts?: number | undefined;
  }) {
    this.id = fields.spec.id;
    this.ikeSa = fields.spec.ikeSa;
    this.spec = fields.spec;
    this.policy = fields.policy;
    this.suite = fields.suite;
    this.establishedAt = fields.establishedAt;
    // by itself: as part of the peer's message it would keep that
    this.lowestNonce = NONCES.keep(fields.lowestNonce);
    this.createdByUs = fields.createdByUs;
    this.asked = fields.asked;
    this.restarts = fields.restarts ?? 0;
    this.activated = fields.spec.outboundActive;
    this.timers = new ChildSaTimers(this.id);
  }

  get inboundSpi(): number {
    return this.spec.inbound.spi;
  }

  get outboundSpi(): number {
    return this.spec.outbound.spi;
  }

  get localTs(): readonly TrafficSelector[] {
    return this.spec.localTs;
  }

  get remoteTs(): readonly TrafficSelector[] {
    return this.spec.remoteTs;
  }

  /** The only way to change state; use `World.childTransition`, which also notices. */
  enter(to: ChildSaState): ChildSaState {
    const from = this.state;
    if (!CHILD_SA_TRANSITIONS[from].includes(to)) throw new InternalError(`CHILD_SA ${this.id} cannot go from ${from} to ${to}`);
    this.state = to;
    if (to === 'rekeyed') this.replaced = true;
    else if (to === 'installed') this.replaced = false;
    return from;
  }

  /** Asked anew each time: what a routine waited for may have changed the state. */
  is(one: ChildSaState, or?: ChildSaState, other?: ChildSaState, last?: ChildSaState): boolean {
    const { state } = this;
    return state === one || state === or || state === other || state === last;
  }

  /** Itself and what it replaced: as long as a rekeying of either is under way, nobody knows which successor stays (RFC 7296 §2.8.1). */
  get line(): readonly number[] {
    const { replaces } = this.spec;
    return replaces === undefined ? [this.id] : [this.id, replaces];
  }

  /** The child at the end of the line of rekeyings: this one, where nothing replaced it. */
  get heir(): ChildSa {
    return this.successor?.heir ?? this;
  }

  /** What the peer put in its place while our own rekeying was under way, or what has replaced that since. */
  get rival(): ChildSa | undefined {
    const heir = this.peerSuccessor?.heir;
    return heir?.usable ? heir : undefined;
  }

  /** Who serves now, of this child and what replaced it. */
  get serving(): ChildSa | undefined {
    return this.heir.usable ? this.heir : this.rival;
  }

  /** Who sends now: a successor that the peer made does not before the peer has shown that it has it (RFC 7296 §2.8). */
  get sending(): ChildSa | undefined {
    if (this.usable) return this;
    const next = this.successor ?? this.peerSuccessor;
    if (this.is('rekeyed') && next?.activated === false) return this;
    return next?.sending ?? this.serving;
  }

  get usable(): boolean {
    return this.state === 'installed' || this.state === 'rekeying';
  }

  /** Until the child is removed a snapshot may still need them. */
  forgetKeys(): void {
    for (const half of [this.spec.inbound, this.spec.outbound]) zeroise(half.encryptionKey, half.integrityKey);
  }

  info(): ChildSaInfo {
    const { protocol, mode } = this.spec;
    const packets = packetWords(this.spec);
    return {
      id: this.id,
      name: this.spec.name,
      state: this.state,
      protocol,
      mode,
      inboundSpi: this.inboundSpi,
      outboundSpi: this.outboundSpi,
      suite: childSuiteText(this.suite),
      localTs: this.localTs,
      remoteTs: this.remoteTs,
      packets: packets.length > 0 ? packets : undefined,
      establishedAt: this.establishedAt,
      rekeyAt: this.rekeyAt,
    };
  }
}

/** For `status`. */
function packetWords({ ipcomp, laterFragments, packets, unpadded, mode }: ChildSaSpec): readonly string[] {
  if (ipcomp === undefined && laterFragments !== true && packets === undefined) return NONE;
  const { tfc = 0, dummies = 0 } = packets ?? {};
  return [
    ...(ipcomp ? ['IPComp'] : []),
    ...(laterFragments === true ? ['later fragments'] : []),
    ...(tfc !== 0 && unpadded !== true && mode === 'tunnel' ? [`padded to ${tfc === 'mtu' ? 'the MTU' : tfc}`] : []),
    ...(dummies > 0 ? [`${dummies} dummies/s`] : []),
  ];
}

const NONCES = new OctetPool();

const ChildSaTimers = timerSet({
  rekey: 'rekey-child',
  expire: 'expire-child',
  retire: 'retire-child',
  idle: 'idle-child',
  takeOver: 'take-over',
});
