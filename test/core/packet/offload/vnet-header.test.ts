import { describe, expect, test } from 'vitest';
import { GsoType, VNET_HEADER, VnetFlag, VnetHeader } from '../../../../src/core/packet/offload/index.ts';
import { SeededRandom } from '../../../../src/testing/seeded.ts';
import { begunPacket } from './super-packets.ts';

const header = (fields: Partial<VnetHeader>): VnetHeader => Object.assign(new VnetHeader(), fields);

describe('virtio_net_hdr', () => {
  test('ten octets, little endian, in the order of the structure', () => {
    const written = new Uint8Array(VNET_HEADER);
    header({ flags: 1, gsoType: 0x81, hdrLen: 0x0234, gsoSize: 0x0544, csumStart: 0x0114, csumOffset: 0x0010 }).write(written, 0);
    expect([...written]).toEqual([1, 0x81, 0x34, 0x02, 0x44, 0x05, 0x14, 0x01, 0x10, 0x00]);
  });

  test('what is read is what was written, at any offset', () => {
    const random = new SeededRandom('vnet');
    for (let i = 0; i < 200; i++) {
      const memory = random.bytes(32);
      const at = random.between(0, 32 - VNET_HEADER);
      const read = new VnetHeader();
      read.read(memory, at);
      const copy = memory.slice().fill(0, at, at + VNET_HEADER);
      read.write(copy, at);
      expect(copy).toEqual(memory);
    }
  });

  test('cleared, it asks for nothing', () => {
    const cleared = header({ flags: 1, gsoType: 1, hdrLen: 1, gsoSize: 1, csumStart: 1, csumOffset: 1 });
    cleared.clear();
    expect(cleared).toEqual(new VnetHeader());
  });
});

describe('held against the packet', () => {
  const { packet: four, transport: tcpAt } = begunPacket({ version: 4, protocol: 'tcp', payload: new Uint8Array(100) });
  const { packet: six } = begunPacket({ version: 6, protocol: 'udp', payload: new Uint8Array(100) });
  const gso = { flags: VnetFlag.NEEDS_CSUM, gsoSize: 40, csumStart: tcpAt, csumOffset: 16 };

  test.each([
    ['a packet that asks for nothing', {}, four, 'ok'],
    ['a verified one', { flags: VnetFlag.DATA_VALID }, four, 'ok'],
    ['a checksum', { flags: 1, csumStart: 20, csumOffset: 16 }, four, 'ok'],
    ['a checksum in the last two octets', { flags: 1, csumStart: 20, csumOffset: four.length - 22 }, four, 'ok'],
    ['a checksum half beyond the end', { flags: 1, csumStart: 20, csumOffset: four.length - 21 }, four, 'checksum-start'],
    ['a checksum far beyond the end', { flags: 1, csumStart: 65535, csumOffset: 65535 }, four, 'checksum-start'],
    ['a checksum in the IPv4 header', { flags: 1, csumStart: 19, csumOffset: 16 }, four, 'checksum-start'],
    ['a checksum in the IPv6 header', { flags: 1, csumStart: 20, csumOffset: 6 }, six, 'checksum-start'],
    ['TCPV4', { ...gso, gsoType: GsoType.TCPV4 }, four, 'ok'],
    ['TCPV4 with ECN', { ...gso, gsoType: GsoType.TCPV4 | GsoType.ECN }, four, 'ok'],
    ['UDP_L4', { ...gso, gsoType: GsoType.UDP_L4 }, four, 'ok'],
    ['UDP_L4 with ECN', { ...gso, gsoType: GsoType.UDP_L4 | GsoType.ECN }, four, 'gso-type'],
    ['UFO, which was never asked for', { ...gso, gsoType: GsoType.UDP }, four, 'gso-type'],
    ['ECN alone', { ...gso, gsoType: GsoType.ECN }, four, 'gso-type'],
    ['an unknown type', { ...gso, gsoType: 77 }, four, 'gso-type'],
    ['segments of nothing', { ...gso, gsoType: GsoType.TCPV4, gsoSize: 0 }, four, 'gso-size'],
    ['segments without checksum', { ...gso, gsoType: GsoType.TCPV4, flags: 0 }, four, 'checksum-missing'],
    ['no packet', {}, four.subarray(0, 0), 'length'],
    ['more than IP can say', {}, new Uint8Array(65536), 'length'],
  ])('%s', (_what, fields, packet, verdict) => {
    expect(header(fields).check(packet, 0, packet.length)).toBe(verdict);
  });
});
