import { describe, expect, test } from 'vitest';
import { concat, fromHex, toHex } from '../../../src/core/bytes/bytes.ts';
import { ipPacketOf, LinkType } from '../../../src/core/packet/link-layer.ts';

const IP = fromHex('45000014 00000000 40320000 c0000201 c0000202');
const MACS = '001122334455 66778899aabb';

const strip = (linkType: number, head: string): string | undefined => {
  const packet = ipPacketOf(linkType, concat(fromHex(head), IP));
  return packet === undefined ? undefined : toHex(packet);
};

describe('the IP packet in a frame', () => {
  test.each([
    ['raw IP', LinkType.RAW, ''],
    ['raw IP as the BSDs number it', LinkType.RAW_BSD, ''],
    ['IPv4', LinkType.IPV4, ''],
    ['IPv6', LinkType.IPV6, ''],
    ['Ethernet, IPv4', LinkType.ETHERNET, `${MACS} 0800`],
    ['Ethernet, IPv6', LinkType.ETHERNET, `${MACS} 86dd`],
    ['Ethernet with a VLAN tag', LinkType.ETHERNET, `${MACS} 8100 0064 0800`],
    ['Ethernet with two VLAN tags', LinkType.ETHERNET, `${MACS} 88a8 0064 8100 0065 86dd`],
    ['Ethernet, PPPoE', LinkType.ETHERNET, `${MACS} 8864 1100 0001 0016 0021`],
    ['Linux cooked', LinkType.LINUX_SLL, '0000 0001 0006 0011223344550000 0800'],
    ['Linux cooked with a VLAN tag', LinkType.LINUX_SLL, '0000 0001 0006 0011223344550000 8100 0064 0800'],
    ['Linux cooked, version 2', LinkType.LINUX_SLL2, '86dd 0000 00000002 0001 00 06 0011223344550000'],
    ['BSD loopback, big-endian', LinkType.NULL, '00000002'],
    ['BSD loopback, little-endian', LinkType.NULL, '02000000'],
    ['BSD loopback, IPv6 of macOS', LinkType.NULL, '1e000000'],
    ['OpenBSD loopback, IPv6', LinkType.LOOP, '00000018'],
    ['PPP', LinkType.PPP, '0021'],
    ['PPP with address and control', LinkType.PPP, 'ff03 0057'],
  ])('%s', (_, linkType, head) => {
    expect(strip(linkType, head)).toBe(toHex(IP));
  });

  test.each([
    ['ARP', LinkType.ETHERNET, `${MACS} 0806`],
    ['too many VLAN tags', LinkType.ETHERNET, `${MACS} ${'8100 0064 '.repeat(5)} 0800`],
    ['PPPoE with LCP', LinkType.ETHERNET, `${MACS} 8864 1100 0001 0016 c021`],
    ['another cooked protocol', LinkType.LINUX_SLL, '0000 0001 0006 0011223344550000 0806'],
    ['another family', LinkType.NULL, '00000007'],
    ['LCP', LinkType.PPP, 'c021'],
    ['a link type of others', 127, ''],
  ])('is none: %s', (_, linkType, head) => {
    expect(strip(linkType, head)).toBeUndefined();
  });

  test('is none in a frame that is too short, and never a fault', () => {
    const frame = concat(fromHex(`${MACS} 8100 0064 8864 1100 0001 0016 ff03 0021`), IP);
    for (const linkType of Object.values(LinkType)) {
      for (let length = 0; length < frame.length; length++) expect(() => ipPacketOf(linkType, frame.subarray(0, length))).not.toThrow();
    }
    for (let length = 0; length < 14; length++) expect(ipPacketOf(LinkType.ETHERNET, frame.subarray(0, length))).toBeUndefined();
  });
});
