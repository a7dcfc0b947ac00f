import { InternalError } from '../../core/bytes/index.ts';
import { type EndpointOptions, EndpointWorld, type Notice } from '../../core/ike/index.ts';
import { ExchangeType, type IkeHeader, NotifyType, type Payload, ProtocolId } from '../../core/wire/index.ts';

/** Told what an endpoint does that it must not. */
export type Judge = (what: string) => void;

type IkeSa = NonNullable<Parameters<EndpointWorld['message']>[0]>;

/** What one end has asked for and not been answered. */
interface Wish {
  readonly exchange: number;
  /** SPIs that the sender of the request receives on: of a child to be rekeyed, of children to be deleted. */
  readonly rekeys: number | undefined;
  readonly deletes: readonly number[];
  readonly ofIke: boolean;
}

/** What the answer to a request of the peer must say, by what was under way when it came. */
type Due =
  | { readonly kind: 'refuse'; readonly notify: number; readonly why: string }
  | { readonly kind: 'accept'; readonly why: string }
  /** Inbound SPIs that its Delete payloads name, and those they do not. */
  | { readonly kind: 'delete'; readonly named: readonly number[]; readonly unnamed: readonly number[] };

interface Book {
  readonly wishes: Map<number, Wish>;
  readonly due: Map<number, { readonly due: Due; readonly uninstalled: number }>;
  next: number | undefined;
  /** The Message ID of the peer’s Delete of the IKE SA. */
  closing: number | undefined;
  closed: boolean;
}

/**
 * An endpoint whose every message is read, and held against RFC 7296: Message IDs by §2.2, requests that cross by §1.4.1 and §2.25. What is
 * under way is taken from the messages, not from the rows that the endpoint itself decides by.
 */
export class RefereedWorld extends EndpointWorld {
  readonly #judge: Judge;
  readonly #books = new WeakMap<IkeSa, Book>();
  /** Inbound SPIs that a Delete of ours has named. */
  readonly #deleted = new Set<number>();
  /** Children that the data plane did not take: that is a temporary failure, too. */
  #uninstalled = 0;

  constructor(options: EndpointOptions, judge: Judge) {
    super(options);
    this.#judge = judge;
  }

  override message(...args: Parameters<EndpointWorld['message']>): void {
    super.message(...args);
    const [sa, direction, header, payloads] = args;
    if (sa === undefined) return;
    const { messageId, flags } = header;
    const book = this.#bookOf(sa);
    if (direction === 'out') {
      this.#checkDeletes(payloads);
      if (flags.response) this.#answered(book, messageId, payloads);
      else this.#asked(sa, book, header, payloads);
    } else if (flags.response) book.wishes.delete(messageId);
    // a copy of a request is told again
    else if (sa.window.judge(messageId) === 'new') this.#heard(sa, book, header, payloads);
  }

  /** Whatever is answered, a defect of ours is none of the reasons that the standard knows for it. */
  override notice(notice: Notice): void {
    super.notice(notice);
    if ('error' in notice && notice.error instanceof InternalError) this.#judge(notice.error.stack ?? notice.error.message);
  }

  override childTransition(...args: Parameters<EndpointWorld['childTransition']>): void {
    const [child, to] = args;
    if (child.is('installing') && to === 'dead') this.#uninstalled++;
    if (child.is('deleting') && to === 'dead') this.#checkClosed(child);
    super.childTransition(...args);
  }

