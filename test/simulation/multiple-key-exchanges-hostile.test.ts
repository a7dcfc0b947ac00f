import { describe, expect, test } from 'vitest';
import { concat } from '../../src/core/bytes/index.ts';
import { ExchangeType, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import { childPolicy, connectionPolicy, fqdn, ikeProposal, Net, type Peer, subnet } from '../../src/testing/index.ts';
import { RawInitiator, type RawOptions } from './insider.ts';

const ML_KEM_768 = 36;
const ECP_384 = 20;

const HYBRID = ikeProposal('aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke2_ecp384');
const announce: Payload = {
  kind: 'N',
  notify: NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED,
  protocol: 0,
  spi: new Uint8Array(0),
  data: new Uint8Array(0),
};

function scene(options: RawOptions = {}, proposal = HYBRID): { net: Net; b: Peer; raw: RawInitiator } {
  const net = new Net(7);
  const b = net.peer('b', '198.51.100.2', {
    connections: [
      connectionPolicy({
        proposals: [proposal],
        children: [childPolicy({ localTs: [subnet('10.2.0.0/24')], remoteTs: [subnet('10.1.0.0/24')] })],
      }),
    ],
  });
  const raw = new RawInitiator(net, b, { proposal, initPayloads: (payloads) => [...payloads, announce], ...options });
  return { net, b, raw };
}

const errors = (payloads: readonly Payload[] | undefined): number[] | undefined =>
  payloads?.flatMap((p) => (p.kind === 'N' && p.notify < 16384 ? [p.notify] : []));

describe('an initiator made by hand (RFC 9242, RFC 9370)', () => {
  test('two additional key exchanges: its keys, its IntAuth and its AUTH are those of the endpoint', () => {
    const { b, raw } = scene();
    expect(raw.init()).toBe(true);
    expect(raw.intermediate(ML_KEM_768)?.map((p) => p.kind)).toEqual(['KE']);
    expect(raw.intermediate(ECP_384)?.map((p) => p.kind)).toEqual(['KE']);
    expect(errors(raw.auth())).toEqual([]);
    expect(b.established).toHaveLength(1);
    expect(b.established[0]!.suite).toBe('aes128gcm16/prfsha256/x25519/ke1_mlkem768/ke2_ecp384');
  });

  test('one exchange without a key exchange is answered, and covered by AUTH; where none was agreed as well', () => {
    const { b, raw } = scene();
    raw.init();
    expect(raw.intermediate([])).toEqual([]);
    raw.intermediate(ML_KEM_768);
    raw.intermediate(ECP_384);
    expect(errors(raw.auth())).toEqual([]);
    expect(b.established).toHaveLength(1);

    const plain = scene({}, ikeProposal('aes128gcm16-prfsha256-x25519'));
    plain.raw.init();
    expect(plain.raw.intermediate([])).toEqual([]);
    expect(errors(plain.raw.auth())).toEqual([]);
    expect(plain.b.established).toHaveLength(1);
  });

  test('a message changed on the way by somebody who has the keys makes AUTH fail', () => {
    const { b, raw } = scene();
    raw.init();
    // an unknown payload more than the initiator believes to have sent
    const forged: Payload[] = [{ kind: 'V', data: Uint8Array.of(1, 2, 3) }];
    expect(raw.intermediate([], () => raw.protect(ExchangeType.IKE_INTERMEDIATE, 1, forged))).toEqual([]);
    raw.intermediate(ML_KEM_768);
    raw.intermediate(ECP_384);
    expect(errors(raw.auth())).toEqual([NotifyType.AUTHENTICATION_FAILED]);
    expect(b.established).toHaveLength(0);
  });

  test.each<[string, (raw: RawInitiator) => readonly Payload[] | undefined]>([
    ['IKE_AUTH before the key exchanges', (raw) => raw.auth()],
    ['IKE_AUTH when one is still owed', (raw) => last(raw.intermediate(ML_KEM_768), raw.auth())],
    ['the second method first', (raw) => raw.intermediate(ECP_384)],
    ['a method that was not agreed', (raw) => raw.intermediate(31)],
    ['the same key exchange twice', (raw) => last(raw.intermediate(ML_KEM_768), raw.intermediate(ML_KEM_768))],
    ['a third key exchange', (raw) => last(raw.intermediate(ML_KEM_768), raw.intermediate(ECP_384), raw.intermediate(35))],
    ['a second exchange without key exchange', (raw) => last(raw.intermediate([]), raw.intermediate([]))],
    ['an encapsulation key of a wrong length', (raw) => raw.intermediate([{ kind: 'KE', method: ML_KEM_768, data: new Uint8Array(1183) }])],
    [
      'an encapsulation key that is not reduced',
      (raw) => raw.intermediate([{ kind: 'KE', method: ML_KEM_768, data: new Uint8Array(1184).fill(0xff) }]),
    ],
    [
      'two key exchanges at once',
      (raw) =>
        raw.intermediate([
          { kind: 'KE', method: ML_KEM_768, data: new Uint8Array(1184) },
          { kind: 'KE', method: ECP_384, data: new Uint8Array(96) },
        ]),
    ],
    ['an identity', (raw) => raw.intermediate([{ kind: 'IDi', ...fqdn('early.example') }])],
  ])('%s: INVALID_SYNTAX, and the half-open IKE SA ends', (_what, misbehave) => {
    const { net, b, raw } = scene();
    raw.init();
    expect(errors(misbehave(raw))).toEqual([NotifyType.INVALID_SYNTAX]);
    net.run(60_000);
    expect(b.ikeSas).toHaveLength(0);
    expect(b.established).toHaveLength(0);
  });

  test('IKE_INTERMEDIATE that was not announced is not answered', () => {
    const { b, raw } = scene({ initPayloads: (payloads) => payloads }, ikeProposal('aes128gcm16-prfsha256-x25519'));
    raw.init();
    expect(raw.intermediate([])).toBeUndefined();
    expect(b.heard('drop').at(-1)).toMatchObject({ cause: 'wrong-state' });
  });

  test('additional key exchanges without the announcement: NO_PROPOSAL_CHOSEN', () => {
    const { raw } = scene({ initPayloads: (payloads) => payloads });
    expect(raw.init()).toBe(false);
    expect(errors(raw.responses.at(-1)?.payloads)).toEqual([NotifyType.NO_PROPOSAL_CHOSEN]);
  });

  test('a copy of an exchange under the former keys brings the same answer, a changed copy none', () => {
    const { b, raw } = scene();
    raw.init();
    let sent = new Uint8Array(0);
    raw.intermediate(ML_KEM_768, (message) => {
      sent = message.slice();
      return message;
    });
    const first = raw.responses.at(-1)!.raw;
    expect(raw.send(sent).map(({ raw }) => raw)).toEqual([first]);
    const changed = concat(sent);
    changed[100]! ^= 1;
    expect(raw.send(changed)).toEqual([]);
    expect(b.heard('drop').at(-1)).toMatchObject({ cause: 'bad-icv' });
    raw.intermediate(ECP_384);
    expect(errors(raw.auth())).toEqual([]);
    // by now it is outside the window
    expect(raw.send(sent)).toEqual([]);
  });

  test('an IKE SA that never comes to IKE_AUTH is gone when half-open ones are, however many exchanges it began', () => {
    const { net, b, raw } = scene();
    raw.init();
    raw.intermediate(ML_KEM_768);
    net.run(9000);
    expect(b.ikeSas).toHaveLength(1);
    net.run(2000);
    expect(b.ikeSas).toHaveLength(0);
  });
});

/** What came of several messages in turn: the answer to the last. */
const last = <T>(...answers: readonly T[]): T | undefined => answers.at(-1);
