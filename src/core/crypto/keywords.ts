import { keyExchange } from './key-exchange.ts';
import { encryption, integrity, prf } from './transforms.ts';

/** A transform as proposals name it; the attributes beyond Key Length that a peer may send have no keyword. */
export interface KeywordTransform {
  /** Transform Type: 1 ENCR, 2 PRF, 3 INTEG, 4 KE, 5 ESN, 6–12 ADDKE1–7. */
  readonly type: number;
  readonly id: number;
  /** Bits. */
  readonly keyLength?: number;
}

/**
 * The transform that a word of a proposal (`aes256gcm16`, `prfsha384`, `x25519`, `ke1_mlkem768`) stands for; undefined when the word
 * is unknown or names something that this library does not speak. `explainKeyword` tells the two apart.
 */
export function parseKeyword(word: string): KeywordTransform | undefined {
  const found = lookUp(word);
  return found !== undefined && isSpoken(found) ? found : undefined;
}

/** Why `parseKeyword` did not take a word: a sentence that names the word; undefined when the word is fine or entirely unknown. */
export function explainKeyword(word: string): string | undefined {
  const text = normalise(word);
  const bare = text.replace(ADDKE_PREFIX, '');
  const found = lookUp(text);
  if (found !== undefined && isSpoken(found)) return undefined;
  const reason = REFUSED.get(bare);
  if (reason !== undefined) return `${text} ${reason}`;
  return found === undefined ? undefined : `${text} is a registered transform that is not supported`;
}

/** How a transform is written in a proposal; `encr-99` for one without a word. Takes what peers send, so it never fails. */
export function keywordOf(transform: { readonly type: number; readonly id: number; readonly keyLength?: number | undefined }): string {
  if (transform.type >= FIRST_ADDKE && transform.type <= LAST_ADDKE) {
    return `ke${transform.type - FIRST_ADDKE + 1}_${keywordOf({ type: KE, id: transform.id })}`;
  }
  const word = WORDS.find((row) => row.type === transform.type && row.id === transform.id && row.keyLength === transform.keyLength)
    ?.words[0];
  if (word !== undefined) return word;
  const plain = WORDS.find((row) => row.type === transform.type && row.id === transform.id)?.words[0];
  const bits = transform.keyLength === undefined ? '' : `-${transform.keyLength}`;
  // A known cipher with a key length that has no word of its own, or without the one it needs.
  if (plain !== undefined && transform.type !== ENCR) return `${plain}${bits}`;
  return `${TYPE_NAMES[transform.type] ?? `type${transform.type}`}-${transform.id}${bits}`;
}

/** Every word that `parseKeyword` takes, canonical forms and aliases, for completion and documentation. ADDKE words are not spelt out. */
export const knownKeywords = (): readonly string[] => WORDS.filter(isSpoken).flatMap((row) => row.words);

function lookUp(word: string): KeywordTransform | undefined {
  const text = normalise(word);
  const additional = ADDKE_PREFIX.exec(text);
  const row = BY_WORD.get(additional === null ? text : text.slice(4));
  if (row === undefined) return undefined;
  if (additional !== null) return row.type === KE ? { type: FIRST_ADDKE + Number(additional[1]) - 1, id: row.id } : undefined;
  return row.keyLength === undefined ? { type: row.type, id: row.id } : { type: row.type, id: row.id, keyLength: row.keyLength };
}

function isSpoken({ type, id, keyLength }: KeywordTransform): boolean {
  switch (type) {
    case ENCR: {
      const cipher = encryption(id);
      if (cipher === undefined) return false;
      // RFC 7296 §3.3.5
      if (cipher.keyLengthAttribute === 'absent') return keyLength === undefined;
      return keyLength !== undefined && cipher.keyLengths.includes(keyLength);
    }
    case PRF:
      return prf(id) !== undefined;
    case INTEG:
      return integrity(id) !== undefined;
    case ESN:
      return true;
    default:
      // NONE makes a key exchange optional (RFC 7296 §3.3.6, RFC 9370 §2.2.1).
      return id === 0 || keyExchange(id) !== undefined;
  }
}

const normalise = (word: string): string => word.trim().toLowerCase();

const ENCR = 1;
const PRF = 2;
const INTEG = 3;
const KE = 4;
const ESN = 5;
const FIRST_ADDKE = 6;
const LAST_ADDKE = 12;
const ADDKE_PREFIX = /^ke([1-7])_/;
const TYPE_NAMES: Readonly<Record<number, string>> = { 1: 'encr', 2: 'prf', 3: 'integ', 4: 'ke', 5: 'esn' };

interface Row extends KeywordTransform {
  /** The canonical word first. */
  readonly words: readonly string[];
}

const row = (type: number, id: number, ...words: readonly string[]): Row => ({ type, id, words });
const cipher = (id: number, prefix: string, mode: string, ...aliases: readonly string[]): readonly Row[] =>
  [128, 192, 256].map((keyLength) => ({
    type: ENCR,
    id,
    keyLength,
    words: [mode, ...aliases].flatMap((suffix) =>
      keyLength === 128 && suffix === '' ? [`${prefix}128`, prefix] : [`${prefix}${keyLength}${suffix}`],
    ),
  }));

