import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';
import { parseAst } from 'vitest/node';

export const ROOT = join(import.meta.dirname, '..', '..');

export interface SourceFile {
  /** From the project's root, with slashes: `src/core/wire/header.ts`. */
  readonly path: string;
  readonly text: string;
}

export interface Import {
  /** A relative import as a path from the project's root; a module or package name as written. */
  readonly target: string;
  readonly relative: boolean;
  /** Nothing of it is left at run time: `import type`, `export type … from`, `import('…').T`. */
  readonly typeOnly: boolean;
  /** `import('…')`: loaded when its line runs. */
  readonly dynamic: boolean;
  readonly line: number;
}

export interface Parsed {
  readonly imports: readonly Import[];
  /**
   * Free-standing names that are read at run time and that the file does not declare itself: `Date` in `Date.now()`. A member of one
   * appears with it, as `Math.random`. A property or a type of that name is not one.
   */
  readonly names: readonly { readonly name: string; readonly line: number }[];
  /** What the file exports, itself or from elsewhere. */
  readonly exports: readonly Export[];
}

export type Export =
  | { readonly kind: 'own'; readonly name: string; readonly what: string }
  | { readonly kind: 'from'; readonly name: string; readonly imported: string; readonly target: string; readonly typeOnly: boolean }
  | { readonly kind: 'all'; readonly target: string; readonly typeOnly: boolean };

/** Every file below a folder whose name ends so, sorted by path. */
export function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .filter((path) => !path.includes('node_modules/'))
    .sort();
}

/** Each file once: tests that share a process share what they read, and with it what was parsed of it. */
export function readSource(path: string): SourceFile {
  const source = READ.get(path) ?? { path, text: readFileSync(join(ROOT, path), 'utf8') };
  READ.set(path, source);
  return source;
}

const READ = new Map<string, SourceFile>();

/** Syntax only: what a file imports, exports and names. */
export function parseSource(file: SourceFile): Parsed {
  const parsed = PARSED.get(file) ?? parse(file);
  PARSED.set(file, parsed);
  return parsed;
}

const PARSED = new WeakMap<SourceFile, Parsed>();

function parse(file: SourceFile): Parsed {
  const program = parseAst(file.text, { lang: file.path.endsWith('.ts') ? 'ts' : 'js' }) as unknown as Node;
  const imports: Import[] = [];
  const names: { name: string; line: number }[] = [];
  const exports: Export[] = [];
  const own = new Set<string>();
  const line = lineFinder(file.text);
  walk(program, undefined, '', (node, parent, key) => {
    const source = node.source as Node | undefined;
    if (isModuleEdge(node) && typeof source?.value === 'string') {
      imports.push({
        ...resolve(file.path, source.value),
        typeOnly: isTypeOnly(node),
        dynamic: node.type === 'ImportExpression',
        line: line(node.start),
      });
    }
    if (node.type !== 'Identifier') return;
    const name = node.name as string;
    if (isDeclaration(parent, key)) own.add(name);
    else if (isReference(parent, key)) {
      names.push({ name, line: line(node.start) });
      const property = parent?.type === 'MemberExpression' && parent.computed !== true ? (parent.property as Node) : undefined;
      if (property?.type === 'Identifier') names.push({ name: `${name}.${property.name as string}`, line: line(node.start) });
    }
  });
  for (const statement of program.body as Node[]) exports.push(...exportsOf(statement, file.path));
  return { imports, names: names.filter(({ name }) => !own.has(name.replace(/\..*/, ''))), exports };
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly [field: string]: unknown;
}

function isModuleEdge(node: Node): boolean {
  return ['ImportDeclaration', 'ExportNamedDeclaration', 'ExportAllDeclaration', 'ImportExpression', 'TSImportType'].includes(node.type);
}

function isTypeOnly(node: Node): boolean {
  if (node.type === 'TSImportType') return true;
  if (node.importKind === 'type' || node.exportKind === 'type') return true;
  const specifiers = (node.specifiers as Node[] | undefined) ?? [];
  return specifiers.length > 0 && specifiers.every((s) => s.importKind === 'type' || s.exportKind === 'type');
}

