import { describe, expect, test } from 'vitest';
import { ExchangeType, type Payload, TsType } from '../../../src/core/wire/index.ts';
import { childPolicy, espProposal } from '../../../src/testing/policies.ts';
import { establishedSas, establishedTrio, type Trio } from '../../security/support/life.ts';
import { connection, type End, settle } from './two-ends.ts';

/** What a peer makes of its answer to CREATE_CHILD_SA, after it has put the SA in place. */
const SPOILT: readonly (readonly [what: string, spoil: (payloads: readonly Payload[]) => readonly Payload[]])[] = [
  ['without Nr', (payloads) => payloads.filter(({ kind }) => kind !== 'Nonce')],
  ['with two nonces', (payloads) => payloads.flatMap((p): Payload[] => (p.kind === 'Nonce' ? [p, p] : [p]))],
  ['without KEr', (payloads) => payloads.filter(({ kind }) => kind !== 'KE')],
  ['with a KEr that is no point', (payloads) => payloads.map((p) => (p.kind === 'KE' ? { ...p, data: new Uint8Array(32) } : p))],
  ['with something critical that nobody knows', (payloads) => [...payloads, { kind: 'unknown', type: 200, critical: true, data: NOTHING }]],
  [
    'with a proposal that was not offered',
    (payloads) => payloads.map((p) => (p.kind === 'SA' ? { ...p, proposals: [{ ...p.proposals[0]!, number: 77 }] } : p)),
  ],
  [
    'with an SPI of zeros',
    (payloads) =>
      payloads.map((p) =>
        p.kind === 'SA' ? { ...p, proposals: [{ ...p.proposals[0]!, spi: new Uint8Array(p.proposals[0]!.spi.length) }] } : p,
      ),
  ],
];

const NOTHING = new Uint8Array(0);

const ONLY_CHILD_SA: typeof SPOILT = [
  ['without TSr', (payloads) => payloads.filter(({ kind }) => kind !== 'TSr')],
  [
    'with more traffic than was asked for',
    (payloads) =>
      payloads.map((p) =>
        p.kind === 'TSr'
          ? {
              ...p,
              selectors: [
                {
                  type: TsType.TS_IPV4_ADDR_RANGE,
                  protocol: 0,
                  startPort: 0,
                  endPort: 65_535,
                  start: new Uint8Array(4),
                  end: new Uint8Array(4).fill(255),
                },
              ],
            }
          : p,
      ),
  ],
];

const children = (side: 'left' | 'right') => [
  childPolicy({ ...connection(side).children[0], proposals: [espProposal('aes128gcm16-noesn-x25519')], pfs: 'require' }),
];

function spoil(
  { left, right, meddler }: Trio,
  spoilt: (payloads: readonly Payload[]) => readonly Payload[],
  act: () => void,
  exchange: number = ExchangeType.CREATE_CHILD_SA,
): void {
  act();
  settle(left, right, 0, (datagram, from) => {
    const opened = meddler.open(datagram.data);
    const answers = from === right && opened?.message.header.exchange === exchange && opened.message.header.flags.response;
    return answers ? meddler.rewrite(datagram, spoilt) : datagram;
  });
}

/** Each half that stands at one end has its other half. */
function expectHalvesMatch(left: End, right: End): void {
  const halves = (end: End, way: 'inbound' | 'outbound') => [...end.children.values()].map((spec) => spec[way].spi).sort();
  expect(halves(left, 'inbound')).toEqual(halves(right, 'outbound'));
  expect(halves(left, 'outbound')).toEqual(halves(right, 'inbound'));
}

describe('RFC 7296 §1.4.1: an answer to CREATE_CHILD_SA of which nothing can be made leaves no half of an SA at the peer', () => {
  test.each([...SPOILT, ...ONLY_CHILD_SA])('a new CHILD_SA, %s', (_what, spoilt) => {
    const world = establishedTrio({ left: { children: children('left') }, right: { children: children('right') } });
    const { left, right } = world;
    spoil(world, spoilt, () => left.endpoint.command({ kind: 'create-child', ikeSa: establishedSas(left)[0]!.id, child: 'net' }, 0));
    expect(left.has('failed').length).toBeGreaterThan(0);
    expect(left.children.size).toBe(1);
    expectHalvesMatch(left, right);
    expect(establishedSas(left)).toHaveLength(1);
  });

  test.each([...SPOILT, ...ONLY_CHILD_SA])('a rekeyed CHILD_SA, %s: the old one serves on', (_what, spoilt) => {
    const world = establishedTrio({ left: { children: children('left') }, right: { children: children('right') } });
    const { left, right } = world;
    const [child] = establishedSas(left)[0]!.children;
    spoil(world, spoilt, () => left.endpoint.command({ kind: 'rekey-child', child: child!.id }, 0));
    expect(left.has('failed').length).toBeGreaterThan(0);
    expect(left.children.size).toBe(1);
    expectHalvesMatch(left, right);
    expect([left, right].map((end) => establishedSas(end)[0]!.children.map(({ state }) => state))).toEqual([['installed'], ['installed']]);
  });

  test.each([
    ['without KEr', (payloads: readonly Payload[]) => payloads.filter(({ kind }) => kind !== 'KE')],
    ['with two of them', (payloads: readonly Payload[]) => [...payloads, ...payloads]],
  ])('the last follow-up of a new CHILD_SA (RFC 9370 §2.2.4), %s', (_what, spoilt) => {
    const changes = (side: 'left' | 'right') => ({
      children: [
        childPolicy({ ...connection(side).children[0], proposals: [espProposal('aes128gcm16-noesn-x25519-ke1_ecp256')], pfs: 'require' }),
      ],
    });
    const world = establishedTrio({ left: changes('left'), right: changes('right') });
    const { left, right } = world;
    const act = () => left.endpoint.command({ kind: 'create-child', ikeSa: establishedSas(left)[0]!.id, child: 'net' }, 0);
    spoil(world, spoilt, act, ExchangeType.IKE_FOLLOWUP_KE);
    expect(left.has('failed').length).toBeGreaterThan(0);
    expect(right.has('child-up')).toHaveLength(2);
    expectHalvesMatch(left, right);
  });

  test.each(SPOILT)('a rekeyed IKE SA, %s: it is not taken', (_what, spoilt) => {
    const world = establishedTrio();
    const { left } = world;
    spoil(world, spoilt, () => left.endpoint.command({ kind: 'rekey-ike', ikeSa: establishedSas(left)[0]!.id }, 0));
    expect(left.has('failed').length).toBeGreaterThan(0);
    expect(left.has('ike-rekeyed')).toEqual([]);
    expect(establishedSas(left).map(({ state }) => state)).toEqual(['established']);
  });
});
