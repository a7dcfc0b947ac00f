import { describe, expect, test } from 'vitest';
import { toHex } from '../../src/core/bytes/index.ts';
import { type CipherKeys, createPacketCipher, prf, prfTransforms } from '../../src/core/crypto/index.ts';
import { establishedPair, expectTrafficBothWays } from '../../src/testing/index.ts';
import { SeededRandom } from '../../src/testing/seeded.ts';
import { simulatedPrimitives } from '../../src/testing/simulated-primitives.ts';

const random = new SeededRandom('simulated primitives');
const HEAD = 8;
const AEAD: CipherKeys = { encryption: 20, keyLength: 128, encryptionKey: random.bytes(20) };
const CBC: CipherKeys = { encryption: 12, keyLength: 256, encryptionKey: random.bytes(32), integrity: 12, integrityKey: random.bytes(32) };

function sealed(keys: CipherKeys, head: Uint8Array, iv: Uint8Array, body: Uint8Array, esnHigh?: number): Uint8Array {
  const cipher = simulatedPrimitives.createPacketCipher(keys);
  const end = HEAD + cipher.ivLength + body.length;
  const packet = new Uint8Array(end + cipher.icvLength);
  packet.set(head);
  packet.set(iv.subarray(0, cipher.ivLength), HEAD);
  packet.set(body, HEAD + cipher.ivLength);
  expect(cipher.seal(packet, 0, HEAD, end, esnHigh)).toBe(packet.length);
  return packet;
}

const open = (keys: CipherKeys, packet: Uint8Array, esnHigh?: number): number =>
  simulatedPrimitives.createPacketCipher(keys).open(packet, 0, HEAD, packet.length, esnHigh);

describe.each([
  ['AES-GCM', AEAD],
  ['AES-CBC with HMAC', CBC],
])('a simulated %s', (_, keys) => {
  const head = random.bytes(HEAD);
  const iv = random.bytes(16);
  const body = random.bytes(96);

  test('has the lengths of the real one', () => {
    const shape = ({ ivLength, icvLength, blockLength, ivKind }: ReturnType<typeof createPacketCipher>) => [
      ivLength,
      icvLength,
      blockLength,
      ivKind,
    ];
    expect(shape(simulatedPrimitives.createPacketCipher(keys))).toEqual(shape(createPacketCipher(keys)));
  });

  test('opens what it sealed, from the octets alone', () => {
    const packet = sealed(keys, head, iv, body, 7);
    const at = HEAD + simulatedPrimitives.createPacketCipher(keys).ivLength;
    expect(toHex(packet)).not.toContain(toHex(body.subarray(0, 8)));
    expect(open(keys, packet, 7)).toBe(at + body.length);
    expect(toHex(packet.subarray(at, at + body.length))).toBe(toHex(body));
  });

  test('refuses any altered bit, and leaves such a packet as it was', () => {
    const packet = sealed(keys, head, iv, body);
    for (let at = 0; at < packet.length; at++) {
      for (let bit = 1; bit < 256; bit <<= 1) {
        const altered = packet.slice();
        altered[at]! ^= bit;
        const before = altered.slice();
        expect(open(keys, altered)).toBe(-1);
        expect(altered).toEqual(before);
      }
    }
  });

  test('refuses what is shorter, swapped, or under another key, sequence number or length of head', () => {
    const packet = sealed(keys, head, iv, body, 1);
    expect(open(keys, packet.slice(0, -1), 1)).toBe(-1);
    expect(open(keys, packet.slice(0, HEAD), 1)).toBe(-1);
    const swapped = packet.slice();
    [swapped[40], swapped[44]] = [swapped[44]!, swapped[40]!];
    expect(open(keys, swapped, 1)).toBe(-1);
    expect(open(keys, packet.slice(), 2)).toBe(-1);
    expect(open(keys, packet.slice())).toBe(-1);
    const encryptionKey = keys.encryptionKey.slice();
    encryptionKey[3]! ^= 1;
    expect(open({ ...keys, encryptionKey }, packet.slice(), 1)).toBe(-1);
    const cipher = simulatedPrimitives.createPacketCipher(keys);
    expect(cipher.open(packet.slice(), 0, HEAD - 4, packet.length, 1)).toBe(-1);
  });

  test('seals equal bodies differently under each key and IV', () => {
    const bodies = new Set<string>();
    for (let i = 0; i < 200; i++) {
      const encryptionKey = keys.encryptionKey.slice();
      encryptionKey[0]! ^= i >> 4;
      const other = iv.slice();
      other[5]! ^= i & 15;
      bodies.add(toHex(sealed({ ...keys, encryptionKey }, head, other, body).subarray(HEAD + 16, HEAD + 32)));
    }
    expect(bodies.size).toBe(200);
  });

  test('is of no use once destroyed', () => {
    const cipher = simulatedPrimitives.createPacketCipher(keys);
    cipher.destroy();
    expect(() => cipher.seal(new Uint8Array(200), 0, HEAD, 120)).toThrow('destroyed');
  });
});

