import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/core/bytes/index.ts';
import {
  ExchangeType,
  type IkeHeader,
  NotifyType,
  PAYLOADS,
  type Payload,
  PayloadType,
  type Proposal,
  TransformType,
} from '../../src/core/wire/index.ts';
import { connection, End, ESP_PROPOSAL, IKE_PROPOSAL, LIMITS, settle } from '../core/ike/two-ends.ts';
import { anyPayload, freshSpi, initMessage, initPayloads, parsed, tell } from './support/hand-made.ts';
import { establishedSas, establishedTrio, sober, type Trio, trio } from './support/life.ts';
import { nameOfPayload } from './support/meddler.ts';

/**
 * strongSwan CVE-2014-9221 (a key exchange id that no registry has) and CVE-2015-3991 (payload types of IKEv1 inside IKEv2): every number
 * that the fields can hold, to an endpoint that lives.
 */
const IDS = 65_536;
const OURS: readonly number[] = IKE_PROPOSAL.transforms.filter(({ type }) => type === TransformType.KE).map(({ id }) => id);

describe('CVE-2014-9221: all 65,536 key exchange ids', { timeout: 3_600_000 }, () => {
  test('in IKE_SA_INIT, beside one that we have: the answer names that one, and nothing is kept', () => {
    const right = responder();
    const message = numbered((id) =>
      initMessage(withMethod(initPayloads({ proposals: [offering(IKE_PROPOSAL, id, 31)], ke: PUBLIC_VALUE }), id), SPI),
    );
    expectForAll(right, allIds(), message, [NotifyType.INVALID_KE_PAYLOAD, 0, 31]);
    expect(right.endpoint.info()).toEqual([]);
  });

  test('in IKE_SA_INIT, alone: no proposal is chosen, and nothing is kept', () => {
    const right = responder();
    const message = numbered((id) =>
      initMessage(withMethod(initPayloads({ proposals: [offering(IKE_PROPOSAL, id)], ke: PUBLIC_VALUE }), id), SPI),
    );
    expectForAll(right, sampledIds(), message, [NotifyType.NO_PROPOSAL_CHOSEN]);
    expect(right.endpoint.info()).toEqual([]);
  });

  test('under the id of each method that we have, octets that belong to another: refused, and nothing is kept', () => {
    const right = responder();
    const octets = new Uint8Array(33);
    for (const id of OURS) {
      expectRefusal(tell(right, initMessage(withMethod(initPayloads({ proposals: [offering(IKE_PROPOSAL, id)], ke: octets }), id))), [
        NotifyType.INVALID_SYNTAX,
      ]);
    }
    expect(right.endpoint.info()).toEqual([]);
  });

  test.each([
    ['a CHILD_SA', (id: number) => newChild(id), 31],
    ['a rekeyed IKE SA', (id: number) => newIkeSa(id), 31],
  ])('in CREATE_CHILD_SA for %s, under valid keys: the answer names one that we have, and the IKE SA lives', (_what, payloads, ours) => {
    const world = establishedTrio();
    const ask = asker(world);
    const before = made(world.right);
    for (const id of sampledIds()) {
      // 0 is NONE: a CHILD_SA may do without
      if (id === 0 || OURS.includes(id)) continue;
      const answer = ask(ExchangeType.CREATE_CHILD_SA, payloads(id));
      const [notify] = answer;
      if (answer.length !== 1 || notify?.kind !== 'N' || notify.notify !== NotifyType.INVALID_KE_PAYLOAD || notify.data[1] !== ours)
        throw new Error(`id ${id}: ${answer.map(nameOfPayload).join(', ')}`);
    }
    expect(made(world.right)).toBe(before);
    expect(establishedSas(world.right)).toHaveLength(1);
  });
});

const KNOWN: ReadonlySet<number> = new Set(PAYLOADS.map(({ type }) => type));
const TYPES = Array.from({ length: 256 }, (_, type) => type).filter((type) => type !== PayloadType.NONE);
/** What is unknown has no form: one body will do. */
const bodiesFor = (type: number): readonly Uint8Array[] => (KNOWN.has(type) ? BODIES : [BODIES[type % BODIES.length]!]);
const BODIES = [new Uint8Array(0), new Uint8Array(1), Uint8Array.of(0, 0, 0, 1), new Uint8Array(64).fill(0xff)];

