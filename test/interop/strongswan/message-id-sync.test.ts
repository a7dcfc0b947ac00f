import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { addInside, createNetwork } from '../support/network.ts';
import { createIdentities, PROPOSALS, swanctlConf } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, expectPing } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { Strongswan } from '../support/strongswan.ts';
import { configuration, Tunnelwright } from '../support/tunnelwright.ts';

// under an AEAD its IVs are the Message IDs, and none comes twice: an answer with Message ID 0 ends its IKE SA
const SUITE = { ...PROPOSALS[1]!, ike: 'aes256-sha256-x25519' };

describeWith(STRONGSWAN, 'strongSwan, which answers IKEV2_MESSAGE_ID_SYNC (RFC 6311)', () => {
  test('a gateway that is killed goes on in another process from an older snapshot, and both ends agree on their Message IDs', async () => {
    const scope = new Scope();
    try {
      const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
      scope.defer(folder, () => rm(folder, { recursive: true }));
      const { left, right } = await createNetwork(scope);
      await addInside(right);
      const identities = await createIdentities(folder, 'psk');
      const member = () =>
        Tunnelwright.start(scope, {
          folder: join(folder, 'gateway'),
          host: left,
          role: 'gateway',
          configuration: configuration({ host: left, peer: right, identity: identities.left, ...SUITE, connection: { dpd_delay: '1s' } }),
        });
      const first = await member();
      const peer = await Strongswan.start(scope, {
        folder: join(folder, 'peer'),
        host: right,
        swanctl: swanctlConf({ host: right, peer: left, identity: identities.right, ...SUITE, connection: { dpd_delay: '1s' } }),
      });
      await peer.initiate();
      const before = await agreedSa(first, peer);
      await first.keep();
      // both ask whether the other one lives: of none of that the snapshot knows
      await sleep(4000);
      await first.kill();

      const second = await member();
      await second.takeOver();
      await sleep(2000);
      expect((await second.noticed()).synchronised, `${second.log()}\n${peer.wholeLog().slice(-6000)}`).toBe(1);
      const after = await agreedSa(second, peer);
      expect(after.spiI).toBe(before.spiI);
      expect(peer.wholeLog()).toContain('N(MSG_ID_SYN)');
      await expectPing(second, right.inside);
      await second.rekeyChild();
      await peer.rekeyChild();
      await agreedSa(second, peer);
      await expectPing(second, right.inside);
    } finally {
      await scope.close();
    }
  });
});
