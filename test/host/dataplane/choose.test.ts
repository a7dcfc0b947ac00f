import { expect, test } from 'vitest';
import { chooseBackend } from '../../../src/host/dataplane/index.ts';

test('a data plane that is not there is refused, with those that are', async () => {
  await expect(chooseBackend('tube')).rejects.toMatchObject({ code: 'PLANE_UNKNOWN', hint: expect.stringContaining('netstack') });
});
