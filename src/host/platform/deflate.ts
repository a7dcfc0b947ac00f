import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Deflate } from '../../core/esp/index.ts';

/** DEFLATE of zlib, packet by packet: nothing is remembered from one to the next (RFC 2394 §2.1). */
export const zlibDeflate: Deflate = {
  deflate: (data) => plain(deflateRawSync(data, { level: constants.Z_BEST_SPEED })),
  inflate(data, limit) {
    try {
      return plain(inflateRawSync(data, { maxOutputLength: limit }));
    } catch {
      // no stream, one that ends early, or one that would fill memory
      return undefined;
    }
  },
};

const plain = (buffer: Buffer): Uint8Array => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
