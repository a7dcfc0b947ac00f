import { afterAll, beforeAll, test } from 'vitest';
import { type Pair, startPair } from '../support/pair.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, expectChildRekey, expectPing } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';

/** Transforms that are used only where they are named, against an implementation that is not ours; each in one role. */
const SUITES = [
  { role: 'initiator', ike: 'camellia128-sha256-ecp224bp', esp: 'camellia256ccm16-ecp512bp' },
  { role: 'responder', ike: 'camellia256ctr-sha384-ecp384bp', esp: 'camellia192ctr-sha512-ecp256bp' },
  { role: 'initiator', ike: '3des-sha1-modp1024', esp: '3des-sha1-modp1536' },
  { role: 'responder', ike: 'camellia192ccm8-prfsha256-modp2048s256', esp: 'null-sha256-ecp192' },
] as const;

for (const { role, ike, esp } of SUITES) {
  describeWith(STRONGSWAN, `strongSwan: we are ${role}, ${ike}, ${esp}`, () => {
    const scope = new Scope();
    let pair: Pair;

    beforeAll(async () => {
      const identities = (folder: string) => createIdentities(folder, 'psk');
      pair = await startPair(scope, { role, ike, esp, identities, ours: { connection: { legacy: true } } });
    });
    afterAll(() => scope.close());

    test('comes up, pings, rekeys its child with a key exchange, and pings', async () => {
      const { we, peer, initiator, network } = pair;
      await initiator.initiate();
      await agreedSa(we, peer);
      await expectPing(we, network.right.inside);
      await expectChildRekey(initiator, initiator === we ? peer : we);
      await expectPing(peer, network.left.inside);
    });
  });
}
