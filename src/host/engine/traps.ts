import type { ChildPolicy, Connection } from '../../core/ike/policy.ts';
import { asDynamic, isDynamic } from '../../core/ike/traffic-selectors.ts';
import type { AddressRangeSelector, TrafficSelector } from '../../core/wire/payloads/types.ts';
import type { DataPlane, ShuntPolicy, TrapPolicy } from '../dataplane/data-plane.ts';

/** What becomes of packets that no CHILD_SA is there for. @throws DataPlaneError where the plane cannot */
export function tellPolicies(plane: DataPlane, connections: readonly Connection[]): void {
  plane.setShunts(shuntsOf(connections));
  plane.setTraps(trapsOf(connections));
}

/**
 * The children that are set up by their first packet, and those that are called at the start, whose packets wait for nobody but do not leave in
 * clear either. Which own address `dynamic` stands for is known only once the peer assigned it, so on our side it matches every source; on the
 * peer's side it would trap everything, so such a child has no trap.
 */
export function trapsOf(connections: readonly Connection[]): TrapPolicy[] {
  return connections.flatMap((connection) =>
    connection.children
      .filter((child) => child.startAction === 'trap' || (child.startAction === 'start' && isKnownBefore(child, connection)))
      .map((child) => ({
        ...(child.startAction === 'start' ? { action: 'drop' as const } : {}),
        connection: connection.name,
        child: child.name,
        localTs: child.localTs.flatMap((ts) => (isDynamic(ts) ? EVERYWHERE.map((all) => asDynamic(ts, all)) : [ts])),
        remoteTs: child.remoteTs.filter((ts): ts is TrafficSelector => !isDynamic(ts)),
        ...(child.packets?.kernel === undefined ? {} : { kernel: child.packets.kernel }),
      }))
      .filter((trap) => trap.remoteTs.length > 0),
  );
}

/** What goes past the tunnels, or nowhere, as long as the connections are known. */
export const shuntsOf = (connections: readonly Connection[]): ShuntPolicy[] =>
  connections.flatMap(({ name, shunts = [] }) =>
    shunts.map(({ name: child, action, localTs, remoteTs }) => ({
      ...{ action, connection: name, child, remoteTs },
      localTs: localTs.length === 0 ? EVERYWHERE : localTs,
    })),
  );

/** An address that is yet to be assigned sends nothing; and a machine that sends all through its tunnel needs the network to find its peer. */
const isKnownBefore = ({ localTs, remoteTs }: ChildPolicy, { virtualIps }: Connection): boolean =>
  !localTs.some(isDynamic) || (virtualIps.length === 0 && !remoteTs.some((ts) => !isDynamic(ts) && isEverything(ts)));

const isEverything = (ts: TrafficSelector): boolean =>
  'start' in ts && ts.start.every((octet) => octet === 0) && ts.end.every((octet) => octet === 0xff);

const everywhere = (type: 7 | 8): AddressRangeSelector => {
  const octets = type === 7 ? 4 : 16;
  return { type, protocol: 0, startPort: 0, endPort: 65535, start: new Uint8Array(octets), end: new Uint8Array(octets).fill(0xff) };
};

const EVERYWHERE: readonly AddressRangeSelector[] = [everywhere(7), everywhere(8)];
