import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exitCodeOf } from '../../../src/cli/exit-codes.ts';
import { type Pair, type PairOptions, startPair } from '../support/pair.ts';
import { createAuthority } from '../support/pki.ts';
import { eventually, PATIENCE } from '../support/process.ts';
import { createIdentities, type Identity, LEFT_ID, PROPOSALS, RIGHT_ID } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { bothClean } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { commandLine, type Told, TunnelwrightFailure } from '../support/tunnelwright.ts';

/** What must not come up. Each case ends in one clear sentence with its exit code, and nothing is left at either end. */
interface Refusal extends Partial<Omit<PairOptions, 'role'>> {
  readonly what: string;
  /** What we say when we began it, and when strongSwan did. */
  readonly asInitiator: Expectation;
  readonly asResponder: Expectation;
}

interface Expectation {
  readonly exit: number;
  readonly says: RegExp;
}

const SUITE = PROPOSALS[1]!;
const psk = (folder: string) => createIdentities(folder, 'psk');

const REFUSALS: readonly Refusal[] = [
  {
    what: 'a wrong PSK',
    identities: async (folder) => {
      const { left, right } = await psk(folder);
      return { left, right: { ...right, secret: 'something else' } as Identity };
    },
    asInitiator: { exit: 4, says: /AUTHENTICATION_FAILED/ },
    asResponder: { exit: 4, says: /pre-shared key/i },
  },
  {
    what: 'an authority that only one end knows',
    identities: async (folder) => {
      const [ours, theirs] = [
        await createAuthority(join(folder, 'ours'), 'Our CA', 'ecdsa'),
        await createAuthority(join(folder, 'theirs'), 'Their CA', 'ecdsa'),
      ];
      const left: Identity = { auth: 'pubkey', id: LEFT_ID, peerId: RIGHT_ID, ...(await ours.issue(LEFT_ID)), authority: ours.certificate };
      // strongSwan trusts us; we do not trust it.
      const right: Identity = {
        auth: 'pubkey',
        id: RIGHT_ID,
        peerId: LEFT_ID,
        ...(await theirs.issue(RIGHT_ID)),
        authority: ours.certificate,
      };
      return { left, right };
    },
    asInitiator: { exit: 7, says: /right\.example|Their CA|issuer/ },
    asResponder: { exit: 7, says: /right\.example|Their CA|issuer/ },
  },
  {
    what: 'an expired certificate',
    identities: async (folder) => {
      const authority = await createAuthority(join(folder, 'pki'), 'Interop CA', 'ecdsa');
      const own = { auth: 'pubkey', authority: authority.certificate } as const;
      return {
        left: { ...own, id: LEFT_ID, peerId: RIGHT_ID, ...(await authority.issue(LEFT_ID)) },
        right: { ...own, id: RIGHT_ID, peerId: LEFT_ID, ...(await authority.issue(RIGHT_ID, { expired: true })) },
      };
    },
    asInitiator: { exit: 7, says: /expired/ },
    asResponder: { exit: 7, says: /expired/ },
  },
  {
    what: 'another identity than the one that was asked for',
    ours: { connection: { remote: { auth: 'psk', id: 'somebody.example' } } },
    asInitiator: { exit: 4, says: /right\.example|somebody\.example|AUTHENTICATION_FAILED/ },
    asResponder: { exit: 4, says: /right\.example|somebody\.example/ },
  },
  {
    what: 'no common proposal for the IKE SA',
    theirs: { ike: 'aes256-sha512-ecp521' },
    asInitiator: { exit: 5, says: /NO_PROPOSAL_CHOSEN/ },
    asResponder: { exit: 5, says: /proposal/ },
  },
  {
    what: 'no common proposal for the child',
    theirs: { esp: 'aes256-sha512' },
    asInitiator: { exit: 5, says: /NO_PROPOSAL_CHOSEN/ },
    asResponder: { exit: 5, says: /proposal/ },
  },
  {
    what: 'selectors that have nothing in common',
    theirs: { child: { local_ts: '10.7.0.0/24', remote_ts: '10.8.0.0/24' } },
    asInitiator: { exit: 5, says: /TS_UNACCEPTABLE/ },
    asResponder: { exit: 5, says: /policy allows the traffic.*10\.7\.0\.0/ },
  },
];

