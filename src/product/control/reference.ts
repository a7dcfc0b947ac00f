import { z } from 'zod';
import { markdownTable } from '../config/markdown.ts';
import { errorDocument, failedLine, ROUTES, type Route } from './api.ts';

/** The reference page of the local API, Markdown: from the same description that server and client are made from. */
export function controlPage(): string {
  const overview = Object.values(ROUTES).map((route: Route) => [
    `\`${route.method} ${route.path}\``,
    route.summary,
    route.stream ? 'lines' : 'document',
  ]);
  const routes = Object.values(ROUTES).map((route: Route) =>
    [
      `## ${route.method} ${route.path}`,
      '',
      route.summary,
      '',
      ...part('Request', route.request),
      ...part(route.stream ? 'Each line' : 'Answer', route.response),
    ].join('\n'),
  );
  return [
    HEAD,
    markdownTable([['', '', 'answer'], ...overview]),
    '',
    ...routes,
    '## Errors',
    '',
    'Every refusal and failure has this form; a stream that began already ends with it as its last line, `"event": "error"`.',
    '',
    ...part('Document', errorDocument),
    ...part('Line', failedLine),
  ].join('\n');
}

interface Node {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly additionalProperties?: Node | boolean;
}

function part(title: string, schema: z.ZodType | undefined): string[] {
  if (schema === undefined) return [];
  const node = z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }) as Node;
  const alternatives = node.anyOf ?? [node];
  return alternatives.flatMap((alternative, i) => {
    const rows = fields(alternative, '');
    return [
      alternatives.length > 1 ? `${title}, ${i === 0 ? 'either' : 'or'}:` : `${title}:`,
      '',
      markdownTable([['field', 'value', ''], ...rows]),
      '',
    ];
  });
}

/** Every field with its path: `ikeSas[].children[].in.bytes`. */
function fields(node: Node, path: string): string[][] {
  return Object.entries(node.properties ?? {}).flatMap(([name, inner]) => {
    const here = path === '' ? name : `${path}.${name}`;
    const optional = node.required?.includes(name) === true ? '' : 'may be absent';
    const target = inner.items ?? inner;
    const row = [`\`${here}\``, formOf(inner), optional];
    return target.properties === undefined ? [row] : [row, ...fields(target, inner.items === undefined ? here : `${here}[]`)];
  });
}

function formOf(node: Node): string {
  if (node.const !== undefined) return `\`${JSON.stringify(node.const)}\``;
  if (node.enum !== undefined) return node.enum.map((word) => `\`${String(word)}\``).join(' ');
  if (node.items !== undefined) return `list of ${formOf(node.items)}`;
  if (node.anyOf !== undefined) return node.anyOf.map(formOf).join(' or ');
  if (node.properties !== undefined) return 'object';
  if (typeof node.additionalProperties === 'object') return `object of ${formOf(node.additionalProperties)}`;
  return [node.type ?? 'any'].flat().join(' or ');
}

const HEAD = `# Local API

HTTP and JSON on a unix socket: \`NAME.sock\` in \`$XDG_RUNTIME_DIR/tunnelwright\`, in \`/var/run/tunnelwright\` for root, else in
\`~/.local/state/tunnelwright\`. Whoever can open the socket may do everything, so its mode is 0600 and its folder's 0700. Documents carry
\`"schema": 1\`; times are ISO 8601; keys and secrets never appear. Streams are newline-delimited JSON.

\`\`\`sh
curl --unix-socket "$XDG_RUNTIME_DIR/tunnelwright/gateway.sock" http://localhost/v1/status
\`\`\`
`;
