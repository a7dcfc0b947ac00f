import { describe, expect, test } from 'vitest';
import { concat, fromHex, utf8 } from '../../../src/core/bytes/bytes.ts';
import { MalformedMessage } from '../../../src/core/bytes/errors.ts';
import { parseIp } from '../../../src/core/bytes/ip-address.ts';
import { createPacketCipher } from '../../../src/core/crypto/index.ts';
import {
  LinkType,
  pcapHeader,
  pcapngHeader,
  pcapngPacket,
  pcapPacket,
  writeIpv4,
  writeIpv6,
  writeUdp,
} from '../../../src/core/packet/index.ts';
import { type IkeHeader, type Payload, sealFragments, sealMessage, writeMessage } from '../../../src/core/wire/index.ts';
import {
  type DecodedPacket,
  type DecodeOptions,
  decodeCapture,
  type EspKeys,
  type IkeKeys,
  renderDecoded,
} from '../../../src/product/explain/index.ts';
import { expectAtOnce } from '../../support/at-once.ts';
import { captureFiles } from '../../support/captures.ts';
import { forSeeds, gen } from '../../support/gen.ts';
import { describeWithShared, readShared } from '../../support/shared.ts';

const A = '192.0.2.1';
const B = '192.0.2.2';
const AT = 1_700_000_000_000;

const HEADER: IkeHeader = {
  spiI: fromHex('0102030405060708'),
  spiR: fromHex('1112131415161718'),
  majorVersion: 2,
  minorVersion: 0,
  exchange: 37,
  flags: { initiator: true, response: false, version: false },
  messageId: 5,
};

const MARKER = new Uint8Array(4);
const DELETE: Payload = { kind: 'D', protocol: 3, spis: [fromHex('c0ffee01')] };

interface Fragmentation {
  readonly offset?: number;
  readonly more?: boolean;
  readonly id?: number;
}

function ip(
  protocol: number,
  payload: Uint8Array,
  source = A,
  destination = B,
  { offset = 0, more = false, id = 7 }: Fragmentation = {},
): Uint8Array {
  const addresses = { source: parseIp(source), destination: parseIp(destination), hopLimit: 64, trafficClass: 0 };
  if (source.includes(':')) {
    const whole = concat(new Uint8Array(40), payload);
    writeIpv6(whole, 0, { ...addresses, payloadLength: payload.length, nextHeader: protocol, flowLabel: 0 });
    return whole;
  }
  const whole = concat(new Uint8Array(20), payload);
  writeIpv4(whole, 0, {
    ...addresses,
    length: whole.length,
    protocol,
    identification: id,
    dontFragment: false,
    moreFragments: more,
    fragmentOffset: offset,
  });
  return whole;
}

function udpData(data: Uint8Array, from: number, to: number, source = A, destination = B): Uint8Array {
  const datagram = concat(new Uint8Array(8), data);
  writeUdp(datagram, 0, parseIp(source), from, parseIp(destination), to, data.length);
  return datagram;
}

const udp = (data: Uint8Array, from = 500, to = 500, source = A, destination = B): Uint8Array =>
  ip(17, udpData(data, from, to, source, destination), source, destination);

const capture = (...packets: Uint8Array[]): Uint8Array =>
  concat(pcapHeader(LinkType.RAW), ...packets.map((data, i) => pcapPacket(AT + i, data)));

const decode = (options: DecodeOptions, ...packets: Uint8Array[]): readonly DecodedPacket[] =>
  decodeCapture(capture(...packets), options).packets;
const one = (packet: Uint8Array, options: DecodeOptions = {}): DecodedPacket => decode(options, packet)[0]!;

const KEYS: IkeKeys = {
  spiI: HEADER.spiI,
  spiR: HEADER.spiR,
  encryption: 20,
  keyLength: 128,
  integrity: { kind: 'none' },
  SK_ei: gen(1).bytes(20),
  SK_er: gen(2).bytes(20),
  SK_ai: new Uint8Array(0),
  SK_ar: new Uint8Array(0),
};

const protection = (initiator = true) => {
  const cipher = createPacketCipher({ encryption: 20, keyLength: 128, encryptionKey: initiator ? KEYS.SK_ei : KEYS.SK_er });
  let counter = 0;
  return { cipher, iv: () => Uint8Array.of(0, 0, 0, 0, 0, 0, 0, ++counter) };
};

