import { describe, expect, test } from 'vitest';
import { fromHex, parseIp } from '../../../src/core/bytes/index.ts';
import { checksum, fold, pseudoHeaderSum, sum16, updateChecksum } from '../../../src/core/packet/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';

/** RFC 1071 §4.1, word by word: the slow and clear twin. */
function slowSum(data: Uint8Array, start: number, end: number, seed = 0): number {
  let sum = seed;
  for (let i = start; i < end; i += 2) sum += data[i]! * 256 + (i + 1 < end ? data[i + 1]! : 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

describe('checksum', () => {
  test('RFC 1071 §3: the numerical example', () => {
    expect(sum16(fromHex('00 01 f2 03 f4 f5 f6 f7'), 0, 8)).toBe(0xddf2);
  });

  test('the fast sum equals the slow one at every length and alignment', () => {
    const random = new SeededRandom('checksum');
    const memory = random.bytes(4096);
    for (let length = 0; length < 200; length++) {
      for (let start = 0; start < 8; start++) {
        expect(sum16(memory, start, start + length)).toBe(slowSum(memory, start, start + length));
      }
    }
    for (let i = 0; i < 500; i++) {
      const view = memory.subarray(random.between(0, 64));
      const start = random.between(0, 100);
      const end = random.between(start, view.length);
      const seed = random.between(0, 0xffff);
      expect(sum16(view, start, end, seed)).toBe(slowSum(view, start, end, seed));
    }
  });

  test('all ones: sums that carry over and over', () => {
    const ones = new Uint8Array(65535).fill(0xff);
    expect(sum16(ones, 0, 65534)).toBe(0xffff);
    expect(sum16(ones, 0, 65535)).toBe(slowSum(ones, 0, 65535));
  });

  test('views of different buffers do not get mixed up', () => {
    const [a, b] = [new Uint8Array(100).fill(1), new Uint8Array(100).fill(2)];
    expect(sum16(a, 0, 100)).toBe(slowSum(a, 0, 100));
    expect(sum16(b, 0, 100)).toBe(slowSum(b, 0, 100));
    expect(sum16(a, 0, 100)).toBe(slowSum(a, 0, 100));
  });

  test('over data with its checksum the sum is all ones', () => {
    const data = new SeededRandom(3).bytes(64);
    data.fill(0, 10, 12);
    const value = checksum(data, 0, 64);
    data.set([value >>> 8, value & 0xff], 10);
    expect(sum16(data, 0, 64)).toBe(0xffff);
    expect(checksum(data, 0, 64)).toBe(0);
  });

  test('RFC 1624 §4: the incremental update, its corner case included', () => {
    expect(updateChecksum(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
    const random = new SeededRandom('incremental');
    for (let i = 0; i < 500; i++) {
      const data = random.bytes(40);
      const before = checksum(data, 0, 40);
      const at = 2 * random.between(0, 19);
      const old = (data[at]! << 8) | data[at + 1]!;
      const fresh = random.between(0, 0xffff);
      data.set([fresh >>> 8, fresh & 0xff], at);
      const updated = updateChecksum(before, old, fresh);
      // Both are zero of one's complement arithmetic.
      expect(updated === 0xffff ? 0 : updated).toBe(checksum(data, 0, 40) === 0xffff ? 0 : checksum(data, 0, 40));
    }
  });

  test.each([
    ['192.0.2.1', '198.51.100.9', 6, 1460],
    ['2001:db8::1', '2001:db8:ffff::2', 58, 70000],
  ])('the pseudo header of %s to %s', (from, to, protocol, length) => {
    const [source, destination] = [parseIp(from), parseIp(to)];
    const six = source.length === 16;
    const written = new Uint8Array(six ? 40 : 12);
    written.set(source);
    written.set(destination, source.length);
    new DataView(written.buffer).setUint32(six ? 32 : 8, six ? length : (protocol << 16) | length);
    if (six) written[39] = protocol;
    expect(pseudoHeaderSum(source, 0, destination, 0, source.length, protocol, length)).toBe(slowSum(written, 0, written.length));
  });

  test('fold takes sums of any size apart', () => {
    expect(fold(0)).toBe(0);
    expect(fold(0x1ffff)).toBe(1);
    expect(fold(0x7fffffff)).toBe(slowSum(Uint8Array.of(0x7f, 0xff, 0xff, 0xff), 0, 4));
  });
});
