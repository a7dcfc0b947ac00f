import { loadNative, type Native, nativeLack } from './ffi.ts';
import { openEvp } from './openssl.ts';
import { SocketAddress } from './socket-address.ts';
import { tunKnowsHeader } from './tun.ts';
import { FastUdp } from './udp.ts';
import { UdpBatch } from './udp-batch.ts';

/** What the fast data planes can have here, for `doctor`. Undefined: it could not be found out. */
export interface NativeFacts {
  /** Why there are no native calls, in a sentence with what to do; undefined where there are. Without them nothing else is known. */
  readonly lack: string | undefined;
  /** Whether ciphers can use OpenSSL's contexts again and again. */
  readonly cipherContexts: boolean | undefined;
  /** Whether many datagrams leave in one message (UDP_SEGMENT, Linux 4.18), by trying it on the loopback. */
  readonly udpSegmentation: boolean | undefined;
  /** Whether many datagrams come in as one message (UDP_GRO, Linux 5.0), by trying it on the loopback. */
  readonly udpJoining: boolean | undefined;
  /** Whether TUN devices leave checksums and segmentation to us: TCP always, UDP from Linux 6.2. */
  readonly tunOffload: boolean | undefined;
}

export async function probeNative(): Promise<NativeFacts> {
  const native = await loadNative();
  if (native === undefined) {
    const unknown = { cipherContexts: undefined, udpSegmentation: undefined, udpJoining: undefined, tunOffload: undefined };
    return { lack: await nativeLack(), ...unknown };
  }
  return {
    lack: undefined,
    cipherContexts: openEvp(native) !== undefined,
    ...probeUdp(native),
    tunOffload: tunKnowsHeader(native),
  };
}

function probeUdp(native: Native): Pick<NativeFacts, 'udpSegmentation' | 'udpJoining'> {
  const sockets: FastUdp[] = [];
  const open = (): FastUdp => {
    const socket = FastUdp.open(native, { ip: '127.0.0.1', port: 0 });
    sockets.push(socket);
    return socket;
  };
  try {
    const [from, to] = [open(), open()];
    const joins = to.joinReceived(true);
    const batch = new UdpBatch(native, SEGMENTS);
    const sent = from.sendBatch(
      native.allocate(SEGMENTS * 100),
      0,
      SEGMENTS * 100,
      100,
      SocketAddress.of(native, to.local.ip, to.local.port),
    );
    to.receive(batch);
    const segmentation = sent === SEGMENTS * 100 && from.segmentation;
    return { udpSegmentation: segmentation, udpJoining: joins && (!segmentation || batch.datagrams(0) === SEGMENTS) };
  } catch {
    // No loopback in this namespace, or no socket left.
    return { udpSegmentation: undefined, udpJoining: undefined };
  } finally {
    for (const socket of sockets) socket.close();
  }
}

const SEGMENTS = 3;
