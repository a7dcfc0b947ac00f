import type { LocalAuth, RemoteAuth } from '../../core/ike/policy.ts';
import type { CompileContext } from './compile-context.ts';
import type { ConnectionSettings, LocalRoundSettings, RemoteRoundSettings, Settings } from './schema.ts';
import type { Path } from './source.ts';

/** `auth: null` of a local round (RFC 7619): who we are stays our affair, unless an id is set, which then is told and proves nothing. */
export function anonymousSelf(round: LocalRoundSettings, path: Path, context: CompileContext): LocalAuth {
  const idle = (['certs', 'key', 'pubkeys', 'schemes'] as const).find((key) => round[key] !== undefined);
  if (idle !== undefined)
    throw context.error([...path, idle], 'has no use: with auth: null we prove nothing', 'Leave it out, or use auth: pubkey.');
  return { auth: 'null', id: round.id };
}

/**
 * `auth: null` of a remote round: anybody may come in, so nothing in the connection may hang on who it is, and none of them may choose what
 * traffic goes to it (RFC 7619 §2.4, §2.5).
 */
export function anonymousPeer(
  round: RemoteRoundSettings,
  path: Path,
  { connection, dialable }: { readonly connection: ConnectionSettings; readonly dialable: boolean },
  settings: Settings,
  context: CompileContext,
): RemoteAuth {
  if (round.id !== undefined && round.id.kind !== 'any')
    throw context.error(
      [...path, 'id'],
      'tells nobody apart: with auth: null a peer may call itself as it likes',
      'Leave it out (RFC 7619).',
    );
  const idle = (['cacerts', 'certs', 'pubkeys', 'schemes'] as const).find((key) => round[key] !== undefined);
  if (idle !== undefined)
    throw context.error([...path, idle], 'has no use: with auth: null the peer proves nothing', 'Leave it out, or use auth: pubkey.');
  const above = path.slice(0, 2);
  if (!dialable) checkTraffic(connection, above, context);
  const both = connection.local.some(({ auth }) => auth === 'null');
  context.warn(
    [...path, 'auth'],
    both
      ? 'neither end proves who it is: whoever is on the way can pose as both, read everything and change it (RFC 7619)'
      : 'anybody may be the peer of this connection: none proves who it is (RFC 7619)',
    dialable ? undefined : 'Let nothing be reached here (local_ts) that is not meant for everybody.',
  );
  for (const [i, pool] of (connection.pools ?? []).entries()) {
    const shared = Object.entries(settings.connections ?? {}).find(
      ([, other]) => other.pools?.includes(pool) && other.remote.some(({ auth }) => auth !== 'null'),
    );
    if (shared !== undefined)
      context.warn(
        [...above, 'pools', i],
        `peers of ${shared[0]}, which prove who they are, get addresses of the same pool: nobody can tell them from those that do not`,
        'Give anonymous peers a pool of their own.',
      );
  }
  return { auth: 'null', id: { kind: 'any' } };
}

/** RFC 7619 §2.5: without an address of ours, an anonymous caller may have traffic of the address that it calls from, and no other. */
function checkTraffic(connection: ConnectionSettings, path: Path, context: CompileContext): void {
  for (const [name, child] of Object.entries(connection.children ?? {})) {
    const i = (child.remote_ts ?? []).findIndex(({ addresses }) => addresses !== 'dynamic');
    if (i < 0) continue;
    throw context.error(
      [...path, 'children', name, 'remote_ts', i],
      'would let anybody draw traffic of this network to itself: callers of this connection prove nothing',
      'Leave it out or write dynamic; for addresses of your choice name a pool. Where you call the peer, set remote_addrs.',
    );
  }
}
