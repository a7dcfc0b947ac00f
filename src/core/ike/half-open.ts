import { toHex } from '../bytes/bytes.ts';
import { TunnelwrightError } from '../bytes/errors.ts';
import type { Address } from '../bytes/ip-address.ts';
import {
  checkMessage,
  ExchangeType,
  type IkeHeader,
  isFirstRequest,
  isPlausibleFirst,
  lookAtFirstRequest,
  type Message,
  type NotifyPayload,
  NotifyType,
  type Payload,
  summarise,
  writeCookieDemand,
  writeMessage,
} from '../wire/index.ts';
import { bestMatch } from './address-patterns.ts';
import type { Datagram, Millis } from './effects.ts';
import { respondIkeSaInit } from './exchanges/ike-sa-init.ts';
import { respondSessionResume } from './exchanges/ike-session-resume.ts';
import { IkeSa } from './ike-sa.ts';
import { drop, rejectUnknownCritical } from './inbound.ts';
import { IntAuth } from './int-auth.ts';
import { seal, transmit } from './messenger.ts';
import { answerTo, notify } from './notifies.ts';
import { isOverTcp, pathOf } from './path.ts';
import { type Connection, takesTransport } from './policy.ts';
import type { Inbound } from './routine.ts';
import { certificateRequests } from './tasks/certificates.ts';
import { CookieJar, puzzleOf } from './tasks/cookie.ts';
import { isNotComputed } from './tasks/ke.ts';
import { nonceOf } from './tasks/nonce.ts';
import { judgeRequest, puzzleForAuth, puzzleNotify } from './tasks/puzzle.ts';
import { redirectInit } from './tasks/redirect.ts';
import { openTicket } from './tasks/resumption.ts';
import { selectForInit } from './tasks/select-ike.ts';
import { newTcpLine } from './tasks/tcp-state.ts';
import { sourceOf } from './token-bucket.ts';
import type { World } from './world.ts';

/**
 * Strangers. What an IKE_SA_INIT request may cost before its sender is authenticated is decided here: a look at its address where only
 * known peers are heard, a look at its octets and a cookie when there are many (RFC 7296 §2.6), nothing more until the message is
 * plausible, and a bounded number of half-open IKE SAs in all and per source.
 */
export class HalfOpen {
  readonly #cookies: CookieJar;
  /** Requests answered and not yet authenticated, by sender and SPIi. */
  readonly #byRequest = new Map<string, { readonly sa: IkeSa; readonly request: Uint8Array }>();
  readonly #keys = new Map<IkeSa, string>();
  /** Requests whose IKE SA is past IKE_SA_INIT, and until when a late copy of them is ignored. */
  readonly #past = new Map<string, Millis>();
  #sweepPastAt: Millis = 0;
  readonly #perSource = new Map<string, number>();
  /** Those of which something came that did not open (RFC 8019 §7.2). */
  readonly #forged = new Set<IkeSa>();

  constructor(world: Pick<World, 'random'>) {
    this.#cookies = new CookieJar(world.random);
  }

  get size(): number {
    return this.#byRequest.size;
  }

