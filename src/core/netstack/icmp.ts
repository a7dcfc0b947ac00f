import { ApiMisuse, formatIp, parseIp } from '../bytes/index.ts';
import {
  getI32,
  getU16,
  ICMP_HEADER,
  IcmpType,
  IcmpUnreachable,
  IcmpView,
  Icmpv6Type,
  Icmpv6Unreachable,
  IpProtocol,
  type IpView,
  isIcmpError,
  QuotedPacket,
  writeIcmp,
} from '../packet/index.ts';
import { type Addresses, isImpossibleSource } from './addresses.ts';
import type { Counters } from './counters.ts';
import { type IcmpMeaning, icmpMeaning } from './icmp-errors.ts';
import { DEFAULT_HOP_LIMIT, type IpOutput } from './ip-output.ts';
import type { PathMtuCache } from './path-mtu.ts';
import { Ping, type PingOptions } from './ping.ts';
import { RateLimit } from './rate-limit.ts';
import { type FailureCode, type Millis, Ready, type ReadyQueue } from './ready.ts';
import type { FlowKey } from './tcp/flow-table.ts';
import { TimerQueue } from './timer-queue.ts';

/** What ICMP shares with the rest of the stack. */
export interface IcmpSurroundings {
  readonly addresses: Addresses;
  readonly counters: Counters;
  readonly output: IpOutput;
  readonly pathMtu: PathMtuCache;
  readonly ready: ReadyQueue;
  readonly mtu: number;
  /** Errors about segments and datagrams of ours; each returns whether it can have been caused by us. */
  tcpError(key: FlowKey, seq: number, meaning: IcmpMeaning): boolean;
  udpError(key: FlowKey, code: FailureCode): boolean;
  /** The path to a destination became narrower. */
  pathMtuLearned(destination: Uint8Array): void;
}

/** Somebody asks a host that we only pass off as present. */
export interface EchoRequest {
  readonly from: string;
  readonly to: string;
  /** Identifier and sequence number. */
  readonly rest: number;
  /** Octets behind the header. */
  readonly data: Uint8Array;
}

/** RFC 792, RFC 4443: answers echo requests, sends and takes errors, pings. */
export class IcmpLayer {
  readonly #around: IcmpSurroundings;
  readonly #limit = new RateLimit(ERRORS_PER_SECOND, ERROR_BURST);
  readonly #message = new IcmpView();
  readonly #quoted = new QuotedPacket();
  readonly #pings = new Map<number, Ping>();
  readonly #timers = new TimerQueue<Ping>();
  #nextIdentifier: number;
  onEcho: ((request: EchoRequest) => void) | undefined;

  /** @param identifier where echo identifiers start, unpredictable. */
  constructor(around: IcmpSurroundings, identifier: number) {
    this.#around = around;
    this.#nextIdentifier = identifier & 0xffff;
  }

  get deadline(): Millis | undefined {
    return this.#timers.next;
  }

  receive(ip: IpView, now: Millis): void {
    const message = this.#message;
    const { counters } = this.#around;
    if (!message.parse(ip)) {
      counters.icmpMalformed++;
      return;
    }
    const request = ip.version === 4 ? IcmpType.ECHO : Icmpv6Type.ECHO_REQUEST;
    const reply = ip.version === 4 ? IcmpType.ECHO_REPLY : Icmpv6Type.ECHO_REPLY;
    if (message.type === request && message.code === 0) this.#answerEcho(ip, message);
    else if (message.type === reply && message.code === 0) this.#takeReply(ip, message, now);
    else if (isIcmpError(ip.version, message.type)) this.#takeError(ip, message, now);
  }

