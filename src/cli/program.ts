import { Command, CommanderError, type Help } from 'commander';
import { durationFlag, RARE, type Shell } from './command.ts';
import { registerDecode } from './commands/decode.ts';
import { registerDemo } from './commands/demo.ts';
import { registerDoctor } from './commands/doctor.ts';
import { registerDown } from './commands/down.ts';
import { registerEvents } from './commands/events.ts';
import { registerExec } from './commands/exec.ts';
import { registerGet } from './commands/get.ts';
import { registerList } from './commands/ls.ts';
import { registerNc } from './commands/nc.ts';
import { registerPing } from './commands/ping.ts';
import { registerForward, registerProxy } from './commands/proxy.ts';
import { registerReceive } from './commands/receive.ts';
import { registerRedirect } from './commands/redirect.ts';
import { registerRekey } from './commands/rekey.ts';
import { registerSas } from './commands/sas.ts';
import { registerSchema } from './commands/schema.ts';
import { registerSend } from './commands/send.ts';
import { registerServe } from './commands/serve.ts';
import { registerSftp } from './commands/sftp.ts';
import { registerStatus } from './commands/status.ts';
import { registerUp } from './commands/up.ts';
import { registerVersion } from './commands/version.ts';
import type { CliContext } from './context.ts';
import { CliError } from './errors.ts';
import { EXIT, EXIT_MEANINGS } from './exit-codes.ts';
import { Output } from './output.ts';
import { padEnd, wrap } from './render/text.ts';

/** Runs one command line. @returns the exit code; nothing is thrown */
export async function run(argv: readonly string[], context: CliContext): Promise<number> {
  const shell = buildProgram(context);
  try {
    if (argv.length === 0) {
      shell.program.outputHelp();
      return EXIT.ok;
    }
    await shell.program.parseAsync([...argv], { from: 'user' });
    return shell.ending.code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return new Output(context, { color: true }).fail(error);
  }
}

/** The tree of commands; help, completion and the manual come from it. */
export function buildProgram(context: CliContext): Shell {
  const program = new Command('tunnelwright');
  const shell: Shell = { program, context, ending: { code: EXIT.ok } };
  program
    .description('IKEv2 and IPsec: a VPN gateway and client, and files through it')
    .usage('COMMAND [options]')
    .option('-c, --config <file>', 'configuration file; ./tunnelwright.yaml where there is one')
    .option('--json', 'one JSON document with "schema": 1 in the place of text')
    .option('-q, --quiet', 'say nothing that is not asked for')
    .option('-v, --verbose', 'say more; twice for messages', (_: unknown, before: number) => before + 1, 0)
    .option('--control <socket>', 'control socket of the instance that is meant')
    .option('--no-color', 'no colours; NO_COLOR does the same')
    .option('--timeout <time>', 'give up after this time, for instance 10s', durationFlag)
    .version(context.version, '-V, --version', 'the version alone')
    .helpCommand('help [command]', 'help for a command')
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureHelp({ formatHelp: (command, helper) => (command === program ? overview(command, helper) : plainHelp(command, helper)) })
    .configureOutput({
      writeOut: (text) => context.out.write(text),
      writeErr: (text) => context.err.write(text),
      getOutHelpWidth: () => context.out.columns,
      getErrHelpWidth: () => context.err.columns,
      outputError: (text) => void usageError(context, text, program, program),
    });
  for (const register of [
    registerServe,
    registerUp,
    registerDown,
    registerRekey,
    registerRedirect,
    registerProxy,
    registerForward,
    registerExec,
    registerNc,
    registerPing,
    registerSend,
    registerGet,
    registerReceive,
    registerList,
    registerSftp,
    registerStatus,
    registerSas,
    registerEvents,
    registerDoctor,
    registerDecode,
    registerDemo,
    registerSchema,
    registerVersion,
  ])
    register(shell);
  for (const command of program.commands)
    command.copyInheritedSettings(program).configureOutput({ outputError: (text) => void usageError(context, text, program, command) });
  return shell;
}

/** Commander's `error: unknown option '--pks-file'\n(Did you mean --psk-file?)` in our form. */
function usageError(context: CliContext, text: string, program: Command, command: Command): void {
  const [what = '', suggestion] = text.trim().split('\n');
  const meant = /Did you mean (.*)\?/.exec(suggestion ?? '')?.[1];
  const { message, hint } = inOurWords(what.replace(/^error: /, ''), command);
  const help = command === program ? 'See: tunnelwright help' : `See: tunnelwright help ${command.name()}`;
  const error = new CliError(message, { code: 'USAGE', hint: meant === undefined ? (hint ?? help) : `Did you mean ${meant}?` });
  new Output(context, { ...program.opts(), color: program.opts().color !== false }).fail(error);
}

