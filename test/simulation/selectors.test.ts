import { describe, expect, test } from 'vitest';
import { concat, parseIp } from '../../src/core/bytes/index.ts';
import type { ChildPolicy } from '../../src/core/ike/index.ts';
import {
  type AddressRangeSelector,
  ExchangeType,
  formatSelector,
  IpProtocol,
  NotifyType,
  type Payload,
  type TrafficSelector,
} from '../../src/core/wire/index.ts';
import {
  childPolicy,
  espProposal,
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  type Pair,
  type Peer,
  pair,
  subnet,
} from '../../src/testing/index.ts';
import { Insider } from './insider.ts';

const [NETWORK_A, NETWORK_B] = [subnet('10.1.0.0/24'), subnet('10.2.0.0/24')];
const service = (ts: AddressRangeSelector, protocol: number, startPort: number, endPort = startPort): AddressRangeSelector => ({
  ...ts,
  protocol,
  startPort,
  endPort,
});
const range = (first: string, last: string): AddressRangeSelector => ({ ...subnet(first), end: parseIp(last) });
const SSH = service(NETWORK_B, IpProtocol.TCP, 22);

const texts = (peer: Peer) => peer.plane.children.map(({ spec }) => [spec.localTs.map(formatSelector), spec.remoteTs.map(formatSelector)]);
const summaries = ({ net }: Pair) => net.transcript.messages.map((message) => message.summary);
const hadNotify = (world: Pair, name: string) => summaries(world).some((summary) => summary.includes(name));

/** What `a` asks for and what `b` allows, from the sides of either. */
function asks(a: Partial<ChildPolicy>, b: Partial<ChildPolicy>, others: readonly ChildPolicy[] = []): Pair {
  const made = pair({
    a: { child: a },
    b: { connection: { children: [childPolicy({ localTs: [NETWORK_B], remoteTs: [NETWORK_A], ...b }), ...others] } },
  });
  made.a.initiate();
  made.net.settle({ quiet: 120_000 });
  return made;
}