describe('IKE', () => {
  test('in clear: who, what, and every payload', () => {
    const packet = one(udp(writeMessage({ ...HEADER, exchange: 34, messageId: 0 }, [{ kind: 'Nonce', data: new Uint8Array(32) }])));
    expect(packet).toEqual({
      number: 1,
      at: AT,
      source: '192.0.2.1:500',
      destination: '192.0.2.2:500',
      kind: 'ike',
      summary: 'IKE_SA_INIT request 0  { Ni }',
      lines: ['Ni       32 octets', '! IKE_SA_INIT request: SA is missing (RFC 7296 appendix C.1)'],
      ike: {
        spiI: '0102030405060708',
        spiR: '1112131415161718',
        exchange: 'IKE_SA_INIT',
        messageId: 0,
        response: false,
        initiator: true,
        protection: 'clear',
        payloads: ['Ni'],
        retransmitted: false,
      },
    });
    expect(JSON.parse(JSON.stringify(packet))).toEqual(packet);
  });

  test('protected: opened with the keys of its direction, sealed without, refused with others', () => {
    const sealed = sealMessage(HEADER, [DELETE], protection());
    expect(one(udp(sealed), { ikeKeys: [KEYS] })).toMatchObject({
      summary: 'INFORMATIONAL request 5  { D }',
      lines: ['D        ESP c0ffee01'],
      ike: { protection: 'opened' },
    });
    expect(one(udp(sealed))).toMatchObject({ summary: 'INFORMATIONAL request 5  { SK }  no keys', ike: { protection: 'sealed' } });
    const answer = sealMessage({ ...HEADER, flags: { initiator: false, response: true, version: false } }, [], protection(false));
    expect(one(udp(answer), { ikeKeys: [KEYS] })).toMatchObject({
      summary: 'INFORMATIONAL response 5  { }',
      ike: { protection: 'opened' },
    });
    const wrong = { ...KEYS, SK_ei: KEYS.SK_er };
    expect(one(udp(sealed), { ikeKeys: [wrong] })).toMatchObject({
      summary: 'INFORMATIONAL request 5  { SK }  WRONG ICV',
      ike: { protection: 'refused' },
    });
    expect(one(udp(sealed), { ikeKeys: [{ ...KEYS, SK_ei: new Uint8Array(3) }] })?.lines.at(-1)).toMatch(/^! the keys do not fit: /);
    expect(one(udp(sealed), { ikeKeys: [wrong, KEYS] }).ike?.protection).toBe('opened');
  });

  test('authentic, but malformed inside', () => {
    const nonsense: Payload = { kind: 'unknown', type: 42, data: fromHex('030400ff') };
    const packet = one(udp(sealMessage(HEADER, [nonsense], protection())), { ikeKeys: [KEYS] });
    expect(packet).toMatchObject({ summary: 'INFORMATIONAL request 5  { SK }', ike: { protection: 'opened' } });
    expect(packet.lines.at(-1)).toMatch(/^! decrypted, and malformed inside: SPIs needs 1020 octets/);
  });

  test('in fragments of any order, with one twice', () => {
    const payloads: Payload[] = [{ kind: 'V', data: utf8('x'.repeat(500)) }, DELETE];
    const pieces = sealFragments(HEADER, payloads, protection(), 200).map((data) => udp(concat(MARKER, data), 4500, 4500));
    const packets = decode({ ikeKeys: [KEYS] }, pieces[2]!, pieces[0]!, pieces[2]!, pieces[3]!, pieces[1]!);
    expect(packets.map(({ summary }) => summary)).toEqual([
      'INFORMATIONAL request 5  { SKF(3/4) }  decrypted, waits for the other fragments',
      'INFORMATIONAL request 5  { SKF(1/4) }  decrypted, waits for the other fragments',
      'INFORMATIONAL request 5  { SKF(3/4) }  decrypted, waits for the other fragments  (retransmitted)',
      'INFORMATIONAL request 5  { SKF(4/4) }  decrypted, waits for the other fragments',
      'INFORMATIONAL request 5  { V, D }',
    ]);
    expect(decode({}, pieces[0]!)[0]?.ike?.protection).toBe('sealed');
  });

  test('a retransmission is marked, another message under the same number is not', () => {
    const first = writeMessage(HEADER, []);
    const other = writeMessage(HEADER, [DELETE]);
    expect(decode({}, udp(first), udp(first), udp(other)).map(({ ike }) => ike?.retransmitted)).toEqual([false, true, false]);
  });

  test('from a port of its own: the other end is on 500', () => {
    expect(one(udp(writeMessage(HEADER, []), 61_234, 500)).kind).toBe('ike');
  });

  test('IKEv1 and AuthIP are named', () => {
    const v1 = writeMessage({ ...HEADER, majorVersion: 1, exchange: 2, messageId: 0 }, []);
    expect(one(udp(v1))).toMatchObject({
      kind: 'ikev1',
      summary: 'IKEv1 Main Mode, message 00000000, cookies 0102030405060708 1112131415161718, 28 octets',
    });
    expect(one(udp(writeMessage({ ...HEADER, majorVersion: 1, exchange: 243 }, []))).summary).toMatch(/^AuthIP main mode, /);
    expect(one(udp(writeMessage({ ...HEADER, majorVersion: 1, exchange: 99 }, []))).summary).toMatch(/^IKEv1 exchange 99, /);
  });

  test.each([
    ['nothing', '', 'not IKE: 0 octets'],
    ['three octets', 'abcdef', 'not IKE: 3 octets'],
    ['version 7', `${'11'.repeat(16)} 21 70 22 08 00000000 0000001c`, 'not IKE: 28 octets, version 7.0'],
    [
      'a Length that lies',
      `${'11'.repeat(16)} 21 20 22 08 00000000 000000ff`,
      'malformed IKE_SA_INIT: the header states 255 octets, the datagram has 28',
    ],
    [
      'half a payload',
      `${'11'.repeat(16)} 28 20 22 08 00000000 0000001f 000000`,
      'malformed IKE_SA_INIT: Payload Length needs 2 octets, 1 are left (offset 30)',
    ],
  ])('garbage is one clear line: %s', (_, hex, summary) => {
    expect(one(udp(fromHex(hex)))).toMatchObject({ kind: 'malformed', summary, lines: [] });
  });
});

