import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { concat, equalBytes, toHex } from '../../src/core/bytes/bytes.ts';
import { createPacketCipher, type PacketCipher } from '../../src/core/crypto/index.ts';
import {
  type Message,
  openFragment,
  openMessage,
  type Protection,
  parseMessage,
  parseProtected,
  sealFragments,
  sealMessage,
} from '../../src/core/wire/index.ts';
import { type DecodedPacket, decodeCapture, type IkeKeys, parseEspTable, parseIkeTable } from '../../src/product/explain/index.ts';
import { ikeDatagrams } from '../support/captures.ts';
import { describeWithShared, hasShared, listShared, readShared } from '../support/shared.ts';

const FOLDER = 'vectors/captures/strongswan6';

const textOf = (path: string): string => (hasShared(path) ? new TextDecoder().decode(readShared(path)) : '');
const keysOf = (path: string): IkeKeys[] => parseIkeTable(textOf(path.replace(/pcap$/, 'ikev2_decryption_table')));

function decode(path: string): readonly DecodedPacket[] {
  const espKeys = parseEspTable(textOf(path.replace(/pcap$/, 'esp_sa')));
  const { packets, damage } = decodeCapture(readShared(path), { ikeKeys: keysOf(path), espKeys });
  expect(damage).toBeUndefined();
  return packets;
}

const all = listShared(FOLDER, '.pcap');
const withKeys = all.filter((path) => hasShared(path.replace(/pcap$/, 'ikev2_decryption_table')));
const named = (name: string): string => `${FOLDER}/${name}.pcap`;

/** Whole messages in the order of the capture: `IKE_AUTH request 1  { … }`. */
const summaries = (path: string): string[] =>
  decode(path).flatMap(({ ike, summary }) => (ike === undefined || ike.protection === 'fragment' ? [] : [summary]));

