import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { concat } from '../../../src/core/bytes/bytes.ts';
import { createPacketCipher, encryptionTransforms, integrityTransforms } from '../../../src/core/crypto/index.ts';
import { LinkType, pcapngHeader, pcapngPacket, writeIpv4, writeUdp } from '../../../src/core/packet/index.ts';
import { type IkeHeader, sealMessage } from '../../../src/core/wire/index.ts';
import { decodeCapture, formatEspRow, formatIkeRow, parseEspTable, parseIkeTable } from '../../../src/product/explain/index.ts';
import { gen } from '../../support/gen.ts';

const TSHARK = 'tshark';
const found = spawnSync(TSHARK, ['--version'], { encoding: 'utf8' }).stdout?.startsWith('TShark') === true;

/** One IKE message and one ESP packet for every suite that can be negotiated; Wireshark must find in them what we put there. */
const suites = encryptionTransforms().flatMap((transform) => {
  const lengths = transform.keyLengthAttribute === 'required' ? transform.keyLengths : [undefined];
  const integrities = transform.aead ? [undefined] : integrityTransforms().filter(({ forEsp }) => forEsp);
  return lengths.flatMap((keyLength) => integrities.map((mac) => ({ transform, keyLength, mac })));
});

const A = Uint8Array.of(192, 0, 2, 1);
const B = Uint8Array.of(192, 0, 2, 2);

function packet(protocol: number, payload: Uint8Array): Uint8Array {
  const whole = new Uint8Array(20 + payload.length);
  whole.set(payload, 20);
  writeIpv4(whole, 0, {
    length: whole.length,
    protocol,
    source: A,
    destination: B,
    hopLimit: 64,
    identification: 1,
    dontFragment: true,
    moreFragments: false,
    fragmentOffset: 0,
    trafficClass: 0,
  });
  return whole;
}

function udp(data: Uint8Array): Uint8Array {
  const datagram = new Uint8Array(8 + data.length);
  datagram.set(data, 8);
  writeUdp(datagram, 0, A, 500, B, 500, data.length);
  return packet(17, datagram);
}

function build() {
  const g = gen(11);
  const rows = { ike: [] as string[], esp: [] as string[] };
  const frames: { octets: Uint8Array; kind: 'ike' | 'esp'; readable: boolean; suite: string }[] = [];
  suites.forEach(({ transform, keyLength, mac }, i) => {
    const encryptionKey = g.bytes((keyLength ?? transform.keyLengths[0]!) / 8 + transform.saltLength);
    const integrityKey = g.bytes(mac?.keyLength ?? 0);
    const cipher = createPacketCipher({ encryption: transform.id, keyLength, encryptionKey, integrity: mac?.id, integrityKey });
    const suite = `${transform.name} ${keyLength ?? ''} ${mac?.name ?? ''}`;
    const common = { encryption: transform.id, keyLength, integrity: mac?.id ?? 0 };
    if (transform.forIke) {
      const header: IkeHeader = {
        spiI: g.bytes(8),
        spiR: g.bytes(8),
        majorVersion: 2,
        minorVersion: 0,
        exchange: 37,
        flags: { initiator: true, response: false, version: false },
        messageId: i,
      };
      const keys = { SK_ei: encryptionKey, SK_er: encryptionKey, SK_ai: integrityKey, SK_ar: integrityKey };
      const row = formatIkeRow({ spiI: header.spiI, spiR: header.spiR, ...common, ...keys });
      const payloads = [{ kind: 'D', protocol: 3, spis: [Uint8Array.of(0xde, 0x1e, 0x7e, i)] } as const];
      rows.ike.push(row.row);
      frames.push({
        octets: udp(sealMessage(header, payloads, { cipher, iv: (length) => g.bytes(length) })),
        kind: 'ike',
        readable: row.ok,
        suite,
      });
    }
    const spi = 0x10000 + i;
    const row = formatEspRow({ source: '192.0.2.1', destination: '192.0.2.2', spi, ...common, encryptionKey, integrityKey });
    const inner = packet(17, concat(Uint8Array.of(0x12, 0x34, 0x00, 0x09, 0x00, 0x0c, 0, 0), Uint8Array.of(1, 2, 3, 4)));
    // RFC 4303 §2.4: padding to the cipher's block, and to 4 octets
    const align = Math.max(4, transform.blockLength);
    const pad = (align - ((inner.length + 2) % align)) % align;
    const body = concat(
      inner,
      Uint8Array.from({ length: pad }, (_, n) => n + 1),
      Uint8Array.of(pad, 4),
    );
    const head = new Uint8Array(8);
    new DataView(head.buffer).setUint32(0, spi);
    head[7] = 1;
    const esp = concat(head, g.bytes(cipher.ivLength), body, new Uint8Array(cipher.icvLength));
    cipher.seal(esp, 0, 8, esp.length - cipher.icvLength);
    rows.esp.push(row.row);
    frames.push({ octets: packet(50, esp), kind: 'esp', readable: row.ok, suite });
  });
  const file = concat(
    pcapngHeader(LinkType.RAW),
    ...frames.map(({ octets }, i) => pcapngPacket(1_700_000_000_000 + i, octets, `suite ${i}`)),
  );
  return { file, frames, rows };
}

