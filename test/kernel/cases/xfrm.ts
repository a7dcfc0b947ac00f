import assert from 'node:assert/strict';
import { parseIp } from '../../../src/core/bytes/index.ts';
import { encryptionKeyOctets, encryptionTransforms, integrity, integrityTransforms } from '../../../src/core/crypto/index.ts';
import { HostWriter } from '../../../src/host/platform/linux/netlink/host-order.ts';
import { loadLibc } from '../../../src/host/platform/linux/netlink/libc.ts';
import { createLink, getLink } from '../../../src/host/platform/linux/netlink/links.ts';
import type { NetlinkMonitor } from '../../../src/host/platform/linux/netlink/monitor.ts';
import { addRoute, removeRoute } from '../../../src/host/platform/linux/netlink/routes.ts';
import { NetlinkSocket } from '../../../src/host/platform/linux/netlink/socket.ts';
import { within } from '../../../src/host/platform/linux/netlink/within.ts';
import { getAccounting, setAccounting } from '../../../src/host/platform/linux/netlink/xfrm/accounting.ts';
import { hasKernelName, type XfrmKeys } from '../../../src/host/platform/linux/netlink/xfrm/algorithms.ts';
import { watchXfrm, type XfrmEvent, type XfrmGroup } from '../../../src/host/platform/linux/netlink/xfrm/events.ts';
import { migrate } from '../../../src/host/platform/linux/netlink/xfrm/migrate.ts';
import { addPolicy, listPolicies, type XfrmTemplate } from '../../../src/host/platform/linux/netlink/xfrm/policies.ts';
import { probeXfrm } from '../../../src/host/platform/linux/netlink/xfrm/probe.ts';
import {
  addState,
  allocateSpi,
  deleteState,
  flushStates,
  getState,
  listStates,
  type NewState,
  updateState,
} from '../../../src/host/platform/linux/netlink/xfrm/states.ts';
import { type Cases, command } from '../support/cases.ts';

