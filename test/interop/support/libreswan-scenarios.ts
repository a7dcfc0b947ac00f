import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ExchangeType } from '../../../src/core/wire/index.ts';
import type { End } from './end.ts';
import { Guest } from './guest.ts';
import { Initramfs } from './initramfs.ts';
import { addLibreswan, Libreswan, type LibreswanRelease } from './libreswan.ts';
import { createGuestNetwork, type Host } from './network.ts';
import { createAuthority } from './pki.ts';
import { eventually, must, PATIENCE, run } from './process.ts';
import type { Identity, Profile } from './profile.ts';
import { PEERS_ROOT } from './requirements.ts';
import { agreedSa, bothClean, childless, expectAlive, expectChildRekey, expectIkeRekey, expectPing } from './scenario.ts';
import { Scope } from './scope.ts';
import { type ConfigurationOptions, configuration, Tunnelwright, type TunnelwrightOptions } from './tunnelwright.ts';

type Auth = Profile['auth'];

/** libreswan in its guest, which all scenarios of a file share: each brings its connection, and an end of ours. */
export interface LibreswanGuest {
  readonly scope: Scope;
  readonly folder: string;
  readonly left: Host;
  readonly right: Host;
  readonly peer: Libreswan;
  readonly guest: Guest;
  readonly identities: Readonly<Record<Auth, { readonly left: Identity; readonly right: Identity }>>;
}

export async function startLibreswan(release: LibreswanRelease): Promise<LibreswanGuest> {
  const scope = new Scope();
  try {
    const folder = await mkdtemp(join(tmpdir(), 'tunnelwright-'));
    scope.defer(folder, () => rm(folder, { recursive: true }));
    const { left, right } = await createGuestNetwork(scope);
    const identities = { psk: preShared(), ecdsa: await certified(folder, 'ecdsa'), rsa: await certified(folder, 'rsa') };
    const image = new Initramfs();
    await addLibreswan(
      image,
      release,
      join(folder, 'nss'),
      Object.values(identities).map((pair) => pair.right),
    );
    const guest = await Guest.start(scope, { folder, host: left, guest: right, kernel: PEERS_ROOT, image, systems: release.systems });
    return { scope, folder, left, right, peer: await Libreswan.start(guest, release), guest, identities };
  } catch (error) {
    await scope.close();
    throw error;
  }
}

/** One combination of what both ends are told, in our words and in libreswan's. */
export interface Combination {
  readonly role: 'initiator' | 'responder';
  readonly auth: Auth;
  readonly ours: { readonly ike: string; readonly esp: string };
  readonly theirs: { readonly ike: string; readonly esp: string };
}

export const SUITES = {
  gcm: {
    ours: { ike: 'aes256gcm16-prfsha384-x25519', esp: 'aes256gcm16-x25519' },
    theirs: { ike: 'aes_gcm256-sha2_384;dh31', esp: 'aes_gcm256;dh31' },
  },
  cbc: {
    ours: { ike: 'aes256-sha256-modp2048', esp: 'aes256-sha256-modp2048' },
    theirs: { ike: 'aes256-sha2_256;dh14', esp: 'aes256-sha2_256;dh14' },
  },
  chacha: {
    ours: { ike: 'chacha20poly1305-prfsha256-ecp384', esp: 'chacha20poly1305-ecp384' },
    theirs: { ike: 'chacha20_poly1305-sha2_256;dh20', esp: 'chacha20_poly1305;dh20' },
  },
  gcm128: {
    ours: { ike: 'aes128gcm16-prfsha256-ecp256', esp: 'aes128gcm16-ecp256' },
    theirs: { ike: 'aes_gcm128-sha2_256;dh19', esp: 'aes_gcm128;dh19' },
  },
} as const;

export interface Ends {
  readonly we: Tunnelwright;
  readonly peer: Libreswan;
  readonly initiator: End;
}

let started = 0;

