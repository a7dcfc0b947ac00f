import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { describeWith, EVERYTHING, NAMESPACES } from '../support/requirements.ts';
import { agreedSa } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { startSession, startTransfer } from './session.ts';

/** Seconds that are promised, and what a machine with other work may add. */
const [WITHIN, MARGIN] = [2, 2];
/** Within it the client has asked so often whether the gateway lives that its next copy would be seconds away. */
const LONG = EVERYTHING ? 25 : 8;
const PATIENT = { dpd_delay: '1s', retransmission: { initial: '1s', base: 1.8, give_up: '60s' } };

describeWith(NAMESPACES, 'a session survives: the gateway is killed and started anew (RFC 6290)', () => {
  test.concurrent.each([
    ['at once', 0],
    [`after ${LONG} s`, LONG],
  ])('%s: the tunnel carries again within two seconds of the first packet, and nobody did anything for it', async (when, away) => {
    const scope = new Scope();
    try {
      const session = await startSession(scope, PATIENT, { dpd_action: 'restart' });
      const { client, gateway, internet } = session;
      const before = await agreedSa(client, gateway);
      const transfer = await startTransfer(session);
      await transfer.goesOn();
      await gateway.kill();
      await sleep(away * 1000);
      // ten pings each second from now on: one is there as soon as the new gateway listens
      const answered = client.pingUntilAnswered(internet.gateway.inside);
      const anew = await session.restart();
      const took = (await answered) - anew.readyAt;
      console.log(`started anew ${when}: a ping is answered ${took} ms after the gateway listens`);
      expect(took).toBeLessThan((WITHIN + MARGIN) * 1000);
      const after = await agreedSa(client, anew);
      expect(after.spiI).not.toBe(before.spiI);
      expect((await client.failures()).map(({ code }) => code)).toContain('PEER_CRASHED');
      const other = await startTransfer({ ...session, gateway: anew });
      await other.goesOn();
      console.log(`over the new IKE SA: ${await other.end()}`);
    } finally {
      await scope.close();
    }
  });
});