/** SAs and policies of ours in a kernel that has ESP: two namespaces, joined by a veth, whose echo requests pass through it. */
export const cases: Cases = {
  ...Object.fromEntries(
    (['tunnel', 'transport'] as const).flatMap((mode) =>
      ['AES-GCM', 'AES-CBC with HMAC-SHA-256', 'ChaCha20-Poly1305'].map((suite) => [
        `packets pass in ${mode} mode with ${suite}`,
        () => onPair((pair) => passes(pair, { mode, keys: SUITES[suite]! })),
      ]),
    ),
  ),

  'packets pass with extended sequence numbers and a window of 1024, from beyond 32 bits on': () =>
    onPair((pair) => {
      const start = (5n << 32n) + 7n;
      const sequence = { outbound: start, inbound: start };
      passes(pair, { keys: SUITES['AES-GCM']!, esn: true, replayWindow: 1024, sequence });
      const [out, into] = [getState(pair.left.xfrm, id(OUT)), getState(pair.right.xfrm, id(OUT))];
      assert.deepEqual([out.sequence.outbound, into.sequence.inbound], [start + 3n, start + 3n]);
      assert.deepEqual([into.esn, into.replayWindow], [true, 1024]);
    }),

  'a tunnel takes the other family, too': () =>
    onPair((pair) => {
      for (const [end, own, other] of [
        [pair.left, 'fd01::1', 'fd02::/64'],
        [pair.right, 'fd02::1', 'fd01::/64'],
      ] as const) {
        command(`ip -n ${end.name} addr add ${own}/64 dev lo nodad`);
        command(`ip -n ${end.name} -6 route add ${other} dev wire`);
      }
      secure(pair, { keys: SUITES['AES-GCM']! });
      for (const [end, direction, source, destination] of PATHS(pair, 'fd01::/64', 'fd02::/64')) {
        const template = templateOf(direction, end === pair.left, 'tunnel');
        addPolicy(end.xfrm, {
          direction,
          action: 'allow',
          priority: 1,
          selector: { family: 6, source, destination },
          templates: [template],
        });
      }
      command(`ip netns exec left ping -c 3 -W 5 -I fd01::1 fd02::1`);
      assert.equal(getAccounting(pair.right.xfrm, id(OUT))?.use?.packets, 3n);
    }),

  'every algorithm that has a name is taken, and ip shows the same': () =>
    onPair(({ left }) => {
      const mac = { integrity: 12, integrityKey: octets(32) };
      let spi = 0x2000;
      const take = (keys: XfrmKeys): void => {
        addState(left.xfrm, { ...OUT, mode: 'transport', spi: ++spi, keys });
        const { algorithms } = getState(left.xfrm, { ...id(OUT), spi });
        const shown = command('ip -n left xfrm state');
        for (const used of [algorithms.aead, algorithms.encryption, algorithms.integrity])
          if (used) assert.ok(shown.includes(used.name), `${used.name} is not in\n${shown}`);
        assert.ok(algorithms.aead ?? (algorithms.encryption && algorithms.integrity));
        flushStates(left.xfrm);
      };
      for (const { id: encryption, aead, keyLengths, keyLengthAttribute } of encryptionTransforms().filter(known('encryption'))) {
        for (const bits of keyLengths) {
          const keyLength = keyLengthAttribute === 'required' ? bits : undefined;
          take({ encryption, encryptionKey: octets(encryptionKeyOctets(encryption, keyLength)), ...(aead ? {} : mac) });
        }
      }
      for (const { id: integrity, keyLength } of integrityTransforms().filter(known('integrity')))
        take({ encryption: 12, encryptionKey: octets(16), integrity, integrityKey: octets(keyLength) });
    }),

  'AH covers packets': () =>
    onPair((pair) => passes(pair, { protocol: 'ah', mode: 'transport', keys: { integrity: 12, integrityKey: octets(32) } })),

  'IPComp makes packets smaller inside of ESP': () =>
    onPair((pair) => {
      for (const { xfrm } of [pair.left, pair.right]) {
        for (const way of [OUT, BACK]) {
          addState(xfrm, { ...way, mode: 'transport', keys: SUITES['AES-GCM']! });
          addState(xfrm, { ...compOf(way), mode: 'tunnel' });
        }
      }
      for (const [end, direction, source, destination] of PATHS(pair, INNER.left, INNER.right)) {
        const [esp, comp] = [templateOf(direction, end === pair.left, 'transport'), templateOf(direction, end === pair.left, 'tunnel')];
        const templates: XfrmTemplate[] = [{ ...comp, protocol: 'comp', optional: direction !== 'out' }, esp];
        addPolicy(end.xfrm, { direction, action: 'allow', priority: 1, selector: { family: 4, source, destination }, templates });
      }
      command(`ip netns exec left ping -c 3 -W 5 -s 1200 -p 00 -I 10.1.0.1 10.2.0.1`);
      const { use } = getState(pair.right.xfrm, id(OUT));
      assert.equal(use.packets, 3n);
      assert.ok(use.bytes < 3n * 400n, `${use.bytes} octets for 3 packets of 1228`);
    }),

  'what the kernel takes is found out without a trace': () =>
    onPair(async (pair) => {
      for (const esn of [false, true])
        for (const keys of Object.values(SUITES)) assert.equal(probeXfrm(pair.left.xfrm, keys, 'esp', esn), undefined);
      assert.equal(probeXfrm(pair.left.xfrm, { integrity: 14, integrityKey: octets(64) }, 'ah'), undefined);
      assert.equal(probeXfrm(pair.left.xfrm, { encryption: 31, encryptionKey: octets(36) })?.code, 'KERNEL_LACKS_ALGORITHM');
      assert.equal(probeXfrm(pair.left.xfrm, { encryption: 20, encryptionKey: octets(19) })?.errno, 'EINVAL');
      assert.deepEqual(listStates(pair.left.xfrm), []);
    }),

  'an SA moves to the other family, and into UDP': () =>
    onPair(async (pair) => {
      passes(pair, { keys: SUITES['AES-GCM']! });
      for (const [end, ip] of [
        ['left', 'fd77::1'],
        ['right', 'fd77::2'],
      ])
        command(`ip -n ${end} addr add ${ip}/64 dev wire nodad`);
      const sockets = [await encapsulating('left', 'fd77::1'), await encapsulating('right', 'fd77::2')];
      try {
        for (const end of [pair.left, pair.right]) {
          for (const { direction, selector } of listPolicies(end.xfrm)) {
            const out = (direction === 'out') === (end === pair.left);
            const [newSource, newDestination] = out ? (['fd77::1', 'fd77::2'] as const) : (['fd77::2', 'fd77::1'] as const);
            const { source: oldSource, destination: oldDestination } = out ? OUT : BACK;
            const migration = {
              protocol: 'esp',
              mode: 'tunnel',
              reqid: REQID,
              oldSource,
              oldDestination,
              newSource,
              newDestination,
            } as const;
            migrate(end.xfrm, { direction, selector }, [migration], { encap: { sourcePort: 4500, destinationPort: 4500 } });
          }
        }
        ping(pair);
        const moved = getState(pair.right.xfrm, { ...id(OUT), destination: 'fd77::2' });
        assert.deepEqual([moved.source, moved.use.packets, moved.encap?.sourcePort], ['fd77::1', 6n, 4500]);
      } finally {
        for (const close of sockets) close();
      }
    }),

  'an SA moves to new addresses with its numbers': () =>
    onPair((pair) => {
      passes(pair, { keys: SUITES['AES-GCM']! });
      command('ip -n left addr add 10.77.0.11/24 dev wire');
      for (const end of [pair.left, pair.right]) {
        for (const { direction, selector } of listPolicies(end.xfrm)) {
          const out = (direction === 'out') === (end === pair.left);
          const way = out ? OUT : BACK;
          const moved = out ? { newSource: '10.77.0.11', newDestination: RIGHT } : { newSource: RIGHT, newDestination: '10.77.0.11' };
          const migration = {
            protocol: 'esp',
            mode: 'tunnel',
            reqid: REQID,
            oldSource: way.source,
            oldDestination: way.destination,
            ...moved,
          } as const;
          // in and fwd have one SA between them, which the first of the two moves
          migrate(end.xfrm, { direction, selector }, [migration]);
        }
      }
      ping(pair);
      const moved = getState(pair.left.xfrm, id(OUT));
      assert.deepEqual([moved.source, moved.sequence.outbound, moved.use.packets], ['10.77.0.11', 6n, 6n]);
      assert.throws(() => migrate(pair.left.xfrm, { direction: 'out', selector: { family: 4, destination: '10.250.0.0/16' } }, []), {
        name: 'DataPlaneError',
      });
    }),

  'limits in packets are told, and a hard one ends the SA': () =>
    onPair(async (pair) => {
      const heard = await listen(pair.left, ['expire', 'states']);
      secure(pair, { keys: SUITES['AES-GCM']!, lifetime: { softPackets: 2n, hardPackets: 4n } });
      policies(pair);
      ping(pair);
      await heard.until('a soft limit', (event) => event.kind === 'expire' && !event.hard && event.state.spi === OUT.spi);
      assert.equal(getState(pair.left.xfrm, id(OUT)).use.packets, 3n);
      assert.throws(() => ping(pair));
      await heard.until('a hard limit', (event) => event.kind === 'expire' && event.hard && event.state.spi === OUT.spi);
      assert.throws(() => getState(pair.left.xfrm, id(OUT)), { code: 'KERNEL_ENTRY_MISSING' });
    }),

  'limits in seconds are told': () =>
    onPair(async (pair) => {
      const heard = await listen(pair.left, ['expire', 'states']);
      addState(pair.left.xfrm, { ...OUT, keys: SUITES['AES-GCM']!, lifetime: { softSeconds: 1, hardSeconds: 3 } });
      await heard.until('a soft limit', (event) => event.kind === 'expire' && !event.hard);
      await heard.until('a hard limit', (event) => event.kind === 'expire' && event.hard);
      assert.deepEqual(listStates(pair.left.xfrm), []);
      assert.ok(heard.events.some((event) => event.kind === 'state' && event.change === 'new' && event.state.spi === OUT.spi));
    }),

  'the packet that asks for an SA waits for the one whose SPI was reserved': () =>
    onPair(async (pair) => {
      const heard = await listen(pair.left, ['acquire']);
      policies(pair);
      addState(pair.left.xfrm, { ...BACK, keys: SUITES['AES-GCM']! });
      const spi = allocateSpi(pair.right.xfrm, { ...OUT });
      updateState(pair.right.xfrm, { ...OUT, spi, keys: SUITES['AES-GCM']! });
      addState(pair.right.xfrm, { ...BACK, keys: SUITES['AES-GCM']! });
      assert.throws(() => command('ip netns exec left ping -c 1 -W 1 -I 10.1.0.1 10.2.0.1'));
      const asked = await heard.until('a packet without an SA', (event) => event.kind === 'acquire');
      assert.ok(asked.kind === 'acquire' && asked.policy.templates[0]?.reqid === REQID && asked.selector.destination === '10.2.0.1/32');
      addState(pair.left.xfrm, { ...OUT, spi, keys: SUITES['AES-GCM']! });
      ping(pair);
    }),

  'what came for an SA that was deleted is counted': () =>
    onPair((pair) => {
      passes(pair, { keys: SUITES['AES-GCM']! });
      deleteState(pair.right.xfrm, id(OUT));
      assert.throws(() => command('ip netns exec left ping -c 1 -W 1 -I 10.1.0.1 10.2.0.1'));
      assert.match(command('ip netns exec right cat /proc/net/xfrm_stat'), /XfrmInNoStates\s+1\b/);
      assert.throws(() => deleteState(pair.right.xfrm, id(OUT)), { code: 'KERNEL_ENTRY_MISSING' });
    }),

  'a copy that comes again is dropped, and counters can be set': () =>
    onPair((pair) => {
      passes(pair, { keys: SUITES['AES-GCM']!, replayWindow: 32 });
      // begins anew with numbers that the other end has seen
      setAccounting(pair.left.xfrm, id(OUT), { replay: { window: 32, esn: false, sequence: { outbound: 0n, inbound: 0n } } });
      assert.throws(() => command('ip netns exec left ping -c 3 -i 0.2 -W 1 -I 10.1.0.1 10.2.0.1'));
      assert.equal(getState(pair.right.xfrm, id(OUT)).replayed, 3);
      setAccounting(pair.left.xfrm, id(OUT), { replay: { window: 32, esn: false, sequence: { outbound: 1000n, inbound: 0n } } });
      ping(pair);
      assert.equal(getAccounting(pair.left.xfrm, id(OUT))?.sequence.outbound, 1003n);
    }),

  'ESP in UDP passes, and a new mapping of the peer is told': () =>
    onPair(async (pair) => {
      const sockets = [await encapsulating('left', LEFT), await encapsulating('right', RIGHT)];
      try {
        const heard = await listen(pair.right, ['mappings']);
        passes(pair, { keys: SUITES['AES-GCM']!, encap: { sourcePort: 4500, destinationPort: 4500 } });
        updateState(pair.left.xfrm, { ...OUT, keys: SUITES['AES-GCM']!, encap: { sourcePort: 4511, destinationPort: 4500 } });
        ping(pair);
        const mapping = await heard.until('a new mapping', ({ kind }) => kind === 'mapping');
        const port = { reqid: REQID, oldSource: LEFT, oldPort: 4500, newSource: LEFT, newPort: 4511 };
        assert.deepEqual(mapping, { kind: 'mapping', id: id(OUT), ...port });
      } finally {
        for (const close of sockets) close();
      }
    }),

  'packets that are routed to an xfrm interface pass through the SAs of its if_id': () =>
    onPair(async (pair) => {
      secure(pair, { keys: SUITES['AES-GCM']!, ifId: 42 });
      policies(pair, 42);
      for (const [end, destination] of [
        [pair.left, '10.2.0.0/24'],
        [pair.right, '10.1.0.0/24'],
      ] as const) {
        const route = await NetlinkSocket.open('route', { namespace: `/run/netns/${end.name}` });
        const { index, ifId } = createLink(route, { kind: 'xfrm', name: 'xfrm42', ifId: 42, lower: getLink(route, 'wire').index });
        assert.equal(ifId, 42);
        command(`ip -n ${end.name} link set xfrm42 up`);
        removeRoute(route, { destination, link: getLink(route, 'wire').index });
        addRoute(route, { destination, link: index });
        route.close();
      }
      ping(pair);
      assert.equal(getState(pair.right.xfrm, id(OUT)).use.packets, 3n);
      assert.equal(getState(pair.right.xfrm, id(OUT)).ifId, 42);
    }),

  'flags, marks and encapsulation are those that were given': () =>
    onPair(({ left }) => {
      const flags = { noEcn: true, decapDscp: true, noPmtuDisc: true, dontEncapDscp: true };
      const given: NewState = {
        ...OUT,
        keys: SUITES['ChaCha20-Poly1305']!,
        flags,
        mark: { value: 5, mask: 0xff },
        setMark: { value: 9, mask: 0xf },
        encap: { sourcePort: 4500, destinationPort: 40_000 },
        tfcPad: 1400,
        selector: { family: 4, source: '10.1.0.0/24', destination: '10.2.0.0/24', protocol: 6, destinationPort: { port: 80 } },
      };
      addState(left.xfrm, given);
      const seen = getState(left.xfrm, given);
      for (const [name, value] of Object.entries(flags)) assert.equal(seen.flags[name as keyof typeof flags], value);
      assert.deepEqual([seen.mark, seen.setMark], [given.mark, given.setMark]);
      assert.deepEqual(seen.encap, { kind: 'udp', ...given.encap });
      assert.equal(seen.selector?.destinationPort?.port, 80);
      const shown = command('ip -n left -s xfrm state').replace(/\s+/g, ' ');
      for (const part of [
        'noecn decap-dscp nopmtudisc',
        'dont-encap-dscp',
        'mark 0x5/0xff',
        'type espinudp sport 4500 dport 40000',
        'output-mark 0x9/0xf',
        'tfcpad 1400',
      ])
        assert.ok(shown.includes(part), `${part} is not in\n${shown}`);
      updateState(left.xfrm, { ...given, encap: { sourcePort: 4500, destinationPort: 40_001 } });
      assert.equal(getState(left.xfrm, given).encap?.destinationPort, 40_001);
    }),
};