describe('NAT traversal', () => {
  test('parts keepalives, IKE behind its marker, and ESP', () => {
    const packets = decode(
      {},
      udp(Uint8Array.of(0xff), 4500, 4500),
      udp(concat(MARKER, writeMessage(HEADER, [])), 4500, 61_000),
      udp(fromHex('c0ffee01 00000007 00112233'), 61_000, 4500),
      udp(fromHex('c0ffee'), 4500, 4500),
      udp(MARKER, 4500, 4500),
    );
    expect(packets.map(({ kind, summary }) => `${kind}: ${summary}`)).toEqual([
      'keepalive: NAT keepalive',
      'ike: INFORMATIONAL request 5  { }',
      'esp: ESP c0ffee01 seq 7, 12 octets',
      'malformed: 3 octets: neither ESP nor IKE',
      'malformed: not IKE: 0 octets',
    ]);
    expect(packets[2]?.esp).toEqual({ spi: 'c0ffee01', sequence: 7, octets: 12, protection: 'sealed' });
  });

  test('on other ports when told', () => {
    const packet = udp(fromHex('c0ffee01 00000007'), 14_500, 40_000);
    expect(one(packet).kind).toBe('other');
    expect(one(packet, { natPorts: [14_500] }).kind).toBe('esp');
  });

  test('works on IPv6', () => {
    expect(one(udp(concat(MARKER, writeMessage(HEADER, [])), 4500, 4500, '2001:db8::1', '2001:db8::2'))).toMatchObject({
      kind: 'ike',
      source: '[2001:db8::1]:4500',
    });
  });
});

