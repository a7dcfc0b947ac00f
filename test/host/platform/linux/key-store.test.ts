import { expect, test } from 'vitest';
import type { Native } from '../../../../src/host/platform/linux/ffi.ts';
import { KeyStore, LONGEST_KEY } from '../../../../src/host/platform/linux/key-store.ts';
import { describeWithNative } from '../../../support/native.ts';

describeWithNative('keys where native code reads them', (native) => {
  test('stand apart for as long as they are held, and are wiped then', () => {
    const rooms: Uint8Array[] = [];
    const watched: Native = {
      ...native,
      allocate: (length) => {
        const room = native.allocate(length);
        rooms.push(room.octets);
        return room;
      },
    };
    const store = new KeyStore(watched);
    const places = Array.from({ length: 500 }, (_, i) => store.put(new Uint8Array(i % 2 ? 16 : LONGEST_KEY).fill(1 + (i % 255))));
    expect(new Set(places.map((place) => store.address(place))).size).toBe(500);
    places.forEach((place, i) => {
      const inRoom = rooms[Math.floor(place / (rooms[0]!.length / LONGEST_KEY))]!;
      const at = (place * LONGEST_KEY) % rooms[0]!.length;
      expect([inRoom[at], inRoom[at + 15]]).toEqual([1 + (i % 255), 1 + (i % 255)]);
    });
    for (const place of places) store.wipe(place);
    expect(rooms.every((room) => room.every((octet) => octet === 0))).toBe(true);
    const before = rooms.length;
    for (let i = 0; i < 500; i++) store.put(new Uint8Array(LONGEST_KEY));
    expect(rooms.length).toBe(before);
  });
});
