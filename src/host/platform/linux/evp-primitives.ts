import { createPacketCipher, type KeyExchangeMethod, type PrfTransform } from '../../../core/crypto/index.ts';
import type { Computing } from '../platform.ts';
import { createEvpMontgomery } from './evp-montgomery.ts';
import { createEvpPrf } from './evp-prf.ts';
import { SkCiphers } from './evp-sk.ts';
import type { Native } from './ffi.ts';
import { openEvp } from './openssl.ts';

/**
 * What an IKE SA is made with, by OpenSSL's own contexts: the same octets as `core/crypto` in a fraction of the time. Belongs to the thread that
 * made it.
 * @returns undefined where Node is linked with a library that is not OpenSSL 3
 */
export function evpPrimitives(native: Native): Computing | undefined {
  const evp = openEvp(native);
  if (evp === undefined) return undefined;
  // Each call fills and wipes it; none is under way while another one is made.
  const place = native.allocate(ROOM);
  const known = <T>(make: (id: number) => T): ((id: number) => T) => {
    const made = new Map<number, T>();
    return (id) => {
      const found = made.get(id);
      if (found !== undefined) return found;
      if (!made.has(id) && made.size < MOST_IDS) made.set(id, make(id));
      return made.has(id) ? made.get(id)! : make(id);
    };
  };
  const messages = new SkCiphers(evp, place);
  return {
    primitives: {
      prf: known<PrfTransform | undefined>((id) => createEvpPrf(evp, place, id)),
      createPacketCipher: (keys) => messages.create(keys) ?? createPacketCipher(keys),
    },
    keyExchange: known<KeyExchangeMethod | undefined>((id) => createEvpMontgomery(native, evp, place, id)),
  };
}

/** Key and data of a PRF: IKE_SA_INIT with a long CERTREQ, say, and what AUTH covers besides; or a message and its keys. */
const ROOM = 8192;
/** Ids are of the registry, but for what a snapshot brings. */
const MOST_IDS = 64;
