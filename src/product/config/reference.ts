import { type ReferenceRow, referenceForms, referenceSections } from './json-schema.ts';
import { markdownTable } from './markdown.ts';
import { DEFAULT_PROPOSALS } from './proposals.ts';

/** The reference page of the configuration, Markdown. */
export function referencePage(): string {
  const sections = referenceSections().map(({ path, rows }) =>
    [`## ${path === '' ? 'The top' : `\`${path}\``}`, '', keys(rows), ...notes(rows), ''].join('\n'),
  );
  const forms = referenceForms().map(({ name, description, samples }) => [
    `\`${name}\``,
    description,
    samples.map((sample) => `\`${sample}\``).join(' · '),
  ]);
  return [
    HEAD,
    ...sections,
    '## Default proposals',
    '',
    ...Object.entries(DEFAULT_PROPOSALS).flatMap(proposals),
    '## Forms of values',
    '',
    markdownTable([['form', 'what it is', 'examples'], ...forms]),
    '',
  ].join('\n');
}

const proposals = ([protocol, list]: [string, readonly string[]]): string[] => [
  `For ${protocol}, in order of preference:`,
  '',
  ...list.map((text) => `- \`${text}\``),
  '',
];

function keys(rows: readonly ReferenceRow[]): string {
  const cells = rows.map((row) => [`\`${row.key}\`${row.unsupported === undefined ? '' : ' ¹'}`, row.form, row.otherwise, row.description]);
  return markdownTable([['key', 'value', 'default', ''], ...cells]);
}

function notes(rows: readonly ReferenceRow[]): string[] {
  const reasons = new Map<string, string[]>();
  for (const row of rows)
    if (row.unsupported !== undefined) reasons.set(row.unsupported, [...(reasons.get(row.unsupported) ?? []), row.key]);
  if (reasons.size === 0) return [];
  return [
    '',
    '¹ known, but not carried out; where it would protect or steer traffic it is refused, else a warning says so:',
    '',
    ...[...reasons].map(([why, keys]) => `- ${keys.map((key) => `\`${key}\``).join(', ')}: ${why}`),
  ];
}

const HEAD = `# Configuration

YAML (or JSON), by default \`tunnelwright.yaml\`. Where a key has the name of one in swanctl.conf, it means the same. Unknown keys are
refused, with the line and column and the key that was probably meant. Every scalar is read as text first, so \`secret: 0x01\` and
\`id: 10\` stay what they are; \`yes\` and \`no\` are words, as is \`true\`. Anchors, aliases and \`<<\` merges share settings between connections.

\`tunnelwright schema\` prints the JSON Schema; with this first line editors complete and check the file:

\`\`\`yaml
# yaml-language-server: $schema=./node_modules/tunnelwright/schema/tunnelwright.schema.json
\`\`\`

This page is made from the same schema that checks the configuration.
`;
