import { describe, expect, test } from 'vitest';
import { commandInside, runInside } from '../../../../src/host/platform/linux/namespace-inside.ts';
import { whyNoNamespace } from '../../../../src/host/platform/linux/namespace-refusals.ts';

const NOTHING = { most: '63000', clone: undefined, appArmor: undefined };

describe('why a user may not make a namespace, in one sentence with what to do', () => {
  test.each([
    ['spawn unshare ENOENT', NOTHING, 'UNSHARE_MISSING', /unshare is missing/, /Install util-linux/],
    [
      'unshare: unshare failed: No space left on device',
      { ...NOTHING, most: '0' },
      'NAMESPACES_FORBIDDEN',
      /max_user_namespaces is 0/,
      /=15000/,
    ],
    ['unshare: unshare failed: No space left on device', NOTHING, 'NAMESPACES_FORBIDDEN', /as many as there may be/, /max_net_namespaces/],
    ['unshare: unshare failed: Operation not permitted', { ...NOTHING, clone: '0' }, 'NAMESPACES_FORBIDDEN', /clone is 0/, /clone=1/],
    [
      'unshare: write failed /proc/self/uid_map: Operation not permitted',
      { ...NOTHING, appArmor: '1' },
      'NAMESPACES_FORBIDDEN',
      /AppArmor/,
      /userns,/,
    ],
    ['unshare: unshare failed: Operation not permitted', NOTHING, 'NAMESPACES_FORBIDDEN', /this container, or a filter/, /seccomp/],
    ['unshare: something new\nand more', NOTHING, 'NAMESPACES_FORBIDDEN', /: something new$/, /by hand/],
    ['', NOTHING, 'NAMESPACES_FORBIDDEN', /says nothing/, /by hand/],
  ])('%s %o', (said, switches, code, why, hint) => {
    const error = whyNoNamespace(said, switches);
    expect(error).toMatchObject({ code, backend: 'netns', message: expect.stringMatching(why), hint: expect.stringMatching(hint) });
    expect(error.hint).toMatch(/--plane netstack/);
  });
});

test('the command line into a namespace names all three, and the program last', () => {
  const entry = { user: '/proc/7/fd/20', net: '/proc/7/fd/21', mount: '/proc/7/fd/22' };
  const way = ['nsenter', '--preserve-credentials', '--user=/proc/7/fd/20', '--net=/proc/7/fd/21', '--mount=/proc/7/fd/22', '--'];
  expect(commandInside(entry, ['curl', '-v'])).toEqual([...way, 'curl', '-v']);
  expect(commandInside(entry, ['make'], '/home/al ice')).toEqual([...way, 'env', '--chdir=/home/al ice', 'make']);
});

test('a namespace that is gone runs nothing', async () => {
  const gone = '/proc/self/fd/4711';
  const { ended } = runInside({ user: gone, net: gone, mount: gone }, ['true'], { stdio: 'pipe' });
  expect((await ended).code).not.toBe(0);
});
