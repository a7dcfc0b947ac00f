import { type Address, DataPlaneError, isIpv6 } from '../../core/bytes/index.ts';
import { frameMessage, LONGEST_STREAM_MESSAGE, STREAM_PREFIX, StreamReader } from '../../core/esp/index.ts';
import type { Datagram, Millis, StreamChange } from '../../core/ike/effects.ts';
import type { EspPath } from '../dataplane/data-plane.ts';
import type { Clock, Timer } from '../platform/clock.ts';
import type { TcpNetwork, TcpServer, TcpStream } from '../platform/tcp.ts';
import type { Counters } from './counters.ts';
import { handOn, type MessageSinks } from './encapsulated.ts';

export interface StreamSinks extends MessageSinks {
  onStreamClosed(local: Address, remote: Address): void;
}

/**
 * IKE and ESP over TCP (RFC 9329): every stream of the engine and its one reader. A stream is named by its two ends, as a path of the core
 * is. One that a stranger opened gets little time and little room until the core says that somebody has authenticated on it.
 */
export class Streams {
  readonly #tcp: TcpNetwork | undefined;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #sinks: StreamSinks;
  readonly #byEnds = new Map<string, Entry>();
  readonly #strangersOf = new Map<string, number>();
  #strangers = 0;
  #sweep: Timer | undefined;
  #closed = false;

  constructor(tcp: TcpNetwork | undefined, clock: Clock, counters: Counters, sinks: StreamSinks) {
    this.#tcp = tcp;
    this.#clock = clock;
    this.#counters = counters;
    this.#sinks = sinks;
  }

  /** Streams that stand, those of strangers as well. */
  get size(): number {
    return this.#byEnds.size;
  }

  /** @returns undefined where this machine has no TCP for us. @throws DataPlaneError when the port cannot be opened */
  listen(ip: string, port: number): Promise<TcpServer> | undefined {
    return this.#tcp?.listen({ ip, port, onStream: (stream) => this.#accept(stream) });
  }

