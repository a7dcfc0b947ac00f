import { describe, expect, test } from 'vitest';
import { equalBytes, toHex } from '../../../src/core/bytes/bytes.ts';
import { MalformedMessage, TunnelwrightError } from '../../../src/core/bytes/errors.ts';
import { Writer } from '../../../src/core/bytes/writer.ts';
import { describePayload } from '../../../src/core/wire/describe.ts';
import { PayloadType } from '../../../src/core/wire/iana.ts';
import { parsePayloads, typeOf, writePayloads } from '../../../src/core/wire/message.ts';
import { definitionByType, PAYLOADS } from '../../../src/core/wire/payloads/index.ts';
import type { Payload } from '../../../src/core/wire/payloads/types.ts';
import { expectAtOnce } from '../../support/at-once.ts';
import { forSeeds, type Gen } from '../../support/gen.ts';

const open = PAYLOADS.filter(({ notation }) => notation !== 'SK' && notation !== 'SKF');

function encode(...payloads: Payload[]): Uint8Array {
  const w = new Writer();
  writePayloads(w, payloads);
  return w.finish();
}

const unknown = (g: Gen): Payload => ({ kind: 'unknown', type: g.pick([1, 13, 32, 49, 55, 200, 255]), data: g.bytes(0, 100) });

describe.each(open.map((definition) => [definition.notation, definition] as const))('%s payload', (_, definition) => {
  test('is read as it was written', () => {
    forSeeds(120, (g) => {
      const payload = definition.sample(g);
      expect(parsePayloads(definition.type, encode(payload))).toEqual([payload]);
    });
  });

  test('keeps its critical bit', () => {
    forSeeds(5, (g) => {
      const payload: Payload = { ...definition.sample(g), critical: true };
      const octets = encode(payload);
      expect(octets[1]).toBe(0x80);
      expect(parsePayloads(definition.type, octets)).toEqual([payload]);
    });
  });

  test('is refused when it is cut short, or is another well-formed value', () => {
    forSeeds(8, (g) => {
      const octets = encode(definition.sample(g));
      for (let length = 0; length < octets.length; length++) {
        if (readOrRefused(definition.type, octets.subarray(0, length)))
          expect.unreachable(`${length} of ${octets.length} octets were read`);
        // With a Payload Length that tells the truth only the fields inside are short: some payloads end anywhere.
        if (length < 4) continue;
        const shorter = octets.slice(0, length);
        shorter[2] = length >>> 8;
        shorter[3] = length;
        readOrRefused(definition.type, shorter);
      }
    });
  });

  test('survives every change of an octet: it parses or is refused, and nothing else', () => {
    forSeeds(10, (g) => {
      const octets = encode(definition.sample(g));
      for (let at = 0; at < Math.min(octets.length, 200); at++) {
        for (const value of [0, 1, 0x7f, 0x80, 0xff, octets[at]! ^ (1 << g.int(0, 7))]) {
          const changed = octets.slice();
          changed[at] = value;
          readOrRefused(definition.type, changed);
        }
      }
    });
  });

  test('is described on lines that a terminal shows safely', () => {
    forSeeds(100, (g) => {
      const lines = describePayload(definition.sample(g), g.oneIn(2));
      expect(lines.length).toBeGreaterThan(0);
      expect(lines[0]).toMatch(/^\w+/);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
      for (const line of lines) expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/);
    });
  });
});

/** True when it was read; a refusal must be typed and say something. */
function readOrRefused(type: number, octets: Uint8Array): boolean {
  try {
    for (const payload of parsePayloads(type, octets)) describePayload(payload, false);
    return true;
  } catch (error) {
    if (!(error instanceof MalformedMessage) || error.message === '') throw error;
    return false;
  }
}

test('sealed payloads are described by what stands outside', () => {
  expect(describePayload({ kind: 'SK', inner: PayloadType.IDi, bodyOffset: 32 }, false)).toEqual(['SK       sealed, begins with IDi']);
  expect(describePayload({ kind: 'SK', inner: 0, bodyOffset: 32 }, false)).toEqual(['SK       sealed, empty']);
  forSeeds(20, (g) => {
    const [skf] = PAYLOADS.filter(({ notation }) => notation === 'SKF').map((definition) => definition.sample(g));
    expect(describePayload(skf!, false)).toEqual([expect.stringMatching(/^SKF {6}sealed fragment \d+ of \d+$/)]);
  });
});

test('every payload type of RFC 7296 is understood (§3.2)', () => {
  for (let type = 33; type <= 48; type++) expect(definitionByType(type)?.type, `payload type ${type}`).toBe(type);
});

describe('a chain of payloads', () => {
  test('is read as it was written, unknown ones in their places', () => {
    forSeeds(100, (g) => {
      const payloads = g.many(0, 8, () => (g.oneIn(4) ? unknown(g) : g.pick(open).sample(g)));
      const first = payloads[0] === undefined ? PayloadType.NONE : typeOf(payloads[0]);
      expect(parsePayloads(first, encode(...payloads))).toEqual(payloads);
    });
  });

  test('loses nothing: writing what was read gives the same octets', () => {
    forSeeds(100, (g) => {
      const payloads = g.many(1, 6, () => (g.oneIn(4) ? unknown(g) : g.pick(open).sample(g)));
      const octets = encode(...payloads);
      expect(toHex(encode(...parsePayloads(typeOf(payloads[0]!), octets)))).toBe(toHex(octets));
    });
  });

  test('is a view: nothing is copied', () => {
    forSeeds(20, (g) => {
      const octets = encode({ kind: 'Nonce', data: g.bytes(32) });
      const [nonce] = parsePayloads(PayloadType.Nonce, octets);
      octets.fill(7);
      expect(nonce?.kind === 'Nonce' && equalBytes(nonce.data, new Uint8Array(32).fill(7))).toBe(true);
    });
  });

  test('made of anything at all is read or refused, quickly', () => {
    const readOrRefuse = (): void =>
      forSeeds(2000, (g) => {
        const octets = g.bytes(0, 400);
        const type = g.oneIn(2) ? g.u8() : g.pick(PAYLOADS).type;
        try {
          parsePayloads(type, octets);
        } catch (error) {
          expect(error).toBeInstanceOf(TunnelwrightError);
        }
      });
    expectAtOnce(readOrRefuse, 10_000);
  });
});
