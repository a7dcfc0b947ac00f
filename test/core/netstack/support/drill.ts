import { expect } from 'vitest';
import { parseIp } from '../../../../src/core/bytes/index.ts';
import {
  CONGESTION_CONTROLS,
  Stack,
  type StackOptions,
  type TcpConfig,
  type TcpConnection,
  type TcpListener,
} from '../../../../src/core/netstack/index.ts';
import {
  IpProtocol,
  IpView,
  ipv4HeaderValid,
  putU16,
  putU32,
  sealTcp,
  TcpFlag,
  TcpView,
  writeIpv4,
  writeIpv6,
  writeTcp,
} from '../../../../src/core/packet/index.ts';
import { SeededRandom } from '../../../../src/testing/seeded.ts';

export interface DrillOptions {
  readonly version?: 4 | 6;
  readonly tcp?: Partial<TcpConfig>;
  readonly stack?: Partial<StackOptions>;
  readonly mtu?: number;
  /** The peer's initial sequence number. */
  readonly peerIss?: number;
  /** Makes our own initial sequence number this one, by choosing the hour of the day. */
  readonly iss?: number;
  readonly peerPort?: number;
}

/** What the peer offers in its SYN; the rest is as in `DrillOptions`. */
export interface Offer {
  readonly mss?: number;
  /** Unscaled field of its SYN. */
  readonly window?: number;
  readonly options?: string;
}

const PEER = { 4: '10.1.0.2', 6: 'fd01::2' } as const;
const OURS = { 4: '10.1.0.1', 6: 'fd01::1' } as const;

/**
 * One stack and a peer that exists only as what the test says: segments are injected and expected as text in the manner of packetdrill,
 *
 *     S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,wscale 7>
 *
 * flags (F S R P . for ACK, U), range and length of the text, acknowledgment, window as it stands in the header, options. Sequence
 * numbers count from each side's initial one. `late 200` echoes a timestamp of so many milliseconds before the last one. In an expectation `win` and options may be left out: then they do not matter.
 */
export class Drill {
  readonly stack: Stack;
  readonly version: 4 | 6;
  now: number;
  /** What the next injected segment carries as timestamp; runs with time. Undefined: none. */
  peerClock: number | undefined = undefined;
  /** What the text of injected segments is made of. */
  fill = 0x62;
  connection!: TcpConnection;
  listener: TcpListener | undefined;
  readonly peerIss: number;
  iss = 0;
  readonly #began: number;
  readonly #sent: { readonly at: number; readonly packet: Uint8Array }[] = [];
  #ourPort = 80;
  #peerPort: number;
  #lastTsVal = 0;

  constructor(options: DrillOptions = {}) {
    this.version = options.version ?? 4;
    this.peerIss = options.peerIss ?? 1_000_000;
    this.#peerPort = options.peerPort ?? 8080;
    const random = new SeededRandom('drill');
    const secret = random.bytes(4096);
    this.stack = new Stack({
      addresses: [OURS[this.version]],
      mtu: options.mtu ?? 1500,
      random: { secret: (length) => secret.subarray(0, length) },
      // Windows as RFC 5681 has them, and whatever they allow at once: time stands still between the lines of most drills.
      tcp: { timestamps: false, pacing: false, congestion: CONGESTION_CONTROLS.newreno, ...options.tcp },
      ...options.stack,
    });
    this.now = options.iss === undefined ? 0 : timeOfIss(options);
    this.#began = this.now;
  }

  /** Milliseconds since the drill began. */
  get elapsed(): number {
    return this.now - this.#began;
  }

