import assert from 'node:assert/strict';
import { concat } from '../../../src/core/bytes/index.ts';
import { createPacketCipher } from '../../../src/core/crypto/index.ts';
import { classifyEncapsulated, InboundSa, OpenedPacket, OutboundSa, spiOf } from '../../../src/core/esp/index.ts';
import {
  clampTcpMss,
  IcmpView,
  IpProtocol,
  IpView,
  ipPacketOf,
  ipv4HeaderValid,
  LinkType,
  pcapHeader,
  pcapngHeader,
  pcapngPacket,
  pcapPacket,
  QuotedPacket,
  readCapture,
  sealTcp,
  TcpFlag,
  TcpView,
  UdpView,
  writeIcmp,
  writeIpv4,
  writeTcp,
  writeUdp,
} from '../../../src/core/packet/index.ts';
import { EncryptionId } from '../../../src/core/wire/index.ts';
import type { FuzzTarget } from '../engine.ts';

export const packetTargets: readonly FuzzTarget[] = [
  {
    name: 'IP packet',
    seeds: () => PACKETS,
    run: (input) => {
      const ip = new IpView();
      if (!ip.parse(input)) {
        assert.notEqual(ip.fault, undefined, 'what does not parse says why');
        return;
      }
      assert.ok(ip.payload >= 0 && ip.payload <= ip.end && ip.end <= input.length, 'offsets stay inside the packet');
      if (ip.version === 4) ipv4HeaderValid(ip);
      const icmp = new IcmpView();
      if (icmp.parse(ip)) new QuotedPacket().parse(input, icmp.start, icmp.end);
      const udp = new UdpView();
      if (udp.parse(ip)) assert.ok(udp.start <= udp.end && udp.end <= ip.end, 'UDP stays inside the packet');
    },
  },
  {
    // The checksum is mended, or no mutation would ever come past it.
    name: 'TCP segment',
    seeds: () => PACKETS.slice(0, 2),
    run: (input) => {
      const ip = new IpView();
      if (!ip.parse(input) || ip.protocol !== IpProtocol.TCP || ip.fragment || ip.end - ip.payload < 20) return;
      const address = (at: number): Uint8Array => input.slice(at, at + ip.addressLength);
      sealTcp(input, ip.payload, ip.end, address(ip.sourceAt), address(ip.destinationAt));
      const tcp = new TcpView();
      const whole = tcp.parse(ip);
      if (whole) assert.ok(tcp.start <= tcp.end && tcp.end <= ip.end && tcp.sackBlocks <= 4, 'TCP stays inside the packet');
      if (clampTcpMss(ip, 1000) && whole) assert.ok(tcp.parse(ip), 'a clamped segment is still whole');
    },
  },
  {
    name: 'quoted packet',
    seeds: () => PACKETS,
    run: (input) => {
      const quoted = new QuotedPacket();
      if (quoted.parse(input, 0, input.length)) assert.ok(quoted.payload + 8 <= input.length, 'eight octets are there');
    },
  },
  {
    name: 'ESP packet',
    seeds: () => [...sealedPackets(), ...sealedPackets().map((packet) => packet.subarray(0, 40))],
    run: (input) => {
      classifyEncapsulated(input);
      if (input.length >= 4) spiOf(input);
      const sa = new InboundSa({ spi: SPI, cipher: cipher(), esn: input.length % 2 === 0 });
      const opened = new OpenedPacket();
      const before = input.slice();
      const verdict = sa.open(input, opened);
      if (verdict === 'ok') assert.ok(opened.start + opened.length <= input.length, 'the payload lies inside');
      if (verdict === 'icv' || verdict === 'replay' || verdict === 'malformed')
        assert.deepEqual(input, before, `a packet dropped for ${verdict} is left as it was`);
    },
  },
  {
    // Authentic packets whose trailer lies: what a peer with the key may do.
    name: 'ESP trailer',
    seeds: () => PACKETS.map((packet) => concat(packet, new Uint8Array((4 - ((packet.length + 2) % 4)) % 4), Uint8Array.of(0, 4))),
    run: (input) => {
      const body = input.subarray(0, input.length - (input.length % 4));
      const sealer = cipher();
      const packet = concat(
        Uint8Array.of(0, 0, 0x10, 0x01, 0, 0, 0, 1),
        new Uint8Array(sealer.ivLength),
        body,
        new Uint8Array(sealer.icvLength),
      );
      sealer.seal(packet, 0, 8, packet.length - sealer.icvLength);
      const opened = new OpenedPacket();
      const verdict = new InboundSa({ spi: SPI, cipher: cipher(), esn: false }).open(packet, opened);
      assert.ok(['ok', 'padding', 'dummy', 'malformed'].includes(verdict), `authentic, yet ${verdict}`);
      if (verdict === 'ok')
        assert.ok(
          opened.length >= 0 && opened.start + opened.length <= packet.length - sealer.icvLength - 2,
          'the payload ends before the trailer',
        );
    },
  },
  {
    name: 'capture file',
    seeds: () => [
      concat(pcapHeader(LinkType.RAW), ...PACKETS.map((packet, i) => pcapPacket(1000 * i, packet))),
      concat(pcapngHeader(LinkType.RAW), ...PACKETS.map((packet, i) => pcapngPacket(1000 * i, packet))),
    ],
    run: (input) => {
      let packets = 0;
      for (const { linkType, data } of readCapture(input)) {
        ipPacketOf(linkType, data);
        packets++;
      }
      assert.ok(packets <= input.length, 'no more packets than octets');
    },
  },
  {
    // The first octet chooses the link.
    name: 'link layer',
    seeds: () =>
      Object.values(LinkType).map((type) =>
        concat(Uint8Array.of(type & 0xff), new Uint8Array(12), Uint8Array.of(0x81, 0, 0, 1, 8, 0), PACKETS[0]!),
      ),
    run: (input) => void ipPacketOf(input[0] ?? 0, input.subarray(1)),
  },
];

