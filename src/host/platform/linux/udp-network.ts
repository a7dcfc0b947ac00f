import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Address } from '../../../core/bytes/index.ts';
import { type Clock, systemClock } from '../clock.ts';
import { systemUdp, type Triage, type UdpNetwork, type UdpSocket } from '../udp.ts';
import { Burst, type DirectReader, isPatient } from './burst.ts';
import { type Native, type NativeBuffer, systemError } from './ffi.ts';
import { watchNetwork } from './netlink/changes.ts';
import { Rounds } from './pace.ts';
import { SocketAddress } from './socket-address.ts';
import { FastUdp } from './udp.ts';

type DatagramHandler = Parameters<UdpNetwork['bind']>[0]['onDatagram'];

interface Handling {
  readonly onDatagram: DatagramHandler;
  readonly triage: Triage | undefined;
  readonly rounds: Rounds;
}

/** How this thread reads a socket for now. */
interface Reading {
  /** At once; resolves when nothing of it is left. */
  stop(): Promise<void>;
}

/** The machine's UDP with sockets that a data plane can take over: the rest of it is as ever. */
export function descriptorUdp(
  native: Native,
  { mark, clock = systemClock }: { readonly mark?: number; readonly clock?: Clock } = {},
): UdpNetwork {
  const rounds = new Rounds(clock);
  return {
    ...systemUdp,
    bind: async ({ ip, port, receiveBuffer, sendBuffer, onDatagram, triage }) => {
      const options = {
        ip,
        port,
        mark,
        ...(receiveBuffer === undefined ? {} : { receiveBuffer }),
        ...(sendBuffer === undefined ? {} : { sendBuffer }),
      };
      return DescriptorSocket.over(native, FastUdp.open(native, options), { onDatagram, triage, rounds });
    },
    watch: async (onChange) => {
      const monitor = await watchNetwork(['link', 'address', 'route'], { onChange, onLost: onChange });
      return () => monitor.close();
    },
  };
}

/**
 * A UDP socket whose descriptor is known. This thread reads it until a data plane does: a socket has one reader. Sending is always possible,
 * from both.
 */
export class DescriptorSocket implements UdpSocket {
  readonly counters = { received: 0, sent: 0, queueDrops: 0, errors: 0 };
  /** The same socket, for whoever sends and receives many datagrams at a time. */
  readonly fast: FastUdp;
  readonly #native: Native;
  readonly #onDatagram: DatagramHandler;
  readonly #peer: SocketAddress;
  readonly #outgoing: NativeBuffer;
  readonly #burst: Burst;
  readonly #triage: Triage | undefined;
  readonly #rounds: Rounds;
  #reading: Reading | undefined;
  #tookMore = false;
  #open = true;

  static async over(native: Native, fast: FastUdp, { onDatagram, triage, rounds }: Handling): Promise<DescriptorSocket> {
    const socket = new DescriptorSocket(native, fast, { onDatagram, triage, rounds });
    await socket.reclaim();
    return socket;
  }

  private constructor(native: Native, fast: FastUdp, { onDatagram, triage, rounds }: Handling) {
    this.fast = fast;
    this.#native = native;
    this.#onDatagram = onDatagram;
    this.#peer = new SocketAddress(native);
    this.#outgoing = native.allocate(LARGEST);
    this.#burst = new Burst(native, fast, triage);
    this.#triage = triage;
    this.#rounds = rounds;
  }

  get local(): Address {
    return this.fast.local;
  }

  get receiveBuffer(): number {
    return this.fast.receiveBuffer;
  }

