import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inPair } from '../support/pair.ts';
import { createAuthority, type KeyType } from '../support/pki.ts';
import { createIdentities, type Identity, LEFT_ID, RIGHT_ID } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, expectPing } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { PLUGINS } from '../support/strongswan.ts';
import { serveFiles } from '../support/web.ts';

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

// strongSwan fetches ours and we fetch its, each from where the other's message says: both are named by hash and URL
describeWith(STRONGSWAN, 'strongSwan: certificates by hash and URL (RFC 7296 §3.6)', () => {
  test.each(ROLES)('both ways, we are %s', async (role) => {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
    try {
      const { left, right } = await createIdentities(folder, 'ecdsa');
      const names = await Promise.all([left, right].map((identity) => publish(identity, folder)));
      await inPair(
        {
          role,
          identities: async () => ({ left, right }),
          theirs: { sections: { authorities: { net: { cacert: 'ca.crt', cert_uri_base: PLACE } } } },
          charon: { hash_and_url: 'yes', load: `${PLUGINS} curl` },
          ours: { sections: { authorities: { net: { cacert: join(folder, 'pki', 'ca.crt'), cert_uri_base: PLACE } } } },
        },
        async ({ we, peer, network, initiator }) => {
          const scope = new Scope();
          try {
            const server = await serveFiles(scope, network.right, PORT, folder);
            await initiator.initiate();
            await agreedSa(we, peer);
            await expectPing(we, network.right.inside);
            for (const name of names) expect(server.output).toContain(`/certs/${name}\n`);
            expect(peer.wholeLog()).toContain('N(HTTP_CERT_LOOK)');
          } finally {
            await scope.close();
          }
        },
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

const PORT = 8080;
/** In the namespace of the peer, on the right. */
const PLACE = `http://10.9.0.2:${PORT}/certs/`;

/** Puts a certificate, in DER, where its hash names it. @returns the name */
async function publish(identity: Identity, folder: string): Promise<string> {
  const { raw } = new X509Certificate(await readFile(certificateOf(identity)));
  const name = createHash('sha1').update(raw).digest('hex');
  await writeFile(join(folder, name), raw);
  return name;
}

const certificateOf = (identity: Identity): string => (identity.auth === 'pubkey' ? identity.certificate : '');
const keyOf = (identity: Identity): string => (identity.auth === 'pubkey' ? identity.key : '');
