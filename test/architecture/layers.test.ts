import { describe, expect, test } from 'vitest';
import { BANS, IMPURE_NAMES, type ModuleRule, NODE_MODULES, PACKAGES, SIDEWAYS, TIERS } from './layers.ts';
import { filesBelow, type Import, parseSource, readSource, type SourceFile } from './sources.ts';

const sources = filesBelow('src', '.ts').map(readSource);

describe('layers', () => {
  test('every source file stands in a room of the plan', () => {
    const homeless = sources.filter((file) => tierOf(roomOf(file.path)) < 0).map((file) => file.path);
    expect(homeless, 'a new room needs a tier in test/architecture/layers.ts').toEqual([]);
  });

  test('imports go down only, and each ban holds', () => {
    expect(sources.flatMap(layerViolations)).toEqual([]);
  });

  test('the core is pure', () => {
    expect(sources.flatMap(purityViolations)).toEqual([]);
  });

  test('no two files need each other at run time', () => {
    expect(cycles(sources)).toEqual([]);
  });
});

describe('the checker itself', () => {
  const file = (path: string, text: string): SourceFile => ({ path, text });

  test.each([
    ['upwards', 'src/core/bytes/x.ts', `import { a } from '../wire/header.ts';`],
    ['sideways', 'src/core/wire/x.ts', `import type { A } from '../crypto/prf.ts';`],
    ['a forbidden value', 'src/core/ike/x.ts', `import { validate } from '../pki/path.ts';`],
    ['a value hidden behind a re-export', 'src/core/esp/x.ts', `export * from '../wire/header.ts';`],
    ['a dynamic import', 'src/host/engine/x.ts', `const p = await import('../platform/udp.ts');`],
    ['an import() type upwards', 'src/core/bytes/x.ts', `export type A = import('../wire/header.ts').A;`],
    ['another file of ike than effects.ts', 'src/host/dataplane/x.ts', `import type { P } from '../../core/ike/policy.ts';`],
    ['a node module in the core', 'src/core/ike/x.ts', `import { createHash } from 'node:crypto';`],
    ['a socket outside the platform', 'src/product/reach/x.ts', `import { connect } from 'node:net';`],
    ['a package in the wrong room', 'src/core/wire/x.ts', `import { z } from 'zod';`],
    ['a native call outside its folder', 'src/host/platform/x.ts', `const koffi = await import('koffi');`],
    ['an unknown package', 'src/cli/x.ts', `import chalk from 'chalk';`],
  ])('catches %s', (_what, path, text) => {
    expect(layerViolations(file(path, text))).toHaveLength(1);
  });

  test.each([
    ['a type of effects.ts', 'src/host/dataplane/x.ts', `import type { ChildSaSpec } from '../../core/ike/effects.ts';`],
    ['types of the platform in the engine', 'src/host/engine/x.ts', `import type { Udp } from '../platform/udp.ts';`],
    ['a native call in its folder', 'src/host/platform/linux/x.ts', `const koffi = await import('koffi');`],
    ['inline type specifiers', 'src/core/ike/x.ts', `import { type Chain, type Trust } from '../pki/path.ts';`],
    ['a lower tier', 'src/core/ike/x.ts', `import { parse } from '../wire/message.ts';\nimport { prf } from '../crypto/prf.ts';`],
  ])('lets %s pass', (_what, path, text) => {
    expect(layerViolations(file(path, text))).toEqual([]);
  });

  test.each([
    'const now = Date.now();',
    'const d = new Date(0);',
    'const luck = Math.random();',
    'f(setTimeout);',
    'const o = { Buffer };',
  ])('catches %s in the core', (text) => {
    expect(purityViolations(file('src/core/ike/x.ts', text))).toHaveLength(1);
  });

  test.each([
    'type T = Date;',
    'const o = { Date: 1 };',
    'state.process(message);',
    '// Date.now()',
    `const s = 'Date';`,
    'function f(at: Date): void {}',
    'const x = Math.max(1, 2);',
    'function process() {} process();',
  ])('lets %s pass in the core', (text) => {
    expect(purityViolations(file('src/core/ike/x.ts', text))).toEqual([]);
  });

  test('catches a cycle, but not one of types', () => {
    const a = file('src/a.ts', `import { b } from './b.ts';`);
    expect(cycles([a, file('src/b.ts', `import { a } from './a.ts';`)])).toEqual(['src/a.ts → src/b.ts → src/a.ts']);
    expect(cycles([a, file('src/b.ts', `import type { A } from './a.ts';`)])).toEqual([]);
  });
});

