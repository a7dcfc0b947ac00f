import { DataPlaneError } from '../../../core/bytes/index.ts';
import { loadNative, type Native, nativeLack } from '../../platform/linux/ffi.ts';
import { descriptorUdp } from '../../platform/linux/udp-network.ts';
import { systemUdp } from '../../platform/udp.ts';
import { systemThreads } from '../../platform/worker-threads.ts';
import { type DataPlaneOptions, defineBackend } from '../data-plane.ts';
import { InlineNetstack } from '../inline-netstack.ts';
import type { NetstackPlane } from '../netstack-hosts.ts';
import { nativeRoom, PLAIN_ROOM } from '../netstack-room.ts';
import { ThreadedNetstack } from '../threaded-netstack.ts';

export default defineBackend<NetstackPlane>({
  name: 'netstack',
  bareEsp: false,
  probe: async () => {
    const thread = hasThread(await loadNative(), unlessSources('auto')) ? ', ESP in a thread of its own' : '';
    return { ok: true, detail: `TCP/IP in this process${thread}; needs no privilege` };
  },
  udp: async () => {
    const native = await loadNative();
    return native === undefined ? systemUdp : descriptorUdp(native);
  },
  open: async (options) => {
    const native = await loadNative();
    if (native === undefined) {
      if (options.espThread === true) throw await noThread();
      return new InlineNetstack(options, PLAIN_ROOM);
    }
    if (hasThread(native, unlessSources(options.espThread))) return new ThreadedNetstack(native, options);
    return new InlineNetstack(options, nativeRoom(native, options.behind === true ? 2 : 1, options.singly === true));
  },
});

/** Whether ESP has a thread of its own: sockets are handed to it by their descriptors, so nowhere without native calls. */
export const hasThread = (native: Native | undefined, wish: DataPlaneOptions['espThread'], cores = systemThreads.cores): boolean =>
  native !== undefined && (wish === 'auto' ? cores >= ENOUGH_CORES : wish === true);

/** Sources as they are hold no module that a thread could run. */
const unlessSources = (wish: DataPlaneOptions['espThread']): DataPlaneOptions['espThread'] =>
  wish === 'auto' && !import.meta.url.endsWith('.js') ? false : wish;

async function noThread(): Promise<DataPlaneError> {
  return new DataPlaneError(`ESP cannot have a thread of its own: ${await nativeLack()}`, {
    code: 'FFI_MISSING',
    backend: 'netstack',
    hint: 'Leave `esp_thread` out: where there are no native calls, one thread does all.',
  });
}

/**
 * Processors. The threads take less together than one does alone, as the other may wait for its sockets as the kernel serves them best; where both ends and
 * what lies between share two, a sender's second thread costs more than that brings.
 */
const ENOUGH_CORES = 3;
