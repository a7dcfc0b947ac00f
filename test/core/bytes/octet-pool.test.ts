import { describe, expect, test } from 'vitest';
import { concat } from '../../../src/core/bytes/index.ts';
import { OctetPool } from '../../../src/core/bytes/octet-pool.ts';

describe('octets that share their memory', () => {
  test('are copies, one part behind the other', () => {
    const pool = new OctetPool();
    const given = Uint8Array.of(1, 2, 3);
    const kept = pool.keep(given, new Uint8Array(0), Uint8Array.of(4));
    given.fill(0);
    expect(kept).toEqual(Uint8Array.of(1, 2, 3, 4));
  });

  test('do not touch one another: what overwrites some leaves the others', () => {
    const pool = new OctetPool();
    const kept = Array.from({ length: 1000 }, (_, i) => pool.keep(new Uint8Array(i % 40).fill(i)));
    for (const [i, octets] of kept.entries()) if (i % 2 === 0) octets.fill(0);
    for (const [i, octets] of kept.entries()) expect(octets).toEqual(new Uint8Array(i % 40).fill(i % 2 === 0 ? 0 : i));
  });

  test('share blocks, so that there are few of them, and none is larger than it has to be', () => {
    const pool = new OctetPool();
    const blocks = new Set(Array.from({ length: 1000 }, () => pool.keep(new Uint8Array(32)).buffer));
    expect(blocks.size).toBe(Math.ceil(1000 / Math.floor([...blocks][0]!.byteLength / 32)));
    const long = concat(new Uint8Array(70_000).fill(7));
    expect(pool.keep(long)).toEqual(long);
    expect(pool.keep(long).buffer.byteLength).toBe(70_000);
  });
});
