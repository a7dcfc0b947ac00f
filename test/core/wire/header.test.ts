import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../../src/core/bytes/bytes.ts';
import { MalformedMessage } from '../../../src/core/bytes/errors.ts';
import { Reader } from '../../../src/core/bytes/reader.ts';
import { Writer } from '../../../src/core/bytes/writer.ts';
import { HEADER_LENGTH, type IkeHeader, parseHeader, writeHeader } from '../../../src/core/wire/header.ts';
import { forSeeds } from '../../support/gen.ts';

const OCTETS = '0102030405060708 1112131415161718 21 20 23 08 00000001 00000123';

describe('the IKE header, RFC 7296 §3.1', () => {
  test('is read field by field', () => {
    const { header, nextPayload, length } = parseHeader(fromHex(OCTETS));
    expect({ nextPayload, length }).toEqual({ nextPayload: 33, length: 0x123 });
    expect(header).toEqual({
      spiI: fromHex('0102030405060708'),
      spiR: fromHex('1112131415161718'),
      majorVersion: 2,
      minorVersion: 0,
      exchange: 35,
      flags: { initiator: true, response: false, version: false },
      messageId: 1,
    });
  });

  test('may be read from a reader, which then stands behind it', () => {
    const r = new Reader(fromHex(`${OCTETS} ff`));
    parseHeader(r);
    expect(r.offset).toBe(HEADER_LENGTH);
  });

  test('ignores the reserved flags and keeps the three that have a meaning', () => {
    const flags = (octet: string): IkeHeader['flags'] => parseHeader(fromHex(OCTETS.replace(' 08 ', ` ${octet} `))).header.flags;
    expect(flags('c7')).toEqual({ initiator: false, response: false, version: false });
    expect(flags('ff')).toEqual({ initiator: true, response: true, version: true });
    expect(flags('28')).toEqual({ initiator: true, response: true, version: false });
  });

  test('is read for every version, so that a refusal can be addressed', () => {
    for (const [octet, major, minor] of [
      ['10', 1, 0],
      ['2f', 2, 15],
      ['30', 3, 0],
      ['00', 0, 0],
    ] as const) {
      const { header } = parseHeader(fromHex(OCTETS.replace(' 20 ', ` ${octet} `)));
      expect([header.majorVersion, header.minorVersion, header.messageId]).toEqual([major, minor, 1]);
    }
  });

  test('is refused when it is cut short, at every length', () => {
    const whole = fromHex(OCTETS);
    for (let length = 0; length < HEADER_LENGTH; length++) expect(() => parseHeader(whole.subarray(0, length))).toThrow(MalformedMessage);
  });

  test('is written as it was read', () => {
    forSeeds(200, (g) => {
      const header: IkeHeader = {
        spiI: g.bytes(8),
        spiR: g.bytes(8),
        majorVersion: g.int(0, 15),
        minorVersion: g.int(0, 15),
        exchange: g.u8(),
        flags: { initiator: g.oneIn(2), response: g.oneIn(2), version: g.oneIn(2) },
        messageId: g.u32(),
      };
      const w = new Writer();
      const nextPayload = g.u8();
      const length = g.u32();
      writeHeader(w, header, nextPayload, length);
      expect(w.length).toBe(HEADER_LENGTH);
      expect(parseHeader(w.finish())).toEqual({ header, nextPayload, length });
    });
  });

  test('sends the reserved flags as zero', () => {
    const w = new Writer();
    const { header } = parseHeader(fromHex(OCTETS.replace(' 08 ', ' cf ')));
    writeHeader(w, header, 33, 0x123);
    expect(toHex(w.finish())).toBe(toHex(fromHex(OCTETS)));
  });
});
