import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat, fromHex, utf8 } from '../../../src/core/bytes/bytes.ts';
import { parseIp } from '../../../src/core/bytes/ip-address.ts';
import {
  describeMessage,
  describePayload,
  formatDistinguishedName,
  formatIdentification,
  formatProposal,
  formatSelector,
  summarise,
  vendorName,
} from '../../../src/core/wire/describe.ts';
import type { IkeHeader } from '../../../src/core/wire/header.ts';
import {
  AuthMethod,
  CertEncoding,
  ConfigAttributeType,
  ExchangeType,
  IdType,
  NotifyType,
  ProtocolId,
} from '../../../src/core/wire/iana.ts';
import type { Payload, Proposal, TrafficSelector } from '../../../src/core/wire/payloads/types.ts';
import { gen } from '../../support/gen.ts';

const HEADER: IkeHeader = {
  spiI: fromHex('3292a762f221cd50'),
  spiR: fromHex('4a9029d1c768268c'),
  majorVersion: 2,
  minorVersion: 0,
  exchange: ExchangeType.IKE_AUTH,
  flags: { initiator: true, response: false, version: false },
  messageId: 1,
};

const NONE = new Uint8Array(0);
const id = (kind: 'IDi' | 'IDr', name: string): Payload => ({ kind, idType: IdType.ID_FQDN, data: utf8(name) });
const range = (start: string, end: string, protocol = 0, startPort = 0, endPort = 65535): TrafficSelector => ({
  type: start.includes(':') ? 8 : 7,
  protocol,
  startPort,
  endPort,
  start: parseIp(start),
  end: parseIp(end),
});
const n = (notify: number, data: string | Uint8Array = NONE, protocol = 0, spi: Uint8Array = NONE): Payload => ({
  kind: 'N',
  notify,
  protocol,
  spi,
  data: typeof data === 'string' ? fromHex(data) : data,
});
const esp: Proposal = {
  number: 1,
  protocol: ProtocolId.ESP,
  spi: fromHex('b0c66090'),
  transforms: [
    { type: 5, id: 0 },
    { type: 1, id: 20, keyLength: 256 },
  ],
};

const AUTH_REQUEST: Payload[] = [
  id('IDi', 'left.lab'),
  { kind: 'CERT', encoding: CertEncoding.X509_SIGNATURE, data: new Uint8Array(700) },
  n(NotifyType.INITIAL_CONTACT),
  { kind: 'AUTH', method: AuthMethod.SHARED_KEY_MIC, data: new Uint8Array(32) },
  { kind: 'CP', cfgType: 1, attributes: [{ type: ConfigAttributeType.INTERNAL_IP4_ADDRESS, value: NONE }] },
  { kind: 'SA', proposals: [esp, { ...esp, number: 2, transforms: [{ type: 1, id: 28 }] }] },
  { kind: 'TSi', selectors: [range('10.1.0.0', '10.1.0.255')] },
  { kind: 'TSr', selectors: [range('0.0.0.0', '255.255.255.255'), range('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')] },
];