describeWith(STRONGSWAN, 'strongSwan refuses, or we do', () => {
  for (const refusal of REFUSALS) {
    test(`${refusal.what}: we are initiator`, () => initiatorSays(refusal));
    test(`${refusal.what}: we are responder`, () => responderSays(refusal));
  }
});

describeWith(STRONGSWAN, 'a silent peer', () => {
  const scope = new Scope();
  let pair: Pair;
  beforeAll(async () => {
    pair = await startPair(scope, { role: 'initiator', ...SUITE, identities: psk });
  });
  afterAll(() => scope.close());

  test('ends in the sentence that nobody answered', async () => {
    await pair.network.cut();
    expectClear(await failureOf(() => pair.we.initiate()), { exit: 6, says: /answer/ });
    await bothClean(pair.we, pair.peer);
    await expectCommandFails(pair, { exit: 6, says: /answer/ });
  });

  test('and nothing keeps the same tunnel from coming up when the peer is back', async () => {
    await pair.network.mend();
    await pair.we.initiate();
    await pair.we.deleteIke();
    await bothClean(pair.we, pair.peer);
  });
});

/** As a library, which lives on afterwards, and as the command that a person types. */
async function initiatorSays(refusal: Refusal): Promise<void> {
  await withPair({ role: 'initiator', ...SUITE, identities: psk, ...refusal }, async (pair) => {
    const { we, peer } = pair;
    expectClear(await failureOf(() => we.initiate()), refusal.asInitiator, `${we.log()}\n${peer.log()}`);
    await bothClean(we, peer);
    await we.stop();
    await expectCommandFails(pair, refusal.asInitiator);
  });
}

/** `tunnelwright up`: the sentence stands on the line with the cross, the exit code behind it, the next step below. */
async function expectCommandFails({ network, configuration, folder, peer }: Pair, { exit, says }: Expectation): Promise<void> {
  const { status, stderr } = await commandLine(network.left, join(folder, 'command'), configuration, ['up', 'net']);
  const text = stderr.replace(/\s*\n\s+/g, ' ');
  expect(text).toMatch(/^✗ net: /m);
  expect(text).toMatch(says);
  expect(text).toContain(`exit ${exit}`);
  expect(text).toMatch(/fix {3}\S/);
  expect(status).toBe(exit);
  await eventually(
    'strongSwan holds nothing',
    async () => (await peer.ikeSas()).length === 0,
    PATIENCE,
    () => peer.log(),
  );
}

async function responderSays(refusal: Refusal): Promise<void> {
  await withPair({ role: 'responder', ...SUITE, identities: psk, ...refusal }, async ({ we, peer }) => {
    await expect(peer.initiate()).rejects.toThrow('failed');
    const told = await we.failures();
    expect(told, `${we.log()}\n${peer.log()}`).toHaveLength(1);
    expectClear(told[0]!, refusal.asResponder);
    // strongSwan keeps an IKE SA whose child was refused; that is its to close.
    if ((await peer.ikeSas()).length > 0) await peer.deleteIke();
    await bothClean(we, peer);
  });
}

async function withPair(options: PairOptions, body: (pair: Pair) => Promise<void>): Promise<void> {
  const scope = new Scope();
  try {
    await body(await startPair(scope, options));
  } finally {
    await scope.close();
  }
}

async function failureOf(run: () => Promise<void>): Promise<Told> {
  const failure = await run().then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure, 'it came up').toBeInstanceOf(TunnelwrightFailure);
  return (failure as TunnelwrightFailure).told;
}

/** One sentence that names what happened, without a line break or an internal word, and the exit code that scripts rely on. */
function expectClear(told: Told, { exit, says }: Expectation, log = ''): void {
  expect(told.message, log).toMatch(says);
  expect(told.message).toMatch(/^[^\n]{10,240}$/);
  expect(told.type).not.toBe('InternalError');
  expect(exitCodeOf({ type: told.type ?? '', code: told.code ?? '', notify: told.notify }), JSON.stringify(told)).toBe(exit);
}
