import { type Command, type Program, type ProgramOptions, startProgram } from '../program.ts';
import type { NamespaceEntry } from './namespace.ts';

export interface InsideOptions extends ProgramOptions {
  /** Where it begins; where we are unless given. */
  readonly folder?: string | undefined;
}

/**
 * The command line by which `command` runs in the namespace, for any process of the same user: through the tunnel, or not at all. It has the
 * user's rights, home and files; what it lacks is any other network. nsenter(1) is of util-linux.
 */
export const commandInside = ({ user, net, mount }: NamespaceEntry, command: readonly string[], folder?: string): Command => [
  'nsenter',
  '--preserve-credentials',
  `--user=${user}`,
  `--net=${net}`,
  `--mount=${mount}`,
  '--',
  // in another mount namespace the folder is found again by its name
  ...(folder === undefined ? [] : ['env', `--chdir=${folder}`]),
  ...command,
];

/** Runs a program behind the tunnel. */
export function runInside(entry: NamespaceEntry, command: readonly string[], options: InsideOptions = {}): Program {
  const { folder = process.cwd(), ...rest } = options;
  return startProgram(commandInside(entry, command, folder), rest);
}
