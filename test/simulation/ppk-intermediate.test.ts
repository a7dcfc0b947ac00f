import { describe, expect, test } from 'vitest';
import { concat, utf8 } from '../../src/core/bytes/index.ts';
import { NotifyType, type Payload } from '../../src/core/wire/index.ts';
import {
  connectionPolicy,
  establishedPair,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  ikeProposal,
  Net,
  type Pair,
  pair,
} from '../../src/testing/index.ts';
import { RawInitiator } from './insider.ts';
import { bothWith, type Choice, errorsOf, OTHER, ppkPolicy, SECRET, side, up } from './ppk-pairs.ts';

const said = ({ net }: Pair, what: string): boolean => net.transcript.messages.some((m) => m.summary.includes(what));

describe('post-quantum pre-shared keys in IKE_INTERMEDIATE (RFC 9867)', () => {
  test.each([true, false])('mixed in before anybody says who he is, required: %s', (required) => {
    const made = pair(bothWith({ required }));
    const { net, a, b } = made;
    a.initiate();
    net.chart(`
      a → b  IKE_SA_INIT request { SA, KE, Ni, N(USE_PPK_INT), N(USE_PPK), ... }
      b → a  IKE_SA_INIT response { SA, KE, Nr, N(USE_PPK_INT), ... }
      a → b  IKE_INTERMEDIATE request { N(PPK_IDENTITY_KEY) }
      b → a  IKE_INTERMEDIATE response { N(PPK_IDENTITY) }
      a → b  IKE_AUTH request { IDi, AUTH, SA, TSi, TSr, ... }
      b → a  IKE_AUTH response { IDr, AUTH, SA, TSi, TSr, ... }
    `);
    net.settle();
    expectOneChild(a, b);
    expectTrafficBothWays(net, a, b);
    for (const peer of [a, b]) expect(peer.ikeSas[0]!.ppk).toBe('ppk.lab');
    expect(said(made, 'NO_PPK_AUTH')).toBe(false);
    expect(errorsOf(made)).toEqual([[], []]);
    expectInvariants(net);
  });

  test('the last of several key exchanges has it with it', () => {
    const made = pair({
      ...bothWith({ required: true }),
      connection: { proposals: [ikeProposal('aes256gcm16-prfsha512-x25519-ke1_mlkem768-ke2_ecp384')], fragmentSize: 576 },
    });
    made.a.initiate();
    made.net.chart(`
      a → b  IKE_SA_INIT request { SA, KE, Ni, N(INTERMEDIATE_EXCHANGE_SUPPORTED), N(USE_PPK_INT), N(USE_PPK), ... }
      b → a  IKE_SA_INIT response { SA, KE, Nr, N(INTERMEDIATE_EXCHANGE_SUPPORTED), N(USE_PPK_INT), ... }
      a → b  IKE_INTERMEDIATE request { KE }
      b → a  IKE_INTERMEDIATE response { KE }
      a → b  IKE_INTERMEDIATE request { KE, N(PPK_IDENTITY_KEY) }
      b → a  IKE_INTERMEDIATE response { KE, N(PPK_IDENTITY) }
    `);
    made.net.settle();
    expectOneChild(made.a, made.b);
    expect(made.b.ikeSas[0]!.ppk).toBe('ppk.lab');
    expectInvariants(made.net);
  });

  test.each<[string, Choice, Choice, 'IKE_INTERMEDIATE' | 'IKE_AUTH' | undefined]>([
    ['either end only in IKE_AUTH', { exchange: 'IKE_AUTH' }, {}, 'IKE_AUTH'],
    ['the responder only in IKE_AUTH', { required: true }, { required: true, exchange: 'IKE_AUTH' }, 'IKE_AUTH'],
    ['both only here', { exchange: 'IKE_INTERMEDIATE' }, { exchange: 'IKE_INTERMEDIATE' }, 'IKE_INTERMEDIATE'],
    ['nowhere in common, and optional', { exchange: 'IKE_INTERMEDIATE' }, { exchange: 'IKE_AUTH' }, undefined],
  ])('%s', (_what, ours, theirs, exchange) => {
    const made = up({ a: side(ppkPolicy('ppk.lab', ours)), b: side(ppkPolicy('ppk.lab', theirs)) });
    expectOneChild(made.a, made.b);
    for (const peer of [made.a, made.b]) expect(peer.ikeSas[0]!.ppk).toBe(exchange && 'ppk.lab');
    expect(said(made, 'N(PPK_IDENTITY_KEY)')).toBe(exchange === 'IKE_INTERMEDIATE');
    expect(said(made, 'N(NO_PPK_AUTH)')).toBe(exchange === 'IKE_AUTH' && ours.required !== true);
  });

  test('nowhere in common, and the initiator insists', () => {
    const made = up({
      a: side(ppkPolicy('ppk.lab', { required: true, exchange: 'IKE_INTERMEDIATE' })),
      b: side(ppkPolicy('ppk.lab', { exchange: 'IKE_AUTH' })),
    });
    expectNothingLeft(made.a);
    expect(errorsOf(made)[0]).toContain('PPK_NOT_SUPPORTED');
  });

  test.each<[string, Record<string, Uint8Array>]>([
    ['that is not known there', { 'ppk.other': OTHER }],
    ['with another secret there', { 'ppk.lab': OTHER }],
  ])('one %s, optional: both go on without, and the responder says so', (_what, ppks) => {
    const made = up({ a: side(ppkPolicy('ppk.lab')), b: side({ id: { kind: 'any' }, required: false }, ppks) });
    expectOneChild(made.a, made.b);
    expectTrafficBothWays(made.net, made.a, made.b);
    for (const peer of [made.a, made.b]) expect(peer.ikeSas[0]!.ppk).toBeUndefined();
    expect(made.b.heard('failed').map(({ what }) => what)).toEqual(['mixing in a post-quantum pre-shared key']);
  });

  test.each<[string, Choice, Choice]>([
    ['at the initiator', { required: true }, {}],
    ['at the responder', {}, { required: true }],
    ['at both', { required: true }, { required: true }],
  ])('another secret under the same id, mandatory %s: nobody comes in', (_where, ours, theirs) => {
    const made = up({ a: side(ppkPolicy('ppk.lab', ours)), b: side(ppkPolicy('ppk.lab', theirs), { 'ppk.lab': OTHER }) });
    made.net.run(60_000);
    expectNothingLeft(made.a, made.b);
    expect(errorsOf(made).flat()).toContain(theirs.required ? 'PPK_MISMATCH' : 'PPK_REFUSED');
    expect(said(made, 'N(AUTHENTICATION_FAILED)')).toBe(theirs.required === true);
    expect(said(made, 'IKE_AUTH request')).toBe(false);
  });

  test('rekeyed IKE SAs and a restart keep it', () => {
    const { net, a, b } = establishedPair(bothWith({ required: true }));
    a.rekeyIke();
    net.settle();
    net.run(60_000);
    b.rekeyChild();
    net.settle();
    b.restart('snapshot');
    net.settle();
    for (const peer of [a, b]) expect(peer.ikeSas.map(({ ppk }) => ppk)).toEqual(['ppk.lab']);
    expectTrafficBothWays(net, a, b);
  });

  test('under loss', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const made = pair({ ...bothWith({ required: true }), seed, link: { loss: 0.2, delay: 20, jitter: 40 } });
      made.a.initiate();
      made.net.until('both have a child', () => made.a.children.length === 1 && made.b.children.length === 1);
      expect(made.a.ikeSas[0]!.ppk).toBe('ppk.lab');
    }
  });
});

