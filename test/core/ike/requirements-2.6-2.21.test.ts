import { describe, expect, test } from 'vitest';
import { concat, EMPTY } from '../../../src/core/bytes/index.ts';
import { encryptionKeyOctets, prf, prfPlus, prfTransforms, systemRandom } from '../../../src/core/crypto/index.ts';
import { EndpointWorld } from '../../../src/core/ike/endpoint-world.ts';
import { Endpoint } from '../../../src/core/ike/index.ts';
import { childKeys, type IkeSuite, initialKeys } from '../../../src/core/ike/keys.ts';
import { ExchangeType, NotifyType, parseMessage, writeMessage } from '../../../src/core/wire/index.ts';
import { scriptedRandom } from '../../../src/testing/seeded.ts';
import { connection, End, established, IKE_PROPOSAL, LIMITS, settle } from './two-ends.ts';

const initiate = (end: End) => end.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
const initsOf = (end: End) => end.sent.map(({ data }) => data).filter((data) => data[18] === ExchangeType.IKE_SA_INIT);
const filled = (octet: number, length = 32) => new Uint8Array(length).fill(octet);

describe('SPIs and cookies (RFC 7296 §2.6)', () => {
  test('an SPI that another IKE SA has is not chosen for a second one', () => {
    const random = () => scriptedRandom('spi', { ikeSpis: [filled(7, 8), filled(7, 8), filled(7, 8)] });
    const left = new End({ connections: [connection('left', { unique: 'never' })], random: random() });
    const right = new End({ connections: [connection('right', { unique: 'never' })], random: random() });
    for (let i = 0; i < 2; i++) {
      initiate(left);
      settle(left, right);
    }
    const both = [left, right].map((end) => end.endpoint.info());
    expect(both.map((sas) => sas.filter(({ state }) => state === 'established').length)).toEqual([2, 2]);
    expect(new Set(both[0]!.map(({ spiI }) => spiI.join())).size).toBe(2);
    expect(new Set(both[1]!.map(({ spiR }) => spiR.join())).size).toBe(2);
  });

  test('the request that brings the cookie is the one before with the cookie in front', () => {
    const left = new End({ connections: [connection('left')] });
    const right = new End({ connections: [connection('right')], limits: { ...LIMITS, cookieThreshold: 0 } });
    initiate(left);
    settle(left, right);
    const [first, second] = initsOf(left) as [Uint8Array, Uint8Array];
    const [cookie, ...others] = parseMessage(second).payloads;
    expect(cookie).toMatchObject({ kind: 'N', notify: 16390 });
    expect(others.map(({ kind }) => kind)).toEqual(parseMessage(first).payloads.map(({ kind }) => kind));
    const behind = 28 + ((second[30]! << 8) | second[31]!);
    expect(second.subarray(behind)).toEqual(first.subarray(28));
    expect(second.subarray(0, 8)).toEqual(first.subarray(0, 8));
  });

  test('a responder that has forgotten its cookie by the next request gets it once more (§2.6.1)', () => {
    const onlyP256 = { ...IKE_PROPOSAL, transforms: IKE_PROPOSAL.transforms.filter(({ type, id }) => type !== 4 || id === 19) };
    const left = new End({ connections: [connection('left')] });
    const right = new End({ connections: [connection('right', { proposals: [onlyP256] })], limits: { ...LIMITS, cookieThreshold: 0 } });
    initiate(left);
    settle(left, right, 0, (datagram, from) =>
      from === left && initsOf(left).length === 3 && datagram.data[18] === ExchangeType.IKE_SA_INIT
        ? { ...datagram, data: withoutFirst(datagram.data) }
        : datagram,
    );
    expect(initsOf(left).map((data) => parseMessage(data).payloads[0]!.kind)).toEqual(['SA', 'N', 'N', 'N']);
    expect(left.endpoint.info()[0]).toMatchObject({ state: 'established', suite: 'aes128gcm16/prfsha256/ecp256' });
  });

  test.each([
    ['COOKIE', NotifyType.COOKIE, filled(7, 16), ['N', 'SA', 'KE', 'Nonce', 'N', 'N', 'N', 'N']],
    ['INVALID_KE_PAYLOAD', NotifyType.INVALID_KE_PAYLOAD, new Uint8Array([0, 19]), ['SA', 'KE', 'Nonce', 'N', 'N', 'N', 'N']],
  ])('%s is heeded beside a whole answer as well: the request goes again without an SPI of the responder', (_, type, data, kinds) => {
    const left = new End({ connections: [connection('left')] });
    const [first, second] = [1, 2].map(() => new End({ connections: [connection('right')] })) as [End, End];
    initiate(left);
    settle(left, first, 0, (datagram, from) => {
      if (from === left) return initsOf(left).length === 1 ? datagram : undefined;
      return { ...datagram, data: withNotify(datagram.data, type, data) };
    });
    const [, again, ...more] = left.sent;
    expect(more).toEqual([]);
    const { header, payloads } = parseMessage(again!.data);
    expect(header.spiR).toEqual(filled(0, 8));
    expect(payloads.map(({ kind }) => kind)).toEqual(kinds);
    second.endpoint.receive({ local: again!.remote, remote: again!.local, data: again!.data, encap: false }, 0);
    settle(left, second);
    expect(left.endpoint.info()).toMatchObject([{ state: 'established', spiR: initsOf(second)[0]!.slice(8, 16) }]);
  });
});

