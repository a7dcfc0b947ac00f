import assert from 'node:assert/strict';
import { concat, Writer } from '../../../src/core/bytes/index.ts';
import {
  checkMessage,
  describeMessage,
  ExchangeType,
  type IkeHeader,
  isSealed,
  PAYLOADS,
  type Payload,
  parseHeader,
  parseMessage,
  parsePayloads,
  parseProtected,
  summarise,
  writeMessage,
} from '../../../src/core/wire/index.ts';
import { hasShared, readSharedJson } from '../../support/shared.ts';
import type { Draws } from '../draws.ts';
import type { FuzzTarget } from '../engine.ts';

/** RFC 7296 §2.5: RESERVED goes out as zero, whatever came; AUTH alone covers what came (§2.15). */
function asSent(payload: Payload): Payload {
  if (payload.kind !== 'IDi' && payload.kind !== 'IDr') return payload;
  const { reserved: _, ...rest } = payload;
  return rest;
}

export const wireTargets: readonly FuzzTarget[] = [
  {
    name: 'IKE message',
    seeds: (draws) => [...Array.from({ length: 60 }, () => sampleMessage(draws)), ...captured()],
    run: (input) => {
      const { header, payloads, raw } = parseMessage(input);
      summarise(header, payloads);
      describeMessage(header, payloads);
      if (payloads.some(isSealed)) return;
      // RFC 7296 §2.5 and house rule: what parsed goes back out with the same meaning, unknown numbers and all.
      const again = parseMessage(writeMessage(header, payloads));
      assert.deepEqual(again.payloads, payloads.map(asSent), `read, written and read again differs (${raw.length} octets)`);
    },
  },
  {
    name: 'IKE message against the grammar',
    seeds: (draws) => Array.from({ length: 60 }, () => sampleMessage(draws)),
    run: (input) => {
      const { header, payloads } = parseMessage(input);
      checkMessage(header, payloads);
    },
  },
  {
    name: 'IKE header',
    seeds: (draws) => [sampleMessage(draws).slice(0, 28)],
    run: (input) => void parseHeader(input),
  },
  {
    // The first octet says which payload comes first, as an SK payload would.
    name: 'payloads inside SK',
    seeds: (draws) => Array.from({ length: 60 }, () => inner(draws)),
    run: (input) => {
      const payloads = parseProtected(input[0] ?? 0, input.subarray(1));
      for (const payload of payloads) if (!isSealed(payload)) void payload.kind;
    },
  },
  ...PAYLOADS.map(
    (definition): FuzzTarget => ({
      name: `payload ${definition.notation}`,
      seeds: (draws) => Array.from({ length: 20 }, () => body(definition, draws)),
      run: (input) => {
        if (input.length > 0xffff - 4) return;
        const generic = Uint8Array.of(0, 0, (input.length + 4) >> 8, (input.length + 4) & 0xff);
        const [payload] = parsePayloads(definition.type, concat(generic, input));
        if (payload !== undefined) describeMessage(HEADER, [payload]);
      },
    }),
  ),
];

function sampleMessage(draws: Draws): Uint8Array {
  const clear = PAYLOADS.filter((definition) => definition.notation !== 'SK' && definition.notation !== 'SKF');
  const payloads = draws.many(1, 8, () => draws.pick(clear).sample(draws) as Payload);
  return writeMessage({ ...HEADER, exchange: draws.pick(EXCHANGES) }, payloads);
}

function inner(draws: Draws): Uint8Array {
  const message = sampleMessage(draws);
  return concat(message.subarray(16, 17), message.subarray(28));
}

function body(definition: (typeof PAYLOADS)[number], draws: Draws): Uint8Array {
  // Sealed payloads are written by sealing; what they hold looks like noise.
  if (definition.notation === 'SK' || definition.notation === 'SKF') return draws.octets(8 + draws.below(200));
  const w = new Writer();
  definition.write(w, definition.sample(draws));
  return w.finish();
}

/** Datagrams that once made trouble elsewhere. */
function captured(): Uint8Array[] {
  const path = 'vectors/fuzz/ike-packets/libreswan-ikev2-15-fuzzer.json';
  if (!hasShared(path)) return [];
  return [...JSON.stringify(readSharedJson(path)).matchAll(/"([0-9a-f]{56,})"/g)].map(
    (match) => new Uint8Array(Buffer.from(match[1]!, 'hex')),
  );
}

const HEADER: IkeHeader = {
  spiI: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
  spiR: Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1),
  majorVersion: 2,
  minorVersion: 0,
  exchange: ExchangeType.IKE_SA_INIT,
  flags: { initiator: true, response: false, version: false },
  messageId: 0,
};
const EXCHANGES = Object.values(ExchangeType);
