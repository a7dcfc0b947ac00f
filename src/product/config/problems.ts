import type { z } from 'zod';
import type { ConfigError } from '../../core/bytes/errors.ts';
import { nearest } from './schema/section.ts';
import { errorAt, type Path, type Source } from './source.ts';
import { quoted } from './values.ts';

type Issue = z.core.$ZodIssue;

/** What the schema found, as errors that say where, what and how to mend it; in the order of the file. */
export function problemsOf(issues: readonly Issue[], source: Source): ConfigError[] {
  const errors = issues.flatMap((issue) => explain(issue, [], source));
  return errors.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)).slice(0, MAX_PROBLEMS);
}

function explain(issue: Issue, above: Path, source: Source): ConfigError[] {
  const path = [...above, ...(issue.path as Path)];
  const at = (message: string, hint?: string, prefer: 'key' | 'value' = 'value') => errorAt(source.locate(path, prefer), message, hint);
  switch (issue.code) {
    case 'invalid_union':
      return explainUnion(issue, path, source);
    case 'unrecognized_keys': {
      const messages = issue.message.split('\n');
      return issue.keys.map((unknown, i) =>
        errorAt(source.locate([...path, unknown], 'key'), messages[i] ?? 'unknown key', undefined, 'CONFIG_UNKNOWN_KEY'),
      );
    }
    case 'invalid_key':
      return [at(issue.issues[0]?.message ?? 'is not a name', undefined, 'key')];
    case 'invalid_value': {
      const words =
        issue.values.includes('yes') && issue.values.includes('true')
          ? 'yes or no'
          : `one of ${issue.values.map((value) => JSON.stringify(value)).join(' | ')}`;
      const given = valueAt(source.value, path);
      if (given === undefined) return [at(`is missing: expected ${words}`)];
      const meant = typeof given === 'string' ? nearest(given, issue.values.map(String)) : undefined;
      return [at(`expected ${words}`, meant === undefined ? undefined : `Did you mean ${JSON.stringify(meant)}?`)];
    }
    case 'invalid_type':
      return [at(...wrongType(issue.expected, valueAt(source.value, path)))];
    case 'custom':
      return [at(issue.message, hintOf(issue))];
    case 'too_small':
      return [at('is empty')];
    default:
      return [at(issue.message)];
  }
}

/** Which branch the operator meant follows from what was written: a list, a section, a word. Only its issues are of use. */
function explainUnion(issue: Extract<Issue, { code: 'invalid_union' }>, path: Path, source: Source): ConfigError[] {
  const fitting = issue.errors.filter((branch) => !branch.some((inner) => inner.path.length === 0 && inner.code === 'invalid_type'));
  const branch = fitting[0] ?? widest(issue.errors);
  return branch === undefined ? [errorAt(source.locate(path), issue.message)] : branch.flatMap((inner) => explain(inner, path, source));
}

/** No branch takes this kind of value at all: then the most telling is the one that lists words, or the last, which is the plain form. */
function widest(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  return branches.find((branch) => branch.some((issue) => issue.code === 'invalid_value')) ?? branches.at(-1);
}

function wrongType(expected: string, given: unknown): [message: string, hint: string | undefined] {
  const wanted = KINDS[expected] ?? expected;
  if (given === undefined) return [`is missing: expected ${wanted}`, undefined];
  if (given === null) return [`is empty: expected ${wanted}`, 'Give it a value, or leave the key out.'];
  return [
    `expected ${wanted}, not ${kindOf(given)}`,
    typeof given === 'string' && (expected === 'object' || expected === 'record')
      ? 'Put its keys on lines of their own below it, indented.'
      : undefined,
  ];
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a section' : quoted(String(value));
}

function hintOf(issue: Issue): string | undefined {
  const hint = 'params' in issue ? issue.params?.hint : undefined;
  return typeof hint === 'string' ? hint : undefined;
}

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const part of path) {
    if (typeof part === 'number' && !Array.isArray(value)) continue;
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

const KINDS: Readonly<Record<string, string>> = {
  object: 'a section',
  record: 'a section',
  array: 'a list',
  string: 'text',
  number: 'a number',
  boolean: 'yes or no',
};

const MAX_PROBLEMS = 20;
