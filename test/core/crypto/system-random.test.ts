import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { expect, test } from 'vitest';
import { systemRandom } from '../../../src/core/crypto/index.ts';

test('an SPI of an IKE SA is never zero, whatever is drawn (RFC 7296 §3.1)', () => {
  const real = crypto.randomFillSync;
  let zeros = 0;
  // the first draws after the next refill are all zero
  crypto.randomFillSync = ((buffer: Uint8Array) => (zeros++ === 0 ? buffer.fill(0, 0, 64) : buffer.fill(7))) as typeof real;
  syncBuiltinESMExports();
  try {
    const random = systemRandom();
    for (let i = 0; i < 1024; i++) expect(random.ikeSpi().some((octet) => octet !== 0)).toBe(true);
    expect(zeros).toBeGreaterThan(1);
  } finally {
    crypto.randomFillSync = real;
    syncBuiltinESMExports();
    // what is left of the pool was not drawn from the system: nobody may have it
    for (let i = 0; i < 8; i++) systemRandom().secret(1024);
  }
});
