import { describe, expect, test } from 'vitest';
import { concat, fromHex } from '../../src/core/bytes/index.ts';
import {
  ConfigAttributeType,
  ConfigType,
  ExchangeType,
  formatSelector,
  NotifyType,
  type Payload,
  parseMessage,
  writeMessage,
} from '../../src/core/wire/index.ts';
import {
  espProposal,
  establishedPair,
  expectOneChild,
  expectTrafficBothWays,
  ikeProposal,
  type Pair,
  type PairOptions,
  type Peer,
  pair,
  subnet,
} from '../../src/testing/index.ts';
import { Insider, RawInitiator, type RawOptions } from './insider.ts';

const A = { ip: '192.0.2.1', port: 500 };
const B = { ip: '198.51.100.2', port: 500 };
const PLAIN = { proposals: [espProposal('aes128gcm16-noesn')], pfs: 'off' } as const;
const notify = (type: number, data = new Uint8Array(0)): Payload => ({
  kind: 'N',
  notify: type,
  protocol: 0,
  spi: new Uint8Array(0),
  data,
});
const names = (payloads: readonly Payload[] | undefined): readonly (string | number)[] | undefined =>
  payloads?.map((payload) => (payload.kind === 'N' ? payload.notify : payload.kind));

/** Hands `b` an authentic request of `a` and opens what it answers. */
function ask({ net, b }: Pair, insider: Insider, request: Uint8Array, from = A): readonly Payload[] | undefined {
  const before = b.sent.length;
  b.inject(request, from);
  net.run(10);
  const answer = b.sent[before];
  return answer && insider.open(concat(answer.data));
}

describe('rekeying (RFC 7296 §2.8)', () => {
  test('no answer tells of a CHILD_SA that the responder cannot receive on yet', () => {
    const { net, a, b } = establishedPair();
    b.fault({ ask: 'install', outcome: 'late', delay: 700 });
    const installed: number[] = [];
    net.internet.core.intercept((packet) => {
      if (packet.source.ip === B.ip && packet.data[18] === ExchangeType.CREATE_CHILD_SA) installed.push(b.plane.children.length);
      return undefined;
    });
    a.rekeyChild();
    net.settle();
    expect(installed.length).toBeGreaterThan(0);
    expect(new Set(installed)).toEqual(new Set([2]));
    expectOneChild(a, b).bornIn('a');
  });

  test('an IKE SA that was rekeyed already is not rekeyed once more: TEMPORARY_FAILURE (§2.8.2)', () => {
    const made = establishedPair();
    const { net, a, b } = made;
    const old = new Insider(a);
    net.internet.core.intercept((packet) => (packet.source.ip === A.ip && packet.data[18] === ExchangeType.INFORMATIONAL ? [] : undefined));
    a.rekeyIke();
    net.run(100);
    expect(b.ikeSas.map(({ state }) => state).sort()).toEqual(['established', 'replaced']);
    const request = old.request(ExchangeType.CREATE_CHILD_SA, 3, [
      { kind: 'SA', proposals: [{ ...ikeProposal('aes128gcm16-prfsha256-x25519'), number: 1, spi: fromHex('0102030405060708') }] },
      { kind: 'Nonce', data: new Uint8Array(32).fill(9) },
      { kind: 'KE', method: 31, data: new Uint8Array(32).fill(9) },
    ]);
    expect(names(ask(made, old, request))).toEqual([NotifyType.TEMPORARY_FAILURE]);
    expect(b.ikeSas).toHaveLength(2);
  });
});