describe('summarise', () => {
  test('is one line in the notation of the RFC', () => {
    expect(summarise(HEADER, AUTH_REQUEST)).toBe(
      'IKE_AUTH request 1  { IDi, CERT, N(INITIAL_CONTACT), AUTH, CP(CFG_REQUEST), SA, TSi, TSr }',
    );
  });

  test('tells Ni from Nr, KEi from KEr', () => {
    const payloads: Payload[] = [
      { kind: 'KE', method: 31, data: NONE },
      { kind: 'Nonce', data: NONE },
    ];
    const init = { ...HEADER, exchange: ExchangeType.IKE_SA_INIT, messageId: 0 };
    expect(summarise(init, payloads)).toBe('IKE_SA_INIT request 0  { KEi, Ni }');
    expect(summarise({ ...init, flags: { ...init.flags, response: true } }, payloads)).toBe('IKE_SA_INIT response 0  { KEr, Nr }');
  });

  test('shows what is sealed, unknown or empty as such', () => {
    expect(summarise({ ...HEADER, exchange: ExchangeType.INFORMATIONAL }, [])).toBe('INFORMATIONAL request 1  { }');
    expect(summarise(HEADER, [{ kind: 'SKF', inner: 35, fragment: 2, total: 5, bodyOffset: 36 }])).toBe('IKE_AUTH request 1  { SKF(2/5) }');
    expect(summarise({ ...HEADER, exchange: 240 }, [{ kind: 'unknown', type: 200, data: NONE, critical: true }])).toBe(
      '240 request 1  { payload 200 (critical) }',
    );
    expect(summarise(HEADER, [{ kind: 'unknown', type: 54, data: NONE }, n(50_000), n(60)])).toBe(
      'IKE_AUTH request 1  { PS, N(status 50000), N(error 60) }',
    );
  });
});

test('a message of hundreds of parts fills no terminal', () => {
  const many = Array.from({ length: 500 }, (): Payload => ({ kind: 'V', data: NONE }));
  expect(summarise(HEADER, many)).toMatch(/V, and 436 more \}$/);
  const attributes = Array.from({ length: 16_000 }, () => ({ type: 1, value: NONE }));
  const lines = describePayload({ kind: 'CP', cfgType: 1, attributes }, false);
  expect(lines.length).toBe(130);
  expect(lines.at(-1)).toBe('         and 15872 more');
});

test('describeMessage draws a tree', () => {
  expect(describeMessage(HEADER, AUTH_REQUEST, { indent: '| ' })).toBe(
    [
      '| IKE_AUTH request 1  3292a762f221cd50 4a9029d1c768268c  from the original initiator',
      '|   IDi      left.lab  (ID_FQDN)',
      '|   CERT     X509_SIGNATURE, 700 octets',
      '|   N        INITIAL_CONTACT',
      '|   AUTH     SHARED_KEY_MIC, 32 octets',
      '|   CP       CFG_REQUEST',
      '|              INTERNAL_IP4_ADDRESS',
      '|   SA       #1 ESP b0c66090  AES_GCM_16-256 / NO_ESN',
      '|            #2 ESP b0c66090  CHACHA20_POLY1305',
      '|   TSi      10.1.0.0/24',
      '|   TSr      0.0.0.0/0, ::/0',
    ].join('\n'),
  );
});

describe('formatProposal', () => {
  const format = (...transforms: Proposal['transforms']): string => formatProposal({ number: 1, protocol: 1, spi: NONE, transforms });

  test('orders by type and parts alternatives by commas', () => {
    const text = format(
      { type: 4, id: 31 },
      { type: 6, id: 36 },
      { type: 6, id: 0 },
      { type: 2, id: 6 },
      { type: 1, id: 12, keyLength: 128 },
      { type: 3, id: 12 },
      { type: 1, id: 12, keyLength: 256 },
    );
    expect(text).toBe('AES_CBC-128, AES_CBC-256 / HMAC_SHA2_256_128 / PRF_HMAC_SHA2_384 / CURVE25519 / ADDKE1 ML_KEM_768, NONE');
  });

  test('shows numbers where there are no names, and attributes nobody knows', () => {
    expect(format({ type: 1, id: 1023 }, { type: 99, id: 7 }, { type: 3, id: 0 })).toBe('ENCR 1023 / INTEG_NONE / type 99 id 7');
    const attributes = [
      { type: 300, value: 5 },
      { type: 14, value: fromHex('0100') },
    ];
    expect(format({ type: 1, id: 20, keyLength: 256, attributes })).toBe('AES_GCM_16-256 [300=5] [KEY_LENGTH=0x0100]');
    expect(format()).toBe('no transforms');
  });
});

