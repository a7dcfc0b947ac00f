import { isDynamic } from '../../core/ike/traffic-selectors.ts';
import type { PlaneUse } from '../../host/dataplane/backends/choice.ts';
import type { CompiledConfig } from './compiled.ts';

/**
 * What a configuration wants a data plane for, as a command of ours runs it. Networks of our own in a child, or a child that waits for the
 * first packet, are about this machine. Whoever lends addresses, has one of its own inside, or shares files needs sockets in this process.
 */
export function planeUse({ connections, pools, addresses, transfer, sftp }: CompiledConfig): PlaneUse {
  if (pools.length > 0 || addresses.length > 0 || transfer.share !== undefined || transfer.inbox !== undefined || sftp !== undefined)
    return 'own';
  const children = connections.flatMap((connection) => connection.children);
  return children.some(({ localTs, startAction }) => startAction === 'trap' || !localTs.every(isDynamic)) ? 'machine' : 'own';
}