describe('ESP', () => {
  const sa = (more: Partial<EspKeys> = {}): EspKeys => ({
    source: '*',
    destination: '*',
    spi: 0xc0ffee01,
    encryption: 20,
    encryptionKey: KEYS.SK_ei,
    integrity: { kind: 'none' },
    integrityKey: new Uint8Array(0),
    ...more,
  });

  function esp(inner: Uint8Array, nextHeader: number, esnHigh?: number, keys: EspKeys = sa(), sequence = 9): Uint8Array {
    const cipher = createPacketCipher({ encryption: 20, keyLength: 128, encryptionKey: keys.encryptionKey });
    const pad = (4 - ((inner.length + 2) % 4)) % 4;
    const head = new Uint8Array(8);
    new DataView(head.buffer).setUint32(0, keys.spi);
    new DataView(head.buffer).setUint32(4, sequence);
    const packet = concat(
      head,
      new Uint8Array(8),
      inner,
      new Uint8Array(pad),
      Uint8Array.of(pad, nextHeader),
      new Uint8Array(cipher.icvLength),
    );
    cipher.seal(packet, 0, 8, packet.length - cipher.icvLength, esnHigh);
    return packet;
  }

  const ping = ip(1, fromHex('0800 0000 0001 0003'), '10.1.0.1', '10.2.0.1');

  test('as a protocol of its own, opened and described', () => {
    expect(one(ip(50, esp(ping, 4)), { espKeys: [sa()] })).toMatchObject({
      kind: 'esp',
      source: A,
      destination: B,
      summary: 'ESP c0ffee01 seq 9  { 10.1.0.1 → 10.2.0.1 ICMP echo request 3, 28 octets }',
      esp: { protection: 'opened', nextHeader: 4 },
    });
  });

  test('with extended sequence numbers, which a capture does not tell about', () => {
    expect(one(ip(50, esp(ping, 4, 0)), { espKeys: [sa()] }).esp?.protection).toBe('opened');
    expect(one(ip(50, esp(ping, 4, 1)), { espKeys: [sa()] }).esp?.protection).toBe('refused');
  });

  test('of an SA that MOBIKE moved', () => {
    expect(one(ip(50, esp(ping, 4)), { espKeys: [sa({ source: '203.0.113.9', destination: B })] }).esp?.protection).toBe('opened');
  });

  test('with a changed octet', () => {
    const packet = esp(ping, 4);
    packet[20]! ^= 1;
    expect(one(ip(50, packet), { espKeys: [sa()] })).toMatchObject({
      summary: 'ESP c0ffee01 seq 9, 64 octets  WRONG ICV',
      esp: { protection: 'refused' },
    });
  });

  test.each([
    [17, '1234 0035 000c 0000 00000000', '4660 → 53 UDP'],
    [6, `0050 c000 ${'00'.repeat(8)} 5012 ${'00'.repeat(6)}`, '80 → 49152 TCP [S.]'],
    [59, '00000000', 'dummy packet, 4 octets'],
    [58, '8000 0000 0001 0002', 'ICMPv6 echo request 2'],
    [47, '00000000', 'GRE'],
    [4, 'ffff', 'IPv4 packet that does not parse, 2 octets'],
  ])('with Next Header %i inside', (nextHeader, hex, text) => {
    expect(one(ip(50, esp(fromHex(hex), nextHeader)), { espKeys: [sa()] }).esp?.inner).toBe(text);
  });

  test('inside ESP is opened too', () => {
    const outer = sa({ spi: 0x0000_1111 });
    const packets = decode({ espKeys: [outer, sa()] }, ip(50, esp(ip(50, esp(ping, 4), '10.0.0.1', '10.0.0.2'), 4, undefined, outer)));
    expect(packets[0]).toMatchObject({
      summary: 'ESP 00001111 seq 9  { 10.0.0.1 → 10.0.0.2 ESP c0ffee01 seq 9, 84 octets }',
      lines: ['ESP c0ffee01 seq 9  { 10.1.0.1 → 10.2.0.1 ICMP echo request 3, 28 octets }'],
    });
  });

  test('whose ICV nobody can verify says so', () => {
    const keys = sa({ encryption: 11, encryptionKey: new Uint8Array(0), integrity: { kind: 'unchecked', octets: 12 } });
    const packet = concat(fromHex('c0ffee01 00000001'), ping, fromHex('0000 02 04'.replace(' ', '')), new Uint8Array(12));
    expect(one(ip(50, packet), { espKeys: [keys] })).toMatchObject({
      summary: 'ESP c0ffee01 seq 1  { 10.1.0.1 → 10.2.0.1 ICMP echo request 3, 28 octets }  (ICV not verified)',
      esp: { protection: 'unverified' },
    });
    const overlong = concat(fromHex('c0ffee01 00000001'), fromHex('ff04'), new Uint8Array(12));
    expect(one(ip(50, overlong), { espKeys: [keys] }).lines).toEqual(['! decrypted, and Pad Length exceeds the packet']);
  });

  test('keys of the wrong length are named', () => {
    expect(one(ip(50, esp(ping, 4)), { espKeys: [sa({ encryptionKey: new Uint8Array(5) })] }).lines[0]).toMatch(/^! the keys do not fit: /);
  });
});

