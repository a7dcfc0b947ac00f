import type { Command } from 'commander';
import { markdownTable } from '../product/config/markdown.ts';
import { EXIT_MEANINGS } from './exit-codes.ts';

/** The reference page of the command line, Markdown: from the same tree that the help is made from. */
export function cliPage(program: Command): string {
  const commands = program.commands.filter((command) => command.name() !== 'help');
  return [
    HEAD,
    markdownTable([
      ['', '', ''],
      ...commands.map((command) => [command.helpGroup(), `[\`${title(command)}\`](#${command.name()})`, command.summary()]),
    ]),
    '',
    '## Always',
    '',
    options(program),
    '',
    '## Exit codes',
    '',
    markdownTable([['code', 'meaning'], ...EXIT_MEANINGS.map(([code, meaning]) => [String(code), meaning])]),
    '',
    'With `--json` a failure is a document on the output, `{"schema": 1, "error": {"type", "code", "message", "hint", "exit"}}`.',
    '',
    ...commands.flatMap((command) => [
      `## ${command.name()}`,
      '',
      `\`tunnelwright ${title(command)}\``,
      '',
      command.description(),
      '',
      ...(command.options.length === 0 ? [] : [options(command), '']),
    ]),
  ].join('\n');
}

function options(command: Command): string {
  return markdownTable([['flag', ''], ...command.options.map(({ flags, description }) => [`\`${flags}\``, description])]);
}

const title = (command: Command): string => `${command.name()} ${command.usage().replace(/^\[options\]$/, '')}`.trim();

const HEAD = `# Command line

\`tunnelwright\`, or \`tw\` for short. Results go to the output, everything else beside it; \`--json\` gives one document (one a line where the
command follows something). Colours only on a terminal, and never with \`NO_COLOR\`.
`;
