import { expect, test } from 'vitest';
import { KeyStore, LONGEST_KEY } from '../../../../src/host/platform/linux/key-store.ts';
import { describeWithNative, watchedNative } from '../../../support/native.ts';

describeWithNative('keys where native code reads them', (native) => {
  test('stand apart for as long as they are held, and are wiped then', () => {
    const { watched, places: rooms } = watchedNative(native);
    const store = new KeyStore(watched);
    const places = Array.from({ length: 500 }, (_, i) => store.put(new Uint8Array(i % 2 ? 16 : LONGEST_KEY).fill(1 + (i % 255))));
    expect(new Set(places.map((place) => store.address(place))).size).toBe(500);
    places.forEach((place, i) => {
      const { octets: inRoom } = rooms[Math.floor(place / (rooms[0]!.octets.length / LONGEST_KEY))]!;
      const at = (place * LONGEST_KEY) % rooms[0]!.octets.length;
      expect([inRoom[at], inRoom[at + 15]]).toEqual([1 + (i % 255), 1 + (i % 255)]);
    });
    for (const place of places) store.wipe(place);
    expect(rooms.every((room) => room.octets.every((octet) => octet === 0))).toBe(true);
    const before = rooms.length;
    for (let i = 0; i < 500; i++) store.put(new Uint8Array(LONGEST_KEY));
    expect(rooms.length).toBe(before);
  });
});
