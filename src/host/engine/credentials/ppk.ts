import { AuthenticationFailure, concat, equalBytes, fromUtf8, printable } from '../../../core/bytes/index.ts';
import { zeroise } from '../../../core/crypto/index.ts';
import type { Ask, AskAnswers } from '../../../core/ike/effects.ts';
import { formatIdentityPattern, type IdentityPattern, matchIdentity } from '../../../core/pki/index.ts';
import { PpkIdType } from '../../../core/wire/iana.ts';
import type { Identification } from '../../../core/wire/payloads/types.ts';

type PpkAsk = Extract<Ask, { kind: 'ppk' }>;
type Found = Extract<AskAnswers['ppk'], { ok: true }>;

export interface PostQuantumKey {
  readonly handle: string;
  /** What both ends call it; on the wire its octets alone count (RFC 8784 §5.1). */
  readonly id: Identification;
  readonly secret: Uint8Array;
}

/** Post-quantum pre-shared keys by their ids (RFC 8784). */
export class PostQuantumKeys {
  #keys: PostQuantumKey[] = [];

  get all(): readonly PostQuantumKey[] {
    return this.#keys;
  }

  add(handle: string, ids: readonly Identification[], secret: Uint8Array): void {
    for (const id of ids) this.#keys.push({ handle, id, secret: secret.slice() });
  }

  remove(handle: string): boolean {
    const gone = this.#keys.filter((key) => key.handle === handle);
    zeroise(...gone.map(({ secret }) => secret));
    this.#keys = this.#keys.filter((key) => key.handle !== handle);
    return gone.length > 0;
  }

  /** The key that the peer named, or the first that fits; with copies of its secret. Throws `AuthenticationFailure`. */
  find(ask: PpkAsk): Found {
    const named = ask.id;
    const key = this.#keys.find(({ id }) =>
      named === undefined ? ask.candidates.some(({ ppk }) => fits(ppk.id, id)) : equalBytes(wireId(id), named),
    );
    const connections = key ? ask.candidates.flatMap(({ connection, ppk }) => (fits(ppk.id, key.id) ? [connection] : [])) : [];
    if (key === undefined || connections.length === 0) throw unknownPpk(ask);
    return { ok: true, id: wireId(key.id), secret: key.secret.slice(), connections };
  }
}

export function unknownPpk({ id, candidates }: PpkAsk): AuthenticationFailure {
  const wanted =
    id === undefined ? candidates.map(({ ppk }) => formatIdentityPattern(ppk.id)).join(', ') : printable(fromUtf8(id.slice(1, 129)));
  return new AuthenticationFailure(`there is no post-quantum pre-shared key ${wanted} here`, {
    code: 'PPK_UNKNOWN',
    section: 'RFC 8784 §3',
    hint: 'Add a secret of kind ppk whose ids name it, and set ppk_id of the connection so that it fits.',
  });
}

/** An id that is named is the same whatever type it was written as: the wire carries its octets alone. */
const fits = (pattern: IdentityPattern, id: Identification): boolean =>
  pattern.kind === 'exact' ? equalBytes(pattern.id.data, id.data) : matchIdentity(pattern, id);

const wireId = ({ data }: Identification): Uint8Array => concat(Uint8Array.of(PpkIdType.PPK_ID_FIXED), data);
