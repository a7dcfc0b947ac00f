import { describe, expect, test } from 'vitest';
import { fromHex, MalformedMessage, parseIp, utf8, Writer } from '../../../src/core/bytes/index.ts';
import { DnsType, parseDnsAnswer, writeDnsQuery } from '../../../src/host/engine/dns-message.ts';

interface RecordFields {
  readonly name: Uint8Array;
  readonly type: number;
  readonly data: Uint8Array;
}

const name = (text: string): Uint8Array => {
  const writer = new Writer();
  for (const label of text.split('.')) writer.u8(label.length).bytes(utf8(label));
  return writer.u8(0).finish();
};
const pointer = (at: number): Uint8Array => Uint8Array.of(0xc0 | (at >>> 8), at & 0xff);
/** The name of the question, as every server writes it. */
const ASKED = pointer(12);

function answer(query: Uint8Array, records: readonly RecordFields[], flags = 0x8180): Uint8Array {
  const writer = new Writer().bytes(query.subarray(0, 2)).u16(flags).u16(1).u16(records.length).u16(0).u16(0).bytes(query.subarray(12));
  for (const { name: owner, type, data } of records) writer.bytes(owner).u16(type).u16(1).u32(300).u16(data.length).bytes(data);
  return writer.finish().slice();
}

const query = writeDnsQuery(0x1234, 'files.corp.example', DnsType.A);

test('a question looks as RFC 1035 §4.1 says', () => {
  expect(query).toEqual(fromHex('1234 0100 0001 0000 0000 0000 05 66696c6573 04 636f7270 07 6578616d706c65 00 0001 0001'));
  expect(writeDnsQuery(0x1234, 'files.corp.example.', DnsType.A)).toEqual(query);
});

test.each(['', 'a..b', `${'a'.repeat(64)}.example`])('%j is no host name', (text) => {
  expect(() => writeDnsQuery(1, text, DnsType.A)).toThrow(MalformedMessage);
});

describe('an answer', () => {
  const address = { name: ASKED, type: DnsType.A, data: parseIp('10.20.0.8') };

  test('gives the addresses in the order of the server', () => {
    const message = answer(query, [address, { ...address, data: parseIp('10.20.0.9') }]);
    expect(parseDnsAnswer(message, query, DnsType.A)).toEqual({ code: 0, addresses: ['10.20.0.8', '10.20.0.9'] });
  });

  test('IPv6', () => {
    const query6 = writeDnsQuery(7, 'files.corp.example', DnsType.AAAA);
    const message = answer(query6, [{ name: ASKED, type: DnsType.AAAA, data: parseIp('fd00::8') }]);
    expect(parseDnsAnswer(message, query6, DnsType.AAAA)?.addresses).toEqual(['fd00::8']);
  });

  test('through aliases, compressed or not', () => {
    const records = [
      { name: ASKED, type: DnsType.CNAME, data: name('store.corp.example') },
      { name: name('STORE.corp.example'), type: DnsType.CNAME, data: Uint8Array.of(2, 0x6e, 0x31, 0xc0, 18) }, // n1.corp.example
      { name: name('n1.corp.example'), type: DnsType.A, data: parseIp('10.20.0.8') },
    ];
    expect(parseDnsAnswer(answer(query, records), query, DnsType.A)?.addresses).toEqual(['10.20.0.8']);
  });

  test('leaves out what was not asked for', () => {
    const records = [
      { name: name('other.example'), type: DnsType.A, data: parseIp('192.0.2.66') },
      { name: ASKED, type: DnsType.AAAA, data: parseIp('fd00::66') },
      { name: ASKED, type: DnsType.A, data: Uint8Array.of(1, 2, 3) },
      address,
    ];
    expect(parseDnsAnswer(answer(query, records), query, DnsType.A)?.addresses).toEqual(['10.20.0.8']);
  });

  test('that there is no such name', () => {
    expect(parseDnsAnswer(answer(query, [], 0x8183), query, DnsType.A)).toEqual({ code: 3, addresses: [] });
  });

  test('to another question, with another number, or no answer at all is nobody’s', () => {
    const other = writeDnsQuery(0x1234, 'other.corp.example', DnsType.A);
    expect(parseDnsAnswer(answer(other, [address]), query, DnsType.A)).toBeUndefined();
    expect(parseDnsAnswer(answer(writeDnsQuery(0x4321, 'files.corp.example', DnsType.A), [address]), query, DnsType.A)).toBeUndefined();
    expect(parseDnsAnswer(answer(query, [address], 0x0180), query, DnsType.A)).toBeUndefined();
  });

  test('in other letters is the same name (RFC 4343)', () => {
    const message = answer(query, [address]);
    for (let i = 13; i < 18; i++) message[i]! ^= 0x20; // FILES
    expect(parseDnsAnswer(message, query, DnsType.A)?.addresses).toEqual(['10.20.0.8']);
  });

  test('that leads in circles ends', () => {
    const selfPointer = answer(query, [{ ...address, name: pointer(query.length) }]);
    expect(() => parseDnsAnswer(selfPointer, query, DnsType.A)).toThrow(MalformedMessage);
    const forward = answer(query, [{ ...address, name: pointer(query.length + 4) }]);
    expect(() => parseDnsAnswer(forward, query, DnsType.A)).toThrow(MalformedMessage);
  });

  test('cut off anywhere is malformed or nobody’s, never anything else', () => {
    const whole = answer(query, [{ ...address, name: name('files.corp.example') }]);
    for (let length = 0; length < whole.length; length++) {
      let result: unknown;
      try {
        result = parseDnsAnswer(whole.subarray(0, length), query, DnsType.A);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedMessage);
      }
      expect(result).toBeUndefined();
    }
  });
});
