import { describe, expect, test } from 'vitest';
import { fromHex } from '../../../../../src/core/bytes/index.ts';
import { errnoName } from '../../../../../src/host/platform/linux/ffi.ts';
import { parseChange } from '../../../../../src/host/platform/linux/netlink/changes.ts';
import { isMissing, isThere, kernelRefused } from '../../../../../src/host/platform/linux/netlink/errors.ts';
import { parsePrefix } from '../../../../../src/host/platform/linux/netlink/ip.ts';
import { changeLink, createLink } from '../../../../../src/host/platform/linux/netlink/links.ts';
import { addRoute, removeRoute } from '../../../../../src/host/platform/linux/netlink/routes.ts';
import { addRule } from '../../../../../src/host/platform/linux/netlink/rules.ts';
import { describeLittleEndian, packed } from './bytes.ts';
import { recorder } from './recorder.ts';

describeLittleEndian('what the kernel is asked', () => {
  test('a route: rtmsg, then destination, table, metric, link and metrics', () => {
    const { socket, sent } = recorder();
    addRoute(socket, { destination: '10.2.3.4/16', table: 300, metric: 5, link: 3, source: '10.1.0.1', mtu: 1400, advertisedMss: 1360 });
    expect(sent).toEqual([
      packed(
        // nlmsghdr: 88 octets, RTM_NEWROUTE, REQUEST|CREATE|EXCL
        '58000000 1800 0106 00000000 00000000',
        // AF_INET, to /16, from /0, tos 0; table (in the attribute), static, scope link, unicast; flags
        '02 10 00 00  00 04 fd 01  00000000',
        '0800 0100 0a020000',
        '0800 0f00 2c010000',
        '0800 0600 05000000',
        '0800 0400 03000000',
        '0800 0700 0a010001',
        // RTA_METRICS: RTAX_MTU, RTAX_ADVMSS
        '1400 0880  0800 0200 78050000  0800 0800 50050000',
      ),
    ]);
  });

  test('a drop shunt needs no interface, and goes whatever its scope', () => {
    const { socket, sent } = recorder();
    removeRoute(socket, { destination: '::/0', type: 'unreachable', table: 220 });
    expect(sent).toEqual([packed('24000000 1900 0100 00000000 00000000', '0a 00 00 00 dc 00 ff 07 00000000', '0800 0f00 dc000000')]);
    expect(() => addRoute(socket, { destination: '10.0.0.0/8' })).toThrow('needs an interface or a gateway');
    expect(() => addRoute(socket, { destination: '10.0.0.0/8', gateway: 'fd00::1' })).toThrow('not an IPv4 address');
  });

  test('a rule: fib_rule_hdr, then priority, table, mark and suppressor', () => {
    const { socket, sent } = recorder();
    addRule(socket, { family: 4, priority: 100, table: 220, mark: { value: 0xff, mask: 0xffff }, inverted: true, suppressPrefixLength: 0 });
    expect(sent).toEqual([
      packed(
        '44000000 2000 0106 00000000 00000000',
        // AF_INET, to, from, tos; table, two reserved, FR_ACT_TO_TBL; FIB_RULE_INVERT
        '02 00 00 00  dc 00 00 01  02000000',
        '0800 0600 64000000',
        '0800 0f00 dc000000',
        '0800 0a00 ff000000',
        '0800 1000 ffff0000',
        '0800 0e00 00000000',
      ),
    ]);
    expect(() => addRule(socket, { family: 6, priority: 1, table: 1, from: '10.0.0.0/8' })).toThrow('not of IPv6');
    expect(() => addRule(socket, { family: 6, priority: 1 })).toThrow('needs a table');
  });

  test('an xfrm interface: ifinfomsg, name, MTU, and kind with its if_id', () => {
    const { socket, sent } = recorder(packed('00000000 05000000 00000000 00000000', '0800 0300 74773000', '0800 0400 78050000'));
    const link = createLink(socket, { kind: 'xfrm', name: 'tw0', ifId: 7, lower: 2, mtu: 1400 });
    expect(sent[0]).toBe(
      packed(
        '54000000 1000 0106 00000000 00000000',
        '00000000 00000000 00000000 00000000',
        '0800 0300 74773000',
        '0800 0400 78050000',
        // IFLA_LINKINFO: kind "xfrm", then data: the device beneath, if_id
        '2400 1280',
        '0900 0100 7866726d00 000000',
        '1400 0280  0800 0100 02000000  0800 0200 07000000',
      ),
    );
    expect(link).toMatchObject({ index: 5, name: 'tw0', mtu: 1400, up: false });
  });

  test('a link is raised by one flag, under a mask of that flag alone', () => {
    const { socket, sent } = recorder();
    changeLink(socket, 5, { up: true, mtu: 1280 });
    expect(sent).toEqual([packed('28000000 1000 0100 00000000 00000000', '00000000 05000000 01000000 01000000', '0800 0400 00050000')]);
  });

  test('a rule that goes on behind others, for ports of a protocol', () => {
    const { socket, sent } = recorder();
    const ports = { ipProtocol: 6, destinationPorts: { first: 25, last: 26 } };
    addRule(socket, { family: 4, priority: 9, table: 300, action: 'goto', target: 4520, ...ports });
    expect(sent).toEqual([
      packed(
        '44000000 2000 0106 00000000 00000000',
        '02000000 00 0000 02 00000000',
        '0800 0600 09000000',
        '0800 0f00 2c010000',
        '0800 0400 a8110000',
        '0500 1600 06000000',
        '0800 1800 1900 1a00',
      ),
    ]);
  });

  test('a link without link-local address: IFLA_AF_SPEC of AF_INET6 alone', () => {
    const { socket, sent } = recorder();
    changeLink(socket, 5, { linkLocal: false });
    // IFLA_INET6_ADDR_GEN_MODE: IN6_ADDR_GEN_MODE_NONE
    const inet6 = '1000 1a80  0c00 0a80  0500 0800 01000000';
    expect(sent).toEqual([packed('30000000 1000 0100 00000000 00000000', '00000000 05000000 00000000 00000000', inet6)]);
  });
});

