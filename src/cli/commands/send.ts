import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { addCommand, type Shell } from '../command.ts';
import { CliError } from '../errors.ts';
import { connectionsFlag, instanceOf, LIMIT, parseRemote, type TransferFlags, transfer } from '../transfer.ts';

const DESCRIPTION = `Sends files and folders through a tunnel that stands. PEER is a connection, an identity or an inner address; PATH is below its inbox. A transfer that broke off goes on when the same command is run again (exit 8 says so).`;

export function registerSend(shell: Shell): void {
  addCommand<TransferFlags>(
    shell,
    {
      usage: 'send <files...>',
      operands: 'FILE... PEER:PATH',
      group: 'Files',
      summary: 'send files and folders to a peer',
      description: DESCRIPTION,
    },
    (command) =>
      command.option('--parallel <connections>', 'at once, 1 to 16; 4 for several files, else 1', connectionsFlag).option(...LIMIT),
    async (invocation, ...operands) => {
      if (operands.length < 2)
        throw new CliError('what is to be sent where?', { code: 'USAGE', hint: 'Write: tunnelwright send FILE... PEER:PATH' });
      const where = parseRemote(operands.at(-1)!);
      const { parallel, limit } = invocation.flags;
      const files = operands.slice(0, -1).map((file) => existing(resolve(invocation.context.cwd, file), file));
      return transfer(
        invocation,
        (signal) => instanceOf(invocation, where.peer, signal),
        ({ client }, signal) => client.send({ files, peer: where.peer, path: where.path, parallel, limit }, signal),
        ({ name, path }) => `${name} → ${where.peer}:${path}`,
      );
    },
  );
}

function existing(path: string, shown: string): string {
  if (statSync(path, { throwIfNoEntry: false }) === undefined)
    throw new CliError(`${shown}: there is no such file`, { code: 'FILE_NOT_FOUND', hint: `It was looked for at ${path}` });
  return path;
}