describe('selectors of a CHILD_SA that is rekeyed (RFC 7296 §2.9.2)', () => {
  const texts = (peer: Peer) => peer.children.map(({ localTs, remoteTs }) => [localTs, remoteTs].map((list) => list.map(formatSelector)));

  test('are proposed as they are in use: neither those of the policy, nor the packet that once asked for it', () => {
    const { net, a, b } = pair({ b: { child: { localTs: [subnet('10.2.0.0/25')] } } });
    a.observe({ kind: 'acquire', connection: 'net', child: 'net', packet: { local: subnet('10.1.0.7'), remote: subnet('10.2.0.53') } });
    net.settle();
    a.rekeyChild();
    net.settle();
    expectOneChild(a, b).bornIn('a');
    const { text } = net.transcript.messages.find(({ summary }) => summary.includes('REKEY_SA'))!;
    const proposed = [...text.slice(text.indexOf('\n')).matchAll(/TS[ir] +(.*)/g)].map(([, list]) => list!.trim());
    expect(proposed).toEqual(['10.1.0.0/24', '10.2.0.0/25']);
  });

  test('an answer with less than the old one had is not taken, and the old one stays', () => {
    const { net, a, b } = establishedPair({ child: PLAIN });
    const before = texts(a);
    const insider = new Insider(a, 'responder');
    const narrowed: readonly Payload[] = [
      { kind: 'SA', proposals: [{ ...PLAIN.proposals[0]!, number: 1, spi: fromHex('c0000099') }] },
      { kind: 'Nonce', data: new Uint8Array(32).fill(9) },
      { kind: 'TSi', selectors: [subnet('10.1.0.0/25')] },
      { kind: 'TSr', selectors: [subnet('10.2.0.0/24')] },
    ];
    net.internet.core.intercept((packet) => {
      if (packet.source.ip !== B.ip || packet.data[18] !== ExchangeType.CREATE_CHILD_SA) return undefined;
      const flags = { initiator: false, response: true, version: false };
      return [{ ...packet, data: insider.request(ExchangeType.CREATE_CHILD_SA, packet.data[23]!, narrowed, { flags }) }];
    });
    a.rekeyChild();
    net.run(5000);
    expect(a.heard('failed')[0]!.error).toMatchObject({ code: 'TS_UNACCEPTABLE', message: expect.stringContaining('less traffic') });
    expect(texts(a)).toEqual(before);
    expectTrafficBothWays(net, a, b);
  });

  test('a responder does not take from the old one what its policy means by now', () => {
    const { net, a, b, nat } = establishedPair({
      nat: {},
      a: { child: { localTs: [subnet('192.0.2.1'), subnet('10.1.0.0/24')] }, connection: { liveness: { delay: 40_000 } } },
      b: { child: { remoteTs: ['dynamic', subnet('10.1.0.0/24')] } },
    });
    const before = texts(b);
    expect(before[0]![1]).toContain('192.0.2.1');
    nat!.reboot(['192.0.2.200']);
    net.run(60_000);
    expect(b.ikeSas[0]!.remote.ip).toBe('192.0.2.200');
    a.rekeyChild();
    net.settle();
    expectOneChild(a, b).bornIn('a');
    expect(texts(b).map((sides) => sides.map((side) => [...side].sort()))).toEqual(
      before.map((sides) => sides.map((side) => [...side].sort())),
    );
  });
});

test('a request from any port is answered to that port, from where it came to (RFC 7296 §2.11)', () => {
  const made = establishedPair();
  const insider = new Insider(made.a);
  const from = { ip: A.ip, port: 61_234 };
  expect(ask(made, insider, insider.request(ExchangeType.INFORMATIONAL, 2, []), from)).toEqual([]);
  expect(made.b.sent.at(-1)).toMatchObject({ local: B, remote: from });
});

