import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Pair,
  type ParsedNode,
  Parser,
  type YAMLError,
} from 'yaml';
import { ConfigError } from '../../core/bytes/errors.ts';

/** Where in a configuration something stands: keys and list indices from the top. */
export type Path = readonly (string | number)[];

export interface Place {
  /** The path as a reader writes it: `connections.road.local[0].auth`. */
  readonly path: string;
  readonly file: string | undefined;
  /** From 1; absent when the configuration did not come from text. */
  readonly line: number | undefined;
  readonly column: number | undefined;
}

/** A configuration as plain values (sections, lists, text, null) that still knows where everything came from. */
export interface Source {
  readonly file: string | undefined;
  readonly value: unknown;
  /** The place of the value at `path`, or of its key; when it is missing, that of the nearest section around it. */
  locate(path: Path, prefer?: 'key' | 'value'): Place;
}

/**
 * Reads YAML 1.2 (hence JSON too). Every scalar stays the text that the operator wrote: the schema alone decides what is a number,
 * so that `secret: 0x0123` and `id: 10` survive. Anchors, aliases and `<<` merges are followed; size, depth and expansion are bounded.
 * Throws `ConfigError`.
 */
export function readSource(text: string, file?: string): Source {
  if (text.length > MAX_CHARACTERS) throw tooMuch(`is larger than ${MAX_CHARACTERS / 1024} KiB`, file);
  const lines = new LineCounter();
  const document = parse(text, lines, file);
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const reader = new TreeReader((message, offset, code) => {
    const { line, column } = at(offset);
    return new ConfigError(`${position(file, line, column)} ${message}`, { code, ...place(undefined, file, line, column) });
  });
  const value = document.contents === null ? null : reader.read(document.contents, 0);
  return {
    file,
    value,
    locate: (path, prefer = 'value') => {
      const found = reader.find(document.contents, path, prefer);
      return { path: found.shown, file, ...at(found.offset) };
    },
  };
}

/** The same for a value that a program made: it has paths, but no lines. Checked for names that would reach into prototypes. */
export function sourceOf(value: unknown, file?: string): Source {
  refuseHostileNames(value, [], 0);
  return { file, value, locate: (path) => ({ path: showPath(path), file, line: undefined, column: undefined }) };
}

/** `tunnelwright.yaml:4:11`, with what is known. */
export function position(file: string | undefined, line: number | undefined, column: number | undefined): string {
  return [file ?? 'configuration', line, column].filter((part) => part !== undefined).join(':');
}

export function showPath(path: Path): string {
  let shown = '';
  for (const part of path) {
    if (typeof part === 'number') shown += `[${part}]`;
    else if (PLAIN_KEY.test(part)) shown += shown === '' ? part : `.${part}`;
    else shown += `[${JSON.stringify(part)}]`;
  }
  return shown;
}

/** A `ConfigError` that starts with the place: `tunnelwright.yaml:4:11 connections.road.mode: …`. */
export function errorAt(where: Place, message: string, hint?: string, code = 'CONFIG_INVALID'): ConfigError {
  const start = where.file === undefined && where.line === undefined ? '' : `${position(where.file, where.line, where.column)} `;
  const text = where.path === '' ? `${start}${message}` : `${start}${where.path}: ${message}`;
  return new ConfigError(text, {
    code,
    ...place(where.path, where.file, where.line, where.column),
    ...(hint === undefined ? {} : { hint }),
  });
}

function parse(text: string, lines: LineCounter, file: string | undefined): Document.Parsed {
  const tokens = tokensOf(text, lines, file);
  // `uniqueKeys` compares every key with every other; TreeReader does it in linear time.
  const documents = [
    ...new Composer({ schema: 'failsafe', uniqueKeys: false, prettyErrors: false, logLevel: 'silent' }).compose(tokens, true, text.length),
  ];
  const document = documents[0] as Document.Parsed;
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) throw syntaxError(problem, lines, file);
  if (documents.length > 1)
    throw new ConfigError(`${position(file, undefined, undefined)} holds ${documents.length} YAML documents; one is read`, {
      code: 'CONFIG_SYNTAX',
    });
  return document;
}

/** What `Parser.parse` does, under limits: nesting costs the parser and the composer time and stack long before there is a tree to measure. */
function tokensOf(text: string, lines: LineCounter, file: string | undefined): CST.Token[] {
  const parser = new Parser(lines.addNewLine);
  const tokens: CST.Token[] = [];
  lines.addNewLine(0);
  let lexemes = 0;
  for (const lexeme of new Lexer().lex(text)) {
    if (++lexemes > MAX_LEXEMES) throw tooMuch(`has more than ${MAX_LEXEMES} words and marks`, file);
    tokens.push(...parser.next(lexeme));
    if (parser.stack.length > 2 * MAX_DEPTH) throw tooMuch(`nests deeper than ${MAX_DEPTH} levels`, file);
  }
  tokens.push(...parser.end());
  return tokens;
}

