import { describe, expect, test } from 'vitest';
import { Writer } from '../../src/core/bytes/index.ts';
import { writePayloads } from '../../src/core/wire/index.ts';
import { scriptedRandom } from '../../src/testing/index.ts';
import { connection, End, LIMITS } from '../core/ike/two-ends.ts';
import { seededDraws } from '../fuzz/draws.ts';
import { mutate } from '../fuzz/mutate.ts';
import { least, processorTime } from '../support/processor-time.ts';
import { LEFT, RIGHT } from './support/hand-made.ts';
import { leftBehind } from './support/heap.ts';
import { establish, establishedSas, type Filter, LIFE, live, sober, type Trio, toRest, trio } from './support/life.ts';
import { Meddler } from './support/meddler.ts';

/**
 * Cisco CVE-2017-12237, CVE-2025-20182 and the leak of 2026: crafted IKEv2 that costs the processor, or that leaves a little behind each
 * time. Thousands of messages to one endpoint that lives on, and a ceiling on what is held at the end. `TUNNELWRIGHT_FULL=1` goes on for
 * minutes.
 */
const ROUNDS = process.env.TUNNELWRIGHT_FULL === undefined ? 1 : 40;
const MEBIBYTE = 1 << 20;

describe('one endpoint for all of it', { timeout: 3_600_000 }, () => {
  test('strangers: mutated first requests and messages of other IKE SAs', () => {
    const right = responder();
    const draws = seededDraws(20_182);
    const seeds = recorded();
    const shower = (count: number) => {
      for (let i = 0; i < count; i++) {
        const remote = { ip: `198.51.${draws.below(256)}.${draws.below(256)}`, port: 500 };
        right.endpoint.receive({ local: RIGHT, remote, data: mutate(draws.pick(seeds), seeds, draws), encap: draws.oneIn(4) }, i);
        forget(right, i);
      }
      toRest(right, count);
      forget(right, count);
    };
    shower(2000);
    const left = leftBehind(
      () => () => {
        for (let round = 0; round < ROUNDS; round++) shower(12_000);
      },
      2 * MEBIBYTE,
    );
    expect(left).toBeLessThan(2 * MEBIBYTE);
    expect(right.endpoint.info()).toEqual([]);
    expect(right.endpoint.nextDeadline()).toBeUndefined();
    // nothing of it is left that would count against an honest peer: no cookie, no limit
    const world = { ...trio({ seed: 'honest' }), right };
    establish(world);
    expect(establishedSas(right)).toHaveLength(1);
    expect(world.left.sent).toHaveLength(2);
  });

  test('authenticated peers: every message of whole lives, its inside mutated under valid keys', () => {
    const right = responder();
    const draws = seededDraws(12_237);
    const oneLife = (seed: string): void => {
      const { left } = trio({ seed });
      const world: Trio = { left, right, meddler: new Meddler(left, right) };
      live(world, gnawing(world, draws));
      toRest(left);
      toRest(right);
      right.notices.length = 0;
      forget(right, 0);
    };
    expect(leftByLives(oneLife, 150 * ROUNDS, 2 * MEBIBYTE)).toBeLessThan(2 * MEBIBYTE);
    expect(right.endpoint.info()).toEqual([]);
    expect(right.children.size).toBe(0);
  });

  test('honest peers that come, rekey and go', () => {
    const right = responder();
    const oneLife = (seed: string): void => {
      const world = { ...trio({ seed }), right };
      live(world, (datagram) => datagram);
      toRest(world.left);
      toRest(right);
      right.notices.length = 0;
      right.sent.length = 0;
    };
    // what is remembered of requests that led to an SA is bounded, and counts
    expect(leftByLives(oneLife, 100 * ROUNDS, 3 * MEBIBYTE)).toBeLessThan(3 * MEBIBYTE);
    expect(right.endpoint.info()).toEqual([]);
  });
});

test('no single message of a life costs more than milliseconds, at its largest', () => {
  const world = trio();
  establish(world);
  const [sa] = establishedSas(world.left);
  const header = {
    spiI: sa!.spiI,
    spiR: sa!.spiR,
    majorVersion: 2,
    minorVersion: 0,
    flags: { initiator: true, response: false, version: false },
  };
  const inside = new Uint8Array(65_000);
  for (let fill = 0; fill < 256; fill += 5) {
    inside.fill(fill);
    for (const exchange of [35, 36, 37, 43, 44]) {
      for (const first of [33, 34, 35, 39, 40, 41, 42, 44, 47, 48]) {
        const data = world.meddler.sealRaw({ ...header, exchange, messageId: 2 }, first, inside);
        const cost = (): number => {
          const { right } = trio();
          right.endpoint.restore(world.right.endpoint.snapshot(), 0);
          right.drain(0);
          return processorTime(() => {
            right.endpoint.receive({ local: RIGHT, remote: LEFT, data, encap: false }, 0);
            right.drain(0);
          });
        };
        expect(least(cost, 250)).toBeLessThan(250);
      }
    }
    if (fill >= 60 && ROUNDS === 1) break;
  }
});

const responder = (): End =>
  sober(
    new End({
      connections: [connection('right', { remoteAddresses: ['%any'], fragmentation: 'no' })],
      random: scriptedRandom('soak'),
      limits: { ...LIMITS, cookieThreshold: 64 },
      logKeys: true,
    }),
  );

/** Octets that so many lives leave behind, after some that warm up. */
function leftByLives(oneLife: (seed: string) => void, lives: number, enough: number): number {
  for (let life = 0; life < 20; life++) oneLife(`warm ${life}`);
  let measured = 0;
  return leftBehind(() => {
    measured++;
    return () => {
      for (let life = 0; life < lives; life++) oneLife(`life ${measured}.${life}`);
    };
  }, enough);
}

function forget(end: End, now: number): void {
  end.drain(now);
  end.notices.length = 0;
  end.sent.length = 0;
}

/** One message in three is mutated inside, before it is delivered; the true one follows. */
function gnawing({ left, right, meddler }: Trio, draws: ReturnType<typeof seededDraws>): Filter {
  return (datagram, from) => {
    const victim = from === left ? right : left;
    if (draws.oneIn(3)) {
      const opened = meddler.open(datagram.data);
      const last = opened?.message.payloads.at(-1);
      if (opened && last?.kind === 'SK') {
        const writer = new Writer();
        writePayloads(writer, opened.payloads);
        const inside = mutate(writer.finish(), [datagram.data], draws).subarray(0, 60_000);
        const data = meddler.sealRaw(opened.message.header, draws.pick([last.inner, 33, 40, 41, 42, 44]), inside);
        victim.endpoint.receive({ local: datagram.remote, remote: datagram.local, data, encap: false }, 0);
        victim.drain(0);
      }
    }
    return datagram;
  };
}

function recorded(): Uint8Array[] {
  const found: Uint8Array[] = [];
  live(trio({ seed: 'recorded' }), (datagram) => {
    found.push(datagram.data.slice());
    return datagram;
  });
  if (found.length < 2 * LIFE.length) throw new Error('the recorded life is too short');
  return found;
}
