import { describe, expect, test } from 'vitest';
import { parseKeyword } from '../../src/core/crypto/index.ts';
import {
  ExchangeType,
  NotifyType,
  type Payload,
  PayloadType,
  type Proposal,
  type Transform,
  TransformType,
} from '../../src/core/wire/index.ts';
import { connection, settle } from '../core/ike/two-ends.ts';
import { expectAtOnce } from '../support/at-once.ts';
import { anyPayload, initMessage, initPayloads, parsed, tell } from './support/hand-made.ts';
import { establish, establishedSas, type Trio, type TrioOptions, toRest, trio } from './support/life.ts';

/**
 * strongSwan CVE-2018-10811 (a proposal from which no PRF could be made) and libreswan CVE-2016-5391 (one without key exchange): proposals
 * that lack each transform type, or have what must not stand together, as offer and as answer, in every exchange that has an SA payload.
 */
const SUITES = {
  AEAD: { ike: proposal(1, 'aes128gcm16', 'prfsha256', 'x25519'), esp: proposal(3, 'aes128gcm16', 'x25519', 'noesn') },
  'CBC and HMAC': { ike: proposal(1, 'aes128', 'sha256', 'prfsha256', 'x25519'), esp: proposal(3, 'aes128', 'sha256', 'x25519', 'noesn') },
};

type Change = (proposal: Proposal) => Proposal;

const without = (type: number): Change => change((transforms) => transforms.filter((t) => t.type !== type));
const twice = (type: number): Change => change((transforms) => transforms.flatMap((t) => (t.type === type ? [t, t] : [t])));
const with_ = (...more: Transform[]): Change => change((transforms) => [...transforms, ...more]);
const replaced = (type: number, by: Partial<Transform>): Change =>
  change((transforms) => transforms.map((t) => (t.type === type ? { ...t, ...by } : t)));

/** What makes every proposal meaningless, whatever it is for. */
const NEVER: Readonly<Record<string, Change>> = {
  'no transform at all': change(() => []),
  'no ENCR': without(TransformType.ENCR),
  'another protocol': (p) => ({ ...p, protocol: 2 }),
  'protocol 0': (p) => ({ ...p, protocol: 0 }),
  'no Key Length': change((transforms) =>
    transforms.map(({ type, id, keyLength, ...rest }) => ({ type, id, ...(type === 1 ? rest : { keyLength, ...rest }) }) as Transform),
  ),
  'Key Length 0': replaced(TransformType.ENCR, { keyLength: 0 }),
  'Key Length 127': replaced(TransformType.ENCR, { keyLength: 127 }),
  'Key Length 65535': replaced(TransformType.ENCR, { keyLength: 65_535 }),
  'a Key Length where none may be': replaced(TransformType.ENCR, { id: 28 }),
  'a transform type nobody knows': with_({ type: 200, id: 1 }),
  'ENCR 0': replaced(TransformType.ENCR, { id: 0 }),
};
const NEVER_FOR_IKE: Readonly<Record<string, Change>> = {
  'no PRF': without(TransformType.PRF),
  'PRF 0': replaced(TransformType.PRF, { id: 0 }),
  'HMAC-MD5 as PRF': replaced(TransformType.PRF, { id: 1 }),
  'no key exchange': without(TransformType.KE),
  'key exchange NONE': replaced(TransformType.KE, { id: 0 }),
  'NULL encryption': replaced(TransformType.ENCR, { id: 11 }),
};

