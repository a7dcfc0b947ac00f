import { expect, test } from 'vitest';
import { type RingMemory, RingReader, RingWriter, ringMemory } from '../../../../src/host/dataplane/fast/packet-ring.ts';
import { SeededRandom } from '../../../../src/testing/seeded.ts';

/** A ring whose positions have run almost to the end of their numbers. */
function usedRing(size: number): RingMemory {
  const ring = ringMemory(size);
  const control = new Int32Array(ring.control);
  // both positions are the same, wherever they stand
  const [written, read] = positionsOf(ring);
  control[written] = -2 * size;
  control[read] = -2 * size;
  return ring;
}

/** Which of the words the writer stores when it writes, and the reader when it reads. */
function positionsOf({ octets }: RingMemory): readonly [number, number] {
  const trial = ringMemory(octets.byteLength);
  const words = new Int32Array(trial.control);
  put(new RingWriter(trial), Uint8Array.of(1));
  const written = words.findIndex((word) => word !== 0);
  const reader = new RingReader(trial);
  reader.next();
  reader.release();
  return [written, words.findIndex((word, i) => word !== 0 && i !== written)];
}

function put(writer: RingWriter, packet: Uint8Array, tag = 0, most = packet.length): boolean {
  const at = writer.reserve(most);
  if (at < 0) return false;
  writer.octets.set(packet, at);
  writer.commit(packet.length, tag);
  return true;
}

function take(reader: RingReader): Uint8Array | undefined {
  if (!reader.next()) return undefined;
  const packet = reader.octets.slice(reader.start, reader.end);
  reader.release();
  return packet;
}

test.each([1, 2, 3])('what goes in comes out, in order, over any walk and beyond the end of the numbers (seed %i)', (seed) => {
  const random = new SeededRandom(seed, 'ring');
  const size = 4096;
  const ring = usedRing(size);
  const [writer, reader] = [new RingWriter(ring), new RingReader(ring)];
  const expected: { packet: Uint8Array; tag: number }[] = [];
  let passed = 0;
  let refused = 0;
  for (let step = 0; step < 4000; step++) {
    if (random.fraction() < 0.5) {
      const most = Math.floor(random.fraction() * 1000);
      const packet = new Uint8Array(Math.floor(random.fraction() * most)).fill(step);
      const tag = step & 0xffff;
      if (put(writer, packet, tag, most)) expected.push({ packet, tag });
      else {
        refused++;
        // a ring that has room for two of the largest never says no
        expect(writer.hasRoom(2 * 1024)).toBe(false);
      }
    } else {
      const next = expected.shift();
      expect(reader.next()).toBe(next !== undefined);
      if (next === undefined) continue;
      expect([reader.tag, reader.octets.slice(reader.start, reader.end)]).toEqual([next.tag, next.packet]);
      expect((reader.start + 10) % 8).toBe(0);
      reader.release();
      passed++;
    }
  }
  expect(passed).toBeGreaterThan(1000);
  expect(refused).toBeGreaterThan(20);
});

test('a packet that is not written to its end changes nothing for the reader', () => {
  const ring = ringMemory(1024);
  const [writer, reader] = [new RingWriter(ring), new RingReader(ring)];
  expect(writer.reserve(100)).toBeGreaterThan(0);
  expect([reader.next(), reader.isEmpty]).toEqual([false, true]);
  put(writer, Uint8Array.of(7));
  expect(take(reader)).toEqual(Uint8Array.of(7));
});

test('who rests is woken once, and does not rest over a packet', () => {
  const ring = ringMemory(1024);
  const [writer, reader] = [new RingWriter(ring), new RingReader(ring)];
  put(writer, Uint8Array.of(1));
  expect([writer.mustWake(), reader.rest(), writer.mustWake()]).toEqual([false, false, false]);
  take(reader);
  expect(reader.rest()).toBe(true);
  put(writer, Uint8Array.of(2));
  expect([writer.mustWake(), writer.mustWake()]).toEqual([true, false]);
  reader.stir();
  expect(take(reader)).toEqual(Uint8Array.of(2));
});

test('who waits for room is told once, when there is as much as was wanted', () => {
  const ring = ringMemory(1024);
  const [writer, reader] = [new RingWriter(ring), new RingReader(ring)];
  expect(writer.waitForRoom(1024)).toBe(false);
  const packet = new Uint8Array(300);
  while (put(writer, packet));
  expect(reader.mustTellRoom()).toBe(false);
  expect(writer.waitForRoom(600)).toBe(true);
  const told: boolean[] = [];
  while (take(reader) !== undefined) told.push(reader.mustTellRoom());
  expect(told).toEqual([false, true, false]);
  expect(writer.waitForRoom(600)).toBe(false);
});

test('a size that positions cannot run around in is refused', () => {
  for (const size of [0, 32, 1000, 2 ** 31]) expect(() => ringMemory(size)).toThrow(/power of two/);
});
