import { getDiffieHellman } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/core/bytes/index.ts';
import { type KeyExchangeMethod, keyExchangeMethods } from '../../src/core/crypto/index.ts';
import { MODP_NUMBERS } from '../../src/core/crypto/key-exchange/modp-numbers.ts';
import { ExchangeType, NotifyType, type Payload, type Proposal, TransformType } from '../../src/core/wire/index.ts';
import { connection, ESP_PROPOSAL, IKE_PROPOSAL, settle } from '../core/ike/two-ends.ts';
import { initMessage, initPayloads, parsed, tell } from './support/hand-made.ts';
import { establish, establishedSas, type Trio, toRest, trio } from './support/life.ts';

/**
 * strongSwan CVE-2018-10811 and CVE-2023-41913, libreswan CVE-2015-3240 (g^x of zero) and CVE-2016-5391: public values that no honest peer
 * sends, to the responder and to the initiator, before keys exist and under valid ones. No key is derived from one, and nothing stays.
 */
interface BadValue {
  readonly what: string;
  /** @param length that an honest value would have */
  readonly make: (length: number) => Uint8Array;
  /** Only what an initiator sends can be wrong like this. */
  readonly requestOnly?: true;
}

/** One of each kind for every run; the others differ in the size of their numbers, and cost more. */
const EVERY_RUN = [14, 19, 22, 31, 32, 36];
const METHODS = keyExchangeMethods().filter(({ id }) => process.env.TUNNELWRIGHT_FULL !== undefined || EVERY_RUN.includes(id));

describe.each(METHODS.map((method) => [method.name, method] as const))('%s', (_name, method) => {
  const bad = badValues(method);
  const only = { proposals: [withOnly(IKE_PROPOSAL, method.id)] };

  test('an honest value is taken: what refuses below are the values', () => {
    const world = trio({ left: only, right: only });
    establish(world);
    expect(establishedSas(world.right)).toHaveLength(1);
  });

  test.each(bad.map((value) => [value.what, value] as const))('to the responder of IKE_SA_INIT: %s', (_what, { make }) => {
    const { right } = trio({ right: only });
    const ke = make(method.initiatorLength);
    const answers = parsed(tell(right, initMessage(initPayloads({ proposals: only.proposals, method: method.id, ke }))));
    expect(answers.length).toBeLessThanOrEqual(1);
    for (const { payloads } of answers) expect(payloads).toMatchObject([{ kind: 'N', notify: NotifyType.INVALID_SYNTAX }]);
    expect(right.has('ike-keys')).toEqual([]);
    expect(right.endpoint.info()).toEqual([]);
  });

  const answers = bad.filter(({ requestOnly }) => requestOnly !== true);
  test.each(answers.map((value) => [value.what, value] as const))('to the initiator of IKE_SA_INIT: %s', (_what, { make }) => {
    const world = trio({ left: only, right: only });
    const ke = make(method.responderLength);
    establish(world, (d, from) => (from === world.right ? world.meddler.rewrite(d, (payloads) => withKe(payloads, ke)) : d));
    expect(world.left.has('ike-keys')).toEqual([]);
    expect(world.left.sent.every(({ data }) => parsed([data])[0]!.header.exchange === ExchangeType.IKE_SA_INIT)).toBe(true);
    toRest(world.left);
    expect(world.left.endpoint.info()).toEqual([]);
  });

  test.each(['a new CHILD_SA', 'a rekeyed IKE SA'] as const)('in CREATE_CHILD_SA for %s, under valid keys: each of them', (what) => {
    for (const { make, requestOnly } of bad) {
      for (const direction of requestOnly ? (['request'] as const) : (['request', 'response'] as const)) {
        const world = established(method.id);
        const victim = direction === 'request' ? world.right : world.left;
        const ke = make(direction === 'request' ? method.initiatorLength : method.responderLength);
        let meddled = 0;
        begin(world, what);
        settle(world.left, world.right, 0, (datagram, from) => {
          if (from === victim || parsed([datagram.data])[0]!.header.exchange !== ExchangeType.CREATE_CHILD_SA) return datagram;
          meddled++;
          return world.meddler.rewrite(datagram, (payloads) => withKe(payloads, ke));
        });
        expect(meddled).toBeGreaterThan(0);
        expect(victim.has('child-up')).toHaveLength(1);
        expect(victim.has('ike-rekeyed')).toEqual([]);
        toRest(world.left);
        toRest(world.right);
      }
    }
  });
});

