import { fromHex, printable, toHex } from '../../core/bytes/bytes.ts';
import { ApiMisuse, ConfigError } from '../../core/bytes/errors.ts';
import { encryption as encryptionTransform } from '../../core/crypto/index.ts';
import { EncryptionId, IntegrityId, type Registry, registeredName } from '../../core/wire/iana.ts';
import type { CaptureIntegrity } from './capture-cipher.ts';

/** Keys of an IKE SA, as a row of Wireshark's `ikev2_decryption_table` has them. */
export interface IkeKeys {
  readonly spiI: Uint8Array;
  readonly spiR: Uint8Array;
  readonly encryption: number;
  /** Bits; undefined for a transform without Key Length attribute. */
  readonly keyLength: number | undefined;
  readonly integrity: CaptureIntegrity;
  /** Key and salt. */
  readonly SK_ei: Uint8Array;
  readonly SK_er: Uint8Array;
  readonly SK_ai: Uint8Array;
  readonly SK_ar: Uint8Array;
}

/** Keys of one direction of an ESP SA, as a row of Wireshark's `esp_sa` has them. */
export interface EspKeys {
  /** IP literals; `*` for any. */
  readonly source: string;
  readonly destination: string;
  readonly spi: number;
  readonly encryption: number;
  /** Key and salt. */
  readonly encryptionKey: Uint8Array;
  readonly integrity: CaptureIntegrity;
  readonly integrityKey: Uint8Array;
}

/**
 * A row for Wireshark; or, where it has no name for an algorithm, the reason and a row behind `# tunnelwright`, which is a comment to
 * Wireshark and is read by `parseIkeTable` and `parseEspTable`.
 */
export type WiresharkRow =
  | { readonly ok: true; readonly row: string }
  | { readonly ok: false; readonly row: string; readonly reason: string };

/** What the IKE core logs on demand (`ike-keys`), and what a CHILD_SA is installed with: IANA numbers and keys. */
export interface IkeKeysToLog extends Omit<IkeKeys, 'integrity'> {
  readonly integrity: number;
}
export interface EspKeysToLog extends Omit<EspKeys, 'integrity'> {
  readonly integrity: number;
}

/** A row for the file `ikev2_decryption_table` in Wireshark's configuration folder. Throws `ApiMisuse` for an unregistered algorithm. */
export function formatIkeRow(keys: IkeKeysToLog): WiresharkRow {
  const encryption = nameEncryption(IKE_ENCRYPTION, keys.encryption, keys.keyLength);
  const integrity = nameIntegrity(IKE_INTEGRITY, keys.integrity);
  const spis = [toHex(keys.spiI), toHex(keys.spiR)];
  const fields = [
    ...spis,
    toHex(keys.SK_ei),
    toHex(keys.SK_er),
    `"${encryption.name}"`,
    toHex(keys.SK_ai),
    toHex(keys.SK_ar),
    `"${integrity.name}"`,
  ];
  return rowOf(fields.join(','), encryption, integrity);
}

/** A row for the file `esp_sa` in Wireshark's configuration folder. Throws `ApiMisuse` for an unregistered algorithm. */
export function formatEspRow(keys: EspKeysToLog): WiresharkRow {
  const encryption = nameEncryption(ESP_ENCRYPTION, keys.encryption, undefined);
  // Wireshark refuses AES-GCM beside any name but NULL, which is what an AEAD has.
  const integrity = nameIntegrity(ESP_INTEGRITY, keys.integrity);
  const family = keys.source.includes(':') || keys.destination.includes(':') ? 'IPv6' : 'IPv4';
  const spi = `0x${keys.spi.toString(16).padStart(8, '0')}`;
  const ends = [family, keys.source, keys.destination, spi];
  const fields = [...ends, encryption.name, `0x${toHex(keys.encryptionKey)}`, integrity.name, `0x${toHex(keys.integrityKey)}`];
  return rowOf(fields.map((field) => `"${field}"`).join(','), encryption, integrity);
}

