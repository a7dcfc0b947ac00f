import { createCipheriv } from 'node:crypto';
import { expect, test } from 'vitest';
import { concat, fromHex, toHex } from '../../src/core/bytes/index.ts';
import { createPacketCipher, encryption, integrity, keyExchange, keyExchangeMethods, prf, prfPlus } from '../../src/core/crypto/index.ts';
import { InboundSa, OpenedPacket, OutboundSa } from '../../src/core/esp/index.ts';
import { describeWithShared, listShared, readSharedJson } from '../support/shared.ts';

type Vector = Readonly<Record<string, string>> & { readonly key_size: number; readonly salt_size: number };

const FOLDER = 'vectors/crypto/strongswan';
const vectors = (file: string): readonly Vector[] => readSharedJson(`${FOLDER}/${file}`) as readonly Vector[];
const all = (): readonly Vector[] => listShared(FOLDER, '.json').flatMap((path) => readSharedJson(path) as readonly Vector[]);

/** The project's id of an algorithm as the vectors name it. */
const ENCRYPTION: Readonly<Record<string, number>> = {
  ENCR_3DES: 3,
  ENCR_AES_CBC: 12,
  ENCR_AES_CTR: 13,
  ENCR_AES_CCM_ICV8: 14,
  ENCR_AES_CCM_ICV12: 15,
  ENCR_AES_CCM_ICV16: 16,
  ENCR_AES_GCM_ICV8: 18,
  ENCR_AES_GCM_ICV12: 19,
  ENCR_AES_GCM_ICV16: 20,
  ENCR_CAMELLIA_CBC: 23,
  ENCR_CAMELLIA_CTR: 24,
  ENCR_CHACHA20_POLY1305: 28,
};
const PRFS: Readonly<Record<string, number>> = {
  PRF_HMAC_SHA1: 2,
  PRF_AES128_XCBC: 4,
  PRF_HMAC_SHA2_256: 5,
  PRF_HMAC_SHA2_384: 6,
  PRF_HMAC_SHA2_512: 7,
  PRF_AES128_CMAC: 8,
};
const INTEGRITY: Readonly<Record<string, number>> = {
  AUTH_HMAC_SHA1_96: 2,
  AUTH_AES_XCBC_96: 5,
  AUTH_AES_CMAC_96: 8,
  AUTH_HMAC_SHA2_256_128: 12,
  AUTH_HMAC_SHA2_384_192: 13,
  AUTH_HMAC_SHA2_512_256: 14,
};
const METHODS: Readonly<Record<string, number>> = {
  MODP_2048_BIT: 14,
  MODP_3072_BIT: 15,
  ECP_256_BIT: 19,
  ECP_384_BIT: 20,
  ECP_521_BIT: 21,
  MODP_2048_256: 24,
  ECP_224_BP: 27,
  ECP_256_BP: 28,
  ECP_384_BP: 29,
  ECP_512_BP: 30,
  CURVE_25519: 31,
  CURVE_448: 32,
  ML_KEM_512: 35,
  ML_KEM_768: 36,
  ML_KEM_1024: 37,
};
/** What has no entry in our tables, each on purpose: weak, legacy, or not for IPsec. A new name in the vectors must be decided here. */
const NOT_SPOKEN = [
  'AUTH_CAMELLIA_XCBC_96',
  'PRF_CAMELLIA128_XCBC',
  'PRF_FIPS_SHA1_160',
  'PRF_HMAC_MD5',
  'AUTH_HMAC_MD5_96',
  'AUTH_HMAC_MD5_128',
  'AUTH_HMAC_SHA1_128',
  'AUTH_HMAC_SHA1_160',
  'HASH_MD4',
  'HASH_SHA224',
  'HASH_SHA256',
  'HASH_SHA384',
  'HASH_SHA512',
];

const bytes = (vector: Vector, field: string): Uint8Array => fromHex(vector[field] ?? '');

