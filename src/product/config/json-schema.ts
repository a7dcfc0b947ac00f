import { z } from 'zod';
import { configuration } from './schema.ts';
import { UNSUPPORTED } from './unsupported.ts';

/** The schema for editors: JSON Schema 2020-12, `tunnelwright schema` prints it. */
export function jsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(configuration, { io: 'input', override: ({ jsonSchema }) => forEditors(jsonSchema) });
  return { $schema: schema.$schema, $id: 'tunnelwright.schema.json', title: 'Tunnelwright configuration', ...schema };
}

/** Our own words about a key become standard ones. */
function forEditors(node: z.core.JSONSchema.BaseSchema): void {
  const { otherwise, samples } = node;
  delete node.otherwise;
  delete node.samples;
  if (otherwise !== undefined) node.description = `${node.description ?? ''} Default: ${String(otherwise)}.`.trim();
  if (Array.isArray(samples)) node.examples = samples;
}

/** One row of the reference: a key, the form of its value, what holds without it, what it does. */
export interface ReferenceRow {
  readonly key: string;
  readonly form: string;
  readonly otherwise: string;
  readonly description: string;
  /** Why it has no effect yet, or is refused. */
  readonly unsupported: string | undefined;
}

export interface ReferenceSection {
  /** `connections.NAME.children.NAME`; empty for the top. */
  readonly path: string;
  readonly rows: readonly ReferenceRow[];
}

/** The keys of every section, in the order of the schema. */
export function referenceSections(): ReferenceSection[] {
  const root = z.toJSONSchema(configuration, { io: 'input' }) as Node;
  const sections: ReferenceSection[] = [];
  collect(root, '', root, sections);
  return sections;
}

/** The forms that values have, with examples. */
export function referenceForms(): { readonly name: string; readonly description: string; readonly samples: readonly string[] }[] {
  const root = z.toJSONSchema(configuration, { io: 'input' }) as Node;
  return Object.entries(root.$defs ?? {})
    .map(([name, node]) => ({ name, description: node.description ?? '', samples: (node.samples ?? []).map(String) }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

interface Node {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Node>>;
  readonly id?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly otherwise?: string | number;
  readonly samples?: readonly unknown[];
  readonly enum?: readonly string[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Node | boolean;
  readonly propertyNames?: Node;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
}

function collect(node: Node, path: string, root: Node, sections: ReferenceSection[]): void {
  const rows: ReferenceRow[] = [];
  const inner: [Node, string][] = [];
  for (const [key, value] of Object.entries(node.properties ?? {})) {
    const here = path === '' ? key : `${path}.${key}`;
    const below = sectionIn(value, root);
    if (below !== undefined) inner.push([below.node, here + below.suffix]);
    rows.push({
      key,
      form: formOf(value, root),
      otherwise: node.required?.includes(key) ? '**required**' : value.otherwise === undefined ? '' : String(value.otherwise),
      description: value.description ?? '',
      unsupported: UNSUPPORTED.find((entry) => entry.path.join('.') === here.replaceAll('NAME', '*').replaceAll('[]', '.*'))?.why,
    });
  }
  sections.push({ path, rows });
  for (const [below, name] of inner) collect(below, name, root, sections);
}

/** The section of keys that a value is, or is made of. */
function sectionIn(node: Node, root: Node): { node: Node; suffix: string } | undefined {
  const target = deref(node, root);
  if (target.properties !== undefined) return { node: target, suffix: '' };
  if (typeof target.additionalProperties === 'object') {
    const below = sectionIn(target.additionalProperties, root);
    return below === undefined ? undefined : { node: below.node, suffix: `.NAME${below.suffix}` };
  }
  if (target.items !== undefined) {
    const below = sectionIn(target.items, root);
    return below === undefined ? undefined : { node: below.node, suffix: `[]${below.suffix}` };
  }
  for (const branch of target.anyOf ?? []) {
    const below = sectionIn(branch, root);
    if (below !== undefined) return below;
  }
  return undefined;
}

function formOf(node: Node, root: Node): string {
  if (node.$ref !== undefined) return node.$ref.replace('#/$defs/', '');
  if (node.enum !== undefined) return node.enum.map((word) => `\`${word}\``).join(' ');
  if (node.const !== undefined) return `\`${String(node.const)}\``;
  if (node.properties !== undefined) return 'section';
  if (typeof node.additionalProperties === 'object') return 'sections by name';
  if (node.items !== undefined) return `list of ${formOf(node.items, root)}`;
  if (node.anyOf !== undefined) {
    const forms = [...new Set(node.anyOf.map((branch) => formOf(branch, root)))].filter((form) => form !== 'null');
    const [one, many] = [...forms].sort((a, b) => a.length - b.length);
    if (forms.length === 2 && many === `list of ${one}`)
      return node.anyOf.some((branch) => /(List|[^s]s)$/.test(branch.$ref ?? '')) ? one! : `${one}, or a list`;
    return forms.join(' or ');
  }
  return Array.isArray(node.type) ? node.type.join(' or ') : node.type === 'string' ? 'text' : String(node.type ?? '');
}

const deref = (node: Node, root: Node): Node =>
  node.$ref === undefined ? node : (root.$defs?.[node.$ref.replace('#/$defs/', '')] ?? node);
