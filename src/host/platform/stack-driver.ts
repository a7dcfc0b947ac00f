import { type Address, ApiMisuse, type DataPlaneError } from '../../core/bytes/index.ts';
import {
  type ConnectOptions,
  type FailureCode,
  type Knock,
  type ListenOptions,
  type Millis,
  type PingOptions,
  Ready,
  type Stack,
  type TcpConnection,
  type UdpEndpoint,
  type UdpOptions,
} from '../../core/netstack/index.ts';
import type { VnetHeader } from '../../core/packet/offload/index.ts';
import { StackUdp } from './stack-udp.ts';
import { type SocketHost, StreamServer, StreamSocket, type StreamSocketOptions, socketError } from './stream-socket.ts';
import type { UdpPort } from './way.ts';

export interface StackDriverOptions {
  readonly stack: Stack;
  readonly transmit: PacketSink;
  /** Milliseconds of a monotonic clock; `performance.now`. */
  readonly now?: () => Millis;
  /** `setTimeout` and `clearTimeout`, or those of a virtual clock. */
  readonly setTimer?: (callback: () => void, delay: Millis) => unknown;
  readonly clearTimer?: (timer: unknown) => void;
  /** Runs the callback soon, after what is running now; `queueMicrotask`. What happens in between is sent as one batch. */
  readonly defer?: (callback: () => void) => void;
}

/** Where packets of the stack go. */
export type PacketSink =
  /**
   * Takes one IP packet; the view is valid during the call only. Returning false means that it was taken but no more fits: nothing
   * is polled until `resume()`.
   */
  | ((packet: Uint8Array) => boolean | undefined)
  /** Polls the stack by itself, some packets of it. `pump` returns false when there was none. */
  | { pump(now: Millis): boolean };

export interface PingAnswer {
  readonly rtt: Millis;
  readonly from: string;
}

/**
 * Binds a `Stack` to a packet sink, a clock and timers, and gives its endpoints the look of `node:net`. One driver owns one stack:
 * nobody else polls it.
 */
export class StackDriver implements SocketHost {
  readonly stack: Stack;
  readonly #transmit: PacketSink;
  readonly #now: () => Millis;
  readonly #setTimer: (callback: () => void, delay: Millis) => unknown;
  readonly #clearTimer: (timer: unknown) => void;
  readonly #defer: (callback: () => void) => void;
  readonly #flush = (): void => this.flush();
  #timer: unknown;
  #timerAt: Millis = Number.POSITIVE_INFINITY;
  /** Something happened since the stack was last seen to. */
  #work = false;
  #deferred = false;
  #flushing = false;
  #blocked = false;
  #closed = false;

  constructor(options: StackDriverOptions) {
    this.stack = options.stack;
    this.#transmit = options.transmit;
    this.#now = options.now ?? (() => performance.now());
    this.#setTimer = options.setTimer ?? ((callback, delay) => setTimeout(callback, delay));
    this.#clearTimer = options.clearTimer ?? ((timer) => clearTimeout(timer as NodeJS.Timeout));
    this.#defer = options.defer ?? queueMicrotask;
    this.stack.onWork = () => this.wake();
  }

