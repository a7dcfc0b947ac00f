import { afterAll, beforeAll, test } from 'vitest';
import type { IkeSaSeen } from './end.ts';
import { type Pair, type PairOptions, startPair } from './pair.ts';
import { eventually, PATIENCE } from './process.ts';
import { agreedSa, expectPing, UNTIL_SETTLED } from './scenario.ts';
import { Scope } from './scope.ts';

type Rekeying = 'rekeyChild' | 'rekeyIke';

/** Both ends rekey, and neither hears of the other before it has spoken itself (RFC 7296 §2.8.1, §2.8.2, §2.25). */
export function collisionScenarios(options: PairOptions, rounds: number): void {
  const scope = new Scope();
  let pair: Pair;

  beforeAll(async () => {
    pair = await startPair(scope, options);
    await pair.initiator.initiate();
  });
  afterAll(() => scope.close());

  const numbered = Array.from({ length: rounds }, (_, i) => i + 1);
  // nonces are drawn, so either end loses in some of the rounds
  test.each(numbered)('child against child, round %i: one child is left, a new one', async () => {
    const before = await collide(pair, 'rekeyChild', 'rekeyChild', CHILDREN_COLLIDE);
    await oneIsLeft(pair, (sa) => sa.spiI === before.spiI && childOf(sa) !== childOf(before));
  });

  test.each(numbered)('IKE SA against IKE SA, round %i: one is left, a new one, and the child is on it', async () => {
    const before = await collide(pair, 'rekeyIke', 'rekeyIke', IKE_SAS_COLLIDE);
    await oneIsLeft(pair, (sa) => sa.spiI !== before.spiI && childOf(sa) === childOf(before));
  });

  // §2.25.1, §2.25.2: both are told to come again; strongSwan does so after 5 to 15 s, which this does not wait for
  test('our child against their IKE SA: both wait, and ours comes through', async () => {
    const before = await collide(pair, 'rekeyChild', 'rekeyIke', /parsed CREATE_CHILD_SA response \d+ \[ N\(TEMP_FAIL\) \]/);
    await oneIsLeft(pair, (sa) => childOf(sa) !== childOf(before));
  });

  test('our IKE SA against their child: both wait, and ours comes through', async () => {
    const before = await collide(pair, 'rekeyIke', 'rekeyChild', /parsed CREATE_CHILD_SA response \d+ \[ N\(TEMP_FAIL\) \]/);
    await oneIsLeft(pair, (sa) => sa.spiI !== before.spiI);
  });
}

/**
 * Both requests are on their way before either end hears of the other. strongSwan works with several threads, and takes what arrives at once
 * in any order: where it did not notice the collision the ends collide again.
 * @param noticed what strongSwan logs of it
 */
async function collide(pair: Pair, ours: Rekeying, theirs: Rekeying, noticed: RegExp): Promise<IkeSaSeen> {
  const { we, peer } = pair;
  for (let attempt = 1; ; attempt++) {
    const before = await agreedSa(we, peer);
    const logged = peer.wholeLog().length;
    await cross(pair, ours, theirs);
    try {
      await eventually(
        'strongSwan notices the collision',
        () => noticed.test(peer.wholeLog().slice(logged)),
        NOTICED_BY,
        () => peer.wholeLog().slice(logged),
      );
      return before;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

async function cross({ we, peer, network }: Pair, ours: Rekeying, theirs: Rekeying): Promise<void> {
  await network.hold();
  const rekeyed = we[ours]();
  rekeyed.catch(() => undefined);
  await peer[theirs]();
  await eventually(
    'both ends have spoken',
    async () => (await network.holds(network.left)) && (await network.holds(network.right)),
    PATIENCE,
    () => `${we.log()}\n${peer.log()}`,
  );
  await network.release();
  await rekeyed;
}

async function oneIsLeft({ we, peer, network }: Pair, asItShould: (sa: IkeSaSeen) => boolean): Promise<void> {
  await eventually(
    'both ends see the SA that is to stay, alone',
    async () => asItShould(await agreedSa(we, peer)),
    UNTIL_SETTLED,
    () => `${we.log()}\n${peer.log()}`,
  );
  await expectPing(we, network.right.inside);
  await expectPing(peer, network.left.inside);
}

const childOf = ({ children }: IkeSaSeen): string => children[0]!.spiIn;

/**
 * In the words of strongSwan 5 and 6. Where it has sent an IKE_FOLLOWUP_KE before it hears of our request, it answers that with
 * TEMPORARY_FAILURE, and its own rekeying is the one that stays.
 */
const CHILDREN_COLLIDE =
  /detected CHILD_REKEY collision with CHILD_REKEY|colliding passive rekeying for CHILD_SA|CHILD_SA rekey collision|peer initiated rekeying, but we did too/;
const IKE_SAS_COLLIDE = /detected IKE_REKEY collision with IKE_REKEY|IKE_SA rekey collision|peer initiated rekeying, but we did too/;
/** Milliseconds. */
const NOTICED_BY = 5_000;
const ATTEMPTS = 5;
