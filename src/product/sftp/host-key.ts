import { AuthenticationFailure } from '../../core/bytes/index.ts';
import { fingerprint, type HostKey, type KnownHosts, standingOf } from './known-hosts.ts';

export interface HostKeyOptions {
  readonly host: string;
  readonly port: number;
  readonly knownHosts: KnownHosts;
  /** `SHA256:…` fingerprints, one of which it has to be; the file of known hosts then has no say. */
  readonly pinned?: readonly string[] | undefined;
  /** A host that was never seen is believed, and remembered. */
  readonly acceptNew?: boolean | undefined;
  /** Whether a person believes a host that was never seen; absent where nobody can be asked. */
  readonly ask?: ((host: string, type: string, fingerprint: string) => Promise<boolean>) | undefined;
}

/** Is the server that shows this key the one that is meant? @throws AuthenticationFailure */
export async function checkHostKey(key: HostKey, options: HostKeyOptions): Promise<void> {
  const { host, port, knownHosts, pinned } = options;
  const shown = fingerprint(key.octets);
  if (pinned !== undefined && pinned.length > 0) {
    if (pinned.includes(shown)) return;
    throw new AuthenticationFailure(`${host} shows another host key than the one that --host-key names: ${shown}`, {
      code: 'SFTP_HOST_KEY_CHANGED',
      hint: 'If its key was changed on purpose, name the new one; else somebody is in between.',
    });
  }
  const standing = standingOf(await knownHosts.keysOf(host, port), key);
  switch (standing.kind) {
    case 'known':
      return;
    case 'changed':
      throw new AuthenticationFailure(
        `${host} shows another host key than before: ${shown} (${key.type}), where ${knownHosts.path}:${standing.known.line} has ` +
          `${fingerprint(standing.known.octets)} (${standing.known.type})`,
        {
          code: 'SFTP_HOST_KEY_CHANGED',
          hint: `Somebody may be in between. If its key was changed on purpose, remove line ${standing.known.line}.`,
        },
      );
    case 'revoked':
      throw new AuthenticationFailure(`${host} shows a host key that ${knownHosts.path}:${standing.known.line} revokes: ${shown}`, {
        code: 'SFTP_HOST_KEY_REVOKED',
        hint: 'Whoever stole that key may be answering. Do not connect until the server has a new one.',
      });
    default:
      return meet(key, shown, standing.kind === 'authority-only', options);
  }
}

async function meet(key: HostKey, shown: string, byAuthority: boolean, options: HostKeyOptions): Promise<void> {
  const { host, port, knownHosts, acceptNew, ask } = options;
  if (acceptNew !== true && !(ask !== undefined && (await ask(host, key.type, shown)))) {
    const authority = byAuthority ? ' (a certificate authority is, but host certificates are not supported here)' : '';
    throw new AuthenticationFailure(`${host} is not known yet${authority}: it shows ${shown} (${key.type})`, {
      code: 'SFTP_HOST_KEY_UNKNOWN',
      hint: `Compare that with the server's, then: --host-key ${shown}   or --accept-new, to believe it this first time.`,
    });
  }
  await knownHosts.add(host, port, key);
}