  connect(timeout?: number, localPort?: number): TcpConnection {
    this.connection = this.stack.connect({ ip: PEER[this.version], port: this.#peerPort, timeout, localPort }, this.now);
    this.#ourPort = this.connection.local.port;
    this.#collect();
    return this.connection;
  }

  listen(backlog?: number): TcpListener {
    this.listener = this.stack.listen({ port: 80, backlog });
    return this.listener;
  }

  /** An established connection, opened by us; nothing is left in the queue. */
  established(offer: Offer = {}): TcpConnection {
    this.connect();
    this.expect('S 0:0(0)');
    this.inject(`S. 0:0(0) ack 1 win ${offer.window ?? 65535} <mss ${offer.mss ?? 1460}${offer.options ? `,${offer.options}` : ''}>`);
    this.expect('. 1:1(0) ack 1');
    this.silence();
    return this.connection;
  }

  /** Takes segments in, all before anything is sent. */
  inject(...segments: readonly string[]): this {
    for (const text of segments) this.stack.receive(this.build(text), this.now);
    this.#collect();
    return this;
  }

  receive(...packets: readonly Uint8Array[]): this {
    for (const packet of packets) this.stack.receive(packet, this.now);
    this.#collect();
    return this;
  }

  /** Something was done to the connection: see what it causes. */
  act<T>(action: (connection: TcpConnection) => T): T {
    const result = action(this.connection);
    this.#collect();
    return result;
  }

  write(octets: number): number {
    return this.act((connection) => connection.write(new Uint8Array(octets).fill(0x61)));
  }

  read(): number {
    return this.act((connection) => {
      let octets = 0;
      for (let chunk = connection.readChunk(); chunk !== undefined; chunk = connection.readChunk()) octets += chunk.length;
      return octets;
    });
  }

  /** The next segments that were sent, in order. */
  expect(...segments: readonly string[]): this {
    for (const text of segments) {
      const sent = this.#sent.shift();
      if (sent === undefined) throw new Error(`nothing was sent, expected: ${text}`);
      this.#match(sent.packet, text);
    }
    return this;
  }

  /** The next segment, sent so many milliseconds after the drill's clock stood; time moves there. */
  expectAfter(milliseconds: number, text: string): this {
    const from = this.now;
    this.elapse(milliseconds + 0.5);
    const sent = this.#sent[0];
    if (sent === undefined) throw new Error(`nothing was sent within ${milliseconds} ms, expected: ${text}`);
    if (Math.abs(sent.at - from - milliseconds) > 1)
      throw new Error(`sent after ${sent.at - from} ms instead of ${milliseconds}: ${this.describe(sent.packet)}`);
    this.now = sent.at;
    return this.expect(text);
  }

  /** Nothing waits, and nothing is sent for so long. */
  silence(milliseconds = 0): this {
    if (milliseconds > 0) this.elapse(milliseconds);
    expect(this.#sent.map(({ packet }) => this.describe(packet))).toEqual([]);
    return this;
  }

  /** Everything that was sent and not looked at, as text. */
  sent(): string[] {
    return this.#sent.splice(0).map(({ packet }) => this.describe(packet));
  }

  sentPackets(): Uint8Array[] {
    return this.#sent.splice(0).map(({ packet }) => packet);
  }

  /** Lets time pass; timers fire when they are due. */
  elapse(milliseconds: number): this {
    const until = this.now + milliseconds;
    for (let steps = 0; steps < 100_000; steps++) {
      const deadline = this.stack.nextDeadline();
      if (deadline === undefined || deadline > until) break;
      this.now = Math.max(this.now, deadline);
      this.stack.expire(this.now);
      this.#collect();
    }
    this.now = until;
    return this;
  }

  /** Octets of a segment from the peer. */
  build(text: string): Uint8Array {
    const parsed = parse(text);
    const options = this.#options(parsed.options);
    const header = 20 + options.length;
    const ipHeader = this.version === 4 ? 20 : 40;
    const packet = new Uint8Array(ipHeader + header + parsed.length);
    const [source, destination] = [parseIp(PEER[this.version]), parseIp(OURS[this.version])];
    if (this.version === 4) {
      writeIpv4(packet, 0, { ...IPV4_FIELDS, length: packet.length, source, destination });
    } else {
      const payloadLength = header + parsed.length;
      writeIpv6(packet, 0, { payloadLength, nextHeader: IpProtocol.TCP, source, destination, hopLimit: 64, trafficClass: 0, flowLabel: 0 });
    }
    packet.set(options, ipHeader + 20);
    packet.fill(this.fill, ipHeader + header);
    writeTcp(
      packet,
      ipHeader,
      {
        sourcePort: this.#peerPort,
        destinationPort: this.#ourPort,
        seq: (this.peerIss + parsed.seq) | 0,
        ack: parsed.ack === undefined ? 0 : (this.iss + parsed.ack) | 0,
        flags: parsed.flags,
        window: parsed.window ?? 65535,
      },
      header,
    );
    sealTcp(packet, ipHeader, packet.length, source, destination);
    return packet;
  }

  /** A packet of ours as text. */
  describe(packet: Uint8Array): string {
    const ip = new IpView();
    const tcp = new TcpView();
    if (!ip.parse(packet) || (ip.version === 4 && !ipv4HeaderValid(ip))) throw new Error(`not an IP packet: ${ip.fault}`);
    if (ip.protocol !== IpProtocol.TCP) return `protocol ${ip.protocol} of ${ip.end - ip.payload} octets`;
    if (!tcp.parse(ip)) throw new Error('not a TCP segment, or its checksum is wrong');
    if ((tcp.flags & TcpFlag.SYN) !== 0) this.iss = tcp.seq;
    if (tcp.hasTimestamps) this.#lastTsVal = tcp.tsVal;
    // RFC 9293 §3.10.7.1: a reset that answers no acknowledgment has number zero, whatever ours are.
    const seq = (tcp.flags & TcpFlag.RST) !== 0 && tcp.seq === 0 ? 0 : (tcp.seq - this.iss) | 0;
    const length = tcp.end - tcp.start;
    const ack = (tcp.flags & TcpFlag.ACK) !== 0 ? ` ack ${(tcp.ack - this.peerIss) | 0}` : '';
    const options: string[] = [];
    if (tcp.mss >= 0) options.push(`mss ${tcp.mss}`);
    if (tcp.hasTimestamps) options.push('ts');
    if (tcp.sackPermitted) options.push('sackOK');
    if (tcp.windowScale >= 0) options.push(`wscale ${tcp.windowScale}`);
    for (let i = 0; i < tcp.sackBlocks; i++) {
      options.push(`sack ${(tcp.sack[2 * i]! - this.peerIss) | 0}:${(tcp.sack[2 * i + 1]! - this.peerIss) | 0}`);
    }
    return `${flagText(tcp.flags)} ${seq}:${seq + length}(${length})${ack} win ${tcp.window}${options.length > 0 ? ` <${options.join(',')}>` : ''}`;
  }

  #match(packet: Uint8Array, expected: string): void {
    const whole = this.describe(packet);
    let seen = whole;
    if (!expected.includes('win ')) seen = seen.replace(/ win \d+/, '');
    if (!expected.includes('<')) seen = seen.replace(/ <.*>/, '');
    expect(seen, whole).toBe(expected);
  }

  #collect(): void {
    for (let again = true; again; ) {
      again = false;
      this.stack.dispatch();
      for (let packet = this.stack.poll(this.now); packet !== undefined; packet = this.stack.poll(this.now)) {
        again = true;
        const copy = packet.slice();
        this.#sent.push({ at: this.now, packet: copy });
        // The numbers of a SYN are needed for the answer, whether or not the test looks at it.
        if (this.#sent.length < 200) this.describe(copy);
      }
    }
  }

  #options(options: readonly string[]): Uint8Array {
    const out = new Uint8Array(40);
    let at = 0;
    const sacks = options.filter((option) => option.startsWith('sack '));
    for (const option of options) {
      const [kind, a, b] = option.split(/[ :]/);
      if (kind === 'mss') at = put(out, at, [2, 4], 2, Number(a));
      else if (kind === 'wscale') at = put(out, at, [1, 3, 3, Number(a)], 0, 0);
      else if (kind === 'sackOK') at = put(out, at, [1, 1, 4, 2], 0, 0);
      else if (kind === 'ts')
        at = this.#timestamps(out, at, a === undefined ? undefined : Number(a), b === undefined ? undefined : Number(b));
      else if (kind === 'late') at = this.#timestamps(out, at, undefined, (this.#lastTsVal - Number(a)) | 0);
    }
    if (this.peerClock !== undefined && !options.some((option) => option.startsWith('ts') || option.startsWith('late')))
      at = this.#timestamps(out, at, undefined, undefined);
    if (sacks.length > 0) {
      out.set([1, 1, 5, 2 + 8 * sacks.length], at);
      at += 4;
      for (const sack of sacks) {
        const [left, right] = sack.slice(5).split(':').map(Number);
        putU32(out, at, (this.iss + left!) | 0);
        putU32(out, at + 4, (this.iss + right!) | 0);
        at += 8;
      }
    }
    return out.subarray(0, at);
  }

  #timestamps(out: Uint8Array, at: number, value: number | undefined, echo: number | undefined): number {
    out.set([1, 1, 8, 10], at);
    putU32(out, at + 4, value ?? (this.peerClock ?? 0) + Math.floor(this.elapsed));
    putU32(out, at + 8, echo ?? this.#lastTsVal);
    return at + 12;
  }
}

const IPV4_FIELDS = {
  protocol: IpProtocol.TCP,
  hopLimit: 64,
  identification: 0,
  dontFragment: true,
  moreFragments: false,
  fragmentOffset: 0,
  trafficClass: 0,
} as const;

interface Parsed {
  readonly flags: number;
  readonly seq: number;
  readonly length: number;
  readonly ack: number | undefined;
  readonly window: number | undefined;
  readonly options: readonly string[];
}

const LINE = /^([FSRPU.]+) (-?\d+):(-?\d+)\((\d+)\)(?: ack (-?\d+))?(?: win (\d+))?(?: <(.*)>)?$/;
const LETTERS: readonly (readonly [string, number])[] = [
  ['F', TcpFlag.FIN],
  ['S', TcpFlag.SYN],
  ['R', TcpFlag.RST],
  ['P', TcpFlag.PSH],
  ['U', TcpFlag.URG],
  ['.', TcpFlag.ACK],
];

function parse(text: string): Parsed {
  const match = LINE.exec(text);
  if (match === null) throw new Error(`not a segment: ${text}`);
  const [, letters, seq, end, length, ack, window, options] = match;
  if (Number(end) - Number(seq) !== Number(length)) throw new Error(`the range and the length differ: ${text}`);
  let flags = 0;
  for (const [letter, flag] of LETTERS) if (letters!.includes(letter)) flags |= flag;
  return {
    flags,
    seq: Number(seq),
    length: Number(length),
    ack: ack === undefined ? undefined : Number(ack),
    window: window === undefined ? undefined : Number(window),
    options: options === undefined ? [] : options.split(','),
  };
}

const flagText = (flags: number): string =>
  LETTERS.filter(([, flag]) => (flags & flag) !== 0)
    .map(([letter]) => letter)
    .join('');

function put(out: Uint8Array, at: number, head: readonly number[], width: 0 | 2, value: number): number {
  out.set(head, at);
  if (width === 2) putU16(out, at + head.length, value);
  return at + head.length + width;
}

/** The clock drives the initial sequence number (RFC 6528): the time at which it is the one that the test wants. */
function timeOfIss(options: DrillOptions): number {
  const { iss: wanted, ...rest } = options;
  const probe = new Drill(rest);
  probe.connect();
  return ((wanted! - probe.iss) >>> 0) / 250;
}