/** Both ends configured, ours as a new process that goes with the scope. */
export async function configureBoth(
  scope: Scope,
  on: LibreswanGuest,
  { role, auth, ours, theirs }: Combination,
  more: {
    readonly ours?: Partial<ConfigurationOptions>;
    readonly theirs?: Readonly<Record<string, string>>;
    readonly secrets?: string;
    readonly program?: TunnelwrightOptions['program'];
  } = {},
): Promise<Ends> {
  const { left, right, peer, identities } = on;
  const options = { ...AUTHBY[auth], ...more.theirs };
  const { program, secrets } = more;
  await peer.configure({ host: right, peer: left, identity: identities[auth].right, ...theirs, options, ...(secrets && { secrets }) });
  const we = await Tunnelwright.start(scope, {
    folder: join(on.folder, `we${started++}`),
    host: left,
    ...(program && { program }),
    role: role === 'initiator' ? 'client' : 'gateway',
    configuration: configuration({ host: left, peer: right, identity: identities[auth].left, ...ours, ...more.ours }),
  });
  return { we, peer, initiator: role === 'initiator' ? we : peer };
}

/** What two ends do with one another, from the first message to the last; `brief` where only who proves what how is another. */
export function matrixScenario(given: () => LibreswanGuest, combination: Combination, brief = false): void {
  const { role, auth, ours } = combination;
  describe(`we are ${role}, ${AUTH_NAMES[auth]}, ${ours.ike}`, () => {
    const scope = new Scope();
    let ends: Ends;
    beforeAll(async () => {
      ends = await configureBoth(scope, given(), combination, { ours: { connection: { dpd_delay: '1s' } } });
    });
    afterAll(() => scope.close());

    test('comes up: both ends see the same SPIs, packets pass both ways through its kernel', async () => {
      const { we, peer, initiator } = ends;
      await initiator.initiate();
      await agreedSa(we, peer);
      await bothPing(given(), ends);
      const [ours, theirs] = [(await we.ikeSas())[0]!.children[0]!, (await peer.ikeSas())[0]!.children[0]!];
      // six packets each way, counted by its kernel and by us
      expect([theirs.octetsIn, theirs.octetsOut]).toEqual([504, 504]);
      expect([ours.octetsIn, ours.octetsOut]).toEqual([504, 504]);
    });

    if (!brief) longLife(given, () => ends);
    else {
      test('we rekey the child, it rekeys the IKE SA', async () => {
        await expectChildRekey(ends.we, ends.peer);
        await expectIkeRekey(ends.peer, ends.we);
        await bothPing(given(), ends);
      });
    }

    test('it deletes the IKE SA: both ends are clean', async () => {
      const { we, peer } = ends;
      await agreedSa(we, peer);
      await peer.deleteIke();
      await bothClean(we, peer);
      expect(await peer.kernelSas()).toBe(0);
    });
  });
}

function longLife(given: () => LibreswanGuest, theEnds: () => Ends): void {
  test('either side rekeys the child', async () => {
    const { we, peer } = theEnds();
    await expectChildRekey(we, peer);
    await bothPing(given(), theEnds());
    await expectChildRekey(peer, we);
    await bothPing(given(), theEnds());
    await onlyTwoSas(peer);
  });

  test('either side rekeys the IKE SA, and the child behind it', async () => {
    const { we, peer } = theEnds();
    await expectIkeRekey(we, peer);
    await expectIkeRekey(peer, we);
    await bothPing(given(), theEnds());
    await expectChildRekey(we, peer);
    await expectIkeRekey(we, peer);
    await expectChildRekey(peer, we);
    await bothPing(given(), theEnds());
    await onlyTwoSas(peer);
  });

  test('both ends rekey at once: the child, then the IKE SA', async () => {
    const { we, peer } = theEnds();
    await Promise.all([we.rekeyChild(), peer.rekeyChild()]);
    await agreedSa(we, peer);
    await Promise.all([we.rekeyIke(), peer.rekeyIke()]);
    await agreedSa(we, peer);
    await bothPing(given(), theEnds());
    await onlyTwoSas(peer);
  });

  test('lives on while we ask whether it does', () => expectAlive(theEnds().we, theEnds().peer, 2500));

  test('it deletes the child alone, and either side brings it back', async () => {
    const { we, peer, initiator } = theEnds();
    for (const by of [initiator === we ? peer : we, initiator]) {
      const { spiI } = await agreedSa(we, peer);
      await peer.deleteChild();
      await childless(we, peer);
      await by.initiate();
      expect((await agreedSa(we, peer)).spiI).toBe(spiI);
      await bothPing(given(), theEnds());
    }
  });

  test('we delete the child, then the IKE SA: it obeys, or sets up another', async () => {
    const { we, peer, initiator } = theEnds();
    for (const remove of ['deleteChild', 'deleteIke'] as const) {
      const before = await agreedSa(we, peer);
      await we[remove]();
      if (initiator === we || !peer.revives) {
        await (remove === 'deleteChild' ? childless(we, peer) : bothClean(we, peer));
        await initiator.initiate();
      }
      await eventually(
        'another child takes its place',
        async () => (await agreedSa(we, peer)).children[0]!.spiIn !== before.children[0]!.spiIn,
        PATIENCE,
        () => `${we.log()}\n${peer.log()}`,
      );
      await bothPing(given(), theEnds());
    }
  });
}

