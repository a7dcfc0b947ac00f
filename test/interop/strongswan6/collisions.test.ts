import { collisionScenarios } from '../support/collisions.ts';
import { createIdentities } from '../support/profile.ts';
import { describeWith, STRONGSWAN_6, STRONGSWAN_6_ROOT } from '../support/requirements.ts';

for (const role of ['initiator', 'responder'] as const) {
  describeWith(STRONGSWAN_6, `strongSwan 6 rekeys with follow-ups at the very moment that we do: we are ${role}`, () => {
    collisionScenarios(
      {
        role,
        ike: 'aes256gcm16-prfsha384-x25519-ke1_mlkem768',
        esp: 'aes256gcm16-x25519-ke1_mlkem768',
        root: STRONGSWAN_6_ROOT,
        identities: (folder) => createIdentities(folder, 'psk'),
      },
      3,
    );
  });
}
