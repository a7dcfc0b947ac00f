import { describe, expect, test } from 'vitest';
import { concat, fromHex, toHex } from '../../../src/core/bytes/bytes.ts';
import { ApiMisuse } from '../../../src/core/bytes/errors.ts';
import { Writer } from '../../../src/core/bytes/writer.ts';
import { PayloadType } from '../../../src/core/wire/iana.ts';
import { parsePayloads, writePayloads } from '../../../src/core/wire/message.ts';
import type { Payload } from '../../../src/core/wire/payloads/types.ts';

/** Where RESERVED stands, and what is in it on the wire. */
const FORMS: readonly (readonly [string, number, (reserved: string) => string])[] = [
  ['Authentication (RFC 7296 §3.8)', PayloadType.AUTH, (reserved) => `02 ${reserved} c0ffee`],
  ['Traffic Selector (§3.13)', PayloadType.TSi, (reserved) => `01 ${reserved} 07 06 0010 0050 0050 0a010000 0a0100ff`],
  ['Configuration (§3.15)', PayloadType.CP, (reserved) => `01 ${reserved} 0001 0004 0a010002`],
];

function parse(type: number, body: string): Payload {
  const octets = fromHex(body);
  return parsePayloads(type, concat(Uint8Array.of(0, 0, 0, 4 + octets.length), octets))[0]!;
}

function written(payload: Payload): string {
  const w = new Writer();
  writePayloads(w, [payload]);
  return toHex(w.finish().subarray(4));
}

describe.each(FORMS)('RESERVED of the %s payload', (_, type, body) => {
  test('is ignored on receipt', () => {
    const payload = parse(type, body('000000'));
    for (const reserved of ['ffffff', '000001', '800000']) expect(parse(type, body(reserved))).toEqual(payload);
  });

  test('is sent as zero', () => {
    expect(written(parse(type, body('ffffff')))).toBe(toHex(fromHex(body('000000'))));
  });
});

test('an attribute type that would set the reserved bit is not written (RFC 7296 §3.15.1)', () => {
  const attribute = (type: number): Payload => ({ kind: 'CP', cfgType: 1, attributes: [{ type, value: new Uint8Array(0) }] });
  expect(written(attribute(0x7fff))).toBe('010000007fff0000');
  expect(() => written(attribute(0x8001))).toThrow(ApiMisuse);
});
