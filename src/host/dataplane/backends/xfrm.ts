import { DataPlaneError, isIpv6 } from '../../../core/bytes/index.ts';
import type { ChildSaChange, ChildSaSpec, Millis } from '../../../core/ike/effects.ts';
import type { Timer } from '../../platform/clock.ts';
import { nativeLack, needNative } from '../../platform/linux/ffi.ts';
import type { NetlinkMonitor } from '../../platform/linux/netlink/monitor.ts';
import { NetlinkSocket } from '../../platform/linux/netlink/socket.ts';
import { takeEsp } from '../../platform/linux/netlink/xfrm/encap-socket.ts';
import { watchXfrm, type XfrmEvent } from '../../platform/linux/netlink/xfrm/events.ts';
import { probeXfrm } from '../../platform/linux/netlink/xfrm/probe.ts';
import { bypassPolicies } from '../../platform/linux/netlink/xfrm/socket-policy.ts';
import { readXfrmStatistics, type XfrmStatistics } from '../../platform/linux/netlink/xfrm/statistics.ts';
import { DescriptorSocket, descriptorUdp } from '../../platform/linux/udp-network.ts';
import type { UdpNetwork, UdpSocket } from '../../platform/udp.ts';
import {
  type ChildCounters,
  type DataPlane,
  type DataPlaneOptions,
  defineBackend,
  type ProbeResult,
  type SequenceNumbers,
  type ShuntPolicy,
  type TrapPolicy,
} from '../data-plane.ts';
import { kernelBehind } from '../xfrm/kernel.ts';
import { KernelPlane } from '../xfrm/kernel-plane.ts';
import { KernelRoutes } from '../xfrm/kernel-routes.ts';
import { type Share, takeShare } from '../xfrm/share.ts';

/** IPsec of the Linux kernel: packets never come here. It owns what carries the number of its share in the network namespace. */
export class XfrmPlane implements DataPlane {
  readonly backend = 'xfrm';
  readonly #share: Share;
  readonly #netlink: NetlinkSocket;
  readonly #before = readXfrmStatistics();
  readonly #plane: KernelPlane;
  readonly #routes: KernelRoutes;
  readonly #sweeping: Timer;
  readonly #onFailure: NonNullable<DataPlaneOptions['onFailure']>;
  #monitor: NetlinkMonitor | undefined;
  #closing: Promise<void> | undefined;

  /** @throws DataPlaneError */
  static async open(options: DataPlaneOptions): Promise<XfrmPlane> {
    const share = await takeShare();
    let netlink: NetlinkSocket | undefined;
    try {
      netlink = await NetlinkSocket.open('route');
      const plane = new XfrmPlane(share, netlink, options);
      await plane.#watch();
      return plane;
    } catch (error) {
      netlink?.close();
      share.socket.close();
      throw error;
    }
  }