describeWithShared('vectors of the RFCs, collected', FOLDER, () => {
  test('every algorithm among them is either spoken or left out on purpose', () => {
    const names = new Set(all().map((vector) => vector.alg ?? vector.method ?? ''));
    const spoken = { ...ENCRYPTION, ...PRFS, ...INTEGRITY, ...METHODS };
    const undecided = [...names].filter((name) => !(name in spoken) && !NOT_SPOKEN.includes(name) && !name.startsWith('KDF_'));
    expect(undecided).toEqual([]);
    expect(NOT_SPOKEN.filter((name) => !names.has(name))).toEqual([]);
  });

  const ofKind = (kind: string, table: Readonly<Record<string, number>>) =>
    all().filter((vector) => vector.kind === kind && (vector.alg ?? vector.method ?? '') in table);

  test.each(ofKind('crypter', ENCRYPTION).map((vector) => [vector.id, vector] as const))('%s: cipher beside a MAC', (_, vector) => {
    const id = ENCRYPTION[vector.alg!]!;
    const key = bytes(vector, 'key_hex');
    const cipher = createPacketCipher({
      encryption: id,
      keyLength: encryption(id)!.keyLengthAttribute === 'absent' ? undefined : (key.length - encryption(id)!.saltLength) * 8,
      encryptionKey: key,
      integrity: 2,
      integrityKey: new Uint8Array(20),
    });
    const iv = bytes(vector, 'iv_hex');
    const plain = bytes(vector, 'plain_hex');
    const packet = concat(iv, plain, new Uint8Array(cipher.icvLength));
    const end = iv.length + plain.length;
    expect(cipher.seal(packet, 0, 0, end)).toBe(packet.length);
    expect(toHex(packet.subarray(iv.length, end))).toBe(vector.cipher_hex);
    expect(cipher.open(packet, 0, 0, packet.length)).toBe(end);
    expect(packet.subarray(iv.length, end)).toEqual(plain);
  });

  test.each(ofKind('aead', ENCRYPTION).map((vector) => [vector.id, vector] as const))('%s: AEAD', (_, vector) => {
    const id = ENCRYPTION[vector.alg!]!;
    // One vector carries more octets than its key and salt take.
    const key = bytes(vector, 'key_hex').subarray(0, vector.key_size + vector.salt_size);
    const keyLength = id === 28 ? undefined : (key.length - encryption(id)!.saltLength) * 8;
    const cipher = createPacketCipher({ encryption: id, keyLength, encryptionKey: key });
    const head = bytes(vector, 'adata_hex');
    const iv = bytes(vector, 'iv_hex');
    const plain = bytes(vector, 'plain_hex');
    const packet = concat(head, iv, plain, new Uint8Array(cipher.icvLength));
    expect(cipher.seal(packet, 0, head.length, packet.length - cipher.icvLength)).toBe(packet.length);
    expect(toHex(packet.subarray(head.length + iv.length))).toBe(vector.cipher_hex);
    expect(cipher.open(packet, 0, head.length, packet.length)).toBe(packet.length - cipher.icvLength);
    expect(packet.subarray(head.length + iv.length, packet.length - cipher.icvLength)).toEqual(plain);
  });

  test.each(ofKind('prf', PRFS).map((vector) => [vector.id, vector] as const))('%s: PRF', (_, vector) => {
    const seed = bytes(vector, 'seed_hex');
    const function_ = prf(PRFS[vector.alg!]!)!;
    expect(toHex(function_.compute(bytes(vector, 'key_hex'), seed))).toBe(vector.out_hex);
    // In parts it is the same function.
    expect(toHex(function_.compute(bytes(vector, 'key_hex'), seed.subarray(0, 3), seed.subarray(3)))).toBe(vector.out_hex);
  });

  test.each(ofKind('signer', INTEGRITY).map((vector) => [vector.id, vector] as const))('%s: integrity', (_, vector) => {
    const transform = integrity(INTEGRITY[vector.alg!]!)!;
    const icv = transform.compute(bytes(vector, 'key_hex'), bytes(vector, 'data_hex'));
    // Some vectors give more of the MAC than the transform sends.
    expect(icv).toEqual(bytes(vector, 'mac_hex').slice(0, transform.icvLength));
    expect(icv.length).toBe(transform.icvLength);
  });

  test.each([...vectors('kdf_prf.json'), ...vectors('kdf_prf_plus.json')].map((vector) => [vector.id, vector] as const))(
    '%s: key derivation',
    (_, vector) => {
      const function_ = prf(PRFS[vector['arg.prf']!]!)!;
      const output = bytes(vector, 'out_hex');
      // For KDF_PRF the salt is the key: SKEYSEED = prf(Ni | Nr, g^ir).
      if (vector.alg === 'KDF_PRF') expect(function_.compute(bytes(vector, 'salt_hex'), bytes(vector, 'key_hex'))).toEqual(output);
      else expect(prfPlus(function_, bytes(vector, 'key_hex'), bytes(vector, 'salt_hex'), output.length)).toEqual(output);
    },
  );

  const exchanges = ofKind('ke', METHODS).filter((vector) => !vector.method!.startsWith('ML_KEM'));
  test.each(exchanges.map((vector) => [vector.id, vector] as const))('%s: key exchange', (_, vector) => {
    const method = keyExchange(METHODS[vector.method!]!)!;
    const seeds = bytes(vector, 'seed_hex');
    expect(seeds.length).toBe(2 * method.seedLength);
    const offer = method.offer(seeds.subarray(0, method.seedLength));
    expect(toHex(offer.publicValue)).toBe(vector.pub_i_hex);
    const answer = method.accept(offer.publicValue, seeds.subarray(method.seedLength));
    expect(toHex(answer.publicValue)).toBe(vector.pub_r_hex);
    expect(toHex(answer.sharedSecret)).toBe(vector.shared_hex);
    expect(toHex(offer.finish(answer.publicValue))).toBe(vector.shared_hex);
  });

  test.each(vectors('ml_kem.json').map((vector) => [vector.id, vector] as const))(
    '%s: ML-KEM from the known-answer generator',
    (_, vector) => {
      const method = keyExchange(METHODS[vector.method!]!)!;
      const draw = knownAnswerGenerator(bytes(vector, 'seed_hex'));
      const offer = method.offer(draw(64));
      expect(toHex(offer.publicValue)).toBe(vector.pub_i_hex);
      const answer = method.accept(offer.publicValue, concat(draw(32), new Uint8Array(32)));
      expect(toHex(answer.publicValue)).toBe(vector.pub_r_hex);
      expect(toHex(answer.sharedSecret)).toBe(vector.shared_hex);
      expect(toHex(offer.finish(answer.publicValue))).toBe(vector.shared_hex);
    },
  );

  test('every kind of vector was looked at', () => {
    expect(ofKind('crypter', ENCRYPTION).length).toBeGreaterThanOrEqual(9);
    expect(ofKind('aead', ENCRYPTION).length).toBeGreaterThanOrEqual(30);
    expect(ofKind('prf', PRFS).length).toBeGreaterThanOrEqual(15);
    expect(ofKind('signer', INTEGRITY).length).toBeGreaterThanOrEqual(10);
    expect(exchanges.length).toBeGreaterThanOrEqual(8);
  });
});