describe('a responder that allows one port of what is asked for (RFC 7296 §2.9)', () => {
  test('D38 an initiator that does not allow narrowing rejects the child and deletes it', () => {
    const world = asks({ narrow: false }, { localTs: [SSH] });
    const { net, a, b } = world;
    expect(a.heard('child-up')).toEqual([]);
    expect(b.heard('child-up')).toHaveLength(1);
    expect(summaries(world).filter((summary) => /^INFORMATIONAL request .*D/.test(summary))).toHaveLength(1);
    const { error } = a.heard('failed')[0]!;
    expect(error).toMatchObject({ code: 'TS_UNACCEPTABLE', hint: expect.stringContaining('set narrow: yes for net') });
    expect(error.message).toContain('10.2.0.0/24[tcp/22]');
    expectNothingLeft(a, b);
    expectInvariants(net);
  });

  test('D38 in CREATE_CHILD_SA the child alone goes, the IKE SA and its first child stay', () => {
    const first = childPolicy();
    const second = childPolicy({ name: 'all', narrow: false, remoteTs: [subnet('10.3.0.0/24')] });
    const mirrored = [
      childPolicy({ localTs: [NETWORK_B], remoteTs: [NETWORK_A] }),
      childPolicy({ name: 'ssh', localTs: [service(subnet('10.3.0.0/24'), IpProtocol.TCP, 22)], remoteTs: [NETWORK_A] }),
    ];
    const { net, a, b } = pair({ a: { connection: { children: [first, second] } }, b: { connection: { children: mirrored } } });
    a.initiate(undefined, 'net');
    net.settle();
    net.skip();
    a.createChild('all');
    net.chart(`
      a → b  CREATE_CHILD_SA request { SA, Ni, KEi, TSi, TSr }
      b → a  CREATE_CHILD_SA response { SA, Nr, KEr, TSi, TSr }
      a → b  INFORMATIONAL request { D }
      b → a  INFORMATIONAL response { D }
    `);
    net.settle();
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('D39 one that allows it installs the narrowed selectors, and so do both ends', () => {
    const { net, a, b } = asks({}, { localTs: [SSH] });
    expect(texts(a)).toEqual([[['10.1.0.0/24'], ['10.2.0.0/24[tcp/22]']]]);
    expect(texts(b)).toEqual([[['10.2.0.0/24[tcp/22]'], ['10.1.0.0/24']]]);
    expectTrafficBothWays(net, a, b);
    a.rekeyChild();
    net.settle();
    expect(texts(a)).toEqual([[['10.1.0.0/24'], ['10.2.0.0/24[tcp/22]']]]);
    expectInvariants(net);
  });

  test('a responder that does not narrow refuses what it would have to narrow', () => {
    const world = asks({}, { localTs: [SSH], narrow: false });
    expect(hadNotify(world, 'TS_UNACCEPTABLE')).toBe(true);
    expect(world.b.heard('failed')[0]!.error.message).toContain('narrow: no');
    expectNothingLeft(world.a, world.b);
  });

  test('equal selectors pass where neither narrows, also cut into other pieces', () => {
    const halves = [range('10.2.0.0', '10.2.0.99'), range('10.2.0.100', '10.2.0.255')];
    const { net, a, b } = asks({ narrow: false }, { narrow: false, localTs: halves });
    expect(texts(a)[0]![1]).toEqual(halves.map(formatSelector));
    expectTrafficBothWays(net, a, b);
    for (const peer of [a, b]) peer.rekeyChild();
    net.settle({ quiet: 60_000 });
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test('an address that is lent is no narrowing', () => {
    const { net, a, b } = pair({
      a: {
        connection: { virtualIps: ['0.0.0.0', '::'] },
        child: { narrow: false, localTs: ['dynamic'], remoteTs: [subnet('0.0.0.0/0'), subnet('::/0')] },
      },
      b: {
        pool: ['10.66.0.2'],
        connection: { pools: ['inner'] },
        child: { narrow: false, localTs: [subnet('0.0.0.0/0'), subnet('::/0')], remoteTs: ['dynamic'] },
      },
    });
    a.initiate();
    net.settle();
    expect(texts(a)[0]![0]).toEqual(['10.66.0.2']);
    expectTrafficBothWays(net, a, b);
  });
});

describe('ADDITIONAL_TS_POSSIBLE (RFC 7296 §2.9)', () => {
  const wide = { remoteTs: [subnet('10.2.0.0/16')] };

  test('told where another child of the responder would take more', () => {
    const other = childPolicy({ name: 'other', localTs: [subnet('10.2.7.0/24')], remoteTs: [NETWORK_A] });
    const world = asks(wide, {}, [other]);
    expect(hadNotify(world, 'ADDITIONAL_TS_POSSIBLE')).toBe(true);
    expect(texts(world.a)).toEqual([[['10.1.0.0/24'], ['10.2.0.0/24']]]);
    expectTrafficBothWays(world.net, world.a, world.b);
  });

  test.each([
    ['the rest is not allowed at all', wide, []],
    ['one child takes every range', wide, [], [NETWORK_B, subnet('10.2.7.0/24')]],
    ['nothing was narrowed', {}, [childPolicy({ name: 'other', localTs: [subnet('10.2.7.0/24')], remoteTs: [NETWORK_A] })]],
    ['the other child holds nothing more', wide, [childPolicy({ name: 'part', localTs: [subnet('10.2.0.0/28')], remoteTs: [NETWORK_A] })]],
  ] as const)('not told where %s', (_why, asked, others, localTs: readonly TrafficSelector[] = [NETWORK_B]) => {
    const world = asks(asked, { localTs }, others);
    expect(hadNotify(world, 'ADDITIONAL_TS_POSSIBLE')).toBe(false);
    expectOneChild(world.a, world.b);
  });
});

describe('the first selectors of a request are the packet that waits (RFC 7296 §2.9)', () => {
  test('of two children that would narrow, the one that takes them serves', () => {
    const packet = service(subnet('10.2.7.9'), IpProtocol.TCP, 443);
    const other = childPolicy({ name: 'other', localTs: [subnet('10.2.7.0/24')], remoteTs: [NETWORK_A] });
    const asked = { localTs: [subnet('10.1.0.5'), NETWORK_A], remoteTs: [packet, subnet('10.2.0.0/16')] };
    const world = asks(asked, {}, [other]);
    expect(texts(world.a)[0]![1]).toEqual(['10.2.7.0/24']);
    expect(hadNotify(world, 'ADDITIONAL_TS_POSSIBLE')).toBe(true);
  });
});

describe('SINGLE_PAIR_REQUIRED (RFC 7296 §2.9)', () => {
  test('a request for networks is refused so, and repeated for the pair that can be meant', () => {
    const single = { singlePair: true, localTs: [subnet('198.51.100.0/24')], remoteTs: [subnet('192.0.2.0/24')] };
    const world = asks({ localTs: [subnet('192.0.2.0/24')], remoteTs: [subnet('198.51.100.0/24')] }, single);
    const { net, a, b } = world;
    expect(hadNotify(world, 'SINGLE_PAIR_REQUIRED')).toBe(true);
    expect(texts(a)).toEqual([[['192.0.2.1'], ['198.51.100.2']]]);
    expect(texts(b)).toEqual([[['198.51.100.2'], ['192.0.2.1']]]);
    expectTrafficBothWays(net, a, b);
    a.rekeyChild();
    net.settle();
    expect(texts(a)).toEqual([[['192.0.2.1'], ['198.51.100.2']]]);
    expectInvariants(net);
  });

  test('in CREATE_CHILD_SA it is repeated once', () => {
    const { net, a } = pair({
      connection: { childless: 'force' },
      a: { child: { localTs: [subnet('192.0.2.0/24')], remoteTs: [subnet('198.51.100.0/24')] } },
      b: { child: { singlePair: true, localTs: [subnet('198.51.100.0/24')], remoteTs: [subnet('192.0.2.0/24')] } },
    });
    a.initiate();
    net.settle();
    const requests = net.transcript.messages.filter((message) => message.summary.startsWith('CREATE_CHILD_SA request'));
    expect(requests).toHaveLength(2);
    expect(texts(a)).toEqual([[['192.0.2.1'], ['198.51.100.2']]]);
  });

  test('a peer that refuses the pair as well is not asked for ever', () => {
    const children = [
      childPolicy(),
      childPolicy({ name: 'more', localTs: [subnet('192.0.2.0/24')], remoteTs: [subnet('198.51.100.0/24')] }),
    ];
    const { net, a, b } = pair({ a: { connection: { children } } });
    a.initiate(undefined, 'net');
    net.settle();
    const insider = new Insider(a, 'responder');
    const refusal: Payload = {
      kind: 'N',
      notify: NotifyType.SINGLE_PAIR_REQUIRED,
      protocol: 0,
      spi: new Uint8Array(0),
      data: new Uint8Array(0),
    };
    let refused = 0;
    net.internet.core.intercept((packet) => {
      if (packet.source.ip !== '198.51.100.2' || packet.data[18] !== ExchangeType.CREATE_CHILD_SA) return undefined;
      refused++;
      const flags = { initiator: false, response: true, version: false };
      return [{ ...packet, data: insider.request(ExchangeType.CREATE_CHILD_SA, packet.data[23]!, [refusal], { flags }) }];
    });
    a.createChild('more');
    net.settle({ quiet: 120_000 });
    expect(refused).toBe(2);
    expect(a.heard('failed')[0]!.error.code).toBe('PEER_SINGLE_PAIR_REQUIRED');
    expectTrafficBothWays(net, a, b);
  });

  test('where no pair can be meant the connection fails with what to do', () => {
    const world = asks({}, { singlePair: true });
    expect(world.a.heard('failed')[0]!.error).toMatchObject({
      code: 'PEER_SINGLE_PAIR_REQUIRED',
      hint: 'Configure narrower traffic selectors.',
    });
    expectNothingLeft(world.a, world.b);
  });

  test('a request that begins with a pair gets that pair, and hears that more is possible', () => {
    const asked = { localTs: [subnet('10.1.0.5'), NETWORK_A], remoteTs: [subnet('10.2.0.9'), NETWORK_B] };
    const world = asks(asked, { singlePair: true });
    expect(texts(world.a)).toEqual([[['10.1.0.5'], ['10.2.0.9']]]);
    expect(hadNotify(world, 'ADDITIONAL_TS_POSSIBLE')).toBe(true);
    expectTrafficBothWays(world.net, world.a, world.b);
  });
});

describe('selectors of every shape', () => {
  const OPAQUE = { startPort: 65_535, endPort: 0 };
  const icmp = (ts: AddressRangeSelector, type: number, code?: number) =>
    service(ts, IpProtocol.ICMP, (type << 8) | (code ?? 0), (type << 8) | (code ?? 0xff));
  const v6 = (text: string) => subnet(text);

  const shapes: readonly [
    what: string,
    asked: readonly AddressRangeSelector[],
    allowed: readonly AddressRangeSelector[],
    made: readonly string[],
  ][] = [
    ['ranges that are no prefixes', [range('10.2.0.3', '10.2.0.77')], [range('10.2.0.50', '10.2.1.9')], ['10.2.0.50-10.2.0.77']],
    ['a protocol out of any', [NETWORK_B], [service(NETWORK_B, IpProtocol.UDP, 0, 65_535)], ['10.2.0.0/24[udp]']],
    ['ranges of ports', [service(NETWORK_B, 17, 1000, 2000)], [service(NETWORK_B, 17, 1500, 9000)], ['10.2.0.0/24[udp/1500-2000]']],
    ['port 0 alone', [service(NETWORK_B, 6, 0)], [NETWORK_B], ['10.2.0.0/24[tcp/0]']],
    ['a type of ICMP with every code', [icmp(NETWORK_B, 3)], [NETWORK_B], ['10.2.0.0/24[icmp/3]']],
    ['type and code of ICMP within a type', [icmp(NETWORK_B, 3, 4)], [icmp(NETWORK_B, 3)], ['10.2.0.0/24[icmp/3(4)]']],
    ['OPAQUE ports out of any', [{ ...NETWORK_B, protocol: 135, ...OPAQUE }], [NETWORK_B], ['10.2.0.0/24[mh/OPAQUE]']],
    [
      'OPAQUE ports as such',
      [{ ...NETWORK_B, protocol: 6, ...OPAQUE }],
      [{ ...NETWORK_B, protocol: 6, ...OPAQUE }],
      ['10.2.0.0/24[tcp/OPAQUE]'],
    ],
    ['two families where one is allowed', [NETWORK_B, v6('2001:db8:2::/64')], [NETWORK_B], ['10.2.0.0/24']],
    [
      'several of each',
      [service(NETWORK_B, 6, 80), service(NETWORK_B, 17, 53), v6('2001:db8:2::/64')],
      [NETWORK_B, v6('2001:db8::/32')],
      ['10.2.0.0/24[tcp/80]', '10.2.0.0/24[udp/53]', '2001:db8:2::/64'],
    ],
  ];

  test.each(shapes)('%s', (_what, asked, allowed, made) => {
    const sides = [NETWORK_A, v6('2001:db8:1::/64')];
    const { net, a, b } = asks({ localTs: sides, remoteTs: asked }, { localTs: allowed, remoteTs: sides });
    expect(texts(a)[0]![1]).toEqual(made);
    expect(texts(b)[0]![0]).toEqual(made);
    expectTrafficBothWays(net, a, b);
    a.rekeyChild();
    net.settle();
    expect(texts(b)[0]![0]).toEqual(made);
    expectInvariants(net);
  });

  test.each([
    ['another code', [icmp(NETWORK_B, 3, 4)], [icmp(NETWORK_B, 3, 1)]],
    ['OPAQUE against ports', [{ ...NETWORK_B, protocol: 6, ...OPAQUE }], [service(NETWORK_B, 6, 1, 1024)]],
    ['another family', [v6('2001:db8:2::/64')], [NETWORK_B]],
  ])('%s have nothing in common', (_what, asked, allowed) => {
    const world = asks({ remoteTs: asked, localTs: [NETWORK_A, v6('2001:db8:1::/64')] }, { localTs: allowed });
    expect(hadNotify(world, 'TS_UNACCEPTABLE')).toBe(true);
    expectNothingLeft(world.a, world.b);
  });
});

describe('requests that no honest peer makes', () => {
  function ask(selectors: readonly TrafficSelector[]): { readonly world: Pair; readonly answer: readonly Payload[] } {
    const world = establishedPair({ connection: { fragmentation: 'no' }, child: { proposals: [espProposal('aes128gcm16-noesn')] } });
    const { net, a, b } = world;
    const insider = new Insider(a);
    const request = insider.request(ExchangeType.CREATE_CHILD_SA, 2, [
      { kind: 'SA', proposals: [{ ...espProposal('aes128gcm16-noesn'), spi: Uint8Array.of(0xc0, 0, 0, 9) }] },
      { kind: 'Nonce', data: new Uint8Array(32).fill(7) },
      { kind: 'TSi', selectors: [NETWORK_A] },
      { kind: 'TSr', selectors },
    ]);
    const before = b.sent.length;
    b.inject(request, { ip: '192.0.2.1', port: 500 });
    net.run(10);
    const answer = b.sent[before];
    return { world, answer: answer === undefined ? [] : insider.open(concat(answer.data)) };
  }
  const notifies = (payloads: readonly Payload[]) => payloads.flatMap((payload) => (payload.kind === 'N' ? [payload.notify] : []));

  test.each([
    ['a range that ends before it begins', [range('10.2.0.9', '10.2.0.1')]],
    ['ports that end before they begin, and are not OPAQUE', [service(NETWORK_B, 6, 90, 80)]],
    ['a type that nobody knows', [{ type: 200, raw: new Uint8Array(12) } as TrafficSelector]],
  ])('%s: TS_UNACCEPTABLE or INVALID_SYNTAX, and no child', (_what, selectors) => {
    const { world, answer } = ask(selectors);
    expect([NotifyType.TS_UNACCEPTABLE, NotifyType.INVALID_SYNTAX]).toContain(notifies(answer)[0]);
    expect(world.b.plane.children).toHaveLength(1);
  });

  test('255 selectors are answered in bounded time, with no more than 255', () => {
    const many = Array.from({ length: 255 }, (_, i) => service(subnet(`10.2.0.${i}`), 6, i, 65_535 - i));
    const { world, answer } = ask(many);
    expect(answer.flatMap((payload) => (payload.kind === 'TSr' ? payload.selectors : []))).toHaveLength(255);
    expect(world.b.plane.children).toHaveLength(2);
  });
});
