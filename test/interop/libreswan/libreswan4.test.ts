import { afterAll, beforeAll } from 'vitest';
import { type LibreswanGuest, matrixScenario, SUITES, startLibreswan } from '../support/libreswan-scenarios.ts';
import { describeWith, EVERYTHING, LIBRESWAN_4, PEERS_ROOT } from '../support/requirements.ts';

/** libreswan 4 of Debian 12, with ESP of a kernel. */
describeWith(LIBRESWAN_4, 'libreswan 4', () => {
  let on: LibreswanGuest;
  beforeAll(async () => {
    on = await startLibreswan({ version: 4, systems: [PEERS_ROOT, ''] });
  });
  afterAll(() => on?.scope.close());

  matrixScenario(() => on, { role: 'initiator', auth: 'psk', ...SUITES.gcm });
  matrixScenario(() => on, { role: 'responder', auth: 'psk', ...SUITES.cbc }, !EVERYTHING);
  matrixScenario(() => on, { role: 'initiator', auth: 'ecdsa', ...SUITES.chacha }, !EVERYTHING);
  matrixScenario(() => on, { role: 'responder', auth: 'rsa', ...SUITES.gcm128 }, !EVERYTHING);
});
