import { concat, EMPTY, utf8 } from '../bytes/bytes.ts';
import { InternalError } from '../bytes/errors.ts';
import { OctetPool } from '../bytes/octet-pool.ts';
import {
  encryptionKeyOctets,
  integrity,
  type PacketCipher,
  PRIMITIVES,
  type PrfTransform,
  type Primitives,
  prfPlus,
  zeroise,
} from '../crypto/index.ts';

/** What was negotiated for an IKE SA. */
export interface IkeSuite {
  readonly encryption: number;
  /** Bits; undefined where the transform has no Key Length attribute. */
  readonly keyLength: number | undefined;
  /** 0 with a combined-mode cipher. */
  readonly integrity: number;
  readonly prf: number;
  readonly keyExchange: number;
  /** Absent where there are none. */
  readonly additional?: readonly AdditionalKe[];
}

/** One of the additional key exchanges of RFC 9370, in the order of their transform types. */
export interface AdditionalKe {
  /** Transform type, 6 to 12. */
  readonly type: number;
  readonly method: number;
}

/** What was negotiated for a CHILD_SA. */
export interface ChildSuite {
  readonly protocol: 'ESP' | 'AH';
  readonly encryption: number;
  readonly keyLength: number | undefined;
  readonly integrity: number;
  readonly esn: boolean;
  /** 0 when no key exchange took part. */
  readonly keyExchange: number;
  /** Absent where there are none. */
  readonly additional?: readonly AdditionalKe[];
}

/** The seven secrets of RFC 7296 §2.14, by their names there. */
export interface IkeKeys {
  readonly suite: IkeSuite;
  readonly SK_d: Uint8Array;
  readonly SK_ai: Uint8Array;
  readonly SK_ar: Uint8Array;
  readonly SK_ei: Uint8Array;
  readonly SK_er: Uint8Array;
  readonly SK_pi: Uint8Array;
  readonly SK_pr: Uint8Array;
  /** Who computes with them; absent, `core/crypto` does. No part of a snapshot. */
  readonly primitives?: Primitives;
}

export interface Nonces {
  readonly Ni: Uint8Array;
  readonly Nr: Uint8Array;
}

export interface IkeSpis {
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
}

/** SKEYSEED = prf(Ni | Nr, g^ir), RFC 7296 §2.14. */
export function initialKeys(
  suite: IkeSuite,
  sharedSecret: Uint8Array,
  { Ni, Nr }: Nonces,
  spis: IkeSpis,
  primitives?: Primitives,
): IkeKeys {
  const f = prfOf({ suite, primitives });
  // §2.14: two PRFs whose keys were once of fixed size take the first 64 bits of each nonce here (and only here)
  const half = f.fixedKeyLength ? f.keyLength / 2 : Number.POSITIVE_INFINITY;
  const key = concat(Ni.subarray(0, half), Nr.subarray(0, half));
  return expand(suite, f.compute(key, sharedSecret), { Ni, Nr }, spis, primitives);
}

/**
 * SKEYSEED = prf(SK_d (old), SK(0) | Ni | Nr | SK(1) | …) with the old SA's PRF, RFC 7296 §2.18 and RFC 9370 §2.2.4: of a rekeyed IKE SA,
 * and with one secret of an IKE SA whose keys an IKE_INTERMEDIATE exchange changes (RFC 9370 §2.2.2).
 */
export function rekeyedKeys(
  old: IkeKeys,
  suite: IkeSuite,
  [first = EMPTY, ...additional]: readonly Uint8Array[],
  { Ni, Nr }: Nonces,
  spis: IkeSpis,
): IkeKeys {
  const SKEYSEED = prfOf(old).compute(old.SK_d, first, Ni, Nr, ...additional);
  return expand(suite, SKEYSEED, { Ni, Nr }, spis, old.primitives);
}

