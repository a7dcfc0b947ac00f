import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Guest } from '../support/guest.ts';
import { Initramfs } from '../support/initramfs.ts';
import { createGuestNetwork, type Host } from '../support/network.ts';
import { addOpeniked, Openiked, type OpenikedPolicy } from '../support/openiked.ts';
import { eventually, PATIENCE } from '../support/process.ts';
import { createIdentities, type Identity } from '../support/profile.ts';
import { describeWith, OPENIKED, PEERS_ROOT } from '../support/requirements.ts';
import { agreedSa, bothClean, expectAlive, expectChildRekey, expectIkeRekey, expectPing } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { configuration, Tunnelwright } from '../support/tunnelwright.ts';

const SUITE = {
  ours: { ike: 'aes256gcm16-prfsha384-x25519', esp: 'aes256-sha512-x25519' },
  theirs: {
    ike: 'enc aes-256-gcm prf hmac-sha2-384 group curve25519',
    child: 'enc aes-256 auth hmac-sha2-512 group curve25519 noesn',
  },
};

describeWith(OPENIKED, 'OpenIKED 7.2', () => {
  const scope = new Scope();
  let folder: string;
  let [left, right]: Host[] = [];
  let peer: Openiked;
  let identities: Readonly<Record<'psk' | 'ecdsa', { readonly left: Identity; readonly right: Identity }>>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
    scope.defer(folder, () => rm(folder, { recursive: true }));
    const network = await createGuestNetwork(scope);
    [left, right] = [network.left, network.right];
    identities = { psk: await createIdentities(folder, 'psk'), ecdsa: await createIdentities(folder, 'ecdsa') };
    const image = new Initramfs();
    const systems = [PEERS_ROOT, ''];
    await addOpeniked(image, systems, identities.ecdsa.right);
    peer = new Openiked(await Guest.start(scope, { folder, host: left, guest: right, kernel: PEERS_ROOT, image, systems }));
  });
  afterAll(() => scope.close());

  let started = 0;
  const startBoth = async (
    role: 'initiator' | 'responder',
    auth: 'psk' | 'ecdsa',
    theirs: Partial<OpenikedPolicy> = {},
  ): Promise<{ readonly we: Tunnelwright; readonly own: Scope }> => {
    const own = new Scope();
    const policy = { host: right!, peer: left!, identity: identities[auth].right, ...SUITE.theirs, ...theirs };
    if (role === 'initiator') await peer.start({ ...policy, active: false });
    const we = await Tunnelwright.start(own, {
      folder: join(folder, `we${started++}`),
      host: left!,
      role: role === 'initiator' ? 'client' : 'gateway',
      configuration: configuration({ host: left!, peer: right!, identity: identities[auth].left, ...SUITE.ours }),
    });
    if (role === 'initiator') await we.initiate();
    else await peer.start({ ...policy, active: true });
    await agreedSa(we, peer);
    await bothPing(we);
    return { we, own };
  };
  const bothPing = async (we: Tunnelwright): Promise<void> => {
    await expectPing(we, right!.inside);
    await expectPing(peer, left!.inside);
  };

  test.each(['psk', 'ecdsa'] as const)('we are initiator, %s: comes up, we rekey child and IKE SA, it deletes', async (auth) => {
    const { we, own } = await startBoth('initiator', auth);
    try {
      await expectChildRekey(we, peer);
      await expectIkeRekey(we, peer);
      await expectChildRekey(we, peer);
      await bothPing(we);
      await peer.deleteIke();
      await bothClean(we, peer);
    } finally {
      await own.close();
    }
  });

  test('we are responder, ecdsa: comes up, we rekey, our Delete of the old IKE SA is never answered, we delete', async () => {
    const { we, own } = await startBoth('responder', 'ecdsa');
    try {
      await expectIkeRekey(we, peer);
      await expectChildRekey(we, peer);
      await bothPing(we);
      // beyond the last repetition of that Delete
      await expectAlive(we, peer, 9000);
      await bothPing(we);
      expect(await we.failures()).toEqual([]);
      const { spiI } = await agreedSa(we, peer);
      await we.deleteIke();
      expect((await we.ikeSas()).map((sa) => sa.spiI)).not.toContain(spiI);
    } finally {
      await own.close();
    }
  });

  test('we are responder, psk: it rekeys the child, then the IKE SA, by its lifetimes', async () => {
    const { we, own } = await startBoth('responder', 'psk', { lifetimes: { ike: 24, child: 10 } });
    try {
      const before = await agreedSa(we, peer);
      const other = (what: string, is: (sa: typeof before) => boolean): Promise<true> =>
        eventually(
          what,
          async () => is(await agreedSa(we, peer)) || undefined,
          PATIENCE,
          () => `${we.log()}\n${peer.log()}`,
        );
      await other('another child', (sa) => sa.spiI === before.spiI && sa.children[0]!.spiIn !== before.children[0]!.spiIn);
      await bothPing(we);
      await other('another IKE SA', (sa) => sa.spiI !== before.spiI);
      await bothPing(we);
      expect(await we.failures()).toEqual([]);
    } finally {
      await own.close();
    }
  });
});