interface End {
  readonly name: 'left' | 'right';
  readonly xfrm: NetlinkSocket;
  readonly monitors: NetlinkMonitor[];
}

interface Pair {
  readonly left: End;
  readonly right: End;
}

/** Two namespaces, which are gone afterwards. */
async function onPair(body: (pair: Pair) => void | Promise<void>): Promise<void> {
  for (const name of ['left', 'right']) command(`ip netns add ${name}`);
  try {
    command('ip link add wire netns left type veth peer name wire netns right');
    const ends = {
      left: { inner: '10.1.0.1', address: LEFT, other: INNER.right },
      right: { inner: '10.2.0.1', address: RIGHT, other: INNER.left },
    };
    for (const [name, { inner, address, other }] of Object.entries(ends)) {
      command(`ip -n ${name} addr add ${address}/24 dev wire`);
      command(`ip -n ${name} addr add ${inner}/24 dev lo`);
      command(`ip -n ${name} link set lo up`);
      command(`ip -n ${name} link set wire up`);
      command(`ip -n ${name} route add ${other} dev wire`);
    }
    const open = async (name: 'left' | 'right'): Promise<End> => ({
      name,
      xfrm: await NetlinkSocket.open('xfrm', { namespace: `/run/netns/${name}` }),
      monitors: [],
    });
    const pair = { left: await open('left'), right: await open('right') };
    try {
      await body(pair);
    } finally {
      for (const { xfrm, monitors } of [pair.left, pair.right]) {
        xfrm.close();
        for (const monitor of monitors) await monitor.close();
      }
    }
  } finally {
    for (const name of ['left', 'right']) command(`ip netns del ${name}`);
  }
}