  send(data: Uint8Array, ip: string, port: number): boolean {
    if (!this.#open || data.length > LARGEST) return false;
    // Whatever no socket of this family can send to.
    if (port === 0 || !this.#peer.set(ip, port) || this.#peer.isV6 !== this.fast.isV6) {
      this.counters.errors++;
      return false;
    }
    this.#outgoing.octets.set(data);
    if (this.fast.send(this.#outgoing, 0, data.length, this.#peer)) {
      this.counters.sent++;
      return true;
    }
    if (this.fast.refusal === 'full') this.counters.queueDrops++;
    else this.counters.errors++;
    return false;
  }

  /**
   * Many datagrams to one peer that stand one behind the other, of `segment` octets each; the last may be shorter.
   * @param trafficClass DSCP and ECN of their headers
   * @returns octets that the kernel took: whole datagrams, from the front
   */
  sendBatch(from: NativeBuffer, at: number, length: number, segment: number, peer: SocketAddress, trafficClass: number): number {
    if (!this.#open) return 0;
    const taken = this.fast.sendBatch(from, at, length, segment, peer, trafficClass || -1);
    this.counters.sent += Math.ceil(taken / segment);
    if (taken < length) this.counters[this.fast.refusal === 'full' ? 'queueDrops' : 'errors'] += Math.ceil((length - taken) / segment);
    return taken;
  }

  /** From here on what comes in is offered to this reader first, in this thread. */
  readDirectly(reader: DirectReader | undefined): void {
    this.#burst.direct = reader;
  }

  /** This thread stops reading, at once. @returns the descriptor, for the one who reads from now on; it stays ours to close */
  async lend(): Promise<number> {
    const reading = this.#reading;
    this.#reading = undefined;
    await reading?.stop();
    return this.fast.fd;
  }

  /** What the reader does not keep for itself, handed on as if it had come in here. */
  deliver(data: Uint8Array, ip: string, port: number): void {
    if (!this.#open) return;
    this.counters.received++;
    this.#onDatagram(data, ip, port);
  }

  /** This thread reads again; the one who did has stopped. */
  async reclaim(): Promise<void> {
    if (!this.#open || this.#reading !== undefined) return;
    this.fast.joinReceived(false);
    await this.#readAsTheyCome();
  }

  async #readAsTheyCome(): Promise<void> {
    // The reader closes what it is given, and must not close what others send by.
    const fd = this.#native.libc.dup(this.fast.fd);
    if (fd < 0) throw systemError('duplicating the descriptor of a UDP socket', this.#native.errno());
    const reader = createSocket(this.fast.isV6 ? 'udp6' : 'udp4');
    const reading: Reading = { stop: () => closed(reader) };
    this.#reading = reading;
    reader.on('message', (data: Uint8Array, from: RemoteInfo) => {
      // before the data is the receiver's
      const pressing = !isPatient(this.#triage, data);
      this.deliver(data, from.address, from.port);
      this.#takeMore(reading, pressing);
    });
    await new Promise<void>((resolve, reject) => {
      reader.once('error', reject);
      reader.bind({ fd }, () => {
        reader.off('error', reject);
        reader.on('error', () => {
          this.counters.errors++;
        });
        resolve();
      });
    });
  }

  /**
   * What Node reads costs a call and a buffer of 64 KiB each, and where one datagram was, more may wait. Once in a turn of the event loop, since
   * Node itself goes on for some thirty: others must have theirs.
   */
  #takeMore(reading: Reading, pressing: boolean): void {
    if (this.#tookMore || this.#reading !== reading) return;
    this.#tookMore = true;
    setImmediate(() => {
      this.#tookMore = false;
    });
    const more = this.#takeWaiting(reading);
    const waits = this.#rounds.came(1 + more, pressing || this.#burst.pressing);
    if (waits && this.#reading === reading) this.#readInRounds();
  }

  /** With the other sockets of this thread, until datagrams are few again. */
  #readInRounds(): void {
    const waiting = {
      look: (): number => {
        const count = this.#takeWaiting(reading);
        return this.#burst.pressing ? -1 : count;
      },
      // what stands in the way (no descriptor is left) may pass
      resume: (): void =>
        void this.#readAsTheyCome().catch(() => {
          if (this.#reading === reading) this.#readInRounds();
        }),
    };
    const reading: Reading = { stop: async () => this.#rounds.leave(waiting) };
    this.#reading?.stop().catch(() => undefined);
    this.#reading = reading;
    this.#rounds.join(waiting);
  }

  #takeWaiting(reading: Reading): number {
    const received = this.#burst.take(
      () => this.#reading === reading,
      (data, ip, port) => {
        if (this.#open) this.#onDatagram(data, ip, port);
      },
    );
    this.counters.received += received;
    return received;
  }

  /** A reader elsewhere must have stopped. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.lend();
    this.fast.close();
  }
}

const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.close(() => resolve()));

/** Any UDP datagram over IPv4 fits. */
const LARGEST = 65_536;
