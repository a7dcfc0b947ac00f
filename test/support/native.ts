import { describe, test } from 'vitest';
import { loadNative, type Native, type NativeBuffer, nativeLack } from '../../src/host/platform/linux/ffi.ts';

const native = await loadNative();
const lack = await nativeLack();

/** `describe`, or one test that is skipped, with the reason in its name, where there are no native calls. */
export function describeWithNative(name: string, body: (native: Native) => void): void {
  if (native !== undefined) describe(name, () => body(native));
  else test.skip(`${name} (${lack})`, () => {});
}

/** Native calls that keep every place they allocate, so that a test can look into them. */
export function watchedNative(native: Native): {
  readonly watched: Native;
  readonly places: readonly NativeBuffer[];
  holds(secret: Uint8Array): boolean;
} {
  const places: NativeBuffer[] = [];
  return {
    watched: {
      ...native,
      allocate: (length) => {
        const place = native.allocate(length);
        places.push(place);
        return place;
      },
    },
    places,
    holds: (secret) => places.some(({ octets }) => Buffer.from(octets).includes(Buffer.from(secret))),
  };
}
