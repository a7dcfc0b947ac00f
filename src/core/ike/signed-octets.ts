import { concat } from '../bytes/bytes.ts';
import type { Identification } from '../wire/index.ts';
import type { IntAuth } from './int-auth.ts';
import { type IkeKeys, type Nonces, prfOf } from './keys.ts';
import type { Puzzle } from './tasks/puzzle.ts';

/** What both ends remember of the exchanges before IKE_AUTH until AUTH is made and checked. */
export interface AuthMaterial {
  /** RealMessage1 and RealMessage2: the messages as they were on the wire, from the first octet of the header. */
  readonly initRequest: Uint8Array;
  readonly initResponse: Uint8Array;
  readonly nonces: Nonces;
  readonly intAuth: IntAuth;
  /** What IKE_AUTH has to bring along (RFC 8019 §7.2.1). */
  readonly puzzle?: Puzzle | undefined;
}

/**
 * RFC 7296 §2.15, RFC 9242 §3.3.2:
 *   InitiatorSignedOctets = RealMessage1 | NonceRData | MACedIDForI [| IntAuth]      MACedIDForI = prf(SK_pi, RestOfInitIDPayload)
 *   ResponderSignedOctets = RealMessage2 | NonceIData | MACedIDForR [| IntAuth]      MACedIDForR = prf(SK_pr, RestOfRespIDPayload)
 */
export function signedOctets(signer: 'initiator' | 'responder', keys: IkeKeys, material: AuthMaterial, id: Identification): Uint8Array {
  const f = prfOf(keys);
  const rest = concat(new Uint8Array([id.idType]), id.reserved ?? new Uint8Array(3), id.data);
  return signer === 'initiator'
    ? concat(material.initRequest, material.nonces.Nr, f.compute(keys.SK_pi, rest), material.intAuth.octets)
    : concat(material.initResponse, material.nonces.Ni, f.compute(keys.SK_pr, rest), material.intAuth.octets);
}
