import { concat, EMPTY, toHex } from '../bytes/bytes.ts';
import { ApiMisuse, TunnelwrightError } from '../bytes/errors.ts';
import { NONE, withLast, without } from '../bytes/lists.ts';
import type { RandomSource } from '../crypto/index.ts';
import {
  describeMessage,
  type Identification,
  type IkeHeader,
  type Message,
  type Payload,
  parseMessage,
  summarise,
  type TrafficSelector,
} from '../wire/index.ts';
import { Asks } from './asks.ts';
import type { ChildSa } from './child-sa.ts';
import type { ChildSaState } from './child-sa-state.ts';
import { COLLISIONS, type Collisions } from './collisions.ts';
import { EffectQueue } from './effect-queue.ts';
import type { ChildSaChange, Datagram, Effect, Millis, Notice } from './effects.ts';
import { HalfOpen } from './half-open.ts';
import type { IkeSa, Job } from './ike-sa.ts';
import type { IkeSaState } from './ike-sa-state.ts';
import { drop, receiveForSa, refuseVersion, suspect } from './inbound.ts';
import { follow } from './initiation.ts';
import { armChildTimers } from './lifetimes.ts';
import type { Outstanding } from './message-window.ts';
import { isFirst } from './messenger.ts';
import { pumpJobs, sendRequest } from './outbound.ts';
import { isOverTcp, type Path, pathOf } from './path.ts';
import type { Connection, EndpointLimits } from './policy.ts';
import { Reconnects, scheduleReconnect } from './reconnect.ts';
import type { Routine } from './routine.ts';
import { type Granter, runRoutine } from './routine-runner.ts';
import { SaRegistry } from './sa-registry.ts';
import { Strangers } from './strangers.ts';
import { retireChild } from './tasks/child-delete.ts';
import { settleReplaced } from './tasks/child-rekey.ts';
import { answerUnknownIkeSa, complainedOf, TokenMaker } from './tasks/crash-detection.ts';
import { lineOf } from './tasks/mobike-line.ts';
import { espInUdp } from './tasks/nat-detection.ts';
import { settleTakeOver } from './tasks/reauthentication.ts';
import { Redirects } from './tasks/redirect.ts';
import { retireTicket, TicketWallet } from './tasks/resumption.ts';
import { endStreams, noteStreams } from './tasks/tcp-leaving.ts';
import { openAgain, probeTcp } from './tasks/tcp-streams.ts';
import { TicketOffice } from './tasks/tickets.ts';
import { type Timer, TimerQueue, type TimerSet } from './timers.ts';
import { TokenBucket } from './token-bucket.ts';
import type { EndpointOptions, World } from './world.ts';

