import type { Address } from '../../core/bytes/index.ts';
import type { Transport } from '../../core/ike/effects.ts';
import { CONGESTION_CONTROLS, Stack } from '../../core/netstack/index.ts';
import type { StackDriver } from '../platform/stack-driver.ts';
import type { UdpSocket } from '../platform/udp.ts';
import { type DataPlane, type DataPlaneOptions, DEFAULT_MTU } from './data-plane.ts';

/**
 * The data plane that runs everywhere and needs no privilege: TCP/IP and ESP in this process, packets through the engine's UDP sockets.
 * Applications reach the tunnel through `driver`, whose sockets look like those of `node:net`.
 */
export interface NetstackPlane extends DataPlane {
  readonly backend: 'netstack';
  readonly driver: StackDriver;
  /** A host that answers in the name of the networks behind us, for packets that no CHILD_SA takes; absent unless asked for. */
  readonly behind: StackDriver | undefined;
  /** Inner packets passed from one CHILD_SA to another. */
  readonly forwarded: number;
  receive(packet: Uint8Array, local: Address, ip: string, port: number, transport?: Transport): boolean;
  adopt(socket: UdpSocket): Promise<void>;
  disown(socket: UdpSocket): Promise<void>;
}

export const isNetstack = (plane: DataPlane): plane is NetstackPlane => plane.backend === 'netstack';

/** The host that has our inner addresses. */
export function hereStack({ mtu, random, promiscuous, congestion }: DataPlaneOptions, addresses: readonly string[]): Stack {
  const tcp = congestion === undefined ? undefined : { congestion: CONGESTION_CONTROLS[congestion] };
  return new Stack({ addresses, mtu: mtu ?? DEFAULT_MTU, random, promiscuous, tcp });
}

/** The one that answers for the networks behind us. */
export const behindStack = (options: DataPlaneOptions): Stack => hereStack({ ...options, promiscuous: true }, []);

/** Of the hosts. @param wanted at the most @param fits what no SA has to split; undefined without SAs */
export const tunnelMtu = (wanted = DEFAULT_MTU, fits = wanted): number => Math.max(LEAST_MTU, Math.min(wanted, fits));

/** RFC 8200 §5. */
const LEAST_MTU = 1280;
