import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildProgram } from '../../src/cli/program.ts';
import { cliPage } from '../../src/cli/reference.ts';

// `npx vitest run --project unit test/cli/reference.test.ts -u` writes the page anew.
test('docs/reference/cli.md is what the commands say', async () => {
  const { program } = buildProgram({ version: '0' } as Parameters<typeof buildProgram>[0]);
  await expect(cliPage(program)).toMatchFileSnapshot(join(import.meta.dirname, '..', '..', 'docs', 'reference', 'cli.md'));
});