describe.each(Object.entries(SUITES))('%s', (name, suite) => {
  const aead = name === 'AEAD';
  const integrity: Readonly<Record<string, Change>> = aead
    ? { 'INTEG beside it': with_({ type: TransformType.INTEG, id: 12 }) }
    : { 'no INTEG': without(TransformType.INTEG), 'INTEG NONE': replaced(TransformType.INTEG, { id: 0 }) };
  const options: TrioOptions = { left: policy('left', suite), right: policy('right', suite) };
  const forIke = Object.entries({ ...NEVER, ...NEVER_FOR_IKE, ...integrity });
  const forChild = Object.entries({ ...NEVER, ...integrity });

  test('as it is, it is taken, in every exchange', () => {
    const world = trio(options);
    establish(world);
    for (const what of ['child', 'ike'] as const) begin(world, what);
    settle(world.left, world.right);
    expect([world.right.has('child-up').length, world.right.has('ike-rekeyed').length]).toEqual([2, 1]);
  });

  test.each(forIke)('offered in IKE_SA_INIT with %s: NO_PROPOSAL_CHOSEN, and nothing is kept', (_what, edit) => {
    const { right } = trio(options);
    const answers = parsed(tell(right, initMessage(initPayloads({ proposals: [edit(suite.ike)] }))));
    expect(answers.flatMap(({ payloads }) => payloads)).toMatchObject([{ kind: 'N', notify: NotifyType.NO_PROPOSAL_CHOSEN }]);
    expect(right.has('ike-keys')).toEqual([]);
    expect(right.endpoint.info()).toEqual([]);
  });

  test.each(forIke)('answered in IKE_SA_INIT with %s: no key is made of it', (_what, edit) => {
    const world = trio(options);
    establish(world, (d, from) => (from === world.right ? world.meddler.rewrite(d, withSa(edit)) : d));
    expect(world.left.has('ike-keys')).toEqual([]);
    toRest(world.left);
    expect(world.left.endpoint.info()).toEqual([]);
  });

  test.each(forChild)('of the CHILD_SA in IKE_AUTH, offered and answered with %s: no CHILD_SA', (_what, edit) => {
    for (const direction of ['request', 'response'] as const) {
      const world = trio(options);
      const victim = direction === 'request' ? world.right : world.left;
      establish(world, (d, from) =>
        from !== victim && exchangeOf(d.data) === ExchangeType.IKE_AUTH ? world.meddler.rewrite(d, withSa(edit)) : d,
      );
      expect(victim.has('child-up')).toEqual([]);
      expect(victim.children.size).toBe(0);
    }
  });

  test.each([
    ...forChild.map(([what, edit]) => ['child', what, edit] as const),
    ...forIke.map(([what, edit]) => ['ike', what, edit] as const),
  ])('in CREATE_CHILD_SA, %s, offered and answered with %s: nothing new', (what, _change, edit) => {
    for (const direction of ['request', 'response'] as const) {
      const world = trio(options);
      establish(world);
      const victim = direction === 'request' ? world.right : world.left;
      let meddled = 0;
      begin(world, what);
      settle(world.left, world.right, 0, (d, from) => {
        if (from === victim || exchangeOf(d.data) !== ExchangeType.CREATE_CHILD_SA || meddled++ > 0) return d;
        return world.meddler.rewrite(d, withSa(edit));
      });
      expect(meddled).toBeGreaterThan(0);
      expect([victim.has('child-up').length, victim.has('ike-rekeyed').length]).toEqual([1, 0]);
      toRest(world.left);
      toRest(world.right);
    }
  });

  test.each([TransformType.ENCR, TransformType.PRF, TransformType.INTEG, TransformType.KE])(
    'an answer that chooses two transforms of type %i chooses nothing',
    (type) => {
      if (!suite.ike.transforms.some((t) => t.type === type)) return;
      const world = trio(options);
      establish(world, (d, from) => (from === world.right ? world.meddler.rewrite(d, withSa(twice(type))) : d));
      expect(world.left.has('ike-keys')).toEqual([]);
    },
  );
});

