import { expect, test } from 'vitest';
import { HOSTILE } from '../../../src/testing/packet-generator.ts';
import { isSound, sendHostile } from './hostile-packets.ts';

test('of hostile packets of each kind none is forwarded, and each is counted by its cause', () => {
  const results = sendHostile(300);
  expect(results.map(({ kind }) => kind)).toEqual(HOSTILE);
  expect(results.filter((result) => !isSound(result))).toEqual([]);
});