const SPI = 0x1001;
const SOURCE = Uint8Array.of(10, 1, 0, 1);
const DESTINATION = Uint8Array.of(10, 2, 0, 1);

const cipher = () => createPacketCipher({ encryption: EncryptionId.ENCR_AES_GCM_16, keyLength: 128, encryptionKey: new Uint8Array(20) });

/** TCP with every option, UDP, ICMP echo, and an ICMP error that quotes the first. */
const PACKETS: readonly Uint8Array[] = buildPackets();

function buildPackets(): Uint8Array[] {
  const options = Uint8Array.of(2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0);
  const tcp = packet(IpProtocol.TCP, 20 + options.length + 5, (data) => {
    writeTcp(
      data,
      20,
      { sourcePort: 4001, destinationPort: 22, seq: 1, ack: 2, flags: TcpFlag.SYN | TcpFlag.ACK, window: 1000 },
      20 + options.length,
    );
    data.set(options, 40);
    sealTcp(data, 20, data.length, SOURCE, DESTINATION);
  });
  const udp = packet(IpProtocol.UDP, 8 + 32, (data) => writeUdp(data, 20, SOURCE, 53, DESTINATION, 5353, 32));
  const echo = packet(IpProtocol.ICMP, 8 + 16, (data) => writeIcmp(data, 20, 8, 0, 0x00010001, 16, SOURCE, DESTINATION));
  const error = packet(IpProtocol.ICMP, 8 + 28, (data) => {
    data.set(tcp.subarray(0, 28), 28);
    writeIcmp(data, 20, 3, 4, 1400, 28, SOURCE, DESTINATION);
  });
  return [tcp, udp, echo, error, ipv6WithExtensions()];
}

function packet(protocol: number, length: number, fill: (data: Uint8Array) => void): Uint8Array {
  const data = new Uint8Array(20 + length);
  writeIpv4(data, 0, {
    length: data.length,
    protocol,
    source: SOURCE,
    destination: DESTINATION,
    hopLimit: 64,
    identification: 7,
    dontFragment: true,
    moreFragments: false,
    fragmentOffset: 0,
    trafficClass: 0,
  });
  fill(data);
  return data;
}

/** Hop-by-hop options, a routing header with no segment left, a fragment header, destination options, then nothing. */
function ipv6WithExtensions(): Uint8Array {
  const address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
  const extensions = [43, 0, 1, 4, 0, 0, 0, 0, 44, 0, 4, 0, 0, 0, 0, 0, 60, 0, 0, 1, 0, 0, 0, 9, 59, 0, 1, 4, 0, 0, 0, 0];
  return Uint8Array.of(0x60, 0, 0, 0, 0, extensions.length, 0, 64, ...address, ...address, ...extensions);
}

function sealedPackets(): Uint8Array[] {
  const sa = new OutboundSa({ spi: SPI, cipher: cipher(), esn: false });
  return PACKETS.map((payload) => {
    const out = new Uint8Array(sa.sealedLength(payload.length));
    sa.seal(payload, 4, out, 0);
    return out;
  });
}