describe('what is neither', () => {
  test('is told in one line', () => {
    const tcp = ip(6, fromHex(`1f90 c000 ${'00'.repeat(8)} 5002 ${'00'.repeat(6)}`));
    const ah = ip(51, fromHex('32 04 0000 c0ffee01 00000002 000000000000000000000000'));
    const packets = decode({}, udp(fromHex('00'), 53, 53), tcp, ah, fromHex('00'), fromHex('4500'), ip(1, fromHex('0304 0000 0000 0000')));
    expect(packets.map(({ kind, summary }) => `${kind}: ${summary}`)).toEqual([
      'other: UDP, 1 octet',
      'other: 8080 → 49152 TCP [S]',
      'ah: AH c0ffee01 seq 2',
      'malformed: not an IP packet',
      'malformed: an IP header cut short',
      'other: ICMP destination unreachable',
    ]);
  });

  test('a frame without IP, and a UDP header that lies', () => {
    const file = concat(pcapHeader(LinkType.ETHERNET), pcapPacket(AT, fromHex('ffffffffffff 001122334455 0806 0001')));
    expect(decodeCapture(file).packets[0]?.summary).toBe('no IP packet (link type 1, 16 octets)');
    expect(one(ip(17, fromHex('01f4 01f4 00ff 0000'))).summary).toBe('a UDP header that does not fit the packet');
  });

  test('a packet that the capture cut short says how much is missing', () => {
    const whole = udp(new Uint8Array(400));
    const record = pcapPacket(AT, whole.subarray(0, 60));
    new DataView(record.buffer).setUint32(12, whole.length);
    const { packets } = decodeCapture(concat(pcapHeader(LinkType.RAW), record));
    expect(packets[0]?.summary).toBe(
      'an IP packet of which the capture holds less than its length says; the capture kept 60 of 428 octets',
    );
  });
});

describe('IP fragments', () => {
  const whole = udpData(writeMessage(HEADER, [{ kind: 'V', data: new Uint8Array(3000) }]), 500, 500);
  const pieces = [0, 1480, 2960].map((offset) => ip(17, whole.subarray(offset, offset + 1480), A, B, { offset, more: offset < 2960 }));

  test('are joined, in any order', () => {
    const packets = decode({}, pieces[1]!, pieces[0]!, pieces[0]!, pieces[2]!);
    expect(packets.map(({ kind }) => kind)).toEqual(['fragment', 'fragment', 'fragment', 'ike']);
    expect(packets[0]?.summary).toBe('IP fragment, 1480 octets from 1480 on');
    expect(packets[3]).toMatchObject({ summary: 'INFORMATIONAL request 5  { V }', source: '192.0.2.1:500' });
  });

  test('that overlap or miss a piece are never joined', () => {
    const shifted = ip(17, whole.subarray(1472, 2952), A, B, { offset: 1472, more: true });
    expect(decode({}, pieces[0]!, shifted, pieces[2]!).map(({ kind }) => kind)).toEqual(['fragment', 'fragment', 'fragment']);
  });

  test('without end cost no more than a bound', () => {
    const flood = Array.from({ length: 3000 }, (_, id) => ip(17, new Uint8Array(8), A, B, { offset: 8, more: true, id }));
    expect(decode({}, ...flood).every(({ kind }) => kind === 'fragment')).toBe(true);
  });
});

describe('the file', () => {
  test('damaged, gives what is whole and says where it broke', () => {
    const file = capture(udp(writeMessage(HEADER, [])), udp(writeMessage(HEADER, [])));
    const { packets, damage } = decodeCapture(file.subarray(0, file.length - 5));
    expect(packets.length).toBe(1);
    expect(damage).toMatch(/^the file ends inside a packet of 56 octets/);
  });

  test('that is none is refused', () => {
    expect(() => decodeCapture(utf8('hello, this is no capture at all'))).toThrow(MalformedMessage);
  });

  test('of anything at all decodes or is refused, with and without keys', () => {
    forSeeds(150, (g) => {
      const packets = g.many(1, 8, () => {
        const port = g.pick([500, 4500, g.u16()]);
        const data = g.oneIn(2)
          ? g.bytes(0, 200)
          : concat(g.oneIn(2) ? MARKER : new Uint8Array(0), writeMessage(HEADER, [DELETE]), g.bytes(0, 3));
        if (data.length > 20 && g.oneIn(2)) data[g.int(0, data.length - 1)] = g.u8();
        return g.oneIn(4) ? ip(g.pick([50, 51, 6, g.u8()]), data) : udp(data, port, port);
      });
      const { packets: decoded } = decodeCapture(capture(...packets), { ikeKeys: [KEYS], espKeys: [] });
      expect(decoded.length).toBe(packets.length);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
      for (const { summary, lines } of decoded) expect([summary, ...lines].join('')).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    });
  });
});

