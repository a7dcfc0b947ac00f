import { describe, expect, test } from 'vitest';
import { MalformedMessage, Reader } from '../../../src/core/bytes/index.ts';

const OCTETS = Uint8Array.of(0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17);

describe('a reader within a reader', () => {
  test('has the octets that it was given, and the outer one goes on behind them', () => {
    const outer = new Reader(OCTETS);
    outer.skip(1, 'head');
    const inner = outer.sub(4, 'body');
    expect([inner.remaining, inner.u16('first'), [...inner.rest()], inner.remaining]).toEqual([4, 0x1112, [0x13, 0x14], 0]);
    expect([outer.offset, outer.remaining, outer.u8('next')]).toEqual([5, 3, 0x15]);
  });

  test('does not read on in what is behind it', () => {
    const inner = new Reader(OCTETS).sub(3, 'body');
    expect(inner.u16('first')).toBe(0x1011);
    expect(() => inner.u16('second')).toThrow('second needs 2 octets, 1 are left');
    expect(() => inner.sub(2, 'tail')).toThrow(MalformedMessage);
    expect([...inner.bytes(1, 'last')]).toEqual([0x12]);
    expect(() => inner.u8('more')).toThrow(MalformedMessage);
  });

  test('names offsets of the whole message', () => {
    const outer = new Reader(OCTETS, 28);
    outer.skip(2, 'head');
    const innermost = outer.sub(5, 'body').sub(4, 'field');
    innermost.skip(3, 'start');
    expect(innermost.offset).toBe(33);
    expect(() => innermost.u32('end')).toThrow(expect.objectContaining({ offset: 33, field: 'end' }));
  });
});