/** CTR_DRBG of SP 800-90A with AES-256 and no derivation function, from which NIST's known-answer files draw. */
function knownAnswerGenerator(entropy: Uint8Array): (length: number) => Uint8Array {
  let key: Uint8Array = new Uint8Array(32);
  let counter = 0n;
  const blocks = (length: number): Uint8Array => {
    const inputs: Uint8Array[] = [];
    for (let i = 0; i < length / 16; i++) {
      counter = (counter + 1n) & ((1n << 128n) - 1n);
      inputs.push(fromHex(counter.toString(16).padStart(32, '0')));
    }
    return new Uint8Array(
      createCipheriv('aes-256-ecb', key, null)
        .setAutoPadding(false)
        .update(concat(...inputs)),
    );
  };
  const update = (data: Uint8Array): void => {
    const next = blocks(48).map((octet, i) => octet ^ data[i]!);
    key = next.slice(0, 32);
    counter = BigInt(`0x${toHex(next.slice(32))}`);
  };
  update(entropy);
  return (length) => {
    const output = blocks(Math.ceil(length / 16) * 16).slice(0, length);
    update(new Uint8Array(48));
    return output;
  };
}

describeWithShared('NIST IKEv2 key derivation chains', 'vectors/crypto/nist-ikev2-kdf.json', () => {
  const chains = readSharedJson('vectors/crypto/nist-ikev2-kdf.json') as readonly Readonly<Record<string, string>>[];
  test.each(chains.map((chain) => [chain.hash, chain] as const))('%s', (hash, chain) => {
    const function_ = prf(hash === 'SHA-1' ? 2 : 5)!;
    const [Ni, Nr, g_ir, g_ir_new, SPIi, SPIr] = ['Ni', 'Nr', 'g_ir', 'g_ir_new', 'SPIi', 'SPIr'].map((field) =>
      fromHex(chain[field]!),
    ) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    const length = Number(chain.dkm_bits) / 8;
    const SKEYSEED = function_.compute(concat(Ni, Nr), g_ir);
    expect(toHex(SKEYSEED)).toBe(chain.SKEYSEED);
    const DKM = prfPlus(function_, SKEYSEED, concat(Ni, Nr, SPIi, SPIr), length);
    expect(toHex(DKM)).toBe(chain.DKM);
    const SK_d = DKM.subarray(0, function_.keyLength);
    expect(toHex(prfPlus(function_, SK_d, concat(Ni, Nr), chain.DKM_child_sa!.length / 2))).toBe(chain.DKM_child_sa);
    expect(toHex(prfPlus(function_, SK_d, concat(g_ir_new, Ni, Nr), chain.DKM_child_sa_dh!.length / 2))).toBe(chain.DKM_child_sa_dh);
    expect(toHex(function_.compute(SK_d, g_ir_new, Ni, Nr))).toBe(chain.SKEYSEED_rekey);
  });
});

