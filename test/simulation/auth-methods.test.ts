import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../src/core/bytes/index.ts';
import { generateKey } from '../../src/core/pki/index.ts';
import { NotifyType, type Payload } from '../../src/core/wire/index.ts';
import {
  connectionPolicy,
  expectInvariants,
  expectNothingLeft,
  expectOneChild,
  expectTrafficBothWays,
  fqdn,
  ikeProposal,
  Net,
  pair,
} from '../../src/testing/index.ts';
import { RawInitiator } from './insider.ts';

const KEYS = { local: [{ auth: 'pubkey', id: undefined }], remote: [{ auth: 'pubkey', id: { kind: 'any' } }], authMethods: true } as const;
const withKeys = (name: string) => ({ identity: { id: fqdn(name), privateKey: generateKey('ed25519').privateKey } });
const ADDITIONAL = ikeProposal('aes128gcm16-prfsha256-x25519-ke1_ecp256');
const announced = (data: string): Payload => ({
  kind: 'N',
  protocol: 0,
  spi: new Uint8Array(0),
  notify: NotifyType.SUPPORTED_AUTH_METHODS,
  data: fromHex(data),
});

describe('announcing supported authentication methods (RFC 9593)', () => {
  test('both ends do, and show it, also after a rekeying and a restart', () => {
    const { net, a, b } = pair({ connection: { authMethods: true } });
    a.initiate();
    net.chart(`
      a → b  IKE_SA_INIT request { SA, KE, Ni, ... }
      b → a  IKE_SA_INIT response { SA, KE, Nr, N(SUPPORTED_AUTH_METHODS), ... }
      a → b  IKE_AUTH request { IDi, AUTH, N(SUPPORTED_AUTH_METHODS), SA, TSi, TSr, ... }
      b → a  IKE_AUTH response { IDr, AUTH, SA, TSi, TSr, ... }
    `);
    net.settle();
    a.rekeyIke();
    net.settle({ quiet: 120_000 });
    b.restart('snapshot');
    net.settle();
    for (const peer of [a, b]) expect(peer.established.map(({ authMethods }) => authMethods)).toEqual([['SHARED_KEY_MIC']]);
    expectTrafficBothWays(net, a, b);
    expectInvariants(net);
  });

  test.each([
    ['the initiator is told to keep out of it: the responder announces all the same', false, true, ['IKE_SA_INIT response']],
    ['the responder is told to keep out of it: the initiator has no reason to think that it is understood', true, false, []],
  ] as const)('%s', (_, ours, theirs, announcing) => {
    const { net, a, b } = pair({ a: { connection: { authMethods: ours } }, b: { connection: { authMethods: theirs } } });
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    for (const peer of [a, b]) expect(peer.ikeSas[0]!.authMethods).toBeUndefined();
    const told = net.transcript.messages.filter(({ summary }) => summary.includes('SUPPORTED_AUTH_METHODS'));
    expect(told.map(({ summary }) => summary.split(' ').slice(0, 2).join(' '))).toEqual(announcing);
  });

  test('what does not fit into IKE_SA_INIT comes in the IKE_INTERMEDIATE that is made anyway', () => {
    const { net, a, b } = pair({
      connection: { ...KEYS, proposals: [ADDITIONAL], fragmentSize: 576 },
      a: withKeys('a.lab'),
      b: withKeys('b.lab'),
    });
    a.initiate();
    net.chart(`
      a → b  IKE_SA_INIT request { SA, KE, Ni, N(INTERMEDIATE_EXCHANGE_SUPPORTED), ... }
      b → a  IKE_SA_INIT response { SA, KE, Nr, N(INTERMEDIATE_EXCHANGE_SUPPORTED), N(SUPPORTED_AUTH_METHODS), ... }
      a → b  IKE_INTERMEDIATE request { KE }
      b → a  IKE_INTERMEDIATE response { KE, N(SUPPORTED_AUTH_METHODS) }
    `);
    net.settle();
    expectOneChild(a, b);
    expect(a.ikeSas[0]!.authMethods).toContain('DIGITAL_SIGNATURE Ed25519');
    // it would make fragments of IKE_AUTH, which does without them otherwise
    expect(b.ikeSas[0]!.authMethods).toBeUndefined();
    expectInvariants(net);
  });

  test('an initiator whose IKE_AUTH is in fragments anyway announces there as well', () => {
    const { net, a, b } = pair({
      connection: { ...KEYS, remote: [{ ...KEYS.remote[0], schemes: ['ed25519'] }], fragmentSize: 300 },
      a: withKeys('a.lab'),
      b: { ...withKeys('b.lab'), connection: { fragmentSize: 1280 } },
    });
    a.initiate();
    net.settle();
    expectOneChild(a, b);
    for (const peer of [a, b]) expect(peer.ikeSas[0]!.authMethods).toContain('DIGITAL_SIGNATURE Ed25519');
  });

  test('or in one of its own; where IKE_INTERMEDIATE is not spoken nothing is said', () => {
    const net = new Net('auth methods');
    const gateway = connectionPolicy({ ...KEYS, proposals: [ikeProposal('aes128gcm16-prfsha256-x25519')], fragmentSize: 576 });
    const gw = net.peer('gw', '192.0.2.2', { ...withKeys('gw.lab'), connections: [gateway] });
    const plain = new RawInitiator(net, gw);
    expect(plain.init()).toBe(true);
    expect(plain.responses[0]!.payloads.filter((p) => p.kind === 'N' && p.notify === NotifyType.SUPPORTED_AUTH_METHODS)).toEqual([]);
    const supported: Payload = { ...announced(''), kind: 'N', notify: NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED } as Payload;
    const asking = new RawInitiator(net, gw, { initPayloads: (payloads) => [...payloads, supported] }, '203.0.113.51');
    expect(asking.init()).toBe(true);
    expect(asking.responses[0]!.payloads).toContainEqual(
      expect.objectContaining({ notify: NotifyType.SUPPORTED_AUTH_METHODS, data: new Uint8Array(0) }),
    );
    const answer = asking.intermediate([]);
    expect(answer).toEqual([expect.objectContaining({ notify: NotifyType.SUPPORTED_AUTH_METHODS })]);
    // once
    expect(asking.intermediate([])?.some((p) => p.kind === 'N' && p.notify === NotifyType.SUPPORTED_AUTH_METHODS)).toBe(false);
  });

  test.each([
    ['an announcement that is cut off', '0202 0a0e003005'],
    ['one without a length', '0202 00'],
    ['a length of one', '01'],
  ])('%s is counted, and nothing else', (_what, data) => {
    const net = new Net('malformed auth methods');
    const gw = net.peer('gw', '192.0.2.2', {
      connections: [connectionPolicy({ authMethods: true, remote: [{ auth: 'psk', id: { kind: 'any' } }] })],
    });
    const raw = new RawInitiator(net, gw, { authPayloads: (payloads) => [...payloads, announced(data.replaceAll(' ', ''))] });
    raw.init();
    expect(raw.auth()?.some((p) => p.kind === 'AUTH')).toBe(true);
    expect(gw.drops['auth-methods-malformed']).toBe(1);
    expect(gw.ikeSas[0]!.authMethods).toBeUndefined();
  });

  test('of several notifies the first counts; an empty one says nothing, and unknown methods are none of ours', () => {
    const ofInitiator = (...data: readonly string[]) => {
      const net = new Net(data.join());
      const gw = net.peer('gw', '192.0.2.2', {
        connections: [connectionPolicy({ authMethods: true, remote: [{ auth: 'psk', id: { kind: 'any' } }] })],
      });
      const raw = new RawInitiator(net, gw, { authPayloads: (payloads) => [...payloads, ...data.map(announced)] });
      raw.init();
      return { gw, answer: raw.auth() };
    };
    expect(ofInitiator('0202', '020d').gw.ikeSas[0]!.authMethods).toEqual(['SHARED_KEY_MIC']);
    expect(ofInitiator('').gw.ikeSas[0]!.authMethods).toBeUndefined();
    expect(ofInitiator('02c80202').gw.ikeSas[0]!.authMethods).toEqual(['200', 'SHARED_KEY_MIC']);
    const refused = ofInitiator('02c8');
    expect(refused.answer).toEqual([expect.objectContaining({ notify: NotifyType.AUTHENTICATION_FAILED })]);
    expect(refused.gw.established).toEqual([]);
  });

  test('a list that somebody on the way has changed ends the IKE SA: AUTH covers it', () => {
    const remote = [{ ...KEYS.remote[0], schemes: ['ed25519'] }];
    const { net, a, b } = pair({ connection: { ...KEYS, remote }, a: withKeys('a.lab'), b: withKeys('b.lab') });
    let changed = 0;
    net.internet.core.intercept((packet) => {
      const at = toHex(packet.data).indexOf('0a0e00300506032b6570') / 2;
      if (at < 0 || changed > 0) return undefined;
      changed++;
      return [{ ...packet, data: packet.data.map((octet, i) => (i === at + 2 ? 1 : octet)) }];
    });
    a.initiate();
    net.run(60_000);
    expect(changed).toBe(1);
    expect(a.heard('failed').map(({ error }) => error.code)).toEqual(['SIMULATED_REFUSAL']);
    expectNothingLeft(a, b);
  });
});