/** A UDP socket whose ESP goes to the kernel (RFC 3948). @returns what closes it */
async function encapsulating(name: string, ip: string): Promise<() => void> {
  const libc = await loadLibc();
  const octetsOf = parseIp(ip);
  const family = octetsOf.length === 4 ? AF_INET : AF_INET6;
  const fd = within(libc, `/run/netns/${name}`, () => libc.socket(family, SOCK_DGRAM, 0));
  const address = new HostWriter(28)
    .u16(family)
    .network16(4500)
    .zero(family === AF_INET ? 0 : 4)
    .bytes(octetsOf)
    .zero(8)
    .written();
  assert.equal(libc.bind(fd, address, address.length), 0);
  assert.equal(libc.setsockopt(fd, SOL_UDP, UDP_ENCAP, new HostWriter(4).u32(UDP_ENCAP_ESPINUDP).written(), 4), 0);
  return () => libc.close(fd);
}

/** Echo requests, and that each SA counted them; at both ends the same. */
function passes(pair: Pair, how: Partial<NewState>): void {
  secure(pair, how);
  policies(pair, undefined, how);
  ping(pair, how.mode);
  for (const { xfrm } of [pair.left, pair.right]) {
    for (const way of [OUT, BACK]) {
      const state = getState(xfrm, { ...id(way), protocol: how.protocol ?? 'esp' });
      assert.deepEqual([state.use.packets, state.mode, state.reqid], [3n, how.mode ?? 'tunnel', REQID]);
      assert.equal(getAccounting(xfrm, state)?.use?.packets, 3n);
      assert.ok(state.use.usedAt > 0);
    }
  }
  const counted = command('ip -n right -s xfrm state');
  assert.equal(counted.match(/\d+\(bytes\), 3\(packets\)/g)?.length, 2, counted);
}

