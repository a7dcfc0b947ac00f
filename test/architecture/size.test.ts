import { expect, test } from 'vitest';
import { filesBelow, readSource } from './sources.ts';

/** A file has one reason to be opened. Over the alarm it is split, or its line stands here with the reason. */
const ALARM = { src: 500, tools: 500, test: 800 } as const;

const EXCEPTIONS: Readonly<Record<string, string>> = {};

test.each(Object.entries(ALARM))('no file below %s/ is longer than %i lines', (folder, alarm) => {
  const long = filesBelow(folder, '.ts')
    .map((path) => ({ path, lines: readSource(path).text.split('\n').length - 1 }))
    .filter(({ path, lines }) => lines > alarm && EXCEPTIONS[path] === undefined)
    .map(({ path, lines }) => `${path}: ${lines} lines`);
  expect(long).toEqual([]);
});

test('an exception that is no longer needed is taken out', () => {
  const needless = Object.keys(EXCEPTIONS).filter((path) => {
    const folder = path.split('/')[0] as keyof typeof ALARM;
    return !filesBelow(folder, '.ts').includes(path) || readSource(path).text.split('\n').length - 1 <= ALARM[folder];
  });
  expect(needless).toEqual([]);
});