describe('formatSelector', () => {
  test.each([
    [range('10.1.0.0', '10.1.0.255'), '10.1.0.0/24'],
    [range('10.1.0.1', '10.1.0.1'), '10.1.0.1'],
    [range('10.1.0.1', '10.1.0.2'), '10.1.0.1-10.1.0.2'],
    [range('10.1.0.1', '10.1.0.255'), '10.1.0.1-10.1.0.255'],
    [range('10.1.0.9', '10.1.0.3'), '10.1.0.9-10.1.0.3'],
    [range('0.0.0.0', '255.255.255.255'), '0.0.0.0/0'],
    [range('fd00::', 'fd00::ffff'), 'fd00::/112'],
    [range('10.1.0.1', '10.1.0.1', 6), '10.1.0.1[tcp]'],
    [range('10.1.0.1', '10.1.0.1', 6, 443, 443), '10.1.0.1[tcp/443]'],
    [range('10.1.0.1', '10.1.0.1', 17, 1024, 2047), '10.1.0.1[udp/1024-2047]'],
    [range('10.1.0.1', '10.1.0.1', 0, 53, 53), '10.1.0.1[any/53]'],
    [range('10.1.0.1', '10.1.0.1', 6, 65535, 0), '10.1.0.1[tcp/OPAQUE]'],
    [range('10.1.0.1', '10.1.0.1', 1, 0x0800, 0x08ff), '10.1.0.1[icmp/8]'],
    [range('10.1.0.1', '10.1.0.1', 1, 0x0301, 0x0304), '10.1.0.1[icmp/3(1-4)]'],
    [range('fd00::1', 'fd00::1', 58, 0x8000, 0x8000), 'fd00::1[icmpv6/128(0)]'],
    [range('10.1.0.1', '10.1.0.1', 1, 0x0305, 0x0a01), '10.1.0.1[icmp/3(5)-10(1)]'],
    [range('10.1.0.1', '10.1.0.1', 99), '10.1.0.1[99]'],
    [{ type: 10, protocol: 0, raw: utf8('system_u:s0\0') }, 'TS_SECLABEL(system_u:s0)'],
    [{ type: 10, protocol: 0, raw: fromHex('0000') }, 'TS_SECLABEL(0x0000)'],
    [{ type: 77, protocol: 0, raw: NONE }, '77(0x)'],
  ] as const)('%j', (selector, text) => {
    expect(formatSelector(selector)).toBe(text);
  });
});

describe('formatIdentification', () => {
  test.each([
    [IdType.ID_IPV4_ADDR, fromHex('c0000201'), '192.0.2.1'],
    [IdType.ID_IPV6_ADDR, parseIp('2001:db8::1'), '2001:db8::1'],
    [IdType.ID_FQDN, utf8('vpn.example.com'), 'vpn.example.com'],
    [IdType.ID_RFC822_ADDR, utf8('carol@example.com'), 'carol@example.com'],
    [IdType.ID_KEY_ID, utf8('branch 7'), 'branch 7'],
    [IdType.ID_KEY_ID, fromHex('00ff'), '0x00ff'],
    [IdType.ID_NULL, NONE, 'ID_NULL'],
    [IdType.ID_IPV4_ADDR, fromHex('c00002'), 'ID_IPV4_ADDR 0xc00002'],
    [IdType.ID_FQDN, NONE, '(empty)'],
    [IdType.ID_DER_ASN1_DN, fromHex('30ff'), 'ID_DER_ASN1_DN 0x30ff'],
    [77, fromHex('01'), '77 0x01'],
  ])('type %i', (idType, data, text) => {
    expect(formatIdentification({ idType, data })).toBe(text);
  });

  test('shows control characters and bidirectional overrides as what they are', () => {
    expect(formatIdentification({ idType: IdType.ID_FQDN, data: utf8('a\u001b[2Jb\nc\u202ed') })).toBe('a\\x1b[2Jb\\x0ac\\x202ed');
  });
});

