import { join } from 'node:path';
import { expect, test } from 'vitest';
import { controlPage } from '../../../src/product/control/reference.ts';

// `npx vitest run --project unit test/product/control/reference.test.ts -u` writes the page anew.
test('docs/reference/control.md is what the API says', async () => {
  await expect(controlPage()).toMatchFileSnapshot(join(import.meta.dirname, '..', '..', '..', 'docs', 'reference', 'control.md'));
});
