import { describe, expect, test } from 'vitest';
import { concat, utf8 } from '../../src/core/bytes/index.ts';
import { prf } from '../../src/core/crypto/index.ts';
import { mixPpk } from '../../src/core/ike/tasks/ppk.ts';
import { NotifyType, type Payload } from '../../src/core/wire/index.ts';
import {
  childPolicy,
  connectionPolicy,
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  ikeProposal,
  Net,
  type PairOptions,
  pair,
  SeededRandom,
  seededEd25519,
  subnet,
} from '../../src/testing/index.ts';
import { RawInitiator, type RawOptions } from './insider.ts';
import { bothWith, errorsOf, OTHER, ppkPolicy, SECRET, side, up } from './ppk-pairs.ts';

const exact = (id: string, required = false) => ppkPolicy(id, { required, exchange: 'IKE_AUTH' });
const both = (required: boolean): PairOptions => bothWith({ required, exchange: 'IKE_AUTH' });

describe('post-quantum pre-shared keys (RFC 8784)', () => {
  test.each([true, false])('D09 a known id is mixed in, required: %s', (required) => {
    const made = pair(both(required));
    const { net, a, b } = made;
    a.initiate();
    net.chart(`
      a → b  IKE_SA_INIT request { SA, KE, Ni, N(USE_PPK), ... }
      b → a  IKE_SA_INIT response { SA, KE, Nr, N(USE_PPK), ... }
      a → b  IKE_AUTH request { IDi, AUTH, SA, TSi, TSr, N(PPK_IDENTITY), ${required ? '' : 'N(NO_PPK_AUTH), '}... }
      b → a  IKE_AUTH response { IDr, AUTH, SA, TSi, TSr, N(PPK_IDENTITY), ... }
    `);
    net.settle();
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    for (const peer of [a, b]) expect(peer.ikeSas[0]!.ppk).toBe('ppk.lab');
    expect(errorsOf(made)).toEqual([[], []]);
    expectInvariants(net);
  });

  test('D09 an id that is not known here, but optional on both ends: NO_PPK_AUTH proves the initiator', () => {
    const made = up({ a: side(exact('ppk.lab'), { 'ppk.lab': SECRET }), b: side(exact('ppk.other'), { 'ppk.other': SECRET }) });
    const { net, a, b } = made;
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    for (const peer of [a, b]) expect(peer.ikeSas[0]!.ppk).toBeUndefined();
    expect(net.transcript.messages.at(-1)!.summary).not.toContain('PPK_IDENTITY');
  });

  test.each([
    ['at the initiator', true, false],
    ['at the responder', false, true],
  ])('D09 an id that is not known, mandatory %s: AUTHENTICATION_FAILED', (_where, ours, theirs) => {
    const made = up({
      a: side(exact('ppk.lab', ours), { 'ppk.lab': SECRET }),
      b: side(exact('ppk.other', theirs), { 'ppk.other': SECRET }),
    });
    const { net, a, b } = made;
    net.run(60_000);
    expectNothingLeft(a, b);
    expect(made.net.transcript.messages.some((m) => m.summary.includes('N(AUTHENTICATION_FAILED)'))).toBe(true);
    expect(errorsOf(made)[1]).toContain('PPK_MISMATCH');
  });

  test('another secret under the same id: AUTHENTICATION_FAILED', () => {
    const made = up({ a: side(exact('ppk.lab'), { 'ppk.lab': SECRET }), b: side(exact('ppk.lab'), { 'ppk.lab': OTHER }) });
    const { a, b } = made;
    made.net.run(60_000);
    expectNothingLeft(a, b);
    expect(made.net.transcript.messages.at(-1)!.summary).toMatch(/N\(AUTHENTICATION_FAILED\)/);
  });

  test.each([
    ['the responder has none, optional here', { a: exact('ppk.lab'), b: undefined }, true],
    ['the responder has none, mandatory here', { a: exact('ppk.lab', true), b: undefined }, false],
    ['the initiator has none, optional there', { a: undefined, b: exact('ppk.lab') }, true],
    ['the initiator has none, mandatory there', { a: undefined, b: exact('ppk.lab', true) }, false],
  ])('%s', (_what, policies, comesUp) => {
    const ppks = { 'ppk.lab': SECRET };
    const made = up({ a: side(policies.a, ppks), b: side(policies.b, ppks) });
    made.net.run(60_000);
    if (comesUp) expectOneChild(made.a, made.b);
    else expectNothingLeft(made.a, made.b);
    expect(made.net.transcript.messages.some((m) => m.summary.includes('PPK_IDENTITY'))).toBe(false);
    if (!comesUp) expect(errorsOf(made).flat()).toContain(policies.a ? 'PPK_NOT_SUPPORTED' : 'PPK_MISMATCH');
  });

  test('an initiator whose own PPK is missing says nothing of one; mandatory, it does not even begin', () => {
    const optional = up({ a: side(exact('ppk.lab'), {}), b: side(exact('ppk.lab'), { 'ppk.lab': SECRET }) });
    expectOneChild(optional.a, optional.b);
    expect(optional.net.transcript.messages[0]!.summary).not.toContain('USE_PPK');
    const mandatory = up({ a: side(exact('ppk.lab', true), {}), b: side(exact('ppk.lab'), { 'ppk.lab': SECRET }) });
    expect(mandatory.net.transcript.messages).toEqual([]);
    expectNothingLeft(mandatory.a, mandatory.b);
  });

  test('a responder with a pattern takes every PPK that fits it', () => {
    const ppks = { 'one.lab': SECRET, 'two.lab': OTHER };
    const { a, b } = up({ a: side(exact('two.lab', true), { 'two.lab': OTHER }), b: side({ id: { kind: 'any' }, required: true }, ppks) });
    expectOneChild(a, b);
    expect(b.ikeSas[0]!.ppk).toBe('two.lab');
  });

  test('with signatures, with a cookie, with additional key exchanges, in fragments', () => {
    const random = new SeededRandom('signatures');
    const options = both(true);
    const made = up({
      connection: {
        local: [{ auth: 'pubkey', id: undefined }],
        remote: [{ auth: 'pubkey', id: { kind: 'any' } }],
        proposals: [ikeProposal('aes256gcm16-prfsha512-x25519-ke1_mlkem768')],
        fragmentSize: 576,
      },
      a: { ...options.a, identity: { ...options.a!.identity, privateKey: seededEd25519(random) } },
      b: { ...options.b, identity: { ...options.b!.identity, privateKey: seededEd25519(random) }, limits: { cookieThreshold: 0 } },
    });
    expectOneChild(made.a, made.b);
    expect(made.a.ikeSas[0]!.ppk).toBe('ppk.lab');
    expectInvariants(made.net);
  });

  test('rekeyed IKE SAs and a restart keep it, and no PPK is asked for again', () => {
    const { net, a, b } = establishedPair(both(true));
    a.rekeyIke();
    net.settle();
    net.run(60_000);
    b.rekeyIke();
    net.settle();
    net.run(60_000);
    a.rekeyChild();
    net.settle();
    for (const peer of [a, b]) expect(peer.ikeSas.map(({ ppk }) => ppk)).toEqual(['ppk.lab']);
    b.restart('snapshot');
    net.settle();
    expect(b.ikeSas[0]!.ppk).toBe('ppk.lab');
    expectTrafficBothWays(net, a, b);
    expect(net.unread.some((m) => m.summary.includes('PPK'))).toBe(false);
  });

  test.each([
    ['never answered', 'never'],
    ['refused', 'fail'],
  ] as const)('whoever holds the PPK of the responder: %s. Mandatory, nobody comes in', (_what, outcome) => {
    const made = pair(both(true));
    made.b.fault({ ask: 'ppk', outcome });
    made.a.initiate();
    made.net.settle();
    made.net.run(120_000);
    expectNothingLeft(made.a, made.b);
  });

  test('the octets that the core was given are overwritten', () => {
    const given: Uint8Array[] = [];
    const lend = {
      get 'ppk.lab'() {
        const copy = SECRET.slice();
        const slice = copy.slice.bind(copy);
        copy.slice = () => {
          const lent = slice();
          given.push(lent);
          return lent;
        };
        return copy;
      },
    };
    const made = up({ a: side(exact('ppk.lab', true), lend), b: side(exact('ppk.lab', true), lend) });
    expectOneChild(made.a, made.b);
    expect(given).toHaveLength(2);
    for (const octets of given) expect(octets.every((octet) => octet === 0)).toBe(true);
  });

  test('SK_d = prf(PPK, SK_d | 0x01) where the PRF gives as much as its key has, and likewise SK_pi and SK_pr', () => {
    const random = new SeededRandom('keys');
    for (const id of [5, 6, 7, 8]) {
      const f = prf(id)!;
      const key = () => random.bytes(f.keyLength);
      const suite = { encryption: 20, keyLength: 128, integrity: 0, prf: id, keyExchange: 31 };
      const keys = { suite, SK_d: key(), SK_ai: key(), SK_ar: key(), SK_ei: key(), SK_er: key(), SK_pi: key(), SK_pr: key() };
      const mixed = mixPpk(keys, SECRET);
      for (const name of ['SK_d', 'SK_pi', 'SK_pr'] as const)
        expect(mixed[name]).toEqual(f.compute(SECRET, concat(keys[name], Uint8Array.of(1))));
      for (const name of ['SK_ai', 'SK_ar', 'SK_ei', 'SK_er'] as const) expect(mixed[name]).toBe(keys[name]);
    }
  });
});