describe('distinguished names', () => {
  const tlv = (tag: number, ...content: Uint8Array[]): Uint8Array => {
    const body = concat(...content);
    return body.length < 128
      ? concat(Uint8Array.of(tag, body.length), body)
      : concat(Uint8Array.of(tag, 0x82, body.length >>> 8, body.length), body);
  };
  const rdn = (oid: string, value: Uint8Array): Uint8Array => tlv(0x31, tlv(0x30, tlv(6, fromHex(oid)), value));
  const name = (...rdns: Uint8Array[]): Uint8Array => tlv(0x30, ...rdns);

  test('are text in the order of their encoding', () => {
    const der = name(
      rdn('550406', tlv(0x13, utf8('CH'))),
      rdn('55040a', tlv(0x0c, utf8('Exämple, Inc.'))),
      rdn('550403', tlv(0x0c, utf8('gw'))),
    );
    expect(formatDistinguishedName(der)).toBe('C=CH, O="Exämple, Inc.", CN=gw');
    expect(formatIdentification({ idType: IdType.ID_DER_ASN1_DN, data: der })).toBe('C=CH, O="Exämple, Inc.", CN=gw');
  });

  test('show attributes nobody names by their identifier, and values that are no text in hex', () => {
    expect(formatDistinguishedName(name(rdn('2a03', tlv(0x0c, utf8('x')))))).toBe('1.2.3=x');
    expect(formatDistinguishedName(name(rdn('8837', tlv(0x0c, utf8('x')))))).toBe('2.999=x');
    expect(formatDistinguishedName(name(rdn('550403', tlv(4, fromHex('beef')))))).toBe('CN=#beef');
    expect(formatDistinguishedName(name(rdn('550403', tlv(0x1e, fromHex('00670077')))))).toBe('CN=gw');
  });

  test('with several attributes in one part join them', () => {
    const pair = (oid: string, value: string): Uint8Array => tlv(0x30, tlv(6, fromHex(oid)), tlv(0x0c, utf8(value)));
    expect(formatDistinguishedName(name(tlv(0x31, pair('550403', 'gw'), pair('550405', '7'))))).toBe('CN=gw+serialNumber=7');
  });

  test('that are broken, endless or too many are none', () => {
    expect(formatDistinguishedName(NONE)).toBeUndefined();
    expect(formatDistinguishedName(fromHex('3080'))).toBeUndefined();
    expect(formatDistinguishedName(fromHex('30840000000100'))).toBeUndefined();
    expect(formatDistinguishedName(concat(name(), fromHex('00')))).toBeUndefined();
    expect(formatDistinguishedName(name(tlv(0x31)))).toBeUndefined();
    const one = rdn('550403', tlv(0x0c, utf8('x')));
    expect(formatDistinguishedName(name(...Array.from({ length: 33 }, () => one)))).toBeUndefined();
    const whole = name(one, one);
    for (let length = 0; length < whole.length; length++) expect(formatDistinguishedName(whole.subarray(0, length))).toBeUndefined();
  });

  test('made of anything end quickly', () => {
    const g = gen(1);
    for (let i = 0; i < 2000; i++) {
      const octets = g.bytes(0, 120);
      octets[0] = 0x30;
      formatDistinguishedName(octets);
    }
  });

  test('of no part are empty', () => {
    expect(formatDistinguishedName(name())).toBe('');
  });
});