describeWithShared('RFC 5903 §8.1', 'vectors/crypto/rfc5903-p256.json', () => {
  const vector = readSharedJson('vectors/crypto/rfc5903-p256.json') as Readonly<Record<string, string>>;
  test('ECP_256 as x | y, the secret is the x coordinate', () => {
    const method = keyExchange(19)!;
    const offer = method.offer(fromHex(vector.i!));
    expect(offer.publicValue).toEqual(fromHex(vector.gix! + vector.giy!));
    const answer = method.accept(offer.publicValue, fromHex(vector.r!));
    expect(answer.publicValue).toEqual(fromHex(vector.grx! + vector.gry!));
    expect(answer.sharedSecret).toEqual(fromHex(vector.girx!));
    expect(offer.finish(answer.publicValue)).toEqual(fromHex(vector.girx!));
  });
});

describeWithShared('RFC 7634 appendices', 'vectors/crypto/rfc7634.json', () => {
  const vector = readSharedJson('vectors/crypto/rfc7634.json') as {
    readonly esp: Readonly<Record<string, string>> & { readonly seq: number };
    readonly ike: Readonly<Record<string, string>>;
  };

  test('A: the ESP packet opens to the inner packet', () => {
    const { esp } = vector;
    const sa = new InboundSa({
      spi: 0x01020304,
      cipher: createPacketCipher({ encryption: 28, encryptionKey: fromHex(esp.keymat!) }),
      esn: false,
    });
    const opened = new OpenedPacket();
    const packet = fromHex(esp.esp_packet!);
    expect(sa.open(packet, opened)).toBe('ok');
    expect([opened.nextHeader, opened.sequenceLow]).toEqual([4, esp.seq]);
    expect(toHex(packet.subarray(opened.start, opened.start + opened.length))).toBe(esp.inner_packet);
    expect(sa.open(fromHex(esp.esp_packet!), opened)).toBe('replay');
  });

  test('A: sealed with the same IV, the packet is the same', () => {
    const { esp } = vector;
    const cipher = createPacketCipher({ encryption: 28, encryptionKey: fromHex(esp.keymat!) });
    const inner = fromHex(esp.inner_packet!);
    const body = concat(inner, Uint8Array.of(1, 2, 2, 4));
    const packet = concat(fromHex(esp.spi!), Uint8Array.of(0, 0, 0, esp.seq), fromHex(esp.iv!), body, new Uint8Array(16));
    expect(cipher.seal(packet, 0, 8, packet.length - 16)).toBe(packet.length);
    expect(toHex(packet)).toBe(esp.esp_packet);
    // Our own outbound SA counts its IV, so only the rest of the layout can be compared.
    const sa = new OutboundSa({ spi: 0x01020304, cipher, esn: false, resume: { sequenceHigh: 0, sequenceLow: esp.seq - 1 } });
    const ours = new Uint8Array(sa.sealedLength(inner.length));
    expect(sa.seal(inner, 4, ours, 0)).toBe(packet.length);
    expect(ours.subarray(0, 8)).toEqual(packet.subarray(0, 8));
  });

  test('B: the IKE message opens to the SET_WINDOW_SIZE notify', () => {
    const { ike } = vector;
    const cipher = createPacketCipher({ encryption: 28, encryptionKey: fromHex(ike.keymat!) });
    const message = fromHex(ike.message!);
    const end = cipher.open(message, 0, 32, message.length);
    expect(end).toBe(message.length - 16);
    expect(toHex(message.subarray(32, 40))).toBe(ike.iv);
    // N(SET_WINDOW_SIZE) 16385, window 10, then Pad Length 0.
    expect(toHex(message.subarray(40, end))).toBe('0000000c000040010000000a00');
  });
});

test('no key exchange method of the registry is without a vector, MODP groups of other sizes aside', () => {
  // Those of RFC 5114 are in opt-in.test.ts.
  const tested = new Set([...Object.values(METHODS), 22, 23, 25, 26]);
  expect(
    keyExchangeMethods()
      .filter(({ id }) => !tested.has(id))
      .map(({ name }) => name),
  ).toEqual(['MODP_1024', 'MODP_1536', 'MODP_4096', 'MODP_6144', 'MODP_8192']);
});