describe('the configuration payload (RFC 7296 §2.19, §2.20)', () => {
  const lending = { pool: ['10.66.0.2'], connection: { pools: ['inner'] } };
  const version = (cfgType: number): Payload => ({
    kind: 'CP',
    cfgType,
    attributes: [{ type: ConfigAttributeType.APPLICATION_VERSION, value: new Uint8Array(0) }],
  });

  test('stands before the SA payload, in request and answer', () => {
    const { net } = establishedPair({
      a: { connection: { virtualIps: ['0.0.0.0'] }, child: { localTs: ['dynamic'] } },
      b: { ...lending, child: { remoteTs: ['dynamic'] } },
    });
    const [request, answer] = net.transcript.messages.filter(({ summary }) => summary.startsWith('IKE_AUTH'));
    expect(request!.summary).toMatch(/CP\(CFG_REQUEST\), .*\bSA\b/);
    expect(answer!.summary).toMatch(/CP\(CFG_REPLY\), .*\bSA\b/);
  });

  test('CFG_REPLY answers CFG_REQUEST alone: nothing is lent to CFG_SET', () => {
    const set: Payload = { kind: 'CP', cfgType: ConfigType.CFG_SET, attributes: [{ type: 1, value: new Uint8Array(0) }] };
    const { b, peer } = raw(
      { authPayloads: (payloads) => [...payloads.slice(0, 2), set, ...payloads.slice(2)] },
      { child: PLAIN, b: lending },
    );
    peer.init();
    expect(names(peer.auth())).toEqual(expect.arrayContaining(['AUTH', 'SA']));
    expect(b.established).toHaveLength(1);
    expect(b.pool.lent.size).toBe(0);
    expect(b.heard('addresses')).toEqual([]);
  });

  test('whoever asks for our version hears an empty string, in INFORMATIONAL and beside an address', () => {
    const made = establishedPair();
    const insider = new Insider(made.a);
    const answer = ask(made, insider, insider.request(ExchangeType.INFORMATIONAL, 2, [version(ConfigType.CFG_REQUEST)]));
    expect(answer).toMatchObject([version(ConfigType.CFG_REPLY)]);
    const address = { type: ConfigAttributeType.INTERNAL_IP4_ADDRESS, value: new Uint8Array(0) };
    const both = { ...version(ConfigType.CFG_REQUEST), attributes: [address, { type: 7, value: new Uint8Array(0) }] } as Payload;
    const { peer } = raw(
      { authPayloads: (payloads) => [...payloads.slice(0, 2), both, ...payloads.slice(2)], localTs: [subnet('0.0.0.0/0')] },
      { child: PLAIN, b: { ...lending, child: { remoteTs: ['dynamic'] } } },
    );
    peer.init();
    const reply = peer.auth()?.find((payload) => payload.kind === 'CP');
    expect(reply?.attributes.at(-1)).toMatchObject({ type: 7, value: new Uint8Array(0) });
  });
});

describe('errors (RFC 7296 §2.21)', () => {
  test('IKE_AUTH with a critical payload that nobody knows leads to that answer alone, and nothing is verified (§2.21.2)', () => {
    const strange: Payload = { kind: 'unknown', type: 49, data: new Uint8Array(4), critical: true };
    const { b, peer } = raw({ authPayloads: (payloads) => [...payloads, strange] });
    peer.init();
    expect(names(peer.auth())).toEqual([NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD]);
    expect([b.heard('peer'), b.established]).toEqual([[], []]);
  });

  test('IKE_AUTH that is malformed leads to INVALID_SYNTAX alone, and nothing is verified (§2.21.2)', () => {
    const { b, peer } = raw({ authPayloads: (payloads) => [...payloads, payloads.find(({ kind }) => kind === 'AUTH')!] });
    peer.init();
    expect(names(peer.auth())).toEqual([NotifyType.INVALID_SYNTAX]);
    expect([b.heard('peer'), b.established]).toEqual([[], []]);
  });

  test('a request of a proven peer that cannot be served is told why (§2.21.3)', () => {
    const made = establishedPair();
    const insider = new Insider(made.a);
    const payloads: readonly Payload[] = [{ kind: 'Nonce', data: new Uint8Array(32) }, notify(NotifyType.REKEY_SA)];
    expect(names(ask(made, insider, insider.request(ExchangeType.CREATE_CHILD_SA, 2, payloads)))).toEqual([NotifyType.INVALID_SYNTAX]);
  });
});

