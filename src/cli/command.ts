import { type Argument, type Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../product/config/values.ts';
import type { CliContext, GlobalFlags } from './context.ts';
import { Output } from './output.ts';

/** What a command works with. */
export interface Invocation<Flags extends object = object> {
  readonly context: CliContext;
  readonly out: Output;
  readonly flags: Flags & GlobalFlags;
}

/** The tree under construction, and where the exit code goes. */
export interface Shell {
  readonly program: Command;
  readonly context: CliContext;
  readonly ending: { code: number };
}

export interface CommandOutline {
  /** `send <file...>`: name and operands as commander reads them. */
  readonly usage: string;
  readonly group: string;
  /** The operands as help shows them; from `usage` unless given. */
  readonly operands?: string;
  /** Half a line for the overview. */
  readonly summary: string;
  /** For the command's own help; the summary unless given. */
  readonly description?: string;
}

/** Adds a command. What its body throws is told to the user and becomes the exit code. */
export function addCommand<Flags extends object>(
  shell: Shell,
  outline: CommandOutline,
  options: (command: Command) => Command,
  body: (invocation: Invocation<Flags>, ...operands: string[]) => Promise<number>,
): void {
  const { program, context, ending } = shell;
  const command = options(program.command(outline.usage));
  command
    .summary(outline.summary)
    .description(outline.description ?? sentence(outline.summary))
    .usage(outline.operands ?? command.registeredArguments.map(operandOf).join(' '))
    .helpGroup(outline.group)
    .action(async (...parameters: unknown[]) => {
      const flags = command.optsWithGlobals<Flags & GlobalFlags>();
      const operands = parameters
        .slice(0, -2)
        .flat()
        .filter((operand) => operand !== undefined) as string[];
      const out = new Output(context, flags);
      try {
        ending.code = await body({ context, out, flags }, ...operands);
      } catch (error) {
        ending.code = out.fail(error);
      }
    });
}

/** Flags that may be given several times. */
export const repeated = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

/** A flag for special cases: help names it, the reference explains it. */
export const rare = (flags: string, description: string): Option => new Option(flags, description).helpGroup(RARE);
export const RARE = 'rare';

export function durationFlag(text: string): number {
  const parsed = parseDuration(text);
  if (!parsed.ok) throw new InvalidArgumentError(`${parsed.message}. ${parsed.hint ?? ''}`.trim());
  return parsed.value;
}

function operandOf(argument: Argument): string {
  const word = `${argument.name().toUpperCase()}${argument.variadic ? '...' : ''}`;
  return argument.required ? word : `[${word}]`;
}

const sentence = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}.`;
