import { DataPlaneError } from '../../core/bytes/index.ts';
import type { IpView } from '../../core/packet/index.ts';
import type { ShuntPolicy } from './data-plane.ts';
import { ChildSelectors, type PortView } from './selectors.ts';

/** The shunts of a plane in user space: no SA carries what they are for, whichever way it goes. */
export class ShuntTable {
  #selectors: readonly ChildSelectors[] = [];

  set(shunts: readonly ShuntPolicy[]): void {
    this.#selectors = shunts.map(({ localTs, remoteTs }) => new ChildSelectors(localTs, remoteTs));
  }

  get isEmpty(): boolean {
    return this.#selectors.length === 0;
  }

  takesOutbound(packet: IpView, ports: PortView): boolean {
    return this.#selectors.some((selectors) => selectors.fitsOutbound(packet, ports));
  }

  takesInbound(packet: IpView, ports: PortView): boolean {
    return this.#selectors.some((selectors) => selectors.fitsInbound(packet, ports));
  }
}

/** For planes that have no way but the tunnels. @throws DataPlaneError `BYPASS_UNSUPPORTED` */
export function refuseBypass(shunts: readonly ShuntPolicy[], backend: string): void {
  const bypass = shunts.find(({ action }) => action === 'bypass');
  if (bypass === undefined) return;
  throw new DataPlaneError(`the data plane ${backend} has no way past its tunnels, which ${bypass.connection}.${bypass.child} asks for`, {
    code: 'BYPASS_UNSUPPORTED',
    backend,
    hint: 'Leave the child out, or choose plane: tun or xfrm.',
  });
}