describe('notifies say what their data means', () => {
  const line = (payload: Payload): string => describePayload(payload, false).join('\n').replace(/^N +/, '');

  test.each([
    [n(NotifyType.COOKIE, '00112233'), 'COOKIE 0x00112233'],
    [n(NotifyType.NAT_DETECTION_SOURCE_IP, 'ab'.repeat(20)), `NAT_DETECTION_SOURCE_IP 0x${'ab'.repeat(20)}`],
    [n(NotifyType.INVALID_KE_PAYLOAD, '0014'), 'INVALID_KE_PAYLOAD wanted ECP_384'],
    [n(NotifyType.INVALID_KE_PAYLOAD, '001401'), 'INVALID_KE_PAYLOAD 0x001401 (not as its type demands)'],
    [n(NotifyType.SIGNATURE_HASH_ALGORITHMS, '0002000500ff'), 'SIGNATURE_HASH_ALGORITHMS SHA2_256, IDENTITY, 255'],
    [n(NotifyType.SIGNATURE_HASH_ALGORITHMS, '000200'), 'SIGNATURE_HASH_ALGORITHMS 0x000200 (not as its type demands)'],
    [n(NotifyType.REKEY_SA, NONE, 3, fromHex('c8a3d6f1')), 'REKEY_SA ESP c8a3d6f1'],
    [n(NotifyType.AUTH_LIFETIME, '00002671'), 'AUTH_LIFETIME 9841 s'],
    [n(NotifyType.REDIRECT, concat(fromHex('0104c0000202'), fromHex('0a0b'))), 'REDIRECT 192.0.2.2, nonce 0x0a0b'],
    [n(NotifyType.REDIRECT, concat(fromHex('0306'), utf8('gw.lab'))), 'REDIRECT gw.lab'],
    [n(NotifyType.REDIRECTED_FROM, '0204c0000202'), 'REDIRECTED_FROM IPV6 0xc0000202'],
    [n(NotifyType.REDIRECT, '01ffc0000202'), 'REDIRECT 0x01ffc0000202 (not as its type demands)'],
    [n(NotifyType.ADDITIONAL_IP6_ADDRESS, parseIp('fd09::1')), 'ADDITIONAL_IP6_ADDRESS fd09::1'],
    [n(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, 'c8'), 'UNSUPPORTED_CRITICAL_PAYLOAD 200'],
    [n(NotifyType.IPCOMP_SUPPORTED, '000102'), 'IPCOMP_SUPPORTED CPI 0001 IPCOMP_DEFLATE'],
    [n(NotifyType.SET_WINDOW_SIZE, '00000005'), 'SET_WINDOW_SIZE 5'],
    [
      n(NotifyType.TICKET_LT_OPAQUE, concat(fromHex('00000e10'), new Uint8Array(90))),
      'TICKET_LT_OPAQUE lifetime 3600 s, ticket of 90 octets',
    ],
    [n(NotifyType.PUZZLE, '000515'), 'PUZZLE PRF_HMAC_SHA2_256, difficulty 21'],
    [n(NotifyType.PPK_IDENTITY, concat(fromHex('02'), utf8('ppk.lab'))), 'PPK_IDENTITY PPK_ID_FIXED ppk.lab'],
    [n(NotifyType.ADDITIONAL_KEY_EXCHANGE, '42'), 'ADDITIONAL_KEY_EXCHANGE 0x42'],
    [n(NotifyType.USE_AGGFRAG, '02'), 'USE_AGGFRAG flags C-'],
    [
      n(NotifyType.SUPPORTED_AUTH_METHODS, '0202 030101 0a0e01300506032b6570'),
      ['SUPPORTED_AUTH_METHODS', 'SHARED_KEY_MIC', 'RSA_DIGITAL_SIGNATURE for CERTREQ 1', 'DIGITAL_SIGNATURE Ed25519 for CERTREQ 1'].join(
        '\n           ',
      ),
    ],
    [n(NotifyType.SUPPORTED_AUTH_METHODS, '00'), 'SUPPORTED_AUTH_METHODS 0x00 (not as its type demands)'],
    [n(41_000, '0102'), 'status 41000 0x0102'],
    [n(NotifyType.NO_PROPOSAL_CHOSEN), 'NO_PROPOSAL_CHOSEN'],
  ])('%#', (payload, text) => {
    expect(line(payload)).toBe(text);
  });
});

