import { expect, test } from 'vitest';
import { datagramSize, learnDatagramSize } from '../../../src/core/ike/fragments.ts';

const IPV4 = { ip: '192.0.2.2', port: 4500 };
const IPV6 = { ip: '2001:db8::2', port: 4500 };

test.each([
  // strongSwan with blocks of 16 octets, on a path of 1280
  ['what the peer cuts to, to the octet', 1280, 1268, IPV4, 1268],
  ['not below what RFC 7383 §2.5.1 recommends for IPv4', 1280, 68, IPV4, 576],
  ['not below what every path of IPv6 takes', 1400, 600, IPV6, 1280],
  ['never up', 1280, 1400, IPV4, 1280],
])('fragments of ours become as large as those of the peer: %s', (_what, configured, octets, remote, size) => {
  const sa = { connection: { fragmentSize: configured }, remote, datagram: undefined };
  expect(learnDatagramSize(sa, octets)).toBe(size < configured);
  expect(datagramSize(sa)).toBe(size);
  expect(learnDatagramSize(sa, octets)).toBe(false);
});