function layerViolations(file: SourceFile): string[] {
  const from = roomOf(file.path);
  return parseSource(file).imports.flatMap((edge) => {
    const why = edge.relative ? whyNotRoom(from, edge) : whyNotModule(file.path, edge.target);
    return why === undefined ? [] : [`${file.path}:${edge.line} imports ${edge.target}: ${why}`];
  });
}

function whyNotRoom(from: string, edge: Import): string | undefined {
  if (!edge.target.startsWith('src/')) return 'the product imports nothing outside src/';
  const to = roomOf(edge.target);
  if (from === to) return undefined;
  const ban = BANS.find((b) => b.from === from && b.to === to);
  if (ban && !(edge.typeOnly && (ban.exceptTypes === true || ban.exceptTypes?.includes(edge.target)))) return ban.why;
  if (tierOf(to) < tierOf(from)) return undefined;
  if (tierOf(to) > tierOf(from)) return `${to} is above ${from}; imports go down only`;
  const allowed = SIDEWAYS.some((s) => matches(s.from, from) && s.to === to && (edge.typeOnly || !s.typesOnly));
  return allowed ? undefined : `${from} and ${to} stand side by side; what both need belongs below them`;
}

function whyNotModule(path: string, target: string): string | undefined {
  const from = roomOf(path);
  const rules: readonly ModuleRule[] = target.startsWith('node:') ? NODE_MODULES : PACKAGES;
  const rule = rules.find((r) => matches(r.module, target));
  if (rule === undefined) return 'this package is not among those that were chosen (docs/decisions)';
  return rule.rooms.some((room) => matches(room, from)) && path.startsWith(rule.below ?? '') ? undefined : rule.why;
}

function purityViolations(file: SourceFile): string[] {
  if (!file.path.startsWith('src/core/')) return [];
  return parseSource(file).names.flatMap(({ name, line }) => {
    const why = Object.hasOwn(IMPURE_NAMES, name) ? IMPURE_NAMES[name] : undefined;
    return why === undefined ? [] : [`${file.path}:${line} reads ${name}: ${why}`];
  });
}

/** Each cycle once, as the chain of its files, by depth-first search over imports that remain at run time. */
function cycles(files: readonly SourceFile[]): string[] {
  const edges = new Map(
    files.map((file) => [
      file.path,
      parseSource(file)
        .imports.filter((edge) => edge.relative && !edge.typeOnly)
        .map((edge) => edge.target),
    ]),
  );
  const state = new Map<string, 'open' | 'done'>();
  const path: string[] = [];
  const found: string[] = [];
  const visit = (file: string): void => {
    if (state.get(file) === 'done') return;
    if (state.get(file) === 'open') {
      found.push([...path.slice(path.indexOf(file)), file].join(' → '));
      return;
    }
    state.set(file, 'open');
    path.push(file);
    for (const target of edges.get(file) ?? []) visit(target);
    path.pop();
    state.set(file, 'done');
  };
  for (const file of edges.keys()) visit(file);
  return found;
}

/** `src/core/wire/payloads/ke.ts` → `core/wire`; `src/index.ts` → `index`. */
function roomOf(path: string): string {
  const [wing = '', room = '', deeper] = path
    .replace(/^src\//, '')
    .replace(/\.ts$/, '')
    .split('/');
  return ['core', 'host', 'product'].includes(wing) && deeper !== undefined ? `${wing}/${room}` : wing;
}

const tierOf = (room: string): number => TIERS.findIndex((tier) => tier.includes(room));
const matches = (pattern: string, name: string): boolean =>
  pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
