import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { concat, fromHex, toHex } from '../../src/core/bytes/bytes.ts';
import { MalformedMessage, TunnelwrightError } from '../../src/core/bytes/errors.ts';
import { Writer } from '../../src/core/bytes/writer.ts';
import { IpProtocol, IpView, ipPacketOf, readCapture } from '../../src/core/packet/index.ts';
import {
  checkMessage,
  ExchangeType,
  type Message,
  type MessageCipher,
  nameOf,
  openMessage,
  type Payload,
  parseHeader,
  parseMessage,
  sealMessage,
  writeMessage,
  writePayloads,
} from '../../src/core/wire/index.ts';
import { type CaptureIntegrity, createCaptureCipher } from '../../src/product/explain/capture-cipher.ts';
import { expectAtOnce } from '../support/at-once.ts';
import { captureFiles, captureNamed, ikeDatagrams } from '../support/captures.ts';
import { describeWithShared, listShared, readShared, readSharedJson } from '../support/shared.ts';

/** Captures of IKEv1, AuthIP and worse, which are to be refused by name, and the one whose chain ends before its Length. */
const NOT_IKEV2 = new Set([
  '01-isakmp-broadcast.pcap',
  '01-isakmp-vid-first.pcap',
  'authip-weirdike.pcap',
  'ISAKMP_sa_setup.pcap',
  'ikev1_id_ipv6_addr_subnet-oobr.pcap',
  'isakmp-delete-segfault.pcap',
  'isakmp-ikev1_n_print-oobr.pcap',
  'isakmp-pointer-loop.pcap',
  'isakmp-rfc3948-oobr.pcap',
  'isakmp4500.pcap',
  'ikev1-certs.pcap',
  'ikev2-id-normal.pcap',
]);

interface Frame {
  readonly frame: number;
  readonly exchange: string;
  readonly message_id: number;
  readonly flags: number;
  readonly integrity_ok?: boolean;
  readonly first_inner_payload?: number;
  readonly payloads: string;
  readonly pad_length?: number;
  readonly plaintext_hex?: string;
  readonly key_set?: string;
  readonly encr?: string;
  readonly integ?: string;
  readonly sk_e?: string;
}

interface KeysJson {
  readonly ikev2: Readonly<
    Record<string, { encr: string; integ: string; SK_ei: string; SK_er: string; SK_ai: string; SK_ar: string; decrypted: Frame[] }>
  >;
  readonly esp: readonly {
    file: string;
    sas: { spi: string; encr: string; encr_key: string }[];
    decrypted: { frame: number; spi: string; seq: number; pad_length: number; next_header: number; plaintext_hex: string }[];
  }[];
}

interface OpenswanJson {
  readonly key_sets: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly captures: Readonly<Record<string, Frame[]>>;
}

const ENCRYPTION: Readonly<Record<string, number>> = {
  '3des': 3,
  '3des-cbc': 3,
  cbc: 12,
  'aes128-cbc': 12,
  'aes192-cbc': 12,
  'aes256-cbc': 12,
  ccm12: 15,
  gcm16: 20,
};

const INTEGRITY: Readonly<Record<string, { kind: CaptureIntegrity; keyLength: number }>> = {
  none: { kind: { kind: 'none' }, keyLength: 0 },
  md5_96: { kind: { kind: 'hmac', hash: 'md5', octets: 12 }, keyLength: 16 },
  sha1_96: { kind: { kind: 'hmac', hash: 'sha1', octets: 12 }, keyLength: 20 },
  sha1_160: { kind: { kind: 'hmac', hash: 'sha1', octets: 20 }, keyLength: 20 },
  sha256_128: { kind: { kind: 'hmac', hash: 'sha256', octets: 16 }, keyLength: 32 },
};

