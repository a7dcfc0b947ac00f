import { describe, expect, test } from 'vitest';
import { concat, toHex, utf8 } from '../../src/core/bytes/index.ts';
import { type Command, type Datagram, type Effect, Endpoint, type EndpointOptions } from '../../src/core/ike/index.ts';
import { ExchangeType, parseMessage } from '../../src/core/wire/index.ts';
import { ACTIONS } from '../../src/testing/walk/actions.ts';
import { explainWalk, flippedRows, INVARIANTS, type InvariantName, runWalk, type WalkOptions } from '../../src/testing/walk/index.ts';
import { PACES } from '../../src/testing/walk/temper.ts';

test('a walk is what its seed says, to the last octet and the last instant, with and without its being written down', () => {
  for (const seed of [3, 11, 'any text']) {
    const [one, two, recorded] = [runWalk({ seed }), runWalk({ seed }), runWalk({ seed, record: true })];
    expect([two.hash, two.took, two.steps]).toEqual([one.hash, one.took, one.steps]);
    expect([recorded.hash, recorded.took]).toEqual([one.hash, one.took]);
  }
  expect(runWalk({ seed: 4 }).hash).not.toBe(runWalk({ seed: 5 }).hash);
});

test.each(['light', 'brisk'] as const)('%s walks do less of what there is to do, and all of it', (temper) => {
  const known = ACTIONS.map(({ name }) => name);
  for (const [name, share] of Object.entries(PACES[temper].shares)) {
    expect(known).toContain(name);
    expect(share).toBeGreaterThan(0);
  }
});

test('leaving a step out leaves the others as they were drawn', () => {
  const whole = runWalk({ seed: 21 });
  const without = runWalk({ seed: 21, only: whole.steps.map(({ number }) => number).filter((number) => number !== 40) });
  expect(without.steps).toHaveLength(whole.steps.length - 1);
  expect(without.steps.slice(0, 40)).toEqual(whole.steps.slice(0, 40));
});

type MutationArguments = [options: EndpointOptions, name: string, judge: (what: string) => void];

/** An invariant that nothing breaks proves nothing: each mistake here must be noticed, and by the invariant that is about it. */
const MISTAKES: Readonly<Record<string, { readonly breaks: InvariantName; readonly make: (...given: MutationArguments) => Endpoint }>> = {
  'throws at what it does not like': {
    breaks: 'calm',
    make: (options) => new Touchy(options),
  },
  'deletes before it makes': {
    breaks: 'usable',
    make: (options) => new BreakBeforeMake(options),
  },
  'never asks whether its peer lives': {
    breaks: 'agreed',
    make: (options, name) =>
      new Endpoint({
        ...options,
        connections: options.connections.map((one) => (name === 'b' ? { ...one, liveness: { delay: 0 } } : one)),
      }),
  },
  'chooses SPIs from three': {
    breaks: 'fresh',
    make: (options) => {
      let draw = 0;
      return new Endpoint({ ...options, random: { ...options.random, childSpi: () => 0x1000 + (draw++ % 3) } });
    },
  },
  'begins its IVs anew after a restart': {
    breaks: 'fresh',
    make: (options) => new ForgetfulOfIvs(options),
  },
  'refuses a rekeying that crosses its own': {
    breaks: 'answered',
    make: (options, name, judge) => flippedRows()['the peer rekeys a CHILD_SA that is rekeying: TEMPORARY_FAILURE']!(name, options, judge),
  },
  'writes inner packets into its messages': {
    breaks: 'sealed',
    make: (options) => new Talkative(options),
  },
  'believes an unprotected Delete': {
    breaks: 'proven',
    make: (options) => new Gullible(options),
  },
  'checks no replays': {
    breaks: 'once',
    make: (options) =>
      new Endpoint({
        ...options,
        connections: options.connections.map((one) => ({
          ...one,
          children: one.children.map((child) => ({ ...child, replayWindow: 0 })),
        })),
      }),
  },
  'keeps something of every datagram': {
    breaks: 'bounded',
    make: (options) => new Hoarder(options),
  },
  'leaves CHILD_SAs that it deleted in the data plane': {
    breaks: 'counted',
    make: (options) => new Untidy(options),
  },
};

