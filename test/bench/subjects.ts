import { readFileSync } from 'node:fs';
import { addInside, type Host } from '../interop/support/network.ts';
import { eventually } from '../interop/support/process.ts';
import { type Identity, RIGHT_ID, swanctlFiles } from '../interop/support/profile.ts';
import type { Scope } from '../interop/support/scope.ts';
import type { Settings } from '../interop/support/settings.ts';
import { Strongswan } from '../interop/support/strongswan.ts';
import { Tunnelwright } from '../interop/support/tunnelwright.ts';

/** Somebody who answers IKE_SA_INIT and IKE_AUTH of anybody with the secret or a certificate, seen from outside. */
export interface Responder {
  readonly pid: number;
  /** IKE SAs that are established. */
  established(): Promise<number>;
  residentOctets(): Promise<number>;
  /** Drops what the initiator's goodbye did not: a datagram may have been lost. */
  forgetAll(): Promise<void>;
}

export interface Place {
  readonly folder: string;
  readonly host: Host;
  readonly peer: Host;
  readonly identity: Identity;
  /** What is measured, where it is not the usual. */
  readonly profile?: Profile | undefined;
}

export interface Profile {
  readonly suite?: string;
  readonly esp?: string;
  /** So many half-open IKE SAs bring cookies; else nothing does. */
  readonly cookieThreshold?: number;
  /** They may stay for minutes. */
  readonly patient?: boolean;
}

export interface Subject {
  readonly name: string;
  start(scope: Scope, place: Place): Promise<Responder>;
}

export const SUITE = 'aes128gcm16-prfsha256-x25519';
export const ESP_SUITE = 'aes128gcm16';

/** @param workers processes' threads for key exchange and signatures beside the one that does everything else */
export const tunnelwright = (workers = 0): Subject => ({
  name: workers === 0 ? 'Tunnelwright' : `Tunnelwright, ${workers} worker${workers === 1 ? '' : 's'}`,
  start: (scope, place) =>
    Tunnelwright.start(scope, {
      folder: place.folder,
      host: place.host,
      role: 'gateway',
      configuration: { ...gatewayConfiguration(place), ...(workers === 0 ? {} : { workers }) },
      quiet: true,
    }),
});

export const TUNNELWRIGHT = tunnelwright();

/** @param root a system in a folder, whose strongSwan it is */
export const strongswan = (root?: string): Subject => ({
  name: root === undefined ? 'strongSwan' : 'strongSwan 6',
  start: async (scope, place) => {
    const { folder, host, identity, profile = {} } = place;
    await addInside(host);
    const swan = await Strongswan.start(scope, {
      folder,
      host,
      root,
      swanctl: responderConf(place),
      files: swanctlFiles(identity),
      charon: {
        ...QUIET,
        ...(profile.cookieThreshold === undefined ? {} : demandsCookies(profile.cookieThreshold)),
        ...(profile.patient ? PATIENT : {}),
      },
    });
    return {
      pid: swan.pid,
      established: () => established(swan),
      forgetAll: () => emptied(swan),
      residentOctets: async () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${swan.pid}/status`, 'utf8'))?.[1]) * 1024,
    };
  },
});

export const STRONGSWAN = strongswan();

const demandsCookies = (threshold: number): Settings => ({ dos_protection: 'yes', cookie_threshold: threshold, block_threshold: 0 });
const PATIENT: Settings = { half_open_timeout: 600 };

/** An initiator's Delete may have got lost. strongSwan keeps that IKE SA for good, so after a few seconds it is told to forget what is left. */
async function emptied(swan: Strongswan): Promise<void> {
  const goodbyes = performance.now() + 5000;
  await eventually(
    'strongSwan is empty again',
    async () => {
      if ((await established(swan)) === 0) return true;
      if (performance.now() > goodbyes) await swan.forget(CONNECTION);
      return false;
    },
    60_000,
    () => swan.log(),
  );
}

export async function established(swan: Strongswan): Promise<number> {
  const { total, halfOpen } = await swan.stats();
  return total - halfOpen;
}

export const credentials = (identity: Identity): Settings =>
  identity.auth === 'psk' ? { auth: 'psk' } : { auth: 'pubkey', certs: `${identity.id}.crt` };
export const secrets = (identity: Identity): Settings => (identity.auth === 'psk' ? { 'ike-any': { secret: `"${identity.secret}"` } } : {});

export const COMMON: Settings = { version: 2, unique: 'never', mobike: 'no', rekey_time: 0 };

/** What keeps charon from being measured at something else: logging, cookies, one SA per pair of identities, a route for each child. */
export const QUIET: Settings = {
  dos_protection: 'no',
  reuse_ikesa: 'no',
  ikesa_table_size: 1024,
  ikesa_table_segments: 4,
  install_routes: 'no',
  retransmit_timeout: 4,
  retransmit_tries: 5,
  filelog: {},
};

function responderConf({ host, peer, identity, profile }: Place): Settings {
  return {
    connections: {
      [CONNECTION]: {
        ...COMMON,
        local_addrs: host.address,
        remote_addrs: peer.address,
        proposals: profile?.suite ?? SUITE,
        local: { ...credentials(identity), id: RIGHT_ID },
        remote: { auth: identity.auth, id: '%any' },
        children: { any: { local_ts: host.network, remote_ts: CLIENTS, esp_proposals: profile?.esp ?? ESP_SUITE } },
      },
    },
    secrets: secrets(identity),
  };
}

/** The same for ours: no cookies, nobody's SA replaced, nothing that happens by time. */
function gatewayConfiguration({ host, peer, identity, profile }: Place): object {
  const many = 1_000_000;
  return {
    addresses: `${host.inside}/24`,
    plane: 'netstack',
    // no packets to speak of: what comes is IKE, which would take a detour by that thread
    esp_thread: 'no',
    limits: {
      cookie_threshold: profile?.cookieThreshold ?? many,
      half_open_per_address: many,
      half_open: many,
      cookies: many,
      cookies_per_address: many,
      ike_sas: many,
      ...(profile?.patient ? { half_open_life: '10m' } : {}),
    },
    connections: {
      any: {
        local_addrs: host.address,
        remote_addrs: peer.address,
        proposals: profile?.suite ?? SUITE,
        unique: 'never',
        rekey_time: '0',
        dpd_delay: '0',
        local: {
          auth: identity.auth,
          id: RIGHT_ID,
          ...(identity.auth === 'psk' ? {} : { certs: identity.certificate, key: identity.key }),
        },
        remote: { auth: identity.auth },
        children: { any: { local_ts: host.network, remote_ts: CLIENTS, esp_proposals: profile?.esp ?? ESP_SUITE, rekey_time: '0' } },
      },
    },
    ...(identity.auth === 'psk'
      ? { secrets: { any: { kind: 'psk', secret: identity.secret } } }
      : { authorities: { any: { cacert: identity.authority } } }),
  };
}

const CONNECTION = 'any';
const CLIENTS = '10.1.0.0/16';