function cipherFor(encr: string, key: string, integ: string, integrityKey: string): MessageCipher {
  const integrity = INTEGRITY[integ];
  const encryption = ENCRYPTION[encr];
  if (integrity === undefined || encryption === undefined) throw new Error(`${encr} with ${integ} is not in the tables of this test`);
  const cipher = createCaptureCipher({
    encryption,
    encryptionKey: fromHex(key),
    integrity: integrity.kind,
    integrityKey: fromHex(integrityKey).subarray(0, integrity.keyLength),
  });
  return {
    ...cipher,
    ivLength: cipher.ivLength,
    icvLength: cipher.icvLength,
    blockLength: 1,
    seal: () => -1,
    open: (...args) => cipher.open(...args),
  };
}

/** I, V and R: some of these messages have reserved flags set, which are ignored (RFC 7296 §3.1). */
const FLAGS = 0x38;
const FLAGS_AT = 19;

/** The notation of keys.json and index.json: `IDi N(16384) SA[p3:1/12@256 3/12 2/5 5/0 ] KE(14,256)`. */
function notation(payloads: readonly Payload[]): string {
  const one = (payload: Payload): string => {
    if (payload.kind === 'N') return `N(${payload.notify})`;
    if (payload.kind === 'KE') return `KE(${payload.method},${payload.data.length})`;
    if (payload.kind !== 'SA') return payload.kind;
    const proposals = payload.proposals.map(({ protocol, transforms }) => {
      const list = transforms.map(({ type, id, keyLength }) => `${type}/${id}${keyLength === undefined ? '' : `@${keyLength}`} `);
      return `p${protocol}:${list.join('')}`;
    });
    return `SA[${proposals.join('')}]`;
  };
  return payloads.map(one).join(' ');
}

const flagsOf = ({ flags }: Message['header']): number => (flags.initiator ? 8 : 0) | (flags.version ? 16 : 0) | (flags.response ? 32 : 0);

function chain(payloads: readonly Payload[]): string {
  const w = new Writer();
  writePayloads(w, payloads);
  return toHex(w.finish());
}

/** Opens a message and holds it against what an independent decryptor found inside. */
function expectInside(message: Message, cipher: MessageCipher, frame: Frame): void {
  expect(nameOf(ExchangeType, message.header.exchange)).toBe(frame.exchange);
  expect(message.header.messageId).toBe(frame.message_id);
  expect(flagsOf(message.header)).toBe(frame.flags & FLAGS);
  const opened = openMessage(message, cipher);
  expect(opened, `frame ${frame.frame}: the ICV is wrong`).toBeDefined();
  expect(toHex(opened!.plaintext)).toBe(frame.plaintext_hex);
  expect(opened!.inner).toBe(frame.first_inner_payload);
  expect(notation(opened!.payloads).trim()).toBe(frame.payloads.trim());
  expect(chain(opened!.payloads)).toBe(frame.plaintext_hex);
  expectResealed(message, cipher, opened!.payloads, frame);
  expectTamperProof(message, cipher);
}

/** Sealing the payloads anew, with the IV and padding that the peer chose, must give the peer's datagram. */
function expectResealed(message: Message, cipher: MessageCipher, payloads: readonly Payload[], frame: Frame): void {
  const sk = message.payloads.at(-1);
  if (sk?.kind !== 'SK') return expect.unreachable();
  const { bodyOffset } = sk;
  const decrypted = message.raw.slice();
  const bodyEnd = cipher.open(decrypted, 0, bodyOffset, decrypted.length);
  const padding = decrypted[bodyEnd - 1]!;
  expect(padding).toBe(frame.pad_length);
  const iv = message.raw.subarray(bodyOffset, bodyOffset + cipher.ivLength);
  // The cipher stands in for one that encrypts: it puts the peer's own ciphertext where its plaintext must be equal.
  const replay: MessageCipher = {
    ...cipher,
    blockLength: padding + 1 + decrypted.subarray(bodyOffset + cipher.ivLength, bodyEnd - 1 - padding).length,
    seal: (buffer, start, headLength, end) => {
      expect(toHex(buffer.subarray(start, end))).toBe(
        toHex(concat(decrypted.subarray(0, bodyOffset), iv, decrypted.subarray(bodyOffset + iv.length, bodyEnd))),
      );
      expect(headLength).toBe(bodyOffset);
      buffer.set(message.raw.subarray(end, end + cipher.icvLength), end);
      return end + cipher.icvLength;
    },
  };
  decrypted[FLAGS_AT]! &= FLAGS;
  const filler = decrypted.slice(bodyEnd - 1 - padding, bodyEnd - 1);
  const sealed = sealMessage(message.header, payloads, { cipher: replay, iv: () => iv, padding: () => filler });
  expect(sealed.length).toBe(message.raw.length);
}