async function bothPing({ left, right }: LibreswanGuest, { we, peer }: Omit<Ends, 'initiator'>): Promise<void> {
  await expectPing(we, right.inside);
  await expectPing(peer, left.inside);
}

/** Session resumption (RFC 5723) as far as 5 goes with it: both times the whole handshake follows at once. */
export function resumptionScenario(given: () => LibreswanGuest): void {
  const resumption = {
    ours: { connection: { resumption: true, dpd_delay: '1s', retransmission: QUICK } },
    theirs: { 'session-resumption': 'yes' },
  };

  // its AUTH covers the message alone, where §4.3.3 has the octets of RFC 7296 §2.15: message, nonce and MACed identity
  test('we lose the path: our ticket is taken, our AUTH is not, and we come in with the whole handshake', async () => {
    const scope = new Scope();
    try {
      const on = given();
      const ends = await configureBoth(scope, on, { role: 'initiator', auth: 'ecdsa', ...SUITES.gcm }, resumption);
      const { we, peer } = ends;
      await we.initiate();
      const before = await agreedSa(we, peer);
      await reach(on, false);
      await eventually(
        'we notice that it is gone',
        async () => (await we.ikeSas()).length === 0,
        PATIENCE,
        () => we.log(),
      );
      await reach(on, true);
      await we.initiate();
      expect(we.log()).toContain(`"exchange":${ExchangeType.IKE_SESSION_RESUME},`);
      expect(peer.log()).toContain('responder processed IKE_SESSION_RESUME');
      expect(peer.log()).toContain('computed hash does not match hash received');
      // it keeps the IKE SA of before, without a child, whatever our INITIAL_CONTACT says
      expect((await we.ikeSas()).map(({ spiI }) => spiI === before.spiI)).toEqual([false]);
      await bothPing(on, ends);
      await onlyTwoSas(peer);
    } finally {
      await reach(given(), true);
      await scope.close();
    }
  });

  // it closes the IKE SA with a Delete, which voids the ticket (§6.2)
  test('it suspends itself: we do not take the ticket that it closed, and it comes in with the whole handshake', async () => {
    const scope = new Scope();
    try {
      const on = given();
      const ends = await configureBoth(scope, on, { role: 'responder', auth: 'psk', ...SUITES.gcm }, resumption);
      const { we, peer } = ends;
      await peer.initiate();
      const before = await agreedSa(we, peer);
      await peer.suspend();
      await peer.initiate();
      await eventually(
        'another IKE SA',
        async () => (await agreedSa(we, peer)).spiI !== before.spiI,
        PATIENCE,
        () => `${we.log()}\n${peer.log()}`,
      );
      expect((await we.failures()).map(({ code }) => code)).toContain('TICKET_NOT_TAKEN');
      await bothPing(on, ends);
      await peer.deleteIke();
      await bothClean(we, peer);
    } finally {
      await scope.close();
    }
  });
}

