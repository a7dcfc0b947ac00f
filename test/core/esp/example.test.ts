import { expect, test } from 'vitest';
import * as esp from '../../../src/core/esp/index.ts';
import { exampleOf, runExample } from '../../support/example.ts';

test('the example of tunnelwright/esp runs as it stands, with what that entry exports alone', async () => {
  const said: unknown[][] = [];
  const code = await exampleOf('src/core/esp/index.ts', 'tunnelwright/esp');
  await runExample(code, { ...esp, console: { log: (...words: unknown[]) => said.push(words) } });
  expect(said).toEqual([[253, 'hello'], ['replay']]);
});
