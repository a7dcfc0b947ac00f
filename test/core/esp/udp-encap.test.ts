import { describe, expect, test } from 'vitest';
import { classifyEncapsulated, KEEPALIVE, spiOf } from '../../../src/core/esp/index.ts';

const datagram = (length: number, ...start: readonly number[]): Uint8Array =>
  Uint8Array.of(...start, ...new Uint8Array(length - start.length).fill(0x55));

describe('UDP encapsulation (RFC 3948)', () => {
  test.each([
    ['keepalive', KEEPALIVE],
    ['invalid', Uint8Array.of(0xfe)],
    ['invalid', Uint8Array.of(0xff, 0xff)],
    ['invalid', new Uint8Array(0)],
    ['ike', datagram(32, 0, 0, 0, 0)],
    ['invalid', datagram(31, 0, 0, 0, 0)],
    ['invalid', datagram(60, 0, 0, 0, 1)],
    ['invalid', datagram(60, 0, 0, 0, 255)],
    ['esp', datagram(60, 0, 0, 1, 0)],
    ['esp', datagram(60, 0xc0, 0, 0, 0)],
    ['invalid', datagram(19, 0xc0, 0, 0, 0)],
    ['esp', datagram(20, 0xff, 0xff, 0xff, 0xff)],
  ] as const)('%s: %o', (kind, data) => {
    expect(classifyEncapsulated(data)).toBe(kind);
    const framed = Uint8Array.of(9, 9, 9, ...data, 9);
    expect(classifyEncapsulated(framed, 3, 3 + data.length)).toBe(kind);
  });

  test('the SPI is unsigned', () => {
    expect(spiOf(Uint8Array.of(7, 0xff, 0, 0, 1), 1)).toBe(0xff000001);
  });
});