describe('SPIs of proposals', () => {
  const suite = SUITES.AEAD;
  const options: TrioOptions = { left: policy('left', suite), right: policy('right', suite) };

  test.each([0, 1, 3, 5, 8, 16, 255])('of %i octets for ESP: no CHILD_SA', (length) => {
    for (const direction of ['request', 'response'] as const) {
      const world = trio(options);
      const victim = direction === 'request' ? world.right : world.left;
      establish(world, (d, from) =>
        from !== victim && exchangeOf(d.data) === ExchangeType.IKE_AUTH
          ? world.meddler.rewrite(
              d,
              withSa((p) => ({ ...p, spi: new Uint8Array(length).fill(9) })),
            )
          : d,
      );
      expect(victim.has('child-up')).toEqual([]);
    }
  });

  test.each([0, 1, 4, 7, 9, 255])('of %i octets for a rekeyed IKE SA, or zero: no IKE SA', (length) => {
    for (const fill of [0, 9]) {
      for (const direction of ['request', 'response'] as const) {
        const world = trio(options);
        establish(world);
        const victim = direction === 'request' ? world.right : world.left;
        begin(world, 'ike');
        settle(world.left, world.right, 0, (d, from) =>
          from !== victim && exchangeOf(d.data) === ExchangeType.CREATE_CHILD_SA
            ? world.meddler.rewrite(
                d,
                withSa((p) => ({ ...p, spi: new Uint8Array(length).fill(fill) })),
              )
            : d,
        );
        expect(victim.has('ike-rekeyed')).toEqual([]);
        expect(establishedSas(victim).length).toBeLessThanOrEqual(1);
      }
    }
  });

  test('of eight zeros for a rekeyed IKE SA: no IKE SA (RFC 7296 §3.1: zero is no SPI)', () => {
    const world = trio(options);
    establish(world);
    begin(world, 'ike');
    settle(world.left, world.right, 0, (d, from) =>
      from === world.left && exchangeOf(d.data) === ExchangeType.CREATE_CHILD_SA
        ? world.meddler.rewrite(
            d,
            withSa((p) => ({ ...p, spi: new Uint8Array(8) })),
          )
        : d,
    );
    expect(world.right.has('ike-rekeyed')).toEqual([]);
  });

  test('none at all, hundreds of proposals, and hundreds of transforms: read or refused, and quickly', () => {
    const { right } = trio(options);
    const [, ke, nonce] = initPayloads() as [Payload, Payload, Payload];
    const many: Payload[] = [
      anyPayload(PayloadType.SA, new Uint8Array(0)),
      { kind: 'SA', proposals: Array.from({ length: 255 }, () => suite.ike) },
      { kind: 'SA', proposals: [{ ...suite.ike, transforms: Array.from({ length: 255 }, () => suite.ike.transforms[0]!) }] },
    ];
    for (const sa of many) {
      expectAtOnce(() => expect(tell(right, initMessage([sa, ke, nonce])).length).toBeLessThanOrEqual(1), 250);
    }
  });
});

function proposal(protocol: number, ...words: readonly string[]): Proposal {
  return { number: 1, protocol, spi: new Uint8Array(0), transforms: words.map((word) => parseKeyword(word)!) };
}

function policy(side: 'left' | 'right', { ike, esp }: { readonly ike: Proposal; readonly esp: Proposal }) {
  return { proposals: [ike], children: [{ ...connection(side).children[0]!, proposals: [esp] }] };
}

function change(edit: (transforms: readonly Transform[]) => readonly Transform[]): Change {
  return (p) => ({ ...p, transforms: edit(p.transforms) });
}

const withSa =
  (edit: Change) =>
  (payloads: readonly Payload[]): Payload[] =>
    payloads.map((payload) => (payload.kind === 'SA' ? { ...payload, proposals: payload.proposals.map(edit) } : payload));

const exchangeOf = (data: Uint8Array): number => data[18]!;

function begin({ left }: Trio, what: 'child' | 'ike'): void {
  const ikeSa = establishedSas(left)[0]!.id;
  left.endpoint.command(what === 'ike' ? { kind: 'rekey-ike', ikeSa } : { kind: 'create-child', ikeSa, child: 'net' }, 0);
}
