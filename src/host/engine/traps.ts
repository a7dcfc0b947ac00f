import type { Connection } from '../../core/ike/policy.ts';
import { asDynamic, isDynamic } from '../../core/ike/traffic-selectors.ts';
import type { AddressRangeSelector, TrafficSelector } from '../../core/wire/payloads/types.ts';
import type { TrapPolicy } from '../dataplane/data-plane.ts';

/**
 * The children that are set up by their first packet. Which own address `dynamic` stands for is known only once the peer assigned it, so
 * on our side it matches every source; on the peer's side it would trap everything, so such a child has no trap.
 */
export function trapsOf(connections: readonly Connection[]): TrapPolicy[] {
  return connections.flatMap((connection) =>
    connection.children
      .filter((child) => child.startAction === 'trap')
      .map((child) => ({
        connection: connection.name,
        child: child.name,
        localTs: child.localTs.flatMap((ts) => (isDynamic(ts) ? EVERYWHERE.map((all) => asDynamic(ts, all)) : [ts])),
        remoteTs: child.remoteTs.filter((ts): ts is TrafficSelector => !isDynamic(ts)),
      }))
      .filter((trap) => trap.remoteTs.length > 0),
  );
}

const everywhere = (type: 7 | 8): AddressRangeSelector => {
  const octets = type === 7 ? 4 : 16;
  return { type, protocol: 0, startPort: 0, endPort: 65535, start: new Uint8Array(octets), end: new Uint8Array(octets).fill(0xff) };
};

const EVERYWHERE: readonly AddressRangeSelector[] = [everywhere(7), everywhere(8)];
