import type { LocalAuth } from '../../core/ike/policy.ts';
import { isInlineKey } from '../../core/pki/raw-public-key.ts';
import type { CompileContext } from './compile-context.ts';
import type { LocalRoundSettings, RemoteRoundSettings } from './schema.ts';
import type { Path } from './source.ts';

/** `key` without `certs`: the public half goes as it is (RFC 7670). */
export function ownRawKey(round: LocalRoundSettings, path: Path, credential: string, context: CompileContext): LocalAuth {
  const publicKeys = (round.pubkeys ?? []).map((key, i) => source(key, [...path, 'pubkeys', i], context));
  context.certificates.push({
    handle: credential,
    certificates: [],
    key: context.file([...path, 'key'], round.key!),
    ...(publicKeys.length === 0 ? {} : { publicKeys }),
  });
  return { auth: 'pubkey', id: round.id, credential, ...(round.schemes === undefined ? {} : { schemes: round.schemes }) };
}

/** Handles of the keys that the peer may have; each is loaded once, whoever names it. */
export function peerKeys(round: RemoteRoundSettings, path: Path, context: CompileContext): string[] {
  return (round.pubkeys ?? []).map((written, i) => {
    const key = source(written, [...path, 'pubkeys', i], context);
    const handle = `pubkey ${typeof key === 'string' ? key : key.path}`;
    if (!context.peerKeys.has(handle)) context.peerKeys.set(handle, { handle, key });
    return handle;
  });
}

const source = (key: string, path: Path, context: CompileContext) => (isInlineKey(key) ? key : context.file(path, key));
