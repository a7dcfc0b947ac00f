import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/core/bytes/index.ts';
import { spiOctets } from '../../src/core/ike/tasks/child-create.ts';
import { ExchangeType, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import {
  childPolicy,
  espProposal,
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectTrafficBothWays,
  type Packet,
  type Pair,
  type PairOptions,
  type Peer,
  pair,
  type SideOptions,
  subnet,
} from '../../src/testing/index.ts';
import { Insider } from './insider.ts';
import { A2, notify, roamers } from './roamers.ts';

const NAMES = ['net', 'one', 'two', 'three', 'four'];
const PROPOSALS = [espProposal('aes128gcm16-noesn')];

/** `net` and four more children, which nobody has made yet, and room for so many requests. */
function windowed(windowSize: number | { readonly a: number; readonly b: number }, options: PairOptions = {}): PairOptions {
  const sizes = typeof windowSize === 'number' ? { a: windowSize, b: windowSize } : windowSize;
  const side = (which: 'a' | 'b', own: SideOptions | undefined): SideOptions => {
    const children = NAMES.map((name, i) => {
      const [at, there] = which === 'a' ? [1, 2] : [2, 1];
      return childPolicy({
        name,
        proposals: PROPOSALS,
        localTs: [subnet(`10.${at}.${i}.0/24`)],
        remoteTs: [subnet(`10.${there}.${i}.0/24`)],
      });
    });
    return { ...own, connection: { windowSize: sizes[which], children, ...own?.connection } };
  };
  const { a, b, ...rest } = options;
  // one child comes with IKE_AUTH, the others when they are asked for
  return { ...rest, connection: { mobike: false, ...rest.connection }, a: side('a', a), b: side('b', b) };
}

/** Established with the child `net` alone. */
function open(windowSize: number | { readonly a: number; readonly b: number }, options: PairOptions = {}): Pair {
  const made = pair(windowed(windowSize, options));
  made.a.initiate('net', 'net');
  made.net.until(
    'establishment',
    () => made.a.plane.children.length > 0 && made.b.plane.children.length > 0 && made.a.openAsks + made.b.openAsks === 0,
  );
  made.net.settle();
  made.net.skip();
  return made;
}

const createAll = (peer: Peer, names = NAMES.slice(1)): void => {
  for (const name of names) peer.createChild(name);
};
const namesOf = (peer: Peer): string[] => peer.children.map(({ name }) => name).sort();
const unreadOf = ({ net }: Pair, from: string, kind: string) =>
  net.unread.filter((message) => message.from === from && message.summary.includes(kind));
/** Message ID and flag R of an IKE packet outside of UDP encapsulation. */
const idOf = ({ data }: Packet): number => new DataView(data.buffer, data.byteOffset).getUint32(20);
const isResponse = ({ data }: Packet): boolean => (data[19]! & 0x20) !== 0;
const isFrom = (packet: Packet, ip: string): boolean => packet.source.ip === ip;
const A = '192.0.2.1';
const B = '198.51.100.2';

function expectChildren({ net, a, b }: Pair, names: readonly string[] = NAMES): void {
  expect(namesOf(a)).toEqual([...names].sort());
  expect(namesOf(b)).toEqual([...names].sort());
  for (const name of names) expectTrafficBothWays(net, a, b, { child: name, packets: 1 });
  expectInvariants(net);
}

describe('SET_WINDOW_SIZE (RFC 7296 §2.3)', () => {
  test('is said in IKE_AUTH by both ends, and holds from then on', () => {
    const { net, a, b } = open({ a: 4, b: 7 });
    const auth = net.transcript.messages.filter(({ summary }) => summary.startsWith('IKE_AUTH'));
    expect(auth.map(({ text }) => /SET_WINDOW_SIZE (\d+)/.exec(text)?.[1])).toEqual(['4', '7']);
    // nobody has more under way than it takes itself
    expect(a.ikeSas[0]!.window).toEqual({ ours: 4, theirs: 4 });
    expect(b.ikeSas[0]!.window).toEqual({ ours: 4, theirs: 7 });
  });

  test('an end that says nothing is asked one thing at a time', () => {
    const made = open({ a: 4, b: 1 }, { link: { delay: 20 } });
    const { net, a } = made;
    expect(net.transcript.messages.filter(({ text }) => text.includes('SET_WINDOW_SIZE'))).toHaveLength(1);
    createAll(a);
    net.run(30);
    expect(unreadOf(made, 'a', 'request')).toHaveLength(1);
    net.settle();
    expectChildren(made);
  });

  test('without the setting nobody speaks of it', () => {
    const { net, a } = establishedPair();
    expect(net.transcript.messages.some(({ text }) => text.includes('SET_WINDOW_SIZE'))).toBe(false);
    expect(a.ikeSas[0]!.window).toBeUndefined();
  });

  test.each([
    ['no octets', new Uint8Array(0), undefined],
    ['three octets', Uint8Array.of(0, 0, 9), undefined],
    ['eight octets', Uint8Array.of(0, 0, 0, 9, 0, 0, 0, 9), undefined],
    ['nothing', Uint8Array.of(0, 0, 0, 0), undefined],
    ['less than before', Uint8Array.of(0, 0, 0, 1), undefined],
    ['more than anybody needs', Uint8Array.of(0xff, 0xff, 0xff, 0xff), 6],
  ])('a peer that speaks of %s in INFORMATIONAL', (_what, data, size) => {
    const { net, a, b } = open({ a: 3, b: 6 });
    b.inject(new Insider(a).request(ExchangeType.INFORMATIONAL, 2, [notify(NotifyType.SET_WINDOW_SIZE, data)]), { ip: A, port: 500 });
    net.run(10);
    expect(b.sent.at(-1)?.data[18]).toBe(ExchangeType.INFORMATIONAL);
    expect(b.ikeSas[0]!.window).toEqual({ ours: size ?? 3, theirs: 6 });
  });
});

describe('several requests under way (§2.3)', () => {
  test('as many as the window, and no more', () => {
    const made = open(3, { link: { delay: 20 } });
    createAll(made.a);
    made.net.run(30);
    expect(unreadOf(made, 'a', 'CREATE_CHILD_SA request')).toHaveLength(3);
    expect(unreadOf(made, 'b', 'response')).toHaveLength(3);
    made.net.settle();
    expectChildren(made);
    expect(made.a.heard('retransmit')).toEqual([]);
  });

  test('request X waits for the responses up to X − N, not for N responses', () => {
    const made = open(2);
    const { net, a } = made;
    const first = { id: -1, lost: 0 };
    net.internet.core.intercept((packet) => {
      if (!isFrom(packet, A) || isResponse(packet)) return undefined;
      if (first.id < 0) first.id = idOf(packet);
      return idOf(packet) === first.id && first.lost++ < 3 ? [] : undefined;
    });
    createAll(a);
    net.run(900);
    // the second was answered, and still the third has to wait
    expect(unreadOf(made, 'b', 'response')).toHaveLength(1);
    expect(unreadOf(made, 'a', 'request')).toHaveLength(2);
    net.settle();
    expectChildren(made);
    expect(new Set(a.heard('retransmit').map(({ messageId }) => messageId))).toEqual(new Set([first.id]));
  });

  test('they are taken in any order', () => {
    const made = open(4);
    const held: Packet[] = [];
    made.net.internet.core.intercept((packet) => {
      if (!isFrom(packet, A) || isResponse(packet) || held.includes(packet)) return undefined;
      held.push(packet);
      return held.length < 4 ? [] : [...held].reverse();
    });
    createAll(made.a);
    made.net.settle();
    expectChildren(made);
    expect(made.a.heard('retransmit')).toEqual([]);
    const answered = made.b.heard('exchange').filter(({ initiator }) => !initiator);
    expect(answered.slice(-4).map(({ messageId }) => messageId)).toEqual([5, 4, 3, 2]);
  });

  test('both ends at once, over a path that loses, doubles and reorders', () => {
    for (let seed = 1; seed <= 12; seed++) {
      const made = open(4, { seed, connection: { retransmission: { initial: 300, base: 1.4, giveUp: 60_000 } } });
      const { net, a, b } = made;
      for (const peer of [a, b]) peer.host.setLink({ loss: 0.15, duplicate: 0.15, delay: 10, jitter: 80 });
      createAll(a, ['one', 'two']);
      createAll(b, ['three', 'four']);
      a.checkLiveness();
      b.checkLiveness();
      net.settle();
      for (const peer of [a, b]) peer.host.setLink({ loss: 0, duplicate: 0, jitter: 0 });
      expectChildren(made);
    }
  });

  test('answers are kept for the whole window: all of them lost, all of them repeated, and nothing done twice', () => {
    const made = open(4);
    const { net, a, b } = made;
    const answers = new Map<number, Set<string>>();
    const lost = new Set<number>();
    net.internet.core.intercept((packet) => {
      if (!isFrom(packet, B) || !isResponse(packet)) return undefined;
      const id = idOf(packet);
      answers.set(id, (answers.get(id) ?? new Set()).add(toHex(packet.data)));
      return lost.size < 4 && !lost.has(id) && lost.add(id) ? [] : undefined;
    });
    createAll(a);
    net.settle();
    expect(lost.size).toBe(4);
    expect([...answers.values()].map(({ size }) => size)).toEqual([1, 1, 1, 1]);
    expect(b.heard('child-up')).toHaveLength(5);
    expectChildren(made);
  });

  test('what is beyond the window, or long answered, is dropped', () => {
    const { net, a, b } = open(4);
    const insider = new Insider(a);
    const ask = (id: number): number => {
      const before = b.sent.length;
      b.inject(insider.request(ExchangeType.INFORMATIONAL, id, []), { ip: A, port: 500 });
      net.run(10);
      return b.sent.length - before;
    };
    // the next is 2
    expect([6, 2 ** 32 - 1, 1, 0].map(ask)).toEqual([0, 0, 1, 0]);
    expect([5, 4, 3, 2].map(ask)).toEqual([1, 1, 1, 1]);
    // what was answered before the last four is forgotten
    expect([1, 0, 2, 5, 9, 10].map(ask)).toEqual([0, 0, 1, 1, 1, 0]);
    expect(b.drops['outside-window']).toBe(6);
    // 6, 7 and 8 are still to come, and 9 is not asked again of whoever decides
    expect([9, 6, 8, 7, 13].map(ask)).toEqual([1, 1, 1, 1, 1]);
    expect(b.endpoint.snapshot().ikeSas[0]!.answers.length).toBeLessThanOrEqual(4);
  });

  test('fragments of several messages come together side by side, and never more sets than the window', () => {
    const made = open(4, { connection: { fragmentation: 'force', fragmentSize: 110 } });
    const { net, a, b } = made;
    for (const peer of [a, b]) peer.host.setLink({ delay: 10, jitter: 40 });
    createAll(a);
    net.settle();
    for (const peer of [a, b]) peer.host.setLink({ jitter: 0 });
    expect(a.heard('retransmit')).toEqual([]);
    expect(net.unread.filter(({ datagrams }) => datagrams.length > 1).length).toBeGreaterThanOrEqual(8);
    expectChildren(made);
    expect(b.endpoint.load().fragmentOctets).toBe(0);
  });
});

describe('what stays serial', () => {
  test('rekeying the IKE SA waits for the end of all before it, and what comes after goes over the new one', () => {
    const made = open(4, { link: { delay: 20 } });
    const { net, a } = made;
    const old = a.ikeSas[0]!.id;
    createAll(a, ['one', 'two']);
    a.rekeyIke();
    createAll(a, ['three', 'four']);
    net.settle();
    expectChildren(made);
    const requests = unreadOf(made, 'a', 'request').map(({ text }) => /CREATE_CHILD_SA request (\d+)/.exec(text)?.[1]);
    // 2 and 3 the children, 4 the rekeying, then the Delete, and 0 and 1 on the new IKE SA in whatever order
    expect(requests.slice(0, 3)).toEqual(['2', '3', '4']);
    expect(requests.slice(3).sort()).toEqual(['0', '1', undefined].sort());
    expect(a.established.map(({ id }) => id)).not.toContain(old);
  });

  test('the window of the new IKE SA is one until it is said again, which the rekeying does', () => {
    for (const by of ['a', 'b'] as const) {
      const made = open({ a: 4, b: 3 });
      made[by].rekeyIke();
      made.net.settle();
      const rekeying = made.net.unread.filter(({ summary }) => summary.startsWith('CREATE_CHILD_SA'));
      expect(rekeying.map(({ text }) => text.includes('SET_WINDOW_SIZE'))).toEqual([true, true]);
      expect(made.a.ikeSas.find(({ state }) => state === 'established')!.window).toEqual({ ours: 3, theirs: 4 });
      expect(made.b.ikeSas.find(({ state }) => state === 'established')!.window).toEqual({ ours: 3, theirs: 3 });
    }
  });

  test('one child is rekeyed and deleted in turn, others meanwhile', () => {
    const made = open(4, { link: { delay: 20 } });
    const { net, a } = made;
    const child = a.plane.children[0]!.id;
    a.rekeyChild(child);
    a.deleteChild(child);
    a.createChild('one');
    net.run(10);
    expect(unreadOf(made, 'a', 'request').map(({ summary }) => summary.replace(/ request \d+/, ''))).toEqual([
      expect.stringContaining('N(REKEY_SA)'),
      expect.not.stringContaining('N(REKEY_SA)'),
    ]);
    net.settle();
    expectChildren(made, ['net', 'one']);
  });

  test('the Delete of the IKE SA is the last thing', () => {
    const { net, a, b } = open(4, { link: { delay: 20 } });
    createAll(a);
    a.checkLiveness();
    a.deleteIke();
    net.settle({ quiet: 60_000 });
    const last = net.unread.filter(({ from, summary }) => from === 'a' && summary.includes('request')).at(-1)!;
    expect(last.summary).toMatch(/INFORMATIONAL request 7 +\{ D \}/);
    expectNothingLeft(a, b);
    expect(a.heard('child-up')).toHaveLength(5);
  });

  test('the peer rekeys the IKE SA while children of ours are under way: it is told to wait (§2.25.2)', () => {
    const made = open(4, { link: { delay: 20 } });
    const { net, a, b } = made;
    createAll(a);
    net.run(5);
    b.rekeyIke();
    net.settle();
    expect(net.unread.some(({ summary }) => summary.includes('TEMPORARY_FAILURE'))).toBe(true);
    expectChildren(made);
    expect(a.ikeSas.filter(({ state }) => state === 'established')).toHaveLength(1);
  });

  test('the peer rekeys the IKE SA while questions of ours are under way: their answers come on the old one', () => {
    const made = open(4, { link: { delay: 20 } });
    const { net, a, b } = made;
    a.checkLiveness();
    net.run(5);
    b.rekeyIke();
    net.run(10);
    createAll(a);
    net.settle();
    expectChildren(made);
    expect(a.heard('retransmit')).toEqual([]);
  });

  test('a peer that rekeys one child twice at once is told to wait with the second', () => {
    const { net, a, b } = open(4);
    const insider = new Insider(a);
    b.fault({ ask: 'install', outcome: 'late', delay: 500 });
    const rekey = (spi: number): Payload[] => [
      { ...notify(NotifyType.REKEY_SA), protocol: 3, spi: spiOctets(a.plane.children[0]!.inbound.spi) } as Payload,
      { kind: 'SA', proposals: [{ ...PROPOSALS[0]!, spi: Uint8Array.of(0xc0, 0, 0, spi) }] },
      { kind: 'Nonce', data: new Uint8Array(32).fill(spi) },
      { kind: 'TSi', selectors: [subnet('10.1.0.0/24')] },
      { kind: 'TSr', selectors: [subnet('10.2.0.0/24')] },
    ];
    for (const id of [2, 3]) b.inject(insider.request(ExchangeType.CREATE_CHILD_SA, id, rekey(id)), { ip: A, port: 500 });
    net.run(2000);
    const answers = b.sent.slice(-2).map(({ data }) => insider.open(data)[0]!);
    expect(answers.map((p) => (p.kind === 'N' ? p.notify : p.kind))).toEqual([NotifyType.TEMPORARY_FAILURE, 'SA']);
  });

  test('a Delete overtakes the answer that makes its CHILD_SA: that is refused, and the IKE SA stands', () => {
    const { net, a, b } = open(2);
    const insider = new Insider(a);
    b.fault({ ask: 'install', outcome: 'late', delay: 500 });
    const create: Payload[] = [
      { kind: 'SA', proposals: [{ ...PROPOSALS[0]!, spi: Uint8Array.of(0xc0, 0, 0, 1) }] },
      { kind: 'Nonce', data: new Uint8Array(32) },
      { kind: 'TSi', selectors: [subnet('10.1.1.0/24')] },
      { kind: 'TSr', selectors: [subnet('10.2.1.0/24')] },
    ];
    b.inject(insider.request(ExchangeType.CREATE_CHILD_SA, 2, create), { ip: A, port: 500 });
    const its = { kind: 'D', protocol: 3, spis: [Uint8Array.of(0xc0, 0, 0, 1)] } as const;
    b.inject(insider.request(ExchangeType.INFORMATIONAL, 3, [its]), { ip: A, port: 500 });
    net.run(2000);
    const [refusal] = insider.open(b.sent.at(-1)!.data);
    expect(refusal?.kind === 'N' && refusal.notify).toBe(NotifyType.TEMPORARY_FAILURE);
    expect(b.ikeSas.map(({ state }) => state)).toEqual(['established']);
    expect(b.plane.children).toHaveLength(1);
  });
});

describe('what else meets several requests', () => {
  test.each(['a', 'b'] as const)('%s restarts from a snapshot while they are under way', (who) => {
    for (const wait of [0, 10, 25, 45, 65]) {
      const made = open(4, { link: { delay: 20 } });
      const { net, a, b } = made;
      createAll(a);
      net.run(wait);
      made[who].restart('snapshot');
      net.settle({ quiet: 120_000 });
      for (const peer of [a, b]) expect(peer.established).toHaveLength(1);
      expect(made[who].ikeSas[0]!.window).toEqual({ ours: 4, theirs: 4 });
      // what the restart has cut off is made anew
      createAll(
        a,
        NAMES.filter((name) => !namesOf(a).includes(name)),
      );
      net.settle({ quiet: 120_000 });
      expectChildren(made);
    }
  });

  test('a snapshot between two answers: the ids that may have been used are all asked again before anything else', () => {
    const made = open(4);
    const { net, a } = made;
    let answered = 0;
    const stop = net.internet.core.intercept((packet) => (isFrom(packet, B) && isResponse(packet) && answered++ !== 1 ? [] : undefined));
    createAll(a);
    net.run(100);
    const { nextRequest, underWay } = a.snapshot().ikeSas[0]!;
    expect([nextRequest, underWay]).toEqual([2, 4]);
    stop?.();
    answered = Number.NEGATIVE_INFINITY;
    a.restart('snapshot');
    net.settle({ quiet: 120_000 });
    expect(a.established).toHaveLength(1);
    expect(made.b.established).toHaveLength(1);
    expect(namesOf(made.b)).toEqual(namesOf(a));
  });

  test('an address changes: all that is under way goes out over the new path at once (RFC 4555 §3.5)', () => {
    const made = roamers({ ...windowed(4, { link: { delay: 20 } }), connection: { mobike: true } });
    const { net, a } = made;
    const before = new Set(namesOf(a));
    const wanted = NAMES.filter((name) => !before.has(name));
    for (const child of a.children) if (child.name !== 'net') a.deleteChild(child.id);
    net.run(2000);
    net.skip();
    createAll(a, NAMES.slice(1));
    net.run(5);
    const sent = a.sent.length;
    a.host.move(net.internet.core, [A2]);
    const again = a.sent.slice(sent).map(({ data, local }) => [local.ip, data[18]]);
    expect(wanted.length + again.length).toBeGreaterThan(0);
    expect(again.filter(([ip, exchange]) => ip === A2 && exchange === ExchangeType.CREATE_CHILD_SA)).toHaveLength(4);
    net.run(20_000);
    expectChildren(made);
  });

  test('an UPDATE_SA_ADDRESSES that a newer one has overtaken is answered, and moves nothing (RFC 4555 §3.5)', () => {
    const made = roamers({ ...windowed(4), connection: { mobike: true } });
    const { net, a, b } = made;
    const insider = new Insider(a);
    const next = b.snapshot().ikeSas[0]!.nextExpected;
    const update = [notify(NotifyType.UPDATE_SA_ADDRESSES)];
    const from = (id: number, ip: string): void =>
      b.inject(insider.request(ExchangeType.INFORMATIONAL, id, update), { ip, port: 4500 }, true);
    from(next + 1, A2);
    net.run(10);
    expect(b.ikeSas[0]!.remote.ip).toBe(A2);
    const before = b.sent.length;
    from(next, '203.0.113.66');
    net.run(10);
    expect(b.sent.length).toBeGreaterThan(before);
    expect(b.ikeSas[0]!.remote.ip).toBe(A2);
  });

  test('behind a NAT, a request that a newer one has overtaken moves nobody', () => {
    const made = open(4, { nat: {} });
    const { net, a, b } = made;
    const insider = new Insider(a);
    const ask = (id: number, port: number): void => b.inject(insider.request(ExchangeType.INFORMATIONAL, id, []), { ip: A, port }, true);
    ask(3, 40_001);
    net.run(10);
    expect(b.ikeSas[0]!.remote.port).toBe(40_001);
    ask(2, 40_002);
    net.run(10);
    expect(b.ikeSas[0]!.remote.port).toBe(40_001);
    expect(b.ikeSas[0]!.window).toEqual({ ours: 4, theirs: 4 });
  });
});
