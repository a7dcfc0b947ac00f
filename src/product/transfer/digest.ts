import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { ApiMisuse, fromHex, toHex } from '../../core/bytes/index.ts';

/** SHA-256 of a file that is written or read from the front, knowing how far it got. */
export class RunningDigest {
  #hash: Hash = createHash('sha256');
  #position = 0;

  /** Octets that went in. */
  get position(): number {
    return this.#position;
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
    this.#position += data.length;
  }

  /** Takes the octets from `position` up to `end` from the file. */
  async catchUp(file: FileHandle, end: number, onBytes?: (count: number) => void, signal?: AbortSignal): Promise<void> {
    if (end < this.#position) throw new ApiMisuse(`a digest at ${this.#position} cannot go back to ${end}`);
    const size = Math.min(READ_SIZE, Math.max(1, end - this.#position));
    // One is read into while the other is hashed.
    let [ahead, behind] = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)];
    const read = (from: number): Promise<{ bytesRead: number }> => {
      const reading = file.read(ahead, 0, Math.min(size, end - from), from);
      // whoever stops meanwhile does not wait for it
      reading.catch(() => undefined);
      return reading;
    };
    let reading = this.#position < end ? read(this.#position) : undefined;
    while (reading !== undefined) {
      signal?.throwIfAborted();
      const { bytesRead } = await reading;
      if (bytesRead === 0) return;
      [ahead, behind] = [behind, ahead];
      const next = this.#position + bytesRead;
      reading = next < end ? read(next) : undefined;
      this.update(behind.subarray(0, bytesRead));
      onBytes?.(bytesRead);
    }
  }

  /** Lower-case hex. The digest may be asked for while more goes in. */
  hex(): string {
    return this.#hash.copy().digest('hex');
  }

  reset(): void {
    this.#hash = createHash('sha256');
    this.#position = 0;
  }
}

/** `sha-256=:…:` (RFC 9530 §2). */
export const reprDigest = (hex: string): string => `sha-256=:${btoa(String.fromCharCode(...fromHex(hex)))}:`;

/** The SHA-256 among the digests of a Repr-Digest field, hex; undefined when there is none. */
export function parseReprDigest(field: string | undefined): string | undefined {
  const found = field?.match(/(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/);
  return found ? toHex(Uint8Array.from(atob(found[1]!), (c) => c.charCodeAt(0))) : undefined;
}

export const isSha256 = (text: string): boolean => /^[0-9a-f]{64}$/.test(text);

export const READ_SIZE = 256 * 1024;
