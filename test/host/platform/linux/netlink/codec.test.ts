import { describe, expect, test } from 'vitest';
import { fromHex, MalformedMessage, toHex } from '../../../../../src/core/bytes/index.ts';
import {
  Attributes,
  MessageWriter,
  NLM_F,
  NLMSG,
  parseMessages,
  parseOutcome,
} from '../../../../../src/host/platform/linux/netlink/codec.ts';
import { HostReader, HostWriter } from '../../../../../src/host/platform/linux/netlink/host-order.ts';
import { describeLittleEndian } from './bytes.ts';

describeLittleEndian('requests', () => {
  test('have a header with length, type, flags and sequence number, and aligned attributes', () => {
    const request = new MessageWriter(0x10, NLM_F.CREATE | NLM_F.EXCL)
      .u8(2)
      .zero(3)
      .attributeText(3, 'tw0') // 4 octets with its zero
      .attributeU8(7, 9) // 1 octet, three of padding
      .attributeU32(4, 1400);
    expect(toHex(request.finish(0x01020304, NLM_F.ACK))).toBe(
      [
        '2c000000',
        '1000',
        '0506',
        '04030201',
        '00000000',
        '02000000',
        '08000300747730',
        '00',
        '0500070009',
        '000000',
        '0800040078050000',
      ].join(''),
    );
  });

  test('nest, with the flag that says so', () => {
    const request = new MessageWriter(1).nested(18, (info) => {
      info.attributeText(1, 'xfrm');
      info.nested(2, (data) => data.attributeU32(2, 7));
    });
    expect(toHex(request.finish(1)).slice(32)).toBe(
      ['1c00', '1280', '0900', '0100', '7866726d00', '000000', '0c00', '0280', '0800', '0200', '07000000'].join(''),
    );
  });

  test('refuse an attribute that is longer than its length field can say', () => {
    expect(() => new MessageWriter(1).attribute(1, new Uint8Array(65_532))).toThrow('65535');
  });

  test('leave nothing behind when they are wiped, nor when they grow', () => {
    const request = new MessageWriter(1);
    const small = request.written();
    request.bytes(new Uint8Array(400).fill(0xaa));
    const middle = request.written();
    request.bytes(new Uint8Array(4000).fill(0xbb));
    const large = request.finish(1);
    expect(middle.every((octet) => octet === 0)).toBe(true);
    request.wipe();
    for (const buffer of [small, middle, large]) expect(new Uint8Array(buffer.buffer).every((octet) => octet === 0)).toBe(true);
  });
});

describeLittleEndian('what the kernel sends', () => {
  test('may be several messages, aligned to four octets', () => {
    const messages = parseMessages(datagram({ type: 0x18, body: '010203' }, { type: NLMSG.DONE, flags: NLM_F.MULTI, body: '00000000' }));
    expect(messages.map(({ type, flags, sequence, body }) => [type, flags, sequence, toHex(body)])).toEqual([
      [0x18, 0, 5, '010203'],
      [NLMSG.DONE, NLM_F.MULTI, 5, '00000000'],
    ]);
  });

  test.each([
    ['shorter than its header', 15],
    ['longer than what came', 21],
    ['of all length that there is', 0xffffffff],
  ])('is refused when a message is %s', (_what, length) => {
    const bytes = new HostWriter().u32(length).zero(16).written();
    expect(() => parseMessages(bytes)).toThrow(MalformedMessage);
  });

  test('is read without end by no length: a message of none is no message', () => {
    expect(() => parseMessages(new Uint8Array(4096))).toThrow(MalformedMessage);
  });

  test('has attributes of which the last counts, and flags beside their type', () => {
    const octets = new HostWriter().u16(8).u16(4).u32(1500).u16(5).u16(0x8003).u8(7).zero(3).u16(8).u16(4).u32(1400).written();
    const attributes = Attributes.parse(octets);
    expect(attributes.u32(4)).toBe(1400);
    expect(attributes.u8(3)).toBe(7);
    expect(attributes.u32(9)).toBeUndefined();
    expect(attributes.entries().map(([type]) => type)).toEqual([4, 3, 4]);
  });

  test.each([
    ['shorter than their header', 3],
    ['longer than what holds them', 9],
    ['of all length that there is', 0xffff],
  ])('is refused when attributes are %s', (_what, length) => {
    expect(() => Attributes.parse(new HostWriter().u16(length).u16(1).u32(0).written())).toThrow(MalformedMessage);
  });

  test('is refused when an attribute is shorter than the number it is asked for', () => {
    const attributes = Attributes.parse(new HostWriter().u16(6).u16(1).u16(0).zero(2).written());
    expect(() => attributes.u32(1)).toThrow('attribute 1 ends after 2 octets, where 4 are needed');
  });

  test('never reads past an end, wherever it is cut', () => {
    const whole = datagram({ type: 2, body: '00000000' }, { type: 16, body: '0800040078050000' });
    for (let length = 0; length <= whole.length; length++) {
      try {
        for (const { body } of parseMessages(whole.subarray(0, length))) Attributes.parse(body);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedMessage);
      }
    }
  });
});

