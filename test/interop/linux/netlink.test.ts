import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addAddress, type InterfaceAddress, listAddresses, removeAddress } from '../../../src/host/platform/linux/netlink/addresses.ts';
import { type NetworkChange, watchNetwork } from '../../../src/host/platform/linux/netlink/changes.ts';
import { changeLink, createLink, deleteLink, findLink, getLink, listLinks } from '../../../src/host/platform/linux/netlink/links.ts';
import { addRoute, listRoutes, removeRoute, routeTo } from '../../../src/host/platform/linux/netlink/routes.ts';
import { addRule, listRules, removeRule } from '../../../src/host/platform/linux/netlink/rules.ts';
import { NetlinkSocket } from '../../../src/host/platform/linux/netlink/socket.ts';
import { addNamespace, networkName } from '../support/network.ts';
import { eventually, must, run } from '../support/process.ts';
import { describeWith, NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';

/** What we tell the kernel, `ip -j` sees; what `ip` tells it, we see. */
describeWith(NAMESPACES, 'rtnetlink', () => {
  const scope = new Scope();
  const namespace = networkName();
  const where = { namespace: `/run/netns/${namespace}` };
  let socket: NetlinkSocket;
  let link: number;

  beforeAll(async () => {
    await addNamespace(scope, namespace);
    socket = await NetlinkSocket.open('route', where);
    scope.defer('the socket', () => socket.close());
    link = createLink(socket, { kind: 'veth', name: 'tw0', peer: 'tw1', mtu: 1400 }).index;
    changeLink(socket, link, { up: true });
    changeLink(socket, getLink(socket, 'tw1').index, { up: true });
  });
  afterAll(() => scope.close());

  const ip = (...args: string[]): Promise<string> => must('ip', ['-n', namespace, ...args]);
  // biome-ignore lint/suspicious/noExplicitAny: what ip prints
  const json = async (...args: string[]): Promise<any[]> => JSON.parse((await ip('-j', ...args)) || '[]');

  /** Whether this kernel has a kind of link, by the word of `ip`. */
  const offers = async (...kind: string[]): Promise<boolean> =>
    (await run('ip', ['-n', namespace, 'link', 'add', 'probe0', 'type', ...kind])).status === 0;

  test('links', async () => {
    const [seen] = await json('-d', 'link', 'show', 'tw0');
    expect(seen).toMatchObject({ ifindex: link, ifname: 'tw0', mtu: 1400, linkinfo: { info_kind: 'veth' } });
    expect(seen.flags).toContain('UP');

    await ip('link', 'set', 'tw1', 'mtu', '1300');
    expect(getLink(socket, 'tw1')).toMatchObject({ kind: 'veth', mtu: 1300, up: true });
    changeLink(socket, link, { mtu: 1280, up: false });
    expect((await json('link', 'show', 'tw0'))[0]).toMatchObject({ mtu: 1280, operstate: 'DOWN' });
    changeLink(socket, link, { up: true });
    expect(listLinks(socket).map(({ name }) => name)).toEqual(['lo', 'tw1', 'tw0']);
    expect(getLink(socket, 'lo').loopback).toBe(true);

    await ip('link', 'add', 'brief0', 'type', 'veth', 'peer', 'brief1');
    changeLink(socket, getLink(socket, 'brief0').index, { linkLocal: false });
    for (const name of ['brief0', 'brief1']) changeLink(socket, getLink(socket, name).index, { up: true });
    expect([await ip('-6', 'addr', 'show', 'brief0'), await ip('-6', 'addr', 'show', 'brief1')]).toEqual([
      '',
      expect.stringContaining('fe80:'),
    ]);
    deleteLink(socket, getLink(socket, 'brief0').index);
    expect(findLink(socket, 'brief1')).toBeUndefined();
    expect(() => createLink(socket, { kind: 'veth', name: 'tw0', peer: 'other' })).toThrow(
      expect.objectContaining({ code: 'KERNEL_ENTRY_EXISTS', errno: 'EEXIST' }),
    );
  });

  test('a link moves to another namespace', async () => {
    const other = networkName();
    await addNamespace(scope, other);
    const { open } = await import('node:fs/promises');
    const target = await open(`/run/netns/${other}`);
    try {
      const made = createLink(socket, { kind: 'veth', name: 'stay', peer: 'move' });
      changeLink(socket, getLink(socket, 'move').index, { namespace: target.fd, name: 'moved' });
      expect(findLink(socket, 'move')).toBeUndefined();
      expect(JSON.parse(await must('ip', ['-n', other, '-j', 'link', 'show', 'moved']))[0]).toMatchObject({ link_netnsid: 0 });
      deleteLink(socket, made.index);
    } finally {
      await target.close();
    }
  });

  test('a dummy, or a word on what the kernel lacks', async () => {
    if (await offers('dummy')) expect(createLink(socket, { kind: 'dummy', name: 'dummy7' })).toMatchObject({ kind: 'dummy', up: false });
    else
      expect(() => createLink(socket, { kind: 'dummy', name: 'dummy7' })).toThrow(
        expect.objectContaining({ code: 'KERNEL_LACKS_FEATURE', errno: 'EOPNOTSUPP' }),
      );
  });

  test('an xfrm interface, or a word on what the kernel lacks', async () => {
    if (!(await offers('xfrm', 'if_id', '9'))) {
      expect(() => createLink(socket, { kind: 'xfrm', name: 'xfrm7', ifId: 7 })).toThrow(
        expect.objectContaining({ code: 'KERNEL_LACKS_XFRM_INTERFACE', errno: 'EOPNOTSUPP' }),
      );
      return;
    }
    expect(createLink(socket, { kind: 'xfrm', name: 'xfrm7', ifId: 7, lower: link })).toMatchObject({ kind: 'xfrm', ifId: 7, lower: link });
    expect((await json('-d', 'link', 'show', 'xfrm7'))[0].linkinfo.info_data).toMatchObject({ if_id: '0x7' });
  });

  test('addresses', async () => {
    addAddress(socket, { link, ip: '10.5.0.1', prefixLength: 24, noPrefixRoute: true });
    addAddress(socket, { link, ip: '10.5.1.1', peer: '10.5.1.2' });
    addAddress(socket, { link, ip: 'fd05::1', prefixLength: 64, withoutDetection: true, noPrefixRoute: true });
    const seen = (await json('addr', 'show', 'tw0'))[0].addr_info;
    expect(seen).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ local: '10.5.0.1', prefixlen: 24, scope: 'global', noprefixroute: true }),
        expect.objectContaining({ local: '10.5.1.1', address: '10.5.1.2', prefixlen: 32 }),
        expect.objectContaining({ local: 'fd05::1', prefixlen: 64, nodad: true, noprefixroute: true }),
      ]),
    );
    expect(listRoutes(socket).filter(({ destination }) => /^10\.5\.0|^fd05/.test(destination))).toEqual([]);

    await ip('addr', 'add', '10.5.2.1/25', 'dev', 'tw0');
    const mine = listAddresses(socket, link);
    expect(mine).toContainEqual<InterfaceAddress>({
      link,
      ip: '10.5.2.1',
      prefixLength: 25,
      peer: undefined,
      scope: 'global',
      noPrefixRoute: false,
      tentative: false,
      duplicate: false,
      deprecated: false,
      protocol: undefined,
    });
    expect(mine).toContainEqual(expect.objectContaining({ ip: '10.5.1.1', peer: '10.5.1.2' }));

    expect(() => addAddress(socket, { link, ip: '10.5.0.1', prefixLength: 24 })).toThrow(
      expect.objectContaining({ code: 'KERNEL_ENTRY_EXISTS' }),
    );
    removeAddress(socket, { link, ip: '10.5.2.1', prefixLength: 25 });
    expect(() => removeAddress(socket, { link, ip: '10.5.2.1', prefixLength: 25 })).toThrow(
      expect.objectContaining({ code: 'KERNEL_ENTRY_MISSING' }),
    );
    expect(JSON.stringify(await json('addr', 'show', 'tw0'))).not.toContain('10.5.2.1');
  });

  test('routes, those that drop among them', async () => {
    addRoute(socket, { destination: '10.6.0.0/16', link, table: 220, source: '10.5.0.1', metric: 5, mtu: 1300, advertisedMss: 1200 });
    addRoute(socket, { destination: '10.7.0.0/16', type: 'unreachable', table: 5000, metric: 4_000_000_000 });
    addRoute(socket, { destination: 'fd07::/32', type: 'prohibit', metric: 9 });
    addRoute(socket, { destination: '10.8.0.0/16', type: 'blackhole' });
    expect(await json('route', 'show', 'table', '220')).toMatchObject([
      { dst: '10.6.0.0/16', dev: 'tw0', prefsrc: '10.5.0.1', metric: 5, metrics: [{ mtu: 1300, advmss: 1200 }], protocol: 'static' },
    ]);
    expect(await json('route', 'show', 'table', '5000')).toMatchObject([
      { type: 'unreachable', dst: '10.7.0.0/16', metric: 4_000_000_000 },
    ]);
    expect(await json('-6', 'route', 'show', 'type', 'prohibit')).toMatchObject([{ dst: 'fd07::/32', metric: 9 }]);
    expect(routeTo(socket, '10.8.0.1')).toMatchObject({ type: 'blackhole' });

    await ip('route', 'add', '10.9.0.0/16', 'via', '10.5.1.2', 'metric', '7', 'mtu', '1234');
    await ip('-6', 'route', 'add', 'blackhole', 'fd09::/48', 'table', '300');
    expect(listRoutes(socket, { family: 4 })).toContainEqual({
      family: 4,
      destination: '10.9.0.0/16',
      type: 'unicast',
      table: 254,
      metric: 7,
      link,
      gateway: '10.5.1.2',
      source: undefined,
      mtu: 1234,
      advertisedMss: undefined,
      protocol: 3,
      multipath: false,
    });
    expect(listRoutes(socket, { table: 300 })).toMatchObject([{ family: 6, destination: 'fd09::/48', type: 'blackhole' }]);

    expect(() => addRoute(socket, { destination: '10.8.0.0/16', type: 'blackhole' })).toThrow(
      expect.objectContaining({ code: 'KERNEL_ENTRY_EXISTS' }),
    );
    addRoute(socket, { destination: '10.8.0.0/16', type: 'prohibit' }, true);
    expect(routeTo(socket, '10.8.0.1')).toMatchObject({ type: 'prohibit' });
    removeRoute(socket, { destination: '10.8.0.0/16', type: 'prohibit' });
    expect(() => removeRoute(socket, { destination: '10.8.0.0/16', type: 'prohibit' })).toThrow(
      expect.objectContaining({ code: 'KERNEL_ENTRY_MISSING' }),
    );
    expect(routeTo(socket, '10.8.0.1')).toBeUndefined();
  });

  test('a lookup follows the rules, and says from which address', async () => {
    addRule(socket, { family: 4, priority: 90, table: 254, suppressPrefixLength: 0 });
    addRule(socket, { family: 4, priority: 100, table: 220, mark: { value: 0x17 }, inverted: true });
    expect(routeTo(socket, '10.6.1.1')).toEqual({ type: 'unicast', link, gateway: undefined, source: '10.5.0.1', mtu: 1300, table: 220 });
    expect(routeTo(socket, '10.6.1.1', { mark: 0x17 })).toBeUndefined();
    expect(routeTo(socket, '10.9.1.1')).toMatchObject({ gateway: '10.5.1.2', source: '10.5.1.1', table: 254 });
    expect(await json('rule', 'show')).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ priority: 90, table: 'main', suppress_prefixlen: 0 }),
        expect.objectContaining({ priority: 100, table: '220', fwmark: '0x17', not: null }),
      ]),
    );
    removeRule(socket, { family: 4, priority: 100, table: 220, mark: { value: 0x17 }, inverted: true });
    expect(routeTo(socket, '10.6.1.1')).toBeUndefined();
  });

  test('rules', async () => {
    await ip('-6', 'rule', 'add', 'from', 'fd01::/32', 'to', 'fd02::/48', 'iif', 'tw0', 'fwmark', '3/0xff', 'lookup', '777', 'pref', '50');
    expect(listRules(socket, 6)).toContainEqual({
      family: 6,
      priority: 50,
      action: 'table',
      table: 777,
      from: 'fd01::/32',
      to: 'fd02::/48',
      mark: { value: 3, mask: 0xff },
      inputLink: 'tw0',
      outputLink: undefined,
      inverted: false,
      suppressPrefixLength: undefined,
      protocol: 0,
    });
    addRule(socket, { family: 4, priority: 60, action: 'prohibit', to: '10.77.0.0/16', outputLink: 'tw1' });
    expect(await json('rule', 'show', 'pref', '60')).toMatchObject([{ dst: '10.77.0.0', dstlen: 16, action: 'prohibit', oif: 'tw1' }]);
    expect(() => addRule(socket, { family: 4, priority: 60, action: 'prohibit', to: '10.77.0.0/16', outputLink: 'tw1' })).toThrow(
      expect.objectContaining({ code: 'KERNEL_ENTRY_EXISTS' }),
    );
    removeRule(socket, { family: 4, priority: 60, to: '10.77.0.0/16', action: 'prohibit' });
    expect(await json('rule', 'show', 'pref', '60')).toEqual([]);
  });

  test('what a former run left is found by its protocol', async () => {
    addRoute(socket, { destination: '10.60.0.0/16', type: 'blackhole', protocol: 171 });
    addRoute(socket, { destination: '10.61.0.0/16', type: 'blackhole' });
    addRule(socket, { family: 4, priority: 61, table: 61, protocol: 171 });
    expect(await json('route', 'show', 'proto', '171')).toMatchObject([{ dst: '10.60.0.0/16' }]);
    expect(await json('rule', 'show', 'pref', '61')).toMatchObject([{ priority: 61, protocol: '171' }]);
    for (const { destination, type, protocol } of listRoutes(socket).filter((route) => route.protocol === 171))
      removeRoute(socket, { destination, type: type as 'blackhole', protocol });
    for (const { family, priority, table } of listRules(socket).filter((rule) => rule.protocol === 171))
      removeRule(socket, { family, priority, table, protocol: 171 });
    expect(await json('route', 'show', 'proto', '171')).toEqual([]);
    expect(await json('rule', 'show', 'pref', '61')).toEqual([]);
    expect(await json('route', 'show', '10.61.0.0/16')).toHaveLength(1);
  });

  test('many routes come in many pieces', async () => {
    const lines = Array.from({ length: 3000 }, (_, i) => `route add blackhole 10.${100 + (i >> 8)}.${i & 255}.0/24 table 400`);
    await must('ip', ['-n', namespace, '-batch', '-'], { input: lines.join('\n') });
    expect(listRoutes(socket, { table: 400 })).toHaveLength(3000);
  });

  test('a change is told, whoever made it', async () => {
    const seen: NetworkChange[] = [];
    const monitor = await watchNetwork(
      ['link', 'address', 'route', 'rule'],
      { onChange: (change) => seen.push(change), onLost: () => expect.fail('changes were lost') },
      where,
    );
    scope.defer('the monitor', () => monitor.close());
    await ip('addr', 'add', '10.55.0.1/32', 'dev', 'tw0');
    await ip('addr', 'del', '10.55.0.1/32', 'dev', 'tw0');
    await ip('route', 'add', 'unreachable', '10.56.0.0/16');
    addRule(socket, { family: 4, priority: 200, table: 56 });
    await ip('link', 'set', 'tw1', 'down');
    const expected = (change: object): Promise<unknown> =>
      eventually(JSON.stringify(change), () => seen.some((one) => expect.objectContaining(change).asymmetricMatch(one)), 10_000);
    await expected({ kind: 'address', gone: false, address: expect.objectContaining({ ip: '10.55.0.1' }) });
    await expected({ kind: 'address', gone: true, address: expect.objectContaining({ ip: '10.55.0.1' }) });
    await expected({ kind: 'route', gone: false, route: expect.objectContaining({ destination: '10.56.0.0/16', type: 'unreachable' }) });
    await expected({ kind: 'rule', gone: false, rule: expect.objectContaining({ priority: 200, table: 56 }) });
    await expected({ kind: 'link', gone: false, link: expect.objectContaining({ name: 'tw1', up: false }) });
    await monitor.close();
    const before = seen.length;
    await ip('addr', 'add', '10.57.0.1/32', 'dev', 'tw0');
    expect(seen).toHaveLength(before);
  });

  test('of several that listen, those that are left still hear', async () => {
    const heard: string[][] = [[], []];
    const monitors = await Promise.all(
      heard.map((names) =>
        watchNetwork(
          ['link'],
          { onChange: (change) => change.kind === 'link' && names.push(change.link.name), onLost: () => undefined },
          where,
        ),
      ),
    );
    scope.defer('the monitors', () => Promise.all(monitors.map((monitor) => monitor.close())));
    await ip('link', 'add', 'first0', 'type', 'veth', 'peer', 'first1');
    await eventually('both', () => heard.every((names) => names.includes('first0')), 10_000);
    await monitors[0]!.close();
    await ip('link', 'add', 'second0', 'type', 'veth', 'peer', 'second1');
    await eventually('the other', () => heard[1]!.includes('second0'), 10_000);
    expect(heard[0]).not.toContain('second0');
    // one goes as another comes
    const closing = monitors[1]!.close();
    const names: string[] = [];
    const next = await watchNetwork(
      ['link'],
      { onChange: (change) => change.kind === 'link' && names.push(change.link.name), onLost: () => undefined },
      where,
    );
    scope.defer('the next monitor', () => next.close());
    await closing;
    await ip('link', 'add', 'third0', 'type', 'veth', 'peer', 'third1');
    await eventually('the next', () => names.includes('third0'), 10_000);
    await next.close();
  });

  test('more than the buffer holds is said to be lost', async () => {
    let [lost, seen] = [0, 0];
    const monitor = await watchNetwork(['route'], { onChange: () => seen++, onLost: () => lost++ }, where);
    scope.defer('the monitor', () => monitor.close());
    const lines = Array.from({ length: 60_000 }, (_, i) => `route add blackhole 11.${i >> 8}.${i & 255}.0/24 table 900`);
    // this thread waits, and so nobody reads
    execFileSync('ip', ['-n', namespace, '-batch', '-'], { input: lines.join('\n') });
    await eventually('the loss', () => lost > 0, 10_000);
    expect(seen).toBeLessThan(lines.length);
    await ip('route', 'add', 'blackhole', '12.0.0.0/8', 'table', '901');
    const before = seen;
    await ip('route', 'del', 'blackhole', '12.0.0.0/8', 'table', '901');
    await eventually('what comes next', () => seen > before, 10_000);
  });

  test('a process that listens can end', async () => {
    const script = `
      import { watchNetwork } from './dist/host/platform/linux/netlink/changes.js';
      await watchNetwork(['link'], { onChange: () => {}, onLost: () => {} });
      setTimeout(() => process.exit(3), 100);`;
    const started = performance.now();
    expect((await run(process.execPath, ['--input-type=module', '-e', script], { timeout: 20_000 })).status).toBe(3);
    // less than it takes the waiting thread to look by itself
    expect(performance.now() - started).toBeLessThan(4_500);
  });

  test('without the privilege nothing is changed, and the error says which it is', async () => {
    const script = `
      import { NetlinkSocket } from './dist/host/platform/linux/netlink/socket.js';
      import { addRoute, listRoutes } from './dist/host/platform/linux/netlink/routes.js';
      const socket = await NetlinkSocket.open('route');
      listRoutes(socket);
      try { addRoute(socket, { destination: '10.99.0.0/16', type: 'blackhole' }); } catch (e) { console.log(e.code, e.privilege, e.message); }`;
    const { stdout } = await run('setpriv', [
      '--bounding-set=-net_admin',
      '--inh-caps=-net_admin',
      process.execPath,
      '--input-type=module',
      '-e',
      script,
    ]);
    expect(stdout).toBe(
      'NOT_PERMITTED CAP_NET_ADMIN cannot add the blackhole route to 10.99.0.0/16: this process may not change the network of this machine (it lacks CAP_NET_ADMIN) (EPERM)\n',
    );
  });
});