function secure({ left, right }: Pair, how: Partial<NewState>): void {
  for (const { xfrm } of [left, right]) for (const way of [OUT, BACK]) addState(xfrm, { ...way, ...how });
}

function policies(pair: Pair, ifId?: number, how: Partial<NewState> = {}): void {
  const [source, destination] = how.mode === 'transport' ? [`${LEFT}/32`, `${RIGHT}/32`] : [INNER.left, INNER.right];
  for (const [end, direction, from, to] of PATHS(pair, source, destination)) {
    const template = { ...templateOf(direction, end === pair.left, how.mode ?? 'tunnel'), protocol: how.protocol ?? 'esp' };
    addPolicy(end.xfrm, {
      direction,
      action: 'allow',
      priority: 1,
      ifId,
      selector: { family: 4, source: from, destination: to },
      templates: [template],
    });
  }
}

function ping({ left }: Pair, mode: NewState['mode'] = 'tunnel'): void {
  command(`ip netns exec ${left.name} ping -c 3 -i 0.2 -W 5 ${mode === 'transport' ? RIGHT : '-I 10.1.0.1 10.2.0.1'}`);
}

/** Each policy: at which end, for which direction, from where to where. */
const PATHS = ({ left, right }: Pair, source: string, destination: string) =>
  [
    [left, 'out', source, destination],
    [left, 'in', destination, source],
    [left, 'fwd', destination, source],
    [right, 'out', destination, source],
    [right, 'in', source, destination],
    [right, 'fwd', source, destination],
  ] as const;

