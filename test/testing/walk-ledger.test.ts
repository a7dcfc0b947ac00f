import { expect, test } from 'vitest';
import { Ledger } from '../../src/testing/walk/ledger.ts';

const SPI = 0x1234_5678;

function esp(sequence: number, iv: number): Uint8Array {
  const packet = new Uint8Array(32);
  const view = new DataView(packet.buffer);
  view.setUint32(0, SPI);
  view.setUint32(4, sequence);
  view.setBigUint64(8, BigInt(iv));
  return packet;
}

/** One sender, one SPI. @param sent upper and lower half of each sequence number, in order; every packet has an IV of its own */
function after(...sent: readonly (readonly [high: number, low: number])[]): string | undefined {
  const ledger = new Ledger(false);
  sent.forEach(([high, low], i) => {
    ledger.esp('a', esp(low, i), (spi) => (spi === SPI ? high : Number.NaN));
  });
  return ledger.broken?.invariant;
}

test('with ESN the lower half of a sequence number begins anew, without it never (RFC 4303 §2.2.1)', () => {
  expect(after([0, 2 ** 31], [1, 2], [1, 3], [1, 2 ** 31], [2, 0])).toBeUndefined();
  expect(after([0, 2 ** 31], [0, 2])).toBe('fresh');
});

test('a sequence number that comes twice is noticed, on either side of a wrap', () => {
  expect(after([0, 1], [0, 1])).toBe('fresh');
  expect(after([0, 2 ** 31], [1, 2], [1, 2])).toBe('fresh');
  expect(after([0, 2 ** 31], [1, 2], [1, 1])).toBe('fresh');
});

test('an IV that comes twice is noticed, whatever the sequence numbers', () => {
  const ledger = new Ledger(false);
  ledger.esp('a', esp(1, 7), () => 0);
  ledger.esp('b', esp(1, 7), () => 0);
  expect(ledger.broken).toBeUndefined();
  ledger.esp('a', esp(2, 7), () => 0);
  expect(ledger.broken?.invariant).toBe('fresh');
});