  /** @throws ApiMisuse when there is no own address of that family. */
  ping(options: PingOptions, now: Millis): Ping {
    const destination = parseIp(options.ip);
    const source = options.localIp === undefined ? this.#around.addresses.sourceFor(destination) : parseIp(options.localIp);
    if (source === undefined || source.length !== destination.length) {
      throw new ApiMisuse(`no own address to reach ${options.ip} from`, { code: 'EADDRNOTAVAIL' });
    }
    const identifier = this.#chooseIdentifier();
    const size = options.size ?? 56;
    const ping = new Ping({ ip: formatIp(source), port: identifier }, formatIp(destination), now, now + (options.timeout ?? 5000));
    const request = new Uint8Array(ICMP_HEADER + size);
    for (let i = 0; i < size; i++) request[ICMP_HEADER + i] = i;
    const type = source.length === 4 ? IcmpType.ECHO : Icmpv6Type.ECHO_REQUEST;
    writeIcmp(request, 0, type, 0, (identifier << 16) | 1, size, source, destination);
    const known = this.#around.pathMtu.get(destination, now);
    const sent = this.#around.output.push(request, {
      source,
      destination,
      protocol: source.length === 4 ? IpProtocol.ICMP : IpProtocol.IPV6_ICMP,
      hopLimit: options.hopLimit ?? DEFAULT_HOP_LIMIT,
      dontFragment: options.dontFragment ?? false,
      mtu: Math.min(this.#around.mtu, options.dontFragment === true ? this.#around.mtu : (known?.mtu ?? this.#around.mtu)),
    });
    this.#pings.set(identifier, ping);
    if (sent) this.#timers.soon(ping);
    else this.#finish(ping, 'EMSGSIZE', undefined);
    return ping;
  }

  expire(now: Millis): void {
    for (let ping = this.#timers.due(now); ping !== undefined; ping = this.#timers.due(now)) this.#finish(ping, 'ETIMEDOUT', undefined);
  }

  abandon(): void {
    for (const ping of [...this.#pings.values()]) this.#finish(ping, 'ENETDOWN', undefined);
  }

  portUnreachable(ip: IpView, now: Millis): void {
    if (ip.version === 4) this.#sendError(ip, IcmpType.DESTINATION_UNREACHABLE, IcmpUnreachable.PORT, 0, now);
    else this.#sendError(ip, Icmpv6Type.DESTINATION_UNREACHABLE, Icmpv6Unreachable.PORT, 0, now);
  }

  /** Nothing here speaks that protocol (RFC 1122 §3.2.2.1; RFC 8200 §4, RFC 4443 §3.4). */
  protocolUnreachable(ip: IpView, now: Millis): void {
    if (ip.version === 4) this.#sendError(ip, IcmpType.DESTINATION_UNREACHABLE, IcmpUnreachable.PROTOCOL, 0, now);
    else this.#sendError(ip, Icmpv6Type.PARAMETER_PROBLEM, 1, ip.nextHeaderAt - ip.start, now);
  }

  parameterProblem(ip: IpView, now: Millis): void {
    if (ip.version === 6) this.#sendError(ip, Icmpv6Type.PARAMETER_PROBLEM, ip.problemCode, ip.problemPointer, now);
  }

  reassemblyTimedOut(ip: IpView, now: Millis): void {
    this.#sendError(ip, ip.version === 4 ? IcmpType.TIME_EXCEEDED : Icmpv6Type.TIME_EXCEEDED, 1, 0, now);
  }

  /** A destination that is not there, whatever is in its way (RFC 1812 §5.2.7.1, RFC 4443 §3.1). */
  hostUnreachable(ip: IpView, reason: FailureCode, now: Millis): void {
    const [four, six] = CODES[reason] ?? [IcmpUnreachable.HOST, Icmpv6Unreachable.ADDRESS];
    if (ip.version === 4) this.#sendError(ip, IcmpType.DESTINATION_UNREACHABLE, four, 0, now);
    else this.#sendError(ip, Icmpv6Type.DESTINATION_UNREACHABLE, six, 0, now);
  }

  answerForeignEcho({ from, to, rest, data }: EchoRequest): void {
    this.#echo(parseIp(to), parseIp(from), rest, data);
  }

  #answerEcho(ip: IpView, request: IcmpView): void {
    const { addresses } = this.#around;
    const data = ip.data.subarray(request.start, request.end);
    // A host that is only passed off as present does not answer for itself.
    if (!addresses.holds(ip.data, ip.destinationAt, ip.addressLength)) {
      this.onEcho?.({ from: addressAt(ip, ip.sourceAt), to: addressAt(ip, ip.destinationAt), rest: request.rest, data: data.slice() });
      return;
    }
    const source = ip.data.subarray(ip.destinationAt, ip.destinationAt + ip.addressLength);
    this.#echo(source, ip.data.subarray(ip.sourceAt, ip.sourceAt + ip.addressLength), request.rest, data);
  }

  #echo(source: Uint8Array, destination: Uint8Array, rest: number, data: Uint8Array): void {
    const { output, counters, mtu } = this.#around;
    const answer = new Uint8Array(ICMP_HEADER + data.length);
    answer.set(data, ICMP_HEADER);
    const six = source.length === 16;
    writeIcmp(answer, 0, six ? Icmpv6Type.ECHO_REPLY : IcmpType.ECHO_REPLY, 0, rest, data.length, source, destination);
    const protocol = six ? IpProtocol.IPV6_ICMP : IpProtocol.ICMP;
    if (output.push(answer, { source, destination, protocol, hopLimit: DEFAULT_HOP_LIMIT, dontFragment: false, mtu }))
      counters.icmpEchoAnswered++;
  }

  #takeReply(ip: IpView, reply: IcmpView, now: Millis): void {
    const ping = this.#pings.get(reply.identifier);
    const from = addressAt(ip, ip.sourceAt);
    if (ping === undefined || from !== ping.remote) return;
    ping.rtt = now - ping.sentAt;
    this.#finish(ping, undefined, from);
  }

  #takeError(ip: IpView, message: IcmpView, now: Millis): void {
    const { counters, pathMtu, mtu } = this.#around;
    counters.icmpErrorsIn++;
    const quoted = this.#quoted;
    const meaning = icmpMeaning(ip.version, message);
    if (meaning === undefined) return;
    if (!quoted.parse(ip.data, message.start, message.end) || quoted.version !== ip.version || !this.#concerns(ip, quoted, meaning)) {
      counters.icmpErrorsImplausible++;
      return;
    }
    if (meaning.kind !== 'too-big') return;
    const destination = new Uint8Array(ip.data.subarray(quoted.destinationAt, quoted.destinationAt + quoted.addressLength));
    const announced = ip.version === 4 ? message.rest & 0xffff : message.rest;
    if (pathMtu.learn(destination, announced, quoted.claimedLength, mtu, now) !== undefined) this.#around.pathMtuLearned(destination);
  }

  /** Whether the quoted packet can have come from here; tells whoever sent it. */
  #concerns(ip: IpView, quoted: QuotedPacket, meaning: IcmpMeaning): boolean {
    const { data } = ip;
    const { payload } = quoted;
    if (quoted.protocol === IpProtocol.ICMP || quoted.protocol === IpProtocol.IPV6_ICMP) return this.#concernsPing(ip, quoted, meaning);
    const key: FlowKey = {
      data,
      length: quoted.addressLength,
      localAt: quoted.sourceAt,
      localPort: getU16(data, payload),
      remoteAt: quoted.destinationAt,
      remotePort: getU16(data, payload + 2),
    };
    if (quoted.protocol === IpProtocol.TCP) return this.#around.tcpError(key, getI32(data, payload + 4), meaning);
    return quoted.protocol === IpProtocol.UDP && this.#around.udpError(key, meaning.code);
  }

  #concernsPing(ip: IpView, quoted: QuotedPacket, meaning: IcmpMeaning): boolean {
    const ping = this.#pings.get(getU16(ip.data, quoted.payload + 4));
    if (ping === undefined || addressOf(ip.data, quoted.destinationAt, quoted.addressLength) !== ping.remote) return false;
    if (meaning.kind === 'too-big') ping.mtu = this.#message.rest & 0xffff;
    this.#finish(ping, meaning.code, addressAt(ip, ip.sourceAt));
    return true;
  }

  #finish(ping: Ping, error: FailureCode | undefined, from: string | undefined): void {
    this.#pings.delete(ping.identifier);
    this.#timers.remove(ping);
    ping.error = error;
    ping.from = from;
    this.#around.ready.mark(ping, Ready.DONE);
  }

  /** RFC 1122 §3.2.2, RFC 4443 §2.4 (e) and (f): when an error may be sent at all, and how often. */
  #sendError(ip: IpView, type: number, code: number, rest: number, now: Millis): void {
    const { addresses, output, counters, mtu } = this.#around;
    if (isImpossibleSource(ip) || ip.fragmentOffset > 0 || isAboutError(ip)) return;
    if (!this.#limit.take(now)) {
      counters.icmpErrorsSuppressed++;
      return;
    }
    const destination = ip.data.subarray(ip.sourceAt, ip.sourceAt + ip.addressLength);
    const source = ip.data.subarray(ip.destinationAt, ip.destinationAt + ip.addressLength);
    if (!addresses.promiscuous && !addresses.holds(source, 0, source.length)) return;
    // RFC 1812 §4.3.2.3: 576 octets in all; RFC 4443 §2.4 (c): the minimum MTU.
    const room = (ip.version === 4 ? 576 - 20 : 1280 - 40) - ICMP_HEADER;
    const quote = ip.data.subarray(ip.start, Math.min(ip.end, ip.start + room));
    const error = new Uint8Array(ICMP_HEADER + quote.length);
    error.set(quote, ICMP_HEADER);
    writeIcmp(error, 0, type, code, rest, quote.length, source, destination);
    const protocol = ip.version === 4 ? IpProtocol.ICMP : IpProtocol.IPV6_ICMP;
    if (output.push(error, { source, destination, protocol, hopLimit: DEFAULT_HOP_LIMIT, dontFragment: false, mtu }))
      counters.icmpErrorsOut++;
  }

  #chooseIdentifier(): number {
    for (let tries = 0; tries <= 0xffff; tries++) {
      this.#nextIdentifier = (this.#nextIdentifier + 1) & 0xffff;
      if (!this.#pings.has(this.#nextIdentifier)) return this.#nextIdentifier;
    }
    throw new ApiMisuse('65536 pings are under way already', { code: 'EMFILE' });
  }
}

/** Whether a packet that we could complain about is an ICMP error itself, or may be one. */
function isAboutError(ip: IpView): boolean {
  if (ip.protocol !== (ip.version === 4 ? IpProtocol.ICMP : IpProtocol.IPV6_ICMP)) return false;
  return ip.payload >= ip.end || isIcmpError(ip.version, ip.data[ip.payload]!);
}

const addressAt = (ip: IpView, at: number): string => addressOf(ip.data, at, ip.addressLength);
const addressOf = (data: Uint8Array, at: number, length: number): string => formatIp(data.subarray(at, at + length));

/** Codes of Destination Unreachable, IPv4 and IPv6. */
const CODES: Readonly<Partial<Record<FailureCode, readonly [number, number]>>> = {
  ENETUNREACH: [IcmpUnreachable.NET, Icmpv6Unreachable.NO_ROUTE],
  EACCES: [IcmpUnreachable.COMMUNICATION_PROHIBITED, Icmpv6Unreachable.PROHIBITED],
};

/** Ours. */
const ERRORS_PER_SECOND = 100;
const ERROR_BURST = 50;
