import { PeerViolation } from '../../bytes/errors.ts';
import { NotifyType, type Payload } from '../../wire/index.ts';
import { need } from '../notifies.ts';
import type { World } from '../world.ts';

/** RFC 7296 §2.10: at least 128 bits, and at least half the key size of the PRF; 256 bits serve every PRF we negotiate. */
export const newNonce = (world: World): Uint8Array => world.random.nonce(32);

/** RFC 7296 §3.9: 16 to 256 octets. A copy: it outlives the datagram. */
export function nonceOf(payloads: readonly Payload[]): Uint8Array {
  const { data } = need(payloads, 'Nonce');
  if (data.length < 16 || data.length > 256) {
    throw new PeerViolation(`a nonce has ${data.length} octets; 16 to 256 are allowed`, {
      code: 'INVALID_SYNTAX',
      notify: NotifyType.INVALID_SYNTAX,
      section: 'RFC 7296 §3.9',
    });
  }
  return data.slice();
}