describeLittleEndian('what the kernel tells', () => {
  test('an address of IPv4 is LOCAL, and ADDRESS the other end', () => {
    const body = fromHex('02 20 80 fd 05000000  0800 0100 0a000002  0800 0200 0a000001  0800 0800 80020000');
    expect(parseChange({ type: 20, flags: 0, sequence: 0, port: 0, body })).toEqual({
      kind: 'address',
      gone: false,
      address: {
        link: 5,
        ip: '10.0.0.1',
        prefixLength: 32,
        peer: '10.0.0.2',
        scope: 'link',
        noPrefixRoute: true,
        tentative: false,
        duplicate: false,
        deprecated: false,
      },
    });
  });

  test('a route of another family than IP, and messages of other kinds, are none of ours', () => {
    expect(parseChange({ type: 24, flags: 0, sequence: 0, port: 0, body: fromHex('1c0000000000000000000000') })).toBeUndefined();
    expect(parseChange({ type: 99, flags: 0, sequence: 0, port: 0, body: new Uint8Array(0) })).toBeUndefined();
  });

  test('a default route that goes has no destination', () => {
    const body = fromHex('02 00 00 00 fe 03 00 01 00000000  0800 0500 0a090002  0800 0400 02000000');
    expect(parseChange({ type: 25, flags: 0, sequence: 0, port: 0, body })).toMatchObject({
      gone: true,
      route: { destination: '0.0.0.0/0', gateway: '10.9.0.2', link: 2, table: 254, type: 'unicast', protocol: 3 },
    });
  });
});

describe('prefixes', () => {
  test.each([
    ['10.2.3.4/16', '10.2.0.0', 16],
    ['10.255.255.255/9', '10.128.0.0', 9],
    ['0.0.0.0/0', '0.0.0.0', 0],
    ['10.0.0.1', '10.0.0.1', 32],
  ])('%s', (text, network, length) => {
    const prefix = parsePrefix(text);
    expect([prefix.address.join('.'), prefix.length, prefix.family]).toEqual([network, length, 4]);
  });

  test('of IPv6 lose their host bits, too', () => {
    expect([...parsePrefix('2001:db8:ffff::1/36').address.subarray(0, 6)]).toEqual([0x20, 0x01, 0x0d, 0xb8, 0xf0, 0x00]);
  });

  test.each(['10.0.0.0/33', '10.0.0/8', '::/129', '10.0.0.0/8/8', '/8', ''])('%s is none', (text) => {
    expect(() => parsePrefix(text)).toThrow('not a prefix');
  });
});

describe('refusals', () => {
  const NOTHING = { text: undefined, offset: undefined, missing: undefined };
  const number = (name: string): number => {
    for (let errno = 1; errno < 200; errno++) if (errnoName(errno) === name) return errno;
    throw new Error(`no ${name} here`);
  };

  test('for want of a privilege name it', () => {
    expect(kernelRefused('add a route', { ...NOTHING, errno: number('EPERM') })).toMatchObject({
      code: 'NOT_PERMITTED',
      errno: 'EPERM',
      privilege: 'CAP_NET_ADMIN',
    });
  });

  test('say what was attempted and what the kernel said', () => {
    const error = kernelRefused('add the route to 10.0.0.0/8', { ...NOTHING, errno: number('EEXIST'), text: 'Nexthop has gone' });
    expect(error.message).toBe('cannot add the route to 10.0.0.0/8: the kernel has one like it already (EEXIST, "Nexthop has gone")');
    expect([isThere(error), isMissing(error)]).toEqual([true, false]);
  });

  test('that nobody knows keep their number', () => {
    const error = kernelRefused('do it', { ...NOTHING, errno: 4242, missing: 9 });
    expect(error).toMatchObject({ code: 'KERNEL_REFUSED', errno: 'errno 4242', hint: undefined });
    expect(error.message).toContain('attribute 9 is missing');
  });
});
