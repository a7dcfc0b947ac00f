import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { filesBelow, ROOT } from './sources.ts';

const pages = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...['docs', 'examples', 'test'].filter((folder) => existsSync(join(ROOT, folder))).flatMap((folder) => filesBelow(folder, '.md')),
].sort();
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> };

describe.each(pages)('%s', (page) => {
  const text = readFileSync(join(ROOT, page), 'utf8');
  const prose = text.replace(/^```[\s\S]*?^```/gm, '');

  test('its links lead somewhere', () => {
    const broken = [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
      .map((match) => match[1]!)
      .filter((link) => !/^[a-z]+:/.test(link) && !leadsSomewhere(page, link));
    expect(broken).toEqual([]);
  });

  test('the files and folders it names exist', () => {
    const named = [...prose.matchAll(/`((?:src|test|tools|docs|examples|schema|\.ci|\.github)\/[\w./-]*[\w/-])`/g)].map(
      (match) => match[1]!,
    );
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  test('the npm scripts it names exist', () => {
    const named = [...text.matchAll(/\bnpm run ([\w:]+)/g)].map((match) => match[1]!);
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });
});

test('no page or source names the machine it was written on', () => {
  const files = [...pages, ...['src', 'test', 'tools'].flatMap((folder) => filesBelow(folder, '.ts'))];
  expect(files.filter((path) => readFileSync(join(ROOT, path), 'utf8').includes(ROOT))).toEqual([]);
});

function leadsSomewhere(page: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const file = path === '' ? join(ROOT, page) : join(ROOT, dirname(page), decodeURIComponent(path));
  if (!existsSync(file)) return false;
  return anchor === undefined || headings(readFileSync(file, 'utf8')).includes(anchor);
}

/** Anchors as GitHub makes them from headings. */
function headings(text: string): string[] {
  return [...text.matchAll(/^#+ +(.*)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-'),
  );
}