test('our nonces have half the octets that any PRF has in its key (RFC 7296 §2.10)', () => {
  const { left, right } = established();
  const longest = Math.max(...prfTransforms().map(({ keyLength }) => keyLength));
  for (const end of [left, right])
    for (const payload of parseMessage(initsOf(end)[0]!).payloads)
      if (payload.kind === 'Nonce') expect(payload.data.length).toBeGreaterThanOrEqual(Math.max(16, longest / 2));
  expect.assertions(2);
});

test('an IKE SA that is over leaves no key behind (RFC 7296 §2.12)', () => {
  const options = { connections: [connection('left')], limits: LIMITS, random: systemRandom() };
  const world = new EndpointWorld(options);
  const left = Object.assign(new End(options), { endpoint: new Endpoint(options, world) });
  const right = new End({ connections: [connection('right')] });
  initiate(left);
  settle(left, right);
  const [sa] = [...world.ikeSas.values()];
  const { SK_d, SK_ei, SK_er } = sa!.keys;
  expect([SK_d, SK_ei, SK_er].some((key) => key.every((octet) => octet === 0))).toBe(false);
  left.endpoint.command({ kind: 'delete-ike', ikeSa: sa!.id }, 0);
  settle(left, right);
  expect(world.ikeSas.size).toBe(0);
  expect(concat(SK_d, SK_ei, SK_er).every((octet) => octet === 0)).toBe(true);
});

describe('keys (RFC 7296 §2.13, §2.14, §2.17)', () => {
  const nonces = { Ni: filled(1), Nr: filled(2) };
  const keysOf = (changes: Partial<IkeSuite>) => {
    const suite = { encryption: 12, keyLength: 256, integrity: 12, prf: 5, keyExchange: 31, ...changes };
    return initialKeys(suite, filled(3), nonces, { spiI: filled(4, 8), spiR: filled(5, 8) });
  };

  test.each([
    [2, 20],
    [4, 16],
    [5, 32],
    [7, 64],
  ])('with PRF %i, SK_d, SK_pi and SK_pr have its preferred length', (id, octets) => {
    const { SK_d, SK_pi, SK_pr } = keysOf({ prf: id });
    expect([SK_d, SK_pi, SK_pr].map(({ length }) => length)).toEqual([octets, octets, octets]);
  });

  test('a cipher with keys of several lengths has no key without a length', () => {
    for (const length of [undefined, 160])
      expect(() => encryptionKeyOctets(12, length)).toThrow(expect.objectContaining({ code: 'KEY_LENGTH' }));
    expect(encryptionKeyOctets(12, 192)).toBe(24);
  });

  test('PRF_AES128_CMAC says that its keys are of 16 octets', () => {
    expect(prf(8)).toMatchObject({ name: 'PRF_AES128_CMAC', keyLength: 16 });
    expect(keysOf({ prf: 8 }).SK_d).toHaveLength(16);
  });

  test('KEYMAT is taken from the initiator on, each time the encryption key and then the integrity key', () => {
    const ike = keysOf({});
    const suite = { protocol: 'ESP', encryption: 12, keyLength: 128, integrity: 2, esn: false, keyExchange: 0 } as const;
    const stream = prfPlus(prf(5)!, ike.SK_d, concat(nonces.Ni, nonces.Nr), 72);
    const half = (from: number) => ({ encryptionKey: stream.slice(from, from + 16), integrityKey: stream.slice(from + 16, from + 36) });
    expect(childKeys(ike, suite, nonces, [])).toEqual({ initiator: half(0), responder: half(36) });
  });
});

/** The message without its first payload. */
function withoutFirst(message: Uint8Array): Uint8Array {
  const behind = 28 + ((message[30]! << 8) | message[31]!);
  const shorter = concat(message.subarray(0, 28), message.subarray(behind));
  shorter[16] = message[28]!;
  new DataView(shorter.buffer).setUint32(24, shorter.length);
  return shorter;
}

function withNotify(message: Uint8Array, type: number, data: Uint8Array): Uint8Array {
  const { header, payloads } = parseMessage(message);
  return writeMessage(header, [...payloads, { kind: 'N', notify: type, protocol: 0, spi: EMPTY, data }]);
}