/** Reads a whole `ikev2_decryption_table`. Throws `ConfigError` with the line. */
export function parseIkeTable(text: string, file?: string): IkeKeys[] {
  return parseTable(text, file, 8, ([spiI, spiR, ei, er, encr, ai, ar, integ], line) => {
    const encryption = encryptionNamed(IKE_ENCRYPTION, encr);
    if (encryption === undefined) throw unknown(`encryption algorithm of IKEv2: ${shown(encr)}`, file, line);
    const integrity = integrityNamed(IKE_INTEGRITY, integ);
    if (integrity === undefined) throw unknown(`integrity algorithm of IKEv2: ${shown(integ)}`, file, line);
    const key = (value: string | undefined): Uint8Array => octets(value, file, line);
    return {
      spiI: key(spiI),
      spiR: key(spiR),
      encryption: encryption.id,
      keyLength: encryption.keyLength,
      integrity,
      SK_ei: key(ei),
      SK_er: key(er),
      SK_ai: key(ai),
      SK_ar: key(ar),
    };
  });
}

/** Reads a whole `esp_sa`. Throws `ConfigError` with the line. */
export function parseEspTable(text: string, file?: string): EspKeys[] {
  return parseTable(text, file, 8, ([, source, destination, spi, encr, key, integ, integrityKey], line) => {
    const encryption = encryptionNamed(ESP_ENCRYPTION, encr);
    if (encryption === undefined) throw unknown(`encryption algorithm of ESP: ${shown(encr)}`, file, line);
    const integrity = integrityNamed(ESP_INTEGRITY, integ);
    if (integrity === undefined) throw unknown(`integrity algorithm of ESP: ${shown(integ)}`, file, line);
    const number = /^0x[0-9a-f]{1,8}$/i.test(spi ?? '') ? Number(spi) : Number.NaN;
    if (Number.isNaN(number)) throw unknown(`SPI: ${shown(spi)}`, file, line);
    return {
      source: source ?? '*',
      destination: destination ?? '*',
      spi: number,
      encryption: encryption.id,
      encryptionKey: octets(key, file, line),
      integrity: aead(encryption.id) ? { kind: 'none' } : integrity,
      integrityKey: octets(integrityKey, file, line),
    };
  });
}

function parseTable<T>(text: string, file: string | undefined, columns: number, row: (fields: readonly string[], line: number) => T): T[] {
  const rows: T[] = [];
  text.split(/\r?\n/).forEach((line, i) => {
    const content = line.startsWith(OURS) ? line.slice(OURS.length) : line;
    if (content.trim() === '' || content.startsWith('#')) return;
    const fields = splitRow(content);
    if (fields === undefined || fields.length < columns) throw unknown(`row: ${columns} columns are needed`, file, i + 1);
    rows.push(row(fields, i + 1));
  });
  return rows;
}

/** Fields parted by commas, each bare or in double quotes; undefined when the quotes do not close. */
function splitRow(line: string): string[] | undefined {
  const fields: string[] = [];
  let rest = line.trim();
  for (;;) {
    const field = /^\s*(?:"([^"]*)"|([^",]*))\s*(,|$)/.exec(rest);
    if (field === null) return undefined;
    fields.push((field[1] ?? field[2] ?? '').trim());
    if (field[3] === '') return fields;
    rest = rest.slice(field[0].length);
  }
}

function octets(text: string | undefined, file: string | undefined, line: number): Uint8Array {
  const digits = (text ?? '').replace(/^0x/i, '');
  if (digits.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(digits)) throw unknown('key or SPI: not in hex', file, line);
  return fromHex(digits);
}

const unknown = (what: string, file: string | undefined, line: number): ConfigError =>
  new ConfigError(`line ${line}: unknown ${what}`, { code: 'WIRESHARK_TABLE', line, ...(file === undefined ? {} : { file }) });

/** A field that ought to be a name; a row whose columns are shifted has a key in its place, which no error repeats. */
const shown = (field: string | undefined): string =>
  /^(0x)?[0-9a-f]{16,}$/i.test(field ?? '') ? 'a key in the wrong column' : printable((field ?? '').slice(0, 80));

const aead = (id: number): boolean => encryptionTransform(id)?.aead === true;

/** Wireshark's name; where it has none, IANA's, with the key length behind it where a row does not tell it otherwise. */
function nameEncryption(table: readonly EncryptionName[], id: number, keyLength: number | undefined): Named {
  const known = table.find((entry) => entry.id === id && entry.keyLength === keyLength);
  if (known !== undefined) return { name: known.name, ours: false };
  return { name: `${registered(EncryptionId, id)}${keyLength === undefined ? '' : `-${keyLength}`}`, ours: true };
}