describe('CVE-2015-3991: all 256 payload types, with bodies that are empty, short and long', () => {
  test('in IKE_SA_INIT: unknown ones are passed over, critical ones refused by name, known ones judged', () => {
    const right = responder();
    for (const type of TYPES) {
      for (const body of bodiesFor(type)) {
        for (const critical of [false, true]) {
          const data = initMessage([...initPayloads({ ke: PUBLIC_VALUE }), anyPayload(type, body, critical)]);
          const answers = tell(right, data);
          const about = `type ${type}, ${body.length} octets, critical ${critical}`;
          expect(answers.length, about).toBeLessThanOrEqual(1);
          if (KNOWN.has(type)) continue;
          if (critical) expectRefusal(answers, [NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, type], about);
          else
            expect(
              parsed(answers)[0]?.payloads.some(({ kind }) => kind === 'KE'),
              about,
            ).toBe(true);
        }
      }
    }
  });

  test('inside SK of IKE_AUTH: nobody comes in but those who can prove it, and those who can are not kept out', () => {
    for (const type of TYPES) {
      const critical = type % 2 === 1;
      const body = BODIES[type % BODIES.length]!;
      const world = trio();
      let touched = 0;
      world.left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
      settle(world.left, world.right, 0, (datagram, from) => {
        const { header } = parsed([datagram.data])[0]!;
        if (from !== world.left || header.exchange !== ExchangeType.IKE_AUTH || touched++ > 0) return datagram;
        return world.meddler.rewrite(datagram, (payloads) => [...payloads, anyPayload(type, body, critical)]);
      });
      expect(touched).toBeGreaterThan(0);
      if (!KNOWN.has(type)) expect([type, establishedSas(world.right).length]).toEqual([type, critical ? 0 : 1]);
      expect(world.right.endpoint.info().length).toBeLessThanOrEqual(1);
    }
  });

  test.each([
    ['CREATE_CHILD_SA', ExchangeType.CREATE_CHILD_SA, () => newChild(undefined)],
    ['INFORMATIONAL', ExchangeType.INFORMATIONAL, () => []],
    ['IKE_AUTH, long after', ExchangeType.IKE_AUTH, () => []],
    ['IKE_INTERMEDIATE', ExchangeType.IKE_INTERMEDIATE, () => []],
  ] as const)('inside SK of %s: one answer at most, no exception, and unknown ones do not end the IKE SA', (_name, exchange, payloads) => {
    let world = establishedTrio();
    let ask = asker(world);
    for (const type of TYPES) {
      for (const body of bodiesFor(type)) {
        for (const critical of [false, true]) {
          const answer = ask(exchange, [...payloads(), anyPayload(type, body, critical)]);
          if (!KNOWN.has(type) && answer.length > 0 && critical)
            expect(answer.map(nameOfPayload)).toEqual([`N(${NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD})`]);
          if (!KNOWN.has(type)) expect(establishedSas(world.right)).toHaveLength(1);
          // a known payload that is malformed may end the IKE SA (RFC 7296 §2.21.3), a Delete does
          if (establishedSas(world.right)[0]?.state === 'established' && establishedSas(world.right)[0]!.children.length < 900) continue;
          world = establishedTrio();
          ask = asker(world);
        }
      }
    }
  });

  test('as Next Payload of the header, with nothing behind it', () => {
    const right = responder();
    const header = initMessage([], freshSpi());
    for (const type of TYPES) expect(tell(right, header.with(16, type)).length).toBeLessThanOrEqual(1);
    expect(right.endpoint.info()).toEqual([]);
  });
});

test('every exchange type and all flags, with an empty chain and with noise, to a responder that has an IKE SA and one that has none', () => {
  const world = establishedTrio();
  const { spiI, spiR } = establishedSas(world.right)[0]!;
  for (let exchange = 0; exchange < 256; exchange++) {
    for (const flags of [0x00, 0x08, 0x20, 0x28, 0x10, 0xff]) {
      for (const spis of [new Uint8Array(16).fill(3), Uint8Array.from([...spiI, ...spiR])]) {
        const message = Uint8Array.from([...spis, 0, 0x20, exchange, flags, 0, 0, 0, 2, 0, 0, 0, 28]);
        expect(tell(world.right, message).length).toBeLessThanOrEqual(1);
      }
    }
  }
  expect(establishedSas(world.right)).toHaveLength(1);
  expect(establishedSas(world.right)[0]!.children).toHaveLength(1);
});

const SPI = freshSpi();
const PUBLIC_VALUE = new Uint8Array(32).fill(9);

/** Whoever comes from anywhere, and much of it. */
const responder = (): End =>
  sober(
    new End({
      connections: [connection('right')],
      limits: { ...LIMITS, cookieThreshold: 1e6, halfOpen: 1e6, halfOpenPerAddress: 1e6, refusals: { perSource: 1e6, inAll: 1e6 } },
    }),
  );

