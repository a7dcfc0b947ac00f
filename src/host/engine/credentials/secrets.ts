import { fromUtf8 } from '../../../core/bytes/index.ts';
import { equalSecrets, type PrfTransform, padPsk, zeroise } from '../../../core/crypto/index.ts';
import { formatIdentityPattern, type IdentityPattern, matchStrength } from '../../../core/pki/index.ts';
import { IdType } from '../../../core/wire/iana.ts';
import type { Identification } from '../../../core/wire/payloads/types.ts';

export interface SharedSecret {
  readonly handle: string;
  /** Empty: anybody's. */
  readonly owners: readonly IdentityPattern[];
  readonly secret: Uint8Array;
  /** The padded secret of RFC 7296 §2.15 by PRF, made when it is first asked for. */
  readonly padded: Map<number, Uint8Array>;
}

/** Pre-shared keys, found by the identities of both ends; a thousand users cost no more than one. */
export class SharedSecrets {
  #secrets: SharedSecret[] = [];
  /** By the owners that name one identity; `#others` are those that must be asked one by one. */
  readonly #byOwner = new Map<string, SharedSecret[]>();
  #others: SharedSecret[] = [];

  get all(): readonly SharedSecret[] {
    return this.#secrets;
  }

  add(handle: string, owners: readonly IdentityPattern[], secret: Uint8Array): void {
    const added: SharedSecret = { handle, owners, secret: secret.slice(), padded: new Map() };
    this.#secrets.push(added);
    this.#index(added);
  }

  remove(handle: string): boolean {
    const gone = this.#secrets.filter((each) => each.handle === handle);
    zeroise(...gone.flatMap(({ secret, padded }) => [secret, ...padded.values()]));
    this.#secrets = this.#secrets.filter((each) => each.handle !== handle);
    this.#byOwner.clear();
    this.#others = [];
    for (const each of this.#secrets) this.#index(each);
    return gone.length > 0;
  }

  /**
   * The secret that fits two identities best. As with swanctl, an owner may be either end: a secret that names both goes before one that
   * names the peer alone, that before one that names only ourselves, and last come those without owners. Among equals the closer match
   * counts, then the shorter list, then the younger secret. An identity that is not known yet is left out of the comparison.
   */
  find(local: Identification | undefined, remote: Identification | undefined, handle?: string): SharedSecret | undefined {
    let best: { readonly found: SharedSecret; readonly rank: readonly number[] } | undefined;
    for (const candidate of this.#candidates(local, remote, handle)) {
      const rank = rankOf(candidate.owners, local, remote) ?? (handle === undefined ? undefined : [0, 0, 0, 0]);
      if (rank !== undefined && (best === undefined || !isBetter(best.rank, rank))) best = { found: candidate, rank };
    }
    return best?.found;
  }

  #candidates(local: Identification | undefined, remote: Identification | undefined, handle: string | undefined): readonly SharedSecret[] {
    if (handle !== undefined) return this.#secrets.filter((each) => each.handle === handle);
    const named = [local, remote].flatMap((id) => (id === undefined ? [] : (this.#byOwner.get(ownerKey(id)) ?? [])));
    return [...named, ...this.#others];
  }

  #index(secret: SharedSecret): void {
    // a distinguished name has many encodings (RFC 5280 §7.1)
    const ids = secret.owners.map((owner) => (owner.kind === 'exact' && owner.id.idType !== IdType.ID_DER_ASN1_DN ? owner.id : undefined));
    if (ids.length === 0 || ids.includes(undefined)) {
      this.#others.push(secret);
      return;
    }
    for (const key of new Set(ids.map((id) => ownerKey(id!)))) {
      const same = this.#byOwner.get(key);
      if (same === undefined) this.#byOwner.set(key, [secret]);
      else same.push(secret);
    }
  }
}

/** The same for identities that may be the same: names in lower case, since the rank decides. */
const ownerKey = ({ idType, data }: Identification): string => `${idType}:${fromUtf8(data).toLowerCase()}`;

/** AUTH of method 2: prf(prf(Shared Secret, "Key Pad for IKEv2"), octets) (RFC 7296 §2.15). */
export function authWithSecret({ secret, padded }: SharedSecret, prf: PrfTransform, octets: Uint8Array): Uint8Array {
  let key = padded.get(prf.id);
  if (key === undefined) {
    key = padPsk(prf, secret);
    padded.set(prf.id, key);
  }
  return prf.compute(key, octets);
}

/** The same of the peer, in constant time. */
export function verifyShared(secret: SharedSecret, prf: PrfTransform, octets: Uint8Array, auth: Uint8Array): boolean {
  const expected = authWithSecret(secret, prf, octets);
  const same = equalSecrets(expected, auth);
  zeroise(expected);
  return same;
}

/** `alice@example.com, vpn.example.com`, or `anybody`. */
export const formatOwners = (owners: readonly IdentityPattern[]): string =>
  owners.length === 0 ? 'anybody' : owners.map(formatIdentityPattern).join(', ');

function rankOf(
  owners: readonly IdentityPattern[],
  local: Identification | undefined,
  remote: Identification | undefined,
): readonly number[] | undefined {
  if (owners.length === 0) return [0, 0, 0, 0];
  const strength = (id: Identification | undefined) =>
    id === undefined ? 0 : Math.max(...owners.map((owner) => matchStrength(owner, id)));
  const [us, them] = [strength(local), strength(remote)];
  if (us === 0 && them === 0) return undefined;
  return [them > 0 && us > 0 ? 3 : them > 0 ? 2 : 1, them, us, -owners.length];
}

function isBetter(a: readonly number[], b: readonly number[]): boolean {
  for (const [i, value] of a.entries()) if (value !== b[i]) return value > b[i]!;
  return false;
}
