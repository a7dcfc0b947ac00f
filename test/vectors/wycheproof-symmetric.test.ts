import { expect, test } from 'vitest';
import { concat, equalBytes } from '../../src/core/bytes/index.ts';
import { createPacketCipher, equalSecrets, integrity, prf } from '../../src/core/crypto/index.ts';
import { describeWithShared } from '../support/shared.ts';
import { type Case, type Group, hex, tally } from './wycheproof-files.ts';

/** Seals and opens one AEAD case as an IKE message whose head is the AAD; true when both directions agree with the vector. */
function aead(id: number, saltLength: number, keyLength: number | undefined, vector: Case): boolean {
  const [key, nonce, aad, msg, ct, tag] = ['key', 'iv', 'aad', 'msg', 'ct', 'tag'].map((field) => hex(vector, field)) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  const cipher = createPacketCipher({ encryption: id, keyLength, encryptionKey: concat(key, nonce.subarray(0, saltLength)) });
  const sealed = concat(aad, nonce.subarray(saltLength), ct, tag);
  const opened = new Uint8Array(sealed);
  const end = cipher.open(opened, 0, aad.length, opened.length);
  if (end < 0) {
    expect(opened, 'a refused packet stays as it was').toEqual(sealed);
    return false;
  }
  expect(opened.subarray(aad.length + 8, end)).toEqual(msg);
  const packet = new Uint8Array(sealed.length);
  packet.set(concat(aad, nonce.subarray(saltLength), msg));
  expect(cipher.seal(packet, 0, aad.length, sealed.length - tag.length)).toBe(sealed.length);
  return equalBytes(packet, sealed);
}

describeWithShared('Wycheproof: packet ciphers', 'vectors/wycheproof', () => {
  test('AES-GCM with the nonce of RFC 4106', () => {
    const ids: Record<number, number> = { 64: 18, 96: 19, 128: 20 };
    const result = tally('aes_gcm.json', (group, vector) => aead(ids[group.tagSize as number]!, 4, group.keySize as number, vector), {
      skip: (group) => (group.ivSize !== 96 ? 'nonce is not of 96 bits: ESP and IKE have salt and IV of 4 and 8 octets' : undefined),
    });
    expect(result.wrong).toEqual([]);
    expect(result.judged).toBeGreaterThan(100);
  });

  test('AES-CCM with the nonce of RFC 4309', () => {
    const ids: Record<number, number> = { 64: 14, 96: 15, 128: 16 };
    const result = tally('aes_ccm.json', (group, vector) => aead(ids[group.tagSize as number]!, 3, group.keySize as number, vector), {
      skip: (group) => {
        if (group.ivSize !== 88) return 'nonce is not of 88 bits: ESP and IKE have salt and IV of 3 and 8 octets';
        return ids[group.tagSize as number] === undefined ? 'no transform has a tag of this length' : undefined;
      },
    });
    expect(result.wrong).toEqual([]);
    expect(result.judged).toBeGreaterThan(5);
  });

  test('Camellia-CCM with the nonce of RFC 5529', () => {
    const result = tally('camellia_ccm.json', (group, vector) => aead(27, 3, group.keySize as number, vector), {
      skip: (group) => {
        if (group.ivSize !== 88) return 'nonce is not of 88 bits: ESP and IKE have salt and IV of 3 and 8 octets';
        return group.tagSize !== 128 ? 'no transform has a tag of this length' : undefined;
      },
    });
    expect(result.wrong).toEqual([]);
    expect(result.judged).toBeGreaterThan(5);
  });

  test('AES-GMAC with the nonce of RFC 4543, as the integrity transform of AH', () => {
    const ids: Record<number, number> = { 128: 9, 192: 10, 256: 11 };
    const result = tally(
      'aes_gmac.json',
      (group, vector) => {
        const [key, nonce, message, tag] = ['key', 'iv', 'msg', 'tag'].map((field) => hex(vector, field)) as [
          Uint8Array,
          Uint8Array,
          Uint8Array,
          Uint8Array,
        ];
        const [encryptionKey, iv] = [concat(key, nonce.subarray(0, 4)), nonce.subarray(4)];
        const whole = integrity(ids[group.keySize as number]!)!.compute(encryptionKey, iv, message.subarray(0, 5), message.subarray(5));
        return equalSecrets(whole, tag);
      },
      { skip: (group) => (group.ivSize !== 96 ? 'nonce is not of 96 bits: ESP and AH have salt and IV of 4 and 8 octets' : undefined) },
    );
    expect(result.wrong).toEqual([]);
    expect(result.judged).toBeGreaterThan(100);
  });

  test('Camellia-CBC: the plaintext is right, and padding that PKCS #5 forbids is seen by whoever checks padding', () => {
    const result = tally('camellia_cbc_pkcs5.json', (group, vector) => cbcWithPkcs5(group, vector, 23));
    expect(result.wrong).toEqual([]);
    expect(result.judged).toBeGreaterThan(100);
  });

  test('ChaCha20-Poly1305 with the nonce of RFC 7634', () => {
    const result = tally('chacha20_poly1305.json', (_, vector) => aead(28, 4, undefined, vector), {
      skip: (group) => (group.ivSize !== 96 ? 'nonce is not of 96 bits: ESP and IKE have salt and IV of 4 and 8 octets' : undefined),
    });
    expect(result.wrong).toEqual([]);
    expect(result.judged).toBeGreaterThan(100);
  });

  test('AES-CBC: the plaintext is right, and padding that PKCS #5 forbids is seen by whoever checks padding', () => {
    const result = tally('aes_cbc_pkcs5.json', (group, vector) => cbcWithPkcs5(group, vector));
    expect(result.wrong).toEqual([]);
    expect(result.judged).toBeGreaterThan(100);
  });
});