  #bookOf(sa: IkeSa): Book {
    let book = this.#books.get(sa);
    if (book === undefined) {
      // §2.18: an IKE SA that was made by a rekeying begins at 0; one that was restored goes on
      const next = sa.lowestNonce === undefined ? undefined : 0;
      book = { wishes: new Map(), due: new Map(), next, closing: undefined, closed: false };
      this.#books.set(sa, book);
    }
    return book;
  }

  #asked(sa: IkeSa, book: Book, { exchange, messageId }: IkeHeader, payloads: readonly Payload[]): void {
    const { next } = book;
    const begins = exchange === ExchangeType.IKE_SA_INIT || exchange === ExchangeType.IKE_SESSION_RESUME;
    // §2.2: each request has the next number; the first one keeps its own when it is sent anew
    if (!begins && next !== undefined && messageId !== next)
      this.#judge(`a request of IKE SA ${sa.id} has Message ID ${messageId} where ${next} comes next`);
    book.next = messageId + 1;
    if (book.closed) this.#judge(`a request goes out on IKE SA ${sa.id}, whose end was answered`);
    book.wishes.set(messageId, wishOf(exchange, payloads));
  }

  #heard(sa: IkeSa, book: Book, { exchange, messageId }: IkeHeader, payloads: readonly Payload[]): void {
    if (!sa.isEstablished && !sa.is('replaced', 'deleting')) return;
    const wish = wishOf(exchange, payloads);
    if (exchange === ExchangeType.INFORMATIONAL && wish.ofIke) book.closing = messageId;
    // what the peer has moved to its own successor is found there from now on
    if (sa.isUndecided) return;
    const due = dueTo(sa, [...book.wishes.values()], wish);
    if (due !== undefined) book.due.set(messageId, { due, uninstalled: this.#uninstalled });
  }

  #answered(book: Book, messageId: number, payloads: readonly Payload[]): void {
    if (book.closing === messageId) book.closed = true;
    const { due, uninstalled } = book.due.get(messageId) ?? {};
    book.due.delete(messageId);
    if (due === undefined || (due.kind === 'accept' && uninstalled !== this.#uninstalled)) return;
    const wrong = faultOf(due, payloads);
    if (wrong !== undefined) this.#judge(wrong);
  }

  /** §1.4.1: what we receive on goes with the response to our Delete, whatever the peer has asked for meanwhile. */
  #checkClosed({ ikeSa, inboundSpi }: { readonly ikeSa: number; readonly inboundSpi: number }): void {
    const sa = this.ikeSas.get(ikeSa);
    if (!sa?.isEstablished || ![...this.#bookOf(sa).wishes.values()].some(({ deletes }) => deletes.includes(inboundSpi))) return;
    this.#judge(`the inbound half ${inboundSpi.toString(16)} is closed before the Delete of it is answered (§1.4.1)`);
  }

  /** §1.4.1: a half is deleted once, be it by a request or by an answer. */
  #checkDeletes(payloads: readonly Payload[]): void {
    for (const spi of deletedBy(payloads)) {
      if (this.#deleted.has(spi)) this.#judge(`the inbound half ${spi.toString(16)} is deleted twice`);
      this.#deleted.add(spi);
    }
  }
}

function dueTo(sa: IkeSa, ours: readonly Wish[], wish: Wish): Due | undefined {
  const { exchange } = wish;
  if (exchange === ExchangeType.INFORMATIONAL) return wish.deletes.length === 0 ? undefined : deletesDue(sa, ours, wish);
  if (exchange !== ExchangeType.CREATE_CHILD_SA) return undefined;
  if (sa.is('deleting', 'replaced')) return temporary('the IKE SA is being closed (§2.25.2)');
  const rekeysIke = ours.some((one) => one.exchange === exchange && one.ofIke);
  if (wish.ofIke) {
    if (ours.some((one) => one.deletes.length > 0 || (one.exchange === exchange && !one.ofIke)))
      return temporary('a child is being made, rekeyed or deleted (§2.25.1)');
    // both ends have asked already: a third successor could not be told from the two of a crossing (§2.8.2)
    if (rekeysIke && (sa.peerSuccessor !== undefined || sa.halfMade.following === 'ike')) return temporary('it has a rival already');
    // a bound of our own: whoever rekeys without end leaves no trail
    if (sa.predecessor?.is('replaced')) return temporary('the one before still waits for its end');
    const free = sa.predecessor === undefined && sa.peerSuccessor === undefined && sa.halfMade.following === undefined;
    if (free && rekeysIke) return accepted('it is being rekeyed by both (§2.25.2)');
    return free && isIdle(sa, ours) ? accepted('nothing is under way') : undefined;
  }
  if (rekeysIke) return temporary('the IKE SA is being rekeyed (§2.25.2)');
  if (wish.rekeys !== undefined) return rekeyDue(sa, ours, wish.rekeys);
  return isIdle(sa, ours) ? accepted('nothing is under way') : undefined;
}

/** §2.25.1 */
function rekeyDue(sa: IkeSa, ours: readonly Wish[], outboundSpi: number): Due | undefined {
  const child = sa.children.find((one) => one.outboundSpi === outboundSpi);
  if (child?.is('retired', 'dead')) return refused(NotifyType.CHILD_SA_NOT_FOUND, 'it is gone');
  if (child === undefined) {
    // what we asked for and could not use has an SPI of the peer that only its answer told
    if (ours.some(({ deletes }) => deletes.length > 0)) return undefined;
    // what a former life asked for stands in no book; until its Delete is sent it may be meant
    if ([...sa.jobs, ...sa.deferred, ...sa.active].some(({ key }) => key === 'delete-unfinished')) return undefined;
    const asks = ours.some((one) => one.exchange === ExchangeType.CREATE_CHILD_SA || one.exchange === ExchangeType.IKE_FOLLOWUP_KE);
    // offered in a request that waits for room in the window
    if (!asks && sa.offeredSpis.length > 0) return undefined;
    return asks ? temporary('an answer under way may have made it') : refused(NotifyType.CHILD_SA_NOT_FOUND, 'there is no such child');
  }
  if (ours.some(({ deletes }) => deletes.includes(child.inboundSpi))) return temporary('it is being deleted');
  if (child.is('installing')) return temporary('it is being installed');
  if (child.is('rekeyed')) return refused(NotifyType.CHILD_SA_NOT_FOUND, 'it has been replaced');
  // §2.25: a peer that came back with old knowledge has asked already, of this one or of what it replaced, and is not answered yet
  const asked = sa.children.some((one) => one.is('installing') && !one.createdByUs && child.line.includes(one.spec.replaces ?? one.id));
  const rival = child.peerSuccessor?.usable === true || sa.halfMade.following === child;
  if (rival || asked) return temporary('it has a rival already');
  if (ours.some(({ rekeys }) => rekeys === child.inboundSpi)) return accepted('it is being rekeyed by both');
  return child.is('installed') && ours.length === 0 && sa.active.length === 0 ? accepted('it stands') : undefined;
}

/** §1.4.1, §2.25.1 */
function deletesDue(sa: IkeSa, ours: readonly Wish[], { deletes }: Wish): Due {
  const named: number[] = [];
  const unnamed: number[] = [];
  for (const spi of deletes) {
    const child = sa.children.find((one) => one.outboundSpi === spi);
    if (child === undefined) continue;
    const over = child.is('retired', 'dead') || ours.some((one) => one.deletes.includes(child.inboundSpi));
    (over ? unnamed : named).push(child.inboundSpi);
  }
  return { kind: 'delete', named, unnamed };
}

function faultOf(due: Due, payloads: readonly Payload[]): string | undefined {
  if (due.kind === 'delete') {
    const named = deletedBy(payloads);
    const missing = due.named.find((spi) => !named.includes(spi));
    if (missing !== undefined) return `the answer to a Delete leaves out our half ${missing.toString(16)} (§1.4.1)`;
    const excess = due.unnamed.find((spi) => named.includes(spi));
    return excess === undefined
      ? undefined
      : `the answer to a Delete names ${excess.toString(16)}, which we have deleted ourselves (§1.4.1)`;
  }
  const refusal = payloads.find((one) => one.kind === 'N' && REFUSALS.has(one.notify));
  const said = refusal?.kind === 'N' ? refusal.notify : undefined;
  if (due.kind === 'accept') return said === undefined ? undefined : `${said} is answered where ${due.why}`;
  return said === due.notify ? undefined : `${said ?? 'no refusal'} is answered where ${due.notify} is due: ${due.why}`;
}

function wishOf(exchange: number, payloads: readonly Payload[]): Wish {
  let rekeys: number | undefined;
  let ofIke = false;
  for (const one of payloads) {
    if (one.kind === 'N' && one.notify === NotifyType.REKEY_SA) rekeys ??= numberOf(one.spi);
    else if (one.kind === 'D') ofIke ||= one.protocol === ProtocolId.IKE;
    else if (one.kind === 'SA') ofIke ||= one.proposals[0]?.protocol === ProtocolId.IKE;
  }
  return { exchange, rekeys, deletes: deletedBy(payloads), ofIke };
}

function deletedBy(payloads: readonly Payload[]): readonly number[] {
  let spis: number[] | undefined;
  for (const one of payloads) {
    if (one.kind !== 'D' || one.protocol === ProtocolId.IKE) continue;
    spis ??= [];
    for (const spi of one.spis) spis.push(numberOf(spi));
  }
  return spis ?? NOTHING;
}

const isIdle = (sa: IkeSa, ours: readonly Wish[]): boolean =>
  ours.length === 0 &&
  sa.is('established') &&
  sa.active.length === 0 &&
  !sa.halfMade.anyOfChildren &&
  sa.children.every((one) => one.is('installed', 'retired'));

function numberOf(spi: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < spi.length; i++) sum = sum * 256 + spi[i]!;
  return sum;
}

const refused = (notify: number, why: string): Due => ({ kind: 'refuse', notify, why });
const temporary = (why: string): Due => refused(NotifyType.TEMPORARY_FAILURE, why);
const accepted = (why: string): Due => ({ kind: 'accept', why });

const NOTHING: readonly number[] = [];
const REFUSALS: ReadonlySet<number> = new Set([NotifyType.TEMPORARY_FAILURE, NotifyType.CHILD_SA_NOT_FOUND]);