describe('renderDecoded', () => {
  test('lays out a capture for reading', () => {
    const file = concat(
      pcapngHeader(LinkType.RAW),
      pcapngPacket(AT, udp(writeMessage(HEADER, [DELETE]))),
      pcapngPacket(AT + 12_345.678, udp(Uint8Array.of(0xff), 4500, 61_234, '198.51.100.20', B), 'kept\u001balive'),
      pcapngPacket(AT + 12_346, fromHex('00')),
    );
    expect(renderDecoded(decodeCapture(file))).toBe(
      [
        '1   0.000000       192.0.2.1:500 → 192.0.2.2:500    INFORMATIONAL request 5  { D }',
        '     D        ESP c0ffee01',
        '2  12.345678  198.51.100.20:4500 → 192.0.2.2:61234  NAT keepalive',
        '     # kept\\x1balive',
        '3  12.346000  not an IP packet',
        '',
      ].join('\n'),
    );
    expect(renderDecoded(decodeCapture(file), { details: false }).split('\n').length).toBe(4);
  });

  test('says when there is nothing, and when there is less than there was', () => {
    expect(renderDecoded({ packets: [] })).toBe('the capture holds no packets\n');
    expect(renderDecoded({ packets: [], damage: 'the file header is cut short (offset 3)' })).toContain(
      'the capture is damaged and was read up to here: the file header is cut short (offset 3)',
    );
  });
});

describeWithShared('captures of other implementations', 'vectors/captures', () => {
  test.each(captureFiles())('%s: one line per packet, whatever it holds', (path) => {
    expectAtOnce(() => {
      const { packets } = decodeCapture(readShared(path));
      expect(packets.length).toBeGreaterThan(0);
      packets.forEach(({ number, summary, kind }, i) => {
        expect(number).toBe(i + 1);
        expect(summary).not.toMatch(/[\n\r]/);
        expect(summary.length, kind).toBeGreaterThan(3);
      });
    }, 1000);
  });

  test('IKEv1 is called by its name', () => {
    const { packets } = decodeCapture(readShared('vectors/captures/tcpdump/ISAKMP_sa_setup.pcap'));
    expect(packets.map(({ summary }) => summary.replace(/, .*/, ''))).toEqual([
      ...Array.from({ length: 6 }, () => 'IKEv1 Main Mode'),
      ...Array.from({ length: 3 }, () => 'IKEv1 Quick Mode'),
    ]);
    expect(decodeCapture(readShared('vectors/captures/libreswan/authip-weirdike.pcap')).packets[0]?.summary).toMatch(/^AuthIP main mode/);
  });

  test('ESP under ESP with published keys opens to the ping inside, though its ICV cannot be verified', () => {
    const key = (spi: number, hex: string): EspKeys => ({
      source: '*',
      destination: '*',
      spi,
      encryption: 3,
      encryptionKey: fromHex(hex),
      integrity: { kind: 'unchecked', octets: 12 },
      integrityKey: new Uint8Array(0),
    });
    const espKeys = [
      key(0x12345678, '43434545464649494a4a4c4c4f4f51515252545457575840'),
      key(0xabcdabcd, '434545464649494a4a4c4c4f4f5151525254545757584043'),
    ];
    const { packets } = decodeCapture(readShared('vectors/captures/tcpdump/08-sunrise-sunset-esp2.pcap'), { espKeys });
    expect(packets[0]?.summary).toMatch(/^ESP 12345678 seq 1 {2}\{ 192\.1\.2\.23 → 192\.0\.1\.1 ESP abcdabcd seq 1, 136 octets \}/);
    expect(packets[0]?.lines[0]).toMatch(/^ESP abcdabcd seq 1 {2}\{ \d.* ICMP echo (request|reply) \d+, 84 octets \}/);
  });
});
