/** Why a transform is used only where a proposal names it. */
export interface OptIn {
  /** Goes on from the transform's word: `3des has blocks of 64 bits, …`. */
  readonly why: string;
  /** What whoever names it should do. */
  readonly hint: string;
  /** The connection must permit it besides: it can be broken, or nobody can show that it cannot. */
  readonly legacy: boolean;
}

/** Undefined for what may stand in any proposal, and for what is not spoken at all. Key exchange has the same entry as ADDKE. */
export function optIn({ type, id }: { readonly type: number; readonly id: number }): OptIn | undefined {
  return (type >= FIRST_ADDKE && type <= LAST_ADDKE ? KEY_EXCHANGE : BY_TYPE[type])?.get(id);
}

const weak = (why: string, hint = 'Ask the other end for something better.'): OptIn => ({ why, hint, legacy: true });
const rare = (why: string, hint: string): OptIn => ({ why, hint, legacy: false });

const READABLE = rare(
  'leaves traffic readable to everybody on the way',
  'Write aes256gcm16 in its place, unless something else encrypts what passes here.',
);
const CAMELLIA = rare(
  'is sound, but few peers have it and no processor speeds it up',
  'Write aes256gcm16 in its place, unless the other end demands it.',
);
const implicitIv = (word: string): OptIn =>
  rare('sends no IV with its packets (RFC 8750), which few peers know', `Name ${word} behind it for those that do not.`);
const GMAC_OF_AH = rare(
  'fails altogether if an IV ever comes twice, and few peers know it',
  'Write sha256 in its place, unless the other end demands it.',
);
const BRAINPOOL = rare('is a curve that few peers know', 'Name ecp256 or x25519 behind it for those that do not.');
const SHA1 = weak('rests on SHA-1, for which collisions can be made', 'Ask the other end for SHA-2.');
const SMALL_GROUP = weak(
  'is a group that whoever spends enough can break, for all its users at once',
  'Ask the other end for modp2048 or ecp256.',
);
const SMALL_CURVE = weak('is a curve of less than 128 bits of strength', 'Ask the other end for ecp256.');
const SUBGROUP = weak(
  'has a prime that nobody can show to be free of a trapdoor, and a small subgroup (RFC 8247 §2.4)',
  'Ask the other end for modp2048 or ecp256.',
);

const ENCRYPTION: ReadonlyMap<number, OptIn> = new Map([
  [
    3,
    weak(
      'has blocks of 64 bits, of which a few gigabytes under one key betray what they hold (RFC 8221 §5)',
      'Ask the other end for aes256gcm16 or aes256.',
    ),
  ],
  [11, READABLE],
  [21, READABLE],
  [23, CAMELLIA],
  [24, CAMELLIA],
  [25, CAMELLIA],
  [26, CAMELLIA],
  [27, CAMELLIA],
  [29, implicitIv('aes256ccm8')],
  [30, implicitIv('aes256gcm16')],
  [31, implicitIv('chacha20poly1305')],
]);

const PRF: ReadonlyMap<number, OptIn> = new Map([[2, SHA1]]);

const INTEGRITY: ReadonlyMap<number, OptIn> = new Map([
  [2, SHA1],
  [9, GMAC_OF_AH],
  [10, GMAC_OF_AH],
  [11, GMAC_OF_AH],
  [
    1026,
    rare(
      'is a private number that strongSwan alone knows, for SHA2-256 cut shorter than RFC 4868 has it',
      'Write sha256 in its place; strongSwan itself takes it only with charon.accept_private_algs = yes.',
    ),
  ],
]);

const KEY_EXCHANGE: ReadonlyMap<number, OptIn> = new Map([
  [2, SMALL_GROUP],
  [5, SMALL_GROUP],
  [
    22,
    weak(
      'is a group that whoever spends enough can break, of a prime that nobody can show to be free of a trapdoor (RFC 8247 §2.4: MUST NOT)',
      'Ask the other end for modp2048 or ecp256.',
    ),
  ],
  [23, SUBGROUP],
  [24, SUBGROUP],
  [25, SMALL_CURVE],
  [26, SMALL_CURVE],
  [27, BRAINPOOL],
  [28, BRAINPOOL],
  [29, BRAINPOOL],
  [30, BRAINPOOL],
]);

const FIRST_ADDKE = 6;
const LAST_ADDKE = 12;
const BY_TYPE: Readonly<Record<number, ReadonlyMap<number, OptIn>>> = { 1: ENCRYPTION, 2: PRF, 3: INTEGRITY, 4: KEY_EXCHANGE };