/** A post-quantum pre-shared key in IKE_INTERMEDIATE (RFC 9867), with the numbers of the draft that 5.2 has. */
export function ppkScenario(given: () => LibreswanGuest): void {
  const [id, secret] = ['ppk.lab', 'forty octets that both of them have known'];
  const known = (text: string) =>
    ({
      ours: {
        connection: { ppk_id: id, ppk_required: true, ppk_exchange: 'ike_intermediate' },
        secrets: { quantum: { kind: 'ppk', ids: id, secret: text } },
      },
      theirs: { ppk: 'insist', intermediate: 'yes', 'ppk-ids': id },
      secrets: `: PPKS "${id}" "${secret}"\n`,
      program: 'driver-qr-alt',
    }) as const;

  test.each(['initiator', 'responder'] as const)('a PPK before IKE_AUTH: we are %s', async (role) => {
    const scope = new Scope();
    try {
      const on = given();
      const ends = await configureBoth(scope, on, { role, auth: 'psk', ...SUITES.gcm }, known(secret));
      await ends.initiator.initiate();
      await agreedSa(ends.we, ends.peer);
      expect(ends.peer.log()).toContain(`PPK used in IKE_INTERMEDIATE as ${role === 'initiator' ? 'responder' : 'initiator'}`);
      await bothPing(on, ends);
      await expectChildRekey(ends.we, ends.peer);
      await expectIkeRekey(ends.we, ends.peer);
      await bothPing(on, ends);
      await ends.peer.deleteIke();
      await bothClean(ends.we, ends.peer);
    } finally {
      await scope.close();
    }
  });
}

/** Frames to an address that nobody owns: both devices stay up. */
async function reach({ left }: LibreswanGuest, possible: boolean): Promise<void> {
  const [{ namespace, device, peerAddress }, nobody] = [left, ['lladdr', '02:00:00:00:00:ee', 'nud', 'permanent']];
  if (possible) await run('ip', ['-n', namespace, 'neigh', 'del', peerAddress, 'dev', device]);
  else await must('ip', ['-n', namespace, 'neigh', 'replace', peerAddress, ...nobody, 'dev', device]);
}

/** Nothing of the children that were replaced is left in its kernel. */
export async function onlyTwoSas(peer: Libreswan): Promise<void> {
  await eventually(
    'its kernel has the SAs of one child',
    async () => (await peer.kernelSas()) === 2,
    PATIENCE,
    () => peer.log(),
  );
}

function preShared(): { readonly left: Identity; readonly right: Identity } {
  const [left, right, secret] = ['left.psk.example', 'right.psk.example', 'correct horse battery staple 2906'];
  return { left: { auth: 'psk', id: left, peerId: right, secret }, right: { auth: 'psk', id: right, peerId: left, secret } };
}

/** Names of their own, since libreswan keeps all keys in one database. */
async function certified(folder: string, type: 'ecdsa' | 'rsa'): Promise<{ readonly left: Identity; readonly right: Identity }> {
  const authority = await createAuthority(join(folder, type), `Interop ${type} CA`, type);
  const [left, right] = [`left.${type}.example`, `right.${type}.example`];
  const own = { auth: 'pubkey', authority: authority.certificate } as const;
  return {
    left: { ...own, id: left, peerId: right, ...(await authority.issue(left)) },
    right: { ...own, id: right, peerId: left, ...(await authority.issue(right)) },
  };
}

const QUICK = { initial: '500ms', base: 1.4, give_up: '4s' };
const AUTHBY: Readonly<Record<Auth, Readonly<Record<string, string>>>> = {
  psk: {},
  ecdsa: { authby: 'ecdsa-sha2_256' },
  rsa: { authby: 'rsa-sha2_256' },
};
const AUTH_NAMES: Readonly<Record<Auth, string>> = { psk: 'PSK', ecdsa: 'ECDSA', rsa: 'RSA-4096' };
