import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat } from '../../../src/core/bytes/index.ts';
import { frameMessage, LONGEST_STREAM_MESSAGE, STREAM_PREFIX, type StreamFault, StreamReader } from '../../../src/core/esp/index.ts';
import { SeededRandom } from '../../../src/testing/seeded.ts';

/** Compared by hash: a matcher that looks at octets one by one takes its time. */
const hex = (messages: readonly Uint8Array[]): string[] => messages.map((message) => createHash('sha1').update(message).digest('hex'));
const octets = (length: number, first = 1): Uint8Array => new Uint8Array(length).map((_, i) => (i + first) & 0xff);

/** Everything that comes out of a stream handed over in these pieces. */
function read(pieces: readonly Uint8Array[], from: 'prefix' | 'messages' = 'messages') {
  const reader = new StreamReader(from);
  const messages: Uint8Array[] = [];
  let fault: StreamFault | undefined;
  for (const piece of pieces) fault = reader.push(piece.slice(), (message) => messages.push(message.slice()) > 0);
  return { reader, messages, fault };
}

function cut(stream: Uint8Array, sizes: () => number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < stream.length; ) {
    const size = sizes();
    pieces.push(stream.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

describe('a frame (RFC 9329 §3)', () => {
  test('has its own length in front, and for IKE the non-ESP marker', () => {
    expect(frameMessage(Uint8Array.of(7, 8, 9), false)).toEqual(Uint8Array.of(0, 5, 7, 8, 9));
    expect(frameMessage(Uint8Array.of(7, 8, 9), true)).toEqual(Uint8Array.of(0, 9, 0, 0, 0, 0, 7, 8, 9));
  });

  test('holds 65533 octets and no more', () => {
    expect(frameMessage(octets(LONGEST_STREAM_MESSAGE), false)?.subarray(0, 2)).toEqual(Uint8Array.of(0xff, 0xff));
    expect(frameMessage(octets(LONGEST_STREAM_MESSAGE - 4), true)?.length).toBe(65_535);
    expect(frameMessage(octets(LONGEST_STREAM_MESSAGE + 1), false)).toBeUndefined();
    expect(frameMessage(octets(LONGEST_STREAM_MESSAGE - 3), true)).toBeUndefined();
    expect(frameMessage(octets(0), false)).toBeUndefined();
  });
});

describe('StreamReader', () => {
  const messages = [octets(1, 0xff), octets(28), octets(1400), octets(3000), octets(2), octets(LONGEST_STREAM_MESSAGE)];
  const frames = concat(...messages.map((message) => frameMessage(message, false)!));

  test('gives back what was put in, whole', () => {
    expect(hex(read([frames]).messages)).toEqual(hex(messages));
    expect(hex(read([STREAM_PREFIX, frames], 'prefix').messages)).toEqual(hex(messages));
  });

  test('octet by octet, the prefix as well', () => {
    const some = concat(STREAM_PREFIX, ...messages.slice(0, 5).map((message) => frameMessage(message, false)!));
    expect(
      read(
        cut(some, () => 1),
        'prefix',
      ).messages,
    ).toEqual(messages.slice(0, 5));
  });

  test('in pieces of any size', () => {
    const random = new SeededRandom('9329', 'pieces');
    for (let round = 0; round < 20; round++) {
      const largest = random.pick([900, 1500, 5000, 70_000]);
      const { messages: got, fault, reader } = read(cut(frames, () => random.between(1, largest)));
      expect([got.length, fault, reader.partial]).toEqual([messages.length, undefined, false]);
      expect(hex(got)).toEqual(hex(messages));
    }
  });

  test('a receiver may keep and change what it was given', () => {
    const reader = new StreamReader('messages');
    const kept: Uint8Array[] = [];
    for (const piece of cut(concat(frameMessage(octets(40), false)!, frameMessage(octets(40, 100), false)!), () => 13))
      reader.push(piece.slice(), (message) => kept.push(message) > 0);
    kept[0]!.fill(0);
    expect(kept[1]).toEqual(octets(40, 100));
  });

  test('empty messages are ignored in silence, in one piece and in two', () => {
    const empty = Uint8Array.of(0, 2);
    const whole = concat(empty, empty, frameMessage(octets(5), false)!, empty);
    expect(read([whole])).toMatchObject({ messages: [octets(5)], fault: undefined });
    expect(read(cut(whole, () => 1))).toMatchObject({ messages: [octets(5)], fault: undefined });
  });

  test.each([0, 1])('a Length of %i ends the stream, and nothing behind it is read', (length) => {
    const bad = concat(frameMessage(octets(5), false)!, Uint8Array.of(0, length), frameMessage(octets(6), false)!);
    for (const pieces of [[bad], cut(bad, () => 1), cut(bad, () => 8)]) {
      expect(read(pieces)).toMatchObject({ messages: [octets(5)], fault: 'impossible length' });
    }
  });

  test.each([
    ['HTTP', 'GET / HTTP/1.1\r\n'],
    ['TLS', '\x16\x03\x01\x02\x00\x01'],
    ['nearly right', 'IKETCp'],
    ['in small letters', 'iketcp'],
    ['a framed message at once', '\x00\x20\x00\x00\x00\x00'],
  ])('what does not begin with the prefix is refused: %s', (_, text) => {
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    for (const pieces of [[bytes], cut(bytes, () => 1)]) {
      const { messages: got, fault, reader } = read([...pieces, frames], 'prefix');
      expect([got, fault, reader.begun]).toEqual([[], 'no stream prefix', false]);
    }
  });

  test('half a prefix is a stream that has not begun', () => {
    const { reader, fault } = read([STREAM_PREFIX.subarray(0, 3)], 'prefix');
    expect([fault, reader.begun, reader.partial]).toEqual([undefined, false, true]);
  });

  test('the prefix is not for the end that opened the stream: it would be a frame of 18763 octets that never ends', () => {
    const { reader, messages: got } = read([STREAM_PREFIX, octets(1000)]);
    expect([got, reader.partial]).toEqual([[], true]);
  });

  test('a long frame takes only as much room as came of it', () => {
    const reader = new StreamReader('messages');
    const before = process.memoryUsage().arrayBuffers;
    const half = Array.from({ length: 200 }, () => new StreamReader('messages'));
    for (const one of half) one.push(Uint8Array.of(0xff, 0xff, 1), () => true);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(200 * 8192);
    expect(reader.partial).toBe(false);
    expect(half.every((one) => one.partial)).toBe(true);
  });

  test('a receiver that has enough gets no more of a chunk', () => {
    const reader = new StreamReader('messages');
    const got: number[] = [];
    const three = concat(...[5, 6, 7].map((length) => frameMessage(octets(length), false)!));
    reader.push(three, (message) => {
      got.push(message.length);
      return got.length < 2;
    });
    expect(got).toEqual([5, 6]);
  });

  test('noise never throws, never hands out an empty message, and is bounded', () => {
    const random = new SeededRandom('noise', 'stream');
    for (let round = 0; round < 50; round++) {
      const reader = new StreamReader(random.pick(['prefix', 'messages']));
      for (let i = 0; i < 5; i++)
        reader.push(random.bytes(random.between(1, 400)), (message) => message.length > 0 || expect.fail('an empty message'));
    }
  });
});
