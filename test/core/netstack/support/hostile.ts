import { parseIp } from '../../../../src/core/bytes/index.ts';
import { IpProtocol, IpView, putU32, sealTcp, TcpFlag, TcpView, writeIpv4, writeTcp } from '../../../../src/core/packet/index.ts';
import type { SeededRandom } from '../../../../src/testing/seeded.ts';
import { A4, B4 } from './pair.ts';

/** What the application of the attacked stack writes at each place of its stream. */
export const writtenAt = (position: number): number => (position * 7 + (position >> 8)) & 0xff;

interface Segment {
  readonly from: string;
  readonly sourcePort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly options: Uint8Array;
  readonly text: Uint8Array;
}

/** A segment for port 80 of B. */
export function segment(fields: Segment): Uint8Array {
  const header = 20 + fields.options.length;
  const packet = new Uint8Array(20 + header + fields.text.length);
  const [source, destination] = [parseIp(fields.from), parseIp(B4)];
  const { length } = packet;
  const whole = { identification: 0, dontFragment: true, moreFragments: false, fragmentOffset: 0, trafficClass: 0, hopLimit: 64 };
  writeIpv4(packet, 0, { ...whole, length, protocol: IpProtocol.TCP, source, destination });
  writeTcp(packet, 20, { ...fields, destinationPort: 80 }, header);
  packet.set(fields.options, 40);
  packet.set(fields.text, 20 + header);
  sealTcp(packet, 20, length, source, destination);
  return packet;
}

/**
 * A peer with a connection of its own to B that knows all numbers and keeps no rule: text here and there, twice and with other content, windows
 * that open and close, acknowledgments of what it did not get and of what was never sent, SACK of anything, times from the past and the future,
 * FIN, SYN and RST wherever they may stand. It checks what B sends it.
 */
export class HostilePeer {
  static readonly ADDRESS = '10.0.0.66';
  /** Which of three versions of each octet of its stream it has sent. */
  readonly versions = new Uint8Array(REACH);
  /** What is wrong with what B sent. */
  readonly faults: string[] = [];
  /** B has reset the connection. */
  over = false;
  injected = 0;
  answered = 0;
  readonly port: number;
  readonly #random: SeededRandom;
  readonly #iss: number;
  readonly #offer: Uint8Array;
  /** B's sequence numbers, counted from its initial one. */
  #theirIss = 0;
  #theirNext = 1;
  #theirAck = 1;
  #edge = 0;
  #established = false;
  #begun = false;
  readonly #timestamps: boolean;
  readonly #sack: boolean;
  #clock = 0;
  #echo = 0;