function resolve(from: string, specifier: string): { target: string; relative: boolean } {
  if (!specifier.startsWith('.')) return { target: specifier, relative: false };
  return { target: posix.normalize(posix.join(posix.dirname(from), specifier)), relative: true };
}

function isDeclaration(parent: Node | undefined, key: string): boolean {
  switch (parent?.type) {
    case 'ImportSpecifier':
    case 'ImportDefaultSpecifier':
    case 'ImportNamespaceSpecifier':
      return key === 'local';
    case 'VariableDeclarator':
    case 'ClassDeclaration':
      return key === 'id';
    case 'FunctionDeclaration':
    case 'FunctionExpression':
    case 'ArrowFunctionExpression':
      return key === 'id' || key === 'params';
    default:
      return false;
  }
}

function isReference(parent: Node | undefined, key: string): boolean {
  switch (parent?.type) {
    case 'MemberExpression':
      return key === 'object' || parent.computed === true;
    case 'Property':
    case 'PropertyDefinition':
    case 'MethodDefinition':
      return key === 'value' || parent.computed === true;
    case 'ImportSpecifier':
    case 'ExportSpecifier':
    case 'LabeledStatement':
      return false;
    default:
      return true;
  }
}

function exportsOf(statement: Node, path: string): Export[] {
  const source = statement.source as Node | undefined | null;
  const typeOnly = statement.exportKind === 'type';
  if (statement.type === 'ExportAllDeclaration') {
    const target = resolve(path, (source as Node).value as string).target;
    const exported = statement.exported as Node | null;
    return exported ? [{ kind: 'own', name: exported.name as string, what: 'namespace' }] : [{ kind: 'all', target, typeOnly }];
  }
  if (statement.type === 'ExportDefaultDeclaration') return [{ kind: 'own', name: 'default', what: 'default' }];
  if (statement.type !== 'ExportNamedDeclaration') return [];
  const declaration = statement.declaration as Node | null;
  if (declaration) return declared(declaration);
  return (statement.specifiers as Node[]).map((specifier): Export => {
    const name = (specifier.exported as Node).name as string;
    const imported = (specifier.local as Node).name as string;
    if (!source) return { kind: 'own', name, what: 'name' };
    const target = resolve(path, source.value as string).target;
    return { kind: 'from', name, imported, target, typeOnly: typeOnly || specifier.exportKind === 'type' };
  });
}

function declared(declaration: Node): Export[] {
  if (declaration.type === 'VariableDeclaration') {
    return (declaration.declarations as Node[]).map((d) => ({ kind: 'own', name: (d.id as Node).name as string, what: 'const' }));
  }
  const what = DECLARATIONS[declaration.type] ?? declaration.type;
  return [{ kind: 'own', name: (declaration.id as Node).name as string, what: declaration.abstract ? `abstract ${what}` : what }];
}

/** Types are not walked: what they name is gone at run time; only their `import('…')` are edges. */
function walk(node: Node, parent: Node | undefined, key: string, visit: (node: Node, parent: Node | undefined, key: string) => void): void {
  if (TYPE_ROOTS.has(node.type)) {
    visitImportTypes(node, visit);
    return;
  }
  visit(node, parent, key);
  for (const [field, value] of Object.entries(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) walk(child, node, field, visit);
  }
}

function visitImportTypes(node: Node, visit: (node: Node, parent: Node | undefined, key: string) => void): void {
  if (node.type === 'TSImportType') visit(node, undefined, '');
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) visitImportTypes(child, visit);
  }
}

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && typeof (value as Node).type === 'string';

function lineFinder(text: string): (offset: number) => number {
  const starts = [0];
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) === 10) starts.push(i + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low + 1;
  };
}

const TYPE_ROOTS = new Set([
  'TSTypeAnnotation',
  'TSTypeParameterInstantiation',
  'TSTypeParameterDeclaration',
  'TSInterfaceDeclaration',
  'TSTypeAliasDeclaration',
  'TSClassImplements',
]);

const DECLARATIONS: Record<string, string> = {
  FunctionDeclaration: 'function',
  TSDeclareFunction: 'function',
  ClassDeclaration: 'class',
  TSInterfaceDeclaration: 'interface',
  TSTypeAliasDeclaration: 'type',
};
