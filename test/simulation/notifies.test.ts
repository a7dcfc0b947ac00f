import { describe, expect, test } from 'vitest';
import { concat, fromHex, utf8 } from '../../src/core/bytes/index.ts';
import { ExchangeType, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import {
  espProposal,
  establishedPair,
  expectInvariants,
  expectTrafficBothWays,
  type PairOptions,
  pair,
  subnet,
} from '../../src/testing/index.ts';
import { Insider, RawInitiator } from './insider.ts';

const CHILD = { proposals: [espProposal('aes128gcm16-noesn')] };
const status = (notify: number, data: Uint8Array = new Uint8Array(0)): Payload => ({
  kind: 'N',
  notify,
  protocol: 0,
  spi: new Uint8Array(0),
  data,
});
const notifiesOf = (payloads: readonly Payload[]) => payloads.flatMap((payload) => (payload.kind === 'N' ? [payload.notify] : []));
const ofChild = (...notifies: readonly Payload[]): Payload[] => [
  ...notifies,
  { kind: 'SA', proposals: [{ ...CHILD.proposals[0]!, spi: Uint8Array.of(0xc0, 0, 0, 9) }] },
  { kind: 'Nonce', data: new Uint8Array(32).fill(7) },
  { kind: 'TSi', selectors: [subnet('10.1.0.0/24')] },
  { kind: 'TSr', selectors: [subnet('10.2.0.0/24')] },
];

/** A request in the name of `a`, what `b` answers, and what the log of `b` says of the request. */
function ask(payloads: readonly Payload[], ofB: PairOptions['b'] = {}) {
  const world = establishedPair({ child: CHILD, b: ofB });
  const { net, a, b } = world;
  const insider = new Insider(a);
  const [before, heard] = [b.sent.length, b.heard('message').length];
  b.inject(insider.request(ExchangeType.CREATE_CHILD_SA, 2, payloads), { ip: '192.0.2.1', port: 500 });
  net.run(10);
  const answer = b.sent[before];
  return {
    ...world,
    answer: answer === undefined ? [] : insider.open(concat(answer.data)),
    log: b
      .heard('message')
      .slice(heard)
      .filter((notice) => notice.direction === 'in')[0]!.text,
  };
}

describe('NON_FIRST_FRAGMENTS_ALSO (RFC 7296 §1.3.1)', () => {
  test.each([
    [true, true],
    [true, false],
    [false, true],
  ])('counts where both ends want it (initiator %s, responder %s), and is shown', (ours, theirs) => {
    const wanting = (laterFragments: boolean) => ({ child: { packets: { laterFragments } } });
    const { net, a, b } = establishedPair({ child: CHILD, a: wanting(ours), b: wanting(theirs) });
    const agreed = ours && theirs ? true : undefined;
    expect([a, b].map(({ plane }) => plane.children[0]!.spec.laterFragments)).toEqual([agreed, agreed]);
    expect(a.children[0]!.packets).toEqual(agreed ? ['later fragments'] : undefined);
    a.rekeyChild();
    net.settle();
    expect([a, b].map(({ plane }) => plane.children.map(({ spec }) => spec.laterFragments))).toEqual([[agreed], [agreed]]);
  });

  // RFC 4301 §7.3: who does not check fragments by their first one must not take them
  test('asked for where nobody wants it, it is left out of the answer, and the child is made all the same', () => {
    const { b, answer, log } = ask(ofChild(status(NotifyType.NON_FIRST_FRAGMENTS_ALSO)));
    expect(notifiesOf(answer)).toEqual([]);
    expect(answer.map(({ kind }) => kind)).toEqual(['SA', 'Nonce', 'TSi', 'TSr']);
    expect(b.plane.children).toHaveLength(2);
    expect(log).toContain('NON_FIRST_FRAGMENTS_ALSO');
  });

  test('it is not asked for', () => {
    const { net } = establishedPair({ child: CHILD });
    expect(net.transcript.messages.some(({ summary }) => summary.includes('NON_FIRST_FRAGMENTS_ALSO'))).toBe(false);
  });
});

describe('ESP_TFC_PADDING_NOT_SUPPORTED (RFC 7296 §1.3.1)', () => {
  test('a peer that says so gets packets without padding, and is not told so itself', () => {
    const { b, answer, log } = ask(ofChild(status(NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED)));
    expect(notifiesOf(answer)).toEqual([]);
    expect(log).toContain('ESP_TFC_PADDING_NOT_SUPPORTED');
    const payload = utf8('as long as it is');
    const child = b.plane.children.at(-1)!;
    expect(b.plane.children.map(({ spec }) => spec.unpadded)).toEqual([undefined, true]);
    // header, IV, payload, trailer to a multiple of four, ICV
    expect(b.plane.seal(child.id, payload)).toHaveLength(8 + 8 + 20 + 16);
  });
});

describe('IPCOMP_SUPPORTED (RFC 7296 §2.22)', () => {
  const compressing = { child: { packets: { ipcomp: true } } };

  test('offered and taken: each end has the index that the other one chose, in IKE_AUTH and in rekeyings by either', () => {
    const { net, a, b } = establishedPair({ child: CHILD, a: compressing, b: compressing });
    const matched = () => {
      const [ours, theirs] = [a, b].map(({ plane }) => plane.children.at(-1)!.spec.ipcomp!);
      expect([ours!.outboundCpi, theirs!.outboundCpi]).toEqual([theirs!.inboundCpi, ours!.inboundCpi]);
      for (const cpi of [ours!.inboundCpi, theirs!.inboundCpi]) expect(cpi >= 256 && cpi <= 61_439).toBe(true);
      expect(a.children.at(-1)!.packets).toEqual(['IPComp']);
    };
    matched();
    for (const peer of [a, b]) {
      peer.rekeyChild();
      net.settle();
      matched();
    }
    const saying = net.transcript.messages.filter(({ summary }) => summary.includes('N(IPCOMP_SUPPORTED)'));
    expect(saying).toHaveLength(6);
    for (const { summary } of saying) expect(summary).toMatch(/ SA,/);
    expectTrafficBothWays(net, a, b);
  });

  test.each([
    ['initiator', compressing, {}],
    ['responder', {}, compressing],
  ])('wanted by the %s alone it does not come about, and the child stands', (_who, ours, theirs) => {
    const { net, a, b } = establishedPair({ child: CHILD, a: ours, b: theirs });
    expect([a, b].map(({ plane }) => plane.children[0]!.spec.ipcomp)).toEqual([undefined, undefined]);
    expectTrafficBothWays(net, a, b);
  });

  test.each([
    ['another algorithm', ['100103']],
    ['an index that names an algorithm', ['000102', '003f02', '00ff02']],
    ['cut short', ['', '10', '1001']],
  ])('an offer of %s is not taken', (_what, offers) => {
    const { b, answer } = ask(ofChild(...offers.map((offer) => status(NotifyType.IPCOMP_SUPPORTED, fromHex(offer)))), compressing);
    expect(notifiesOf(answer)).toEqual([]);
    expect(b.plane.children.at(-1)!.spec.ipcomp).toBeUndefined();
  });

  test('of several offers the one that we have is taken, whatever stands around it', () => {
    const offers = ['100103', '', '200202ffff', '300302'].map((offer) => status(NotifyType.IPCOMP_SUPPORTED, fromHex(offer)));
    const { b, answer } = ask(ofChild(...offers), compressing);
    expect(notifiesOf(answer)).toEqual([NotifyType.IPCOMP_SUPPORTED]);
    expect(b.plane.children.at(-1)!.spec.ipcomp!.outboundCpi).toBe(0x2002);
  });

  // a responder accepts at most one of those offered, or none
  const deflate = fromHex('100102');

  test('offered by the peer and not wanted, it is named in the log and left out of the answer; packets come uncompressed', () => {
    const { net, a, b, answer, log } = ask(
      ofChild(status(NotifyType.IPCOMP_SUPPORTED, deflate), status(NotifyType.IPCOMP_SUPPORTED, fromHex('100203'))),
    );
    expect(notifiesOf(answer)).toEqual([]);
    expect(log).toContain('IPCOMP_SUPPORTED CPI 1001 IPCOMP_DEFLATE');
    expect(b.plane.children).toHaveLength(2);
    b.deleteChild(b.plane.children.at(-1)!.id);
    net.settle();
    expectTrafficBothWays(net, a, b);
  });

  test('it is not offered unless that is wanted', () => {
    const { net } = establishedPair({ child: CHILD });
    expect(net.transcript.messages.some(({ summary }) => summary.includes('IPCOMP_SUPPORTED'))).toBe(false);
  });

  test.each([
    ['what nobody offered', {}, ['100102']],
    ['another algorithm than the one offered', compressing, ['100103']],
    ['two at once', compressing, ['100102', '100202']],
  ])('a peer that accepts %s gets no child: it would compress what we cannot unpack', (_what, ours, accepts) => {
    const { net, a, b } = establishedPair({ child: CHILD, a: ours });
    const insider = new Insider(b, 'responder');
    net.internet.core.intercept((packet) => (packet.source.ip === '198.51.100.2' && (packet.data[19]! & 0x20) !== 0 ? [] : undefined));
    a.createChild('net');
    net.run(10);
    const [, ...accepted] = ofChild(status(0)).map((p) => (p.kind === 'SA' ? { ...p, proposals: [{ ...p.proposals[0]!, number: 1 }] } : p));
    const answer = insider.request(
      ExchangeType.CREATE_CHILD_SA,
      2,
      [...accepts.map((accept) => status(NotifyType.IPCOMP_SUPPORTED, fromHex(accept))), ...accepted],
      {
        flags: { initiator: false, response: true, version: false },
      },
    );
    a.inject(answer, { ip: '198.51.100.2', port: 500 });
    net.run(10);
    expect(a.children.map(({ state }) => state)).toEqual(['installed']);
    expect(a.plane.children).toHaveLength(1);
    // the peer has it by now, so it hears that we have not
    const last = insider.open(a.sent.at(-1)!.data);
    expect(last[0]!.kind).toBe('D');
  });
});

describe('HTTP_CERT_LOOKUP_SUPPORTED (RFC 7296 §3.6)', () => {
  test('is named in the log, and not said back where nothing is looked up', () => {
    const { net, b } = pair({ child: CHILD });
    const peer = new RawInitiator(net, b, {
      authPayloads: (payloads) => [...payloads, status(NotifyType.HTTP_CERT_LOOKUP_SUPPORTED)],
    });
    peer.init();
    const answer = peer.auth() ?? [];
    expect(b.established).toHaveLength(1);
    expect(notifiesOf(answer)).not.toContain(NotifyType.HTTP_CERT_LOOKUP_SUPPORTED);
    expect(b.heard('message').some(({ direction, text }) => direction === 'in' && text.includes('HTTP_CERT_LOOKUP_SUPPORTED'))).toBe(true);
  });
});

describe('small notifies that are malformed', () => {
  test.each([
    NotifyType.NON_FIRST_FRAGMENTS_ALSO,
    NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED,
    NotifyType.HTTP_CERT_LOOKUP_SUPPORTED,
    NotifyType.ADDITIONAL_TS_POSSIBLE,
    NotifyType.IPCOMP_SUPPORTED,
  ])('%i with data, twice, and where it has no place, changes nothing', (type) => {
    const { net, a, b, answer } = ask(ofChild(status(type, fromHex('00ff00ff')), status(type)));
    expect(notifiesOf(answer)).toEqual([]);
    expect(b.plane.children).toHaveLength(2);
    b.deleteChild(b.plane.children.at(-1)!.id);
    net.settle();
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });
});

describe('Vendor IDs (RFC 7296 §3.12)', () => {
  const strongSwan = fromHex('882fe56d6fd20dbc2251613b2ebe5beb');
  const vendor = (data: Uint8Array): Payload => ({ kind: 'V', data });

  test('those that are known are named in the log, visible text stands in quotes, the rest as octets', () => {
    const { b, log } = ask([vendor(strongSwan), ...ofChild(), vendor(utf8('Lab VPN 3.1')), vendor(fromHex('00010203'))]);
    expect(log).toContain('strongSwan');
    expect(log).toContain('"Lab VPN 3.1"');
    expect(log).toContain('00010203');
    expect(b.plane.children).toHaveLength(2);
  });

  test('in IKE_SA_INIT, any number of them and of any length, they change nothing', () => {
    const { net, b } = pair({ child: CHILD });
    const many = Array.from({ length: 60 }, (_, i) => vendor(i % 2 === 0 ? strongSwan : new Uint8Array(i).fill(0x0a)));
    const peer = new RawInitiator(net, b, { initPayloads: (payloads) => [...many, ...payloads, ...many] });
    expect(peer.init()).toBe(true);
    peer.auth();
    expect(b.established).toMatchObject([{ vendors: ['strongSwan'] }]);
    // what a peer writes cannot break the lines of a log
    for (const { text } of b.heard('message')) expect(text).not.toContain('\n\n');
  });
});
