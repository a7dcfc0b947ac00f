import { describe, expect, test } from 'vitest';
import { Writer } from '../../src/core/bytes/index.ts';
import { ExchangeType, type NotifyPayload, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import {
  espProposal,
  establishedPair,
  expectInvariants,
  expectOneChild,
  expectTrafficBothWays,
  ikeProposal,
  type Packet,
  type Pair,
  type PairOptions,
  type Peer,
} from '../../src/testing/index.ts';
import { Insider } from './insider.ts';

const A = { ip: '192.0.2.1', port: 500 };
const B = '198.51.100.2';
const REQUEST = 'INFORMATIONAL request { N(IKEV2_MESSAGE_ID_SYNC), N(IPSEC_REPLAY_COUNTER_SYNC) }';
const RESPONSE = 'INFORMATIONAL response { N(IKEV2_MESSAGE_ID_SYNC) }';

/** The client `a` and the cluster `b`, of which the member that takes over has what `b` knew at some time. */
const cluster = (options: PairOptions = {}): Pair =>
  establishedPair({ ...options, connection: { counterSync: true, ...options.connection } });

/** Both ends do something that the snapshot does not know of. */
function live({ net, a, b }: Pair, exchanges = 3): void {
  for (let i = 0; i < exchanges; i++) {
    a.checkLiveness();
    net.run(100);
    b.checkLiveness();
    net.run(100);
    a.sendTraffic(new Uint8Array(60));
    b.sendTraffic(new Uint8Array(60));
    net.run(100);
  }
}

function expectWhole({ net, a, b }: Pair, ikeSa: Uint8Array): void {
  net.settle({ quiet: 60_000 });
  expect(
    [a, b].map((peer) => peer.established.map(({ spiI }) => spiI)),
    net.describe(),
  ).toEqual([[ikeSa], [ikeSa]]);
  expectOneChild(a, b);
  expectTrafficBothWays(net, a, b);
  expectInvariants(net);
}

const synchronisation = (nonce: number, send: number, receive: number): NotifyPayload =>
  status(NotifyType.IKEV2_MESSAGE_ID_SYNC, new Writer(12).u32(nonce).u32(send).u32(receive).finish());
const status = (notify: number, data: Uint8Array): NotifyPayload => ({ kind: 'N', notify, protocol: 0, spi: new Uint8Array(0), data });

/** What `insider` gets for a synchronisation in the name of `b`: [EXPECTED_SEND, EXPECTED_RECV], or nothing. */
function asked(net: Pair['net'], a: Peer, payloads: readonly Payload[], messageId = 0): readonly number[] | undefined {
  const insider = new Insider(a, 'responder');
  const before = a.sent.length;
  a.inject(insider.request(ExchangeType.INFORMATIONAL, messageId, payloads), { ip: B, port: 500 });
  net.run(50);
  const [answer] = a.sent.slice(before);
  const found = answer && insider.open(answer.data.slice()).find((p): p is NotifyPayload => p.kind === 'N');
  if (found?.notify !== NotifyType.IKEV2_MESSAGE_ID_SYNC) return undefined;
  const view = new DataView(found.data.buffer, found.data.byteOffset, found.data.length);
  return [view.getUint32(4), view.getUint32(8)];
}

const droppedAs = (peer: Peer): string[] => peer.heard('drop').map(({ cause }) => cause);
const isSync = ({ data }: Packet): boolean =>
  data[18] === ExchangeType.INFORMATIONAL && data.subarray(20, 24).every((octet) => octet === 0);

describe('synchronising counters (RFC 6311)', () => {
  test.each([
    ['both', { a: true, b: true }, { messageIds: true, replayCounters: true }],
    ['the initiator alone', { a: true, b: false }, undefined],
    ['the responder alone', { a: false, b: true }, undefined],
  ])('is agreed to where both ends announce it: %s (§5)', (_, { a: mine, b: theirs }, agreed) => {
    const { net, a, b } = establishedPair({ a: { connection: { counterSync: mine } }, b: { connection: { counterSync: theirs } } });
    expect([a, b].map((peer) => peer.ikeSas[0]!.counterSync)).toEqual([agreed, agreed]);
    const said = net.transcript.messages.filter(({ summary }) => summary.includes('SYNC_SUPPORTED'));
    expect(said.map(({ from }) => from)).toEqual([...(mine ? ['a'] : []), ...(agreed ? ['b'] : [])]);
    a.rekeyIke();
    net.settle();
    expect([a, b].map((peer) => peer.established[0]!.counterSync)).toEqual([agreed, agreed]);
  });

  test('a member with a stale snapshot asks first of all, and goes on with what stands', () => {
    const made = cluster();
    const { net, a, b } = made;
    const { spiI } = a.ikeSas[0]!;
    const stale = b.snapshot();
    live(made);
    net.skip();
    b.restart(stale);
    net.chart(`
      b → a  ${REQUEST}
      a → b  ${RESPONSE}
    `);
    for (const peer of [a, b]) {
      peer.checkLiveness();
      net.run(200);
    }
    expect([a, b].map((peer) => peer.heard('synchronised').map(({ byUs }) => byUs))).toEqual([[false], [true]]);
    expect([a, b].flatMap((peer) => peer.heard('retransmit'))).toEqual([]);
    expectWhole(made, spiI);
  });

  test('without it the same snapshot costs the IKE SA', () => {
    const made = establishedPair({ connection: { retransmission: { initial: 1000, base: 1.8, giveUp: 20_000 } } });
    const stale = made.b.snapshot();
    live(made);
    made.b.restart(stale);
    made.a.checkLiveness();
    made.net.run(30_000);
    expect(made.a.established).toEqual([]);
  });

  test.each([0.1, 0.3])('under load, with a loss of %s, again and again from one old snapshot, at either end', (loss) => {
    const made = cluster({ link: { delay: 20 } });
    const { net, a, b } = made;
    const { spiI } = a.ikeSas[0]!;
    const old = { a: a.snapshot(), b: b.snapshot() };
    for (const peer of [a, b]) peer.host.setLink({ delay: 20, loss });
    for (const end of ['b', 'a', 'b', 'b', 'a'] as const) {
      live(made, 4);
      (end === 'a' ? a : b).checkLiveness();
      (end === 'a' ? b : a).checkLiveness();
      net.run(10);
      (end === 'a' ? a : b).restart(old[end]);
      net.run(12_000);
    }
    for (const peer of [a, b]) peer.host.setLink({ delay: 20, loss: 0 });
    net.run(60_000);
    expect([a, b].flatMap((peer) => peer.heard('ike-down'))).toEqual([]);
    expect([a, b].map((peer) => peer.established.map((sa) => sa.spiI))).toEqual([[spiI], [spiI]]);
    for (const peer of [a, b]) peer.checkLiveness();
    expectWhole(made, spiI);
  });

  test('both ends take over at once, each with an old snapshot (§A.4)', () => {
    const made = cluster({ link: { delay: 20 } });
    const { net, a, b } = made;
    const { spiI } = a.ikeSas[0]!;
    const [oldA, oldB] = [a.snapshot(), b.snapshot()];
    live(made);
    net.skip();
    a.restart(oldA);
    b.restart(oldB);
    net.run(1000);
    expect(net.unread.map(({ from, summary }) => `${from} ${summary.replace(/ \d+ +/, ' ')}`).sort()).toEqual(
      [`a ${REQUEST}`, `a ${RESPONSE}`, `b ${REQUEST}`, `b ${RESPONSE}`].sort(),
    );
    live(made);
    expect([a, b].flatMap((peer) => peer.heard('retransmit'))).toEqual([]);
    expectWhole(made, spiI);
  });

  test('what the peer has under way goes out again with other Message IDs, and a rekeying is begun anew (§9)', () => {
    const made = cluster({ connection: { windowSize: 4 }, link: { delay: 20 } });
    const { net, a, b } = made;
    const { spiI } = a.ikeSas[0]!;
    const stale = b.snapshot();
    live(made);
    let down = true;
    net.internet.core.intercept(({ destination }) => (down && destination.ip === B ? [] : undefined));
    a.checkLiveness();
    a.rekeyChild();
    net.run(500);
    expect(a.endpoint.load().requests).toBe(2);
    down = false;
    b.restart(stale);
    net.run(100);
    expect(a.heard('failed')).toEqual([]);
    net.run(20_000);
    expect(a.heard('child-rekeyed')).toHaveLength(1);
    expectWhole(made, spiI);
  });

  test('the Delete of the peer reaches the member that took over', () => {
    const { net, a, b } = cluster({ link: { delay: 20 } });
    const stale = b.snapshot();
    let down = true;
    net.internet.core.intercept(({ destination }) => (down && destination.ip === B ? [] : undefined));
    a.deleteIke();
    net.run(500);
    down = false;
    b.restart(stale);
    net.run(2000);
    expect([a.ikeSas, b.ikeSas.filter(({ state }) => state !== 'lingering')]).toEqual([[], []]);
  });

  test('with nothing lost between snapshot and restart, and told so, nothing is synchronised', () => {
    const { net, a, b } = cluster();
    net.skip();
    b.restart(b.snapshot(), { exact: true });
    net.chart(`
      b → a  INFORMATIONAL request { }
      a → b  INFORMATIONAL response { }
    `);
    expect(a.heard('synchronised')).toEqual([]);
  });

  test.each([
    ['aes128gcm16-prfsha256-x25519', 'INFORMATIONAL request { }'],
    ['aes128-sha256-prfsha256-x25519', 'INFORMATIONAL request { N(IKEV2_MESSAGE_ID_SYNC) }'],
  ])('%s: a peer that agreed to Message IDs alone may not seal an answer with Message ID 0 under an AEAD', (words, asked) => {
    const { net, b } = cluster({ connection: { proposals: [ikeProposal(words)] } });
    const saved = b.snapshot();
    const sync = { messageIds: true, replayCounters: false, seen: -1 };
    net.skip();
    b.restart({ ...saved, ikeSas: saved.ikeSas.map((sa) => ({ ...sa, sync })) });
    net.chart(`
      b → a  ${asked}
    `);
  });

  test('a peer that has lost the IKE SA does not answer, and that is its end', () => {
    const { net, a, b } = cluster({ connection: { retransmission: { initial: 1000, base: 1.8, giveUp: 20_000 } } });
    const stale = b.snapshot();
    a.restart('nothing');
    b.restart(stale);
    net.run(60_000);
    expect(b.ikeSas).toEqual([]);
    expect(b.heard('ike-down').map(({ error }) => error?.code)).toEqual(['PEER_SILENT']);
  });
});

describe('what a peer takes for a synchronisation (RFC 6311 §5.1)', () => {
  test('the higher one of both numbers counts, on either side', () => {
    const { net, a, b } = cluster();
    b.checkLiveness();
    net.run(100);
    // a has sent 0 and 1 and received 0
    expect(asked(net, a, [synchronisation(1, 7, 1)])).toEqual([2, 7]);
    expect(asked(net, a, [synchronisation(2, 9, 20)])).toEqual([20, 9]);
    expect(asked(net, a, [synchronisation(3, 10, 3)])).toEqual([20, 10]);
  });

  test.each([
    ['an M1 that the peer has seen in a request', [synchronisation(1, 0, 2)]],
    ['an M1 of a synchronisation before', [synchronisation(1, 50, 2)]],
    ['a lower one', [synchronisation(1, 49, 2)]],
    ['no numbers', [status(NotifyType.IKEV2_MESSAGE_ID_SYNC, new Uint8Array(8))]],
    ['another payload beside', [synchronisation(1, 60, 2), status(NotifyType.INITIAL_CONTACT, new Uint8Array(0))]],
  ])('%s is dropped in silence', (_, payloads) => {
    const { net, a, b } = cluster();
    b.checkLiveness();
    net.run(100);
    expect(asked(net, a, [synchronisation(9, 50, 2)])).toEqual([2, 50]);
    const dropped = droppedAs(a).length;
    expect(asked(net, a, payloads)).toBeUndefined();
    expect(droppedAs(a).slice(dropped)).toEqual(['not-synchronising']);
    expect(a.heard('synchronised')).toHaveLength(1);
  });

  test('without its Message ID 0, or without the agreement, it is a question like any other', () => {
    const { net, a } = cluster();
    expect(asked(net, a, [synchronisation(1, 50, 2)], 1)).toBeUndefined();
    expect(a.heard('synchronised')).toEqual([]);
    const other = establishedPair();
    other.b.checkLiveness();
    other.net.run(100);
    expect(asked(other.net, other.a, [synchronisation(1, 50, 2)])).toBeUndefined();
    expect(other.a.heard('synchronised')).toEqual([]);
  });

  test('an attacker who replays requests and answers of an earlier takeover changes nothing (§11)', () => {
    const made = cluster();
    const { net, a, b } = made;
    const { spiI } = a.ikeSas[0]!;
    const stale = b.snapshot();
    const recorded: Packet[] = [];
    live(made);
    const stop = net.internet.core.intercept((packet) => {
      if (isSync(packet)) recorded.push({ ...packet, data: packet.data.slice() });
      return undefined;
    });
    b.restart(stale);
    live(made);
    expect(recorded).toHaveLength(2);
    stop();
    const replay = () => {
      for (const { source, destination, data } of recorded) (destination.ip === B ? b : a).inject(data.slice(), source);
    };
    replay();
    net.run(200);
    expect([a, b].map((peer) => peer.heard('synchronised').length)).toEqual([1, 1]);
    // while the next takeover waits for its answer, the answer of the first one is none
    let down = true;
    net.internet.core.intercept(({ source }) => (down && source.ip === A.ip ? [] : undefined));
    b.restart(stale);
    replay();
    net.run(300);
    expect(b.heard('synchronised')).toHaveLength(1);
    down = false;
    net.run(10_000);
    expect(b.heard('synchronised')).toHaveLength(2);
    live(made);
    expectWhole(made, spiI);
  });
});

describe('what a member takes that has just taken over (RFC 6311 §5.1, §8.1)', () => {
  /** It has asked, and no answer gets through to it. */
  function asking(): Pair & { readonly let: () => void } {
    const made = cluster();
    let down = true;
    made.net.internet.core.intercept(({ source, data }) => (down && source.ip === A.ip && isSync({ data } as Packet) ? [] : undefined));
    made.b.restart('snapshot');
    made.net.run(100);
    return {
      ...made,
      let: () => {
        down = false;
      },
    };
  }

  test('no answer with another nonce, or with anything beside the notify, whatever the numbers', () => {
    const { net, a, b, let: passes } = asking();
    const insider = new Insider(b);
    const request = b.sent.at(-1)!.data.slice();
    const own = insider.open(request)[0] as NotifyPayload;
    const nonce = new DataView(own.data.buffer, own.data.byteOffset, 4).getUint32(0);
    const header = { flags: { initiator: true, response: true, version: false } };
    const forged = [
      [synchronisation(nonce ^ 1, 1 << 20, 1 << 20)],
      [synchronisation(nonce, 1 << 20, 1 << 20), status(NotifyType.INITIAL_CONTACT, new Uint8Array(0))],
    ];
    for (const payloads of forged) b.inject(insider.request(ExchangeType.INFORMATIONAL, 0, payloads, header), A);
    net.run(100);
    expect(b.heard('synchronised')).toEqual([]);
    passes();
    net.run(20_000);
    expect(b.heard('synchronised')).toHaveLength(1);
    a.checkLiveness();
    net.run(200);
    expect(a.heard('retransmit')).toEqual([]);
  });

  test('no request until the numbers are agreed on', () => {
    const { net, a, b, let: passes } = asking();
    const answered = () =>
      net.transcript.messages.filter(({ from, summary }) => from === 'b' && summary.includes('INFORMATIONAL response')).length;
    const before = answered();
    a.checkLiveness();
    net.run(500);
    expect([answered() - before, droppedAs(b).includes('outside-window')]).toEqual([0, true]);
    passes();
    net.run(10_000);
    expect([answered() - before, a.endpoint.load().requests]).toEqual([1, 0]);
  });
});

describe('replay counters (RFC 6311 §5.2)', () => {
  test.each(['aes128gcm16-noesn', 'aes128gcm16-esn'])('%s: what was recorded before the takeover is not taken after it', (words) => {
    const made = cluster({ child: { proposals: [espProposal(words)] } });
    const { net, a, b } = made;
    const { spiI } = a.ikeSas[0]!;
    const stale = b.snapshot();
    const recorded: Packet[] = [];
    const stop = net.internet.core.intercept((packet) => {
      if (packet.protocol === 'esp' && packet.destination.ip === B) recorded.push({ ...packet, data: packet.data.slice() });
      return undefined;
    });
    live(made);
    stop();
    b.restart(stale);
    net.run(200);
    const before = b.plane.received.length;
    for (const packet of recorded) b.plane.receive({ ...packet, data: packet.data.slice() });
    expect([recorded.length, b.plane.received.length - before]).toEqual([3, 0]);
    expectTrafficBothWays(net, a, b);
    expectWhole(made, spiI);
  });

  test('without ESN a rekeying follows, also where the member does not begin one', () => {
    const { net, a } = cluster({ child: { proposals: [espProposal('aes128gcm16-noesn')] } });
    const skip = status(NotifyType.IPSEC_REPLAY_COUNTER_SYNC, new Writer(4).u32(2 ** 30).finish());
    expect(asked(net, a, [synchronisation(1, 5, 2), skip])).toEqual([2, 5]);
    net.run(40_000);
    expect(a.heard('child-rekeyed')).toEqual([]);
    net.run(60_000);
    expect(net.transcript.messages.some(({ from, summary }) => from === 'a' && summary.includes('N(REKEY_SA)'))).toBe(true);
  });

  test.each([
    ['with ESN eight octets count', 'aes128gcm16-esn', 8, true],
    ['and four do not', 'aes128gcm16-esn', 4, false],
    ['without ESN four count', 'aes128gcm16-noesn', 4, true],
    ['and eight do not', 'aes128gcm16-noesn', 8, false],
  ])('%s (§6.4); a message of its own may ask for it as well (§5)', (_, words, octets, counts) => {
    const { net, a, b } = cluster({ child: { proposals: [espProposal(words)] } });
    const data = new Uint8Array(octets);
    data[octets - 3] = 1;
    const before = a.plane.sendingChild()!.outbound.sequence;
    const insider = new Insider(a, 'responder');
    a.inject(insider.request(ExchangeType.INFORMATIONAL, 0, [status(NotifyType.IPSEC_REPLAY_COUNTER_SYNC, data)]), { ip: B, port: 500 });
    net.run(50);
    expect(a.plane.sendingChild()!.outbound.sequence - before).toBe(counts ? 65_536 : 0);
    a.sendTraffic(new Uint8Array(60));
    net.run(100);
    expect(b.plane.received).toHaveLength(1);
  });
});