function nameIntegrity(table: readonly IntegrityName[], id: number): Named {
  const known = table.find((entry) => numberOf(entry.kind) === id);
  return known === undefined ? { name: registered(IntegrityId, id), ours: true } : { name: known.name, ours: false };
}

function encryptionNamed(table: readonly EncryptionName[], name: string | undefined): EncryptionName | undefined {
  const known = table.find((entry) => entry.name === name);
  if (known !== undefined) return known;
  const [, own, keyLength] = /^(ENCR_[A-Z0-9_]+)(?:-([0-9]{1,4}))?$/.exec(name ?? '') ?? [];
  const id = numberNamed(EncryptionId, own);
  return id === undefined ? undefined : { name: name!, id, ...(keyLength === undefined ? {} : { keyLength: Number(keyLength) }) };
}

function integrityNamed(table: readonly IntegrityName[], name: string | undefined): CaptureIntegrity | undefined {
  const known = table.find((entry) => entry.name === name);
  if (known !== undefined) return known.kind;
  const id = numberNamed(IntegrityId, name);
  return id === undefined ? undefined : { kind: 'transform', id };
}

const numberNamed = (registry: Registry, name: string | undefined): number | undefined =>
  name !== undefined && Object.hasOwn(registry, name) ? registry[name] : undefined;

function registered(registry: Registry, id: number): string {
  const name = registeredName(registry, id);
  if (name === undefined) throw new ApiMisuse(`transform ${id} has no registered name`, { code: 'UNKNOWN_TRANSFORM' });
  return name;
}

function rowOf(row: string, ...names: readonly Named[]): WiresharkRow {
  const ours = names.filter((name) => name.ours).map(({ name }) => name);
  if (ours.length === 0) return { ok: true, row };
  return { ok: false, row: `${OURS}${row}`, reason: `Wireshark cannot decrypt ${ours.join(' with ')}; tunnelwright decode can` };
}

/** The IANA id that a row stands for; what Wireshark does not check has none. */
function numberOf(kind: CaptureIntegrity): number | undefined {
  if (kind.kind === 'none') return IntegrityId.NONE;
  if (kind.kind === 'transform') return kind.id;
  if (kind.kind !== 'hmac') return undefined;
  return HMAC_IDS[`${kind.hash}-${kind.octets}`];
}

const HMAC_IDS: Readonly<Record<string, number>> = {
  'md5-12': IntegrityId.AUTH_HMAC_MD5_96,
  'md5-16': IntegrityId.AUTH_HMAC_MD5_128,
  'sha1-20': IntegrityId.AUTH_HMAC_SHA1_160,
};

interface Named {
  readonly name: string;
  /** Wireshark has none. */
  readonly ours: boolean;
}

interface EncryptionName {
  readonly name: string;
  readonly id: number;
  readonly keyLength?: number;
}

interface IntegrityName {
  readonly name: string;
  readonly kind: CaptureIntegrity;
}

const OURS = '# tunnelwright ';
const AES_KEYS = [128, 192, 256] as const;
const ICVS = [8, 12, 16] as const;

/** Names as Wireshark's own code spells them; any other spelling is refused by it. */
const IKE_ENCRYPTION: readonly EncryptionName[] = [
  { name: 'NULL [RFC2410]', id: EncryptionId.ENCR_NULL },
  { name: '3DES [RFC2451]', id: EncryptionId.ENCR_3DES },
  ...AES_KEYS.map((keyLength) => ({ name: `AES-CBC-${keyLength} [RFC3602]`, id: EncryptionId.ENCR_AES_CBC, keyLength })),
  ...AES_KEYS.map((keyLength) => ({ name: `AES-CTR-${keyLength} [RFC5930]`, id: EncryptionId.ENCR_AES_CTR, keyLength })),
  ...AES_KEYS.flatMap((keyLength) =>
    ICVS.map((icv, i) => ({
      name: `AES-CCM-${keyLength} with ${icv} octet ICV [RFC5282]`,
      id: EncryptionId.ENCR_AES_CCM_8 + i,
      keyLength,
    })),
  ),
  ...AES_KEYS.flatMap((keyLength) =>
    ICVS.map((icv, i) => ({
      name: `AES-GCM-${keyLength} with ${icv} octet ICV [RFC5282]`,
      id: EncryptionId.ENCR_AES_GCM_8 + i,
      keyLength,
    })),
  ),
];

