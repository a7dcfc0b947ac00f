import { collisionScenarios } from '../support/collisions.ts';
import { createIdentities, PROPOSALS } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';

for (const role of ['initiator', 'responder'] as const) {
  describeWith(STRONGSWAN, `strongSwan rekeys at the very moment that we do: we are ${role}`, () => {
    collisionScenarios({ role, ...PROPOSALS[1]!, identities: (folder) => createIdentities(folder, 'psk') }, 3);
  });
}
