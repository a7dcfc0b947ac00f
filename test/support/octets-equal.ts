import { expect } from 'vitest';

/** Equal octets are equal at once: compared one by one, as values of any kind are, a MiB of them takes a second. What differs is left to the ordinary comparison. */
expect.addEqualityTesters([
  (a, b) =>
    a instanceof Uint8Array && b instanceof Uint8Array && a.constructor === b.constructor && Buffer.compare(a, b) === 0 ? true : undefined,
]);
