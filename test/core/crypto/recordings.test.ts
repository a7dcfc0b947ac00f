import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { concat, fromHex, toHex } from '../../../src/core/bytes/index.ts';
import { createPacketCipher, encryption, integrity, type PacketCipher } from '../../../src/core/crypto/index.ts';
import { describeWithShared, listShared, readShared, sharedPath } from '../../support/shared.ts';
import { udpPayloads } from './recording.ts';

const FOLDER = 'vectors/captures/strongswan6';
const ENCRYPTION: Readonly<Record<string, number>> = { 'AES-GCM': 20, 'AES-CBC': 12, 'AES-CTR': 13 };
const INTEGRITY: Readonly<Record<string, number>> = { HMAC_SHA2_256_128: 12, HMAC_SHA2_384_192: 13, HMAC_SHA2_512_256: 14 };

interface Keys {
  readonly spis: string;
  readonly fromInitiator: PacketCipher;
  readonly fromResponder: PacketCipher;
}

/** One line per set of IKE keys, as Wireshark has them; with several key exchanges an IKE SA has several. */
function keysOf(table: string): readonly Keys[] {
  return table
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const fields = line.split(',').map((field) => field.replaceAll('"', ''));
      const [spiI, spiR, SK_ei, SK_er, encryptionName, SK_ai, SK_ar, integrityName] = fields as [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
      ];
      const transform = encryption(ENCRYPTION[encryptionName.slice(0, 7)]!)!;
      const mac = transform.aead ? undefined : integrity(INTEGRITY[integrityName.split(' ')[0]!]!)!;
      const cipher = (key: string, macKey: string): PacketCipher =>
        createPacketCipher({
          encryption: transform.id,
          keyLength: (key.length / 2 - transform.saltLength) * 8,
          encryptionKey: fromHex(key),
          integrity: mac?.id,
          integrityKey: mac === undefined ? undefined : fromHex(macKey),
        });
      return { spis: spiI + spiR, fromInitiator: cipher(SK_ei, SK_ai), fromResponder: cipher(SK_er, SK_ar) };
    });
}

/** Octets in front of the IV when the message is one SK or SKF payload; undefined for the others. */
function headOf(message: Uint8Array): number | undefined {
  if (message[16] === 46) return 32;
  return message[16] === 53 ? 36 : undefined;
}

describeWithShared('IKE of strongSwan 6, recorded with its keys', FOLDER, () => {
  const recordings = listShared(FOLDER, '.ikev2_decryption_table').map((path) => path.replace(/\.ikev2_decryption_table$/, ''));
  test.each(recordings)('%s: every protected message opens under one set of keys, and seals back to the same octets', (path) => {
    const keys = keysOf(readFileSync(sharedPath(`${path}.ikev2_decryption_table`), 'utf8'));
    const used = new Set<Keys>();
    let opened = 0;
    for (const payload of udpPayloads(readShared(`${path}.pcap`))) {
      const message = payload.subarray(0, 4).every((octet) => octet === 0) ? payload.subarray(4) : payload;
      const spis = toHex(message.subarray(0, 16));
      const candidates = keys.filter((set) => set.spis === spis);
      const head = headOf(message);
      if (candidates.length === 0 || head === undefined) continue;
      const fits = candidates.filter((set) => {
        const cipher = (message[19]! & 0x08) !== 0 ? set.fromInitiator : set.fromResponder;
        const copy = new Uint8Array(message);
        const end = cipher.open(copy, 0, head, copy.length);
        if (end < 0) return false;
        // RFC 7296 §3.14: padding fills the block.
        expect(copy[end - 1]!).toBeLessThan(end - head - cipher.ivLength);
        const again = concat(copy.subarray(0, end), new Uint8Array(cipher.icvLength));
        cipher.seal(again, 0, head, end);
        expect(again).toEqual(new Uint8Array(message));
        used.add(set);
        return true;
      });
      expect(fits).toHaveLength(1);
      opened++;
    }
    expect(opened).toBeGreaterThan(3);
    expect(used.size).toBe(keys.length);
  });
});