test('what has no explicit IV, and keys that fit nothing, go to the real ciphers', () => {
  const { createPacketCipher: make } = simulatedPrimitives;
  expect(make({ encryption: 30, keyLength: 128, encryptionKey: random.bytes(20) }).ivKind).toBe('implicit');
  expect(() => make({ ...AEAD, encryptionKey: random.bytes(16) })).toThrow('takes 20 octets');
  expect(() => make({ ...AEAD, integrity: 12, integrityKey: random.bytes(32) })).toThrow('integrity');
  expect(() => make({ ...CBC, integrity: undefined })).toThrow('integrity');
  expect(() => make({ encryption: 9999, encryptionKey: random.bytes(16) })).toThrow('9999');
});

describe('a simulated PRF', () => {
  test.each(prfTransforms().map(({ id, name }) => [name, id] as const))('%s has the lengths of the real one', (_, id) => {
    const { compute, ...lengths } = simulatedPrimitives.prf(id)!;
    const { compute: real, ...expected } = prf(id)!;
    expect(lengths).toEqual(expected);
    expect(compute(random.bytes(20), random.bytes(9))).toHaveLength(real(random.bytes(20), random.bytes(9)).length);
  });

  const compute = simulatedPrimitives.prf(5)!.compute;
  const text = (...parts: string[]) => parts.map((part) => new TextEncoder().encode(part));
  const value = (key: string, ...parts: string[]) => toHex(compute(text(key)[0]!, ...text(...parts)));

  test('is a function of the octets, wherever one part ends', () => {
    expect(value('key', 'ab', 'c')).toBe(value('key', 'a', 'bc'));
    expect(value('key', 'abc')).toBe(value('key', 'abc', ''));
  });

  test('tells key from data, and what is shorter from what is longer', () => {
    expect(new Set([value('key', 'abc'), value('keya', 'bc'), value('kez', 'abc'), value('key', 'abc\0'), value('key')]).size).toBe(5);
  });

  test('gives another value, and other words within it, for every input', () => {
    const values = new Set<string>();
    const words = new Set<string>();
    for (let i = 0; i < 5000; i++) {
      const data = toHex(compute(Uint8Array.of(i >> 8), Uint8Array.of(i)));
      values.add(data);
      for (let at = 0; at < data.length; at += 16) words.add(data.slice(at, at + 16));
    }
    expect(values.size).toBe(5000);
    expect(words.size).toBe(20_000);
  });

  test('of an unknown id is none', () => {
    expect(simulatedPrimitives.prf(9999)).toBeUndefined();
  });
});

test('a pair that computes with them sends what it would send with the real ones, octet for octet in length', () => {
  const [real, simulated] = [false, true].map((simulatedCrypto) => {
    const { net, a, b } = establishedPair({ simulatedCrypto });
    a.rekeyChild();
    net.settle();
    b.rekeyIke();
    net.settle();
    expectTrafficBothWays(net, a, b, { packets: 1 });
    return net.internet.capture.packets.map(({ at, packet }) => `${at} ${packet.source.ip} ${packet.data.length}`);
  });
  expect(simulated).toEqual(real);
  expect(simulated!.length).toBeGreaterThan(8);
});