function syntaxError(problem: YAMLError, lines: LineCounter, file: string | undefined): ConfigError {
  const { line, col } = lines.linePos(problem.pos[0]);
  const hint = SYNTAX_HINTS[problem.code];
  // behind a colon the parser quotes the text, which may be a secret
  const [what] = problem.message.split(/: |\n/, 1);
  return new ConfigError(`${position(file, line, col)} not valid YAML: ${what}`, {
    code: 'CONFIG_SYNTAX',
    ...place(undefined, file, line, col),
    ...(hint === undefined ? {} : { hint }),
  });
}

function place(path: string | undefined, file: string | undefined, line: number | undefined, column: number | undefined) {
  return {
    ...(path === undefined ? {} : { path }),
    ...(file === undefined ? {} : { file }),
    ...(line === undefined ? {} : { line }),
    ...(column === undefined ? {} : { column }),
  };
}

const tooMuch = (what: string, file: string | undefined) =>
  new ConfigError(`${file ?? 'the configuration'} ${what}`, {
    code: 'CONFIG_TOO_LARGE',
    ...place(undefined, file, undefined, undefined),
    hint: 'A configuration is a short text; is this the right file?',
  });

type Fail = (message: string, offset: number, code: string) => ConfigError;

class TreeReader {
  readonly #fail: Fail;
  readonly #anchors = new Map<string, ParsedNode>();
  readonly #open = new Set<ParsedNode>();
  readonly #targets = new Map<ParsedNode, ParsedNode>();
  #nodes = 0;

  constructor(fail: Fail) {
    this.#fail = fail;
  }

  read(node: ParsedNode, depth: number): unknown {
    const offset = node.range[0];
    if (++this.#nodes > MAX_NODES)
      throw this.#fail(`the configuration expands to more than ${MAX_NODES} values`, offset, 'CONFIG_TOO_LARGE');
    if (depth > MAX_DEPTH) throw this.#fail(`nests deeper than ${MAX_DEPTH} levels`, offset, 'CONFIG_TOO_LARGE');
    if (isAlias(node)) {
      const target = this.#target(node);
      if (this.#open.has(target)) throw this.#fail('an alias leads back into itself', offset, 'CONFIG_SYNTAX');
      return this.read(target, depth);
    }
    if (node.tag !== undefined) throw this.#fail('YAML tags are not used here', offset, 'CONFIG_SYNTAX');
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isScalar(node)) return isEmpty(node) ? null : String(node.value);
    this.#open.add(node);
    const value = isSeq(node)
      ? node.items.map((item) => this.read(item as ParsedNode, depth + 1))
      : this.#section(node.items as Pair<ParsedNode, ParsedNode | null>[], depth);
    this.#open.delete(node);
    return value;
  }

  /** Where `path` leads; the last index of a list may be missing when a single value was written in its stead. */
  find(root: ParsedNode | null, path: Path, prefer: 'key' | 'value'): { offset: number; shown: string } {
    let node = root === null ? undefined : this.#resolved(root);
    let offset = node?.range[0] ?? 0;
    // Where something that is missing would be looked for: at the key of the section around it.
    let around = offset;
    let missing = node === undefined;
    const shown: (string | number)[] = [];
    path.forEach((part, index) => {
      if (!missing && typeof part === 'number' && !isSeq(node)) return;
      shown.push(part);
      if (missing) return;
      const pair = isMap(node) ? this.#pair(node.items as Pair<ParsedNode, ParsedNode | null>[], String(part)) : undefined;
      const next = pair?.value ?? (isSeq(node) ? (node.items[Number(part)] as ParsedNode | undefined) : undefined);
      missing = next === undefined || next === null;
      if (missing) offset = pair?.key.range[0] ?? around;
      else
        offset =
          pair !== undefined && ((prefer === 'key' && index === path.length - 1) || isEmptyScalar(next))
            ? pair.key.range[0]
            : next!.range[0];
      around = pair?.key.range[0] ?? offset;
      node = missing ? undefined : this.#resolved(next!);
    });
    return { offset, shown: showPath(shown) };
  }

  #section(pairs: readonly Pair<ParsedNode, ParsedNode | null>[], depth: number): Record<string, unknown> {
    const section: Record<string, unknown> = {};
    const merged: ParsedNode[] = [];
    for (const { key, value } of pairs) {
      if (++this.#nodes > MAX_NODES)
        throw this.#fail(`the configuration expands to more than ${MAX_NODES} values`, key.range[0], 'CONFIG_TOO_LARGE');
      const name = this.#name(key);
      if (name === '<<' && value !== null) merged.push(value);
      else if (Object.hasOwn(section, name))
        throw this.#fail(`the key "${name}" stands twice in this section`, key.range[0], 'CONFIG_DUPLICATE_KEY');
      else section[name] = value === null ? null : this.read(value, depth + 1);
    }
    for (const value of merged) this.#merge(section, value, depth);
    return section;
  }

  #name(key: ParsedNode): string {
    const node = this.#resolved(key);
    if (!isScalar(node)) throw this.#fail('a key is a word, not a list or a section', key.range[0], 'CONFIG_SYNTAX');
    const name = String(node.value);
    if (HOSTILE.has(name)) throw this.#fail(`"${name}" cannot be a name`, key.range[0], 'CONFIG_INVALID');
    return name;
  }

