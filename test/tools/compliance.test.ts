import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Citation, citationsIn, citationsOn, compliancePage, parseExceptions } from '../../tools/compliance.ts';
import { parseRequirements } from '../../tools/requirements.ts';
import { filesBelow, ROOT, readSource } from '../architecture/sources.ts';

/** Without the tests of this very tool, whose citations are examples. */
const sources = ['src', 'test']
  .flatMap((folder) => filesBelow(folder, '.ts'))
  .filter((path) => !path.startsWith('test/tools/'))
  .map(readSource);
const exceptions = parseExceptions(readFileSync(join(ROOT, 'docs', 'exceptions.toml'), 'utf8'));

const REQUIREMENTS = join(ROOT, 'docs', 'requirements');
const requirements = readdirSync(REQUIREMENTS)
  .filter((name) => name.endsWith('.yaml'))
  .flatMap((name) => parseRequirements(readFileSync(join(REQUIREMENTS, name), 'utf8'), name));

const PAGE = join(ROOT, 'docs', 'compliance.md');

describe('docs/compliance.md', () => {
  const keyOf = ({ rfc, section, path }: Citation) => `RFC ${rfc} ${section} in ${path}`;
  const cited = sources.flatMap(citationsIn).map(keyOf);

  // It lists what dozens of files cite: a new citation need not write it anew, a claim that no longer holds must.
  test('claims nothing that is not so, and is not far behind; where it is not there it is written', async () => {
    if (!existsSync(PAGE)) await expect(compliancePage(sources, exceptions, requirements)).toMatchFileSnapshot(PAGE);
    const page = existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : compliancePage(sources, exceptions, requirements);
    const known = new Set(cited);
    const claimed = citationsOn(page).map(keyOf);
    expect(
      claimed.filter((claim) => !known.has(claim)),
      'remove docs/compliance.md and run this test again: it writes the page anew',
    ).toEqual([]);
    expect(claimed.length).toBeGreaterThan(0.8 * new Set(cited).size);
    for (const { does } of exceptions) expect(page).toContain(does);
    expect(requirements.filter(({ says }) => !page.includes(says))).toEqual([]);
  });

  test('reads back what it prints', () => {
    const source = { path: 'src/core/esp/x.ts', text: '// RFC 4303 §2.1\n// RFC 4106 appendix A.1' };
    const own = { path: 'test/core/esp/x.test.ts', text: '// RFC 4303 §2.1' };
    const page = compliancePage([source, own], []);
    expect(citationsOn(page).map(keyOf).sort()).toEqual([source, own].flatMap(citationsIn).map(keyOf).sort());
  });
});

describe('departures', () => {
  test.each(exceptions.map((each) => [`RFC ${each.rfc} §${each.section}: ${each.asks}`, each] as const))(
    '%s',
    (_name, { rfc, where, asks, does, why }) => {
      expect(existsSync(join(ROOT, where))).toBe(true);
      for (const sentence of [asks, does, why]) expect(sentence).toMatch(/^[A-Z0-9].*\.$/);
      expect(sources.some(({ text }) => text.includes(`RFC ${rfc}`))).toBe(true);
    },
  );

  test('a file that is not of this form is refused with its line', () => {
    expect(() => parseExceptions('[[exception]]\nrfc = seven\n')).toThrow('exceptions.toml:2');
    expect(() => parseExceptions('[[exception]]\nrfc = 7296\n')).toThrow('lacks section');
  });
});

describe('citations', () => {
  const cited = (text: string, path = 'src/host/x.ts') => citationsIn({ path, text }).map(({ rfc, section }) => `${rfc} ${section}`.trim());

  test.each<[string, string[]]>([
    ['// RFC 7296 §2.8.1, §2.25: both', ['7296 2.8.1', '7296 2.25']],
    ['// RFC 7296 §2.1–2.3', ['7296 2.1', '7296 2.3']],
    ['// RFC 5280 §6.1, RFC 9618', ['5280 6.1', '9618']],
    ['// RFC 7296 appendix C.1', ['7296 appendix C.1']],
    ['// §2.4 of whatever', []],
    ['// RFC 4106', ['4106']],
    ['// RFC 4106\n// RFC 4106 §4', ['4106 4']],
    ['// RFC 3948 §2.2, §2.3: the marker (RFC 7296 §2.23)', ['3948 2.2', '3948 2.3', '7296 2.23']],
  ])('%j', (text, expected) => expect(cited(text)).toEqual(expected));

  test('in a room of one standard a bare section is of it', () => {
    expect(cited('// §2.4: an empty exchange', 'src/core/ike/x.ts')).toEqual(['7296 2.4']);
    expect(cited('// RFC 7383 §2.5, then §2.6', 'src/core/ike/x.ts')).toEqual(['7383 2.5', '7383 2.6']);
  });
});
