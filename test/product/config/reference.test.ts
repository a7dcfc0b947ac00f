import { join } from 'node:path';
import { expect, test } from 'vitest';
import { jsonSchema, referenceSections } from '../../../src/product/config/json-schema.ts';
import { referencePage } from '../../../src/product/config/reference.ts';
import { UNSUPPORTED } from '../../../src/product/config/unsupported.ts';

const root = join(import.meta.dirname, '..', '..', '..');

// `npx vitest run --project unit test/product/config/reference.test.ts -u` writes both files anew.
test('schema/tunnelwright.schema.json is what the schema says', async () => {
  await expect(`${JSON.stringify(jsonSchema(), null, 2)}\n`).toMatchFileSnapshot(join(root, 'schema/tunnelwright.schema.json'));
});

test('docs/reference/config.md is what the schema says', async () => {
  await expect(referencePage()).toMatchFileSnapshot(join(root, 'docs/reference/config.md'));
});

test('every key is described', () => {
  const silent = referenceSections().flatMap(({ path, rows }) =>
    rows.filter((row) => row.description.length < 8).map((row) => `${path}.${row.key}`),
  );
  expect(silent).toEqual([]);
});

test('every setting that is not carried out is a key of the schema', () => {
  const marked = referenceSections().flatMap(({ rows }) => rows.filter((row) => row.unsupported !== undefined));
  expect(marked).toHaveLength(UNSUPPORTED.length);
});
