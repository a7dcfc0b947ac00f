import type { Address } from '../../../core/bytes/index.ts';
import { DataPlaneError } from '../../../core/bytes/index.ts';
import type { ChildSaChange, ChildSaSpec } from '../../../core/ike/effects.ts';
import { VNET_HEADER } from '../../../core/packet/offload/index.ts';
import { type Native, nativeLack, needNative } from '../../platform/linux/ffi.ts';
import { changeLink, getLink } from '../../platform/linux/netlink/links.ts';
import { NetlinkSocket } from '../../platform/linux/netlink/socket.ts';
import { Wakeup } from '../../platform/linux/poll.ts';
import { RawIp } from '../../platform/linux/raw.ts';
import { Tun } from '../../platform/linux/tun.ts';
import { descriptorUdp } from '../../platform/linux/udp-network.ts';
import type { UdpNetwork } from '../../platform/udp.ts';
import {
  type DataPlane,
  type DataPlaneOptions,
  DEFAULT_MTU,
  defineBackend,
  type ProbeResult,
  type SequenceNumbers,
  type ShuntPolicy,
  type TrapPolicy,
} from '../data-plane.ts';
import type { ThreadPort } from '../fast/thread-port.ts';
import { OwnAddresses } from '../own-addresses.ts';
import { PlaneInThread, startThread } from '../plane-in-thread.ts';
import { ShuntRules } from '../shunt-rules.ts';
import { TunRoutes } from '../tun-routes.ts';

/** ESP in user space behind a network interface of the kernel's: every program of the machine uses the tunnel without knowing. */
export class TunPlane extends PlaneInThread implements DataPlane {
  readonly backend: string;
  protected readonly port: ThreadPort;
  /** Of the interface. */
  readonly name: string;
  readonly #tun: Tun;
  readonly #netlink: NetlinkSocket;
  readonly #routes: TunRoutes;
  readonly #shunts: ShuntRules;
  readonly #own: OwnAddresses;
  readonly #wakeup: Wakeup;
  readonly #native: Native;
  readonly #onFailure: DataPlaneOptions['onFailure'];
  readonly #raws = new Map<string, RawIp>();
  /** IP protocols of the children. */
  readonly #protocols = new Map<number, number>();

  /** @throws DataPlaneError */
  static async open(options: DataPlaneOptions): Promise<TunPlane> {
    const native = await needNative('tun');
    // better now than at the first SA
    if (options.bareEsp === true) RawIp.open(native, { ip: '0.0.0.0', protocol: ESP }).close();
    const netlink = await NetlinkSocket.open('route');
    let tun: Tun | undefined;
    try {
      tun = Tun.open(native, { name: DEVICE, header: VNET_HEADER, mtu: options.mtu ?? DEFAULT_MTU, queueLength: QUEUE });
      return new TunPlane(native, netlink, tun, options);
    } catch (error) {
      tun?.close();
      netlink.close();
      throw error;
    }
  }