const built = build();

describe('what we write', () => {
  test('is what we read, for every suite', () => {
    const { packets } = decodeCapture(built.file, {
      ikeKeys: parseIkeTable(built.rows.ike.join('\n')),
      espKeys: parseEspTable(built.rows.esp.join('\n')),
    });
    expect(packets.length).toBe(built.frames.length);
    packets.forEach((decoded, i) => {
      const { kind, suite } = built.frames[i]!;
      expect(decoded.kind, suite).toBe(kind);
      expect(decoded.ike?.protection ?? decoded.esp?.protection, suite).toBe('opened');
      if (kind === 'esp') expect(decoded.esp?.inner, suite).toBe('192.0.2.1:4660 → 192.0.2.2:9 UDP, 32 octets');
      else expect(decoded.lines[0], suite).toMatch(/^D {8}ESP de1e7e/);
    });
  });
});

(found ? describe : describe.skip)(`tshark${found ? '' : ' (is not installed)'}`, () => {
  let home = '';
  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), 'tunnelwright-tshark-'));
    const folder = join(home, '.config', 'wireshark');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'ikev2_decryption_table'), `${built.rows.ike.join('\n')}\n`);
    writeFileSync(join(folder, 'esp_sa'), `${built.rows.esp.join('\n')}\n`);
    writeFileSync(join(home, 'capture.pcapng'), built.file);
  });
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  test('reads the capture and finds inside what was sealed', () => {
    const env = { ...process.env, HOME: home, XDG_CONFIG_HOME: join(home, '.config') };
    const options = ['-o', 'esp.enable_encryption_decode:TRUE', '-o', 'esp.enable_authentication_check:TRUE'];
    const fields = ['frame.number', 'isakmp.delete.spi', 'udp.dstport', 'frame.comment'].flatMap((field) => ['-e', field]);
    const run = spawnSync(TSHARK, ['-r', join(home, 'capture.pcapng'), ...options, '-T', 'fields', ...fields], {
      encoding: 'utf8',
      env,
      timeout: 150_000,
    });
    expect(run.status, run.stderr).toBe(0);
    const lines = run.stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\t'));
    expect(lines.length).toBe(built.frames.length);
    lines.forEach(([, spi, port, comment], i) => {
      const { kind, readable, suite } = built.frames[i]!;
      expect(comment).toBe(`suite ${i}`);
      const inside = kind === 'ike' ? (spi ?? '').includes('de1e7e') : (port ?? '').split(',').includes('9');
      // What we call unreadable a newer tshark may read.
      if (readable) expect(inside, `${kind} ${suite}`).toBe(true);
    });
  });
});