  /**
   * The part of a flood that is as cheap as it gets: no parse, no state, and nothing allocated but what goes out.
   * @returns true when the datagram is done with; false: it is no first request, or its sender has shown that it is worth a parse
   */
  turnsAway(world: World, datagram: Datagram): boolean {
    const { local, remote, data, encap } = datagram;
    if (!isFirstRequest(data)) return false;
    if (!world.strangers.isKnown(world.connections, remote.ip)) {
      drop(world, datagram, 'unknown-source', remote.ip);
      return true;
    }
    // whoever wants to see every message gets them parsed
    if (!this.#demandsCookies(world) || world.options.logMessages || isOverTcp(datagram)) return false;
    const spiI = data.subarray(0, 8);
    const key = keyOf(remote, spiI);
    if (this.#byRequest.has(key) || this.#past.has(key)) return false;
    const look = isPlausibleFirst(data) ? lookAtFirstRequest(data) : undefined;
    if (look === undefined) {
      drop(world, datagram, 'implausible-init', 'flags, Message ID, SPIs, lengths or nonce do not fit a first request');
      return true;
    }
    const Ni = data.subarray(look.nonceStart, look.nonceEnd);
    if (look.cookieEnd > 0) {
      if (this.#cookies.check(data.subarray(look.cookieStart, look.cookieEnd), remote.ip, spiI, Ni, world.now)) return false;
      drop(world, datagram, 'bad-cookie', 'the cookie is not one of ours, or too old');
    }
    if (!world.strangers.mayDemandCookie(remote.ip, world.now)) return true;
    const answer = writeCookieDemand(data, this.#cookies.bake(remote.ip, spiI, Ni, world.now));
    if (answer.length > data.length) drop(world, datagram, 'answer-too-large', `${answer.length} octets`);
    else world.emit({ kind: 'transmit', datagram: { local, remote, data: answer, encap } });
    return true;
  }

  /** §2.6: enough of them are half-open, or whoever does the work for us does not keep up. */
  #demandsCookies = (world: World): boolean => this.size >= world.limits.cookieThreshold || world.pressed;

  receive(world: World, message: Message, datagram: Datagram): void {
    const { header, payloads } = message;
    const key = keyOf(datagram.remote, header.spiI);
    // §2.1: "belongs to an existing IKE SA where the IKE_AUTH request has been already received": ignored
    if ((this.#past.get(key) ?? 0) > world.now) return drop(world, datagram, 'init-repeated', summarise(header, payloads));
    const known = this.#byRequest.get(key);
    if (known) {
      // §2.1: a repeated request brings the same answer, and nothing else
      const same = known.request.length === message.raw.length && known.request.every((octet, i) => octet === message.raw[i]);
      if (same) return transmit(world, known.sa.window.answerTo(0) ?? [], datagram);
      return drop(world, datagram, 'init-differs', summarise(header, payloads));
    }
    try {
      this.#consider(world, message, datagram, key);
    } catch (error) {
      if (!(error instanceof TunnelwrightError)) throw error;
      world.notice({ kind: 'failed', ikeSa: undefined, connection: undefined, what: `IKE_SA_INIT from ${datagram.remote.ip}`, error });
      this.#refuse(world, message, datagram, answerTo(error));
    }
  }

  /**
   * Authenticated or dead: it no longer counts.
   * @param served the SA stands: late copies of its request are ignored. An initiator whose SA only timed out may try again at once
   */
  forget(sa: IkeSa, now: Millis, served: boolean): void {
    const key = this.#keys.get(sa);
    if (key === undefined) return;
    this.#keys.delete(sa);
    this.#forged.delete(sa);
    this.#byRequest.delete(key);
    if (served) this.#past.set(key, now + COPIES_WANDER);
    this.#forgetPast(now);
    const source = sourceOf(key.slice(0, key.indexOf('|')));
    const left = (this.#perSource.get(source) ?? 1) - 1;
    if (left > 0) this.#perSource.set(source, left);
    else this.#perSource.delete(source);
  }

  /** Somebody sent for it what its keys do not open. */
  noteForged(sa: IkeSa): void {
    if (this.#keys.has(sa)) this.#forged.add(sa);
  }

  /** In batches: a Map whose oldest entries go one by one is searched from its dead end each time. */
  #forgetPast(now: Millis): void {
    if (now < this.#sweepPastAt && this.#past.size <= MOST_PAST) return;
    this.#sweepPastAt = now + SWEEP_PAST;
    const most = MOST_PAST - MOST_PAST / 8;
    for (const [oldest, until] of this.#past) {
      if (until > now && this.#past.size <= most) break;
      this.#past.delete(oldest);
    }
  }

  #consider(world: World, message: Message, datagram: Datagram, key: string): void {
    const { header, payloads } = message;
    rejectUnknownCritical(payloads);
    checkMessage(header, payloads);
    world.message(undefined, 'in', header, payloads);
    const Ni = nonceOf(payloads);
    const { limits } = world;
    const returned = this.#returnsCookie(world, message, datagram.remote, Ni);
    const demandsCookie = (due: boolean): boolean => {
      // RFC 9329 §6.3: over TCP the handshake has shown that the peer listens at its address
      if (!due || returned || isOverTcp(datagram)) return false;
      if (hasCookie(payloads)) drop(world, datagram, 'bad-cookie', 'the cookie is not one of ours, or too old');
      this.#demandCookie(world, message, datagram, Ni);
      return true;
    };
    if (demandsCookie(this.#demandsCookies(world))) return;
    const work = returned ? this.#demandWork(world, message, datagram, Ni) : 'none';
    if (work === 'demanded') return;
    const source = sourceOf(datagram.remote.ip);
    const perSource = this.#perSource.get(source) ?? 0;
    if (this.size >= limits.halfOpen || perSource >= limits.halfOpenPerAddress || world.ikeSas.size >= limits.ikeSas) {
      return drop(world, datagram, 'too-many-half-open', `${this.size} in all, ${perSource} from ${source}`);
    }
    const connections = connectionsFor(
      world.connections.filter((connection) => takesTransport(connection, datagram)),
      datagram.local.ip,
      datagram.remote.ip,
    );
    if (connections.length === 0)
      return drop(world, datagram, 'no-connection-for-address', `${datagram.remote.ip} to ${datagram.local.ip}`);
    const redirect = redirectInit(world, payloads, Ni, world.ikeSas.size - this.size);
    if (redirect) return this.#refuse(world, message, datagram, [redirect]);
    const ticket = header.exchange === ExchangeType.IKE_SESSION_RESUME ? openTicket(world, connections, payloads) : undefined;
    const chosen = ticket ? undefined : selectForInit(connections, payloads);
    const candidates = chosen?.candidates ?? [ticket!.connection];
    // a long CERTREQ would make us an amplifier: it goes to addresses that have shown that they listen
    const authorities = certificateRequests(world, candidates).reduce((octets, { authorities }) => octets + authorities.length, 0);
    if (chosen && demandsCookie(authorities > message.raw.length)) return;
    const puzzle = work === 'solved' ? puzzleForAuth(limits, this.#forged.size, this.size, payloads) : undefined;
    const sa = this.#open(world, header, datagram, candidates);
    sa.reachable = returned || isOverTcp(datagram);
    const request: Inbound = { exchange: header.exchange, messageId: 0, payloads, raw: message.raw.slice(), path: pathOf(datagram) };
    this.#byRequest.set(key, { sa, request: request.raw });
    this.#keys.set(sa, key);
    this.#perSource.set(source, perSource + 1);
    sa.window.begin(0);
    world.run(
      sa,
      chosen
        ? respondIkeSaInit(world, sa, chosen.selected, candidates, request)
        : respondSessionResume(world, sa, ticket!.connection, ticket!, request),
      (reply) => {
        if (world.options.logKeys) world.logKeys(sa);
        const messages = seal(world, sa, header.exchange, 0, true, [...reply.payloads, ...(puzzle ? [puzzleNotify(puzzle)] : [])]);
        sa.pending = {
          candidates,
          material: { initRequest: request.raw, initResponse: messages[0]!, nonces: reply.nonces, intAuth: new IntAuth() },
          puzzle,
        };
        sa.window.answer(0, messages);
        transmit(world, messages, sa);
      },
      (error) => {
        // nothing has been promised yet: the answer is stateless and the SA was never there
        world.kill(sa, 'IKE_SA_INIT failed');
        if (!(error instanceof TunnelwrightError)) throw error;
        if (isNotComputed(error)) return this.#putOff(world, message, datagram, Ni, returned, error);
        world.notice({ kind: 'failed', ikeSa: undefined, connection: undefined, what: `IKE_SA_INIT from ${datagram.remote.ip}`, error });
        this.#refuse(world, message, datagram, answerTo(error));
      },
    );
  }

  #open(world: World, header: IkeHeader, datagram: Datagram, candidates: readonly Connection[]): IkeSa {
    const sa = new IkeSa({
      id: world.nextIkeSaId(),
      originalRole: 'responder',
      spiI: header.spiI.slice(),
      spiR: world.allocateIkeSpi(),
      ...pathOf(datagram),
      connection: candidates.length === 1 ? candidates[0] : undefined,
      state: 'half-open',
      bornAt: world.now,
    });
    if (isOverTcp(sa)) sa.tcp = newTcpLine(false);
    world.add(sa);
    world.arm(sa.timers['half-open'], world.now + world.limits.halfOpenLife);
    return sa;
  }

  #returnsCookie(world: World, { header, payloads }: Message, { ip }: Address, Ni: Uint8Array): boolean {
    return hasCookie(payloads) && this.#cookies.check(payloads[0].data, ip, header.spiI, Ni, world.now);
  }

  /** RFC 8019 §7.1: of those that a cookie has shown to be at their address. With `demanded` the request is done with. */
  #demandWork(world: World, message: Message, datagram: Datagram, Ni: Uint8Array): 'none' | 'solved' | 'demanded' {
    const { header, payloads } = message;
    if (world.limits.puzzles === undefined || header.exchange !== ExchangeType.IKE_SA_INIT || !hasCookie(payloads)) return 'none';
    const verdict = judgeRequest(world.limits, this.size, payloads, puzzleOf(payloads[0].data), world.random.jitter());
    if (verdict === 'accept') return 'none';
    if (verdict === 'solved') return verdict;
    if (verdict === 'reject') drop(world, datagram, 'puzzle-unsolved', summarise(header, payloads));
    else if (world.strangers.mayDemandPuzzle(datagram.remote.ip, world.now)) {
      const cookie = this.#cookies.bake(datagram.remote.ip, header.spiI, Ni, world.now, verdict.demand);
      this.#answer(world, message, datagram, [notify(NotifyType.COOKIE, cookie), puzzleNotify(verdict.demand)]);
    }
    return 'demanded';
  }

  /** Whoever has not shown a cookie may come back with one; the others come back anyway, since they hear nothing. */
  #putOff(
    world: World,
    message: Message,
    datagram: Datagram,
    Ni: Uint8Array,
    returned: boolean,
    { code, message: why }: TunnelwrightError,
  ): void {
    drop(world, datagram, code.toLowerCase().replaceAll('_', '-'), why);
    if (!returned) this.#demandCookie(world, message, datagram, Ni);
  }

  #demandCookie(world: World, message: Message, datagram: Datagram, Ni: Uint8Array): void {
    if (!world.strangers.mayDemandCookie(datagram.remote.ip, world.now)) return;
    const cookie = this.#cookies.bake(datagram.remote.ip, message.header.spiI, Ni, world.now);
    this.#answer(world, message, datagram, [notify(NotifyType.COOKIE, cookie)]);
  }

  #refuse(world: World, message: Message, datagram: Datagram, payloads: readonly Payload[]): void {
    if (world.strangers.mayRefuse(datagram.remote.ip, world.now)) this.#answer(world, message, datagram, payloads);
  }

  /** Stateless and never larger than the question (an amplifier is of no use to an attacker). */
  #answer(world: World, { header, raw }: Message, datagram: Datagram, payloads: readonly Payload[]): void {
    const answer: IkeHeader = {
      ...header,
      spiR: new Uint8Array(8),
      minorVersion: 0,
      flags: { initiator: false, response: true, version: false },
    };
    const data = writeMessage(answer, payloads);
    if (data.length > raw.length) return drop(world, datagram, 'answer-too-large', `${data.length} octets`);
    world.message(undefined, 'out', answer, payloads);
    transmit(world, [data], datagram);
  }
}

/** Connections whose addresses fit, the most specific first. */
function connectionsFor(connections: readonly Connection[], localIp: string, remoteIp: string): Connection[] {
  const ranked = connections.flatMap((connection) => {
    const local = bestMatch(connection.localAddresses, localIp);
    const remote = bestMatch(connection.remoteAddresses, remoteIp);
    return local < 0 || remote < 0 ? [] : [{ connection, rank: remote * 256 + local }];
  });
  return ranked.sort((a, b) => b.rank - a.rank).map((r) => r.connection);
}

/** §2.6: it comes back as the first payload of the repeated request. */
const hasCookie = (payloads: readonly Payload[]): payloads is readonly [NotifyPayload, ...Payload[]] =>
  payloads[0]?.kind === 'N' && payloads[0].notify === NotifyType.COOKIE;

/** In one piece: a Map would keep every part that it was put together from. */
const keyOf = ({ ip, port }: Address, spiI: Uint8Array): string => [ip, port, toHex(spiI)].join('|');

/** Longer than a copy of a datagram stays under way. */
const COPIES_WANDER: Millis = 60_000;
const MOST_PAST = 16_384;
const SWEEP_PAST: Millis = 1000;