/** SKEYSEED' = prf+(PPK, SK_d), RFC 9867 §3.1: of an IKE SA that an IKE_INTERMEDIATE exchange mixes a PPK into, the last of all changes. */
export function ppkKeys(old: IkeKeys, PPK: Uint8Array, nonces: Nonces, spis: IkeSpis): IkeKeys {
  const f = prfOf(old);
  return expand(old.suite, prfPlus(f, PPK, old.SK_d, f.keyLength), nonces, spis, old.primitives);
}

/** SKEYSEED = prf(SK_d (old), "Resumption" | Ni | Nr), RFC 5723 §5.1; the PRF is that of the ticket. */
export function resumedKeys(suite: IkeSuite, SK_d: Uint8Array, { Ni, Nr }: Nonces, spis: IkeSpis, primitives?: Primitives): IkeKeys {
  const SKEYSEED = prfOf({ suite, primitives }).compute(SK_d, utf8('Resumption'), Ni, Nr);
  return expand(suite, SKEYSEED, { Ni, Nr }, spis, primitives);
}

/** {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr), RFC 7296 §2.14. */
function expand(
  suite: IkeSuite,
  SKEYSEED: Uint8Array,
  { Ni, Nr }: Nonces,
  { spiI, spiR }: IkeSpis,
  primitives: Primitives | undefined,
): IkeKeys {
  const f = prfOf({ suite, primitives });
  const authentication = suite.integrity === 0 ? 0 : integrityKeyOctets(suite.integrity);
  const encryptionOctets = encryptionKeyOctets(suite.encryption, suite.keyLength);
  const lengths = [f.keyLength, authentication, authentication, encryptionOctets, encryptionOctets, f.keyLength, f.keyLength];
  const stream = prfPlus(f, SKEYSEED, concat(Ni, Nr, spiI, spiR), sum(lengths));
  const [SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr] = cut(stream, lengths, FRESH) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  zeroise(SKEYSEED, stream);
  return primitives === undefined
    ? { suite, SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr }
    : { suite, SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr, primitives };
}

export interface ChildKeys {
  /** For packets of the exchange's initiator. */
  readonly initiator: { readonly encryptionKey: Uint8Array; readonly integrityKey: Uint8Array };
  readonly responder: { readonly encryptionKey: Uint8Array; readonly integrityKey: Uint8Array };
}

/** KEYMAT = prf+(SK_d, [SK(0) |] Ni | Nr [| SK(1) | …]), RFC 7296 §2.17, RFC 9370 §2.2.4: initiator's keys first, encryption before integrity. */
export function childKeys(
  ike: IkeKeys,
  suite: ChildSuite,
  { Ni, Nr }: Nonces,
  [first = EMPTY, ...additional]: readonly Uint8Array[],
): ChildKeys {
  const encryptionOctets = suite.encryption === 0 ? 0 : encryptionKeyOctets(suite.encryption, suite.keyLength);
  const authentication = suite.integrity === 0 ? 0 : integrityKeyOctets(suite.integrity);
  const lengths = [encryptionOctets, authentication, encryptionOctets, authentication];
  const seed = concat(first, Ni, Nr, ...additional);
  const KEYMAT = prfPlus(prfOf(ike), ike.SK_d, seed, sum(lengths));
  const [ei, ai, er, ar] = cut(KEYMAT, lengths, OF_CHILDREN) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  zeroise(seed, KEYMAT);
  return { initiator: { encryptionKey: ei, integrityKey: ai }, responder: { encryptionKey: er, integrityKey: ar } };
}

/** The cipher for the SK payloads of the original initiator, or of the original responder. */
export function ikeCipher(keys: IkeKeys, from: 'initiator' | 'responder'): PacketCipher {
  const { encryption: id, keyLength, integrity: mac } = keys.suite;
  const { createPacketCipher } = keys.primitives ?? PRIMITIVES;
  const [encryptionKey, integrityKey] = from === 'initiator' ? [keys.SK_ei, keys.SK_ai] : [keys.SK_er, keys.SK_ar];
  return createPacketCipher({ encryption: id, keyLength, encryptionKey, integrity: mac, integrityKey });
}