  /** Keys written in the section itself win over merged ones; among merged sections the first wins. */
  #merge(section: Record<string, unknown>, value: ParsedNode, depth: number): void {
    const read = this.read(value, depth + 1);
    for (const source of Array.isArray(read) ? read : [read]) {
      if (typeof source !== 'object' || source === null || Array.isArray(source))
        throw this.#fail('<< merges sections only', value.range[0], 'CONFIG_SYNTAX');
      for (const [name, inherited] of Object.entries(source)) if (!Object.hasOwn(section, name)) section[name] = inherited;
    }
  }

  #target(alias: ParsedNode & { source: string }): ParsedNode {
    const known = this.#targets.get(alias);
    const target = known ?? this.#anchors.get(alias.source);
    if (target === undefined)
      throw this.#fail('an alias names no anchor above it; text that begins with * needs quotes', alias.range[0], 'CONFIG_SYNTAX');
    this.#targets.set(alias, target);
    return target;
  }

  #resolved(node: ParsedNode): ParsedNode {
    return isAlias(node) ? this.#target(node) : node;
  }

  #pair(pairs: readonly Pair<ParsedNode, ParsedNode | null>[], name: string): Pair<ParsedNode, ParsedNode | null> | undefined {
    const own = pairs.find(({ key }) => isScalar(key) && String(key.value) === name);
    if (own !== undefined) return own;
    for (const { key, value } of pairs) {
      if (!isScalar(key) || key.value !== '<<' || value === null) continue;
      const sources = this.#resolved(value);
      for (const source of isSeq(sources) ? sources.items.map((item) => this.#resolved(item as ParsedNode)) : [sources]) {
        const inherited = isMap(source) ? this.#pair(source.items as Pair<ParsedNode, ParsedNode | null>[], name) : undefined;
        if (inherited !== undefined) return inherited;
      }
    }
    return undefined;
  }
}

function refuseHostileNames(value: unknown, path: Path, depth: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (depth > MAX_DEPTH) throw tooMuch(`nests deeper than ${MAX_DEPTH} levels`, undefined);
  for (const [name, inner] of Object.entries(value)) {
    const here = [...path, Array.isArray(value) ? Number(name) : name];
    if (HOSTILE.has(name))
      throw new ConfigError(`${showPath(path)}: "${name}" cannot be a name`, { code: 'CONFIG_INVALID', path: showPath(here) });
    refuseHostileNames(inner, here, depth + 1);
  }
}

const isEmpty = (node: { value: unknown; type?: string | undefined }) =>
  (node.type ?? 'PLAIN') === 'PLAIN' && NOTHING.has(String(node.value ?? ''));
const isEmptyScalar = (node: unknown) => isScalar(node) && isEmpty(node as { value: unknown; type?: string });

const NOTHING = new Set(['', '~', 'null', 'Null', 'NULL']);
const HOSTILE = new Set(['__proto__', 'constructor', 'prototype']);
const PLAIN_KEY = /^[\w@%-]+$/;

const MAX_CHARACTERS = 1024 * 1024;
const MAX_DEPTH = 24;
const MAX_NODES = 100_000;
const MAX_LEXEMES = 300_000;

const SYNTAX_HINTS: Readonly<Partial<Record<string, string>>> = {
  TAB_AS_INDENT: 'Indent with spaces.',
  BAD_INDENT: 'Lines of one section begin in the same column.',
  MULTILINE_IMPLICIT_KEY: 'A key and its colon stand on one line; text that holds ": " needs quotes.',
  BLOCK_AS_IMPLICIT_KEY: 'Text that holds ": " needs quotes.',
  MISSING_CHAR: 'Is a quote, a bracket or the blank behind a colon missing?',
  BAD_ALIAS: 'Text that begins with * needs quotes.',
  TAG_RESOLVE_FAILED: 'Text that begins with ! needs quotes.',
};