  private constructor(
    share: Share,
    netlink: NetlinkSocket,
    { clock, onObservation, onFailure = () => undefined, addresses = [] }: DataPlaneOptions,
  ) {
    this.#onFailure = onFailure;
    this.#share = share;
    this.#netlink = netlink;
    this.#routes = new KernelRoutes(netlink, share, addresses);
    const neighbours = (): readonly string[] => this.#routes.neighbours();
    this.#plane = new KernelPlane({
      kernel: kernelBehind(share.socket, (ip) => this.#routes.linkWith(ip)),
      share,
      neighbours,
      clock,
      onObservation,
      onFailure,
    });
    this.#sweeping = clock.after(GRACE, () => this.#sweep());
  }

  install(spec: ChildSaSpec, resume?: SequenceNumbers): void {
    this.#plane.install(spec, resume);
    try {
      this.#routes.install(spec);
    } catch (error) {
      this.#plane.remove(spec.id);
      throw error;
    }
  }

  update(child: number, change: ChildSaChange): void {
    this.#plane.update(child, change);
    if (change.kind !== 'addresses') return;
    try {
      this.#routes.move(child, change.remote.ip);
    } catch (error) {
      if (!(error instanceof DataPlaneError)) throw error;
      // the SAs stand and the routes to nowhere, too: nothing leaves by another way
      this.#onFailure(error);
    }
  }

  remove(child: number): void {
    this.#routes.remove(child);
    this.#plane.remove(child);
  }

  counters(child: number): ChildCounters | undefined {
    return this.#plane.counters(child);
  }

  sequenceNumbers(child: number): SequenceNumbers | undefined {
    return this.#plane.sequenceNumbers(child);
  }

  /** By the kernel's names, of the whole network namespace since this was opened. */
  drops(): Readonly<Record<string, number>> {
    return grown(this.#before, readXfrmStatistics());
  }

  setTraps(traps: readonly TrapPolicy[]): void {
    this.#plane.setTraps(traps);
    this.#routes.setTraps(traps);
  }

  setShunts(shunts: readonly ShuntPolicy[]): void {
    this.#plane.setShunts(shunts);
    this.#routes.setShunts(shunts);
  }

  /** The kernel takes its ESP out of it; IKE is read as ever. */
  async adopt(socket: UdpSocket): Promise<void> {
    if (socket instanceof DescriptorSocket) await takeEsp(socket.fast.fd);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#sweeping.cancel();
    await this.#monitor?.close();
    this.#plane.close();
    this.#routes.close();
    this.#netlink.close();
    this.#share.socket.close();
  }

  #sweep(): void {
    this.#plane.sweep();
    this.#routes.sweep();
  }

  async #watch(): Promise<void> {
    const onEvent = (event: XfrmEvent): void => this.#plane.onEvent(event);
    this.#monitor = await watchXfrm(['acquire', 'expire', 'mappings', 'policies'], { onEvent, onLost: () => this.#plane.onLost() });
  }
}

export default defineBackend<XfrmPlane>({
  name: 'xfrm',
  changesMachine: true,
  bareEsp: true,
  features: ['kernel', 'bypass'],
  probe,
  udp: async (): Promise<UdpNetwork> => bypassing(descriptorUdp(await needNative('xfrm'))),
  open: (options) => XfrmPlane.open(options),
});

/** RFC 4301 §5.2: IKE has an explicit BYPASS entry, here at its sockets. */
const bypassing = (udp: UdpNetwork): UdpNetwork => ({
  ...udp,
  bind: async (options) => {
    const socket = await udp.bind(options);
    try {
      if (socket instanceof DescriptorSocket) await bypassPolicies(socket.fast.fd, isIpv6(options.ip) ? 6 : 4);
      return socket;
    } catch (error) {
      await socket.close();
      throw error;
    }
  },
});

/** An SA that goes again at once says more than any list of privileges and modules. */
async function probe(): Promise<ProbeResult> {
  const lack = await nativeLack();
  if (lack !== undefined) return { ok: false, reason: lack, hint: INSTEAD };
  try {
    const netlink = await NetlinkSocket.open('xfrm');
    try {
      const refusal = probeXfrm(netlink, AES_GCM);
      if (refusal !== undefined) throw refusal;
    } finally {
      netlink.close();
    }
    return { ok: true, detail: 'IPsec of the Linux kernel; needs CAP_NET_ADMIN' };
  } catch (error) {
    if (!(error instanceof DataPlaneError)) throw error;
    return { ok: false, reason: error.message, hint: error.hint ?? INSTEAD, privilege: error.privilege };
  }
}

function grown(before: XfrmStatistics = {}, now: XfrmStatistics = {}): Readonly<Record<string, number>> {
  const counts = Object.entries(now).map(([name, count]) => [name, count - (before[name] ?? 0)] as const);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

/** Longer than it takes to read a configuration, or a snapshot with many SAs. */
const GRACE: Millis = 10_000;
const INSTEAD = 'Use --plane netstack, which needs neither.';
/** 128 bits, and the salt. */
const AES_GCM = { encryption: 20, encryptionKey: new Uint8Array(20) };
