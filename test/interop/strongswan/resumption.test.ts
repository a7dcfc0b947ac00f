import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { addInside, createNetwork } from '../support/network.ts';
import { eventually, PATIENCE } from '../support/process.ts';
import { createIdentities, PROPOSALS, swanctlConf } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, expectPing } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { Strongswan } from '../support/strongswan.ts';
import { configuration, Tunnelwright } from '../support/tunnelwright.ts';

const SUITE = PROPOSALS[1]!;
const NOT_RESUMED = /"kind":"not-resumed".*did not answer IKE_SESSION_RESUME/;
const INIT_ANSWERED = /"at":(\d+),"kind":"exchange","ikeSa":\d+,"exchange":34,/;
/** Milliseconds from the command to the answer to a whole IKE_SA_INIT. */
const SOON = 2000;

describeWith(STRONGSWAN, 'strongSwan, which has no session resumption (RFC 5723)', () => {
  test('a ticket of the gateway that was there before costs us less than two seconds', async () => {
    const scope = new Scope();
    try {
      const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
      scope.defer(folder, () => rm(folder, { recursive: true }));
      const network = await createNetwork(scope);
      const { left, right } = network;
      await addInside(right);
      const identities = await createIdentities(folder, 'psk');
      const connection = { resumption: true, dpd_delay: '1s', retransmission: { initial: '500ms', base: 1.4, give_up: '4s' } };
      const start = (role: 'client' | 'gateway', host: typeof left, peer: typeof left) =>
        Tunnelwright.start(scope, {
          folder: join(folder, role),
          host,
          role,
          configuration: configuration({ host, peer, identity: identities[host === left ? 'left' : 'right'], ...SUITE, connection }),
        });
      const first = await start('gateway', right, left);
      const we = await start('client', left, right);

      await we.initiate();
      process.kill(first.pid, 'SIGKILL');
      await eventually(
        'we find the gateway dead',
        async () => (await we.ikeSas()).length === 0,
        PATIENCE,
        () => we.log(),
      );
      const peer = await Strongswan.start(scope, {
        folder: join(folder, 'peer'),
        host: right,
        swanctl: swanctlConf({ host: right, peer: left, identity: identities.right, ...SUITE }),
      });
      const began = Date.now();
      await we.initiate();
      expect(we.log()).toMatch(NOT_RESUMED);
      const [, answered] = INIT_ANSWERED.exec(we.log().slice(we.log().indexOf('"kind":"not-resumed"'))) ?? [];
      expect(Number(answered) - began, we.log()).toBeLessThan(SOON);
      expect(peer.wholeLog()).not.toContain('SESSION_RESUME');
      await agreedSa(we, peer);
      await expectPing(we, right.inside);
    } finally {
      await scope.close();
    }
  });
});
