import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inPair } from '../support/pair.ts';
import { must } from '../support/process.ts';
import { LEFT_ID, RIGHT_ID } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, expectPing } from '../support/scenario.ts';
import type { Settings } from '../support/settings.ts';

// NULL authentication (RFC 7619) is not here: no version of strongSwan has it.

const ROLES = ['initiator', 'responder'] as const;
/** A key by openssl's words, and the signatures that either end is to make. */
const KEYS = {
  ed25519: { made: ['ed25519'], auth: 'pubkey', schemes: 'ed25519' },
  'ecdsa-p256': { made: ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'], auth: 'ecdsa', schemes: 'ecdsa' },
  'rsa-pss': { made: ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048'], auth: 'rsa/pss-sha512', schemes: 'rsa-pss' },
} as const;

describeWith(STRONGSWAN, 'strongSwan: raw public keys (RFC 7670), digital signatures (RFC 7427, RFC 8420)', () => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
    for (const [kind, { made }] of Object.entries(KEYS)) {
      await mkdir(join(folder, kind));
      for (const end of ['left', 'right']) {
        const file = join(folder, kind, end);
        await must('openssl', ['genpkey', '-algorithm', ...made, '-out', `${file}.key`]);
        await must('openssl', ['pkey', '-in', `${file}.key`, '-pubout', '-out', `${file}.pub`]);
      }
    }
  });
  afterAll(() => rm(folder, { recursive: true }));

  test.each(ROLES.flatMap((role) => Object.keys(KEYS).map((kind) => [kind as keyof typeof KEYS, role] as const)))(
    '%s, we are %s',
    async (kind, role) => {
      const file = (leaf: string) => join(folder, kind, leaf);
      const { auth, schemes } = KEYS[kind];
      const local: Settings = { auth, id: RIGHT_ID, pubkeys: 'right.pub' };
      const remote: Settings = { auth: 'pubkey', id: LEFT_ID, pubkeys: 'left.pub' };
      await inPair(
        {
          role,
          theirs: { connection: { local, remote } },
          files: { pubkey: [file('left.pub'), file('right.pub')], private: [file('right.key')] },
          ours: {
            connection: {
              local: { auth: 'pubkey', id: LEFT_ID, key: file('left.key'), schemes },
              remote: { auth: 'pubkey', id: RIGHT_ID, pubkeys: file('right.pub') },
            },
          },
        },
        async ({ we, peer, network, initiator }) => {
          await initiator.initiate();
          await agreedSa(we, peer);
          await expectPing(we, network.right.inside);
        },
      );
    },
  );

  test('another key than the one that is pinned: neither end comes up', async () => {
    const file = (leaf: string) => join(folder, 'ed25519', leaf);
    await inPair(
      {
        role: 'initiator',
        theirs: {
          connection: {
            local: { auth: 'pubkey', id: RIGHT_ID, pubkeys: 'right.pub' },
            remote: { auth: 'pubkey', id: LEFT_ID, pubkeys: 'left.pub' },
          },
        },
        files: { pubkey: [file('left.pub'), file('right.pub')], private: [file('right.key')] },
        ours: {
          connection: {
            local: { auth: 'pubkey', id: LEFT_ID, key: file('left.key') },
            remote: { auth: 'pubkey', id: RIGHT_ID, pubkeys: file('left.pub') },
          },
        },
      },
      async ({ we }) => {
        await expect(we.initiate()).rejects.toMatchObject({ told: { code: 'AUTH_SIGNATURE' } });
      },
    );
  });
});