/** The endpoint as exchanges and tasks see it. */
export class EndpointWorld implements World {
  now: Millis = 0;
  connections: readonly Connection[];
  readonly options: EndpointOptions;
  readonly collisions: Collisions = COLLISIONS;
  readonly #sas = new SaRegistry();
  readonly ikeSas: ReadonlyMap<number, IkeSa> = this.#sas.ikeSas;
  readonly timers = new TimerQueue();
  readonly effects = new EffectQueue();
  readonly asks: Asks;
  readonly halfOpen: HalfOpen;
  readonly chosenSpis = new Set<string>();
  readonly reconnects = new Reconnects();
  readonly redirects = new Redirects();
  ownAddresses: World['ownAddresses'];
  readonly tickets: TicketOffice;
  readonly wallet = new TicketWallet();
  readonly tokens: TokenMaker | undefined;
  readonly complaints = new TokenBucket(10, 5);
  readonly strangers: Strangers;
  pressed = false;
  /** Grants every routine its wishes. */
  readonly #granter: Granter = {
    ask: (sa, ask, within, answered) => this.asks.put(sa.id, sa.rank, ask, this.now + within, answered),
    request: (sa, request, answered, refused) => sendRequest(this, sa, request, answered, refused),
  };
  #lastIkeSaId = 0;
  #lastChildId = 0;

  constructor(options: EndpointOptions) {
    this.options = options;
    this.connections = options.connections;
    this.asks = new Asks(this.timers, (effect) => this.emit(effect));
    this.halfOpen = new HalfOpen(this);
    this.strangers = new Strangers(options.limits);
    this.tokens = options.secret && new TokenMaker(options.secret);
    this.tickets = new TicketOffice(options.random, options.secret && concat(options.secret, options.credentialsDigest ?? EMPTY));
  }

  get random(): RandomSource {
    return this.options.random;
  }

  get limits(): EndpointLimits {
    return this.options.limits;
  }

  receive(received: Datagram): void {
    if (this.halfOpen.turnsAway(this, received)) return;
    const datagram = received.data.constructor === Uint8Array ? received : { ...received, data: plainView(received.data) };
    let message: Message;
    try {
      message = parseMessage(datagram.data);
    } catch (error) {
      if (!(error instanceof TunnelwrightError)) throw error;
      if (error.code === 'UNSUPPORTED_MAJOR_VERSION') refuseVersion(this, datagram);
      return drop(
        this,
        datagram,
        error.code === 'MALFORMED_MESSAGE' ? 'malformed' : error.code.toLowerCase().replaceAll('_', '-'),
        error.message,
      );
    }
    const { header } = message;
    const first = isFirst(header.exchange) && !header.flags.response;
    if (first) {
      // RFC 7296 §2.6: the first request knows no SPIr
      const plausible =
        header.flags.initiator && header.messageId === 0 && header.spiR.every((o) => o === 0) && header.spiI.some((o) => o !== 0);
      return plausible
        ? this.halfOpen.receive(this, message, datagram)
        : drop(this, datagram, 'implausible-init', 'flags, Message ID or SPIs do not fit a first request');
    }
    const own = header.flags.initiator ? header.spiR : header.spiI;
    const sa = this.bySpi(own);
    if (sa === undefined) return this.#receiveStray(message, datagram, own);
    receiveForSa(this, sa, message, datagram);
  }

  /** For no IKE SA that is here: one that a life before had, or a complaint about our ESP. */
  #receiveStray(message: Message, datagram: Datagram, own: Uint8Array): void {
    if (!this.strangers.isKnown(this.connections, datagram.remote.ip)) return drop(this, datagram, 'unknown-source', datagram.remote.ip);
    const complaint = complainedOf(this, message, datagram.remote);
    if (complaint) return suspect(this, complaint.sa, message, datagram, complaint.crashed);
    answerUnknownIkeSa(this, message, datagram);
    drop(this, datagram, 'unknown-spi', toHex(own));
  }

  bySpi(own: Uint8Array): IkeSa | undefined {
    return this.#sas.bySpi(toHex(own));
  }

  wall(): number {
    return (this.options.epoch ?? 0) + this.now;
  }

  emit(effect: Effect): void {
    this.effects.put(effect);
  }

  notice(notice: Notice): void {
    this.effects.put({ kind: 'notice', at: this.now, notice });
  }

  message(sa: IkeSa | undefined, direction: 'in' | 'out', header: IkeHeader, payloads: readonly Payload[]): void {
    if (!this.options.logMessages) return;
    const text = `${summarise(header, payloads)}\n${describeMessage(header, payloads)}`;
    this.notice({ kind: 'message', ikeSa: sa?.id, direction, text });
  }

  arm(timer: Timer, at: Millis): void {
    this.timers.arm(timer, at);
  }

  clear(timer: Timer): void {
    this.timers.clear(timer);
  }

  disarm<K extends string>(timers: TimerSet<K>, ...names: readonly NoInfer<K>[]): void {
    for (const name of names) this.timers.clear(timers.drop(name));
  }

  ownPort(encap: boolean): number {
    const ports = this.options.ports ?? STANDARD_PORTS;
    return encap ? ports.nat : ports.ike;
  }

  run<T>(sa: IkeSa, routine: Routine<T>, done: (value: T) => void, failed: (error: unknown) => void): void {
    runRoutine(this.#granter, sa, routine, done, failed);
  }

  enqueue(sa: IkeSa, job: Job): void {
    const same = ({ key }: Job): boolean => key === job.key;
    if (sa.state === 'dead' || sa.jobs.some(same) || sa.deferred.some(same)) return;
    sa.jobs = withLast(sa.jobs, job);
    pumpJobs(this, sa);
  }

  pump(sa: IkeSa): void {
    pumpJobs(this, sa);
  }

  transition(sa: IkeSa, to: IkeSaState): void {
    const from = sa.enter(to);
    if (from === 'half-open') sa.pending = undefined;
    // one whose IKE_AUTH failed still repeats its answer: until it is gone it counts among the strangers
    if (to === 'established' || to === 'dead') this.halfOpen.forget(sa, this.now, to === 'established');
    this.notice({ kind: 'ike-state', ikeSa: sa.id, connection: sa.connection?.name, from, to });
  }

  childTransition(child: ChildSa, to: ChildSaState): void {
    const from = child.enter(to);
    if (to === 'installed' && from === 'installing') armChildTimers(this, child);
    if (to === 'rekeyed' || to === 'deleting' || to === 'retired') this.disarm(child.timers, 'rekey', 'idle');
    this.notice({ kind: 'child-state', child: child.id, ikeSa: child.ikeSa, name: child.spec.name, from, to });
  }

  nextIkeSaId(): number {
    return ++this.#lastIkeSaId;
  }

  nextChildId(): number {
    return ++this.#lastChildId;
  }

  allocateIkeSpi(): Uint8Array {
    let spi = this.random.ikeSpi();
    // RFC 7296 §2.6: it tells this IKE SA from every other one
    for (let attempt = 1; attempt < MOST_DRAWS && this.#isTaken(toHex(spi)); attempt++) spi = this.random.ikeSpi();
    return spi;
  }

  #isTaken = (spi: string): boolean => this.#sas.bySpi(spi) !== undefined || this.chosenSpis.has(spi);

  allocateChildSpi(): number {
    for (let attempt = 0; attempt < MOST_DRAWS; attempt++) {
      const spi = this.random.childSpi();
      if (spi > RESERVED_SPIS && !this.#sas.hasInboundSpi(spi)) return spi;
    }
    throw new ApiMisuse('the random source keeps drawing SPIs that are reserved or in use', { code: 'NO_SPI' });
  }

  add(sa: IkeSa): void {
    this.#sas.add(sa);
    if (this.options.logKeys && sa.hasKeys) this.logKeys(sa);
  }

  provenAs(id: Identification): Iterable<IkeSa> {
    return this.#sas.provenAs(id);
  }

  noteProven(sa: IkeSa): void {
    const waiting = sa.connection && this.reconnects.stands(sa.connection.name);
    if (waiting) this.clear(waiting);
    this.#sas.noteProven(sa);
  }

  noteForged(sa: IkeSa): void {
    this.halfOpen.noteForged(sa);
  }

  /** The one place where keys leave, and only when the operator asked for it. */
  logKeys(sa: IkeSa): void {
    const { suite, SK_ei, SK_er, SK_ai, SK_ar } = sa.keys;
    const keys = { SK_ei: SK_ei.slice(), SK_er: SK_er.slice(), SK_ai: SK_ai.slice(), SK_ar: SK_ar.slice() };
    this.notice({
      kind: 'ike-keys',
      ikeSa: sa.id,
      keys: { spiI: sa.spiI, spiR: sa.spiR, encryption: suite.encryption, keyLength: suite.keyLength, integrity: suite.integrity, ...keys },
    });
  }

  kill(sa: IkeSa, reason: string, error?: unknown): void {
    if (sa.state === 'dead') return;
    const announced = sa.state === 'lingering';
    this.#end(sa, 'dead', reason);
    this.#sas.remove(sa);
    endStreams(this, sa);
    this.disarm(sa.timers, 'linger');
    if (sa.successor?.predecessor === sa) sa.successor.predecessor = undefined;
    sa.destroyKeys();
    if (!announced) this.#announceEnd(sa, reason, error);
  }

  linger(sa: IkeSa, reason: string, error?: unknown): void {
    if (sa.state === 'dead' || sa.state === 'lingering') return;
    const stranger = sa.establishedAt === undefined;
    this.#end(sa, 'lingering', reason);
    this.arm(sa.timers.linger, this.now + (stranger ? Math.min(LINGER, this.limits.halfOpenLife) : LINGER));
    this.#announceEnd(sa, reason, error);
  }

  #end(sa: IkeSa, to: 'dead' | 'lingering', reason: string): void {
    this.transition(sa, to);
    // the peer decided against its own
    const undecided = sa.isUndecided ? sa.predecessor : undefined;
    if (undecided) undecided.peerSuccessor = undefined;
    sa.window.drop('cancelled');
    for (const cancel of sa.cancels) cancel();
    sa.jobs = NONE;
    sa.deferred = NONE;
    for (const timer of sa.timers.made) if (timer.kind !== 'linger') this.clear(timer);
    for (const child of sa.children) if (!this.#outlives(child)) this.removeChild(child, reason);
    if (sa.successor === undefined && sa.leased) this.emit({ kind: 'lease-release', ikeSa: sa.leasedAs });
    sa.leased = false;
    // a child that was still being made here waited there
    if (sa.successor) this.pump(sa.heir);
    // and what waited for the decision goes on where it was
    if (undecided) this.pump(undecided);
  }

  /** Where a new authentication's child sends already, packets that the end of the old one overtook still find their SA (D02), as after a rekeying. */
  #outlives(child: ChildSa): boolean {
    const to = child.usable ? this.ikeSas.get(child.standIn?.sending?.ikeSa ?? 0) : undefined;
    if (to === undefined || to.id === child.ikeSa) return false;
    const from = this.ikeSas.get(child.ikeSa);
    if (from) from.children = without(from.children, child);
    this.#own(to, child);
    retireChild(this, child);
    return true;
  }

  #announceEnd(sa: IkeSa, reason: string, error: unknown): void {
    const known = error instanceof TunnelwrightError ? error : undefined;
    retireTicket(this, sa, known);
    if (known) scheduleReconnect(this, sa, known);
    this.notice({ kind: 'ike-down', ikeSa: sa.id, connection: sa.connection?.name, reason, error: known });
    // our own mistake must not hide: whoever runs the endpoint decides what to do with it
    if (error !== undefined && known === undefined) throw error;
  }

  addChild(sa: IkeSa, child: ChildSa): void {
    this.#sas.addChild(sa, child);
  }

  childrenTowards(remoteTs: readonly TrafficSelector[]): Iterable<ChildSa> {
    return this.#sas.childrenTowards(remoteTs);
  }

  child(id: number): ChildSa | undefined {
    return this.#sas.child(id);
  }

  removeChild(child: ChildSa, reason: string): void {
    if (child.state === 'dead') return;
    const wasInstalling = child.state === 'installing';
    this.childTransition(child, 'dead');
    for (const timer of child.timers.made) this.clear(timer);
    this.#sas.removeChild(child);
    // an open Ask still points at them: `notInstalled` overwrites them when it is over
    if (!wasInstalling) child.forgetKeys();
    settleTakeOver(this, child);
    settleReplaced(this, child);
    this.emit({ kind: 'child-remove', child: child.id, reason });
    this.notice({ kind: 'child-down', child: child.id, ikeSa: child.ikeSa, name: child.spec.name, reason });
  }

  moveChildren(from: IkeSa, to: IkeSa): void {
    for (const child of from.children) this.#own(to, child);
    from.children = NONE;
    // what was about the old SA itself is done with it
    const waiting = [...from.jobs, ...from.deferred].filter((job) => !OF_THE_OLD.has(job.key));
    from.jobs = NONE;
    from.deferred = NONE;
    this.disarm(from.timers, 'retry');
    for (const job of waiting) if (![...to.jobs, ...to.deferred].some((j) => j.key === job.key)) to.jobs = withLast(to.jobs, job);
  }

  #own(to: IkeSa, child: ChildSa): void {
    child.ikeSa = to.id;
    to.children = withLast(to.children, child);
    this.#update(child, { kind: 'owner', ikeSa: to.id });
  }

  follow(sa: IkeSa, gateway: string): void {
    follow(this, sa, gateway);
  }

  openStream(sa: IkeSa): void {
    openAgain(this, sa);
  }

  probeTcp(sa: IkeSa, request: Outstanding): void {
    probeTcp(this, sa, request);
  }

  moved(sa: IkeSa, path: Path): void {
    // one peer, one mapping: a successor that is made already, or the SA that it replaces, is there as well
    for (const one of lineOf(sa)) {
      this.moveIke(one, path);
      this.moveTraffic(one, { ...pathOf(path), encap: espInUdp(one) });
    }
  }

  moveIke(sa: IkeSa, { local, remote, encap, transport }: Path): void {
    const before = pathOf(sa);
    if (before.local.ip !== local.ip || before.remote.ip !== remote.ip) sa.datagram = undefined;
    sa.local = local;
    sa.remote = remote;
    // RFC 9329 §7.1: behind a stream, too, ESP is in UDP only where a NAT asks for it
    if (encap && (!before.encap || (isOverTcp(before) && transport !== 'tcp'))) sa.floated = true;
    sa.encap = encap;
    sa.transport = transport;
    noteStreams(this, sa, before);
  }

  moveTraffic(sa: IkeSa, path: Path): void {
    for (const child of sa.children) this.#update(child, { kind: 'addresses', ...pathOf(path) });
  }

  #update(child: ChildSa, change: ChildSaChange): void {
    if (child.state !== 'dead') this.emit({ kind: 'child-update', child: child.id, change });
  }
}

/** A platform may hand over a subclass whose `slice` is a view; here it copies. */
const plainView = (data: Uint8Array): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** Jobs that are of no use on the IKE SA that replaced theirs. */
const OF_THE_OLD: ReadonlySet<string> = new Set(['rekey-ike', 'liveness', 'restored']);
const STANDARD_PORTS = { ike: 500, nat: 4500 };
/** RFC 4303 §2.1: 1–255 are reserved by IANA, 0 is for local use. */
const RESERVED_SPIS = 255;
/** A source that draws nothing else by then draws nothing at all. */
const MOST_DRAWS = 64;
/** As long as a peer that missed our last answer keeps asking for it. */
const LINGER: Millis = 30_000;
