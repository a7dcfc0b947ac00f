import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/core/bytes/errors.ts';
import { readSource, sourceOf } from '../../../src/product/config/source.ts';
import { expectAtOnce } from '../../support/at-once.ts';

const failure = (run: () => unknown): ConfigError => {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('values', () => {
  test('every scalar stays the text it was', () => {
    const { value } = readSource('a: 0x0123456789abcdef01\nb: 010\nc: yes\nd: 1e3\ne: "null"\nf: null\ng:\nh: ~\ni: 2026-01-01\n');
    expect(value).toEqual({
      a: '0x0123456789abcdef01',
      b: '010',
      c: 'yes',
      d: '1e3',
      e: 'null',
      f: null,
      g: null,
      h: null,
      i: '2026-01-01',
    });
  });

  test('JSON is YAML', () => {
    expect(readSource('{"a": [1, true, {"b": "x"}], "c": null}').value).toEqual({ a: ['1', 'true', { b: 'x' }], c: null });
  });

  test('aliases repeat, and << merges: own keys first, then earlier sections', () => {
    const text = 'x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: 0\nw: *x\n';
    expect(readSource(text).value).toMatchObject({ z: { a: '0', b: '2', c: '4' }, w: { a: '1', b: '2' } });
  });

  test('an empty text is nothing', () => {
    expect(readSource('').value).toBeNull();
    expect(readSource('# only a comment\n').value).toBeNull();
  });
});

describe('places', () => {
  const source = readSource(
    'a:\n  list:\n    - one\n    - {two: 2}\n  single: {k: v}\n  "odd key": 1\nbase: &b {deep: here}\nuse:\n  <<: *b\n  empty:\n',
    'f.yaml',
  );

  test.each([
    [['a', 'list', 0], 'a.list[0]', 3, 7],
    [['a', 'list', 1, 'two'], 'a.list[1].two', 4, 13],
    [['a', 'single', 0, 'k'], 'a.single.k', 5, 15],
    [['a', 'odd key'], 'a["odd key"]', 6, 14],
    [['use', 'deep'], 'use.deep', 7, 17],
    [['use', 'empty'], 'use.empty', 10, 3],
    [['a', 'missing', 'more'], 'a.missing.more', 1, 1],
    [['a', 'list', 1, 'missing'], 'a.list[1].missing', 4, 7],
    [['a', 'single', 'missing'], 'a.single.missing', 5, 3],
    [['nowhere'], 'nowhere', 1, 1],
  ] as const)('%j is %s at %i:%i', (path, shown, line, column) => {
    expect(source.locate(path)).toEqual({ path: shown, file: 'f.yaml', line, column });
  });

  test('the key can be asked for instead of the value', () => {
    expect(source.locate(['a', 'single'], 'key')).toMatchObject({ line: 5, column: 3 });
  });
});

describe('what is refused', () => {
  test.each([
    ['a: 1\nb:\n  c: 1\n  c: 2\n', 'f.yaml:4:3 the key "c" stands twice in this section', 'CONFIG_DUPLICATE_KEY'],
    ['a: [1, 2\n', 'f.yaml:2:1 not valid YAML:', 'CONFIG_SYNTAX'],
    ['a:\n\tb: 1\n', 'f.yaml:2:1 not valid YAML:', 'CONFIG_SYNTAX'],
    ['a: 1\n---\nb: 2\n', 'f.yaml holds 2 YAML documents; one is read', 'CONFIG_SYNTAX'],
    ['a: !!js/function x\n', 'f.yaml:1:4', 'CONFIG_SYNTAX'],
    ['a: !secret x\n', 'f.yaml:1:4', 'CONFIG_SYNTAX'],
    ['a: *nobody\n', 'f.yaml:1:4 an alias names no anchor above it; text that begins with * needs quotes', 'CONFIG_SYNTAX'],
    ['? [a, b]\n: 1\n', 'f.yaml:1:3 a key is a word, not a list or a section', 'CONFIG_SYNTAX'],
    ['a: &a\n  b: *a\n', 'f.yaml:2:6 an alias leads back into itself', 'CONFIG_SYNTAX'],
    ['a: &a {<<: *a}\n', 'an alias leads back into itself', 'CONFIG_SYNTAX'],
    ['a: {<<: word}\n', 'f.yaml:1:9 << merges sections only', 'CONFIG_SYNTAX'],
    ['connections:\n  __proto__: {polluted: yes}\n', 'f.yaml:2:3 "__proto__" cannot be a name', 'CONFIG_INVALID'],
    ['{"__proto__": {"polluted": true}}', 'f.yaml:1:2 "__proto__" cannot be a name', 'CONFIG_INVALID'],
    ['constructor: {prototype: {x: 1}}\n', 'f.yaml:1:1 "constructor" cannot be a name', 'CONFIG_INVALID'],
    ['a: &k __proto__\n*k : 1\n', '"__proto__" cannot be a name', 'CONFIG_INVALID'],
  ])('%j', (text, message, code) => {
    const error = failure(() => readSource(text, 'f.yaml'));
    expect(error.message).toContain(message);
    expect(error.code).toBe(code);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test('a value that a program made may not reach into prototypes either', () => {
    expect(failure(() => sourceOf(JSON.parse('{"connections": {"__proto__": {}}}'))).message).toBe(
      'connections: "__proto__" cannot be a name',
    );
    expect(failure(() => sourceOf({ a: [{ constructor: 1 }] })).path).toBe('a[0].constructor');
  });

  test('a value that contains itself', () => {
    const loop: Record<string, unknown> = {};
    loop.again = loop;
    expect(failure(() => sourceOf(loop)).code).toBe('CONFIG_TOO_LARGE');
  });
});

describe('hostile texts end soon and in a ConfigError', () => {
  const MEGABYTE = 1024 * 1024;
  const laughs = [
    'a0: &a0 [x, x, x, x, x, x, x, x, x, x]',
    ...Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join(', ')}]`),
  ].join('\n');
  const merges = [
    'a0: &a0 {k: v}',
    ...Array.from({ length: 20 }, (_, i) => `a${i + 1}: &a${i + 1} {<<: [${Array(4).fill(`*a${i}`).join(', ')}]}`),
  ].join('\n');
  const cases: Readonly<Record<string, string>> = {
    'a billion laughs': laughs,
    'merges of merges': merges,
    'brackets without end': '['.repeat(MEGABYTE),
    'braces without end': '{'.repeat(MEGABYTE),
    'nested lists on one line': '- '.repeat(MEGABYTE / 2),
    'nested keys': '? '.repeat(MEGABYTE / 2),
    'nested sections': 'a: '.repeat(MEGABYTE / 4),
    'a staircase': Array.from({ length: 1400 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
    'nested flow within bounds of size': `${'[a: '.repeat(60)}x${']'.repeat(60)}`,
    'many keys': Array.from({ length: 110_000 }, (_, i) => `k${i}: 1`).join('\n'),
    'many anchors': Array.from({ length: 80_000 }, (_, i) => `- &a${i} x`).join('\n'),
    'many aliases': `a: &a x\nb:\n${'- *a\n'.repeat(150_000)}`,
    'an open quote': '"'.repeat(MEGABYTE),
    'bad escapes': `"${'\\x'.repeat(100_000)}"`,
    'many documents': '---\n'.repeat(MEGABYTE / 4),
    'too many characters': ' '.repeat(MEGABYTE + 1),
    'control characters': 'a: "\u0000\u0007"\nb: [\u0001\n',
  };
  test.each(Object.entries(cases))('%s', (_, text) => {
    expectAtOnce(() => expect(failure(() => readSource(text, 'f.yaml'))).toBeInstanceOf(ConfigError), 5000);
  });

  test('what is large but plain is read', () => {
    const text = `connections:\n${Array.from({ length: 2000 }, (_, i) => `  c${i}:\n    remote_addrs: 10.${i >> 8}.${i & 255}.1\n`).join('')}`;
    expect(Object.keys((readSource(text).value as { connections: object }).connections)).toHaveLength(2000);
  });
});