function badValues({ id, kind }: KeyExchangeMethod): BadValue[] {
  const lengths: BadValue[] = [
    { what: 'empty', make: () => new Uint8Array(0) },
    { what: 'one octet', make: () => Uint8Array.of(9) },
    { what: 'an octet short', make: (length) => new Uint8Array(length - 1).fill(5) },
    { what: 'an octet long', make: (length) => new Uint8Array(length + 1).fill(5) },
    { what: 'nearly as long as a payload can be', make: () => new Uint8Array(65_000).fill(5) },
  ];
  switch (kind) {
    case 'modp': {
      const prime = BigInt(`0x${primeOf(id)}`);
      const outside = id >= 22 ? { '2, which is not in the subgroup': 2n } : {};
      return [...lengths, ...numbers({ '0': 0n, '1': 1n, ...outside, 'p - 1': prime - 1n, p: prime, 'p + 1': prime + 1n }, bigEndian)];
    }
    case 'ecp':
      return [
        ...lengths,
        ...numbers({ '0, 0': 0n, 'a point off the curve': 5n }, bigEndian),
        { what: 'beyond the field', make: (n) => new Uint8Array(n).fill(0xff) },
      ];
    case 'montgomery':
      return [...lengths, ...numbers(id === 31 ? LOW_ORDER_25519 : LOW_ORDER_448, littleEndian)];
    case 'kem':
      return [
        ...lengths,
        { what: 'coefficients that are not reduced', make: (length) => new Uint8Array(length).fill(0xff), requestOnly: true },
      ];
  }
}

const primeOf = (id: number): string =>
  id in MODP_NUMBERS ? toHex(MODP_NUMBERS[id as 22].prime) : getDiffieHellman(`modp${id}`).getPrime('hex');

const numbers = (values: Readonly<Record<string, bigint>>, write: (value: bigint, length: number) => Uint8Array): BadValue[] =>
  Object.entries(values).map(([what, value]) => ({ what, make: (length) => write(value, length) }));

function bigEndian(value: bigint, length: number): Uint8Array {
  const hex = value.toString(16).padStart(2 * length, '0');
  return Uint8Array.from({ length }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

const littleEndian = (value: bigint, length: number): Uint8Array => bigEndian(value, length).reverse();

const withOnly = (proposal: Proposal, ...ids: readonly number[]): Proposal => ({
  ...proposal,
  transforms: [
    ...proposal.transforms.filter(({ type }) => type !== TransformType.KE),
    ...ids.map((id) => ({ type: TransformType.KE, id })),
  ],
});

const withKe = (payloads: readonly Payload[], data: Uint8Array): Payload[] =>
  payloads.map((payload) => (payload.kind === 'KE' ? { ...payload, data } : payload));

/** An IKE SA whose own and whose children's key exchange is this one. */
function established(id: number): Trio {
  const side = (name: 'left' | 'right') => ({
    proposals: [withOnly(IKE_PROPOSAL, id)],
    children: [{ ...connection(name).children[0]!, proposals: [withOnly(ESP_PROPOSAL, id)] }],
  });
  const world = trio({ left: side('left'), right: side('right') });
  establish(world);
  return world;
}

function begin({ left }: Trio, what: 'a new CHILD_SA' | 'a rekeyed IKE SA'): void {
  const ikeSa = establishedSas(left)[0]!.id;
  left.endpoint.command(what === 'a rekeyed IKE SA' ? { kind: 'rekey-ike', ikeSa } : { kind: 'create-child', ikeSa, child: 'net' }, 0);
}

const P25519 = (1n << 255n) - 19n;
const P448 = (1n << 448n) - (1n << 224n) - 1n;

/** Whatever the private value, the shared secret is zero (RFC 7748 §6.1, §6.2; RFC 8031 §3.1). */
const LOW_ORDER_25519: Readonly<Record<string, bigint>> = {
  '0': 0n,
  '1': 1n,
  'a point of order 8': 325606250916557431795983626356110631294008115727848805560023387167927233504n,
  'the other point of order 8': 39382357235489614581723060781553021112529911719440698176882885853963445705823n,
  'p - 1': P25519 - 1n,
  p: P25519,
  'p + 1': P25519 + 1n,
};
const LOW_ORDER_448: Readonly<Record<string, bigint>> = { '0': 0n, '1': 1n, 'p - 1': P448 - 1n, p: P448, 'p + 1': P448 + 1n };