const WORDS: readonly Row[] = [
  row(ENCR, 2, 'des'),
  row(ENCR, 3, '3des'),
  row(ENCR, 4, 'rc5'),
  row(ENCR, 5, 'idea'),
  row(ENCR, 6, 'cast128', 'cast'),
  row(ENCR, 7, 'blowfish'),
  row(ENCR, 11, 'null'),
  ...cipher(12, 'aes', ''),
  ...cipher(13, 'aes', 'ctr'),
  ...cipher(14, 'aes', 'ccm8', 'ccm64'),
  ...cipher(15, 'aes', 'ccm12', 'ccm96'),
  ...cipher(16, 'aes', 'ccm16', 'ccm128', 'ccm'),
  ...cipher(18, 'aes', 'gcm8', 'gcm64'),
  ...cipher(19, 'aes', 'gcm12', 'gcm96'),
  ...cipher(20, 'aes', 'gcm16', 'gcm128', 'gcm'),
  ...cipher(21, 'aes', 'gmac'),
  ...cipher(23, 'camellia', ''),
  ...cipher(24, 'camellia', 'ctr'),
  ...cipher(25, 'camellia', 'ccm8', 'ccm64'),
  ...cipher(26, 'camellia', 'ccm12', 'ccm96'),
  ...cipher(27, 'camellia', 'ccm16', 'ccm128', 'ccm'),
  row(ENCR, 28, 'chacha20poly1305'),
  { type: ENCR, id: 28, keyLength: 256, words: ['chacha20poly1305compat'] },
  ...cipher(29, 'aes', 'ccm8iiv'),
  ...cipher(30, 'aes', 'gcm16iiv'),
  row(ENCR, 31, 'chacha20poly1305iiv'),

  row(PRF, 1, 'prfmd5'),
  row(PRF, 2, 'prfsha1', 'prfsha'),
  row(PRF, 4, 'prfaesxcbc'),
  row(PRF, 5, 'prfsha256'),
  row(PRF, 6, 'prfsha384'),
  row(PRF, 7, 'prfsha512'),
  row(PRF, 8, 'prfaescmac'),

  row(INTEG, 1, 'md5'),
  row(INTEG, 2, 'sha1', 'sha'),
  row(INTEG, 5, 'aesxcbc'),
  row(INTEG, 6, 'md5_128'),
  row(INTEG, 7, 'sha1_160'),
  row(INTEG, 8, 'aescmac'),
  row(INTEG, 9, 'aes128gmac_ah'),
  row(INTEG, 10, 'aes192gmac_ah'),
  row(INTEG, 11, 'aes256gmac_ah'),
  row(INTEG, 12, 'sha256', 'sha2_256', 'sha256_128'),
  row(INTEG, 13, 'sha384', 'sha2_384', 'sha384_192'),
  row(INTEG, 14, 'sha512', 'sha2_512', 'sha512_256'),
  row(INTEG, 1026, 'sha256_96', 'sha2_256_96'),

  row(KE, 0, 'none', 'modpnone'),
  row(KE, 1, 'modp768'),
  row(KE, 2, 'modp1024'),
  row(KE, 5, 'modp1536'),
  row(KE, 14, 'modp2048'),
  row(KE, 15, 'modp3072'),
  row(KE, 16, 'modp4096'),
  row(KE, 17, 'modp6144'),
  row(KE, 18, 'modp8192'),
  row(KE, 19, 'ecp256'),
  row(KE, 20, 'ecp384'),
  row(KE, 21, 'ecp521'),
  row(KE, 22, 'modp1024s160'),
  row(KE, 23, 'modp2048s224'),
  row(KE, 24, 'modp2048s256'),
  row(KE, 25, 'ecp192'),
  row(KE, 26, 'ecp224'),
  row(KE, 27, 'ecp224bp'),
  row(KE, 28, 'ecp256bp'),
  row(KE, 29, 'ecp384bp'),
  row(KE, 30, 'ecp512bp'),
  row(KE, 31, 'x25519', 'curve25519'),
  row(KE, 32, 'x448', 'curve448'),
  row(KE, 35, 'mlkem512'),
  row(KE, 36, 'mlkem768'),
  row(KE, 37, 'mlkem1024'),
  row(KE, 1035, 'sntrup761x25519'),

  row(ESN, 0, 'noesn'),
  row(ESN, 1, 'esn'),
];

const BY_WORD: ReadonlyMap<string, Row> = new Map(WORDS.flatMap((entry) => entry.words.map((word) => [word, entry] as const)));

const NEVER = 'is broken and never negotiated';

/** RFC 8221 §5, RFC 8247 §2.1. */
const FORGOTTEN = 'must not be negotiated any more: nobody has looked after it for long, and its blocks have 64 bits';

/** Words that deserve more than "not supported". */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ['des', NEVER],
  ['cast', FORGOTTEN],
  ['cast128', FORGOTTEN],
  ['blowfish', FORGOTTEN],
  ['blowfish128', FORGOTTEN],
  ['blowfish192', FORGOTTEN],
  ['blowfish256', FORGOTTEN],
  ['idea', FORGOTTEN],
  ['rc5', FORGOTTEN],
  ['md5', NEVER],
  ['md5_128', NEVER],
  ['prfmd5', NEVER],
  ['sha1_160', 'was made for Fibre Channel and is no transform of IPsec; use sha1 or better sha256'],
  ['modp768', NEVER],
  ['chacha20poly1305compat', 'carries a Key Length attribute that RFC 7634 §4 forbids; use chacha20poly1305'],
  ['sntrup761x25519', 'is a number of OpenIKED alone and is not supported: use x25519 with an additional mlkem768'],
  ['ntru112', 'is an experiment that was never standardised; use mlkem768'],
  ['ntru128', 'is an experiment that was never standardised; use mlkem768'],
  ['ntru192', 'is an experiment that was never standardised; use mlkem768'],
  ['ntru256', 'is an experiment that was never standardised; use mlkem1024'],
  ['newhope128', 'is an experiment that was never standardised; use mlkem768'],
  ['prfcamelliaxcbc', 'was never registered with IANA and is not supported'],
  ['camelliaxcbc', 'was never registered with IANA and is not supported'],
]);
