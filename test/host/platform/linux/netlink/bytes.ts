import { describe } from 'vitest';
import { LITTLE_ENDIAN } from '../../../../../src/host/platform/linux/netlink/host-order.ts';

/** Suites that spell out what the kernel reads, octet by octet, as the machines have it that nearly everybody has. */
export function describeLittleEndian(name: string, body: () => void): void {
  describe.skipIf(!LITTLE_ENDIAN)(name, body);
}

/** Octets in hex, spaced as one likes. */
export const packed = (...parts: readonly string[]): string => parts.join('').replace(/\s/g, '');
