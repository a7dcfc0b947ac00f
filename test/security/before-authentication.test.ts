import { describe, expect, test } from 'vitest';
import type { Ask, AskResult } from '../../src/core/ike/index.ts';
import { ExchangeType, type IkeHeader, NotifyType, type Payload } from '../../src/core/wire/index.ts';
import { connection, type End, ESP_PROPOSAL, IKE_PROPOSAL, settle } from '../core/ike/two-ends.ts';
import { LEFT, parsed, RIGHT } from './support/hand-made.ts';
import { establishedSas, type Trio, toRest, trio } from './support/life.ts';

/**
 * strongSwan CVE-2014-2338: CREATE_CHILD_SA on an IKE SA that nobody had authenticated made one that counted as established. Every kind of
 * it, and every INFORMATIONAL that asks for something, in each state before AUTH was verified, at both ends, under valid keys.
 */
const REQUESTS: Readonly<Record<string, { readonly exchange: number; readonly payloads: readonly Payload[] }>> = {
  'CREATE_CHILD_SA, new CHILD_SA': { exchange: ExchangeType.CREATE_CHILD_SA, payloads: newChild() },
  'CREATE_CHILD_SA, rekey CHILD_SA': {
    exchange: ExchangeType.CREATE_CHILD_SA,
    payloads: [
      { kind: 'N', notify: NotifyType.REKEY_SA, protocol: 3, spi: Uint8Array.of(0xc0, 0, 0, 1), data: new Uint8Array(0) },
      ...newChild(),
    ],
  },
  'CREATE_CHILD_SA, rekey IKE SA': {
    exchange: ExchangeType.CREATE_CHILD_SA,
    payloads: [
      { kind: 'SA', proposals: [{ ...IKE_PROPOSAL, spi: new Uint8Array(8).fill(9) }] },
      { kind: 'Nonce', data: new Uint8Array(32).fill(1) },
      { kind: 'KE', method: 31, data: new Uint8Array(32).fill(9) },
    ],
  },
  'INFORMATIONAL, empty': { exchange: ExchangeType.INFORMATIONAL, payloads: [] },
  'INFORMATIONAL, Delete of the IKE SA': { exchange: ExchangeType.INFORMATIONAL, payloads: [{ kind: 'D', protocol: 1, spis: [] }] },
  'INFORMATIONAL, AUTHENTICATION_FAILED': {
    exchange: ExchangeType.INFORMATIONAL,
    payloads: [{ kind: 'N', notify: NotifyType.AUTHENTICATION_FAILED, protocol: 0, spi: new Uint8Array(0), data: new Uint8Array(0) }],
  },
};

interface State {
  readonly name: string;
  /** Brings the world there. */
  readonly reach: (world: Trio) => void;
  readonly victim: (world: Trio) => End;
  readonly state: string;
  /** Lets go on what was stopped. */
  readonly resume: (world: Trio) => void;
}

const STATES: readonly State[] = [
  stopped('the responder waits for IKE_AUTH', 'half-open', 'right', ExchangeType.IKE_AUTH),
  ...(['verify', 'authorise', 'authenticate'] as const).map((ask) =>
    parked(`the responder waits for its Ask ${ask}`, 'half-open', 'right', ask),
  ),
  stopped('the initiator waits for the answer to IKE_AUTH', 'authenticating', 'left', ExchangeType.IKE_AUTH, 'response'),
  parked('the initiator waits for its Ask authenticate', 'authenticating', 'left', 'authenticate'),
  parked('the initiator waits for its Ask verify', 'authenticating', 'left', 'verify'),
];

describe.each(STATES.map((state) => [state.name, state] as const))('CVE-2014-2338, %s', (_name, { reach, victim, state, resume }) => {
  test.each(Object.entries(REQUESTS))('%s', (_what, { exchange, payloads }) => {
    const world = trio();
    reach(world);
    const end = victim(world);
    expect(end.endpoint.info().map((sa) => sa.state)).toEqual([state]);
    for (const messageId of [0, 1, 2, 3]) {
      const answers = requestTo(world, end, exchange, messageId, payloads);
      // a request with Message ID 0 may be taken for a copy of IKE_SA_INIT (RFC 7296 §2.1): it brings the same answer, nothing new
      expect(answers.filter(({ header }) => header.exchange !== ExchangeType.IKE_SA_INIT)).toEqual([]);
    }
    expect(end.endpoint.info().map((sa) => sa.state)).toEqual([state]);
    expect([end.has('ike-up'), end.has('child-up'), end.has('ike-rekeyed')]).toEqual([[], [], []]);
    // It has not used anything up either: who can prove who he is comes in after all.
    resume(world);
    settle(world.left, world.right);
    expect([establishedSas(world.left).length, establishedSas(world.right).length]).toEqual([1, 1]);
    expect(world.right.children.size).toBe(1);
  });
});

