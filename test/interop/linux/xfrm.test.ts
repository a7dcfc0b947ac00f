import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseIp, toHex } from '../../../src/core/bytes/index.ts';
import { MessageWriter } from '../../../src/host/platform/linux/netlink/codec.ts';
import { HostWriter } from '../../../src/host/platform/linux/netlink/host-order.ts';
import { loadLibc } from '../../../src/host/platform/linux/netlink/libc.ts';
import { NetlinkSocket } from '../../../src/host/platform/linux/netlink/socket.ts';
import { within } from '../../../src/host/platform/linux/netlink/within.ts';
import { getAccounting } from '../../../src/host/platform/linux/netlink/xfrm/accounting.ts';
import { watchXfrm, type XfrmEvent } from '../../../src/host/platform/linux/netlink/xfrm/events.ts';
import {
  addPolicy,
  deletePolicy,
  flushPolicies,
  getPolicy,
  listPolicies,
  type NewPolicy,
} from '../../../src/host/platform/linux/netlink/xfrm/policies.ts';
import { probeXfrm } from '../../../src/host/platform/linux/netlink/xfrm/probe.ts';
import { bypassPolicies } from '../../../src/host/platform/linux/netlink/xfrm/socket-policy.ts';
import {
  addState,
  allocateSpi,
  deleteState,
  flushStates,
  getState,
  listStates,
  type NewState,
} from '../../../src/host/platform/linux/netlink/xfrm/states.ts';
import { readXfrmStatistics, XFRM_STATISTICS } from '../../../src/host/platform/linux/netlink/xfrm/statistics.ts';
import { addInside, createNetwork, type Network } from '../support/network.ts';
import { eventually, must, run } from '../support/process.ts';
import { describeWith, NAMESPACES } from '../support/requirements.ts';
import { Scope } from '../support/scope.ts';

