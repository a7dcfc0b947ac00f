import { afterAll, beforeAll } from 'vitest';
import {
  type LibreswanGuest,
  matrixScenario,
  ppkScenario,
  resumptionScenario,
  SUITES,
  startLibreswan,
} from '../support/libreswan-scenarios.ts';
import { describeWith, EVERYTHING, LIBRESWAN_5, STRONGSWAN_6_ROOT } from '../support/requirements.ts';

/** libreswan 5 of Debian's next release, with ESP of a kernel. */
describeWith(LIBRESWAN_5, 'libreswan 5', () => {
  let on: LibreswanGuest;
  beforeAll(async () => {
    on = await startLibreswan({ version: 5, systems: [STRONGSWAN_6_ROOT!] });
  });
  afterAll(() => on?.scope.close());

  matrixScenario(() => on, { role: 'responder', auth: 'psk', ...SUITES.gcm });
  matrixScenario(() => on, { role: 'initiator', auth: 'ecdsa', ...SUITES.cbc }, !EVERYTHING);
  matrixScenario(() => on, { role: 'initiator', auth: 'rsa', ...SUITES.gcm128 }, !EVERYTHING);
  matrixScenario(() => on, { role: 'responder', auth: 'ecdsa', ...SUITES.chacha }, !EVERYTHING);
  resumptionScenario(() => on);
  ppkScenario(() => on);
});
