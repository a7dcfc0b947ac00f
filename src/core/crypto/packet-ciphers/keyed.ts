import { copied } from '../../bytes/bytes.ts';
import { ApiMisuse } from '../../bytes/errors.ts';

/** Octets and not a `KeyObject`: those can be zeroised, and cost nothing until they are used. */
export class CipherKey {
  #octets: Uint8Array | undefined;

  constructor(key: Uint8Array) {
    this.#octets = copied(key);
  }

  get octets(): Uint8Array {
    if (this.#octets === undefined) throw new ApiMisuse('this packet cipher was destroyed', { code: 'CIPHER_DESTROYED' });
    return this.#octets;
  }

  destroy(): void {
    this.#octets?.fill(0);
    this.#octets = undefined;
  }
}

export const ESN_HEAD = 12;

/**
 * The head of an ESP packet with its extended sequence number: SPI | high | low, though the packet holds SPI | low (RFC 4106 §5,
 * RFC 4309 §5, RFC 4543 §3.3, RFC 7634 §2).
 * @param head where to write it to, `ESN_HEAD` octets from `at`
 */
export function esnHead(head: Uint8Array, buffer: Uint8Array, start: number, esnHigh: number, at = 0): Uint8Array {
  for (let i = 0; i < 4; i++) {
    head[at + i] = buffer[start + i]!;
    head[at + 4 + i] = esnHigh >>> (24 - 8 * i);
    head[at + 8 + i] = buffer[start + 4 + i]!;
  }
  return head;
}
