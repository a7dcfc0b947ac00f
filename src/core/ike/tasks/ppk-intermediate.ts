import { concat, equalBytes } from '../../bytes/bytes.ts';
import { PeerViolation, type TunnelwrightError } from '../../bytes/errors.ts';
import { equalSecrets, zeroise } from '../../crypto/index.ts';
import { NotifyType, type Payload } from '../../wire/index.ts';
import type { IkeSa } from '../ike-sa.ts';
import { type IkeKeys, type Nonces, prfOf } from '../keys.ts';
import { findAll, findNotify, invalidSyntax, notify } from '../notifies.ts';
import type { Connection } from '../policy.ts';
import { ask, type Routine } from '../routine.ts';
import type { AuthMaterial } from '../signed-octets.ts';
import type { World } from '../world.ts';
import { goWithoutPpk, ppkName, ppksFor, refusedForPpk } from './ppk.ts';

/**
 * RFC 9867 §3.1: a PPK that is mixed in before IKE_AUTH, in the last IKE_INTERMEDIATE exchange, when all others have changed the keys.
 *
 *     HDR, SK {..., N(PPK_IDENTITY_KEY)+}  -->  <--  HDR, SK {..., [N(PPK_IDENTITY)]}
 */
export const offersPpk = ({ ppk }: IkeSa): boolean => ppk?.agreed === 'IKE_INTERMEDIATE' && ppk.offer !== undefined;

/** The initiator's: PPK_ID and what shows, to whoever has that PPK alone, that it is the same. */
export function offerPpk(sa: IkeSa, nonces: Nonces): Payload[] {
  const { id, secret } = sa.ppk!.offer!;
  return [notify(NotifyType.PPK_IDENTITY_KEY, concat(id, confirmation(sa, secret, nonces)))];
}

/** The initiator reads from the response whether its PPK is used. @returns it, to be mixed in; throws AuthenticationFailure */
export function takePpk(sa: IkeSa, connection: Connection, payloads: readonly Payload[]): Uint8Array | undefined {
  const { id, secret } = sa.ppk!.offer!;
  const chosen = findNotify(payloads, NotifyType.PPK_IDENTITY);
  if (chosen === undefined) {
    goWithoutPpk(connection, SECTION);
    return undefined;
  }
  if (!equalBytes(chosen.data, id)) {
    throw new PeerViolation('the peer chose a post-quantum pre-shared key that we did not name', {
      code: 'PPK_NOT_OFFERED',
      section: SECTION,
    });
  }
  sa.ppk!.used = ppkName(id);
  return secret;
}

/** What the responder found among those that the initiator named. */
export interface PpkFound {
  readonly id: Uint8Array;
  /** The caller's, to overwrite. */
  readonly secret: Uint8Array;
  /** Those that it may be used for. */
  readonly candidates: readonly Connection[];
}

/**
 * The responder: the first PPK named that is known here, and the same. Nobody has proven anything yet, so few are looked at.
 * @returns undefined where it is to go on without; throws AuthenticationFailure
 */
export function* findPpk(
  world: World,
  sa: IkeSa,
  candidates: readonly Connection[],
  nonces: Nonces,
  payloads: readonly Payload[],
): Routine<PpkFound | undefined> {
  const named = findAll(payloads, 'N').filter((p) => p.notify === NotifyType.PPK_IDENTITY_KEY);
  let why: TunnelwrightError | undefined;
  for (const { data } of named.slice(0, MOST_NAMED)) {
    if (data.length <= CONFIRMATION) throw invalidSyntax('a PPK_IDENTITY_KEY without an identity', SECTION);
    const id = data.slice(0, -CONFIRMATION);
    const claimed = data.slice(-CONFIRMATION);
    const answer = yield* ask({ kind: 'ppk', candidates: ppksFor('IKE_INTERMEDIATE', candidates), id, remoteId: undefined });
    if (!answer.ok) {
      why = answer.error;
      continue;
    }
    const { secret, connections } = answer;
    if (equalSecrets(confirmation(sa, secret, nonces), claimed)) {
      return { id, secret, candidates: candidates.filter(({ name }) => connections.includes(name)) };
    }
    zeroise(secret);
    why = refusedForPpk(`the post-quantum pre-shared key ${ppkName(id)} is not the same on both ends`, candidates);
  }
  if (why === undefined) return undefined;
  const without = candidates.find(({ ppk }) => ppk?.required !== true);
  if (without === undefined) throw refusedForPpk('the peer names no post-quantum pre-shared key that is known here', candidates, why);
  world.notice({
    kind: 'failed',
    ikeSa: sa.id,
    connection: without.name,
    what: 'mixing in a post-quantum pre-shared key',
    error: why,
  });
  return undefined;
}

/** From here on nobody is meant who has another PPK. */
export function adoptFound(sa: IkeSa, { id, candidates }: PpkFound, material: AuthMaterial): void {
  sa.ppk!.used = ppkName(id);
  sa.pending = { candidates, material, puzzle: sa.pending?.puzzle };
}

/** The first octets of prf(PPK, Ni | Nr | SPIi | SPIr), with the nonces of IKE_SA_INIT. */
function confirmation(
  sa: { readonly keys: IkeKeys; readonly spiI: Uint8Array; readonly spiR: Uint8Array },
  PPK: Uint8Array,
  { Ni, Nr }: Nonces,
): Uint8Array {
  return prfOf(sa.keys).compute(PPK, Ni, Nr, sa.spiI, sa.spiR).subarray(0, CONFIRMATION);
}

const SECTION = 'RFC 9867 §3.1';
/** Octets of PPK Confirmation. */
const CONFIRMATION = 8;
const MOST_NAMED = 8;
