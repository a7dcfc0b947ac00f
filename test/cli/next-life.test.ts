import { describe, expect, test } from 'vitest';
import { CliError } from '../../src/cli/errors.ts';
import { type NextLifeOptions, throughLives } from '../../src/cli/next-life.ts';
import { ControlError } from '../../src/product/control/errors.ts';

const lost = (): ControlError => new ControlError('ended in the middle of its answer', { code: 'CONTROL_LOST' });
const absent = (): ControlError => new ControlError('nothing is running', { code: 'NOT_RUNNING' });

type Life = readonly (string | Error)[] | 'absent';

/** One instance after the other, each of which says its lines, or ends with the error among them. */
function lives(...all: Life[]) {
  const asked: number[] = [];
  const presence: boolean[] = [];
  const controller = new AbortController();
  const options: NextLifeOptions<{ n: number; says: Exclude<Life, 'absent'> }, string> = {
    find: async () => {
      const says = all.length > 1 ? all.shift()! : all[0]!;
      if (says === 'absent') throw absent();
      return { n: asked.length + 1, says };
    },
    ask: async function* ({ n, says }) {
      asked.push(n);
      for (const line of says) {
        if (typeof line !== 'string') throw line;
        yield line;
      }
    },
    onPresence: (there) => presence.push(there),
    signal: controller.signal,
    every: 1,
  };
  return { options, asked, presence, controller };
}

const all = async (lines: AsyncIterable<string>): Promise<string[]> => {
  const said: string[] = [];
  for await (const line of lines) said.push(line);
  return said;
};

describe('what an instance says', () => {
  test('to its end, where nothing happens to it', async () => {
    const { options, asked, presence } = lives(['a', 'b']);
    expect(await all(throughLives(options))).toEqual(['a', 'b']);
    expect([asked, presence]).toEqual([[1], []]);
  });

  test('goes on in the next life, which may take its time, and in the one after that', async () => {
    const { options, asked, presence } = lives(['a', lost()], 'absent', 'absent', ['b', lost()], ['c']);
    expect(await all(throughLives(options))).toEqual(['a', 'b', 'c']);
    expect(asked).toEqual([1, 2, 3]);
    expect(presence).toEqual([false, true, false, true]);
  });

  test('one that ends between being found and being asked is gone, too', async () => {
    const { options } = lives([absent()], ['a']);
    expect(await all(throughLives(options))).toEqual(['a']);
  });

  test('without a next life it ends after a minute, resumable', async () => {
    const { options, presence } = lives(['a', lost()], 'absent');
    await expect(all(throughLives(options))).rejects.toMatchObject({ code: 'INSTANCE_GONE', resumable: true });
    expect(presence).toEqual([false]);
  });

  test('what the instance itself says went wrong is not asked for again', async () => {
    const { options, asked } = lives([new CliError('no such file', { code: 'FILE_NOT_FOUND' })], ['a']);
    await expect(all(throughLives(options))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    expect(asked).toEqual([1]);
  });

  test('where there is none to begin with, nothing is waited for', async () => {
    const { options, presence } = lives('absent');
    await expect(all(throughLives(options))).rejects.toMatchObject({ code: 'NOT_RUNNING' });
    expect(presence).toEqual([]);
  });

  test('who has had enough waits no longer', async () => {
    const { options, controller, presence } = lives(['a', lost()], 'absent');
    const stop = new CliError('interrupted', { code: 'INTERRUPTED' });
    const going = all(throughLives({ ...options, every: 60_000, onPresence: () => controller.abort(stop) }));
    await expect(going).rejects.toBe(stop);
    expect(presence).toEqual([]);
  });
});
