import type { Identification } from '../../core/wire/payloads/types.ts';
import type { CompileContext } from './compile-context.ts';
import type { AuthoritySource, CredentialSources, PpkSource, PskSource, SecretSource } from './compiled.ts';
import type { SecretSettings, Settings } from './schema.ts';
import type { Path } from './source.ts';

export function compileAuthorities(settings: Settings, context: CompileContext): AuthoritySource[] {
  return Object.entries(settings.authorities ?? {}).map(([name, authority]) => ({
    handle: name,
    certificate: context.file(['authorities', name, 'cacert'], authority.cacert),
    certificateUrls: authority.cert_uri_base,
    crlUris: authority.crl_uris ?? [],
    ocspUris: authority.ocsp_uris ?? [],
  }));
}

/** Checks every secret, whatever its kind, and gives those that are pre-shared keys, post-quantum ones apart. */
export function compilePsks(settings: Settings, context: CompileContext): { psks: PskSource[]; ppks: PpkSource[] } {
  const psks: PskSource[] = [];
  const ppks: PpkSource[] = [];
  for (const [name, secret] of Object.entries(settings.secrets ?? {})) {
    const path = ['secrets', name];
    const source = secretSource(secret, path, context);
    if (UNUSED.has(secret.kind)) context.warn([...path, 'kind'], `secrets of kind ${secret.kind} are not used: ${UNUSED.get(secret.kind)}`);
    else if (secret.kind === 'psk') psks.push({ name, owners: secret.ids ?? [], secret: source });
    else if (secret.kind === 'ppk') ppks.push({ name, ids: ppkIds(secret, path, context), secret: source });
    if (secret.file !== undefined && (secret.kind === 'psk' || secret.kind === 'ppk'))
      throw context.error(
        [...path, 'file'],
        'a pre-shared key belongs to identities, not to a file',
        'To read the key from a file, write secret_file.',
      );
  }
  return { psks, ppks };
}

/** RFC 8784 §5.1: the octets of an id are what both ends compare, so it has to be one id and no pattern. */
function ppkIds({ ids = [] }: SecretSettings, path: Path, context: CompileContext): Identification[] {
  if (ids.length === 0)
    throw context.error(
      path,
      'the post-quantum pre-shared key has no id, by which both ends would name it',
      'Add ids, for instance ids: ppk1.example.com.',
    );
  return ids.map((id, i) => {
    if (id.kind !== 'exact')
      throw context.error(
        [...path, 'ids', i],
        'is a pattern, and a post-quantum pre-shared key has a name',
        'Write one id; patterns go to ppk_id.',
      );
    return id.id;
  });
}

export function compilePassphrases(settings: Settings, context: CompileContext): CredentialSources['passphrases'] {
  return Object.entries(settings.secrets ?? {}).flatMap(([name, secret]) => {
    if (secret.kind !== 'private') return [];
    if (secret.file === undefined)
      throw context.error(['secrets', name], 'the passphrase of which file? file is missing', 'Add file with the name of the private key.');
    return [{ file: context.path(secret.file), secret: secretSource(secret, ['secrets', name], context, false) }];
  });
}

function secretSource(secret: SecretSettings, path: Path, context: CompileContext, warn = true): SecretSource {
  const given = (['secret', 'secret_file', 'secret_env'] as const).filter((key) => secret[key] !== undefined);
  if (given.length !== 1) {
    const message = given.length === 0 ? 'the secret is missing' : `the secret stands in ${given.join(' and ')}; which one holds?`;
    throw context.error(given[1] === undefined ? path : [...path, given[1]], message, 'Give one of secret_file, secret_env and secret.');
  }
  const place = context.locate([...path, given[0]!]);
  if (secret.secret_file !== undefined) return { kind: 'file', path: context.path(secret.secret_file), place };
  if (secret.secret_env !== undefined) return { kind: 'env', variable: secret.secret_env, place };
  if (warn)
    context.warn(
      [...path, 'secret'],
      'the secret stands in the configuration itself, where it is copied and shown with it',
      'Put it into a file of its own with mode 0600 and name that with secret_file.',
    );
  return { kind: 'inline', text: secret.secret!, place };
}

const UNUSED: ReadonlyMap<string, string> = new Map([
  ['eap', 'EAP is not spoken'],
  ['ntlm', 'EAP is not spoken'],
  ['pkcs12', 'certificates and keys are read from PEM and DER files'],
  ['token', 'keys on tokens are not used'],
]);
