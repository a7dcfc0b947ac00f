import assert from 'node:assert/strict';
import { concat, utf8 } from '../../../src/core/bytes/index.ts';
import { Stack } from '../../../src/core/netstack/index.ts';
import { LinkType, pcapHeader, pcapPacket } from '../../../src/core/packet/index.ts';
import { DnsType, parseDnsAnswer, writeDnsQuery } from '../../../src/host/engine/dns-message.ts';
import { decodeCapture, parseEspTable, parseIkeTable } from '../../../src/product/explain/index.ts';
import { SeededRandom } from '../../../src/testing/index.ts';
import type { FuzzTarget } from '../../fuzz/engine.ts';

/** Parsers above the core that meet octets of an authenticated peer, of its DNS server, or of a file from somewhere. */
export const moreTargets: readonly FuzzTarget[] = [
  {
    name: 'DNS answer',
    seeds: () => [dnsAnswer(), dnsAnswer().slice(0, 40)],
    run: (input) => {
      const answer = parseDnsAnswer(input, QUERY, DnsType.A);
      assert.ok((answer?.addresses.length ?? 0) <= 64, 'no more addresses than an answer may have');
    },
  },
  {
    // Two packets in a row: fragments and segments meet state that the first one left.
    name: 'packets to the inner host',
    seeds: () => conversation(),
    run: (input) => {
      const stack = host('10.0.0.2');
      stack.listen({ port: 22 });
      stack.bindUdp({ port: 53 });
      stack.receive(input, 1000);
      stack.receive(input, 1001);
      stack.dispatch();
      let sent = 0;
      while (stack.poll(1001) !== undefined) assert.ok(++sent <= 8, 'a packet draws an answer or two, not a flood');
    },
  },
  {
    name: 'capture to decode',
    seeds: () => [concat(pcapHeader(LinkType.RAW), ...conversation().map((packet, i) => pcapPacket(i, packet)))],
    slow: 200,
    run: (input) => void decodeCapture(input),
  },
  {
    name: 'key table',
    seeds: () => [
      utf8(
        `${'11'.repeat(8)},${'22'.repeat(8)},${'33'.repeat(20)},${'44'.repeat(20)},"AES-GCM-128 with 16 octet ICV [RFC5282]",,,"NONE [RFC4306]"\n`,
      ),
    ],
    run: (input) => {
      const text = new TextDecoder().decode(input);
      parseIkeTable(text);
      parseEspTable(text);
    },
  },
];

const QUERY = writeDnsQuery(0x1234, 'files.internal.example', DnsType.A);

/** An alias, compressed, and two addresses. */
function dnsAnswer(): Uint8Array {
  const head = QUERY.slice();
  head.set([0x81, 0x80, 0, 1, 0, 3], 2);
  const record = (name: readonly number[], type: number, data: readonly number[]) => [
    ...name,
    0,
    type,
    0,
    1,
    0,
    0,
    0,
    60,
    0,
    data.length,
    ...data,
  ];
  const alias = [4, 0x68, 0x6f, 0x73, 0x74, 0xc0, 18];
  const at = head.length + 12;
  return Uint8Array.from([
    ...head,
    ...record([0xc0, 12], DnsType.CNAME, alias),
    ...record([0xc0, at], DnsType.A, [10, 0, 0, 1]),
    ...record([0xc0, at], DnsType.A, [10, 0, 0, 2]),
  ]);
}

function host(address: string): Stack {
  const random = new SeededRandom(1, `host ${address}`);
  return new Stack({ addresses: [address], mtu: 1500, random: { secret: (length) => random.bytes(length) } });
}

let recorded: Uint8Array[] | undefined;

/** What one inner host says to another: SYN with its options, a datagram, an echo request, and a datagram in fragments. */
function conversation(): Uint8Array[] {
  if (recorded) return recorded;
  const stack = host('10.0.0.1');
  stack.connect({ ip: '10.0.0.2', port: 22 }, 0);
  const udp = stack.bindUdp({});
  udp.send(new Uint8Array(40).fill(7), { ip: '10.0.0.2', port: 53 });
  udp.send(new Uint8Array(3000).fill(7), { ip: '10.0.0.2', port: 53 });
  stack.dispatch();
  recorded = [];
  for (let packet = stack.poll(0); packet !== undefined; packet = stack.poll(0)) recorded.push(packet.slice());
  return recorded;
}
