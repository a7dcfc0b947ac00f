import { join } from 'node:path';
import type { Host } from './network.ts';
import { createAuthority } from './pki.ts';
import type { Settings } from './settings.ts';

/** What both ends of a tunnel under test agree on. */
export interface Profile {
  readonly auth: 'psk' | 'ecdsa' | 'rsa';
  /** A proposal by keywords, for the IKE SA and for its child, whose key exchange is that of a rekey. */
  readonly ike: string;
  readonly esp: string;
}

/** The four proposals of the matrix: every encryption, PRF and key exchange method that peers commonly choose. */
export const PROPOSALS: readonly Omit<Profile, 'auth'>[] = [
  { ike: 'aes128gcm16-prfsha256-ecp256', esp: 'aes128gcm16-ecp256' },
  { ike: 'aes256gcm16-prfsha384-x25519', esp: 'aes256gcm16-x25519' },
  { ike: 'aes256-sha256-modp2048', esp: 'aes256-sha256-modp2048' },
  { ike: 'chacha20poly1305-prfsha256-ecp384', esp: 'chacha20poly1305-ecp384' },
];

/** How one end proves itself, and how it knows the other. */
export type Identity =
  | { readonly auth: 'psk'; readonly id: string; readonly peerId: string; readonly secret: string }
  | {
      readonly auth: 'pubkey';
      readonly id: string;
      readonly peerId: string;
      readonly certificate: string;
      readonly key: string;
      readonly authority: string;
    };

export const LEFT_ID = 'left.example';
export const RIGHT_ID = 'right.example';

/** Identities for both ends; with certificates, both from one authority. */
export async function createIdentities(
  folder: string,
  auth: Profile['auth'],
): Promise<{ readonly left: Identity; readonly right: Identity }> {
  if (auth === 'psk') {
    const secret = 'correct horse battery staple 2906';
    return { left: { auth, id: LEFT_ID, peerId: RIGHT_ID, secret }, right: { auth, id: RIGHT_ID, peerId: LEFT_ID, secret } };
  }
  const authority = await createAuthority(join(folder, 'pki'), 'Interop CA', auth);
  const identity = async (id: string, peerId: string): Promise<Identity> => ({
    auth: 'pubkey',
    id,
    peerId,
    ...(await authority.issue(id)),
    authority: authority.certificate,
  });
  return { left: await identity(LEFT_ID, RIGHT_ID), right: await identity(RIGHT_ID, LEFT_ID) };
}

export interface SwanctlOptions {
  readonly host: Host;
  readonly peer: Host;
  readonly identity: Identity;
  readonly ike: string;
  readonly esp: string;
  /** Added to the connection, or replacing what stands there. */
  readonly connection?: Settings;
  readonly child?: Settings;
  /** Children beside `net`. */
  readonly children?: Settings;
  /** Added at the top, such as pools. */
  readonly sections?: Settings;
  /** Added to the sections of `secrets`. */
  readonly secrets?: Settings;
}

/** swanctl.conf with one connection `net` and one child `net` between the protected networks of two hosts. */
export function swanctlConf(options: SwanctlOptions): Settings {
  const { host, peer, identity } = options;
  const credentials: Settings = identity.auth === 'psk' ? { auth: 'psk' } : { auth: 'pubkey', certs: `${identity.id}.crt` };
  return {
    connections: {
      net: {
        version: 2,
        local_addrs: host.address,
        remote_addrs: peer.address,
        proposals: options.ike,
        rekey_time: 0,
        local: { ...credentials, id: identity.id },
        remote: { auth: identity.auth, id: identity.peerId },
        ...options.connection,
        children: {
          net: {
            mode: 'tunnel',
            local_ts: host.network,
            remote_ts: peer.network,
            esp_proposals: options.esp,
            rekey_time: 0,
            ...options.child,
          },
          ...options.children,
        },
      },
    },
    secrets: { ...(identity.auth === 'psk' ? { 'ike-net': { secret: `"${identity.secret}"` } } : {}), ...options.secrets },
    ...options.sections,
  };
}

/** The PEM files of an identity by the folder of swanctl's that reads them. */
export function swanctlFiles(identity: Identity): Record<string, readonly string[]> {
  return identity.auth === 'psk' ? {} : { x509: [identity.certificate], x509ca: [identity.authority], private: [identity.key] };
}