  /** Opens a stream, its prefix sent. @throws PeerRefused, TimedOut, DataPlaneError */
  async connect(localIp: string, remote: Address, within: Millis): Promise<{ readonly local: Address; readonly remote: Address }> {
    if (this.#tcp === undefined)
      throw new DataPlaneError('there is no TCP here', { code: 'NO_TCP', hint: 'Set transport: udp for this connection.' });
    const stream = await this.#tcp.connect({ localIp, remote, within });
    this.adopt(stream);
    return { local: stream.local, remote: stream.remote };
  }

  /** A stream that was opened towards a peer. */
  adopt(stream: TcpStream): void {
    if (this.#closed) return stream.abort();
    // RFC 9329 §6.1: before anything else, each time
    stream.write(STREAM_PREFIX.slice());
    this.#counters.add('streams', 'opened');
    this.#add(stream, 'messages', 'kept');
  }

  /** Sends an IKE message. @returns false when there is no such stream or it takes no more */
  transmit({ local, remote, data }: Datagram): boolean {
    const entry = this.#byEnds.get(endsKey(local, remote));
    const sent = entry !== undefined && this.#send(entry, data, true, MOST_WAITING);
    this.#counters.add('datagrams', sent ? 'ike out' : entry === undefined ? 'no stream between these ends' : 'stream full');
    return sent;
  }

  /** The way of ESP packets. A stream that is full drops them: whoever is inside of the tunnel has to slow down (RFC 9329 §9.1). */
  path(local: Address, remote: Address): EspPath {
    const key = endsKey(local, remote);
    let entry: Entry | undefined;
    return {
      mtu: PATH_MTU,
      overhead: (isIpv6(remote.ip) ? IPV6_HEADER : IPV4_HEADER) + TCP_HEADER + LENGTH_FIELD,
      send: (packet) => {
        if (entry === undefined || entry.over) entry = this.#byEnds.get(key);
        return entry !== undefined && this.#send(entry, packet, false, MOST_ESP_WAITING);
      },
    };
  }

  /** What the core makes of a stream. */
  change(change: StreamChange, local: Address, remote: Address): void {
    const entry = this.#byEnds.get(endsKey(local, remote));
    if (entry === undefined) return;
    if (change === 'keep') this.#keep(entry);
    else if (change === 'close') entry.stream.close();
    else {
      entry.deadline = this.#clock.now() + RELEASED_LIFE;
      this.#armSweep();
    }
  }

  close(): void {
    this.#closed = true;
    this.#sweep?.cancel();
    // what waits, a last Delete say, still goes out
    for (const { stream } of [...this.#byEnds.values()]) stream.close();
  }

  #accept(stream: TcpStream): void {
    const { ip } = stream.remote;
    if (this.#closed || this.#strangers >= MOST_STRANGERS || (this.#strangersOf.get(ip) ?? 0) >= MOST_STRANGERS_OF_ONE) {
      this.#counters.add('streams', 'too many strangers');
      stream.abort();
      return;
    }
    this.#counters.add('streams', 'accepted');
    this.#strangers++;
    this.#strangersOf.set(ip, (this.#strangersOf.get(ip) ?? 0) + 1);
    this.#add(stream, 'prefix', 'stranger');
    this.#armSweep();
  }

  #add(stream: TcpStream, from: 'prefix' | 'messages', standing: Entry['standing']): void {
    const now = this.#clock.now();
    const deadline = standing === 'stranger' ? now + PREFIX_WITHIN : undefined;
    const entry: Entry = {
      stream,
      reader: new StreamReader(from),
      standing,
      deadline,
      begunAt: now,
      stalledSince: undefined,
      bad: 0,
      over: false,
    };
    this.#byEnds.set(endsKey(stream.local, stream.remote), entry);
    stream.start({ onData: (data) => this.#onData(entry, data), onClose: () => this.#onClose(entry) });
  }

  #onData(entry: Entry, data: Uint8Array): void {
    if (entry.over || this.#closed) return;
    const { reader } = entry;
    const began = reader.begun;
    const fault = reader.push(data, (message) => this.#onMessage(entry, message));
    if (fault !== undefined) return this.#cutOff(entry, fault);
    if (!began && reader.begun && entry.standing === 'stranger') entry.deadline = entry.begunAt + STRANGER_LIFE;
    entry.stalledSince = reader.partial ? (entry.stalledSince ?? this.#clock.now()) : undefined;
    if (entry.stalledSince !== undefined) this.#armSweep();
  }

  /** @returns false when the stream is over: nothing more of it is read */
  #onMessage(entry: Entry, message: Uint8Array): boolean {
    const { local, remote } = entry.stream;
    // a frame that was under way has come to its end
    entry.stalledSince = undefined;
    const good = handOn(this.#sinks, this.#counters, message, { local, remote, transport: 'tcp' });
    entry.bad = good ? 0 : entry.bad + 1;
    if (entry.bad >= (entry.standing === 'stranger' ? MOST_BAD_OF_STRANGERS : MOST_BAD)) this.#cutOff(entry, 'only nonsense');
    return !entry.over;
  }

  #send(entry: Entry, message: Uint8Array, isIke: boolean, most: number): boolean {
    const { stream } = entry;
    if (entry.over || message.length > LONGEST_STREAM_MESSAGE || stream.waiting + message.length > most) return false;
    const frame = frameMessage(message, isIke);
    return frame !== undefined && stream.write(frame);
  }

  /** RFC 9329 §6.1: closed where it is corrupt; the end that opened it opens another one. */
  #cutOff(entry: Entry, why: string): void {
    this.#counters.add('streams', why);
    entry.stream.abort();
    this.#onClose(entry);
  }

  #onClose(entry: Entry): void {
    if (entry.over) return;
    entry.over = true;
    this.#forgetStranger(entry);
    const { local, remote } = entry.stream;
    this.#byEnds.delete(endsKey(local, remote));
    if (!this.#closed) this.#sinks.onStreamClosed(local, remote);
  }

  #keep(entry: Entry): void {
    this.#forgetStranger(entry);
    entry.deadline = undefined;
  }

  #forgetStranger(entry: Entry): void {
    if (entry.standing !== 'stranger') return;
    entry.standing = 'kept';
    this.#strangers--;
    const { ip } = entry.stream.remote;
    const left = (this.#strangersOf.get(ip) ?? 1) - 1;
    if (left > 0) this.#strangersOf.set(ip, left);
    else this.#strangersOf.delete(ip);
  }

  #armSweep(): void {
    if (this.#closed || this.#sweep !== undefined) return;
    this.#sweep = this.#clock.after(SWEEP, () => this.#expire());
  }

  #expire(): void {
    this.#sweep = undefined;
    const now = this.#clock.now();
    let watched = false;
    for (const entry of [...this.#byEnds.values()]) {
      const { deadline, stalledSince } = entry;
      if (deadline !== undefined && now >= deadline)
        this.#cutOff(entry, entry.reader.begun ? 'not authenticated in time' : 'no stream prefix in time');
      else if (stalledSince !== undefined && now - stalledSince >= FRAME_WITHIN) this.#cutOff(entry, 'stalled in the middle of a message');
      else watched ||= deadline !== undefined || stalledSince !== undefined;
    }
    if (watched) this.#armSweep();
  }
}

interface Entry {
  readonly stream: TcpStream;
  readonly reader: StreamReader;
  standing: 'stranger' | 'kept';
  readonly begunAt: Millis;
  /** When it is closed, unless the core says otherwise. */
  deadline: Millis | undefined;
  /** Since when it has been in the middle of a frame. */
  stalledSince: Millis | undefined;
  /** Messages in a row that made no sense. */
  bad: number;
  over: boolean;
}

const endsKey = (local: Address, remote: Address): string => `${local.ip}|${local.port}|${remote.ip}|${remote.port}`;

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
/** With the timestamps that most hosts send. */
const TCP_HEADER = 32;
const LENGTH_FIELD = 2;
const PATH_MTU = 1500;
/** Octets that wait for the kernel before ESP is dropped. */
const MOST_ESP_WAITING = 256 * 1024;
/** The same for IKE, which waits longer than ESP. */
const MOST_WAITING = 1024 * 1024;
/** Streams on which nobody has authenticated. */
const MOST_STRANGERS = 512;
const MOST_STRANGERS_OF_ONE = 16;
const PREFIX_WITHIN: Millis = 5000;
/** From the beginning of the stream until somebody has authenticated on it. */
const STRANGER_LIFE: Millis = 30_000;
/** From the first octet of a message to its last. */
const FRAME_WITHIN: Millis = 30_000;
/** No IKE SA is on it any more: the peer gets time to close it, and then a little more. */
const RELEASED_LIFE: Millis = 10_000;
const SWEEP: Millis = 1000;
/** RFC 9329 §6.1: a few messages with unknown SPIs are none. */
const MOST_BAD = 64;
const MOST_BAD_OF_STRANGERS = 8;