describe('an endpoint that', () => {
  test.each(Object.entries(MISTAKES))('%s is found out', (_, { breaks, make }) => {
    for (let seed = 1; seed <= 60; seed++) {
      const { broken } = runWalk({ seed, makeEndpoint: (name, options, judge) => make(options, name, judge) });
      if (broken?.invariant === breaks) return;
    }
    throw new Error(`nobody noticed in 60 walks: ${INVARIANTS[breaks]}`);
  });

  test('every invariant has a mistake that breaks it', () => {
    expect(new Set(Object.values(MISTAKES).map(({ breaks }) => breaks))).toEqual(new Set(Object.keys(INVARIANTS)));
  });

  test('is found out is reported with its seed, the few steps that are enough, the chart and how to replay it', () => {
    const options: WalkOptions = { seed: 2, makeEndpoint: (_, given) => new Gullible(given) };
    const failed = findBroken(options);
    const text = explainWalk(failed.options, failed.result);
    expect(text).toMatch(/^walk \d+ broke "proven" at step \d+ \(unprotected message\)/);
    expect(text).toMatch(/^replay: npm run simulate -- --seeds \d+$/m);
    expect(text).toMatch(/a → b {2}IKE_AUTH request \d {2}\{ IDi/);
    const [, left, all] = text.match(/(\d+) of (\d+) steps are enough/)!;
    expect(Number(left)).toBeLessThan(Number(all));
    expect(Number(left)).toBeLessThan(8);
  });
});

function findBroken(options: WalkOptions): { readonly options: WalkOptions; readonly result: ReturnType<typeof runWalk> } {
  for (let seed = 1; seed < 100; seed++) {
    const result = runWalk({ ...options, seed });
    if (result.broken?.invariant === 'proven' && result.broken.action === 'unprotected message')
      return { options: { ...options, seed }, result };
  }
  throw new Error('nobody broke anything');
}

class Touchy extends Endpoint {
  override receive(datagram: Datagram, now: number): void {
    if (datagram.data.length < 28) throw new RangeError('a datagram without a header');
    super.receive(datagram, now);
  }
}

class BreakBeforeMake extends Endpoint {
  override command(command: Command, now: number): number | undefined {
    if (command.kind !== 'rekey-child') return super.command(command, now);
    const owner = this.info().find(({ children }) => children.some(({ id }) => id === command.child));
    const name = owner?.children.find(({ id }) => id === command.child)?.name;
    super.command({ kind: 'delete-child', child: command.child }, now);
    return owner && name ? super.command({ kind: 'create-child', ikeSa: owner.id, child: name }, now) : undefined;
  }
}

class ForgetfulOfIvs extends Endpoint {
  constructor(options: EndpointOptions) {
    const { random } = options;
    // every life counts in the range of the life before
    super({ ...options, random: { ...random, secret: (length) => (length === 5 ? Uint8Array.of(0, 0, 0, 0, 1) : random.secret(length)) } });
  }
}

class Talkative extends Endpoint {
  override poll(): Effect | undefined {
    const effect = super.poll();
    if (effect?.kind !== 'transmit' || effect.datagram.data[18] !== ExchangeType.CREATE_CHILD_SA) return effect;
    return { ...effect, datagram: { ...effect.datagram, data: concat(effect.datagram.data, utf8('IN CLEAR')) } };
  }
}

class Gullible extends Endpoint {
  override receive(datagram: Datagram, now: number): void {
    const sa = this.info().find(({ spiI, spiR }) => toHex(spiI) + toHex(spiR) === toHex(datagram.data.subarray(0, 16)));
    // next payload: Delete
    if (sa === undefined || datagram.data[16] !== 42) return super.receive(datagram, now);
    if (parseMessage(datagram.data).payloads[0]?.kind !== 'D') return;
    for (const child of sa.children) super.observe({ kind: 'hard-expire', child: child.id }, now);
    super.command({ kind: 'delete-ike', ikeSa: sa.id }, now);
  }
}

class Hoarder extends Endpoint {
  #kept = 0;

  override receive(datagram: Datagram, now: number): void {
    this.#kept++;
    super.receive(datagram, now);
  }

  override load(): ReturnType<Endpoint['load']> {
    const load = super.load();
    return { ...load, timers: load.timers + this.#kept };
  }
}

class Untidy extends Endpoint {
  override poll(): Effect | undefined {
    const effect = super.poll();
    return effect?.kind === 'child-remove' ? super.poll() : effect;
  }
}
