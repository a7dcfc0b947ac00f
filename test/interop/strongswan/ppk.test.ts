import { ppkScenarios } from '../support/ppk.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';

const IKE = 'aes256gcm16-prfsha384-x25519';

describeWith(STRONGSWAN, 'strongSwan: we are initiator, PSK and PPK', () => ppkScenarios('initiator', 'psk', IKE));
describeWith(STRONGSWAN, 'strongSwan: we are responder, ECDSA and PPK', () => ppkScenarios('responder', 'ecdsa', IKE));
