import { type Address, DataPlaneError, formatAddress, PeerRefused, TimedOut, type TunnelwrightError } from '../core/bytes/index.ts';
import type { StreamHandlers, TcpNetwork, TcpStream } from '../host/platform/tcp.ts';
import type { Host } from './host.ts';
import type { Packet } from './network.ts';
import type { VirtualClock, VirtualTimer } from './virtual-clock.ts';

/**
 * TCP between simulated hosts, as much of it as matters to who uses streams: a handshake, octets in order and once although packets are
 * lost, an end in each direction, resets. What it sends are packets of the simulated network, so links, NATs, partitions and
 * interceptors treat it as anything else. No congestion control, and RFC 9293's segments are not on the wire.
 */
export class SimulatedTcp {
  readonly #host: Host;
  readonly #clock: VirtualClock;
  readonly #listeners = new Map<number, (stream: TcpStream) => void>();
  readonly #streams = new Map<string, SimulatedStream>();
  #nextPort = 50_000;

  constructor(host: Host, clock: VirtualClock) {
    this.#host = host;
    this.#clock = clock;
    host.onTcp((packet) => this.#receive(packet));
  }

  get streams(): readonly TcpStream[] {
    return [...this.#streams.values()];
  }

  /** On every address of the host. */
  listen(port: number, onStream: (stream: TcpStream) => void): void {
    this.#listeners.set(port, onStream);
  }

  unlisten(port: number): void {
    this.#listeners.delete(port);
  }

  /** @param done once, with the stream or with what kept it from opening */
  open(localIp: string, remote: Address, within: number, done: (result: TcpStream | TunnelwrightError) => void): void {
    const local = { ip: localIp, port: this.#nextPort++ };
    const stream = this.#add(local, remote);
    const timer = this.#clock.after(within, () => {
      stream.vanish();
      done(new TimedOut(`${formatAddress(remote)} does not answer over TCP`, { code: 'TCP_SILENT' }));
    });
    stream.connect((opened) => {
      timer.cancel();
      done(opened ? stream : new PeerRefused(`${formatAddress(remote)} does not take TCP connections`, { code: 'TCP_REFUSED', notify: 0 }));
    });
  }

  /** The process is gone: the kernel resets its streams. */
  abortAll(): void {
    for (const stream of [...this.#streams.values()]) stream.abort();
  }

  /** For the engine, which works with promises. */
  asNetwork(): TcpNetwork {
    return {
      listen: ({ ip, port, onStream }) => {
        if (this.#listeners.has(port)) return Promise.reject(new DataPlaneError(`TCP ${port} is in use`, { code: 'ADDRESS_IN_USE' }));
        const chosen = port === 0 ? this.#nextPort++ : port;
        this.listen(chosen, onStream);
        const close = (): Promise<void> => Promise.resolve(this.unlisten(chosen));
        return Promise.resolve({ local: { ip, port: chosen }, close });
      },
      connect: ({ localIp, remote, within }) =>
        new Promise((resolve, reject) => {
          this.open(localIp, remote, within, (result) => (result instanceof Error ? reject(result) : resolve(result)));
        }),
    };
  }

  #add(local: Address, remote: Address): SimulatedStream {
    const key = keyOf(local, remote);
    const send = (segment: Uint8Array): void =>
      void this.#host.send({ protocol: 'tcp', source: local, destination: remote, data: segment });
    const stream = new SimulatedStream(local, remote, this.#clock, send, () => this.#streams.delete(key));
    this.#streams.set(key, stream);
    return stream;
  }

  #receive({ source, destination, data }: Packet): void {
    const known = this.#streams.get(keyOf(destination, source));
    if (known !== undefined) return known.receive(data);
    const flags = data[0]!;
    const onStream = this.#listeners.get(destination.port);
    if (flags === SYN && onStream !== undefined) {
      const stream = this.#add(destination, source);
      stream.accept(data, () => onStream(stream));
    } else if ((flags & RST) === 0) {
      this.#host.send({ protocol: 'tcp', source: destination, destination: source, data: segmentOf(RST, 0, 0) });
    }
  }
}

class SimulatedStream implements TcpStream {
  readonly local: Address;
  readonly remote: Address;
  readonly #clock: VirtualClock;
  readonly #send: (segment: Uint8Array) => void;
  readonly #gone: () => void;
  /** Sent or still to be sent, and not acknowledged. */
  #unacknowledged: Piece[] = [];
  #sent = 0;
  #next = 0;
  #expected = 0;
  #timer: VirtualTimer | undefined;
  #tries = 0;
  #handlers: StreamHandlers | undefined;
  /** What came before the handlers. */
  readonly #early: Uint8Array[] = [];
  #onOpen: ((opened: boolean) => void) | undefined;
  #open = false;
  #over = false;
  #ours = false;
  #theirs = false;
  #reason: string | undefined;

  constructor(local: Address, remote: Address, clock: VirtualClock, send: (segment: Uint8Array) => void, gone: () => void) {
    this.local = local;
    this.remote = remote;
    this.#clock = clock;
    this.#send = send;
    this.#gone = gone;
  }

  get waiting(): number {
    return this.#unacknowledged.reduce((sum, { data }) => sum + data.length, 0);
  }

  connect(onOpen: (opened: boolean) => void): void {
    this.#onOpen = onOpen;
    this.#put(SYN, EMPTY);
  }

  accept(syn: Uint8Array, onOpen: () => void): void {
    this.#onOpen = onOpen;
    this.#expected = sequenceOf(syn) + 1;
    this.#put(SYN, EMPTY);
  }

  start(handlers: StreamHandlers): void {
    this.#handlers = handlers;
    for (const data of this.#early.splice(0)) handlers.onData(data);
    if (this.#over) handlers.onClose(this.#reason);
  }

  write(data: Uint8Array): boolean {
    if (this.#over || this.#ours) return false;
    for (let at = 0; at < data.length; at += SEGMENT) this.#put(0, data.slice(at, at + SEGMENT));
    return true;
  }

  close(): void {
    if (this.#over || this.#ours) return;
    this.#ours = true;
    this.#put(FIN, EMPTY);
  }

  abort(): void {
    if (this.#over) return;
    this.#send(segmentOf(RST, 0, 0));
    this.#end('it was reset');
  }

  /** Without a word. */
  vanish(): void {
    this.#onOpen = undefined;
    this.#end('nothing was heard any more');
  }

  receive(segment: Uint8Array): void {
    const flags = segment[0]!;
    if ((flags & RST) !== 0) return this.#end('it was reset');
    this.#acknowledged(acknowledgementOf(segment));
    const sequence = sequenceOf(segment);
    const size = segment.length - HEADER + ((flags & (SYN | FIN)) !== 0 ? 1 : 0);
    if ((flags & SYN) !== 0 && this.#expected === 0) this.#expected = sequence;
    if (size > 0 && sequence === this.#expected) {
      this.#expected += size;
      if (segment.length > HEADER) this.#take(segment.slice(HEADER));
      if ((flags & FIN) !== 0) this.#theirs = true;
    }
    if (size > 0) this.#send(segmentOf(ACK, this.#sent, this.#expected));
    if (!this.#open && this.#expected > 0 && this.#unacknowledged.every((piece) => (piece.flags & SYN) === 0)) this.#opened();
    if (this.#theirs && !this.#ours && !this.#over) this.close();
    if (this.#theirs && this.#ours && this.#unacknowledged.length === 0) this.#end(undefined);
  }

  #opened(): void {
    this.#open = true;
    const onOpen = this.#onOpen;
    this.#onOpen = undefined;
    onOpen?.(true);
  }

  #take(data: Uint8Array): void {
    if (this.#handlers === undefined) this.#early.push(data);
    else this.#handlers.onData(data);
  }

  #put(flags: number, data: Uint8Array): void {
    const sequence = this.#next;
    this.#next += data.length + (flags === 0 ? 0 : 1);
    this.#unacknowledged.push({ flags, sequence, end: this.#next, data });
    if (this.#unacknowledged.length <= WINDOW) this.#transmit(this.#unacknowledged.at(-1)!);
    this.#arm();
  }

  #transmit({ flags, sequence, end, data }: Piece): void {
    this.#sent = Math.max(this.#sent, end);
    const first = (flags & SYN) !== 0 && this.#expected === 0;
    this.#send(segmentOf(first ? SYN : flags | ACK, sequence, this.#expected, data));
  }

  #acknowledged(upTo: number): void {
    const before = this.#unacknowledged.length;
    this.#unacknowledged = this.#unacknowledged.filter(({ end }) => end > upTo);
    const gone = before - this.#unacknowledged.length;
    if (gone === 0) return;
    this.#tries = 0;
    for (const piece of this.#unacknowledged.slice(Math.max(0, WINDOW - gone), WINDOW)) if (piece.end > this.#sent) this.#transmit(piece);
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#arm();
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#unacknowledged.length === 0 || this.#over) return;
    this.#timer = this.#clock.after(FIRST_WAIT * 2 ** this.#tries, () => {
      this.#timer = undefined;
      if (++this.#tries > MOST_TRIES) return this.#end('nothing was heard any more');
      for (const piece of this.#unacknowledged.slice(0, WINDOW)) this.#transmit(piece);
      this.#arm();
    });
  }

  #end(reason: string | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#reason = reason;
    this.#timer?.cancel();
    this.#unacknowledged = [];
    this.#gone();
    const onOpen = this.#onOpen;
    this.#onOpen = undefined;
    onOpen?.(false);
    this.#handlers?.onClose(reason);
  }
}

interface Piece {
  readonly flags: number;
  readonly sequence: number;
  /** Behind its last octet; SYN and FIN count as one. */
  readonly end: number;
  readonly data: Uint8Array;
}

function segmentOf(flags: number, sequence: number, acknowledgement: number, data: Uint8Array = EMPTY): Uint8Array {
  const segment = new Uint8Array(HEADER + data.length);
  const view = new DataView(segment.buffer);
  view.setUint8(0, flags);
  view.setUint32(1, sequence);
  view.setUint32(5, acknowledgement);
  segment.set(data, HEADER);
  return segment;
}

const viewOf = (segment: Uint8Array): DataView => new DataView(segment.buffer, segment.byteOffset, segment.byteLength);
const sequenceOf = (segment: Uint8Array): number => viewOf(segment).getUint32(1);
const acknowledgementOf = (segment: Uint8Array): number => viewOf(segment).getUint32(5);
const keyOf = (local: Address, remote: Address): string => `${formatAddress(local)} ${formatAddress(remote)}`;

const EMPTY = new Uint8Array(0);
const HEADER = 9;
const [SYN, ACK, FIN, RST] = [1, 2, 4, 8] as const;
const SEGMENT = 1200;
/** Pieces under way. */
const WINDOW = 64;
/** Milliseconds, doubled each time: some 25 s in all. */
const FIRST_WAIT = 400;
const MOST_TRIES = 5;