describe('an initiator made by hand (RFC 8784 §3)', () => {
  const status = (type: number, data: Uint8Array = new Uint8Array(0)): Payload => ({
    kind: 'N',
    notify: type,
    protocol: 0,
    spi: new Uint8Array(0),
    data,
  });
  const identity = (id: string, type = 2): Payload => status(NotifyType.PPK_IDENTITY, concat(Uint8Array.of(type), utf8(id)));

  function answerTo(required: boolean, announce: boolean, notifies: readonly Payload[], options: RawOptions = {}): number[] | undefined {
    const net = new Net(9);
    const b = net.peer('b', '198.51.100.2', {
      connections: [
        connectionPolicy({
          ppk: exact('ppk.lab', required),
          children: [childPolicy({ localTs: [subnet('10.2.0.0/24')], remoteTs: [subnet('10.1.0.0/24')] })],
        }),
      ],
      identity: { ppks: { 'ppk.lab': SECRET } },
    });
    const raw = new RawInitiator(net, b, {
      initPayloads: (payloads) => (announce ? [...payloads, status(NotifyType.USE_PPK)] : payloads),
      authPayloads: (payloads) => [...payloads, ...notifies],
      ...options,
    });
    expect(raw.init()).toBe(true);
    return raw.auth()?.flatMap((p) => (p.kind === 'N' && p.notify < 16384 ? [p.notify] : []));
  }

  const FAILED = [NotifyType.AUTHENTICATION_FAILED];

  test.each<[string, boolean, boolean, readonly Payload[], number[]]>([
    ['announced and not named', false, true, [], FAILED],
    ['named with the PPK, AUTH made without it', false, true, [identity('ppk.lab')], FAILED],
    ['an unknown id without NO_PPK_AUTH', false, true, [identity('ppk.none')], FAILED],
    [
      'an unknown id with a wrong NO_PPK_AUTH',
      false,
      true,
      [identity('ppk.none'), status(NotifyType.NO_PPK_AUTH, new Uint8Array(32))],
      FAILED,
    ],
    ['an id of another type', false, true, [identity('ppk.lab', 1)], FAILED],
    ['an empty id', false, true, [status(NotifyType.PPK_IDENTITY)], FAILED],
    ['an id of 60000 octets', false, true, [identity('x'.repeat(60_000))], FAILED],
    ['named, though not announced', false, false, [identity('ppk.lab')], []],
    ['not announced, mandatory here', true, false, [], FAILED],
  ])('%s', (_what, required, announce, notifies, errors) => {
    expect(answerTo(required, announce, notifies)).toEqual(errors);
  });

  test('an unknown id, with NO_PPK_AUTH that is right and an AUTH that is not', () => {
    const authPayloads = (payloads: readonly Payload[]): Payload[] => {
      const auth = payloads.find((p) => p.kind === 'AUTH')!;
      const wrong = payloads.map((p) => (p.kind === 'AUTH' ? { ...p, data: new Uint8Array(32) } : p));
      return [...wrong, identity('ppk.none'), status(NotifyType.NO_PPK_AUTH, auth.data)];
    };
    expect(answerTo(false, true, [], { authPayloads })).toEqual([]);
    expect(answerTo(true, true, [], { authPayloads })).toEqual(FAILED);
  });
});