/** Messages that differ in one 16-bit number alone, without the cost of writing each. */
function numbered(make: (id: number) => Uint8Array): (id: number) => Uint8Array {
  const [one, other] = [make(0x1122), make(0x3344)];
  const places = [...one.keys()].filter((i) => one[i] === 0x11 && other[i] === 0x33);
  if (places.length === 0) throw new Error('the number is nowhere in it');
  return (id) => {
    const message = one.slice();
    for (const at of places) message.set([id >> 8, id & 0xff], at);
    return message;
  };
}

/** One clear answer with this notify and data, no longer than the question. */
function expectRefusal(answers: readonly Uint8Array[], [notify, ...data]: readonly number[], about = ''): void {
  const [payload, ...more] = parsed(answers).flatMap(({ payloads }) => payloads);
  const fits = answers.length === 1 && more.length === 0 && payload?.kind === 'N' && payload.notify === notify;
  if (!fits || (data.length > 0 && toHex(payload.data) !== toHex(Uint8Array.from(data)))) {
    throw new Error(`${about}: ${answers.length} answers, ${payload === undefined ? 'none' : nameOfPayload(payload)}`);
  }
}

/** The answer does not depend on the number: the first is judged, the others are the same octets. */
function expectForAll(right: End, ids: Iterable<number>, message: (id: number) => Uint8Array, refusal: readonly number[]): void {
  const first = tell(right, message(0));
  expectRefusal(first, refusal);
  const answer = Buffer.from(first[0]!);
  for (const id of ids) {
    if (OURS.includes(id)) continue;
    const answers = tell(right, message(id));
    if (answers.length !== 1 || !answer.equals(answers[0]!)) expectRefusal(answers, refusal, `id ${id}`);
    right.notices.length = 0;
    right.sent.length = 0;
  }
}

/** Speaks for `left` under its keys; gives the payloads of the answer, none where there was no answer. */
function asker({ left, right, meddler }: Trio): (exchange: number, payloads: readonly Payload[]) => readonly Payload[] {
  const { spiI, spiR } = establishedSas(left)[0]!;
  let messageId = 2;
  return (exchange, payloads) => {
    const header: IkeHeader = {
      spiI,
      spiR,
      majorVersion: 2,
      minorVersion: 0,
      exchange,
      messageId,
      flags: { initiator: true, response: false, version: false },
    };
    const [answer] = tell(right, meddler.seal(header, payloads));
    if (answer === undefined) return [];
    messageId++;
    return meddler.open(answer)?.payloads ?? [];
  };
}

function* allIds(): Generator<number> {
  for (let id = 0; id < IDS; id++) yield id;
}

/** Each costs a message that is sealed and opened twice: all of them are for the long run, the neighbourhood of every boundary is for every run. */
function* sampledIds(): Generator<number> {
  const all = process.env.TUNNELWRIGHT_FULL !== undefined;
  for (let id = 0; id < IDS; id++)
    if (all || id < 1100 || id % 61 === 0 || BOUNDARIES.some((bits) => Math.abs(id - 2 ** bits) <= 1)) yield id;
}

const BOUNDARIES = [10, 11, 12, 13, 14, 15, 16];

const made = (end: End): number => end.has('child-up').length + end.has('ike-rekeyed').length;

const withMethod = (payloads: readonly Payload[], method: number): Payload[] =>
  payloads.map((payload) => (payload.kind === 'KE' ? { ...payload, method } : payload));

const offering = (proposal: Proposal, ...ids: readonly number[]): Proposal => ({
  ...proposal,
  transforms: [
    ...proposal.transforms.filter(({ type }) => type !== TransformType.KE),
    ...ids.map((id) => ({ type: TransformType.KE, id })),
  ],
});

/** @param id undefined: without a key exchange */
const newChild = (id: number | undefined): Payload[] => [
  {
    kind: 'SA',
    proposals: [{ ...(id === undefined ? offering(ESP_PROPOSAL) : offering(ESP_PROPOSAL, id, 31)), spi: Uint8Array.of(0xc0, 0, 0, 2) }],
  },
  { kind: 'Nonce', data: new Uint8Array(32) },
  ...(id === undefined ? [] : [{ kind: 'KE', method: id, data: PUBLIC_VALUE } as const]),
  { kind: 'TSi', selectors: connection('left').children[0]!.localTs.filter((ts) => typeof ts !== 'string' && 'type' in ts) },
  { kind: 'TSr', selectors: connection('left').children[0]!.remoteTs.filter((ts) => typeof ts !== 'string' && 'type' in ts) },
];

const newIkeSa = (id: number): Payload[] => [
  { kind: 'SA', proposals: [{ ...offering(IKE_PROPOSAL, id, 31), spi: new Uint8Array(8).fill(9) }] },
  { kind: 'Nonce', data: new Uint8Array(32) },
  { kind: 'KE', method: id, data: PUBLIC_VALUE },
];