  constructor(random: SeededRandom, port: number) {
    this.#random = random;
    this.port = port;
    this.#iss = random.u32() | 0;
    this.#timestamps = random.chance(0.5);
    this.#sack = random.chance(0.7);
    const mss = random.pick([1, 64, 536, 1460, 65535]);
    const options = [2, 4, mss >> 8, mss & 255, 1, 3, 3, SCALE];
    if (this.#sack) options.push(1, 1, 4, 2);
    this.#offer = Uint8Array.from(options);
  }

  /** The octet that version `v` of its stream has at a place. */
  static octet(position: number, v: number): number {
    return (position * 3 + 85 * v) & 0xff;
  }

  /** What it sends next. */
  next(now: number): Uint8Array[] {
    this.#clock = Math.floor(now);
    if (!this.#begun) {
      this.#begun = true;
      return [this.#packet(TcpFlag.SYN, 0, 0, 0xffff, new Uint8Array(0), this.#withTime(this.#offer))];
    }
    const count = this.#random.chance(0.1) ? 20 : 1;
    return Array.from({ length: count }, () => (this.#established ? this.#nonsense() : this.#handshake()));
  }

  /** A packet of B for it. */
  take(packet: Uint8Array): void {
    this.answered++;
    const [ip, tcp] = [new IpView(), new TcpView()];
    if (!ip.parse(packet) || !tcp.parse(ip)) {
      this.faults.push('a packet that is none');
      return;
    }
    if ((tcp.flags & TcpFlag.RST) !== 0) {
      this.over = true;
      return;
    }
    if (tcp.hasTimestamps) this.#echo = tcp.tsVal;
    if ((tcp.flags & TcpFlag.SYN) !== 0) {
      this.#theirIss = tcp.seq;
      this.#established = true;
      return;
    }
    const at = (tcp.seq - this.#theirIss) | 0;
    const text = packet.subarray(tcp.start, tcp.end);
    text.forEach((octet, i) => {
      if (octet !== writtenAt(at - 1 + i)) this.faults.push(`octet ${at + i} is not what was written`);
    });
    // RFC 9293 §3.8.6: one octet probes a closed window.
    if (at + text.length > this.#edge + 1) this.faults.push(`text up to ${at + text.length}, and no window reached beyond ${this.#edge}`);
    this.#theirNext = Math.max(this.#theirNext, at + text.length + ((tcp.flags & TcpFlag.FIN) !== 0 ? 1 : 0));
    this.#theirAck = Math.max(this.#theirAck, (tcp.ack - this.#iss) | 0);
  }

  #handshake(): Uint8Array {
    return this.#packet(TcpFlag.SYN, 0, 0, 0xffff, new Uint8Array(0), this.#withTime(this.#offer));
  }

  #nonsense(): Uint8Array {
    const random = this.#random;
    const near = (to: number): number => Math.max(1, to + random.between(-3000, 9000));
    const seq = random.chance(0.5) ? this.#theirAck : Math.min(near(this.#theirAck), REACH - 4000);
    const ack = random.pick([this.#theirNext, this.#theirNext, random.between(1, this.#theirNext), near(this.#theirNext), 1, -70_000]);
    const window = random.pick([0, 0, 1, 100, 2000, 0xffff]);
    let flags: number = TcpFlag.ACK;
    if (random.chance(0.05)) flags |= TcpFlag.URG;
    if (random.chance(0.001)) flags |= TcpFlag.FIN;
    if (random.chance(0.02)) flags |= TcpFlag.SYN;
    // At RCV.NXT it would end the connection, which is a peer's right.
    if (seq !== this.#theirAck && random.chance(0.02)) flags |= TcpFlag.RST;
    const length = random.chance(0.5) ? 0 : random.pick([1, 2, 100, 536, 1460, 3000]);
    return this.#packet(flags, seq, ack, window, this.#text(seq, Math.min(length, REACH - seq)), this.#options(ack));
  }

  #text(seq: number, length: number): Uint8Array {
    const version = this.#random.between(0, 2);
    return Uint8Array.from({ length: Math.max(0, length) }, (_, i) => {
      this.versions[seq - 1 + i] = this.versions[seq - 1 + i]! | (1 << version);
      return HostilePeer.octet(seq - 1 + i, version);
    });
  }

  #options(ack: number): Uint8Array {
    const random = this.#random;
    const out: number[] = [];
    if (this.#sack && random.chance(0.6)) {
      const blocks = random.between(1, 3);
      out.push(1, 1, 5, 2 + 8 * blocks);
      for (let i = 0; i < blocks; i++) {
        const left = random.pick([ack, ack + random.between(-2000, 20_000), random.between(1, this.#theirNext)]);
        for (const edge of [left, left + random.between(-100, 20_000)]) {
          const octets = new Uint8Array(4);
          putU32(octets, 0, (this.#theirIss + edge) | 0);
          out.push(...octets);
        }
      }
    }
    return out.length > 28 ? Uint8Array.from(out) : this.#withTime(Uint8Array.from(out));
  }

  #withTime(options: Uint8Array): Uint8Array {
    const random = this.#random;
    if (!this.#timestamps || (this.#established && random.chance(0.05))) return options;
    const time = new Uint8Array(12);
    time.set([1, 1, 8, 10]);
    // RFC 7323 §5: mostly the clock; sometimes the past, seldom the future, which then has to be kept up with.
    if (random.chance(0.001)) this.#clock += random.between(0, 1 << 20);
    putU32(time, 4, random.chance(0.05) ? this.#clock - random.between(0, 100_000) : this.#clock);
    putU32(time, 8, random.chance(0.1) ? random.u32() | 0 : this.#echo);
    const out = new Uint8Array(options.length + 12);
    out.set(options);
    out.set(time, options.length);
    return out;
  }

  #packet(flags: number, seq: number, ack: number, window: number, text: Uint8Array, options: Uint8Array): Uint8Array {
    this.injected++;
    if (ack <= this.#theirNext) this.#edge = Math.max(this.#edge, ack + ((flags & TcpFlag.SYN) !== 0 ? window : window << SCALE));
    return segment({
      from: HostilePeer.ADDRESS,
      sourcePort: this.port,
      seq: (this.#iss + seq) | 0,
      ack: (flags & TcpFlag.ACK) !== 0 ? (this.#theirIss + ack) | 0 : 0,
      flags,
      window,
      options,
      text,
    });
  }
}

/** Somebody off the path who knows both ends of a connection and where its window stands, but not what is acknowledged and when. */
export class BlindAttacker {
  readonly #random: SeededRandom;
  readonly #tcp = new TcpView();
  readonly #ip = new IpView();
  #port = 0;
  /** RCV.NXT of B as last seen; undefined before its SYN,ACK. */
  #next: number | undefined;
  #theirs = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** A packet from B to A. */
  watch(packet: Uint8Array): void {
    if (!this.#ip.parse(packet) || !this.#tcp.parse(this.#ip)) return;
    this.#port = this.#tcp.destinationPort;
    this.#next = this.#tcp.ack;
    this.#theirs = this.#tcp.seq;
  }

  /** A segment in A's name that no rule lets count. */
  forge(): Uint8Array | undefined {
    if (this.#next === undefined) return undefined;
    const random = this.#random;
    const flags = random.pick([TcpFlag.RST, TcpFlag.SYN, TcpFlag.ACK, TcpFlag.ACK | TcpFlag.FIN, TcpFlag.RST | TcpFlag.ACK]);
    // RFC 5961 §3.2: an RST at RCV.NXT would count.
    const seq =
      this.#next + ((flags & TcpFlag.RST) !== 0 ? random.between(4000, 60_000) : random.pick([0, 0, random.between(-3000, 60_000)]));
    const options = new Uint8Array(12);
    options.set([1, 1, 8, 10]);
    putU32(options, 4, random.u32() | 0);
    return segment({
      from: A4,
      sourcePort: this.#port,
      seq: seq | 0,
      // RFC 5961 §5.2: neither sent, nor as near as a window.
      ack: (this.#theirs + 0x3000_0000 + random.between(0, 0x4000_0000)) | 0,
      flags,
      window: random.between(0, 0xffff),
      options,
      text: random.bytes((flags & TcpFlag.ACK) !== 0 ? random.between(0, 500) : 0),
    });
  }
}

/** Octets of its stream. */
const REACH = 200_000;
const SCALE = 4;
