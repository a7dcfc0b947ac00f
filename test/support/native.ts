import { describe, test } from 'vitest';
import { loadNative, type Native, nativeLack } from '../../src/host/platform/linux/ffi.ts';

const native = await loadNative();
const lack = await nativeLack();

/** `describe`, or one test that is skipped, with the reason in its name, where there are no native calls. */
export function describeWithNative(name: string, body: (native: Native) => void): void {
  if (native !== undefined) describe(name, () => body(native));
  else test.skip(`${name} (${lack})`, () => {});
}