  /** Over a device that is yet to be brought up, and a socket to the network that it is in; both are the plane's from here on. @throws DataPlaneError */
  constructor(native: Native, netlink: NetlinkSocket, tun: Tun, options: DataPlaneOptions, backend = 'tun') {
    super();
    this.backend = backend;
    this.name = tun.state.name;
    this.#native = native;
    this.#onFailure = options.onFailure;
    this.#tun = tun;
    this.#netlink = netlink;
    this.#own = new OwnAddresses(options.addresses ?? []);
    const link = getLink(netlink, tun.state.name).index;
    bringUp(netlink, link);
    this.#routes = new TunRoutes(netlink, link, OWN_PACKETS);
    this.#routes.setAddresses(this.#own.all);
    this.#shunts = new ShuntRules(netlink, this.#routes.table, OWN_PACKETS);
    this.#wakeup = Wakeup.open(native);
    this.port = startThread({ backend, inner: { kind: 'tun', tun: tun.state } }, this.#wakeup, options);
  }

  async install(spec: ChildSaSpec, resume?: SequenceNumbers): Promise<void> {
    const protocol = spec.protocol === 'AH' ? AH : ESP;
    if (!spec.encap && spec.transport !== 'tcp') this.#openRaw(spec.local.ip, protocol);
    await this.port.install(spec, resume);
    this.#protocols.set(spec.id, protocol);
    try {
      if (this.#own.assign(spec)) this.#routes.setAddresses(this.#own.all);
      this.#routes.install(spec);
    } catch (error) {
      this.port.remove(spec.id);
      throw error;
    }
  }

  update(child: number, change: ChildSaChange): void {
    if (change.kind === 'addresses' && !change.encap && change.transport !== 'tcp') this.#openRawFor(child, change.local);
    this.port.update(child, change);
  }

  remove(child: number): void {
    this.#protocols.delete(child);
    this.#routes.remove(child);
    this.port.remove(child);
  }

  setTraps(traps: readonly TrapPolicy[]): void {
    this.#routes.setTraps(traps);
    this.port.setTraps(traps);
  }

  setShunts(shunts: readonly ShuntPolicy[]): void {
    this.#shunts.set(shunts);
    this.port.setShunts(shunts);
  }

  /** One for each address and protocol, for as long as the plane is there. @throws DataPlaneError */
  #openRaw(ip: string, protocol: number): void {
    const key = `${protocol} ${ip}`;
    if (this.#raws.has(key)) return;
    const raw = RawIp.open(this.#native, { ip, protocol, mark: OWN_PACKETS });
    this.#raws.set(key, raw);
    this.port.raw(raw.fd, ip, protocol);
  }

  #openRawFor(child: number, { ip }: Address): void {
    try {
      this.#openRaw(ip, this.#protocols.get(child) ?? ESP);
    } catch (error) {
      if (!(error instanceof DataPlaneError)) throw error;
      this.#onFailure?.(error);
    }
  }

  protected release(): void {
    for (const raw of this.#raws.values()) raw.close();
    this.#shunts.close();
    this.#routes.close();
    this.#wakeup.close();
    this.#tun.close();
    this.#netlink.close();
  }
}

export default defineBackend<TunPlane>({
  name: 'tun',
  changesMachine: true,
  bareEsp: 'asked',
  features: ['bypass'],
  probe,
  udp: async (): Promise<UdpNetwork> => descriptorUdp(await needNative('tun'), { mark: OWN_PACKETS }),
  open: (options) => TunPlane.open(options),
});

/** Nothing goes in that nobody sent: what a machine says of itself on a link (router solicitations, MLD) is not for a peer. */
function bringUp(netlink: NetlinkSocket, link: number): void {
  try {
    changeLink(netlink, link, { linkLocal: false });
  } catch (error) {
    // a kernel without IPv6 says nothing of the kind
    if (!(error instanceof DataPlaneError) || error.code !== 'KERNEL_LACKS_FEATURE') throw error;
  }
  changeLink(netlink, link, { up: true });
}

/** An interface that goes again at once says more than any list of privileges. */
async function probe(): Promise<ProbeResult> {
  const lack = await nativeLack();
  if (lack !== undefined) return { ok: false, reason: lack, hint: 'Use --plane netstack, which needs neither.' };
  try {
    Tun.open(await needNative('tun'), { name: DEVICE, header: VNET_HEADER }).close();
    return { ok: true, detail: 'ESP in user space behind a network interface; needs CAP_NET_ADMIN' };
  } catch (error) {
    if (!(error instanceof DataPlaneError)) throw error;
    return { ok: false, reason: error.message, hint: error.hint ?? 'Use --plane netstack.', privilege: error.privilege };
  }
}

/** IP protocols. */
const [ESP, AH] = [50, 51];
/** `tw0`, or the first that is free. */
export const DEVICE = 'tw%d';
/** Packets that the kernel holds for us while we are at others. */
export const QUEUE = 1000;
/** The mark of what the tunnel itself sends: it goes past the routes into the tunnel. */
const OWN_PACKETS = 0x7477;
