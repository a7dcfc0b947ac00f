import { expect, test } from 'vitest';
import { formatIp, tryParseIp } from '../../../src/core/bytes/ip-address.ts';

test.each(['0.0.0.0', '1.2.3.4', '10.20.30.40', '127.0.0.1', '255.255.255.255', '192.0.2.199'])('%s is an IPv4 address', (text) => {
  const octets = tryParseIp(text)!;
  expect([...octets]).toEqual(text.split('.').map(Number));
  expect(formatIp(octets)).toBe(text);
});

test.each([
  '',
  '.',
  '...',
  '1',
  '1.2.3',
  '1.2.3.',
  '.1.2.3',
  '1..2.3',
  '1.2.3.4.',
  '1.2.3.4.5',
  '1.2.3.4x',
  ' 1.2.3.4',
  '1.2.3.4 ',
  '256.0.0.1',
  '1.2.3.999',
  '1.2.3.4294967296',
  '1.2.3.00',
  '01.2.3.4',
  '1.2.03.4',
  '-1.2.3.4',
  '+1.2.3.4',
  '1,2,3,4',
  '0x1.2.3.4',
  '1e1.2.3.4',
  '١.2.3.4',
])('%j is none', (text) => expect(tryParseIp(text)).toBeUndefined());
