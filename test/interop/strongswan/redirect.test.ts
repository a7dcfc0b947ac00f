import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addInside, createNetwork, type Host, type Network } from '../support/network.ts';
import { eventually, must, PATIENCE } from '../support/process.ts';
import { createIdentities, type Identity, PROPOSALS, swanctlConf } from '../support/profile.ts';
import { describeWith, STRONGSWAN } from '../support/requirements.ts';
import { agreedSa, bothClean, expectPing } from '../support/scenario.ts';
import { Scope } from '../support/scope.ts';
import { Strongswan } from '../support/strongswan.ts';
import { configuration, Tunnelwright } from '../support/tunnelwright.ts';

/** Another address of the same host: the gateway that clients are sent to (RFC 5685). */
const OTHER_LEFT = '10.9.0.3';
const OTHER_RIGHT = '10.9.0.4';
const SUITE = PROPOSALS[1]!;

interface Ends {
  readonly folder: string;
  readonly network: Network;
  readonly left: Identity;
  readonly right: Identity;
}

describeWith(STRONGSWAN, 'redirect between us and strongSwan', () => {
  const scope = new Scope();
  let ends: Ends;
  let peer: Strongswan;

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
    scope.defer(folder, () => rm(folder, { recursive: true }));
    const network = await createNetwork(scope);
    await addAddress(network.left, OTHER_LEFT);
    await addAddress(network.right, OTHER_RIGHT);
    await addInside(network.right);
    ends = { folder, network, ...(await createIdentities(folder, 'psk')) };
    peer = await Strongswan.start(scope, { folder: join(folder, 'peer'), host: network.right, swanctl: theirs(ends) });
  });
  afterAll(() => scope.close());

  test('a session of ours, by swanctl --redirect: we go, and leave the first gateway', async () => {
    const we = await start(scope, ends, 'client', { connection: { local_addrs: '10.9.0.1' } });
    await we.initiate();
    const before = await agreedSa(we, peer);
    await peer.redirect(OTHER_RIGHT);
    await moved(we, peer, before.spiI);
    expect(await addressesOf(we)).toContain(OTHER_RIGHT);
    await expectPing(we, ends.network.right.inside);
    await we.deleteIke();
    await bothClean(we, peer);
    await we.stop();
  });

  test('a session of strongSwan’s, by our command: it goes, and leaves the first gateway', async () => {
    const we = await start(scope, ends, 'gateway', { connection: { local_addrs: ['10.9.0.1', OTHER_LEFT] } });
    await peer.initiate();
    const before = await agreedSa(we, peer);
    await we.redirect(OTHER_LEFT);
    await moved(we, peer, before.spiI);
    expect(await addressesOf(we)).toContain(OTHER_LEFT);
    await expectPing(peer, ends.network.left.inside);
    await peer.deleteIke();
    await bothClean(we, peer);
    await we.stop();
  });

  // not in IKE_AUTH: strongSwan 5.9.8 takes that redirect, begins anew and dies of a null pointer in its certificate task
  test('strongSwan is sent on in IKE_SA_INIT, and comes up at the other gateway', async () => {
    const busy = await start(scope, ends, 'gateway', {
      listen: { addresses: '10.9.0.1' },
      redirect: { to: OTHER_LEFT, when: 'always' },
      connection: { local_addrs: '10.9.0.1' },
    });
    const other = await start(scope, ends, 'gateway', {
      listen: { addresses: OTHER_LEFT },
      connection: { local_addrs: OTHER_LEFT },
    });
    // swanctl waits for the IKE SA that it began; the one that takes its place is another
    await peer.initiate().catch(() => undefined);
    await agreedSa(other, peer);
    expect(await busy.ikeSas()).toEqual([]);
    await expectPing(peer, ends.network.left.inside);
    await peer.deleteIke();
    await bothClean(other, peer);
    await Promise.all([busy.stop(), other.stop()]);
  });
});

let started = 0;

function start(
  scope: Scope,
  { folder, network, left }: Ends,
  role: 'client' | 'gateway',
  { connection, ...daemon }: { readonly connection: object; readonly listen?: object; readonly redirect?: object },
): Promise<Tunnelwright> {
  const { left: host, right } = network;
  const configured = { ...configuration({ host, peer: right, identity: left, ...SUITE, connection }), ...daemon };
  return Tunnelwright.start(scope, { folder: join(folder, `we${started++}`), host, role, configuration: configured });
}

const theirs = ({ network, right }: Ends) =>
  swanctlConf({
    host: network.right,
    peer: network.left,
    identity: right,
    ...SUITE,
    connection: { local_addrs: `${network.right.address}, ${OTHER_RIGHT}`, remote_addrs: `${network.left.address}, ${OTHER_LEFT}` },
  });

/** Another IKE SA has taken the place of the one there was. */
const moved = (a: Tunnelwright, b: Strongswan, spiI: string): Promise<unknown> =>
  eventually(
    'both ends see another IKE SA alone',
    async () => ((await agreedSa(a, b)).spiI === spiI ? undefined : true),
    PATIENCE,
    () => `${a.log()}\n${b.log()}`,
  );

const addressesOf = async (we: Tunnelwright): Promise<string> => JSON.stringify(await we.addresses());

const addAddress = ({ namespace, device }: Host, address: string): Promise<string> =>
  must('ip', ['-n', namespace, 'addr', 'add', `${address}/24`, 'dev', device]);
