import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inPair } from '../support/pair.ts';
import { createAuthority, type KeyType } from '../support/pki.ts';
import { type Identity, LEFT_ID, RIGHT_ID } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, expectPing } from '../support/scenario.ts';

const ROLES = ['initiator', 'responder'] as const;

/** What both ends are to sign with, in strongSwan's words and in ours, and what strongSwan says of our signature. */
const SIGNATURES: readonly { readonly type: KeyType; readonly auth: string; readonly schemes: string; readonly seen: RegExp }[] = [
  { type: 'rsa-pss', auth: 'rsa/pss-sha512', schemes: 'rsa-pss', seen: /RSA_EMSA_PSS_SHA2_\d+/ },
  { type: 'ed25519', auth: 'pubkey', schemes: 'ed25519', seen: /ED25519/ },
  { type: 'ed448', auth: 'pubkey', schemes: 'ed448', seen: /ED448/ },
];

describeWith(STRONGSWAN, 'strongSwan: certificates with RSASSA-PSS (RFC 7427) and EdDSA (RFC 8420)', () => {
  let folder: string;
  const identities = new Map<KeyType, { readonly left: Identity; readonly right: Identity }>();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
    for (const { type } of SIGNATURES) {
      const authority = await createAuthority(join(folder, type), 'Interop CA', type);
      const own = { auth: 'pubkey', authority: authority.certificate } as const;
      identities.set(type, {
        left: { ...own, id: LEFT_ID, peerId: RIGHT_ID, ...(await authority.issue(LEFT_ID)) },
        right: { ...own, id: RIGHT_ID, peerId: LEFT_ID, ...(await authority.issue(RIGHT_ID)) },
      });
    }
  });
  afterAll(() => rm(folder, { recursive: true }));

  test.each(ROLES.flatMap((role) => SIGNATURES.map((signature) => ({ role, ...signature }))))(
    '$type, we are $role',
    async ({ role, type, auth, schemes, seen }) => {
      const { left, right } = identities.get(type)!;
      await inPair(
        {
          role,
          identities: async () => ({ left, right }),
          theirs: {
            connection: {
              local: { auth, certs: `${RIGHT_ID}.crt`, id: RIGHT_ID },
              remote: { auth: 'pubkey', id: LEFT_ID },
            },
          },
          ours: {
            connection: {
              local: { auth: 'pubkey', id: LEFT_ID, certs: certificateOf(left), key: keyOf(left), schemes },
              remote: { auth: 'pubkey', id: RIGHT_ID, schemes },
            },
          },
        },
        async ({ we, peer, network, initiator }) => {
          await initiator.initiate();
          await agreedSa(we, peer);
          await expectPing(we, network.right.inside);
          const signed = [...peer.wholeLog().matchAll(/authentication of '\S+'(?: \(myself\))? with (\S+) successful/g)].map(
            ([, by]) => by,
          );
          expect(signed).toHaveLength(2);
          for (const by of signed) expect(by).toMatch(seen);
        },
      );
    },
  );

  // the peer is the subject of its certificate, in UTF8String, and is asked for in PrintableString: the same (RFC 5280 §7.1)
  test.each(ROLES)('known by distinguished names, which the initiator asks for in IDr: we are %s', async (role) => {
    const { left, right } = identities.get('ed25519')!;
    const [us, them] = [LEFT_ID, RIGHT_ID].map((name) => `O=Interop, CN=${name}`) as [string, string];
    await inPair(
      {
        role,
        identities: async () => ({ left, right }),
        theirs: {
          connection: { local: { auth: 'pubkey', certs: `${RIGHT_ID}.crt` }, remote: { auth: 'pubkey', id: us } },
        },
        ours: {
          connection: {
            local: { auth: 'pubkey', id: us, certs: certificateOf(left), key: keyOf(left) },
            remote: { auth: 'pubkey', id: them },
          },
        },
      },
      async ({ we, peer, network, initiator }) => {
        await initiator.initiate();
        await agreedSa(we, peer);
        await expectPing(we, network.right.inside);
      },
    );
  });
});

const certificateOf = (identity: Identity): string => (identity.auth === 'pubkey' ? identity.certificate : '');
const keyOf = (identity: Identity): string => (identity.auth === 'pubkey' ? identity.key : '');
