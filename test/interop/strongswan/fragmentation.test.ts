import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fragmentsOf } from '../support/fragments.ts';
import type { Host } from '../support/network.ts';
import { inPair } from '../support/pair.ts';
import { must } from '../support/process.ts';
import { createIdentities, type Identity } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, expectChildRekey, expectIkeRekey, expectPing, expectTransfer } from '../support/scenario.ts';

const ROLES = ['initiator', 'responder'] as const;

describeWith(STRONGSWAN, 'fragments (RFC 7383) with strongSwan on a link of 1280 octets, RSA-4096 certificates', () => {
  let folder: string;
  let identities: { readonly left: Identity; readonly right: Identity };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
    identities = await createIdentities(folder, 'rsa');
  });
  afterAll(() => rm(folder, { recursive: true }));

  test.each(ROLES)('as both ends have it without being told, we are %s: nothing is cut by IP', async (role) => {
    await inPair({ role, identities: async () => identities }, async ({ we, peer, network, initiator }) => {
      const { left, right } = network;
      for (const end of [left, right]) await must('ip', ['-n', end.namespace, 'link', 'set', end.device, 'mtu', '1280']);
      await initiator.initiate();
      await agreedSa(we, peer);
      const { sent, received } = fragmentsOf(peer, 'IKE_AUTH');
      expect([sent, received], peer.log()).toEqual([2, 2]);
      await expectIkeRekey(we, peer);
      await expectIkeRekey(peer, we);
      await expectChildRekey(initiator, initiator === we ? peer : we);
      await expectPing(we, right.inside);
      await expectPing(peer, left.inside);
      expect([await cutByIp(left), await cutByIp(right)]).toEqual([0, 0]);
      await expectTransfer(peer, we, right.inside, 4001);
    });
  });

  test.each(ROLES)('only we insist on less, 576 octets, we are %s', async (role) => {
    const ours = { connection: { fragment_size: 576 } };
    await inPair({ role, identities: async () => identities, ours }, async ({ we, peer, network, initiator }) => {
      await initiator.initiate();
      await agreedSa(we, peer);
      const { sent, received } = fragmentsOf(peer, 'IKE_AUTH');
      expect(sent, peer.log()).toBe(2);
      expect(received, peer.log()).toBeGreaterThan(3);
      await expectPing(we, network.right.inside);
    });
  });
});

/** Datagrams that the kernel of a namespace had to fragment. */
async function cutByIp({ namespace }: Host): Promise<number> {
  const [names, values] = (await must('ip', ['netns', 'exec', namespace, 'grep', '^Ip:', '/proc/net/snmp'])).trim().split('\n');
  return Number(values!.split(' ')[names!.split(' ').indexOf('FragOKs')]);
}