function expectTamperProof(message: Message, cipher: MessageCipher): void {
  const { raw } = message;
  for (let at = 0; at < raw.length; at += raw.length > 400 ? 7 : 1) {
    const changed = raw.slice();
    changed[at]! ^= 0x10;
    let opened: unknown;
    try {
      const parsed = parseMessage(changed);
      opened = parsed.payloads.at(-1)?.kind === 'SK' ? openMessage(parsed, cipher) : undefined;
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
    }
    expect(opened, `octet ${at} was changed and nobody saw it`).toBeUndefined();
  }
}

describeWithShared('captures of other implementations', 'vectors/captures', () => {
  const files = captureFiles();

  test('are there', () => {
    expect(files.length).toBeGreaterThan(40);
  });

  test.each(files.filter((path) => !NOT_IKEV2.has(basename(path))))(
    '%s: every IKE message parses, keeps to the grammar and is written back as it was',
    (path) => {
      for (const { frame, data } of ikeDatagrams(path)) {
        const message = parseMessage(data);
        expect(message.raw.length, `frame ${frame}`).toBe(data.length);
        checkMessage(message.header, message.payloads);
        const last = message.payloads.at(-1);
        if (last?.kind === 'SK' || last?.kind === 'SKF') continue;
        expect(toHex(writeMessage(message.header, message.payloads)), `frame ${frame}`).toBe(toHex(data));
      }
    },
  );

  test.each(files.filter((path) => NOT_IKEV2.has(basename(path))))('%s: every message is refused with a type, at once', (path) => {
    for (const { data } of ikeDatagrams(path)) {
      expectAtOnce(() => expect(() => parseMessage(data)).toThrow(MalformedMessage));
      if (data.length >= 28 && parseHeader(data).header.majorVersion !== 2) {
        expect(() => parseMessage(data)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_MAJOR_VERSION' }));
      }
    }
  });
});

describeWithShared('captures with keys (keys.json)', 'vectors/captures/keys.json', () => {
  const keys = readSharedJson('vectors/captures/keys.json') as KeysJson;
  const all = Object.entries(keys.ikev2).flatMap(([file, entry]) => entry.decrypted.map((frame) => ({ file, entry, frame })));

  test.each(all.map((item) => [`${item.file} frame ${item.frame.frame}`, item] as const))('%s', (_, { file, entry, frame }) => {
    const datagram = ikeDatagrams(captureNamed(file)).find((candidate) => candidate.frame === frame.frame);
    const message = parseMessage(datagram!.data);
    const { initiator } = message.header.flags;
    const cipher = cipherFor(entry.encr, initiator ? entry.SK_ei : entry.SK_er, entry.integ, initiator ? entry.SK_ai : entry.SK_ar);
    if (frame.integrity_ok === false) expect(openMessage(message, cipher)).toBeUndefined();
    else expectInside(message, cipher, frame);
  });
});

describeWithShared('single messages of Openswan (index.json)', 'vectors/captures/openswan/index.json', () => {
  const index = readSharedJson('vectors/captures/openswan/index.json') as OpenswanJson;
  const all = Object.entries(index.captures).flatMap(([file, frames]) => frames.map((frame) => ({ file, frame })));

  test.each(all.map((item) => [`${item.file} frame ${item.frame.frame}`, item] as const))('%s', (_, { file, frame }) => {
    const datagram = ikeDatagrams(captureNamed(file)).find((candidate) => candidate.frame === frame.frame);
    const message = parseMessage(datagram!.data);
    expect(nameOf(ExchangeType, message.header.exchange)).toBe(frame.exchange);
    expect(message.header.messageId).toBe(frame.message_id);
    expect(flagsOf(message.header)).toBe(frame.flags & FLAGS);
    if (frame.key_set === undefined) {
      expect(notation(message.payloads).trim()).toBe(frame.payloads.trim());
      return;
    }
    const set = index.key_sets[frame.key_set]!;
    const integrityKey = set[message.header.flags.initiator ? 'results_skey_ai' : 'results_skey_ar']!;
    expectInside(message, cipherFor(frame.encr!, frame.sk_e!, frame.integ!, integrityKey), frame);
  });
});

describeWithShared('ESP with published encryption keys (keys.json)', 'vectors/captures/keys.json', () => {
  const { esp } = readSharedJson('vectors/captures/keys.json') as KeysJson;

  test.each(esp.map((entry) => [entry.file, entry] as const))('%s', (_, { file, sas, decrypted }) => {
    const packets = [...readCapture(readShared(`vectors/captures/${file}`))];
    for (const { frame, spi, seq, pad_length, next_header, plaintext_hex } of decrypted) {
      const packet = packets[frame - 1]!;
      const ip = ipPacketOf(packet.linkType, packet.data)!;
      const view = new IpView();
      expect(view.parse(ip) && view.protocol === IpProtocol.ESP).toBe(true);
      const data = ip.slice(view.payload, view.end);
      const sa = sas.find((candidate) => candidate.spi === spi)!;
      const cipher = createCaptureCipher({
        encryption: 3,
        encryptionKey: fromHex(sa.encr_key),
        integrity: { kind: 'unchecked', octets: 12 },
        integrityKey: new Uint8Array(0),
      });
      const end = cipher.open(data, 0, 8, data.length);
      expect({ sequence: new DataView(data.buffer, data.byteOffset).getUint32(4), pad: data[end - 2], next: data[end - 1] }).toEqual({
        sequence: seq,
        pad: pad_length,
        next: next_header,
      });
      expect(toHex(data.subarray(8 + cipher.ivLength, end - 2 - pad_length))).toBe(plaintext_hex);
    }
  });
});

describeWithShared('fuzz corpora', 'vectors/fuzz', () => {
  test('the IKE packets of a fuzzer are read or refused with a type, each in less than 50 ms', () => {
    const corpus = readSharedJson('vectors/fuzz/ike-packets/libreswan-ikev2-15-fuzzer.json') as { hex: string }[];
    expect(corpus.length).toBeGreaterThan(0);
    for (const { hex } of corpus) expectTyped(fromHex(hex));
  });

  test.each(listShared('vectors/fuzz/strongswan', '.jsonl'))('%s as datagrams, and as what an SA payload or a DN holds', (path) => {
    const lines = new TextDecoder().decode(readShared(path)).split('\n');
    for (const line of lines) {
      if (line.trim() === '') continue;
      const octets = fromBase64((JSON.parse(line) as { b64: string }).b64);
      expectTyped(octets);
      const header = fromHex('0102030405060708 1112131415161718 21 20 22 08 00000000 00000000');
      const message = concat(header, Uint8Array.of(0, 0, ((octets.length + 4) >>> 8) & 0xff, (octets.length + 4) & 0xff), octets);
      new DataView(message.buffer).setUint32(24, message.length);
      for (const type of [33, 35, 37, 41, 44, 47]) {
        message[16] = type;
        expectTyped(message);
      }
    }
  });

  function expectTyped(data: Uint8Array): void {
    expectAtOnce(() => {
      try {
        const message = parseMessage(data);
        checkMessage(message.header, message.payloads);
      } catch (error) {
        if (!(error instanceof TunnelwrightError)) throw error;
      }
    });
  }

  const fromBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
});