describe('other payloads', () => {
  const lines = (payload: Payload): string[] => describePayload(payload, true);

  test('AUTH names its signature algorithm', () => {
    const data = concat(fromHex('0c 300a06082a8648ce3d040303'), new Uint8Array(70));
    expect(lines({ kind: 'AUTH', method: AuthMethod.DIGITAL_SIGNATURE, data })).toEqual([
      'AUTH     DIGITAL_SIGNATURE ECDSA with SHA-384, 70 octets',
    ]);
    expect(lines({ kind: 'AUTH', method: AuthMethod.DIGITAL_SIGNATURE, data: fromHex('ff00') })).toEqual([
      'AUTH     DIGITAL_SIGNATURE, 2 octets',
    ]);
    expect(lines({ kind: 'AUTH', method: 200, data: new Uint8Array(3) })).toEqual(['AUTH     200, 3 octets']);
  });

  test('CERT shows a hash and URL, and of a certificate nothing but its size', () => {
    const data = concat(new Uint8Array(20), utf8('http://a/\u001b[31m'));
    expect(lines({ kind: 'CERT', encoding: CertEncoding.HASH_AND_URL_X509, data })).toEqual([
      `CERT     HASH_AND_URL_X509  SHA-1 ${'00'.repeat(20)}  URL http://a/\\x1b[31m`,
    ]);
  });

  test('CP shows addresses, subnets and names', () => {
    const attributes = [
      { type: ConfigAttributeType.INTERNAL_IP4_ADDRESS, value: fromHex('0a420005') },
      { type: ConfigAttributeType.INTERNAL_IP6_ADDRESS, value: concat(parseIp('fd00::5'), Uint8Array.of(64)) },
      { type: ConfigAttributeType.INTERNAL_IP4_SUBNET, value: fromHex('0a000000ff000000') },
      { type: ConfigAttributeType.INTERNAL_IP4_SUBNET, value: fromHex('0a000000ff00ff00') },
      { type: ConfigAttributeType.INTERNAL_DNS_DOMAIN, value: utf8('corp.example') },
      { type: ConfigAttributeType.SUPPORTED_ATTRIBUTES, value: fromHex('0001000803e7') },
      { type: ConfigAttributeType.INTERNAL_IP4_DNS, value: fromHex('0a00') },
      { type: ConfigAttributeType.INTERNAL_DNSSEC_TA, value: fromHex('4f66 08 02 abcd') },
      {
        type: ConfigAttributeType.ENCDNS_IP4,
        value: concat(fromHex('0001 02 06 0a000001 0a000002'), utf8('dns.ex'), fromHex('00010003 02 6832')),
      },
      { type: ConfigAttributeType.ENCDNS_DIGEST_INFO, value: fromHex('02 00 0002 0003') },
      { type: ConfigAttributeType.ENCDNS_DIGEST_INFO, value: concat(fromHex('01 06'), utf8('dns.ex'), fromHex('0002 abcd')) },
      { type: ConfigAttributeType.ENCDNS_DIGEST_INFO, value: fromHex('03 00') },
      { type: ConfigAttributeType.ENCDNS_IP4, value: fromHex('0001 02 06 0a000001') },
      { type: 16_000, value: fromHex('01') },
    ];
    expect(lines({ kind: 'CP', cfgType: 2, attributes }).map((line) => line.trim())).toEqual([
      'CP       CFG_REPLY',
      'INTERNAL_IP4_ADDRESS 10.66.0.5',
      'INTERNAL_IP6_ADDRESS fd00::5/64',
      'INTERNAL_IP4_SUBNET 10.0.0.0/8',
      'INTERNAL_IP4_SUBNET 10.0.0.0/255.0.255.0',
      'INTERNAL_DNS_DOMAIN corp.example',
      'SUPPORTED_ATTRIBUTES INTERNAL_IP4_ADDRESS, INTERNAL_IP6_ADDRESS, 999',
      'INTERNAL_IP4_DNS 0x0a00',
      'INTERNAL_DNSSEC_TA key tag 20326, algorithm 8, digest type 2, 0xabcd',
      'ENCDNS_IP4 priority 1, h2 by dns.ex at 10.0.0.1 10.0.0.2',
      'ENCDNS_DIGEST_INFO SHA2_256, SHA2_384',
      'ENCDNS_DIGEST_INFO SHA2_256 0xabcd of dns.ex',
      'ENCDNS_DIGEST_INFO 0x0300',
      'ENCDNS_IP4 0x000102060a000001',
      '16000 0x01',
    ]);
  });

  test('EAP shows its header alone: what a method carries may be a credential', () => {
    const packet = concat(fromHex('0217000f01'), utf8('carol@secret'));
    expect(lines({ kind: 'EAP', data: packet })).toEqual(['EAP      RESPONSE 23 IDENTITY, 17 octets, stated as 15']);
    expect(lines({ kind: 'EAP', data: fromHex('03050004') })).toEqual(['EAP      SUCCESS 5, 4 octets']);
    expect(lines({ kind: 'EAP', data: fromHex('03') })).toEqual(['EAP      1 octet, too short for EAP']);
  });

  test('D names protocol and SPIs', () => {
    expect(lines({ kind: 'D', protocol: 3, spis: [fromHex('00000001'), fromHex('00000002')] })).toEqual(['D        ESP 00000001 00000002']);
    expect(lines({ kind: 'D', protocol: 1, spis: [] })).toEqual(['D        IKE']);
  });

  test('an unknown payload shows its size and its beginning', () => {
    expect(lines({ kind: 'unknown', type: 200, data: new Uint8Array(30), critical: true })).toEqual([
      `200      unknown payload, critical, 0x${'00'.repeat(20)}… (30 octets)`,
    ]);
  });
});

