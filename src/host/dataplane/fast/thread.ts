import { parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { InternalError } from '../../../core/bytes/index.ts';
import { systemRandom } from '../../../core/crypto/system-random.ts';
import { Coalescer, RUN_BUFFER } from '../../../core/packet/offload/index.ts';
import { systemClock } from '../../platform/clock.ts';
import { zlibDeflate } from '../../platform/deflate.ts';
import { packetCiphers } from '../../platform/linux/evp.ts';
import { loadNative, type Native, type NativeBuffer, NativeMemory } from '../../platform/linux/ffi.ts';
import { POLL, PollSet, Wakeup } from '../../platform/linux/poll.ts';
import { Tun } from '../../platform/linux/tun.ts';
import { FastUdp } from '../../platform/linux/udp.ts';
import { BEHIND, HERE } from '../transit.ts';
import { CardDevice } from './card-device.ts';
import { Arrivals, UdpDevice } from './devices.ts';
import { isFirst } from './inbound.ts';
import { FastLoop, type HostsInside, LOOP_BUFFERS } from './loop.ts';
import { type CardSide, type FromLoop, MOST_SOCKETS, MOST_STRANGERS, MOST_WAITING, type ToLoop, type TunSide } from './messages.ts';
import type { InnerSink, RawPort, TunPort, UdpPort } from './ports.ts';
import { RawDevice } from './raw-device.ts';
import { CounterSlots } from './slots.ts';

type Start = Extract<ToLoop, { kind: 'start' }>;

/** What runs in the thread of a fast plane: waits for packets and messages, and lets the loop do the rest. */
parentPort?.once('message', (message: Start) => {
  void loadNative().then((native) => {
    if (native === undefined) throw new InternalError('native calls were there before and are not now');
    run(native, message);
  });
});

function run(native: Native, { backend, origin, inner, wake, counters, waiting, singly }: Start): void {
  const port = parentPort!;
  const underWay = new Int32Array(waiting);
  const ahead = performance.timeOrigin - origin;
  let now = performance.now() + ahead;
  const hosts = inner.kind === 'card' && inner.behind ? 2 : 1;
  const gathered = Arrivals.octets(hosts * FLOWS * RUN_BUFFER);
  const memory = new NativeMemory(NativeMemory.octets(gathered, ...LOOP_BUFFERS));
  const arrivals = new Arrivals(native, memory.take(gathered));
  const post = (message: FromLoop): void => port.postMessage(message);
  const side = inner.kind === 'tun' ? deviceSide(native, inner, arrivals) : cardSide(inner, arrivals, post);
  const polled = new Polled(native, side, wake);
  const loop = new FastLoop<NativeBuffer>({
    // one time for all packets of a turn: to ask for each costs as much as a lookup
    clock: { ...systemClock, now: () => now },
    random: systemRandom(),
    createPacketCipher: packetCiphers(native),
    deflate: zlibDeflate,
    backend,
    tun: side.device,
    sink: side.sink,
    hosts: side.hosts,
    counters: new CounterSlots(counters),
    allocate: (length) => memory.take(length),
    openRaw: (fd, ip, protocol) => polled.watchedRaw(new RawDevice(native, fd, ip, protocol), fd),
    openSocket: (fd) => {
      const udp = FastUdp.adopt(native, fd);
      if (singly) udp.sendSingly();
      return polled.watched(new UdpDevice(native, udp, arrivals), fd);
    },
    post: (message) => {
      if (message.kind === 'ike' || message.kind === 'send') {
        // dropped as a full socket would: IKE is sent again
        const most = message.kind === 'ike' && isFirst(message.datagram) ? MOST_STRANGERS : MOST_WAITING;
        if (Atomics.load(underWay, 0) >= most) return;
        Atomics.add(underWay, 0, 1);
      }
      post(message);
    },
  });
  const turns = (): void => {
    for (let i = 0; i < TURNS; i++) {
      const messages = polled.wait(loop.patience(SHORT_WAIT));
      now = performance.now() + ahead;
      if (messages) {
        for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
          loop.tell(next.message as ToLoop);
        if (loop.closed) return port.close();
      }
      loop.turn(polled);
    }
    // whatever else Node has to do in this thread
    setImmediate(turns);
  };
  turns();
}

/** What the loop has on its inner side. */
interface Side {
  readonly device: TunPort<NativeBuffer>;
  readonly sink: InnerSink<NativeBuffer>;
  readonly hosts: HostsInside<NativeBuffer> | undefined;
  /** Readable when there are packets; undefined where a ring says so. */
  readonly fd: number | undefined;
  readonly card: CardDevice<NativeBuffer> | undefined;
}

function deviceSide(native: Native, { tun }: TunSide, arrivals: Arrivals): Side {
  const device = Tun.adopt(native, tun);
  const sink = new Coalescer<NativeBuffer>({
    sink: { deliver: (buffer, start, end) => void device.write(buffer, start, end - start) },
    flows: FLOWS,
    buffer: arrivals.batch.buffer,
    at: arrivals.behind,
    udp: tun.offloads.udp,
  });
  return { device, sink, hosts: undefined, fd: tun.fd, card: undefined };
}

function cardSide({ rings, addresses, forward, behind }: CardSide, arrivals: Arrivals, post: (message: FromLoop) => void): Side {
  const card = new CardDevice<NativeBuffer>(rings, () => post({ kind: 'card' }));
  const sinkOf = (host: number): InnerSink<NativeBuffer> => {
    const coalescer = new Coalescer<NativeBuffer>({
      sink: { deliver: (buffer, start, end) => void card.writeTo(host, buffer, start, end - start) },
      flows: FLOWS,
      buffer: arrivals.batch.buffer,
      at: arrivals.behind + host * FLOWS * RUN_BUFFER,
      udp: false,
    });
    return {
      push: (from, start, end) => coalescer.push(from, start, end),
      flush: () => {
        coalescer.flush();
        card.announce();
      },
      get crowded() {
        return card.crowded;
      },
    };
  };
  const hosts = { addresses, forward, behind: behind ? sinkOf(BEHIND) : undefined, dropped: () => card.dropped };
  return { device: card, sink: sinkOf(HERE), hosts, fd: undefined, card };
}

/** What the thread waits on. */
class Polled {
  tun = false;
  sockets = false;
  readonly #set: PollSet;
  readonly #wakeup: Wakeup;
  readonly #tunPlace: number | undefined;
  readonly #card: CardDevice<NativeBuffer> | undefined;
  readonly #wakePlace: number;
  readonly #socketPlaces: number[] = [];
  #paused = false;

  constructor(native: Native, { fd, card }: Pick<Side, 'fd' | 'card'>, wake: number) {
    this.#set = new PollSet(native, MOST_SOCKETS + 3);
    this.#wakeup = Wakeup.adopt(native, wake);
    this.#tunPlace = fd === undefined ? undefined : this.#set.add(fd);
    this.#wakePlace = this.#set.add(wake);
    this.#card = card;
  }

  /** @returns whether there are messages */
  wait(timeout: number): boolean {
    const set = this.#set;
    const card = this.#card;
    if (card !== undefined) this.#pause(card.waitForRoom());
    set.wait(card === undefined || card.rest() ? timeout : 0);
    card?.stir();
    this.tun = card === undefined ? this.#tunPlace !== undefined && (set.ready(this.#tunPlace) & POLL.in) !== 0 : !card.isEmpty;
    this.sockets = false;
    for (const place of this.#socketPlaces) if (set.ready(place) !== 0) this.sockets = true;
    return (set.ready(this.#wakePlace) & POLL.in) !== 0 && this.#wakeup.clear();
  }

  /** What is not read makes no noise either. */
  #pause(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    for (const place of this.#socketPlaces) this.#set.watch(place, paused ? 0 : POLL.in);
  }

  watchedRaw(port: RawPort, fd: number): RawPort {
    const place = this.#watch(fd);
    return {
      ip: port.ip,
      protocol: port.protocol,
      receive: (take) => port.receive(take),
      receiveErrors: (take) => port.receiveErrors(take),
      towards: (remote) => port.towards(remote),
      close: () => {
        this.#forget(place);
        port.close();
      },
    };
  }

  #watch(fd: number): number {
    const place = this.#set.add(fd, this.#paused ? 0 : POLL.in);
    this.#socketPlaces.push(place);
    return place;
  }

  #forget(place: number): void {
    this.#set.remove(place);
    this.#socketPlaces.splice(this.#socketPlaces.indexOf(place), 1);
  }

  watched(socket: UdpPort<NativeBuffer>, fd: number): UdpPort<NativeBuffer> {
    const place = this.#watch(fd);
    return {
      local: socket.local,
      receive: (take) => socket.receive(take),
      ...(socket.receiveErrors === undefined ? {} : { receiveErrors: (take) => socket.receiveErrors?.(take) }),
      towards: (remote) => socket.towards(remote),
      close: () => {
        this.#forget(place);
        socket.close();
      },
    };
  }
}

/** TCP and UDP flows whose packets are gathered side by side. */
const FLOWS = 8;
const TURNS = 2000;
/** Milliseconds until what was counted last is shown. */
const SHORT_WAIT = 100;
