import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { keyWordsOf, linesWith, parseRequirements } from '../../tools/requirements.ts';
import { ROOT } from '../architecture/sources.ts';
import { describeWithShared, sharedPath } from '../support/shared.ts';

const FOLDER = join(ROOT, 'docs', 'requirements');
const requirements = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.yaml'))
  .flatMap((name) => parseRequirements(readFileSync(join(FOLDER, name), 'utf8'), name));
const nameOf = ({ section, nth, level }: { section: string; nth: number; level: string }) => `§${section} ${nth} ${level}`;

describeWithShared('RFC 7296, key word by key word', 'rfc/rfc7296.txt', () => {
  const words = keyWordsOf(readFileSync(sharedPath('rfc/rfc7296.txt'), 'utf8'));

  test('each has its entry, and nothing else has', () => {
    expect(requirements.map(nameOf).sort()).toEqual(words.map(nameOf).sort());
  });

  test('the text is read as a whole', () => {
    expect(words.length).toBeGreaterThan(360);
    expect(words.find(({ section, nth }) => section === '2.1' && nth === 1)).toMatchObject({ level: 'MUST' });
  });
});

describe('docs/requirements', () => {
  const files = new Map<string, string>();
  const read = (path: string): string => {
    const known = files.get(path) ?? readFileSync(join(ROOT, path), 'utf8');
    files.set(path, known);
    return known;
  };

  test('every line that is cited is there, once', () => {
    const wrong = requirements.flatMap((each) => {
      if (each.code === undefined) return [];
      const found = linesWith(read(each.code.path), each.code.line).length;
      return found === 1 ? [] : [`${nameOf(each)}: ${found} lines of ${each.code.path} hold ${each.code.line}`];
    });
    expect(wrong).toEqual([]);
  });

  test('every test that is cited is there', () => {
    const wrong = requirements.flatMap((each) =>
      each.test === undefined || read(each.test.path).includes(each.test.line)
        ? []
        : [`${nameOf(each)}: ${each.test.path} has no ${each.test.line}`],
    );
    expect(wrong).toEqual([]);
  });

  test('no test is cited by what its table fills in, by which nobody can select it', () => {
    expect(requirements.filter((each) => /%[a-z]|\$\w/.test(each.test?.line ?? '')).map(nameOf)).toEqual([]);
  });
});

describe('an entry that is not of its form is refused by name', () => {
  const entry = { at: '§2.1 1', level: 'MUST', says: 'It is so.', code: 'src/a.ts :: x', test: 'test/a.ts :: y' };
  test.each<[string, object]>([
    ['at', { at: '2.1' }],
    ['level', { level: 'MAY' }],
    ['says', { says: 'no sentence' }],
    ['code', { code: 'src/a.ts' }],
    ['a line and a test', { test: undefined }],
  ])('%s', (what, change) => {
    const changed = { ...entry, ...change };
    const yaml = `- ${Object.entries(changed)
      .filter(([, text]) => text !== undefined)
      .map(([key, text]) => `${key}: ${JSON.stringify(text)}`)
      .join('\n  ')}\n`;
    expect(() => parseRequirements(yaml, 'x.yaml')).toThrow(what);
    expect(() => parseRequirements(yaml, 'x.yaml')).toThrow('x.yaml: entry 1');
  });
});