  /** One IP packet from the network. It is read before this returns. @param offload as `Stack.receive` has it */
  receive(packet: Uint8Array, offload?: VnetHeader): void {
    if (this.#closed) return;
    this.stack.receive(packet, this.#now(), offload);
    this.wake();
  }

  /** Sees to the stack soon. The stack calls this itself: there is no need to after `send` or `write`. */
  wake(): void {
    this.#work = true;
    if (this.#deferred || this.#flushing || this.#closed) return;
    this.#deferred = true;
    this.#defer(this.#flush);
  }

  /** Sees to everything that waits, now. Nested calls return at once: the outer one goes on until nothing is left. */
  flush(): void {
    this.#deferred = false;
    if (this.#closed || this.#flushing) return;
    this.#flushing = true;
    try {
      // Callbacks and packets feed one another: a read opens the window, whose update has to leave.
      for (let round = 0; this.#work && !this.#closed; round++) {
        if (round === MAX_ROUNDS) {
          // Others want to run too.
          this.#setTimer(this.#flush, 0);
          break;
        }
        this.#work = false;
        this.stack.dispatch();
        this.#transmitBatch();
      }
      if (!this.#closed) this.#arm();
    } finally {
      this.#flushing = false;
    }
  }

  /** The packet sink has room again. */
  resume(): void {
    this.#blocked = false;
    this.wake();
  }

  /** A socket that connects; it emits `connect` or `error`. */
  connect(options: ConnectOptions & StreamSocketOptions): StreamSocket {
    this.#assertOpen();
    const connection = this.stack.connect(options, this.#now());
    return new StreamSocket(this, connection, options);
  }

  /** @param onConnection gets every accepted connection as a socket. */
  listen(options: ListenOptions & StreamSocketOptions, onConnection?: (socket: StreamSocket) => void): StreamServer {
    this.#assertOpen();
    const server = new StreamServer(this, this.stack.listen(options), options);
    if (onConnection !== undefined) server.on('connection', onConnection);
    return server;
  }

  /**
   * Asks about every connection to any address and port of a stack that takes packets to all of them. `onKnock` says yes with a function that gets
   * the socket once it stands, or no with the reason that the peer hears.
   * @returns how to stop
   */
  answerForAll(backlog: number, onKnock: (knock: Doorbell) => void): () => void {
    this.#assertOpen();
    const listener = this.stack.listen({ port: 'any', backlog, asks: true });
    const expected = new Map<TcpConnection, (socket: StreamSocket) => void>();
    listener.onReady = () => {
      for (let knock = listener.nextKnock(); knock !== undefined; knock = listener.nextKnock()) onKnock(doorbell(knock, expected, this));
      for (let connection = listener.accept(); connection !== undefined; connection = listener.accept()) {
        const onSocket = expected.get(connection);
        expected.delete(connection);
        const socket = new StreamSocket(this, connection, { allowHalfOpen: true, noDelay: true });
        if (onSocket === undefined) socket.destroy();
        else onSocket(socket);
      }
    };
    return () => listener.close();
  }

  /** A UDP port for datagrams to names, too. @throws ApiMisuse EADDRINUSE */
  openUdp(port: number, resolve: (host: string) => Promise<string>): UdpPort {
    return new StackUdp(this, port, resolve);
  }

  /** A UDP endpoint of the stack; its `onReady` tells of datagrams. */
  bindUdp(options: UdpOptions): UdpEndpoint {
    this.#assertOpen();
    return this.stack.bindUdp(options);
  }

  /** @throws DataPlaneError with `code` ETIMEDOUT, EHOSTUNREACH, … when there was no echo reply. */
  ping(options: PingOptions): Promise<PingAnswer> {
    this.#assertOpen();
    const ping = this.stack.ping(options, this.#now());
    return new Promise((resolve, reject) => {
      ping.onReady = (events) => {
        if ((events & Ready.DONE) === 0) return;
        if (ping.rtt !== undefined) resolve({ rtt: ping.rtt, from: ping.from ?? ping.remote });
        else reject(pingError(ping.error ?? 'ETIMEDOUT', ping.remote));
      };
    });
  }

  /** Stops: nothing is sent or received any more, sockets that are open emit ENETDOWN. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#disarm();
    this.stack.abandon();
    this.stack.dispatch();
  }

  setTimer(callback: () => void, delay: Millis): unknown {
    return this.#setTimer(callback, delay);
  }

  clearTimer(timer: unknown): void {
    this.#clearTimer(timer);
  }

  #transmitBatch(): void {
    const now = this.#now();
    const transmit = this.#transmit;
    if (typeof transmit !== 'function') {
      if (transmit.pump(now)) this.#work = true;
      return;
    }
    for (let sent = 0; !this.#blocked && !this.#closed; sent++) {
      if (sent === BATCH) {
        this.#work = true;
        return;
      }
      const packet = this.stack.poll(now);
      if (packet === undefined) return;
      if (transmit(packet) === false) this.#blocked = true;
    }
  }

  #arm(): void {
    const deadline = this.stack.nextDeadline();
    if (deadline === undefined) {
      this.#disarm();
      return;
    }
    // An armed timer that fires earlier re-arms itself; moving it at every packet would cost more.
    if (this.#timer !== undefined && this.#timerAt <= deadline) return;
    this.#disarm();
    this.#timerAt = deadline;
    this.#timer = this.#setTimer(() => this.#onTimer(), Math.max(0, Math.ceil(deadline - this.#now())));
  }

  #onTimer(): void {
    const late = this.#now() - this.#timerAt;
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    // Whoever has slept too long hears first what came meanwhile: an acknowledgment among it may be what the timer waits for.
    if (late > LATE) this.#defer(() => this.#expire());
    else this.#expire();
  }

  #expire(): void {
    if (this.#closed) return;
    this.stack.expire(this.#now());
    // The deadline may have moved without anything being due.
    this.#work = true;
    this.flush();
  }

  #disarm(): void {
    if (this.#timer !== undefined) this.#clearTimer(this.#timer);
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #assertOpen(): void {
    if (this.#closed) throw new ApiMisuse('the network stack was closed', { code: 'STACK_CLOSED' });
  }
}

/** Somebody in a tunnel wants to connect to a host behind us. */
export interface Doorbell {
  readonly from: Address;
  readonly to: Address;
  /** It gave up meanwhile. */
  readonly gone: boolean;
  /** @param onSocket called unless it goes away before the connection stands */
  admit(onSocket: (socket: StreamSocket) => void): void;
  refuse(code: FailureCode): void;
}

function doorbell(knock: Knock, expected: Map<TcpConnection, (socket: StreamSocket) => void>, driver: StackDriver): Doorbell {
  return {
    from: knock.remote,
    to: knock.local,
    get gone() {
      return knock.gone;
    },
    admit: (onSocket) => {
      expected.set(knock.connection, onSocket);
      knock.admit();
      driver.wake();
    },
    refuse: (code) => {
      knock.refuse(code);
      driver.wake();
    },
  };
}

function pingError(code: FailureCode, ip: string): DataPlaneError {
  const remote: Address = { ip, port: 0 };
  return socketError(code, 'ping', remote);
}

const BATCH = 64;
const MAX_ROUNDS = 16;
/** Milliseconds. */
const LATE = 2;
