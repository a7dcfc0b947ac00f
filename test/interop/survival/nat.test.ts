import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { eventually, PATIENCE } from '../support/process.ts';
import { describeWith, EVERYTHING, NFTABLES } from '../support/requirements.ts';
import { agreedSa, expectPing } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { forget, type Internet, nft, type Session, seconds, startSession, startTransfer, translate } from './session.ts';

const EVERY = EVERYTHING ? 5 : 3;

describeWith(NFTABLES, `a session survives: the NAT forgets its mappings every ${EVERY} s (RFC 7296 §2.23)`, () => {
  test.concurrent.each([
    ['with MOBIKE (RFC 4555 §3.8)', 'yes'],
    ['without MOBIKE', 'no'],
  ])('%s: the transfer ends whole, and IKE follows', async (what, mobike) => {
    const scope = new Scope();
    try {
      const session = await startSession(scope, { dpd_delay: '1s', mobike }, {}, translate);
      const { client, gateway, internet } = session;
      const transfer = await startTransfer(session);
      const times = seconds(6) / EVERY;
      for (let n = 0; n < times; n++) {
        await sleep(EVERY * 1000);
        await forget(internet);
        await transfer.goesOn();
      }
      const said = await transfer.end();
      const ports = await portsSeen(internet);
      console.log(`${what}: ${times} times other ports, ${ports.length} seen by the gateway; ${said}`);
      expect(ports.length).toBeGreaterThan(times / 2);
      await follows(session);
      await expectPing(gateway, internet.client.inside);
      await agreedSa(client, gateway);
    } finally {
      await scope.close();
    }
  });
});

async function portsSeen({ gateway }: Internet): Promise<readonly string[]> {
  const [, listed = ''] = /elements = \{([^}]*)\}/.exec(await nft(gateway, 'list set ip t ports')) ?? [];
  return listed.match(/\d+/g) ?? [];
}

/** IKE is where the traffic is: a request of the gateway's is answered. */
async function follows({ client, gateway, internet }: Session): Promise<void> {
  await eventually(
    'the gateway reaches the client with IKE',
    async () => {
      const ports = await portsSeen(internet);
      return ports.includes(String((await gateway.ends()).remote.port)) && (await client.ikeSas()).length === 1;
    },
    PATIENCE,
    () => `${client.log()}\n${gateway.log()}`,
  );
  await gateway.rekeyIke();
  await gateway.rekeyChild();
}
