import { describe, expect, test } from 'vitest';
import { concat, fromHex, toHex } from '../../src/core/bytes/index.ts';
import { ExchangeType, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import {
  espProposal,
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  ikeProposal,
  type Net,
  type Peer,
  pair,
  SeededRandom,
  subnet,
} from '../../src/testing/index.ts';
import { Insider, RawInitiator, type RawOptions } from './insider.ts';

const kinds = (payloads: readonly Payload[] | undefined): string[] =>
  (payloads ?? []).map((payload) => (payload.kind === 'N' ? `N(${payload.notify})` : payload.kind));

function raw(options: RawOptions = {}, pairOptions: Parameters<typeof pair>[0] = {}) {
  const { net, b } = pair({ ...pairOptions, child: { proposals: [espProposal('aes128gcm16-noesn')], ...pairOptions.child } });
  return { net, b, peer: new RawInitiator(net, b, options) };
}

/** Sets bits of one octet. */
const setBits =
  (at: number | ((message: Uint8Array) => number), bits: number) =>
  (message: Uint8Array): Uint8Array => {
    message[typeof at === 'number' ? at : at(message)]! |= bits;
    return message;
  };

describe('an initiator made by hand of the RFC’s formulas', () => {
  test('establishes: the endpoint’s key schedule and AUTH are those of RFC 7296 §2.14 and §2.15', () => {
    const { b, peer } = raw();
    expect(peer.init()).toBe(true);
    expect(kinds(peer.auth())).toEqual(expect.arrayContaining(['IDr', 'AUTH', 'SA', 'TSi', 'TSr']));
    expect(b.established).toHaveLength(1);
    expect(b.plane.children).toHaveLength(1);
  });
});

describe('reserved bits and versions (RFC 7296 §2.5, §3.1)', () => {
  test.each([
    ['D34 reserved flags of the header', setBits(19, 0xc7)],
    ['D49 the Version flag', setBits(19, 0x10)],
    ['D34 reserved bits of a generic payload header', setBits(29, 0x7f)],
    ['D35 the reserved octet of a proposal', setBits(33, 0xff)],
    ['D35 the reserved octet of a transform', setBits(41, 0xff)],
    ['D37 minor version 1', setBits(17, 0x01)],
    ['minor version 15', setBits(17, 0x0f)],
  ])('%s are ignored, and enter AUTH as they were received', (_name, init) => {
    const { b, peer } = raw({ init });
    expect(peer.init()).toBe(true);
    expect(kinds(peer.auth())).toContain('AUTH');
    expect(b.established).toHaveLength(1);
  });

  test('the reserved octets of ID enter AUTH as well (§2.15: RestOfInitIDPayload)', () => {
    const { b, peer } = raw({ reserved: fromHex('ff00ff') });
    peer.init();
    expect(kinds(peer.auth())).toContain('AUTH');
    expect(b.established).toHaveLength(1);
  });

  test('D34 the other way round: bits flipped on the way make AUTH fail, since they are part of what was signed', () => {
    const { net, a, b } = pair();
    net.internet.core.intercept((packet) => {
      if (packet.source.ip !== '192.0.2.1' || packet.data[18] !== ExchangeType.IKE_SA_INIT) return undefined;
      return [{ ...packet, data: setBits(29, 0x01)(packet.data.slice()) }];
    });
    a.initiate();
    net.settle({ quiet: 120_000 });
    expect(net.transcript.messages.at(-1)!.summary).toMatch(/AUTHENTICATION_FAILED/);
    expectNothingLeft(a, b);
  });

  test.each([0x10, 0x30, 0xf0, 0x00])('D36 version octet %i: no state, at most INVALID_MAJOR_VERSION', (version) => {
    const { b, peer } = raw({
      init: (message) => {
        message[17] = version;
        return message;
      },
    });
    peer.init();
    expect(b.ikeSas).toEqual([]);
    expect(peer.responses.flatMap((response) => kinds(response.payloads))).toEqual(
      peer.responses.length === 0 ? [] : [`N(${NotifyType.INVALID_MAJOR_VERSION})`],
    );
  });

  test('a protected request with minor version 3 and all reserved flags is answered', () => {
    const { net, a, b } = establishedPair();
    const before = b.sent.length;
    b.inject(new Insider(a).request(ExchangeType.INFORMATIONAL, 2, [], { minorVersion: 3 }), { ip: '192.0.2.1', port: 500 });
    net.run(10);
    expect(b.sent.length).toBe(before + 1);
  });
});

describe('unknown things (RFC 7296 §2.5, §3.10.1)', () => {
  const unknown = (type: number, critical: boolean): Payload => ({ kind: 'unknown', type, data: fromHex('0102030405'), critical });

  test.each([49, 1, 32, 255, 200])('D46 payload type %i, not critical, in CREATE_CHILD_SA: skipped', (type) => {
    const { net, a, b } = establishedPair();
    const insider = new Insider(a);
    const answer = ask(net, b, insider.request(ExchangeType.CREATE_CHILD_SA, 2, [unknown(type, false), ...newChild()]), insider);
    expect(kinds(answer)).toEqual(expect.arrayContaining(['SA', 'Nonce', 'TSi', 'TSr']));
    expect(b.plane.children).toHaveLength(2);
  });

  test.each([49, 255])('payload type %i, critical: UNSUPPORTED_CRITICAL_PAYLOAD with that type, the IKE SA stays', (type) => {
    const { net, a, b } = establishedPair();
    const insider = new Insider(a);
    const answer = ask(net, b, insider.request(ExchangeType.CREATE_CHILD_SA, 2, [...newChild(), unknown(type, true)]), insider);
    expect(answer).toMatchObject([{ kind: 'N', notify: NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, data: Uint8Array.of(type) }]);
    expect(b.established).toHaveLength(1);
    expect(b.plane.children).toHaveLength(1);
  });

  test('the critical bit on payloads that everybody knows is ignored', () => {
    const { b, peer } = raw({ initPayloads: (payloads) => payloads.map((payload) => ({ ...payload, critical: true })) });
    expect(peer.init()).toBe(true);
    expect(b.ikeSas).toHaveLength(1);
  });

  test('a critical unknown payload in IKE_SA_INIT: refused in clear, no state', () => {
    const { b, peer } = raw({ initPayloads: (payloads) => [...payloads, unknown(49, true)] });
    expect(peer.init()).toBe(false);
    expect(b.ikeSas).toEqual([]);
    expect(peer.responses.length === 0 || kinds(peer.responses[0]!.payloads)[0] === `N(${NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD})`).toBe(
      true,
    );
  });

  test('D50 unknown status notifies in a request are ignored, unknown error notifies too', () => {
    const { net, a, b } = establishedPair();
    const insider = new Insider(a);
    const notifies: Payload[] = [40_959, 65_535, 9000].map((notify) => ({
      kind: 'N',
      notify,
      protocol: 0,
      spi: new Uint8Array(0),
      data: fromHex('00'),
    }));
    const answer = ask(net, b, insider.request(ExchangeType.CREATE_CHILD_SA, 2, [...newChild(), ...notifies]), insider);
    expect(kinds(answer)).toEqual(expect.arrayContaining(['SA', 'Nonce', 'TSi', 'TSr']));
  });

  test('an unknown transform type makes only its proposal unacceptable (§3.3.6)', () => {
    const odd = espProposal('aes128gcm16-noesn');
    const strange = { ...odd, transforms: [...odd.transforms, { type: 200, id: 1 }] };
    const { net, a, b } = establishedPair({ child: { proposals: [espProposal('aes128gcm16-noesn')] } });
    const insider = new Insider(a);
    const spi = Uint8Array.of(0xc0, 0, 0, 9);
    const sa = (...proposals: (typeof odd)[]): Payload => ({
      kind: 'SA',
      proposals: proposals.map((p, i) => ({ ...p, number: i + 1, spi })),
    });
    const rest = newChild().slice(1);
    const both = ask(net, b, insider.request(ExchangeType.CREATE_CHILD_SA, 2, [sa(strange, odd), ...rest]), insider);
    expect(both?.find((payload) => payload.kind === 'SA')?.proposals.map((p) => p.number)).toEqual([2]);
    const one = ask(net, b, insider.request(ExchangeType.CREATE_CHILD_SA, 3, [sa(strange), ...rest]), insider);
    expect(kinds(one)).toEqual([`N(${NotifyType.NO_PROPOSAL_CHOSEN})`]);
  });

  test('D47 KE and Nonce in the other order are accepted (§2.5: payloads may come in any order)', () => {
    const { peer } = raw({ initPayloads: ([sa, ke, nonce]) => [nonce!, ke!, sa!] });
    expect(peer.init()).toBe(true);
    expect(kinds(peer.auth())).toContain('AUTH');
  });

  test('a request of an unknown exchange type is dropped or refused, and harms nothing', () => {
    const { net, a, b } = establishedPair();
    b.inject(new Insider(a).request(200, 2, []), { ip: '192.0.2.1', port: 500 });
    net.settle({ quiet: 120_000 });
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
  });
});

describe('before authentication', () => {
  const exchanges = [ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL, 200] as const;

  test.each(exchanges)('exchange %i between IKE_SA_INIT and IKE_AUTH does nothing', (exchange) => {
    const { b, peer } = raw();
    peer.init();
    const payloads: readonly Payload[] = exchange === ExchangeType.CREATE_CHILD_SA ? newChild() : [{ kind: 'D', protocol: 1, spis: [] }];
    const answers = peer.send(peer.protect(exchange, 1, payloads));
    expect(b.plane.children).toEqual([]);
    expect(b.established).toEqual([]);
    for (const answer of answers) expect(kinds(peer.open(answer))).not.toContain('SA');
    // It did not use up the Message ID either: the true IKE_AUTH still goes through.
    expect(kinds(peer.auth())).toContain('AUTH');
  });

  test('CREATE_CHILD_SA that rekeys the IKE SA, before IKE_AUTH, is refused too', () => {
    const { b, peer } = raw();
    peer.init();
    peer.send(
      peer.protect(ExchangeType.CREATE_CHILD_SA, 1, [
        { kind: 'SA', proposals: [{ ...ikeProposal('aes128gcm16-prfsha256-x25519'), spi: new Uint8Array(8).fill(9) }] },
        { kind: 'Nonce', data: new Uint8Array(32) },
      ]),
    );
    expect(b.established).toEqual([]);
    expect(b.heard('ike-rekeyed')).toEqual([]);
  });

  test('IKE_AUTH in clear is not heard', () => {
    const { net, b, peer } = raw();
    peer.init();
    const spiR = b.ikeSas[0]!.spiR;
    const { writeMessage } = wire;
    peer.send(writeMessage(peer.header(ExchangeType.IKE_AUTH, 1, spiR), peer.authPayloads()));
    net.run(100);
    expect(b.established).toEqual([]);
    expect(b.drops).toMatchObject({ unprotected: 1 });
  });

  test('IKE_AUTH without AUTH (which would ask for EAP) is refused where no EAP is configured', () => {
    const { net, b, peer } = raw({ authPayloads: (payloads) => payloads.filter((payload) => payload.kind !== 'AUTH') });
    peer.init();
    expect(kinds(peer.auth())).not.toContain('SA');
    net.settle({ quiet: 120_000 });
    expectNothingLeft(b);
  });

  test('a wrong PSK may be tried once per IKE SA: then the IKE SA is gone', () => {
    const { net, b, peer } = raw({ psk: fromHex('00') });
    peer.init();
    expect(kinds(peer.auth())).toEqual([`N(${NotifyType.AUTHENTICATION_FAILED})`]);
    peer.send(peer.protect(ExchangeType.IKE_AUTH, 2, peer.authPayloads()));
    net.settle({ quiet: 120_000 });
    expect(b.heard('ike-up')).toEqual([]);
    expectNothingLeft(b);
  });

  test('a second IKE_AUTH on an established IKE SA changes nothing', () => {
    const { b, peer } = raw();
    peer.init();
    peer.auth();
    peer.send(peer.protect(ExchangeType.IKE_AUTH, 2, peer.authPayloads()));
    expect(b.plane.children).toHaveLength(1);
    expect(b.established).toHaveLength(1);
  });

  test('half-open IKE SAs are bounded, and die after their time', () => {
    const { net, b } = pair({ b: { limits: { cookieThreshold: 1000, halfOpen: 20, halfOpenPerAddress: 5 } } });
    const peers = Array.from({ length: 40 }, (_, i) => new RawInitiator(net, b, {}, `203.0.113.${i + 1}`));
    for (const peer of peers) peer.init();
    expect(b.ikeSas.length).toBeLessThanOrEqual(20);
    net.run(30_000);
    expect(b.ikeSas).toEqual([]);
  });

  test('so are those of one address', () => {
    const { net, b, peer } = raw({}, { b: { limits: { cookieThreshold: 1000, halfOpenPerAddress: 3 } } });
    const template = peer.initMessage();
    for (let i = 0; i < 20; i++) {
      const another = template.slice();
      another[7] = i;
      peer.send(another);
    }
    expect(b.ikeSas.length).toBeLessThanOrEqual(3);
    net.run(30_000);
    expect(b.ikeSas).toEqual([]);
  });
});

describe('CREATE_CHILD_SA where it has no place', () => {
  /** The request with the right keys, in the name of the other end, and what came of it. */
  function tryIn(a: Peer, b: Peer, net: Net, target: Peer, as: 'initiator' | 'responder', messageId: number): number {
    const insider = new Insider(target === a ? b : a, as);
    const before = target.plane.history.length;
    const remote = target === a ? '198.51.100.2' : '192.0.2.1';
    target.inject(insider.request(ExchangeType.CREATE_CHILD_SA, messageId, newChild()), { ip: remote, port: 500 });
    net.run(50);
    return target.plane.history.length - before;
  }

  test('an initiator that waits for IKE_AUTH does not answer it', () => {
    const { net, a, b } = pair();
    net.internet.core.intercept((packet) =>
      packet.source.ip === '198.51.100.2' && packet.data[18] === ExchangeType.IKE_AUTH ? [] : undefined,
    );
    a.initiate();
    net.run(100);
    expect(a.ikeSas[0]!.state).toBe('authenticating');
    const sent = a.sent.length;
    expect(tryIn(a, b, net, a, 'responder', 0)).toBe(0);
    expect(a.sent.length).toBe(sent);
    expect(a.plane.children).toEqual([]);
  });

  test('an IKE SA that failed to authenticate does not answer it', () => {
    const { net, a, b } = pair({ b: { identity: { psk: fromHex('00') } } });
    a.initiate();
    net.run(1000);
    const state = b.ikeSas[0]?.state;
    expect([undefined, 'lingering']).toContain(state);
    expect(tryIn(a, b, net, b, 'initiator', 2)).toBe(0);
    expect(b.plane.children).toEqual([]);
  });

  test('an IKE SA that is being deleted makes no child any more', () => {
    const { net, a, b } = establishedPair();
    net.internet.core.intercept((packet) => (packet.source.ip === '192.0.2.1' ? [] : undefined));
    a.deleteIke();
    net.run(10);
    const { state } = a.ikeSas[0]!;
    expect(state).toBe('deleting');
    expect(tryIn(a, b, net, a, 'responder', 0)).toBe(0);
    net.settle({ quiet: 120_000 });
    expectNothingLeft(a);
  });

  test('an IKE SA that was replaced makes no child any more', () => {
    const { net, a, b } = establishedPair();
    const old = new Insider(a);
    net.internet.core.intercept((packet) =>
      packet.source.ip === '192.0.2.1' && packet.data[18] === ExchangeType.INFORMATIONAL ? [] : undefined,
    );
    a.rekeyIke();
    net.run(100);
    expect(b.ikeSas.map((sa) => sa.state)).toContain('replaced');
    const before = b.plane.history.length;
    b.inject(old.request(ExchangeType.CREATE_CHILD_SA, 3, newChild()), { ip: '192.0.2.1', port: 500 });
    net.run(50);
    expect(b.plane.history.length).toBe(before);
  });
});

describe('D52 what is not protected, while the IKE SA stands (RFC 7296 §2.21.4, §2.4)', () => {
  const notifies = [
    NotifyType.INVALID_SYNTAX,
    NotifyType.INVALID_IKE_SPI,
    NotifyType.AUTHENTICATION_FAILED,
    NotifyType.INVALID_MAJOR_VERSION,
  ];

  test.each(notifies)('an error notify %i in clear leads to a liveness check at most', (notify) => {
    for (const response of [false, true]) {
      const { net, a, b } = establishedPair();
      const { spiI, spiR } = b.ikeSas[0]!;
      const flags = { initiator: false, response, version: false };
      const forged = wire.writeMessage(
        { spiI, spiR, majorVersion: 2, minorVersion: 0, exchange: ExchangeType.INFORMATIONAL, messageId: response ? 2 : 0, flags },
        [{ kind: 'N', notify, protocol: 0, spi: new Uint8Array(0), data: new Uint8Array(0) }],
      );
      for (let i = 0; i < 20; i++) a.inject(forged.slice(), { ip: '198.51.100.2', port: 500 });
      net.settle({ quiet: 120_000 });
      const probes = net.unread.filter((message) => message.from === 'a' && message.summary.startsWith('INFORMATIONAL request'));
      expect(probes.length).toBeLessThanOrEqual(1);
      expectOneChild(a, b);
      expectTrafficBothWays(net, a, b);
    }
  });

  test('a Delete in clear deletes nothing', () => {
    const { net, a, b } = establishedPair();
    const { spiI, spiR } = b.ikeSas[0]!;
    const flags = { initiator: false, response: false, version: false };
    a.inject(
      wire.writeMessage({ spiI, spiR, majorVersion: 2, minorVersion: 0, exchange: ExchangeType.INFORMATIONAL, messageId: 0, flags }, [
        { kind: 'D', protocol: 1, spis: [] },
      ]),
      { ip: '198.51.100.2', port: 500 },
    );
    net.settle({ quiet: 120_000 });
    expectOneChild(a, b);
  });

  test('a forged answer to a request under way is not taken for it', () => {
    const { net, a, b } = establishedPair({ link: { delay: 50 } });
    a.rekeyChild();
    const { spiI, spiR } = b.ikeSas[0]!;
    const flags = { initiator: false, response: true, version: false };
    a.inject(
      wire.writeMessage({ spiI, spiR, majorVersion: 2, minorVersion: 0, exchange: ExchangeType.CREATE_CHILD_SA, messageId: 2, flags }, [
        { kind: 'N', notify: NotifyType.NO_ADDITIONAL_SAS, protocol: 0, spi: new Uint8Array(0), data: new Uint8Array(0) },
      ]),
      { ip: '198.51.100.2', port: 500 },
    );
    net.settle({ quiet: 60_000 });
    expectOneChild(a, b).bornIn('a');
  });
});

test('with logKeys both ends log the keys of every IKE SA, and the same ones', () => {
  const { net, a, b } = establishedPair();
  a.rekeyIke();
  net.settle({ quiet: 60_000 });
  const logged = [a, b].map((peer) => peer.heard('ike-keys').map(({ keys }) => [toHex(keys.spiI), toHex(keys.SK_ei), toHex(keys.SK_er)]));
  expect(logged[0]).toHaveLength(2);
  expect(logged[1]).toEqual(logged[0]);
});

describe('malformed things inside protection', () => {
  test('an authentic request that does not parse: INVALID_SYNTAX, and the IKE SA may end (§2.21.3); the other side recovers', () => {
    const { net, a, b } = establishedPair();
    const insider = new Insider(a);
    // A KE payload of which the endpoint cannot even read the method.
    const broken: Payload = { kind: 'unknown', type: 34, data: Uint8Array.of(0) };
    const answer = ask(net, b, insider.request(ExchangeType.CREATE_CHILD_SA, 2, [...newChild(), broken]), insider);
    expect(kinds(answer)).toEqual([`N(${NotifyType.INVALID_SYNTAX})`]);
    net.settle({ quiet: 120_000 });
    expect(b.plane.children.length).toBe(b.children.length);
    expectInvariants(net);
  });

  test.each([
    ['no SA', (payloads: readonly Payload[]) => payloads.filter((p) => p.kind !== 'SA')],
    ['no nonce', (payloads: readonly Payload[]) => payloads.filter((p) => p.kind !== 'Nonce')],
    ['two SAs', (payloads: readonly Payload[]) => [payloads[0]!, ...payloads]],
    ['no selectors', (payloads: readonly Payload[]) => payloads.filter((p) => p.kind !== 'TSi' && p.kind !== 'TSr')],
    ['TSi alone', (payloads: readonly Payload[]) => payloads.filter((p) => p.kind !== 'TSr')],
    [
      'an empty selector list',
      (payloads: readonly Payload[]) =>
        payloads.map((p) => (p.kind === 'TSi' ? ({ kind: 'unknown', type: 44, data: new Uint8Array(4) } as Payload) : p)),
    ],
    [
      'a short nonce',
      (payloads: readonly Payload[]) =>
        payloads.map((p) => (p.kind === 'Nonce' ? ({ kind: 'unknown', type: 40, data: new Uint8Array(8) } as Payload) : p)),
    ],
    ['an ESP SPI of eight octets', (payloads: readonly Payload[]) => withSpi(payloads, new Uint8Array(8).fill(7))],
  ])('CREATE_CHILD_SA with %s installs nothing', (_name, change) => {
    const { net, a, b } = establishedPair();
    const insider = new Insider(a);
    const answer = ask(net, b, insider.request(ExchangeType.CREATE_CHILD_SA, 2, change(newChild())), insider);
    expect(kinds(answer)).not.toContain('SA');
    expect(b.plane.children.length).toBeLessThanOrEqual(1);
    expectInvariants(net);
  });

  test('CREATE_CHILD_SA with an ESP SPI of zero installs nothing (RFC 4303 §2.1)', () => {
    const { net, a, b } = establishedPair();
    const insider = new Insider(a);
    const answer = ask(net, b, insider.request(ExchangeType.CREATE_CHILD_SA, 2, withSpi(newChild(), new Uint8Array(4))), insider);
    expect(kinds(answer)).not.toContain('SA');
  });

  test('REKEY_SA for an SPI that does not exist: CHILD_SA_NOT_FOUND (§2.25)', () => {
    const { net, a, b } = establishedPair();
    const insider = new Insider(a);
    const rekey: Payload = { kind: 'N', notify: NotifyType.REKEY_SA, protocol: 3, spi: fromHex('deadbeef'), data: new Uint8Array(0) };
    const answer = ask(net, b, insider.request(ExchangeType.CREATE_CHILD_SA, 2, [rekey, ...newChild()]), insider);
    expect(kinds(answer)).toEqual([`N(${NotifyType.CHILD_SA_NOT_FOUND})`]);
    expectOneChild(a, b);
  });

  test('a Delete for SPIs that do not exist is answered, and deletes nothing', () => {
    const { net, a, b } = establishedPair();
    const insider = new Insider(a);
    const answer = ask(
      net,
      b,
      insider.request(ExchangeType.INFORMATIONAL, 2, [{ kind: 'D', protocol: 3, spis: [fromHex('deadbeef')] }]),
      insider,
    );
    expect(kinds(answer)).toEqual([]);
    expectOneChild(a, b);
  });

  test('more children than anybody needs are refused in time: memory is bounded', () => {
    const { net, a, b } = establishedPair();
    const insider = new Insider(a);
    let refused = 0;
    for (let i = 0; i < 1030; i++) {
      const payloads = withSpi(newChild(), Uint8Array.of(0xc1, 0, i >>> 8, i & 0xff)).map((p) =>
        p.kind === 'Nonce' ? { ...p, data: new SeededRandom(i).bytes(32) } : p,
      );
      if (
        kinds(ask(net, b, insider.request(ExchangeType.CREATE_CHILD_SA, 2 + i, payloads), insider)).includes(
          `N(${NotifyType.NO_ADDITIONAL_SAS})`,
        )
      )
        refused++;
    }
    expect(refused).toBeGreaterThan(0);
    expect(b.plane.children.length).toBeLessThanOrEqual(1024);
  });
});

const wire = await import('../../src/core/wire/index.ts');

function newChild(): readonly Payload[] {
  const proposal = espProposal('aes128gcm16-noesn');
  return [
    { kind: 'SA', proposals: [{ ...proposal, spi: Uint8Array.of(0xc0, 0, 0, 2) }] },
    { kind: 'Nonce', data: new SeededRandom('child').bytes(32) },
    { kind: 'TSi', selectors: [subnet('10.1.0.0/24')] },
    { kind: 'TSr', selectors: [subnet('10.2.0.0/24')] },
  ];
}

const withSpi = (payloads: readonly Payload[], spi: Uint8Array): readonly Payload[] =>
  payloads.map((p) => (p.kind === 'SA' ? { ...p, proposals: p.proposals.map((proposal) => ({ ...proposal, spi })) } : p));

/** Hands an authentic request to b and opens what it answers. */
function ask(
  net: ReturnType<typeof pair>['net'],
  b: ReturnType<typeof pair>['b'],
  request: Uint8Array,
  insider: Insider,
): readonly Payload[] | undefined {
  const before = b.sent.length;
  b.inject(request, { ip: '192.0.2.1', port: 500 });
  net.run(10);
  const answer = b.sent[before];
  return answer === undefined ? undefined : insider.open(concat(answer.data));
}
