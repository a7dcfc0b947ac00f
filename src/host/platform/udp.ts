import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { type Address, DataPlaneError, formatAddress, isIpv6 } from '../../core/bytes/index.ts';

/** Where datagrams come in. `data` belongs to the receiver from here on: it may be worked on in place. */
type DatagramHandler = (data: Uint8Array, ip: string, port: number) => void;

interface UdpSocketOptions {
  /** An IP literal. A wildcard (`0.0.0.0`, `::`) receives on all addresses but cannot say on which one a datagram came in. */
  readonly ip: string;
  /** 0 lets the machine choose. */
  readonly port: number;
  readonly onDatagram: DatagramHandler;
  /** Octets to ask for; the kernel gives what its limits allow (`UdpSocket.receiveBuffer`). */
  readonly receiveBuffer?: number;
  readonly sendBuffer?: number;
  /** Heeded where a socket is read many datagrams at a time; elsewhere each is handed to `onDatagram` as it comes. */
  readonly triage?: Triage;
}

/**
 * In which order datagrams are worked on that wait together: who cannot keep up with all serves first those that are worth more. Nothing of
 * what is handed over here may be kept, or changed: its place is used again.
 */
export interface Triage {
  /** Whether it comes behind all others, and is the first to go. */
  waits(data: Uint8Array): boolean;
  /** Whether it may be read a moment later, together with others, where there are many. Absent: nothing may. */
  patient?(data: Uint8Array): boolean;
  onWaiting(data: Uint8Array, ip: string, port: number): void;
  /** So many of those were dropped unread: there were more than are worked on at once. */
  onShed(count: number): void;
}

/** A bound UDP socket. Neither sending nor anything that comes in from the network makes it throw. */
export interface UdpSocket {
  readonly local: Address;
  /** Octets that wait in the kernel at most, as granted. */
  readonly receiveBuffer: number;
  readonly counters: UdpCounters;
  /**
   * Hands one datagram to the kernel. `data` may be reused as soon as this returns.
   * @returns false when it was dropped: the socket is closed or its send queue is full. Like the network itself, the kernel may
   *   drop what was accepted here.
   */
  send(data: Uint8Array, ip: string, port: number): boolean;
  /**
   * Lets another reader have what comes in: from here on nothing is read from this socket but by whoever was given its descriptor. Absent where
   * a socket cannot be lent.
   */
  readonly lend?: () => Promise<number>;
  /** What that reader does not keep for itself, as if it had been read here. */
  readonly deliver?: (data: Uint8Array, ip: string, port: number) => void;
  close(): Promise<void>;
}

interface UdpCounters {
  received: number;
  sent: number;
  /** The send queue was full: the network is slower than we are. */
  queueDrops: number;
  /** Errors of the socket, mostly ICMP answers handed up by the kernel. Unauthenticated, so counted and never acted upon. */
  errors: number;
}

/** The machine's UDP. */
export interface UdpNetwork {
  /** @throws DataPlaneError `ADDRESS_IN_USE`, `ADDRESS_NOT_OURS`, `PORT_NEEDS_PRIVILEGE` or `SOCKET_FAILED` */
  bind(options: UdpSocketOptions): Promise<UdpSocket>;
  /** The address from which this machine would send to `remote`; undefined when it has no route. Nothing is sent. */
  sourceFor(remote: string): Promise<string | undefined>;
  /** All unicast addresses of this machine's interfaces except link-local ones, loopback last. */
  addresses(): readonly string[];
  /**
   * Says that addresses, interfaces or routes are others, as soon as they are, until what it resolves to is called. Absent, or rejected: whoever
   * wants to know looks now and then.
   */
  readonly watch?: (onChange: () => void) => Promise<() => Promise<void>>;
}

export const systemUdp: UdpNetwork = { bind, sourceFor, addresses };

async function bind(options: UdpSocketOptions): Promise<UdpSocket> {
  const v6 = isIpv6(options.ip);
  const socket = createSocket({
    type: v6 ? 'udp6' : 'udp4',
    ipv6Only: v6,
    recvBufferSize: options.receiveBuffer ?? RECEIVE_BUFFER,
    sendBufferSize: options.sendBuffer ?? SEND_BUFFER,
    // Destinations are literals; asking the resolver would defer every send to another turn.
    lookup: ((ip: string, _family: unknown, done: (error: null, ip: string, family: number) => void) =>
      done(null, ip, v6 ? 6 : 4)) as never,
  });
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      socket.close();
      reject(udpBindError(error.code ?? 'unknown', options, error));
    };
    socket.once('error', failed);
    socket.bind({ address: options.ip, port: options.port, exclusive: true }, () => {
      socket.off('error', failed);
      resolve();
    });
  });
  return new DgramSocket(socket, options.onDatagram);
}