describeWithShared('strongSwan 6 with its key tables', FOLDER, () => {
  test('captures with and without tables are there', () => {
    expect(withKeys.length).toBeGreaterThan(5);
    expect(all.length).toBeGreaterThan(withKeys.length);
  });

  test.each(withKeys)('%s: every protected message opens, and says nothing strange', (path) => {
    const packets = decode(path);
    const ike = packets.filter((packet) => packet.kind === 'ike');
    expect(ike.length).toBeGreaterThan(5);
    for (const packet of packets) {
      expect(['ike', 'esp', 'keepalive'], packet.summary).toContain(packet.kind);
      expect(packet.lines.filter((line) => line.startsWith('!'))).toEqual([]);
    }
    expect(ike.filter(({ ike: facts }) => facts?.protection === 'sealed' || facts?.protection === 'refused')).toEqual([]);
    expect(ike.filter(({ ike: facts }) => facts?.exchange !== 'IKE_SA_INIT' && facts?.protection === 'clear')).toEqual([]);
  });

  test.each(withKeys)('%s: every ESP packet opens, and holds an IP packet of the protected networks', (path) => {
    const esp = decode(path).filter((packet) => packet.kind === 'esp');
    expect(esp.length).toBeGreaterThan(0);
    for (const { esp: facts } of esp) {
      expect(facts).toMatchObject({ protection: 'opened', nextHeader: 4 });
      expect(facts?.inner).toMatch(/^10\.[12]\.0\.\d+ → 10\.[12]\.0\.\d+ ICMP echo (request|reply) \d+, 84 octets$/);
    }
  });

  test.each(withKeys)('%s: every message is sealed anew to the very octets of strongSwan', (path) => {
    const rows = keysOf(path);
    let sealed = 0;
    for (const pieces of groups(ikeDatagrams(path).map(({ data }) => parseMessage(data)))) {
      const last = pieces[0]!.payloads.at(-1)!;
      if (last.kind !== 'SK' && last.kind !== 'SKF') continue;
      const cipher = rows
        .map((row) => cipherOf(row, pieces[0]!))
        .find((candidate) => candidate !== undefined && opens(pieces[0]!, candidate))!;
      const { header } = pieces[0]!;
      const protection = replaying(pieces, cipher);
      if (last.kind === 'SK') {
        const opened = openMessage(pieces[0]!, cipher)!;
        expect(toHex(sealMessage(header, opened.payloads, protection))).toBe(toHex(pieces[0]!.raw));
      } else {
        const parts = pieces.map((piece) => openFragment(piece, cipher)!);
        const payloads = parseProtected(parts[0]!.inner, concat(...parts.map(({ plaintext }) => plaintext)));
        const again = sealFragments(header, payloads, protection, pieces[0]!.raw.length);
        expect(again.map((octets) => toHex(octets))).toEqual(pieces.map(({ raw }) => toHex(raw)));
      }
      sealed++;
    }
    expect(sealed).toBeGreaterThan(5);
  });

  test('ChaCha20-Poly1305 without keys: sealed, and still told apart', () => {
    const packets = decode(named('chacha20-x448-cert'));
    expect(packets.every(({ kind }) => kind === 'ike' || kind === 'esp')).toBe(true);
    const protection = packets.flatMap(({ ike }) => (ike === undefined ? [] : [`${ike.exchange} ${ike.protection}`]));
    expect(new Set(protection)).toEqual(
      new Set(['IKE_SA_INIT clear', 'IKE_AUTH sealed', 'CREATE_CHILD_SA sealed', 'INFORMATIONAL sealed']),
    );
  });

  test('mlkem768-psk: IKE_INTERMEDIATE in fragments, rekeys with IKE_FOLLOWUP_KE, delete', () => {
    const lines = summaries(named('mlkem768-psk'));
    expect(lines.slice(2, 4)).toEqual(['IKE_INTERMEDIATE request 1  { KEi }', 'IKE_INTERMEDIATE response 1  { KEr }']);
    expect(lines).toContain('CREATE_CHILD_SA response 3  { SA, Nr, KEr, TSi, TSr, N(ADDITIONAL_KEY_EXCHANGE) }');
    expect(lines).toContain('IKE_FOLLOWUP_KE request 4  { KEi, N(ADDITIONAL_KEY_EXCHANGE) }');
    expect(lines).toContain('CREATE_CHILD_SA request 7  { SA, Ni, KEi }');
    expect(lines.at(-2)).toBe('INFORMATIONAL request 0  { D }');
    const methods = decode(named('mlkem768-psk')).flatMap(({ lines: detail }) => detail.filter((line) => line.includes('ML_KEM_768,')));
    expect(methods.slice(0, 2)).toEqual(['KEi      ML_KEM_768, 1184 octets', 'KEr      ML_KEM_768, 1088 octets']);
  });

  test('multi-ke-cert-fragments: two additional key exchanges, certificates, four fragments', () => {
    const detail = decode(named('multi-ke-cert-fragments')).flatMap(({ lines }) => lines);
    expect(detail[0]).toBe(
      'SA       #1 IKE  AES_CBC-256 / HMAC_SHA2_384_192 / PRF_HMAC_SHA2_384 / ECP_384 / ADDKE1 CURVE448 / ADDKE2 ML_KEM_1024',
    );
    expect(detail).toContain('KEi      ML_KEM_1024, 1568 octets');
    expect(detail).toContain('AUTH     DIGITAL_SIGNATURE ECDSA with SHA-256, 71 octets');
    const pieces = decode(named('multi-ke-cert-fragments')).flatMap(
      ({ ike }) => ike?.payloads.filter((name) => name.startsWith('SKF')) ?? [],
    );
    expect(pieces.slice(0, 3)).toEqual(['SKF(1/4)', 'SKF(2/4)', 'SKF(3/4)']);
  });

  test('eap-mschapv2 and eap-tls: rounds, success, AUTH in both directions', () => {
    for (const name of ['eap-mschapv2', 'eap-tls']) {
      const lines = summaries(named(name));
      expect(lines).toContain('IKE_AUTH response 1  { IDr, CERT, AUTH, EAP }');
      const last = lines.filter((line) => line.startsWith('IKE_AUTH')).at(-2);
      expect(last).toMatch(/^IKE_AUTH request \d+ {2}\{ AUTH \}$/);
    }
    expect(decode(named('eap-tls')).flatMap(({ lines }) => lines)).toContain('EAP      REQUEST 195 TLS, 6 octets');
  });

  test('mobike: the SA moves to another family of addresses, proven by COOKIE2', () => {
    const packets = decode(named('mobike'));
    const update = packets.find(({ ike }) => ike?.payloads.includes('N(UPDATE_SA_ADDRESSES)'));
    expect(update).toMatchObject({ source: '[fd09::1]:4500', destination: '[fd09::2]:4500' });
    expect(update?.ike?.payloads).toContain('N(COOKIE2)');
  });

  test('ppk: the identity of the key is shown', () => {
    const detail = decode(named('ppk')).flatMap(({ lines }) => lines);
    expect(detail).toContain('N        PPK_IDENTITY PPK_ID_FIXED ppk.lab');
  });

  test('keys of another SA open nothing, and the capture says so', () => {
    const keys = keysOf(named('ppk')).map((row, i, rows) => ({
      ...row,
      SK_ei: rows[(i + 1) % rows.length]!.SK_ei,
      SK_er: rows[(i + 1) % rows.length]!.SK_er,
    }));
    const { packets } = decodeCapture(readShared(named('ppk')), { ikeKeys: keys });
    const refused = packets.filter(({ ike }) => ike?.protection === 'refused');
    expect(refused.length).toBeGreaterThan(5);
    expect(refused[0]?.summary).toBe('IKE_AUTH request 1  { SK }  WRONG ICV');
    expect(refused[0]?.lines).toContain('! the integrity check fails under the keys given for these SPIs');
  });

  test('names of files are those of the README', () => {
    const readme = textOf(`${FOLDER}/README.md`);
    for (const path of all) expect(readme).toContain(basename(path, '.pcap'));
  });
});

