import { DataPlaneError } from '../../../core/bytes/index.ts';
import { connectFrom, listenAt, type MachineStream } from '../machine-sockets.ts';
import type { SocketsAsked, SocketsTold } from './namespace-sockets.ts';

/** What runs inside a namespace for `NamespaceSockets`, until whoever started it lets go. */
const listening = new Map<number, () => void>();
process.on('message', (asked: SocketsAsked) => void answer(asked));
process.on('disconnect', () => process.exit());

async function answer(asked: SocketsAsked): Promise<void> {
  const { id } = asked;
  try {
    if ('connect' in asked) return tell({ id }, await connectFrom(asked.connect, true));
    if ('stop' in asked) {
      listening.get(asked.stop)?.();
      listening.delete(asked.stop);
    } else listening.set(id, await listenAt(asked.listen, (stream) => tell({ id, accepted: true }, stream), true));
    tell({ id });
  } catch (error) {
    tell({ id, errno: error instanceof DataPlaneError ? error.code : 'EIO' });
  }
}

function tell(told: SocketsTold, stream?: MachineStream): void {
  // whoever is to have it may be gone
  process.send?.(told, stream, {}, () => undefined);
}
