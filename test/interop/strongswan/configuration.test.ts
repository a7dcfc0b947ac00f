import { expect, test } from 'vitest';
import { inPair } from '../support/pair.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, childless, expectPing } from '../support/scenario.ts';

const ROLES = ['initiator', 'responder'] as const;

describeWith(STRONGSWAN, 'strongSwan: IKE SAs that begin without a child, names of the inside', () => {
  test.each(ROLES)('childless (RFC 6023), we are %s', async (role) => {
    await inPair(
      {
        role,
        ours: { connection: { childless: role === 'initiator' ? 'force' : 'allow' } },
        theirs: { connection: { childless: role === 'initiator' ? 'allow' : 'force' } },
      },
      async ({ we, peer, network, initiator }) => {
        await initiator.initiate();
        await agreedSa(we, peer);
        await expectPing(we, network.right.inside);
        await initiator.deleteChild();
        await childless(we, peer);
      },
    );
  });

  test('split DNS (RFC 8598): domains of a pool of strongSwan are heeded', async () => {
    await inPair(
      {
        role: 'initiator',
        theirs: {
          connection: { pools: 'clients' },
          child: { remote_ts: 'dynamic' },
          sections: { pools: { clients: { addrs: '10.1.0.1/32', dns: '10.2.0.53', 25: 'corp.example,lab.test' } } },
        },
        ours: { connection: { vips: '0.0.0.0', dns_domains: 'corp.example' }, child: { local_ts: 'dynamic' } },
      },
      async ({ we, network }) => {
        await we.initiate();
        expect(await we.names()).toEqual({
          servers: ['10.2.0.53'],
          domains: [{ name: 'corp.example', trustAnchors: [] }],
          ignored: [{ what: 'lab.test', why: 'dns_domains of this connection does not name it' }],
        });
        await expectPing(we, network.right.inside);
      },
    );
  });
});