/** What commander says of operands and values of flags, and the way to write it right. */
function inOurWords(said: string, command: Command): { readonly message: string; readonly hint?: string | undefined } {
  const right = `Write: tunnelwright ${command.name()} ${operandsOf(command)}`.trimEnd();
  const missing = /^missing required argument '(.*)'$/.exec(said)?.[1];
  if (missing !== undefined) return { message: `${command.name()}: ${missing.toUpperCase()} is missing`, hint: right };
  const most = /^too many arguments for .* Expected (\d+)/.exec(said)?.[1];
  if (most !== undefined) return { message: `${command.name()}: too many operands, it takes ${most === '0' ? 'none' : most}`, hint: right };
  const [, flag, value] = /^option '(?:-\w, )?(--[\w-]+) ?(<.*>)?' argument missing$/.exec(said) ?? [];
  if (flag !== undefined) {
    const word = (value ?? '<value>').slice(1, -1).toUpperCase();
    return { message: `${flag} needs a value`, hint: `Write: ${flag} ${word}` };
  }
  const [, name, why, how] = /^option '(?:-\w, )?(--[\w-]+).*' argument '.*' is invalid\. (.*?)\. (.*)$/s.exec(said) ?? [];
  if (name !== undefined) return { message: `${name}: ${why}`, hint: how };
  const unknown = /^unknown option '(--[\w-]+)'$/.exec(said)?.[1];
  const longer = unknown === undefined ? undefined : command.options.find(({ long }) => long?.startsWith(`${unknown}-`) === true)?.long;
  return { message: said, hint: longer == null ? undefined : `Did you mean ${longer}?` };
}

/** Everything on one screen, by what one wants to do. */
function overview(program: Command, helper: Help): string {
  const commands = helper.visibleCommands(program).filter((command) => command.name() !== 'help');
  const groups = [...new Set(commands.map((command) => command.helpGroup()))];
  const rows = groups.flatMap((group) => {
    const terms = commands
      .filter((command) => command.helpGroup() === group)
      .map((command) => `${command.name()} ${operandsOf(command)}`.trim());
    return lines(group, terms, 78);
  });
  const codes = EXIT_MEANINGS.filter(([code]) => code <= EXIT.privilege).map(([code, meaning]) => `${code} ${meaning.split(/[,;]/)[0]}`);
  return [
    `Usage: tunnelwright COMMAND [options]   (tw for short)`,
    '',
    'Begin     tunnelwright demo                     a gateway, a client and a file',
    '          tunnelwright serve --psk-file FILE    let clients in, until Ctrl-C',
    '          tunnelwright up TARGET                connect, until Ctrl-C',
    '',
    ...rows,
    '',
    'Always    --config FILE --json -q -v --control SOCKET --no-color --timeout 10s',
    'More      tunnelwright help COMMAND',
    ...lines('Exit', codes, 78),
    '',
  ].join('\n');
}

function lines(label: string, parts: readonly string[], columns: number): string[] {
  const rows: string[] = [];
  for (const part of parts) {
    const last = rows.at(-1);
    if (last !== undefined && last.length + 3 + part.length <= columns - 10) rows[rows.length - 1] = `${last} · ${part}`;
    else rows.push(part);
  }
  return rows.map((row, i) => `${padEnd(i === 0 ? label : '', 9)} ${row}`);
}

function plainHelp(command: Command, helper: Help): string {
  const options = helper.visibleOptions(command);
  const explained = options.filter((option) => option.helpGroupHeading !== RARE);
  const rare = options.filter((option) => option.helpGroupHeading === RARE).map(({ flags }) => flags);
  const columns = Math.min(helper.helpWidth ?? 80, 100);
  const widest = Math.max(...explained.map((option) => option.flags.length));
  return [
    `Usage: tunnelwright ${`${command.name()} ${operandsOf(command)}`.trim()} [options]`,
    '',
    wrap(command.description(), columns, ''),
    '',
    ...explained.map(
      (option) => `  ${padEnd(option.flags, widest)}  ${wrap(option.description, columns - widest - 4, ' '.repeat(widest + 4))}`,
    ),
    ...(rare.length === 0 ? [] : [`  ${wrap(`also ${rare.join(', ')}: see docs/reference/cli.md`, columns - 2, '  ')}`]),
    '',
  ].join('\n');
}

/** Commander says `[options]` where there are no operands. */
const operandsOf = (command: Command): string => command.usage().replace(/^\[options\]$/, '');
