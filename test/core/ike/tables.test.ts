import { expect, test } from 'vitest';
import { printTables } from '../../../src/core/ike/tables.ts';

test('docs/reference/ike-states.md says what the core does', async () => {
  await expect(printTables()).toMatchFileSnapshot('../../../docs/reference/ike-states.md');
});