/** RFC 7296 §2.15: SK_pi and SK_pr prove who made the IKE SA, once. What they proved stays, so they need not. They are zeroised with all of `keys`. */
export function withoutProof(keys: IkeKeys): IkeKeys {
  const resting = new RestingKeys(keys);
  zeroiseKeys(keys);
  return resting;
}

/** The keys of an IKE SA that stands, in little room: each is a view of one and the same memory, made when it is asked for. */
class RestingKeys implements IkeKeys {
  readonly suite: IkeSuite;
  readonly primitives?: Primitives;
  /** SK_d | SK_ai | SK_ar | SK_ei | SK_er */
  readonly #octets: Uint8Array;
  /** Where SK_ai begins, and where SK_ei does. */
  readonly #a: number;
  readonly #e: number;

  constructor({ suite, SK_d, SK_ai, SK_ar, SK_ei, SK_er, primitives }: IkeKeys) {
    this.suite = suite;
    if (primitives) this.primitives = primitives;
    this.#octets = RESTING.keep(SK_d, SK_ai, SK_ar, SK_ei, SK_er);
    this.#a = SK_d.length;
    this.#e = SK_d.length + SK_ai.length + SK_ar.length;
  }

  get SK_d(): Uint8Array {
    return this.#octets.subarray(0, this.#a);
  }

  get SK_ai(): Uint8Array {
    return this.#a === this.#e ? EMPTY : this.#octets.subarray(this.#a, (this.#a + this.#e) / 2);
  }

  get SK_ar(): Uint8Array {
    return this.#a === this.#e ? EMPTY : this.#octets.subarray((this.#a + this.#e) / 2, this.#e);
  }

  get SK_ei(): Uint8Array {
    return this.#octets.subarray(this.#e, (this.#e + this.#octets.length) / 2);
  }

  get SK_er(): Uint8Array {
    return this.#octets.subarray((this.#e + this.#octets.length) / 2);
  }

  get SK_pi(): Uint8Array {
    return EMPTY;
  }

  get SK_pr(): Uint8Array {
    return EMPTY;
  }
}

export function zeroiseKeys(keys: IkeKeys): void {
  zeroise(keys.SK_d, keys.SK_ai, keys.SK_ar, keys.SK_ei, keys.SK_er, keys.SK_pi, keys.SK_pr);
}

/** The PRF of an IKE SA with these keys. */
export function prfOf({
  suite,
  primitives = PRIMITIVES,
}: {
  readonly suite: IkeSuite;
  readonly primitives?: Primitives | undefined;
}): PrfTransform {
  const f = primitives.prf(suite.prf);
  if (f === undefined) throw new InternalError(`PRF ${suite.prf} was negotiated but is not implemented`);
  return f;
}

function integrityKeyOctets(id: number): number {
  const mac = integrity(id);
  if (mac === undefined) throw new InternalError(`integrity algorithm ${id} was negotiated but is not implemented`);
  return mac.keyLength;
}

const sum = (lengths: readonly number[]): number => lengths.reduce((a, b) => a + b, 0);

/** Views of a copy, so that the stream can be zeroised. */
function cut(stream: Uint8Array, lengths: readonly number[], pool: OctetPool): Uint8Array[] {
  const kept = pool.keep(stream);
  let at = 0;
  return lengths.map((length) => {
    const key = length === 0 ? EMPTY : kept.subarray(at, at + length);
    at += length;
    return key;
  });
}

/** What goes together stands together: keys until an IKE SA is authenticated, those of IKE SAs that stand, and those of CHILD_SAs. */
const FRESH = new OctetPool();
const RESTING = new OctetPool();
const OF_CHILDREN = new OctetPool();
