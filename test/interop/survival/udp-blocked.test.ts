import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { eventually, PATIENCE } from '../support/process.ts';
import { describeWith, NFTABLES } from '../support/requirements.ts';
import { agreedSa } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { nft, type Session, seconds, startSession, startTransfer } from './session.ts';

describeWith(NFTABLES, 'a session survives: UDP is blocked in its midst (RFC 9329)', () => {
  test('TCP takes over, and UDP when that is let through again; the transfer ends whole', async () => {
    const scope = new Scope();
    try {
      const session = await startSession(scope, { dpd_delay: '1s', tcp_after: '1s' });
      const { client, gateway, internet } = session;
      const before = await agreedSa(client, gateway);
      expect(await transports(session)).toBe('udp udp');
      const transfer = await startTransfer(session);
      await transfer.goesOn();
      const began = performance.now();
      await nft(internet.router, BLOCKED);
      await on(session, 'tcp tcp');
      const toTcp = performance.now() - began;
      await transfer.goesOn();
      await sleep(seconds(1) * 500);
      await nft(internet.router, 'delete table ip blocked');
      const freed = performance.now();
      await on(session, 'udp udp');
      const toUdp = performance.now() - freed;
      await transfer.goesOn();
      await sleep(seconds(1) * 500);
      console.log(
        `on TCP ${toTcp.toFixed(0)} ms after UDP was blocked, on UDP again ${toUdp.toFixed(0)} ms after it was not: ${await transfer.end()}`,
      );
      const after = await agreedSa(client, gateway);
      expect([after.spiI, after.children[0]!.spiIn]).toEqual([before.spiI, before.children[0]!.spiIn]);
    } finally {
      await scope.close();
    }
  });
});

const BLOCKED = `add table ip blocked; add chain ip blocked c { type filter hook forward priority filter; };
  add rule ip blocked c udp sport { 500, 4500 } drop; add rule ip blocked c udp dport { 500, 4500 } drop`;

async function transports({ client, gateway }: Session): Promise<string> {
  return [await client.ends(), await gateway.ends()].map(({ transport }) => transport).join(' ');
}

async function on(session: Session, expected: string): Promise<void> {
  await eventually(
    `client and gateway are on ${expected}`,
    async () => (await transports(session)) === expected,
    PATIENCE,
    () => `${session.client.log()}\n${session.gateway.log()}`,
  );
}
