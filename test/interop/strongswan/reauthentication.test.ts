import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Pair, type PairOptions, startPair } from '../support/pair.ts';
import { eventually } from '../support/process.ts';
import { createIdentities, PROPOSALS } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, expectChildRekey, expectPing, expectTransfer } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';

const SUITE = PROPOSALS[1]!;

/** A pair of its own for the tests of a block. */
function withPair(options: Partial<PairOptions> & Pick<PairOptions, 'role'>): () => Pair {
  const scope = new Scope();
  let pair: Pair | undefined;
  beforeAll(async () => {
    pair = await startPair(scope, { ...SUITE, identities: (folder) => createIdentities(folder, 'psk'), ...options });
    await pair.initiator.initiate();
  });
  afterAll(() => scope.close());
  return () => pair!;
}

/** Another IKE SA with another child stands alone at both ends. */
async function movedOver({ we, peer }: Pair, before: { readonly spiI: string; readonly children: readonly { readonly spiIn: string }[] }) {
  return eventually(
    'both ends see the new IKE SA alone',
    async () => {
      const after = await agreedSa(we, peer);
      return after.spiI !== before.spiI && after.children[0]!.spiIn !== before.children[0]!.spiIn ? after : undefined;
    },
    20_000,
    () => `${we.log()}\n${peer.log()}`,
  );
}

describeWith(STRONGSWAN, 'strongSwan: we authenticate anew', () => {
  // strongSwan says how long an authentication is good for (RFC 4478) where it cannot begin a new one itself: to clients with an address of its own
  const pair = withPair({
    role: 'initiator',
    theirs: {
      connection: { reauth_time: '18s', over_time: '6s', rand_time: '0s', pools: 'clients' },
      child: { remote_ts: 'dynamic' },
      sections: { pools: { clients: { addrs: '10.1.0.1/32' } } },
    },
    ours: {
      connection: { vips: '0.0.0.0' },
      child: { local_ts: 'dynamic', rekey_packets: 4000, life_packets: 40_000, rekey_time: '1h' },
    },
  });

  test('a transfer does not notice it, nor the rekeyings that its packets bring about', async () => {
    const { we, peer, network } = pair();
    const before = await agreedSa(we, peer);
    const transfer = expectTransfer(peer, we, network.right.inside, 4001);
    transfer.catch(() => undefined);
    await we.reauthenticate();
    await transfer;
    const after = await movedOver(pair(), before);
    // the child that carried the last octets has not carried the most of them
    expect(after.children[0]!.octetsIn).toBeLessThan(15 * 1024 * 1024);
    expect(await we.failures()).toEqual([]);
    await expectPing(we, network.right.inside);
  });

  test('AUTH_LIFETIME is heeded in time, by nobody’s command, and the address stays', async () => {
    const { we, peer, network } = pair();
    const address = await we.assigned();
    expect(address).toEqual([network.left.inside]);
    const before = await agreedSa(we, peer);
    await movedOver(pair(), before);
    expect(await we.failures()).toEqual([]);
    expect(await we.assigned()).toEqual(address);
    await expectPing(we, network.right.inside);
    await expectPing(peer, address[0]!);
  });
});

describeWith(STRONGSWAN, 'strongSwan authenticates anew, make before break', () => {
  const pair = withPair({
    role: 'responder',
    charon: { make_before_break: 'yes' },
    ours: { connection: { reauth_time: '20s', over_time: '10s' } },
    theirs: { connection: { over_time: '6s' } },
  });

  test('a transfer does not notice it', async () => {
    const { we, peer, network } = pair();
    const before = await agreedSa(we, peer);
    const transfer = expectTransfer(peer, we, network.right.inside, 4002);
    transfer.catch(() => undefined);
    await peer.reauthenticate();
    await transfer;
    await movedOver(pair(), before);
    await expectPing(peer, network.left.inside);
  });

  test('it heeds our AUTH_LIFETIME', async () => {
    const { we, peer, network } = pair();
    const before = await agreedSa(we, peer);
    await movedOver(pair(), before);
    expect((await we.failures()).map(({ code }) => code)).not.toContain('REAUTHENTICATION_OVERDUE');
    await expectPing(we, network.right.inside);
  });
});

describeWith(STRONGSWAN, 'strongSwan without PFS, which we insist on', () => {
  const pair = withPair({ role: 'initiator', ours: { child: { pfs: 'require' } }, theirs: { esp: 'aes256gcm16' } });

  test('up --test-rekey says it at once, with what to set, and the IKE SA can be rekeyed', async () => {
    const { we, peer, network } = pair();
    const [child, ike] = await we.testRekey();
    expect(child).toMatchObject({ what: 'CHILD_SA net', error: { code: 'PFS_REFUSED', notify: 14 } });
    expect(child!.error!.message).toBe(
      'the peer refused rekeying CHILD_SA net: the same algorithms stand since IKE_AUTH, where no key exchange is asked, so it differs about PFS; we offered x25519',
    );
    expect(child!.error!.hint).toMatch(/set pfs: prefer for net here/);
    expect(ike).toEqual({ what: 'the IKE SA', suite: 'aes256gcm16/prfsha384/x25519' });
    await agreedSa(we, peer);
    await expectPing(we, network.right.inside);
  });

  test('what strongSwan proposes is refused with the reason, and the child lives on', async () => {
    const { we, peer, network } = pair();
    await we.failures();
    await peer.rekeyChild();
    const told = await eventually('our end says why', async () => (await we.failures()).find(({ code }) => code === 'PFS_MISSING'), 10_000);
    expect(told.hint).toBe('Turn PFS on at the peer with x25519, or set pfs: prefer for net here.');
    await expectPing(we, network.right.inside);
  });
});

describeWith(STRONGSWAN, 'strongSwan without PFS, which we prefer', () => {
  const pair = withPair({ role: 'initiator', theirs: { esp: 'aes256gcm16' } });

  test('either end rekeys without', async () => {
    const { we, peer } = pair();
    expect((await we.testRekey()).map(({ suite }) => suite)).toEqual(['aes256gcm16', 'aes256gcm16/prfsha384/x25519']);
    await expectChildRekey(peer, we);
    expect(await we.failures()).toEqual([]);
  });
});