describe.each(STATES.map((state) => [state.name, state] as const))('authentic nonsense while %s', (_name, { reach, victim, resume }) => {
  for (const response of [false, true]) {
    test(`in every exchange, as ${response ? 'response' : 'request'}: nobody comes in by it, and nothing falls`, () => {
      for (const exchange of [ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL, 43, 200]) {
        for (const messageId of [0, 1, 2]) {
          const world = trio();
          reach(world);
          const end = victim(world);
          const toRight = end === world.right;
          const { spiI, spiR } = (toRight ? world.right : world.left).has('ike-keys')[0]!.keys;
          const header = {
            spiI,
            spiR,
            majorVersion: 2,
            minorVersion: 0,
            exchange,
            messageId,
            flags: { initiator: toRight, response, version: false },
          };
          const [local, remote] = toRight ? [RIGHT, LEFT] : [LEFT, RIGHT];
          const data = world.meddler.sealRaw(header, 33, Uint8Array.of(0, 0, 0, 3, 1));
          end.endpoint.receive({ local, remote, data, encap: false }, 0);
          end.drain(0);
          expect([end.has('ike-up'), end.has('child-up')]).toEqual([[], []]);
          resume(world);
          settle(world.left, world.right);
          toRest(world.left);
          toRest(world.right);
        }
      }
    });
  }
});

describe('CVE-2014-2338, the IKE SA failed to authenticate and lingers', () => {
  test.each(Object.entries(REQUESTS))('%s', (_what, { exchange, payloads }) => {
    const world = trio();
    world.left.psk = new Uint8Array(16);
    world.left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
    settle(world.left, world.right);
    expect(world.right.endpoint.info().map((sa) => sa.state)).toEqual(['lingering']);
    for (const messageId of [1, 2, 3]) {
      for (const answer of requestTo(world, world.right, exchange, messageId, payloads))
        expect(answer.payloads).toMatchObject([{ kind: 'N', notify: NotifyType.AUTHENTICATION_FAILED }]);
    }
    expect(world.right.has('ike-up')).toEqual([]);
    expect(world.right.has('child-up')).toEqual([]);
    toRest(world.right);
    expect(world.right.endpoint.info()).toEqual([]);
  });
});

interface Answer {
  readonly header: IkeHeader;
  readonly payloads: readonly Payload[];
}

/** A request of the other end, authentic; every answer that came, opened. */
function requestTo(
  { left, right, meddler }: Trio,
  victim: End,
  exchange: number,
  messageId: number,
  payloads: readonly Payload[],
): Answer[] {
  const toRight = victim === right;
  const { spiI, spiR } = (toRight ? right : left).has('ike-keys')[0]!.keys;
  const header: IkeHeader = {
    spiI,
    spiR,
    majorVersion: 2,
    minorVersion: 0,
    exchange,
    messageId,
    flags: { initiator: toRight, response: false, version: false },
  };
  const [local, remote] = toRight ? [RIGHT, LEFT] : [LEFT, RIGHT];
  victim.endpoint.receive({ local, remote, data: meddler.seal(header, payloads), encap: false }, 0);
  return victim.drain(0).map(({ data }) => {
    const { message, payloads: inside } = meddler.open(data)!;
    return { header: message.header, payloads: inside };
  });
}

/** The message of that exchange does not arrive until it is let go. */
function stopped(
  name: string,
  state: string,
  victim: 'left' | 'right',
  exchange: number,
  which: 'request' | 'response' = 'request',
): State {
  let held: { readonly data: Uint8Array } | undefined;
  return {
    name,
    state,
    victim: (world) => world[victim],
    reach: (world) => {
      world.left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
      settle(world.left, world.right, 0, (datagram) => {
        const { header } = parsed([datagram.data])[0]!;
        if (header.exchange !== exchange || header.flags.response !== (which === 'response')) return datagram;
        held = { data: datagram.data.slice() };
        return undefined;
      });
    },
    resume: (world) => {
      const [local, remote] = victim === 'right' ? [RIGHT, LEFT] : [LEFT, RIGHT];
      world[victim].endpoint.receive({ local, remote, data: held!.data, encap: false }, 0);
    },
  };
}

/** One Ask of that kind is not answered until it is let go. */
function parked(name: string, state: string, victim: 'left' | 'right', kind: Ask['kind']): State {
  let held: { readonly id: number; readonly result: AskResult | undefined } | undefined;
  return {
    name,
    state,
    victim: (world) => world[victim],
    reach: (world) => {
      const end = world[victim];
      const { answers, endpoint } = end;
      const poll = endpoint.poll.bind(endpoint);
      let id = 0;
      endpoint.poll = () => {
        const effect = poll();
        if (effect?.kind === 'ask') id = effect.id;
        return effect;
      };
      end.answers = (ask) => {
        if (ask.kind !== kind) return answers(ask);
        held = { id, result: answers(ask) };
        return undefined;
      };
      world.left.endpoint.command({ kind: 'initiate', connection: 'net' }, 0);
      settle(world.left, world.right);
    },
    resume: (world) => void world[victim].endpoint.answer(held!.id, held!.result!, 0),
  };
}

function newChild(): readonly Payload[] {
  const [{ localTs, remoteTs }] = connection('left').children as [ReturnType<typeof connection>['children'][number]];
  const selectors = (list: typeof localTs) => list.filter((ts) => typeof ts !== 'string' && 'type' in ts);
  return [
    {
      kind: 'SA',
      proposals: [
        { ...ESP_PROPOSAL, transforms: ESP_PROPOSAL.transforms.filter(({ type }) => type !== 4), spi: Uint8Array.of(0xc0, 0, 0, 2) },
      ],
    },
    { kind: 'Nonce', data: new Uint8Array(32).fill(1) },
    { kind: 'TSi', selectors: selectors(localTs) },
    { kind: 'TSr', selectors: selectors(remoteTs) },
  ];
}
