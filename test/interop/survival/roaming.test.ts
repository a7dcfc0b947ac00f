import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { eventually, PATIENCE } from '../support/process.ts';
import { describeWith, NAMESPACES } from '../support/requirements.ts';
import { agreedSa } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { MOBILE, move, seconds, startSession, startTransfer, WIFI } from './session.ts';

describeWith(NAMESPACES, 'a session survives: another address every second (RFC 4555)', () => {
  test('the transfer ends whole, over the IKE SA that it began on', async () => {
    const scope = new Scope();
    try {
      const session = await startSession(scope, { dpd_delay: '1s' });
      const { client, gateway, internet } = session;
      const before = await agreedSa(client, gateway);
      const transfer = await startTransfer(session);
      const moves = seconds(8);
      let [here, there] = [WIFI, MOBILE];
      for (let n = 0; n < moves; n++) {
        await sleep(1000);
        await move(internet, here, there);
        [here, there] = [there, here];
      }
      await eventually(
        'the gateway sees the client where it is',
        async () => (await gateway.addresses()).join() === `${internet.gateway.address},${here.address}`,
        PATIENCE,
        () => `${client.log()}\n${gateway.log()}`,
      );
      await transfer.goesOn();
      const said = await transfer.end();
      const { moved = 0 } = await client.noticed();
      expect(moved).toBeGreaterThan(1);
      console.log(`${moves} changes of address, ${moved} moves of the IKE SA: ${said}`);
      const after = await agreedSa(client, gateway);
      expect([after.spiI, after.children[0]!.spiIn]).toEqual([before.spiI, before.children[0]!.spiIn]);
    } finally {
      await scope.close();
    }
  });
});
