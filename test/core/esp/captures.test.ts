import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../../src/core/bytes/index.ts';
import { createPacketCipher, encryption, integrity } from '../../../src/core/crypto/index.ts';
import { classifyEncapsulated, InboundSa, OpenedPacket, spiOf } from '../../../src/core/esp/index.ts';
import { describeWithShared, hasShared, listShared, readShared, sharedPath } from '../../support/shared.ts';
import { udpPayloads } from '../crypto/recording.ts';

const FOLDER = 'vectors/captures/strongswan6';

const ENCRYPTION: Readonly<Record<string, number>> = { 'AES-GCM [RFC4106]': 20, 'AES-CBC [RFC3602]': 12, 'AES-CTR [RFC3686]': 13 };
const INTEGRITY: Readonly<Record<string, number>> = {
  'HMAC-SHA-256-128 [RFC4868]': 12,
  'HMAC-SHA-384-192 [RFC4868]': 13,
  'HMAC-SHA-512-256 [RFC4868]': 14,
};

/** One inbound SA per line of Wireshark's table. */
function securityAssociations(table: string): Map<number, InboundSa> {
  const sas = new Map<number, InboundSa>();
  for (const line of table.split('\n')) {
    const fields = [...line.matchAll(/"([^"]*)"/g)].map((match) => match[1]!);
    if (fields.length < 8) continue;
    const id = ENCRYPTION[fields[4]!]!;
    const encryptionKey = fromHex(fields[5]!.slice(2));
    const transform = encryption(id)!;
    const mac = transform.aead ? undefined : integrity(INTEGRITY[fields[6]!]!)!;
    const cipher = createPacketCipher({
      encryption: id,
      keyLength: (encryptionKey.length - transform.saltLength) * 8,
      encryptionKey,
      integrity: mac?.id,
      integrityKey: mac === undefined ? undefined : fromHex(fields[7]!.slice(2)),
    });
    sas.set(Number(fields[3]), new InboundSa({ spi: Number(fields[3]), cipher, esn: ESN }));
  }
  return sas;
}

/** What strongSwan's defaults negotiated in these recordings. */
const ESN = false;

describeWithShared('ESP of strongSwan 6, recorded with its keys', FOLDER, () => {
  const recordings = listShared(FOLDER, '.esp_sa').map((path) => path.replace(/\.esp_sa$/, ''));
  test.each(recordings)('%s', (path) => {
    const sas = securityAssociations(readFileSync(sharedPath(`${path}.esp_sa`), 'utf8'));
    const seen = new Set<string>();
    const opened = new OpenedPacket();
    let packets = 0;
    let ike = 0;
    for (const payload of udpPayloads(readShared(`${path}.pcap`))) {
      const kind = classifyEncapsulated(payload);
      if (kind === 'ike') ike++;
      if (kind !== 'esp' || seen.has(toHex(payload))) continue;
      const sa = sas.get(spiOf(payload));
      if (sa === undefined) continue;
      seen.add(toHex(payload));
      const forged = new Uint8Array(payload);
      forged[20]! ^= 0x10;
      expect(sa.open(forged, opened)).toBe('icv');
      expect(sa.open(payload, opened)).toBe('ok');
      packets++;
      // Tunnel mode: an IP packet that fills the payload to the last octet.
      const inner = payload.subarray(opened.start, opened.start + opened.length);
      expect(opened.nextHeader).toBe(inner[0]! >> 4 === 4 ? 4 : 41);
      expect(opened.length).toBe(inner[0]! >> 4 === 4 ? (inner[2]! << 8) | inner[3]! : 40 + ((inner[4]! << 8) | inner[5]!));
    }
    expect(packets).toBeGreaterThan(3);
    expect(ike).toBeGreaterThan(3);
    expect([...sas.values()].reduce((sum, sa) => sum + sa.packets, 0)).toBe(packets);
  });

  test('recordings of CBC, CTR and GCM are among them', () => {
    const tables = recordings.map((path) => readFileSync(sharedPath(`${path}.esp_sa`), 'utf8')).join('');
    for (const name of Object.keys(ENCRYPTION)) expect(tables).toContain(name);
  });
});

describe.runIf(hasShared('vectors/captures/keys.json'))('published ESP keys', () => {
  test('are all of 3DES, which is not among our transforms', () => {
    const { esp } = JSON.parse(readFileSync(sharedPath('vectors/captures/keys.json'), 'utf8')) as { esp: { sas: { encr: string }[] }[] };
    expect(new Set(esp.flatMap(({ sas }) => sas.map(({ encr }) => encr)))).toEqual(new Set(['3des-cbc']));
    expect(encryption(3)).toBeUndefined();
  });
});