/** Messages, the fragments of one together. */
function* groups(messages: readonly Message[]): Generator<Message[]> {
  for (let i = 0; i < messages.length; ) {
    const last = messages[i]!.payloads.at(-1);
    const count = last?.kind === 'SKF' ? last.total : 1;
    yield messages.slice(i, i + count);
    i += count;
  }
}

function cipherOf(row: IkeKeys, { header }: Message): PacketCipher | undefined {
  if (!equalBytes(row.spiI, header.spiI) || !equalBytes(row.spiR, header.spiR)) return undefined;
  const [encryptionKey, integrityKey] = header.flags.initiator ? [row.SK_ei, row.SK_ai] : [row.SK_er, row.SK_ar];
  const integrity = row.integrity.kind === 'transform' ? { integrity: row.integrity.id, integrityKey } : {};
  return createPacketCipher({ encryption: row.encryption, keyLength: row.keyLength, encryptionKey, ...integrity });
}

const opens = (message: Message, cipher: PacketCipher): boolean =>
  (message.payloads.at(-1)?.kind === 'SK' ? openMessage(message, cipher) : openFragment(message, cipher)) !== undefined;

/** Draws the IVs and the padding that the peer drew. */
function replaying(pieces: readonly Message[], cipher: PacketCipher): Protection {
  let piece = -1;
  const offsetOf = (message: Message): number => {
    const last = message.payloads.at(-1)!;
    return last.kind === 'SK' || last.kind === 'SKF' ? last.bodyOffset : 0;
  };
  return {
    cipher,
    iv: (length) => {
      piece++;
      const at = offsetOf(pieces[piece]!);
      return pieces[piece]!.raw.subarray(at, at + length);
    },
    padding: (length) => {
      const copy = pieces[piece]!.raw.slice();
      const end = cipher.open(copy, 0, offsetOf(pieces[piece]!), copy.length);
      return copy.subarray(end - 1 - length, end - 1);
    },
  };
}
