import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as testing from '../../src/testing/index.ts';

test('the example of the documentation runs', () => {
  const source = readFileSync(new URL('../../src/testing/index.ts', import.meta.url), 'utf8');
  const example = source.match(/```ts\n([\s\S]*?)```/)![1]!.replace(/^ \* ?/gm, '');
  expect(example).toContain('establishedPair');
  const names = Object.keys(testing);
  new Function(...names, example)(...Object.values(testing));
});
