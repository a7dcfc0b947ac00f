import { describe, expect, test } from 'vitest';
import { fromHex } from '../../../src/core/bytes/bytes.ts';
import { ApiMisuse, ConfigError } from '../../../src/core/bytes/errors.ts';
import { encryptionKeyOctets, encryptionTransforms, integrity, integrityTransforms } from '../../../src/core/crypto/index.ts';
import { EncryptionId, IntegrityId } from '../../../src/core/wire/iana.ts';
import {
  type EspKeysToLog,
  formatEspRow,
  formatIkeRow,
  type IkeKeysToLog,
  parseEspTable,
  parseIkeTable,
} from '../../../src/product/explain/index.ts';
import { expectAtOnce } from '../../support/at-once.ts';
import { gen } from '../../support/gen.ts';
import { describeWithShared, listShared, readShared } from '../../support/shared.ts';

const g = gen(7);

const ike = (encryption: number, keyLength: number | undefined, integrityId = 0): IkeKeysToLog => {
  const key = encryptionKeyOctets(encryption, keyLength);
  const mac = integrity(integrityId)?.keyLength ?? 0;
  return {
    spiI: fromHex('0102030405060708'),
    spiR: fromHex('1112131415161718'),
    encryption,
    keyLength,
    integrity: integrityId,
    SK_ei: g.bytes(key),
    SK_er: g.bytes(key),
    SK_ai: g.bytes(mac),
    SK_ar: g.bytes(mac),
  };
};

const esp = (encryption: number, keyLength: number | undefined, integrityId = 0): EspKeysToLog => ({
  source: '192.0.2.1',
  destination: '192.0.2.2',
  spi: 0x00c0ffee,
  encryption,
  encryptionKey: g.bytes(encryptionKeyOctets(encryption, keyLength)),
  integrity: integrityId,
  integrityKey: g.bytes(integrity(integrityId)?.keyLength ?? 0),
});

/** Every suite that can be negotiated, with each of its key lengths. */
const suites = encryptionTransforms().flatMap((transform) => {
  const lengths = transform.keyLengthAttribute === 'required' ? transform.keyLengths : [undefined];
  const integrities = transform.aead ? [0] : integrityTransforms().map(({ id }) => id);
  return lengths.flatMap((keyLength) =>
    integrities.map((id) => ({ name: `${transform.name} ${keyLength ?? ''} ${id}`, id: transform.id, keyLength, integrity: id })),
  );
});

describe('rows of ikev2_decryption_table', () => {
  test('have the columns and names of Wireshark', () => {
    const keys = {
      ...ike(EncryptionId.ENCR_AES_CBC, 128, IntegrityId.AUTH_HMAC_SHA2_256_128),
      SK_ei: fromHex('00'.repeat(16)),
      SK_er: fromHex('11'.repeat(16)),
    };
    const row = formatIkeRow({ ...keys, SK_ai: fromHex('22'.repeat(32)), SK_ar: fromHex('33'.repeat(32)) });
    expect(row).toEqual({
      ok: true,
      row: `0102030405060708,1112131415161718,${'00'.repeat(16)},${'11'.repeat(16)},"AES-CBC-128 [RFC3602]",${'22'.repeat(32)},${'33'.repeat(32)},"HMAC_SHA2_256_128 [RFC4868]"`,
    });
    expect(formatIkeRow(ike(EncryptionId.ENCR_AES_GCM_16, 256)).row).toMatch(
      /,"AES-GCM-256 with 16 octet ICV \[RFC5282\]",,,"NONE \[RFC4306\]"$/,
    );
  });

  test.each(suites.filter(({ id }) => id !== EncryptionId.ENCR_NULL))('come back as they were: $name', (suite) => {
    const keys = ike(suite.id, suite.keyLength, suite.integrity);
    const [parsed, ...more] = parseIkeTable(`${formatIkeRow(keys).row}\n`);
    expect(more).toEqual([]);
    const kind = suite.integrity === 0 ? { kind: 'none' } : { kind: 'transform', id: suite.integrity };
    expect(parsed).toEqual({ ...keys, integrity: kind });
  });

  test('of what Wireshark cannot decrypt are comments to it, with the reason, and still rows to us', () => {
    const keys = ike(EncryptionId.ENCR_CHACHA20_POLY1305, undefined);
    const row = formatIkeRow(keys);
    expect(row).toMatchObject({ ok: false, reason: 'Wireshark cannot decrypt ENCR_CHACHA20_POLY1305; tunnelwright decode can' });
    expect(row.row.startsWith('#')).toBe(true);
    expect(parseIkeTable(row.row)).toHaveLength(1);
    const xcbc = formatIkeRow(ike(EncryptionId.ENCR_AES_CBC, 128, IntegrityId.AUTH_AES_XCBC_96));
    expect(xcbc).toMatchObject({ ok: false, reason: 'Wireshark cannot decrypt AUTH_AES_XCBC_96; tunnelwright decode can' });
  });

  test('of an algorithm nobody knows are not made up', () => {
    expect(() => formatIkeRow({ ...ike(EncryptionId.ENCR_AES_CBC, 128), encryption: 999 })).toThrow(ApiMisuse);
  });
});