describeLittleEndian('how a request ended', () => {
  test('is an ACK: error 0 and the header that it answers', () => {
    const [message] = parseMessages(datagram({ type: NLMSG.ERROR, flags: NLM_F.CAPPED, body: host([0, 36, 0x50010, 5, 0]) }));
    expect(parseOutcome(message!)).toEqual({ errno: 0, text: undefined, offset: undefined, missing: undefined });
  });

  test('is an errno with the words of the extended ACK behind a capped header', () => {
    const words = `14000100${toHex(new TextEncoder().encode('no\nESP, at all'))}0000`;
    const [message] = parseMessages(
      datagram({
        type: NLMSG.ERROR,
        flags: NLM_F.CAPPED | NLM_F.ACK_TLVS,
        body: `${host([-93, 36, 0x50010, 5, 0])}${words}${host([0x20008, 24])}`,
      }),
    );
    expect(parseOutcome(message!)).toEqual({ errno: 93, text: 'no\\x0aESP, at all', offset: 24, missing: undefined });
  });

  test('is found behind the request where that is repeated', () => {
    const repeated = '00'.repeat(20);
    const words = `09000100${toHex(new TextEncoder().encode('busy'))}00000000`;
    const [message] = parseMessages(
      datagram({ type: NLMSG.ERROR, flags: NLM_F.ACK_TLVS, body: `${host([-16, 36, 0x50010, 5, 0])}${repeated}${words}` }),
    );
    expect(parseOutcome(message!)).toMatchObject({ errno: 16, text: 'busy' });
  });

  test('of a dump stands in its last message', () => {
    const [message] = parseMessages(datagram({ type: NLMSG.DONE, flags: NLM_F.MULTI, body: host([-4]) }));
    expect(parseOutcome(message!).errno).toBe(4);
  });

  test('cannot be read where there is none', () => {
    const [message] = parseMessages(datagram({ type: NLMSG.ERROR, body: '0000' }));
    expect(() => parseOutcome(message!)).toThrow(MalformedMessage);
  });
});

describe('structures in host order', () => {
  test('come back as they were written', () => {
    const octets = new HostWriter(1)
      .u8(1)
      .u16(0x0203)
      .u32(0x04050607)
      .u64(0x08090a0b0c0d0e0fn)
      .network16(4500)
      .network32(0xcafe)
      .text('gcm', 8)
      .written();
    const reader = new HostReader(octets, 'test');
    expect([reader.u8(), reader.u16(), reader.u32(), reader.u64(), reader.network16(), reader.network32(), reader.text(8)]).toEqual([
      1,
      0x0203,
      0x04050607,
      0x08090a0b0c0d0e0fn,
      4500,
      0xcafe,
      'gcm',
    ]);
    expect(reader.remaining).toBe(0);
    expect(() => reader.u8()).toThrow(MalformedMessage);
  });

  test('take no string that leaves no room for its end', () => {
    expect(() => new HostWriter().text('12345678', 8)).toThrow('does not fit');
    expect(() => new HostWriter().text('1\0', 8)).toThrow('does not fit');
  });
});

interface Part {
  readonly type: number;
  readonly flags?: number;
  /** Hex. */
  readonly body: string;
}

function datagram(...parts: readonly Part[]): Uint8Array {
  const writer = new HostWriter();
  for (const { type, flags = 0, body } of parts) {
    const octets = fromHex(body);
    writer
      .align(4)
      .u32(16 + octets.length)
      .u16(type)
      .u16(flags)
      .u32(5)
      .u32(0)
      .bytes(octets);
  }
  return writer.written();
}

const host = (numbers: readonly number[]): string =>
  toHex(numbers.reduce((writer, number) => writer.u32(number), new HostWriter()).written());