class DgramSocket implements UdpSocket {
  readonly local: Address;
  readonly receiveBuffer: number;
  readonly counters: UdpCounters = { received: 0, sent: 0, queueDrops: 0, errors: 0 };
  readonly #socket: Socket;
  #open = true;
  /** The kernel copies a datagram at once unless its buffer is full; then Node holds on to ours, and we take a new one. */
  #copy = new Uint8Array(COPY_SIZE);

  constructor(socket: Socket, onDatagram: DatagramHandler) {
    const bound = socket.address();
    this.#socket = socket;
    this.local = { ip: bound.address, port: bound.port };
    this.receiveBuffer = socket.getRecvBufferSize();
    const counters = this.counters;
    socket.on('message', (data: Uint8Array, from: RemoteInfo) => {
      counters.received++;
      onDatagram(data, from.address, from.port);
    });
    socket.on('error', () => {
      counters.errors++;
    });
  }

  send(data: Uint8Array, ip: string, port: number): boolean {
    if (!this.#open || data.length > COPY_SIZE) return false;
    const socket = this.#socket;
    const waiting = socket.getSendQueueCount();
    if (waiting > 0 && socket.getSendQueueSize() + data.length > LONGEST_QUEUE) {
      this.counters.queueDrops++;
      return false;
    }
    const copy = this.#copy;
    copy.set(data);
    try {
      socket.send(copy, 0, data.length, port, ip);
    } catch {
      this.counters.errors++; // a port or address no socket can send to
      return false;
    }
    if (socket.getSendQueueCount() > waiting) this.#copy = new Uint8Array(COPY_SIZE);
    this.counters.sent++;
    return true;
  }

  close(): Promise<void> {
    if (!this.#open) return Promise.resolve();
    this.#open = false;
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }
}

/** Connecting a UDP socket sends nothing, but makes the kernel choose route and source. */
async function sourceFor(remote: string): Promise<string | undefined> {
  const socket = createSocket(isIpv6(remote) ? 'udp6' : 'udp4');
  try {
    return await new Promise<string | undefined>((resolve) => {
      socket.once('error', () => resolve(undefined));
      socket.connect(PROBE_PORT, remote, () => resolve(socket.address().address));
    });
  } finally {
    socket.close();
  }
}

function addresses(): readonly string[] {
  const global: string[] = [];
  const loopback: string[] = [];
  for (const list of Object.values(networkInterfaces())) {
    for (const entry of list ?? []) {
      // Link-local IPv6 needs a zone to be sent from, which an IKE address cannot carry.
      if (entry.family === 'IPv6' && entry.scopeid !== 0) continue;
      (entry.internal ? loopback : global).push(entry.address);
    }
  }
  return [...global, ...loopback];
}

/** Why this address cannot be bound. @param errno name of the error */
export function udpBindError(errno: string, address: Address, cause?: Error): DataPlaneError {
  const known = BIND_ERRORS[errno];
  return new DataPlaneError(`UDP ${formatAddress(address)} cannot be opened: ${known?.why ?? cause?.message ?? errno}`, {
    code: known?.code ?? 'SOCKET_FAILED',
    errno,
    ...(cause === undefined ? {} : { cause }),
    ...(known ? { hint: known.hint } : {}),
    ...(errno === 'EACCES' ? { privilege: 'CAP_NET_BIND_SERVICE' } : {}),
  });
}

const BIND_ERRORS: Readonly<Record<string, { code: string; why: string; hint: string } | undefined>> = {
  EACCES: {
    code: 'PORT_NEEDS_PRIVILEGE',
    why: 'ports below 1024 need a privilege this process lacks (CAP_NET_BIND_SERVICE)',
    hint: 'Choose ports from 1024 on, or grant the capability (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE).',
  },
  EADDRINUSE: {
    code: 'ADDRESS_IN_USE',
    why: 'another program already uses this port',
    hint: 'Find it with `ss -ulpn`; often it is another IKE daemon. Stop it or choose other ports.',
  },
  EADDRNOTAVAIL: {
    code: 'ADDRESS_NOT_OURS',
    why: 'no interface of this machine has that address',
    hint: 'List the addresses with `ip address`, then listen on one of those.',
  },
};

/** Any UDP datagram over IPv4 fits. */
const COPY_SIZE = 65_536;
const RECEIVE_BUFFER = 4 * 1024 * 1024;
const SEND_BUFFER = 2 * 1024 * 1024;
/** Octets that may wait for the kernel before we drop instead. */
const LONGEST_QUEUE = 4 * 1024 * 1024;
/** The discard service: any port would do. */
const PROBE_PORT = 9;
