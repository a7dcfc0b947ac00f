import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fromHex, toHex } from '../../../src/core/bytes/index.ts';
import { createPacketCipher, encryption, integrity } from '../../../src/core/crypto/index.ts';
import { classifyEncapsulated, InboundSa, OpenedPacket, spiOf } from '../../../src/core/esp/index.ts';
import { IpView, ipPacketOf, readCapture } from '../../../src/core/packet/index.ts';
import { describeWithShared, listShared, readShared, readSharedJson, sharedPath } from '../../support/shared.ts';
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

describeWithShared('3DES of ESP, recorded with its keys', 'vectors/captures/keys.json', () => {
  interface Recording {
    readonly file: string;
    readonly sas: readonly { readonly spi: string; readonly encr: string; readonly encr_key: string }[];
    readonly decrypted: readonly { readonly frame: number; readonly spi: string; readonly seq: number; readonly plaintext_hex: string }[];
  }
  const { esp } = readSharedJson('vectors/captures/keys.json') as { readonly esp: readonly Recording[] };

  test.each(esp.map((recording) => [recording.file, recording] as const))('%s', (_, { file, sas, decrypted }) => {
    const packets = [...readCapture(readShared(`vectors/captures/${file}`))];
    const opened = new OpenedPacket();
    const inbound = new Map(sas.map(({ spi, encr_key }) => [spi, tripleDes(spi, encr_key)]));
    expect(sas.map(({ encr }) => encr)).toEqual(sas.map(() => '3des-cbc'));
    for (const { frame, spi, seq, plaintext_hex } of decrypted) {
      const { linkType, data } = packets[frame - 1]!;
      const view = new IpView();
      expect(view.parse(ipPacketOf(linkType, data)!)).toBe(true);
      // The key of the ICV was not published: ours takes its place.
      const packet = ipPacketOf(linkType, data)!.slice(view.payload, view.end);
      packet.set(integrity(2)!.compute(MAC_KEY, packet.subarray(0, -12)), packet.length - 12);
      expect(inbound.get(spi)!.open(packet, opened)).toBe('ok');
      expect(opened.sequenceLow).toBe(seq);
      expect(toHex(packet.subarray(opened.start, opened.start + opened.length))).toBe(plaintext_hex);
    }
    expect(decrypted.length).toBeGreaterThan(0);
  });

  const MAC_KEY = new Uint8Array(20);
  const tripleDes = (spi: string, key: string): InboundSa =>
    new InboundSa({
      spi: Number(spi),
      cipher: createPacketCipher({ encryption: 3, encryptionKey: fromHex(key), integrity: 2, integrityKey: MAC_KEY }),
      esn: false,
    });
});
