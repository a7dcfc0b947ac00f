import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/core/bytes/index.ts';
import { ExchangeType, type Payload, parseHeader } from '../../src/core/wire/index.ts';
import { establishedPair, ikeProposal, pair } from '../../src/testing/index.ts';
import { Insider } from './insider.ts';

interface Sent {
  readonly from: string;
  readonly exchange: string;
  readonly response: boolean;
  readonly octets: Uint8Array;
}

/** Every message of a life in which `b` wants another key exchange than the first, and makes the IKE SA anew. */
function life(): readonly Sent[] {
  const { net, a, b } = pair({
    a: { connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-x25519-ecp256')] } },
    b: { connection: { proposals: [ikeProposal('aes128gcm16-prfsha256-ecp256')] } },
  });
  a.initiate();
  net.settle();
  b.rekeyIke();
  net.settle({ quiet: 60_000 });
  a.rekeyChild();
  net.settle();
  b.deleteIke();
  net.settle({ quiet: 60_000 });
  const sent = net.transcript.messages.map(({ from, summary, datagrams }) => {
    const [, exchange, kind] = /^(\S+) (request|response)/.exec(summary)!;
    return { from, exchange: exchange!, response: kind === 'response', octets: datagrams[0]! };
  });
  expect(sent.length).toBeGreaterThanOrEqual(14);
  return sent;
}

const [VERSION_AT, FLAGS_AT, FIRST_PAYLOAD] = [17, 19, 28];

describe('headers of a whole life (RFC 7296 §3.1)', () => {
  test('the version is 2.0', () => {
    expect([...new Set(life().map(({ octets }) => octets[VERSION_AT]))]).toEqual([0x20]);
  });

  test('R is set in responses and cleared in requests', () => {
    for (const { octets, response } of life()) expect((octets[FLAGS_AT]! & 0x20) !== 0).toBe(response);
  });

  test('I is set by the original initiator of the IKE SA alone, which is whoever rekeyed it last', () => {
    const sent = life();
    const first = toHex(sent[0]!.octets.subarray(0, 8));
    for (const { octets, from } of sent) {
      const initiator = toHex(octets.subarray(0, 8)) === first ? 'a' : 'b';
      expect((octets[FLAGS_AT]! & 0x08) !== 0).toBe(from === initiator);
    }
  });

  test('V and the X bits are cleared, and so are Critical and RESERVED of the first payload', () => {
    for (const { octets } of life()) {
      expect(octets[FLAGS_AT]! & 0xd7).toBe(0);
      expect(octets[FIRST_PAYLOAD + 1]).toBe(0);
    }
  });

  test('SPIr is zero in the first message, also when it is sent anew, and SPIi never', () => {
    const sent = life();
    const first = sent.filter(({ exchange, response }) => exchange === 'IKE_SA_INIT' && !response);
    expect(first.map(({ octets }) => toHex(octets.subarray(8, 16)))).toEqual(Array(2).fill('00'.repeat(8)));
    for (const { octets } of sent) expect(octets.subarray(0, 8).some((octet) => octet !== 0)).toBe(true);
  });
});

test('a response is not answered, whatever is in it (RFC 7296 §3.1)', () => {
  const { net, a, b } = establishedPair();
  const insider = new Insider(a);
  // both ends have come to Message ID 2: taken for a request, it would be the next one
  for (let asked = 0; asked < 2; asked++) {
    b.checkLiveness();
    net.settle();
  }
  net.internet.core.intercept(({ source }) => (source.ip === '192.0.2.1' ? [] : undefined));
  b.checkLiveness();
  net.run(10);
  const [before, { messageId }] = [b.sent.length, parseHeader(b.sent.at(-1)!.data).header];
  expect(messageId).toBe(2);
  const broken: Payload = { kind: 'unknown', type: 34, data: Uint8Array.of(0) };
  const flags = { initiator: true, response: true, version: false };
  b.inject(insider.request(ExchangeType.INFORMATIONAL, messageId, [broken], { flags }), { ip: '192.0.2.1', port: 500 });
  net.run(10);
  expect(b.sent.length).toBe(before);
  // it was heard, and understood as what it is
  expect(b.ikeSas).toEqual([]);
});