describe('vendor ids', () => {
  const md5 = (text: string): Uint8Array => new Uint8Array(createHash('md5').update(text).digest());

  test.each([
    ['strongSwan', md5('strongSwan')],
    ['FRAGMENTATION', concat(md5('FRAGMENTATION'), fromHex('80000000'))],
    ['MS-Negotiation Discovery Capable', md5('MS-Negotiation Discovery Capable')],
    ['Vid-Initial-Contact', md5('Vid-Initial-Contact')],
    ['IKE CGA version 1', md5('IKE CGA version 1')],
    ['MS NT5 ISAKMPOAKLEY (Windows 8 or later)', concat(md5('MS NT5 ISAKMPOAKLEY'), fromHex('00000009'))],
    ['MS NT5 ISAKMPOAKLEY', concat(md5('MS NT5 ISAKMPOAKLEY'), fromHex('000000ff'))],
    ['NAT-T (RFC 3947)', md5('RFC 3947')],
    ['XAUTH', md5('draft-ietf-ipsra-isakmp-xauth-06.txt').subarray(0, 8)],
    ['KAME racoon', md5('KAME/racoon')],
    ['FortiGate', concat(md5('FORTIGATE').subarray(0, 12), fromHex('00050428'))],
    ['Cisco Unity', concat(md5('CISCO-UNITY').subarray(0, 14), fromHex('0100'))],
  ])('%s', (name, data) => {
    expect(vendorName(data)).toBe(name);
    expect(describePayload({ kind: 'V', data }, false)).toEqual([`V        ${name}`]);
  });

  test('nobody knows are text in quotes, or hex', () => {
    expect(vendorName(md5('something else'))).toBeUndefined();
    expect(describePayload({ kind: 'V', data: utf8('CISCO-DELETE-REASON') }, false)).toEqual(['V        "CISCO-DELETE-REASON"']);
    expect(describePayload({ kind: 'V', data: fromHex('0001') }, false)).toEqual(['V        0x0001']);
    expect(describePayload({ kind: 'V', data: utf8('a\u001bb') }, false)).toEqual(['V        0x611b62']);
  });
});