function cbcWithPkcs5(group: Group, vector: Case, encryption = 12): boolean {
  const cipher = createPacketCipher({
    encryption,
    keyLength: group.keySize as number,
    encryptionKey: hex(vector, 'key'),
    integrity: 2,
    integrityKey: MAC_KEY,
  });
  const head = concat(hex(vector, 'iv'), hex(vector, 'ct'));
  const packet = concat(head, integrity(2)!.compute(MAC_KEY, head));
  const end = cipher.open(packet, 0, 0, packet.length);
  if (end < 0) return false;
  const plaintext = packet.subarray(16, end);
  const padding = plaintext.at(-1) ?? 0;
  if (padding < 1 || padding > 16 || padding > plaintext.length || plaintext.subarray(-padding).some((octet) => octet !== padding))
    return false;
  return equalBytes(plaintext.subarray(0, -padding), hex(vector, 'msg'));
}

const MAC_KEY = new Uint8Array(20).fill(7);

describeWithShared('Wycheproof: MACs', 'vectors/wycheproof', () => {
  const macs = [
    { file: 'hmac_sha1.json', prfId: 2, integrityId: 2 },
    { file: 'hmac_sha256.json', prfId: 5, integrityId: 12 },
    { file: 'hmac_sha384.json', prfId: 6, integrityId: 13 },
    { file: 'hmac_sha512.json', prfId: 7, integrityId: 14 },
    { file: 'aes_cmac.json', prfId: 8, integrityId: 8 },
  ];
  for (const { file, prfId, integrityId } of macs) {
    test(`${file} through the PRF and the integrity transform`, () => {
      const function_ = prf(prfId)!;
      const transform = integrity(integrityId)!;
      const result = tally(
        file,
        (group, vector) => {
          const key = hex(vector, 'key');
          const full = function_.compute(key, hex(vector, 'msg'));
          if (key.length === transform.keyLength)
            expect(transform.compute(key, hex(vector, 'msg'))).toEqual(full.slice(0, transform.icvLength));
          return equalSecrets(full.subarray(0, (group.tagSize as number) / 8), hex(vector, 'tag'));
        },
        {
          skip: (group) =>
            file === 'aes_cmac.json' && group.keySize !== 128
              ? 'AES-CMAC of IKE has keys of 128 bits; others are shortened first (RFC 4615)'
              : undefined,
        },
      );
      expect(result.wrong).toEqual([]);
      expect(result.judged).toBeGreaterThan(40);
    });
  }
});
