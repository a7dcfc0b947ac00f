import assert from 'node:assert/strict';
import { concat } from '../../../src/core/bytes/index.ts';
import { Stack } from '../../../src/core/netstack/index.ts';
import {
  checksum,
  IpProtocol,
  IpView,
  pcapHeader,
  pcapPacket,
  pseudoHeaderSum,
  putU16,
  writeIpv4,
  writeUdp,
} from '../../../src/core/packet/index.ts';
import { parseDnsAnswer, writeDnsQuery } from '../../../src/host/engine/dns-message.ts';
import { decodeCapture, parseEspTable, parseIkeTable, renderDecoded } from '../../../src/product/explain/index.ts';
import { SeededRandom } from '../../../src/testing/index.ts';
import type { FuzzTarget } from '../engine.ts';
import { handshakeDatagrams } from './endpoint.ts';

/** What meets octets behind the parsers: the stack that answers packets, the resolver, the reader of captures. */
export const stackTargets: readonly FuzzTarget[] = [
  {
    // Checksums are mended, or nothing would come past them.
    name: 'a TCP/IP host in memory',
    seeds: () => conversation(),
    run: (input) => {
      const { server } = hosts();
      mendChecksums(input);
      server.receive(input, 1);
      drain(server, 1);
      for (let round = 0, now = 1; round < MOST_TIMERS; round++) {
        const deadline = server.nextDeadline();
        if (deadline === undefined) break;
        now = Math.max(now, deadline);
        server.expire(now);
        drain(server, now);
      }
    },
  },
  {
    name: 'DNS answer',
    seeds: () => [DNS_ANSWER],
    run: (input) => void parseDnsAnswer(input, DNS_QUERY, 1),
  },
  {
    name: 'capture of IKE and ESP',
    seeds: () => [concat(pcapHeader(101), ...handshakeDatagrams().map((data, i) => pcapPacket(i, udp(i % 2 === 0 ? 500 : 4500, data))))],
    slow: 500,
    run: (input) => {
      const decoded = decodeCapture(input);
      JSON.stringify(decoded);
      renderDecoded(decoded);
    },
  },
  {
    name: 'Wireshark tables',
    seeds: () => [
      new TextEncoder().encode(
        '1122334455667788,8877665544332211,00112233445566778899aabbccddeeff00112233,00112233445566778899aabbccddeeff00112233,"AES-GCM-128 with 16 octet ICV [RFC5282]",,,"NONE [RFC4306]"\n',
      ),
      new TextEncoder().encode(
        '"IPv4","10.9.0.1","10.9.0.2","0xc1fe4020","AES-GCM [RFC4106]","0x00112233445566778899aabbccddeeff00112233","NULL",""\n',
      ),
    ],
    run: (input) => {
      const text = new TextDecoder().decode(input);
      for (const parse of [parseIkeTable, parseEspTable]) {
        try {
          parse(text);
        } catch (error) {
          // Both see every input; what one refuses may be the other's.
          assert.equal((error as { code?: string }).code !== undefined, true, String(error));
        }
      }
    },
  },
];

/** A client with one connection to a server, which listens on; the same octets each time. */
function hosts(record: Uint8Array[] = []): { client: Stack; server: Stack } {
  const random = (label: string) => ({ secret: (length: number) => new SeededRandom(2906, label).bytes(length) });
  const client = new Stack({ addresses: ['10.0.0.1'], mtu: 1500, random: random('client') });
  const server = new Stack({ addresses: ['10.0.0.2'], mtu: 1500, random: random('server') });
  const listener = server.listen({ port: 9 });
  server.bindUdp({ port: 53 });
  const connection = client.connect({ ip: '10.0.0.2', port: 9 }, 0);
  settle(client, server, record);
  connection.write(new Uint8Array(3000).fill(0x61));
  settle(client, server, record);
  const accepted = listener.accept();
  accepted?.write(new Uint8Array(100).fill(0x62));
  settle(client, server, record);
  return { client, server };
}

function conversation(): Uint8Array[] {
  const record: Uint8Array[] = [];
  const { client, server } = hosts(record);
  client.ping({ ip: '10.0.0.2' }, 1);
  settle(client, server, record);
  return [...record, udp(53, new Uint8Array(40))];
}

function settle(a: Stack, b: Stack, record: Uint8Array[]): void {
  for (let round = 0; round < 20; round++) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      for (let packet = from.poll(0); packet !== undefined; packet = from.poll(0)) {
        record.push(packet.slice());
        to.receive(packet.slice(), 0);
      }
    }
  }
}

function drain(stack: Stack, now: number): void {
  let packets = 0;
  while (stack.poll(now) !== undefined) assert.ok(++packets <= MOST_PACKETS, 'one packet draws a flood');
}

function mendChecksums(data: Uint8Array): void {
  const ip = new IpView();
  if (!ip.parse(data) || ip.version !== 4) return;
  putU16(data, 10, 0);
  putU16(data, 10, checksum(data, 0, ip.payload));
  const at = { [IpProtocol.TCP]: 16, [IpProtocol.UDP]: 6, [IpProtocol.ICMP]: 2 }[ip.protocol];
  const length = ip.end - ip.payload;
  if (at === undefined || length < at + 2 || ip.fragment) return;
  const seed = ip.protocol === IpProtocol.ICMP ? 0 : pseudoHeaderSum(data, ip.sourceAt, data, ip.destinationAt, 4, ip.protocol, length);
  putU16(data, ip.payload + at, 0);
  putU16(data, ip.payload + at, checksum(data, ip.payload, ip.end, seed));
}

function udp(port: number, payload: Uint8Array): Uint8Array {
  const [source, destination] = [Uint8Array.of(10, 0, 0, 1), Uint8Array.of(10, 0, 0, 2)];
  const data = new Uint8Array(28 + payload.length);
  const fields = { protocol: IpProtocol.UDP, source, destination, hopLimit: 64, identification: 1, fragmentOffset: 0, trafficClass: 0 };
  writeIpv4(data, 0, { ...fields, length: data.length, dontFragment: true, moreFragments: false });
  data.set(payload, 28);
  writeUdp(data, 20, source, port, destination, port, payload.length);
  return data;
}

const DNS_QUERY = writeDnsQuery(7, 'files.example', 1);
/** An alias and its address, the names as pointers. */
const DNS_ANSWER = concat(
  Uint8Array.of(0, 7, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0),
  DNS_QUERY.subarray(12),
  Uint8Array.of(0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, 0x62, 0xc0, 18),
  Uint8Array.of(0xc0, 43, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 2, 0, 1),
);
const MOST_PACKETS = 64;
const MOST_TIMERS = 100;
