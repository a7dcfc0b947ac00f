import { ppkScenarios } from '../support/ppk.ts';
import { describeWith, EVERYTHING, STRONGSWAN_6, STRONGSWAN_6_ROOT } from '../support/requirements.ts';

/** PPK beside several key exchanges: what is mixed are the keys that IKE_INTERMEDIATE left behind. */
const IKE = 'aes256gcm16-prfsha384-x25519-ke1_mlkem768';

describeWith(STRONGSWAN_6, 'strongSwan 6: we are responder, PSK and PPK', () => ppkScenarios('responder', 'psk', IKE, STRONGSWAN_6_ROOT));
if (EVERYTHING)
  describeWith(STRONGSWAN_6, 'strongSwan 6: we are initiator, ECDSA and PPK', () =>
    ppkScenarios('initiator', 'ecdsa', IKE, STRONGSWAN_6_ROOT),
  );
