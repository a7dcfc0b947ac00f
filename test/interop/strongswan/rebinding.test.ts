import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Host } from '../support/network.ts';
import { type Pair, startPair } from '../support/pair.ts';
import { eventually, must } from '../support/process.ts';
import { createIdentities, PROPOSALS } from '../support/profile.ts';
import { describeWith, STRONGSWAN_BEHIND_NAT } from '../support/requirements.ts';
import { agreedSa, expectIkeRekey } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';

// two ends of equal patience take turns by chance, and one may never ask
const CLIENT = { dpd_delay: '1s' };
const GATEWAY = { dpd_delay: '30s' };

for (const role of ['initiator', 'responder'] as const) {
  const client = role === 'initiator' ? 'we are' : 'strongSwan is';
  describeWith(STRONGSWAN_BEHIND_NAT, `strongSwan: ${client} behind a NAT that forgets its mapping (RFC 7296 §2.23)`, () => {
    const scope = new Scope();
    let pair: Pair;
    let behind: Host;

    beforeAll(async () => {
      pair = await startPair(scope, {
        role,
        ...PROPOSALS[1]!,
        identities: (folder) => createIdentities(folder, 'psk'),
        ours: { connection: { ...(role === 'initiator' ? CLIENT : GATEWAY), local_addrs: '%any' } },
        theirs: { connection: role === 'initiator' ? GATEWAY : CLIENT },
      });
      behind = role === 'initiator' ? pair.network.left : pair.network.right;
      await map(behind, 20_000);
    });
    afterAll(() => scope.close());

    test('comes up through the first mapping', async () => {
      const { we, peer, initiator } = pair;
      await initiator.initiate();
      await agreedSa(we, peer);
      await bothPing(pair);
      expect(await portSeen(pair)).toBe(24_500);
      // whoever decides compares the mapping with that of a liveness check before (RFC 4555 §3.8)
      await eventually(
        'the client has asked whether the gateway lives',
        () => /(parsed|generating) INFORMATIONAL response \d+ \[ N\(NATD_S_IP\)/.test(peer.wholeLog()),
        20_000,
        () => peer.log(),
      );
    });

    test.each([21_000, 22_000])('another mapping, %i: the same IKE SA goes on through it', async (offset) => {
      const { we, peer } = pair;
      const before = await agreedSa(we, peer);
      await map(behind, offset);
      await eventually(
        'the gateway sees the new port',
        async () => (await portSeen(pair)) === offset + 4500,
        20_000,
        () => `${we.log()}\n${peer.log()}`,
      );
      await bothPing(pair);
      expect((await agreedSa(we, peer)).spiI).toBe(before.spiI);
    });

    test('and both rekey there', async () => {
      const { we, peer } = pair;
      await expectIkeRekey(we, peer);
      await expectIkeRekey(peer, we);
      await bothPing(pair);
    });
  });
}

/** The outside sees the ports of a host so much higher; what comes to any other mapping is lost. */
async function map({ namespace }: Host, offset: number): Promise<void> {
  const outward = [500, 4500].map((port) => `udp sport ${port} udp sport set ${port + offset}`);
  const inward = [500, 4500].map((port) => `udp dport ${port + offset} udp dport set ${port} accept`);
  const rules = `
add table ip nat_by_hand
delete table ip nat_by_hand
table ip nat_by_hand {
  chain outward {
    type filter hook postrouting priority 0
    ${outward.join('\n    ')}
  }
  chain inward {
    type filter hook prerouting priority -300
    ${inward.join('\n    ')}
    iifname "outside" udp dport { 500, 4500 } drop
    iifname "outside" udp dport 20000-30000 drop
  }
}
`;
  await must('ip', ['netns', 'exec', namespace, 'nft', '-f', '-'], { input: rules });
}

/** The port that the gateway sends to. */
async function portSeen({ we, peer, initiator }: Pair): Promise<number> {
  return initiator === we ? peer.remotePort() : we.remotePort();
}

/** Its ESP in user space cannot change ports, so strongSwan rekeys the child; until then what it sends goes where we were. */
async function bothPing({ we, peer, network }: Pair): Promise<void> {
  await eventually(
    'both ping',
    async () => (await we.ping(network.right.inside, 1)) === 1 && (await peer.ping(network.left.inside, 1)) === 1,
    20_000,
    () => `${we.log()}\n${peer.log()}`,
  );
}