describe('an initiator made by hand (RFC 9867 §3.1)', () => {
  const status = (type: number, data: Uint8Array = new Uint8Array(0)): Payload => ({
    kind: 'N',
    notify: type,
    protocol: 0,
    spi: new Uint8Array(0),
    data,
  });

  function begun(required: boolean, proposal = 'aes128gcm16-prfsha256-x25519'): RawInitiator {
    const net = new Net(9);
    const b = net.peer('b', '198.51.100.2', {
      connections: [connectionPolicy({ ppk: ppkPolicy('ppk.lab', { required }), proposals: [ikeProposal(proposal)] })],
      identity: { ppks: { 'ppk.lab': SECRET } },
    });
    const raw = new RawInitiator(net, b, {
      proposal: ikeProposal(proposal),
      initPayloads: (payloads) => [...payloads, status(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED), status(NotifyType.USE_PPK_INT)],
    });
    expect(raw.init()).toBe(true);
    return raw;
  }
  const errors = (payloads: readonly Payload[] | undefined) =>
    payloads?.flatMap((p) => (p.kind === 'N' && p.notify < 16384 ? [p.notify] : []));
  const isProven = (payloads: readonly Payload[] | undefined) => payloads?.some(({ kind }) => kind === 'AUTH');

  test('keys by its own arithmetic, with a PPK among some that are not known', () => {
    const raw = begun(true);
    const named = [raw.ppkIdentityKey('nobody', OTHER), raw.ppkIdentityKey('ppk.lab', SECRET)];
    expect(raw.intermediate(named)).toMatchObject([
      { kind: 'N', notify: NotifyType.PPK_IDENTITY, data: concat(Uint8Array.of(2), utf8('ppk.lab')) },
    ]);
    raw.mixPpk(SECRET);
    expect(isProven(raw.auth())).toBe(true);
  });

  test.each<[string, (raw: RawInitiator) => readonly Payload[], number]>([
    ['a confirmation of other octets', (raw) => [raw.ppkIdentityKey('ppk.lab', OTHER)], NotifyType.AUTHENTICATION_FAILED],
    ['an id that is not known', (raw) => [raw.ppkIdentityKey('ppk.none', SECRET)], NotifyType.AUTHENTICATION_FAILED],
    ['a confirmation alone', () => [status(NotifyType.PPK_IDENTITY_KEY, new Uint8Array(8))], NotifyType.INVALID_SYNTAX],
    ['no octets at all', () => [status(NotifyType.PPK_IDENTITY_KEY)], NotifyType.INVALID_SYNTAX],
    [
      'the right one behind more than are looked at',
      (raw) => [...Array.from({ length: 8 }, (_, i) => raw.ppkIdentityKey(`ppk${i}`, OTHER)), raw.ppkIdentityKey('ppk.lab', SECRET)],
      NotifyType.AUTHENTICATION_FAILED,
    ],
  ])('mandatory, and %s', (_what, named, error) => {
    const raw = begun(true);
    expect(errors(raw.intermediate(named(raw)))).toEqual([error]);
  });

  test('mandatory, and none was named: proven, yet not let in', () => {
    const raw = begun(true);
    expect(errors(raw.auth())).toEqual([NotifyType.AUTHENTICATION_FAILED]);
    const empty = begun(true);
    expect(empty.intermediate([])).toEqual([]);
    expect(errors(empty.auth())).toEqual([NotifyType.AUTHENTICATION_FAILED]);
  });

  test('optional, and none was named: let in without', () => {
    const raw = begun(false);
    expect(raw.intermediate([])).toEqual([]);
    expect(isProven(raw.auth())).toBe(true);
  });

  test('a PPK in an exchange that is not the last is not heeded', () => {
    const raw = begun(true, 'aes128gcm16-prfsha256-x25519-ke1_ecp256');
    expect(raw.intermediate([raw.ppkIdentityKey('ppk.lab', SECRET)])).toEqual([]);
  });
});