describe('rows of esp_sa', () => {
  test('have the columns and names of Wireshark, which wants AES-GCM beside NULL', () => {
    const keys = { ...esp(EncryptionId.ENCR_AES_GCM_16, 128), encryptionKey: fromHex('00'.repeat(20)) };
    expect(formatEspRow(keys)).toEqual({
      ok: true,
      row: `"IPv4","192.0.2.1","192.0.2.2","0x00c0ffee","AES-GCM with 16 octet ICV [RFC4106]","0x${'00'.repeat(20)}","NULL","0x"`,
    });
    expect(formatEspRow({ ...keys, source: 'fd00::1', destination: '*' }).row).toMatch(/^"IPv6","fd00::1","\*",/);
  });

  test.each(suites)('come back as they were: $name', (suite) => {
    const keys = esp(suite.id, suite.keyLength, suite.integrity);
    const [parsed, ...more] = parseEspTable(formatEspRow(keys).row);
    expect(more).toEqual([]);
    const kind = suite.integrity === 0 ? { kind: 'none' } : { kind: 'transform', id: suite.integrity };
    expect(parsed).toEqual({ ...keys, integrity: kind });
  });

  test('of ChaCha20 are comments to Wireshark', () => {
    const row = formatEspRow(esp(EncryptionId.ENCR_CHACHA20_POLY1305, undefined));
    expect(row.ok).toBe(false);
    expect(row.row).toMatch(/^# tunnelwright "IPv4",/);
  });
});

describe('tables', () => {
  test('may hold comments, blank lines, fields without quotes, and more columns than we need', () => {
    const text = '# a comment\r\n\r\n"IPv4","*","*","0x01","NULL","0x","HMAC-SHA-1-96 [RFC2404]",0x000102,"32-bit","0"\r\n';
    expect(parseEspTable(text)).toEqual([
      {
        source: '*',
        destination: '*',
        spi: 1,
        encryption: 11,
        encryptionKey: new Uint8Array(0),
        integrity: { kind: 'transform', id: 2 },
        integrityKey: fromHex('000102'),
      },
    ]);
  });

  test('know an ICV that is not to be checked', () => {
    expect(parseEspTable('"IPv4","*","*","0x1","NULL","0x","ANY 96 bit authentication [no checking]","0x"')[0]?.integrity).toEqual({
      kind: 'unchecked',
      octets: 12,
    });
  });

  test.each([
    ['too few columns', '"IPv4","*","*","0x01"', 'line 2: unknown row: 8 columns are needed'],
    ['quotes that do not close', '"IPv4","*","*","0x01","NULL","0x","NULL","0x', 'line 2: unknown row: 8 columns are needed'],
    ['a foreign cipher', '"IPv4","*","*","0x01","ROT13","0x","NULL","0x"', 'line 2: unknown encryption algorithm of ESP: ROT13'],
    ['a foreign MAC', '"IPv4","*","*","0x01","NULL","0x","CRC","0x"', 'line 2: unknown integrity algorithm of ESP: CRC'],
    ['an SPI that is none', '"IPv4","*","*","0x123456789","NULL","0x","NULL","0x"', 'line 2: unknown SPI: 0x123456789'],
    ['a key that is not hex', '"IPv4","*","*","0x01","NULL","0xzz","NULL","0x"', 'line 2: unknown key or SPI: not in hex'],
  ])('are refused with their line: %s', (_, row, message) => {
    const attempt = (): unknown => parseEspTable(`# head\n${row}\n`, 'esp_sa');
    expect(attempt).toThrow(ConfigError);
    expect(attempt).toThrow(expect.objectContaining({ message, line: 2, file: 'esp_sa' }));
  });

  test.each([
    `00,00,${'ab'.repeat(16)},${'cd'.repeat(16)},"ROT13",,,"NONE [RFC4306]"`,
    `00,${'ab'.repeat(16)},${'cd'.repeat(16)},ffff,${'ab'.repeat(16)},,,"NONE [RFC4306]"`,
    `00,00,${'ab'.repeat(16)}x,${'cd'.repeat(16)},"AES-CBC-128 [RFC3602]",,,"NONE [RFC4306]"`,
  ])('never repeat a key in an error', (row) => {
    try {
      parseIkeTable(row);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      expect(String(error)).not.toMatch(/abab|cdcd/);
    }
  });

  test('a thousand long lines of nothing are refused quickly', () => {
    expectAtOnce(() => {
      expect(() => parseIkeTable(`${'"'.repeat(100_001)}\n`)).toThrow(ConfigError);
      expect(() => parseIkeTable(`${' '.repeat(100_000)}x\n`)).toThrow(ConfigError);
    }, 1000);
  });
});

describeWithShared('tables that strongSwan wrote', 'vectors/captures/strongswan6', () => {
  const text = (path: string): string => new TextDecoder().decode(readShared(path));

  test.each(listShared('vectors/captures/strongswan6', '.ikev2_decryption_table'))('%s', (path) => {
    const rows = text(path).trim().split('\n');
    const keys = parseIkeTable(text(path));
    expect(keys.length).toBe(rows.length);
    // what strongSwan wrote is what we write
    keys.forEach((key, i) => {
      const integrityId = key.integrity.kind === 'transform' ? key.integrity.id : 0;
      expect(formatIkeRow({ ...key, integrity: integrityId })).toEqual({ ok: true, row: rows[i] });
    });
  });

  test.each(listShared('vectors/captures/strongswan6', '.esp_sa'))('%s', (path) => {
    expect(parseEspTable(text(path)).length).toBe(text(path).trim().split('\n').length);
  });
});
