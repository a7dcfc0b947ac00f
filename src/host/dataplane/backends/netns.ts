import { closeSync, openSync } from 'node:fs';
import { VNET_HEADER } from '../../../core/packet/offload/index.ts';
import { type Native, nativeLack, needNative } from '../../platform/linux/ffi.ts';
import { Namespace, type NamespaceEntry, probeNamespace } from '../../platform/linux/namespace.ts';
import { type InsideOptions, runInside } from '../../platform/linux/namespace-inside.ts';
import { changeLink, getLink } from '../../platform/linux/netlink/links.ts';
import { Tun } from '../../platform/linux/tun.ts';
import { descriptorUdp } from '../../platform/linux/udp-network.ts';
import type { Program } from '../../platform/program.ts';
import type { UdpNetwork } from '../../platform/udp.ts';
import { type DataPlaneOptions, DEFAULT_MTU, defineBackend, type ProbeResult, type ShuntPolicy } from '../data-plane.ts';
import { refuseBypass } from '../shunt-table.ts';
import { DEVICE, QUEUE, TunPlane } from './tun.ts';

/**
 * The tun plane for an ordinary user: its interface stands in a network namespace of our own, made without a privilege, and any program that
 * is run in there (`entry`) has the tunnel as its network and no other. IKE and ESP use the machine's network, as this process does. When it is
 * killed the interface goes, and with it the only way out.
 */
export class NetnsPlane extends TunPlane {
  readonly #namespace: Namespace;

  /** @throws DataPlaneError */
  static override async open(options: DataPlaneOptions): Promise<NetnsPlane> {
    const native = await needNative('netns');
    const device = { name: DEVICE, header: VNET_HEADER, mtu: options.mtu ?? DEFAULT_MTU } as const;
    const namespace = await Namespace.open(native, { device });
    const tun = Tun.adopt(native, namespace.tun);
    const { netlink } = namespace;
    try {
      changeLink(netlink, getLink(netlink, 'lo').index, { up: true });
      // by ioctl only a privilege outside would do
      changeLink(netlink, getLink(netlink, tun.state.name).index, { queueLength: QUEUE });
      namespace.setResolver([]);
      return new NetnsPlane(native, namespace, tun, options);
    } catch (error) {
      tun.close();
      namespace.netlink.close();
      namespace.close();
      throw error;
    }
  }

  private constructor(native: Native, namespace: Namespace, tun: Tun, options: DataPlaneOptions) {
    super(native, namespace.netlink, tun, options, 'netns');
    this.#namespace = namespace;
  }

  get entry(): NamespaceEntry {
    return this.#namespace.entry;
  }

  /** Runs a program behind the tunnel. It stays there when the plane is closed, without a network. */
  run(command: readonly string[], options?: InsideOptions): Program {
    return runInside(this.entry, command, options);
  }

  setResolver(servers: readonly string[]): void {
    this.#namespace.setResolver(servers);
  }

  override setShunts(shunts: readonly ShuntPolicy[]): void {
    refuseBypass(shunts, this.backend);
    super.setShunts(shunts);
  }

  override close(): Promise<void> {
    this.#closing ??= super.close().finally(() => this.#namespace.close());
    return this.#closing;
  }

  #closing: Promise<void> | undefined;
}

export default defineBackend<NetnsPlane>({
  name: 'netns',
  bareEsp: false,
  probe,
  udp: async (): Promise<UdpNetwork> => descriptorUdp(await needNative('netns')),
  open: (options) => NetnsPlane.open(options),
});

/** All that it takes, tried one by one; only the device itself is not made. */
async function probe(): Promise<ProbeResult> {
  const lack = await nativeLack();
  if (lack !== undefined) return { ok: false, reason: lack, hint: INSTEAD };
  const why = devicesForbidden();
  if (why !== undefined)
    return { ok: false, reason: why, hint: `Load the module (\`modprobe tun\`), or give the container /dev/net/tun. ${INSTEAD}` };
  const refusal = await probeNamespace();
  if (refusal !== undefined) return { ok: false, reason: refusal.message, hint: refusal.hint ?? INSTEAD };
  return { ok: true, detail: 'ESP in user space, for programs in a network namespace of its own; needs no privilege' };
}

/** Whoever opens it has no device yet, and needs no privilege for that. */
function devicesForbidden(): string | undefined {
  try {
    closeSync(openSync('/dev/net/tun', 'r+'));
    return undefined;
  } catch (error) {
    return `this user cannot open /dev/net/tun (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`;
  }
}

const INSTEAD = 'Use --plane netstack, which needs none of this.';