const ESP_ENCRYPTION: readonly EncryptionName[] = [
  { name: 'NULL', id: EncryptionId.ENCR_NULL },
  { name: 'TripleDES-CBC [RFC2451]', id: EncryptionId.ENCR_3DES },
  { name: 'DES-CBC [RFC2405]', id: EncryptionId.ENCR_DES },
  { name: 'AES-CBC [RFC3602]', id: EncryptionId.ENCR_AES_CBC },
  { name: 'AES-CTR [RFC3686]', id: EncryptionId.ENCR_AES_CTR },
  { name: 'AES-GCM with 8 octet ICV [RFC4106]', id: EncryptionId.ENCR_AES_GCM_8 },
  { name: 'AES-GCM with 12 octet ICV [RFC4106]', id: EncryptionId.ENCR_AES_GCM_12 },
  { name: 'AES-GCM with 16 octet ICV [RFC4106]', id: EncryptionId.ENCR_AES_GCM_16 },
  // older: Wireshark 4 takes it for a cipher without ICV; read, never written
  { name: 'AES-GCM [RFC4106]', id: EncryptionId.ENCR_AES_GCM_16 },
];

const transform = (name: string, id: number): IntegrityName => ({ name, kind: { kind: 'transform', id } });
const hmac = (name: string, hash: 'md5' | 'sha1' | 'sha256', octets: number): IntegrityName => ({
  name,
  kind: { kind: 'hmac', hash, octets },
});
const unchecked = (name: string, bits: number): IntegrityName => ({ name, kind: { kind: 'unchecked', octets: bits / 8 } });

const IKE_INTEGRITY: readonly IntegrityName[] = [
  { name: 'NONE [RFC4306]', kind: { kind: 'none' } },
  hmac('HMAC_MD5_96 [RFC2403]', 'md5', 12),
  transform('HMAC_SHA1_96 [RFC2404]', IntegrityId.AUTH_HMAC_SHA1_96),
  hmac('HMAC_MD5_128 [RFC4595]', 'md5', 16),
  hmac('HMAC_SHA1_160 [RFC4595]', 'sha1', 20),
  hmac('HMAC_SHA2_256_96 [draft-ietf-ipsec-ciph-sha-256-00]', 'sha256', 12),
  transform('HMAC_SHA2_256_128 [RFC4868]', IntegrityId.AUTH_HMAC_SHA2_256_128),
  transform('HMAC_SHA2_384_192 [RFC4868]', IntegrityId.AUTH_HMAC_SHA2_384_192),
  transform('HMAC_SHA2_512_256 [RFC4868]', IntegrityId.AUTH_HMAC_SHA2_512_256),
  ...[64, 96, 128, 160, 192, 256].map((bits) => unchecked(`ANY ${bits}-bits of Authentication [No Checking]`, bits)),
];

const ESP_INTEGRITY: readonly IntegrityName[] = [
  { name: 'NULL', kind: { kind: 'none' } },
  hmac('HMAC-MD5-96 [RFC2403]', 'md5', 12),
  transform('HMAC-SHA-1-96 [RFC2404]', IntegrityId.AUTH_HMAC_SHA1_96),
  hmac('HMAC-SHA-256-96 [draft-ietf-ipsec-ciph-sha-256-00]', 'sha256', 12),
  transform('HMAC-SHA-256-128 [RFC4868]', IntegrityId.AUTH_HMAC_SHA2_256_128),
  transform('HMAC-SHA-384-192 [RFC4868]', IntegrityId.AUTH_HMAC_SHA2_384_192),
  transform('HMAC-SHA-512-256 [RFC4868]', IntegrityId.AUTH_HMAC_SHA2_512_256),
  ...[64, 96, 128, 192, 256].map((bits) => unchecked(`ANY ${bits} bit authentication [no checking]`, bits)),
];
