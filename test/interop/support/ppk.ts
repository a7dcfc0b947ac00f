import { expect, test } from 'vitest';
import { startPair } from './pair.ts';
import { createIdentities, type Profile } from './profile.ts';
import { agreedSa, bothClean, expectChildRekey, expectIkeRekey, expectPing } from './scenario.ts';
import { Scope } from './scope.ts';
import type { TunnelwrightFailure } from './tunnelwright.ts';

/** What one end knows: the secret, under an id, and whether it insists. */
interface Side {
  readonly id: string;
  readonly secret: string;
  readonly required?: boolean;
  /** Known, and not named by the connection: strongSwan then takes whichever it knows, and does without where it may. */
  readonly unnamed?: boolean;
}

const SECRET = '0x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20';
const SAID = /^(PPK_|PSK_MISMATCH|AUTH_SIGNATURE|PEER_AUTHENTICATION_FAILED)/;
const OTHER = '0sqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=';

/** Post-quantum pre-shared keys (RFC 8784) with strongSwan of any version. @param root see `StrongswanOptions` */
export function ppkScenarios(role: 'initiator' | 'responder', auth: Profile['auth'], ike: string, root?: string): void {
  const pairWith = (scope: Scope, ours: Side | undefined, theirs: Side | undefined) =>
    startPair(scope, {
      role,
      ike,
      esp: 'aes256gcm16-x25519',
      root,
      identities: (folder) => createIdentities(folder, auth),
      ours: ours
        ? {
            connection: { ppk_id: ours.id, ppk_required: ours.required ?? false },
            secrets: { quantum: { kind: 'ppk', ids: ours.id, secret: ours.secret } },
          }
        : {},
      theirs: theirs
        ? {
            connection: { ppk_id: theirs.unnamed ? undefined : theirs.id, ppk_required: theirs.required ? 'yes' : 'no' },
            secrets: { 'ppk-quantum': { id: theirs.id, secret: theirs.secret } },
          }
        : {},
    });

  test.each<[string, Side | undefined, Side | undefined]>([
    ['mandatory at both ends', { id: 'ppk.lab', secret: SECRET, required: true }, { id: 'ppk.lab', secret: SECRET, required: true }],
    ['optional at both ends', { id: 'ppk.lab', secret: SECRET }, { id: 'ppk.lab', secret: SECRET }],
    [
      'optional, and unknown to the other end: NO_PPK_AUTH',
      { id: 'ppk.lab', secret: SECRET },
      { id: 'other.lab', secret: OTHER, unnamed: true },
    ],
    ['optional here, none there', { id: 'ppk.lab', secret: SECRET }, undefined],
    ['none here, optional there', undefined, { id: 'ppk.lab', secret: SECRET }],
  ])('%s: comes up, and where a PPK is used it stays in rekeyed IKE SAs', async (_what, ours, theirs) => {
    const scope = new Scope();
    try {
      const { we, peer, network, initiator } = await pairWith(scope, ours, theirs);
      await initiator.initiate();
      await agreedSa(we, peer);
      await expectPing(we, network.right.inside);
      if (ours?.required) {
        await expectChildRekey(we, peer);
        await expectIkeRekey(peer, we);
        await expectChildRekey(peer, we);
        await expectIkeRekey(we, peer);
      }
      await expectPing(peer, network.left.inside);
    } finally {
      await scope.close();
    }
  });

  test.each<[string, Side | undefined, Side | undefined]>([
    ['mandatory here, none there', { id: 'ppk.lab', secret: SECRET, required: true }, undefined],
    ['none here, mandatory there', undefined, { id: 'ppk.lab', secret: SECRET, required: true }],
    ['mandatory, under another id', { id: 'ppk.lab', secret: SECRET, required: true }, { id: 'other.lab', secret: SECRET, required: true }],
    ['another secret under the same id', { id: 'ppk.lab', secret: SECRET }, { id: 'ppk.lab', secret: OTHER }],
  ])('%s: nobody comes in, and we say why', async (_what, ours, theirs) => {
    const scope = new Scope();
    try {
      const { we, peer, initiator } = await pairWith(scope, ours, theirs);
      const failure = await initiator.initiate().then(
        () => undefined,
        (error: unknown) => error as TunnelwrightFailure,
      );
      expect(failure).toBeDefined();
      // an initiator that insists leaves without a word: strongSwan waits half a minute for it
      if (role === 'responder' || theirs !== undefined) await bothClean(we, peer);
      const told = [...(await we.failures()), ...(failure?.told ? [failure.told] : [])];
      // strongSwan goes in silence when the answer to its IKE_SA_INIT lacks USE_PPK
      const silent = role === 'responder' && ours === undefined;
      expect(told.map(({ code }) => code)).toContainEqual(expect.stringMatching(silent ? /^HALF_OPEN_TIMEOUT$/ : SAID));
      if (role === 'responder' && !silent) expect(told.map(({ message }) => message).join('\n')).toMatch(/post-quantum pre-shared key/);
    } finally {
      await scope.close();
    }
  });
}