function templateOf(direction: 'in' | 'out' | 'fwd', left: boolean, mode: NewState['mode']): XfrmTemplate {
  const { source, destination } = (direction === 'out') === left ? OUT : BACK;
  return { protocol: 'esp', mode, reqid: REQID, source, destination };
}

async function listen({ name, monitors }: End, groups: readonly XfrmGroup[]) {
  const events: XfrmEvent[] = [];
  const onLost = (): never => assert.fail('events were lost');
  monitors.push(await watchXfrm(groups, { onEvent: (event) => events.push(event), onLost }, { namespace: `/run/netns/${name}` }));
  const until = async (what: string, is: (event: XfrmEvent) => boolean): Promise<XfrmEvent> => {
    for (let waited = 0; waited < 20_000; waited += 50) {
      const found = events.find(is);
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return assert.fail(`never heard of ${what}, but of ${events.map(({ kind }) => kind).join(', ')}`);
  };
  return { events, until };
}

const known =
  (kind: 'encryption' | 'integrity') =>
  ({ id: number }: { readonly id: number }): boolean =>
    hasKernelName({ [kind]: number }) && (kind === 'encryption' || integrity(number)?.forEsp === true);

const octets = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => 17 * i + 1);
const id = ({ destination, spi, protocol }: NewState) => ({ destination, spi, protocol });
const compOf = ({ source, destination, spi, reqid }: NewState): NewState => ({
  source,
  destination,
  spi: spi & 0xffff,
  protocol: 'comp',
  mode: 'tunnel',
  reqid,
});

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOL_UDP = 17;
const UDP_ENCAP = 100;
const UDP_ENCAP_ESPINUDP = 2;
const LEFT = '10.77.0.1';
const RIGHT = '10.77.0.2';
const INNER = { left: '10.1.0.0/24', right: '10.2.0.0/24' };
const REQID = 77;
const OUT: NewState = { source: LEFT, destination: RIGHT, spi: 0xc0001001, protocol: 'esp', mode: 'tunnel', reqid: REQID };
const BACK: NewState = { source: RIGHT, destination: LEFT, spi: 0xc0001002, protocol: 'esp', mode: 'tunnel', reqid: REQID };
const SUITES: Readonly<Record<string, XfrmKeys>> = {
  'AES-GCM': { encryption: 20, encryptionKey: octets(20) },
  'AES-CBC with HMAC-SHA-256': { encryption: 12, encryptionKey: octets(32), integrity: 12, integrityKey: octets(32) },
  'ChaCha20-Poly1305': { encryption: 28, encryptionKey: octets(36) },
};
