import { describe, expect, test } from 'vitest';
import { ExchangeType, NotifyType, type Payload, TransformType } from '../../src/core/wire/index.ts';
import { connection, End, IKE_PROPOSAL, LIMITS } from '../core/ike/two-ends.ts';
import { anyPayload, freshSpi, initMessage, initPayloads, LEFT, parsed, tell } from './support/hand-made.ts';
import { establishedSas, establishedTrio, sober, toRest, trio } from './support/life.ts';

/**
 * CERT VU#419128 and its kind: a responder that sends more to a forged address than it was sent is a weapon. What refuses is never longer
 * than the question; what agrees stays within the factor of RFC 9000 §8.1, the bar for protocols that answer before an address is proven.
 */
const FACTOR = 3;

const smallest = (): Payload[] =>
  initPayloads({ proposals: [{ ...IKE_PROPOSAL, transforms: IKE_PROPOSAL.transforms.filter(({ id }) => id !== 19) }] }).map((payload) =>
    payload.kind === 'Nonce' ? { ...payload, data: payload.data.subarray(0, 16) } : payload,
  );

const responder = (changes: Partial<ConstructorParameters<typeof End>[0]> = {}): End =>
  sober(new End({ connections: [connection('right')], ...changes }));

describe('before an address is proven', () => {
  test.each<[string, Uint8Array]>([
    [
      'a proposal that nobody wants',
      initMessage(initPayloads({ proposals: [{ ...IKE_PROPOSAL, transforms: [{ type: TransformType.ENCR, id: 3 }] }] })),
    ],
    [
      'another key exchange',
      initMessage(smallest().map((payload) => (payload.kind === 'KE' ? { ...payload, method: 19, data: new Uint8Array(64) } : payload))),
    ],
    [
      'a public value that is none',
      initMessage(smallest().map((payload) => (payload.kind === 'KE' ? { ...payload, data: new Uint8Array(32) } : payload))),
    ],
    ['no Nonce', initMessage(smallest().slice(0, 2))],
    ['nothing at all', initMessage([])],
    ['a critical payload that nobody knows', initMessage([anyPayload(200, new Uint8Array(0), true)])],
    ['IKEv1', initMessage(smallest()).with(17, 0x10)],
    ['IKEv3', initMessage(smallest()).with(17, 0x30)],
    ['an IKE SA that is not there', initMessage(smallest()).with(18, 35).fill(7, 8, 16)],
    ['noise', new Uint8Array(60).map((_, i) => (i * 151) & 0xff)],
  ])('%s: at most one answer, no longer than the question', (_what, request) => {
    const answers = tell(responder(), request);
    expect(answers.length).toBeLessThanOrEqual(1);
    for (const answer of answers) expect(answer.length).toBeLessThanOrEqual(request.length);
  });

  test('the demand for a cookie', () => {
    const right = responder({ limits: { ...LIMITS, cookieThreshold: 0 } });
    const request = initMessage(smallest());
    const [answer, ...more] = tell(right, request);
    expect(more).toEqual([]);
    expect(parsed([answer!])[0]!.payloads).toMatchObject([{ kind: 'N', notify: NotifyType.COOKIE }]);
    expect(answer!.length).toBeLessThanOrEqual(request.length);
    expect(right.endpoint.info()).toEqual([]);
  });

  const wantsCertificates = { connections: [connection('right', { remote: [{ auth: 'pubkey', id: { kind: 'any' } }] })] };
  const withAuthorities = (count: number) => ({
    ...wantsCertificates,
    certificateAuthorities: Array.from({ length: count }, () => new Uint8Array(20)),
  });

  test.each([0, 1, 5])(`an IKE_SA_INIT answer with %i authorities, and every copy of it: within ${FACTOR} times of what came`, (count) => {
    expectWithin(responder(withAuthorities(count)));
  });

  test(`an IKE_SA_INIT answer with 50 authorities: within ${FACTOR} times of what came`, () => {
    expectWithin(responder(withAuthorities(50)));
  });

  test('nothing is repeated to an address that says no more', () => {
    const right = responder();
    expect(tell(right, initMessage(smallest()))).toHaveLength(1);
    const before = right.sent.length;
    toRest(right);
    expect(right.sent.length).toBe(before);
    expect(right.endpoint.info()).toEqual([]);
  });

  test('an IKE_AUTH that fails is answered once per copy, shorter than it came, and the failure is not repeated by itself', () => {
    const world = trio();
    world.left.psk = new Uint8Array(16);
    world.left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    const [init] = world.left.drain(0);
    const [answer] = tell(world.right, init!.data);
    world.left.endpoint.receive({ local: init!.local, remote: init!.remote, data: answer!, encap: false }, 0);
    const [auth] = world.left.drain(0);
    for (let copy = 0; copy < 20; copy++) {
      const answers = tell(world.right, auth!.data.slice());
      expect(answers).toHaveLength(1);
      expect(answers[0]!.length).toBeLessThanOrEqual(auth!.data.length);
    }
    const before = world.right.sent.length;
    toRest(world.right);
    expect(world.right.sent.length).toBe(before);
  });
});

test('reflection: our own messages, sent back to us, are nothing but a stranger’s first request', () => {
  const world = establishedTrio();
  for (const end of [world.left, world.right]) {
    const before = end.has('child-up').length;
    for (const { data, local, remote } of [...end.sent]) {
      const isFirst = parsed([data])[0]!.header.exchange === ExchangeType.IKE_SA_INIT;
      end.endpoint.receive({ local, remote, data: data.slice(), encap: false }, 0);
      expect(end.drain(0).length).toBeLessThanOrEqual(isFirst ? 1 : 0);
    }
    toRest(end);
    expect(end.has('child-up')).toHaveLength(before);
    expect(establishedSas(end).map(({ children }) => children.length)).toEqual([1]);
  }
});

/** The smallest request that is accepted, and a hundred copies of it. */
function expectWithin(right: End): void {
  const request = initMessage(smallest(), freshSpi());
  let [came, went] = [0, 0];
  for (let copy = 0; copy < 100; copy++) {
    came += request.length;
    for (const answer of tell(right, request.slice(), 0, LEFT)) went += answer.length;
  }
  expect(went).toBeGreaterThan(0);
  expect(went / came).toBeLessThanOrEqual(FACTOR);
}
