import { DataPlaneError } from '../../../../../core/bytes/index.ts';
import type { NetlinkSocket } from '../socket.ts';
import type { XfrmKeys } from './algorithms.ts';
import { addState, deleteState, type NewState } from './states.ts';

/**
 * Whether the kernel takes an SA with these algorithms, by making one that nothing uses and removing it again: nothing else tells, since
 * modules are loaded when they are asked for.
 * @param keys of the right lengths; their octets do not matter
 * @returns the refusal, undefined when it does
 */
export function probeXfrm(socket: NetlinkSocket, keys: XfrmKeys, protocol: 'esp' | 'ah' = 'esp', esn = false): DataPlaneError | undefined {
  const state: NewState = { ...NOWHERE, protocol, keys, esn };
  try {
    addState(socket, state);
    deleteState(socket, state);
    return undefined;
  } catch (error) {
    if (error instanceof DataPlaneError) return error;
    throw error;
  }
}

/** Between addresses for documentation (RFC 5737), by an SPI that is never sent (RFC 4303 §2.1). */
const NOWHERE = { source: '192.0.2.1', destination: '192.0.2.2', spi: 0xfe, mode: 'transport', reqid: 0 } as const;