/** Policies on whatever kernel this is; SAs where it has ESP, else its refusal in our words. `test/kernel` has one that has it. */
describeWith(NAMESPACES, 'netlink xfrm', () => {
  const scope = new Scope();
  const events: XfrmEvent[] = [];
  let network: Network;
  let socket: NetlinkSocket;

  beforeAll(async () => {
    network = await createNetwork(scope);
    await addInside(network.left);
    await ip('route', 'add', network.right.network, 'via', network.right.address);
    const where = { namespace: `/run/netns/${network.left.namespace}` };
    socket = await NetlinkSocket.open('xfrm', where);
    scope.defer('the socket', () => socket.close());
    const monitor = await watchXfrm(
      ['acquire', 'states', 'policies'],
      { onEvent: (event) => events.push(event), onLost: () => expect.fail('events were lost') },
      where,
    );
    scope.defer('the monitor', () => monitor.close());
  });
  afterAll(() => scope.close());

  const ip = (...args: string[]): Promise<string> => must('ip', ['-n', network.left.namespace, ...args]);
  const heard = <K extends XfrmEvent['kind']>(kind: K, what: object): Promise<unknown> =>
    eventually(
      `${kind} ${JSON.stringify(what)}`,
      () => events.some((event) => event.kind === kind && expect.objectContaining(what).asymmetricMatch(event)),
      10_000,
    );

  const outbound = (): NewPolicy => ({
    direction: 'out',
    action: 'allow',
    priority: 1000,
    selector: { family: 4, source: network.left.network, destination: network.right.network },
    templates: [{ protocol: 'esp', mode: 'tunnel', reqid: 77, source: network.left.address, destination: network.right.address }],
  });
  const state = (): NewState => ({
    source: network.left.address,
    destination: network.right.address,
    spi: 0xc0000001,
    protocol: 'esp',
    mode: 'tunnel',
    reqid: 77,
    keys: { encryption: 11, integrity: 12, integrityKey: new Uint8Array(32).fill(0x5a) },
  });

  test('policies of ours are what ip shows', async () => {
    addPolicy(socket, {
      ...outbound(),
      ifId: 7,
      mark: { value: 3, mask: 0xff },
      selector: { ...outbound().selector, protocol: 6, destinationPort: { port: 80 } },
    });
    addPolicy(socket, {
      direction: 'fwd',
      action: 'block',
      priority: 5,
      selector: { family: 6, destination: 'fd00::/8' },
      localOk: true,
      icmp: true,
    });
    const shown = (await ip('-d', 'xfrm', 'policy')).replace(/\s+/g, ' ');
    expect(shown).toContain(
      'src 10.1.0.0/24 dst 10.2.0.0/24 proto tcp dport 80 dir out priority 1000 ptype main mark 0x3/0xff tmpl src 10.9.0.1 dst 10.9.0.2 proto esp reqid 77 mode tunnel if_id 0x7',
    );
    expect(shown).toContain('src ::/0 dst fd00::/8 dir fwd action block priority 5 ptype main flag localok icmp');
    flushPolicies(socket);
    expect(await ip('xfrm', 'policy')).toBe('');
    await heard('policy', { change: 'new', policy: expect.objectContaining({ priority: 5, action: 'block' }) });
    await heard('policies-flushed', {});
  });

  test("policies of ip's are what we read", async () => {
    const selector = ['src', '10.3.0.0/16', 'dst', '10.4.0.1/32', 'proto', 'udp', 'sport', '53'];
    await ip(
      'xfrm',
      'policy',
      'add',
      ...selector,
      'dir',
      'in',
      'priority',
      '42',
      'tmpl',
      'proto',
      'comp',
      'mode',
      'transport',
      'level',
      'use',
      'tmpl',
      'proto',
      'esp',
      'mode',
      'transport',
      'reqid',
      '8',
    );
    const template = { source: undefined, destination: undefined, mode: 'transport', spi: 0 };
    expect(listPolicies(socket)).toMatchObject([
      {
        direction: 'in',
        action: 'allow',
        priority: 42,
        selector: { family: 4, source: '10.3.0.0/16', destination: '10.4.0.1/32', protocol: 17, sourcePort: { port: 53, mask: 0xffff } },
        templates: [
          { ...template, protocol: 'comp', reqid: 0, optional: true },
          { ...template, protocol: 'esp', reqid: 8, optional: false },
        ],
      },
    ]);
    for (const policy of listPolicies(socket)) deletePolicy(socket, policy);
    expect(listPolicies(socket)).toEqual([]);
  });

  test('a policy that is there is refused or replaced, and one that is not is missing', () => {
    addPolicy(socket, outbound());
    expect(() => addPolicy(socket, outbound())).toThrow(expect.objectContaining({ code: 'KERNEL_ENTRY_EXISTS', errno: 'EEXIST' }));
    addPolicy(socket, { ...outbound(), priority: 9 }, true);
    expect(getPolicy(socket, outbound())?.priority).toBe(9);
    deletePolicy(socket, outbound());
    expect(() => deletePolicy(socket, outbound())).toThrow(expect.objectContaining({ code: 'KERNEL_ENTRY_MISSING' }));
  });

  test('a packet without an SA asks for one', async () => {
    addPolicy(socket, outbound());
    await run('ip', [
      'netns',
      'exec',
      network.left.namespace,
      'ping',
      '-c',
      '1',
      '-W',
      '1',
      '-I',
      network.left.inside,
      network.right.inside,
    ]);
    await heard('acquire', {
      source: network.left.address,
      destination: network.right.address,
      protocol: 'esp',
      selector: expect.objectContaining({ source: `${network.left.inside}/32`, destination: `${network.right.inside}/32`, protocol: 1 }),
      policy: expect.objectContaining({ direction: 'out', templates: [expect.objectContaining({ reqid: 77, mode: 'tunnel' })] }),
    });
    flushStates(socket);
    flushPolicies(socket);
  });

  test('a policy that blocks drops, and the kernel counts it', async () => {
    const statistics = (): Promise<number> =>
      must('ip', ['netns', 'exec', network.left.namespace, 'cat', '/proc/net/xfrm_stat']).then((text) =>
        Number(/XfrmOutPolBlock\s+(\d+)/.exec(text)?.[1]),
      );
    const before = await statistics();
    addPolicy(socket, { ...outbound(), templates: [], action: 'block' });
    const { status } = await run('ip', [
      'netns',
      'exec',
      network.left.namespace,
      'ping',
      '-c',
      '1',
      '-W',
      '1',
      '-I',
      network.left.inside,
      network.right.inside,
    ]);
    expect(status).not.toBe(0);
    expect(await statistics()).toBeGreaterThan(before);
    flushPolicies(socket);
  });

  test('a socket that is let pass needs no SA, in both families', async () => {
    const libc = await loadLibc();
    await ip('addr', 'add', 'fd09::1/64', 'dev', network.left.device, 'nodad');
    for (const [family, address, everything] of [
      [4, network.right.address, '0.0.0.0/0'],
      [6, 'fd09::2', '::/0'],
    ] as const) {
      const domain = family === 4 ? 2 : 10;
      const fd = within(libc, `/run/netns/${network.left.namespace}`, () => libc.socket(domain, 2, 0));
      const to = new HostWriter(28).u16(domain).network16(500);
      if (family === 6) to.zero(4);
      to.bytes(parseIp(address)).zero(family === 4 ? 8 : 4);
      const send = (): number => libc.sendto(fd, new Uint8Array(8), 8, 0, to.written(), to.length);
      try {
        addPolicy(socket, { direction: 'out', action: 'block', priority: 1, selector: { family, destination: everything } });
        expect(send()).toBe(-1);
        await bypassPolicies(fd, family);
        expect(send()).toBe(8);
      } finally {
        libc.close(fd);
        flushPolicies(socket);
      }
    }
    await expect(bypassPolicies(-1, 4)).rejects.toMatchObject({ name: 'DataPlaneError', errno: 'EBADF' });
  });

  test('an SPI is reserved, and nobody else gets it', () => {
    const range = { min: 0xc0001000, max: 0xc0001000 };
    expect(allocateSpi(socket, state(), range)).toBe(0xc0001000);
    expect(listStates(socket)).toMatchObject([{ spi: 0xc0001000, source: network.left.address, reqid: 77, mode: 'tunnel' }]);
    expect(() => allocateSpi(socket, { ...state(), reqid: 78 }, range)).toThrow(expect.objectContaining({ errno: 'ENOENT' }));
    deleteState(socket, { ...state(), spi: 0xc0001000 });
    expect(() => getState(socket, { ...state(), spi: 0xc0001000 })).toThrow(expect.objectContaining({ code: 'KERNEL_ENTRY_MISSING' }));
    expect(() => getAccounting(socket, state())).toThrow(expect.objectContaining({ code: 'KERNEL_ENTRY_MISSING' }));
  });

  test('an SA, or a word on what the kernel lacks; its keys are in neither', async () => {
    const probe = [
      'xfrm',
      'state',
      'add',
      'src',
      '10.9.0.1',
      'dst',
      '10.9.0.2',
      'proto',
      'esp',
      'spi',
      '0x999',
      'mode',
      'tunnel',
      'enc',
      'ecb(cipher_null)',
      '',
      'auth-trunc',
      'hmac(sha256)',
      `0x${'11'.repeat(32)}`,
      '128',
    ];
    const offered = (await run('ip', ['-n', network.left.namespace, ...probe])).status === 0;
    if (offered) {
      addState(socket, state());
      expect(getState(socket, state())).toMatchObject({ reqid: 77, algorithms: { integrity: { name: 'hmac(sha256)', icvBits: 128 } } });
      flushStates(socket);
      expect(probeXfrm(socket, state().keys!)).toBeUndefined();
      expect(listStates(socket)).toEqual([]);
      return;
    }
    // what asks for an SPI in vain leaves its larval SA behind for a while
    flushStates(socket);
    const refused = probeXfrm(socket, state().keys!);
    expect(listStates(socket)).toEqual([]);
    expect(refused).toMatchObject({
      code: 'KERNEL_LACKS_ESP',
      errno: 'EPROTONOSUPPORT',
      message: expect.stringContaining("cannot add the kernel's SA ESP 000000fe to 192.0.2.2: this kernel has no ESP (EPROTONOSUPPORT"),
      hint: expect.stringContaining('modprobe esp4 esp6'),
    });
    const { keys: _, ...bare } = state();
    expect(() => addState(socket, { ...bare, protocol: 'comp', spi: 0x1234 })).toThrow(
      expect.objectContaining({ code: 'KERNEL_LACKS_IPCOMP' }),
    );
    expect(() => addState(socket, { ...bare, protocol: 'ah', keys: { integrity: 12, integrityKey: new Uint8Array(32) } })).toThrow(
      expect.objectContaining({ code: 'KERNEL_LACKS_AH' }),
    );
    const gcm = { encryption: 20, encryptionKey: new Uint8Array(20).fill(0x5a) };
    expect(() => addState(socket, { ...bare, keys: gcm })).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^KERNEL_LACKS_(ESP|ALGORITHM)$/) }),
    );
    expect(JSON.stringify(refused)).not.toMatch(/5a5a|90,90/);
  });

  test('a request is wiped, whether it is granted or refused', () => {
    for (const type of [0x1c, 0x11]) {
      const request = new MessageWriter(type).u8(255).zero(3).bytes(new Uint8Array(20).fill(0x5a));
      const written = request.written();
      expect(toHex(written)).toContain('5a5a');
      try {
        socket.request(request, { attempt: 'do it' });
      } catch {
        // it is no such request
      }
      expect(new Uint8Array(written.buffer).every((octet) => octet === 0)).toBe(true);
    }
  });

  test('the counters of this namespace can be read', () => {
    const statistics = readXfrmStatistics();
    expect(statistics).toMatchObject({ XfrmInNoStates: expect.any(Number) });
    expect(Object.keys(XFRM_STATISTICS).filter((name) => statistics?.[name] === undefined)).toEqual([]);
    expect(readXfrmStatistics('/proc/no/such/file')).toBeUndefined();
  });
});