describe('messages for an IKE SA that is not here (RFC 7296 §2.21.4)', () => {
  const restarted = () => {
    const made = establishedPair({ connection: { crashDetection: true }, b: { endpoint: { secret: new Uint8Array(32).fill(11) } } });
    const insider = new Insider(made.a);
    made.b.restart('nothing');
    return { ...made, insider };
  };
  const answerTo = ({ net, b }: Pair, data: Uint8Array, from = A) => {
    const before = b.sent.length;
    b.inject(data, from);
    net.run(10);
    return b.sent.slice(before);
  };
  const padding: readonly Payload[] = [notify(NotifyType.REKEY_SA, new Uint8Array(64))];

  test('a request is answered with INVALID_IKE_SPI in the clear, to whence it came, under its SPIs and Message ID', () => {
    const made = restarted();
    const from = { ip: A.ip, port: 61_234 };
    const request = made.insider.request(ExchangeType.INFORMATIONAL, 2, padding);
    const [answer, ...more] = answerTo(made, request, from);
    expect(more).toEqual([]);
    expect(answer).toMatchObject({ local: B, remote: from });
    const { header, payloads } = parseMessage(concat(answer!.data));
    const asked = parseMessage(request).header;
    expect(header).toMatchObject({ spiI: asked.spiI, spiR: asked.spiR, messageId: 2, flags: { response: true } });
    expect(names(payloads)).toEqual([NotifyType.INVALID_IKE_SPI, NotifyType.QUICK_CRASH_DETECTION]);
  });

  test('a response is not answered', () => {
    const made = restarted();
    const flags = { initiator: true, response: true, version: false };
    expect(answerTo(made, made.insider.request(ExchangeType.INFORMATIONAL, 2, padding, { flags }))).toEqual([]);
  });

  test('INVALID_IKE_SPI in the clear is not answered, whatever it is flagged as', () => {
    const made = restarted();
    const header = { spiI: fromHex('0102030405060708'), spiR: fromHex('0807060504030201'), majorVersion: 2, minorVersion: 0, messageId: 2 };
    for (const [initiator, response] of [
      [true, true],
      [true, false],
      [false, true],
      [false, false],
    ] as const) {
      const flags = { initiator, response, version: false };
      const data = writeMessage({ ...header, exchange: ExchangeType.INFORMATIONAL, flags }, [
        notify(NotifyType.INVALID_IKE_SPI, new Uint8Array(64)),
      ]);
      expect(answerTo(made, data)).toEqual([]);
    }
  });

  test('what a peer says it saw of others changes no SA', () => {
    const made = establishedPair();
    const { a, b } = made;
    const insider = new Insider(a);
    const before = JSON.stringify([b.ikeSas[0]!.state, b.children.map(({ id, state }) => [id, state])]);
    const { outboundSpi } = b.children[0]!;
    const spi = Uint8Array.of(outboundSpi >>> 24, outboundSpi >>> 16, outboundSpi >>> 8, outboundSpi);
    const told = [notify(NotifyType.INVALID_IKE_SPI), notify(NotifyType.INVALID_SPI, spi), notify(NotifyType.INVALID_MESSAGE_ID, spi)];
    expect(ask(made, insider, insider.request(ExchangeType.INFORMATIONAL, 2, told))).toEqual([]);
    expect(JSON.stringify([b.ikeSas[0]!.state, b.children.map(({ id, state }) => [id, state])])).toBe(before);
    expectTrafficBothWays(made.net, a, b);
  });
});

/** An initiator made by hand, and the responder that it meets. */
function raw(options: RawOptions, pairOptions: PairOptions = { child: PLAIN }): { b: Peer; peer: RawInitiator } {
  const { net, b } = pair(pairOptions);
  return { b, peer: new RawInitiator(net, b, options) };
}
